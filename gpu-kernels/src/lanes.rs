//! The lanes of a warp that decodes a stream: their states, and the steps that these take.
//!
//! The unsafe functions here share one promise, which those who make [`Lanes`] give: the rings are
//! those of the block, tables lie in shared memory where nobody writes meanwhile, and all lanes of
//! the warp call them together.

use codec::constants::LANES;
use codec::device::status;
use codec::rans::{
    SLOT_SHIFT, STATE_FACTOR, TableEntry, advance, advance_parts, carried_by, carried_step,
    is_first_state, needs_word, slot, take_word,
};
use cuda_std::bits::{byte_permute, multiply_wide, select_bits};
use cuda_std::shared::SharedAddress;
use cuda_std::{global, warp};

use crate::escapes::VALUES_BYTES;
use crate::grid::{ALL_LANES, SharedLayout};
use crate::parts::{Counts, Places};
use crate::ring::{Rings, Source};

/// Bytes of an entry are a power of two.
const ENTRY_BYTES_SHIFT: u32 = 2;

/// What a state holds after a symbol, before a refill, and the entry that it took.
///
/// Where `BY_PRODUCTS` is set, a word with the symbol as its top byte instead of the entry, by the same as [`codec::rans::advance`] with products in the place of
/// shifts: one takes a number apart at a bit, and multiplications have units of their own.
///
/// # Safety
///
/// The table's entries are at `entries`, and no thread writes there.
#[inline(always)]
unsafe fn take_symbol<const BY_PRODUCTS: bool>(entries: SharedAddress, state: u32) -> (u32, u32) {
    if BY_PRODUCTS {
        let [slot, quotient] = multiply_wide(state, STATE_FACTOR);
        let at = entries.offset(slot >> (SLOT_SHIFT - ENTRY_BYTES_SHIFT));
        // SAFETY: a slot is below the table's size.
        let entry = TableEntry(unsafe { at.load_u32_constant() });
        let [symbol, offset] = multiply_wide(entry.0, TableEntry::FACTOR);
        return (advance_parts(quotient, entry.frequency(), offset), symbol);
    }
    let at = entries.offset(slot(state) << ENTRY_BYTES_SHIFT);
    // SAFETY: a slot is below the table's size.
    let entry = TableEntry(unsafe { at.load_u32_constant() });
    (advance(state, entry), entry.0)
}

/// The symbols of four entries as the bytes of a word.
#[inline(always)]
pub(crate) fn pack(entries: [u32; 4]) -> u32 {
    // Of two entries the middle bytes, whose symbols are at bits 4 and 20 then.
    let middle = |first: u32, second: u32| byte_permute(first, second, 0x6521);
    let (even, odd) = (middle(entries[0], entries[2]) >> 4, middle(entries[1], entries[3]) << 4);
    select_bits(0x00FF_00FF, even, odd)
}

/// The same of words with the symbols as their top bytes.
#[inline(always)]
pub(crate) fn pack_tops(words: [u32; 4]) -> u32 {
    let both = |first: u32, second: u32| byte_permute(first, second, 0x0073);
    byte_permute(both(words[0], words[1]), both(words[2], words[3]), 0x5410)
}

/// A lane's states, and what the warp has in common, for a block with `RAW` staged planes, whose runs
/// have `RUN` symbols; how numbers are taken apart, see [`take_symbol`].
pub(crate) struct Lanes<const RAW: usize, const RUN: u32, const S: usize, const BY_PRODUCTS: bool> {
    pub(crate) states: [u32; S],
    pub(crate) rings: Rings<RAW, RUN>,
    shared: SharedLayout,
    /// The lanes before this one.
    below: u32,
    /// Escapes that the lane's symbols announce.
    pub(crate) announced: u32,
}

impl<const RAW: usize, const RUN: u32, const S: usize, const BY_PRODUCTS: bool>
    Lanes<RAW, RUN, S, BY_PRODUCTS>
{
    /// Starts a block, of which `CODING` codes the last plane: copies, then the footer, then the
    /// states, so that none of them waits for another. Returns the counts, and what is wrong with the
    /// states; `None` when the parts do not fill the block.
    ///
    /// # Safety
    ///
    /// The places are those of a readable block, and `shared` is that of a kernel with such rings.
    #[inline(always)]
    pub(crate) unsafe fn open<const CODING: u8>(
        places: &Places,
        shared: SharedLayout,
    ) -> Option<(Self, Counts, u32)> {
        // SAFETY: the parts lie within the block, each followed by its padding.
        let rings = unsafe { Rings::start(shared, places.words, places.raw()) };
        // SAFETY: the caller's promise.
        let counts = unsafe { places.counts::<CODING>() };
        // Not before the footer has been asked for: then F16 and FP8 are 1 to 2 % slower, measured.
        let below = warp::lane_mask_lt();
        let mut lanes = Self { states: [0; S], rings, shared, below, announced: 0 };
        // SAFETY: the states lie within the block, see `Places::of`.
        let bad_start = unsafe { lanes.read_states(places.states) };
        lanes.rings.wait();
        Some((lanes, counts?, bad_start))
    }

    /// Starts the copies of a stream's words and of the raw planes; steps come after
    /// [`Lanes::read_states`], when the copies have been waited for.
    ///
    /// # Safety
    ///
    /// The parts are those of a readable block, each followed by its padding, and `shared` is that of
    /// a kernel with such rings.
    #[inline(always)]
    pub(crate) unsafe fn start(shared: SharedLayout, words: Source, raw: [Source; RAW]) -> Self {
        // SAFETY: the caller's promise.
        let rings = unsafe { Rings::start(shared, words, raw) };
        Self { states: [0; S], rings, shared, below: warp::lane_mask_lt(), announced: 0 }
    }

    /// Where the entries of a block's only table are.
    #[inline(always)]
    pub(crate) fn entries(&self) -> SharedAddress {
        self.shared.entries
    }

    /// Reads the states that a block begins with, and says what is wrong with them.
    ///
    /// # Safety
    ///
    /// At `states` there are `S` of each lane, which are readable.
    #[inline(always)]
    pub(crate) unsafe fn read_states(&mut self, states: *const u32) -> u32 {
        let lane = warp::lane_id() as usize;
        let mut bad = false;
        let mut number = 0;
        while number < S {
            // SAFETY: a state of the block: there are `S` for each lane.
            let state = unsafe { global::load_u32(states.add(number * LANES + lane)) };
            bad |= needs_word(state);
            self.states[number] = state;
            number += 1;
        }
        if warp::warp_vote_ballot(ALL_LANES, bad) != 0 { status::INITIAL_STATE } else { 0 }
    }

    /// Four steps, the first of which is the unit's `FIRST`th, each with the table at its `entries`.
    ///
    /// # Safety
    ///
    /// The module's promise.
    #[inline(always)]
    pub(crate) unsafe fn quarter<const FIRST: u32>(
        &mut self,
        unit: u32,
        entries: [SharedAddress; 4],
    ) -> [u32; 4] {
        let [first, second, third, fourth] = entries;
        // SAFETY: the module's promise; the rings were advanced for these steps.
        unsafe {
            if FIRST.is_multiple_of(Rings::<RAW, RUN>::INTERVAL) {
                self.rings.advance(unit);
            }
            if S == 2 {
                let [a, b] = self.two_steps([first, second]);
                let [c, d] = self.two_steps([third, fourth]);
                return [a, b, c, d];
            }
            [self.step(first), self.step(second), self.step(third), self.step(fourth)]
        }
    }

    /// Two steps, the first of which is the unit's `FIRST`th: the last group of a block, where a quarter is
    /// two groups.
    ///
    /// # Safety
    ///
    /// The module's promise.
    #[inline(always)]
    pub(crate) unsafe fn half_quarter<const FIRST: u32>(&mut self, unit: u32) -> [u32; 4] {
        let entries = self.shared.entries;
        // SAFETY: the module's promise; the rings were advanced for these steps.
        unsafe {
            if FIRST.is_multiple_of(Rings::<RAW, RUN>::INTERVAL) {
                self.rings.advance(unit);
            }
            if S == 2 {
                let [a, b] = self.two_steps([entries; 2]);
                return [a, b, 0, 0];
            }
            [self.step(entries), self.step(entries), 0, 0]
        }
    }

    /// In the place of a run's last four steps, where the states carry the last symbols: those steps
    /// that are left, as [`Lanes::quarter`] has them.
    ///
    /// # Safety
    ///
    /// The module's promise.
    #[inline(always)]
    pub(crate) unsafe fn last_quarter<const FIRST: u32>(&mut self, unit: u32) -> [u32; 4] {
        if S == 2 {
            return [0; 4];
        }
        let entries = self.shared.entries;
        // SAFETY: the module's promise; the rings were advanced for these steps.
        unsafe {
            if FIRST.is_multiple_of(Rings::<RAW, RUN>::INTERVAL) {
                self.rings.advance(unit);
            }
            [self.step(entries), self.step(entries), 0, 0]
        }
    }

    /// What the symbols stand for that the states carry, as the last bytes of a word.
    ///
    /// # Safety
    ///
    /// The module's promise.
    #[inline(always)]
    pub(crate) unsafe fn carried_symbols(&self) -> u32 {
        let mut carried = 0;
        let mut number = 0;
        while number < S {
            let symbols = u32::from(carried_by(self.states[number]));
            let mut byte = 0;
            while byte < 2 {
                // SAFETY: the module's promise.
                let value = unsafe { self.stands_for(symbols >> (8 * byte) & 0xFF) };
                carried |= value << (8 * (4 - 2 * S + carried_step(S, number, byte)));
                byte += 1;
            }
            number += 1;
        }
        carried
    }

    /// A step of the only state; returns what [`take_symbol`] does.
    #[inline(always)]
    unsafe fn step(&mut self, entries: SharedAddress) -> u32 {
        // SAFETY: the table's entries are in shared memory.
        let (mut next, symbol) = unsafe { take_symbol::<BY_PRODUCTS>(entries, self.states[0]) };
        let needs = needs_word(next);
        let takers = warp::warp_vote_ballot(ALL_LANES, needs);
        if needs {
            // SAFETY: the rings were advanced for this step; no more lanes come before than take
            // words.
            let word = unsafe { self.rings.word((takers & self.below).count_ones()) };
            next = take_word(next, word);
        }
        self.rings.take(takers.count_ones());
        self.states[0] = next;
        symbol
    }

    /// A step of each of two states, as independent of each other as they can be: the second's words
    /// follow the first's.
    #[inline(always)]
    unsafe fn two_steps(&mut self, entries: [SharedAddress; 2]) -> [u32; 2] {
        // SAFETY: the table's entries are in shared memory.
        let ((mut next_0, symbol_0), (mut next_1, symbol_1)) = unsafe {
            (
                take_symbol::<BY_PRODUCTS>(entries[0], self.states[0]),
                take_symbol::<BY_PRODUCTS>(entries[1], self.states[S - 1]),
            )
        };
        let (needs_0, needs_1) = (needs_word(next_0), needs_word(next_1));
        let takers_0 = warp::warp_vote_ballot(ALL_LANES, needs_0);
        let takers_1 = warp::warp_vote_ballot(ALL_LANES, needs_1);
        if needs_0 {
            // SAFETY: the rings were advanced for this step; no more lanes come before than take
            // words.
            let word = unsafe { self.rings.word((takers_0 & self.below).count_ones()) };
            next_0 = take_word(next_0, word);
        }
        self.rings.take(takers_0.count_ones());
        if needs_1 {
            // SAFETY: as above; the words of the step before come first.
            let word = unsafe { self.rings.word((takers_1 & self.below).count_ones()) };
            next_1 = take_word(next_1, word);
        }
        self.rings.take(takers_1.count_ones());
        self.states[0] = next_0;
        self.states[S - 1] = next_1;
        [symbol_0, symbol_1]
    }

    /// Both values of the pair that an entry stands for, in the low half.
    ///
    /// # Safety
    ///
    /// The module's promise.
    #[inline(always)]
    pub(crate) unsafe fn values(&self, entry: u32) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { self.stands_for(u32::from(TableEntry(entry).symbol())) }
    }

    /// What a symbol stands for.
    #[inline(always)]
    unsafe fn stands_for(&self, symbol: u32) -> u32 {
        let at = self.shared.expanded.offset(symbol * VALUES_BYTES);
        // SAFETY: every symbol has an entry, and nobody changes it while the block is decoded.
        unsafe { at.load_u32_constant() }
    }

    /// Four 32-bit elements of group `group` of a unit: three raw planes and the values of two pairs.
    ///
    /// # Safety
    ///
    /// The module's promise.
    #[inline(always)]
    pub(crate) unsafe fn merge_words<const ROTATED: bool>(
        &self,
        unit: u32,
        group: u32,
        pairs: [u32; 2],
    ) -> [u32; 4] {
        let offset = group * 128 + warp::lane_id() * 4;
        // SAFETY: this unit's raw bytes are in the rings.
        let plane = |number: u32| unsafe { self.rings.raw(unit, number).offset(offset).load_u32() };
        let top = byte_permute(pairs[0], pairs[1], 0x5410);
        let (p0, p1, p2) = (plane(0), plane(1), plane(2));
        // A transposition of 4 x 4 bytes.
        let (even_low, even_high) = (byte_permute(p0, p1, 0x5140), byte_permute(p2, top, 0x5140));
        let (odd_low, odd_high) = (byte_permute(p0, p1, 0x7362), byte_permute(p2, top, 0x7362));
        [
            byte_permute(even_low, even_high, 0x5410),
            byte_permute(even_low, even_high, 0x7632),
            byte_permute(odd_low, odd_high, 0x5410),
            byte_permute(odd_low, odd_high, 0x7632),
        ]
        .map(|element| if ROTATED { element.rotate_right(1) } else { element })
    }

    /// Puts the bytes that the states carry behind the first `raw_length` of raw plane 0, to be merged
    /// like all others.
    ///
    /// # Safety
    ///
    /// The module's promise; the last unit's symbols have been decoded, those bytes belong to it, and
    /// `raw_length` is even.
    #[inline(always)]
    pub(crate) unsafe fn put_carried(&self, raw_length: u32) {
        let mut number = 0;
        while number < S {
            let at = raw_length + 2 * (number as u32 * LANES as u32 + warp::lane_id());
            // SAFETY: the caller's promise.
            unsafe { self.rings.replace_raw(at, carried_by(self.states[number])) };
            number += 1;
        }
        warp::sync_warp(ALL_LANES);
    }

    /// What the states, which carry something or not, and the number of words say at the end.
    #[inline(always)]
    pub(crate) fn finish(&self, counts: &Counts, carries: bool) -> u32 {
        let mut off = false;
        let mut number = 0;
        while number < S {
            off |= !is_first_state(self.states[number], carries);
            number += 1;
        }
        let mut found = 0;
        if warp::warp_vote_ballot(ALL_LANES, off) != 0 {
            found |= status::FINAL_STATE;
        }
        if self.rings.words_taken() != counts.words {
            found |= status::WORDS;
        }
        found
    }
}
