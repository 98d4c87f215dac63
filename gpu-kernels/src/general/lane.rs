//! A lane of a stream, its words straight from global memory.
//!
//! The unsafe functions here share the promise of [`super`].

use codec::constants::LANES;
use codec::device::{KernelTable, status};
use codec::rans::{
    TableEntry, advance, byte_of, carried_by, drop_byte, is_first_state, needs_word, slot,
    take_word,
};
use cuda_std::{global, warp};

use super::{Block, Stream};
use crate::grid::ALL_LANES;

/// A lane of a stream.
pub(super) struct Lane {
    pub(super) states: [u32; 2],
    two: bool,
    words: *const u16,
    word_count: u32,
    taken: u32,
    found: u32,
}

impl Lane {
    pub(super) unsafe fn new<const WIDTH: u32>(block: &Block<'_, WIDTH>, stream: &Stream) -> Self {
        let states = block.part(stream.states_at).cast::<u32>();
        let lane = warp::lane_id() as usize;
        let two = block.specs.states_per_lane == 2;
        // SAFETY: a state of the block for each lane.
        let first = unsafe { global::load_u32(states.add(lane)) };
        let second =
            // SAFETY: as many states again, with two states per lane.
            if two { unsafe { global::load_u32(states.add(LANES + lane)) } } else { first };
        let bad = needs_word(first) || needs_word(second);
        let any = warp::warp_vote_ballot(ALL_LANES, bad) != 0;
        Self {
            states: [first, second],
            two,
            words: block.part(stream.words_at).cast(),
            word_count: stream.words,
            taken: 0,
            found: if any { status::INITIAL_STATE } else { 0 },
        }
    }

    /// One step: the symbol of the first state, which then goes behind the second, if there is one.
    pub(super) unsafe fn step(&mut self, table: *const KernelTable) -> u32 {
        let state = self.states[0];
        // SAFETY: the table is one of the launch's; only its address is taken.
        let at = unsafe { (&raw const (*table).entries).cast::<u32>() };
        // SAFETY: a slot is below the table's size.
        let entry = TableEntry(unsafe { global::load_u32(at.add(slot(state) as usize)) });
        // SAFETY: the lane was made for a stream of the block.
        let next = unsafe { self.refill(advance(state, entry), true) };
        self.states = if self.two { [self.states[1], next] } else { [next, next] };
        u32::from(entry.symbol())
    }

    /// The symbol that the states carry with this number, after all steps. Their number was even, so
    /// that the states are in order.
    pub(super) fn carried(&self, number: u32) -> u32 {
        let states = if self.two { 2 } else { 1 };
        let state = self.states[(number % states) as usize];
        u32::from(carried_by(state)) >> (8 * (number / states)) & 0xFF
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
        self.states = if self.two { [self.states[0], next] } else { [next, next] };
        byte_of(state)
    }

    /// The state after it has taken a word, if it is `active` and needs one.
    unsafe fn refill(&mut self, state: u32, active: bool) -> u32 {
        let mut next = state;
        let needs = active && needs_word(next);
        let takers = warp::warp_vote_ballot(ALL_LANES, needs);
        if needs {
            let number = self.taken + (takers & warp::lane_mask_lt()).count_ones();
            let inside = number < self.word_count;
            let word =
                // SAFETY: `number` is below the number of words.
                if inside { unsafe { global::load_u16(self.words.add(number as usize)) } } else { 0 };
            next = take_word(next, word);
        }
        self.taken += takers.count_ones();
        next
    }

    pub(super) fn finish(&self, carries: bool) -> u32 {
        let off = self.states.iter().any(|&state| !is_first_state(state, carries));
        let mut found = self.found;
        if warp::warp_vote_ballot(ALL_LANES, off) != 0 {
            found |= status::FINAL_STATE;
        }
        if self.taken != self.word_count {
            found |= status::WORDS;
        }
        found
    }
}
