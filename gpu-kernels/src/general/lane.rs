//! A lane of a stream.
//!
//! The unsafe functions here share the promise of [`super`].

use codec::constants::LANES;
use codec::device::status;
use codec::rans::{
    TableEntry, advance, byte_of, carried_by, drop_byte, is_first_state, needs_word, slot,
    take_word,
};
use cuda_std::{global, warp};

use super::Block;
use super::layout::Stream;
use super::words::Words;
use crate::grid::ALL_LANES;
use crate::ring::Source;

/// A lane of a stream.
pub(super) struct Lane {
    /// In the order in which they take their next steps; the same twice where there is only one.
    states: [u32; 2],
    two: bool,
    words: Words,
    word_count: u32,
    found: u32,
}

impl Lane {
    pub(super) unsafe fn new<const WIDTH: u32>(block: &Block<'_, WIDTH>, stream: &Stream) -> Self {
        let length = block.task.block_bytes - stream.words_at;
        let source = Source { start: block.part(stream.words_at), length };
        // SAFETY: the words lie within the block, which is readable.
        let words = unsafe { Words::start(source, block.shared) };
        let states = block.part(stream.states_at).cast::<u32>();
        let lane = warp::lane_id() as usize;
        let two = block.specs.states_per_lane == 2;
        // SAFETY: the block has a state of each number for each lane.
        let states = [0, usize::from(two)]
            .map(|number| unsafe { global::load_u32(states.add(number * LANES + lane)) });
        let bad = states.iter().any(|&state| needs_word(state));
        let any = warp::warp_vote_ballot(ALL_LANES, bad) != 0;
        Self {
            states,
            two,
            words,
            word_count: stream.words,
            found: if any { status::INITIAL_STATE } else { 0 },
        }
    }

    /// The states by their numbers, after all steps: an even number, so that they are in order.
    pub(super) fn final_states(&self) -> [u32; 2] {
        self.states
    }

    /// A state by its number. Not looked up, so that both stay in registers.
    fn state(&self, number: u32) -> u32 {
        if number == 0 { self.states[0] } else { self.states[1] }
    }

    /// Waits for the first words; steps come after this.
    pub(super) fn wait(&self) {
        self.words.wait();
    }

    /// One step with the table that has `entry_of` each slot: the symbol of the first state, which then
    /// goes behind the second, if there is one.
    #[inline(always)]
    pub(super) unsafe fn step(&mut self, entry_of: impl FnOnce(u32) -> TableEntry) -> u32 {
        let state = self.states[0];
        let entry = entry_of(slot(state));
        // SAFETY: the lane was made for a stream of the block.
        let next = unsafe { self.refill(advance(state, entry), true) };
        self.states = [if self.two { self.states[1] } else { next }, next];
        u32::from(entry.symbol())
    }

    /// The symbol that the states carry with this number, after all steps. Their number was even, so
    /// that the states are in order.
    pub(super) fn carried(&self, number: u32) -> u32 {
        let states = if self.two { 2 } else { 1 };
        u32::from(carried_by(self.state(number % states))) >> (8 * (number / states)) & 0xFF
    }

    /// The tail byte in the state of the last step, in lanes that have one; others get 0.
    pub(super) unsafe fn tail(&mut self, has_tail: bool) -> u8 {
        if warp::warp_vote_ballot(ALL_LANES, has_tail) == 0 {
            return 0;
        }
        let state = self.states[1];
        // SAFETY: the lane was made for a stream of the block.
        let next = unsafe { self.refill(drop_byte(state), has_tail) };
        if !has_tail {
            return 0;
        }
        self.states = [if self.two { self.states[0] } else { next }, next];
        byte_of(state)
    }

    /// The state after it has taken a word, if it is `active` and needs one.
    #[inline(always)]
    unsafe fn refill(&mut self, state: u32, active: bool) -> u32 {
        let mut next = state;
        let needs = active && needs_word(next);
        // SAFETY: the module's promise.
        let word = unsafe { self.words.take(needs) };
        if needs {
            next = take_word(next, word);
        }
        next
    }

    pub(super) fn finish(&self, carries: bool) -> u32 {
        let off = self.states.iter().any(|&state| !is_first_state(state, carries));
        let mut found = self.found;
        if warp::warp_vote_ballot(ALL_LANES, off) != 0 {
            found |= status::FINAL_STATE;
        }
        if self.words.taken() != self.word_count {
            found |= status::WORDS;
        }
        found
    }
}
