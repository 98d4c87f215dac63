//! Kernels for the plans with a single stream: one body, specialised by constants.
//!
//! The unsafe functions here share one promise, which a kernel's caller gives: the task's block is
//! readable and its output writable for their lengths, shared memory is laid out as
//! [`SharedLayout`] says, and all lanes of the warp call them together.

use codec::constants::{BLOCK_ALIGNMENT, LANE_RUN_BYTES, LANES};
use codec::device::staging::WarpMemory;
use codec::device::{BlockTask, status};
use codec::rans::{
    SLOT_SHIFT, STATE_FACTOR, TableEntry, advance_parts, carried_by, is_first_state, needs_word,
    take_word,
};
use codec::split::{merge_four_nibbles, unrotate_bytes, unrotate_halves};
use cuda_std::bits::{byte_permute, multiply_wide};
use cuda_std::shared::SharedAddress;
use cuda_std::{global, kernel, warp};

use crate::escapes::{Escapes, MARK, VALUES_BYTES, announced, announced_by_all};
use crate::grid::{ALL_LANES, SharedLayout, Work, for_each_task};
use crate::output::{replace_bits, store_run};
use crate::ring::{Rings, Source};

/// One symbol per element.
const SYMBOLS: u8 = codec::device::plane_kind::SYMBOLS;
/// Two elements per symbol, by rank.
const PAIRS: u8 = codec::device::plane_kind::PAIRS;
/// Two elements per symbol, by nibble.
const NIBBLE_PAIRS: u8 = codec::device::plane_kind::NIBBLE_PAIRS;

/// Steps of a part of a unit: as many as have their symbols in registers before they are merged.
const QUARTER: u32 = 4;

/// The constants of a specialisation: bytes of an element, coding of its last plane, symbols of a
/// lane in one group, raw planes to be staged (all others, or one of nibbles), rotation, states per
/// lane.
struct Body<
    const WIDTH: u32,
    const CODING: u8,
    const RUN: u32,
    const RAW: usize,
    const ROTATED: bool,
    const S: usize,
>;

/// Elements that a symbol stands for.
const fn elements_per_symbol(coding: u8) -> u32 {
    if coding == SYMBOLS { 1 } else { 2 }
}

/// Symbols of a lane in one group.
const fn run_symbols(width: u32, coding: u8) -> u32 {
    LANE_RUN_BYTES as u32 / width / elements_per_symbol(coding)
}

impl<
    const WIDTH: u32,
    const CODING: u8,
    const RUN: u32,
    const RAW: usize,
    const ROTATED: bool,
    const S: usize,
> Body<WIDTH, CODING, RUN, RAW, ROTATED, S>
{
    /// A unit is a group, or as many as it takes to have four steps.
    const UNIT_STEPS: u32 = if RUN < QUARTER { QUARTER } else { RUN };
    const GROUPS_PER_UNIT: u32 = Self::UNIT_STEPS / RUN;
    const GROUP_BYTES: u32 = codec::constants::GROUP_BYTES as u32;

    /// Decodes one block and returns its status.
    #[inline(always)]
    unsafe fn decode(task: BlockTask, shared: SharedLayout) -> u32 {
        // SAFETY: the module's promise.
        let Some(parts) = (unsafe { Parts::read::<WIDTH, CODING, RAW, S>(&task) }) else {
            return status::LENGTH;
        };
        // SAFETY: the parts lie within the block, each followed by its padding.
        let rings = unsafe { Rings::open(shared, parts.words, parts.raw()) };
        let mut lanes =
            Lanes::<RAW, RUN, S> { states: [0; S], rings, shared, below: 0, announced: 0 };
        lanes.below = warp::lane_mask_lt();
        // SAFETY: the states lie within the block, see `Parts::read`.
        let bad_start = unsafe { lanes.read_states(parts.states) };
        let out_bytes = task.elements * WIDTH;
        let units = out_bytes.div_ceil(Self::GROUP_BYTES * Self::GROUPS_PER_UNIT);
        let mut unit = 0;
        while unit < units {
            // SAFETY: the module's promise; the unit is one of the block's.
            unsafe { Self::decode_unit(&mut lanes, unit, task.out as *mut u8, out_bytes) };
            unit += 1;
        }
        let mut found = lanes.finish(&parts) | bad_start;
        if RAW > 0 && parts.carried > 0 {
            // SAFETY: the module's promise; plane 0 is `carried` bytes longer than `raw_length`.
            unsafe { Self::fill_in_carried(&parts, &lanes, &task) };
        }
        if CODING == PAIRS {
            // SAFETY: the module's promise; the escapes lie within the block.
            found |= unsafe {
                let mark = shared.expanded.offset(MARK).load_u32();
                let place = (WIDTH - 1, u32::from(ROTATED));
                parts.escapes.fill_in::<WIDTH>(&task, place, mark, lanes.announced)
            };
        }
        found
    }

    #[inline(always)]
    unsafe fn decode_unit(lanes: &mut Lanes<RAW, RUN, S>, unit: u32, out: *mut u8, out_bytes: u32) {
        let none = [0; 4];
        // SAFETY: the module's promise; each quarter follows the one before.
        let groups = unsafe {
            let groups_left = out_bytes.div_ceil(Self::GROUP_BYTES) - unit * Self::GROUPS_PER_UNIT;
            let first = if groups_left < Self::GROUPS_PER_UNIT {
                lanes.half_quarter(unit)
            } else {
                lanes.quarter::<0>(unit)
            };
            let second = if Self::UNIT_STEPS > 4 { lanes.quarter::<4>(unit) } else { none };
            let third = if Self::UNIT_STEPS > 8 { lanes.quarter::<8>(unit) } else { none };
            let fourth = if Self::UNIT_STEPS > 12 { lanes.quarter::<12>(unit) } else { none };
            Self::merge(lanes, unit, out_bytes, [first, second, third, fourth])
        };
        let lane_at = warp::lane_id() * 16;
        let first_at = unit * (Self::GROUP_BYTES * Self::GROUPS_PER_UNIT) + lane_at;
        // SAFETY: the output has `out_bytes`; a run begins at a multiple of 16.
        unsafe { store_run(out, first_at, out_bytes, groups[0]) };
        if Self::GROUPS_PER_UNIT == 2 {
            // SAFETY: as above; a group further on.
            unsafe { store_run(out, first_at + Self::GROUP_BYTES, out_bytes, groups[1]) };
        }
    }

    /// A lane's runs of a unit, one or two, from its symbols and raw bytes.
    #[inline(always)]
    unsafe fn merge(
        lanes: &mut Lanes<RAW, RUN, S>,
        unit: u32,
        out_bytes: u32,
        s: [[u32; 4]; 4],
    ) -> [[u32; 4]; 2] {
        let lane = warp::lane_id();
        let group_at = |group: u32| (unit * Self::GROUPS_PER_UNIT + group) * Self::GROUP_BYTES;
        let unused = [0; 4];
        // SAFETY: this unit's raw bytes are in the rings, and its symbols in the table.
        unsafe {
            if WIDTH == 1 && CODING == SYMBOLS {
                return [[pack(s[0]), pack(s[1]), pack(s[2]), pack(s[3])].map(Self::bytes), unused];
            }
            if WIDTH == 1 && CODING == PAIRS {
                let v: [u32; 8] = core::array::from_fn(|n| lanes.values(s[n / 4][n % 4]));
                lanes.announced += Self::announced(v, group_at(0), out_bytes);
                let two = |a: u32, b: u32| Self::bytes(byte_permute(a, b, 0x5410));
                return [
                    [two(v[0], v[1]), two(v[2], v[3]), two(v[4], v[5]), two(v[6], v[7])],
                    unused,
                ];
            }
            if WIDTH == 4 {
                let v = s[0].map(|symbol| lanes.values(symbol));
                lanes.announced += Self::announced([v[0], v[1]], group_at(0), out_bytes);
                lanes.announced += Self::announced([v[2], v[3]], group_at(1), out_bytes);
                return [
                    lanes.merge_words::<ROTATED>(unit, 0, [v[0], v[1]]),
                    lanes.merge_words::<ROTATED>(unit, 1, [v[2], v[3]]),
                ];
            }
            let [low, high] = lanes.rings.raw(unit, 0).offset(lane * 8).load_u32x2();
            if WIDTH == 1 {
                let four = |a: u32, b: u32, raw: u32, selector: u32| {
                    // To bits 0 and 16; what else is there is masked out.
                    let symbols = byte_permute(a, b, 0x0703);
                    Self::bytes(merge_four_nibbles(symbols, byte_permute(raw, 0, selector)))
                };
                let [a, b] = [s[0], s[1]];
                // Raw bytes 0 and 1 of a word to bits 0 and 16, then 2 and 3.
                let run = [
                    four(a[0], a[1], low, 0x4140),
                    four(a[2], a[3], low, 0x4342),
                    four(b[0], b[1], high, 0x4140),
                    four(b[2], b[3], high, 0x4342),
                ];
                return [run, unused];
            }
            let top = if CODING == PAIRS {
                let values = s[0].map(|symbol| lanes.values(symbol));
                lanes.announced += Self::announced(values, group_at(0), out_bytes);
                values
            } else {
                let [a, b] = [s[0], s[1]];
                [(a[0], a[1]), (a[2], a[3]), (b[0], b[1]), (b[2], b[3])]
                    .map(|(a, b)| pack_two(a, b))
            };
            let halves = |raw: u32, top: u32, selector: u32| {
                let both = byte_permute(raw, top, selector);
                if ROTATED { unrotate_halves(both) } else { both }
            };
            let run = [
                halves(low, top[0], 0x5140),
                halves(low, top[1], 0x5342),
                halves(high, top[2], 0x5140),
                halves(high, top[3], 0x5342),
            ];
            [run, unused]
        }
    }

    /// Escapes that a run's pairs announce, in the group that begins at byte `at` of the output.
    #[inline(always)]
    fn announced<const N: usize>(values: [u32; N], at: u32, out_bytes: u32) -> u32 {
        if at + Self::GROUP_BYTES <= out_bytes {
            return announced_by_all(values);
        }
        let run_at = at + warp::lane_id() * LANE_RUN_BYTES as u32;
        announced(values, out_bytes.saturating_sub(run_at).div_ceil(2 * WIDTH))
    }

    #[inline(always)]
    fn bytes(elements: u32) -> u32 {
        if ROTATED { unrotate_bytes(elements) } else { elements }
    }

    /// Puts the bytes that the states carried over whatever was merged in their place.
    #[inline(always)]
    unsafe fn fill_in_carried(parts: &Parts, lanes: &Lanes<RAW, RUN, S>, task: &BlockTask) {
        // What other lanes have written must be there before it is added to.
        warp::sync_warp(ALL_LANES);
        let out = task.out as *mut u8;
        let mut number = 0;
        while number < S {
            let carried = carried_by(lanes.states[number]);
            let at = parts.raw_length + number as u32 * 64 + warp::lane_id() * 2;
            let mut byte = 0;
            while byte < 2 {
                let value = (carried >> (8 * byte)) as u8;
                let at = at + byte;
                // SAFETY: the carried bytes are the last of plane 0, so that their elements exist.
                unsafe {
                    let arranged = u32::from(ROTATED);
                    if CODING == NIBBLE_PAIRS {
                        replace_bits::<WIDTH>(out, 2 * at, (0, 0x0F), value & 15, arranged);
                        if 2 * at + 1 < task.elements {
                            replace_bits::<WIDTH>(out, 2 * at + 1, (0, 0x0F), value >> 4, arranged);
                        }
                    } else {
                        replace_bits::<WIDTH>(out, at, (0, 0xFF), value, arranged);
                    }
                }
                byte += 1;
            }
            number += 1;
        }
    }
}

/// What a state holds after a symbol, before a refill, and a word with the symbol as its top byte.
///
/// The same as [`codec::rans::advance`], with products in the place of shifts: one takes a number
/// apart at a bit, and multiplications have units of their own, which the other instructions of a step
/// leave idle.
///
/// # Safety
///
/// The table's entries are at `entries`, and no thread writes there.
#[inline(always)]
unsafe fn take_symbol(entries: SharedAddress, state: u32) -> (u32, u32) {
    const ENTRY_BYTES_SHIFT: u32 = 2;
    let [slot, quotient] = multiply_wide(state, STATE_FACTOR);
    let at = entries.offset(slot >> (SLOT_SHIFT - ENTRY_BYTES_SHIFT));
    // SAFETY: a slot is below the table's size.
    let entry = TableEntry(unsafe { at.load_u32_constant() });
    let [symbol, offset] = multiply_wide(entry.0, TableEntry::FACTOR);
    (advance_parts(quotient, entry.frequency(), offset), symbol)
}

/// The symbols of four words as the bytes of one.
#[inline(always)]
fn pack(symbols: [u32; 4]) -> u32 {
    let [a, b, c, d] = symbols;
    byte_permute(pack_two(a, b), pack_two(c, d), 0x5410)
}

/// The symbols of two words as the lowest bytes of one.
#[inline(always)]
fn pack_two(first: u32, second: u32) -> u32 {
    byte_permute(first, second, 0x0073)
}

/// The parts of a block, checked against its length.
struct Parts {
    raw_start: *const u8,
    /// Bytes of each raw plane that are stored; plane 0 is `carried` shorter than the others.
    raw_length: u32,
    /// Bytes of plane 0 that the states carry.
    carried: u32,
    states: *const u32,
    words: Source,
    word_count: u32,
    escapes: Escapes,
}

const fn aligned(bytes: u32) -> u32 {
    bytes.next_multiple_of(BLOCK_ALIGNMENT as u32)
}

impl Parts {
    /// The layout of `docs/FORMAT.md`, section 4, for a block with one stream; `None` when the
    /// parts do not fill the block exactly.
    #[inline(always)]
    unsafe fn read<const WIDTH: u32, const CODING: u8, const RAW: usize, const S: usize>(
        task: &BlockTask,
    ) -> Option<Self> {
        const FOOTER: u32 = 8;
        let block = task.block as *const u8;
        if task.block_bytes < FOOTER {
            return None;
        }
        let footer = block.wrapping_add((task.block_bytes - FOOTER) as usize).cast::<u32>();
        // SAFETY: the block is long enough for its counts, see above.
        let (words, escapes) =
            unsafe { (global::load_u32(footer), global::load_u32(footer.add(1))) };
        // So that nothing below overflows.
        if words > task.block_bytes
            || escapes > task.block_bytes
            || task.block_bytes > 1 << 28
            || !task.block_bytes.is_multiple_of(BLOCK_ALIGNMENT as u32)
            || CODING != PAIRS && escapes > 0
        {
            return None;
        }
        let raw_bytes =
            if CODING == NIBBLE_PAIRS { task.elements.div_ceil(2) } else { task.elements };
        let room = (S * LANES * 2) as u32;
        let carried = if RAW > 0 && raw_bytes >= room { room } else { 0 };
        let states_at = match RAW as u32 {
            0 => 0,
            planes => aligned(raw_bytes - carried) + (planes - 1) * aligned(raw_bytes),
        };
        let words_at = states_at + (S * LANES * 4) as u32;
        let escapes_at = (words_at + 2 * words).next_multiple_of(4);
        if aligned(escapes_at + 4 * escapes + FOOTER) != task.block_bytes {
            return None;
        }
        let part = |at: u32| block.wrapping_add(at as usize);
        Some(Self {
            raw_start: block,
            raw_length: raw_bytes - carried,
            carried,
            states: part(states_at).cast(),
            words: Source { start: part(words_at), length: 2 * words },
            word_count: words,
            escapes: Escapes { list: part(escapes_at).cast(), count: escapes },
        })
    }

    #[inline(always)]
    fn raw<const RAW: usize>(&self) -> [Source; RAW] {
        let others = self.raw_length + self.carried;
        let first_end = aligned(self.raw_length);
        core::array::from_fn(|plane| {
            let (at, length) = match plane as u32 {
                0 => (0, self.raw_length),
                plane => (first_end + (plane - 1) * aligned(others), others),
            };
            Source { start: self.raw_start.wrapping_add(at as usize), length }
        })
    }
}

/// A lane's states, and what the warp has in common.
struct Lanes<const RAW: usize, const RUN: u32, const S: usize> {
    states: [u32; S],
    rings: Rings<RAW, RUN>,
    shared: SharedLayout,
    /// The lanes before this one.
    below: u32,
    /// Escapes that the lane's symbols announce.
    announced: u32,
}

impl<const RAW: usize, const RUN: u32, const S: usize> Lanes<RAW, RUN, S> {
    #[inline(always)]
    unsafe fn read_states(&mut self, states: *const u32) -> u32 {
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

    /// Four steps, the first of which is the unit's `FIRST`th.
    #[inline(always)]
    unsafe fn quarter<const FIRST: u32>(&mut self, unit: u32) -> [u32; 4] {
        // SAFETY: the module's promise; the rings were advanced for these steps.
        unsafe {
            if FIRST.is_multiple_of(Rings::<RAW, RUN>::INTERVAL) {
                self.rings.advance(unit);
            }
            if S == 2 {
                let [a, b] = self.two_steps();
                let [c, d] = self.two_steps();
                return [a, b, c, d];
            }
            [self.step(0), self.step(0), self.step(0), self.step(0)]
        }
    }

    /// Two steps: the last group of a block whose units have two groups.
    #[inline(always)]
    unsafe fn half_quarter(&mut self, unit: u32) -> [u32; 4] {
        // SAFETY: the module's promise; the rings were advanced for these steps.
        unsafe {
            self.rings.advance(unit);
            if S == 2 {
                let [a, b] = self.two_steps();
                return [a, b, 0, 0];
            }
            [self.step(0), self.step(0), 0, 0]
        }
    }

    /// A step of one state: a word with the symbol as its top byte.
    #[inline(always)]
    unsafe fn step(&mut self, number: usize) -> u32 {
        // SAFETY: the table's entries are in shared memory.
        let (mut next, symbol) = unsafe { take_symbol(self.shared.entries, self.states[number]) };
        let needs = needs_word(next);
        let takers = warp::warp_vote_ballot(ALL_LANES, needs);
        if needs {
            // SAFETY: the rings were advanced for this step; no more lanes come before than take
            // words.
            let word = unsafe { self.rings.word((takers & self.below).count_ones()) };
            next = take_word(next, word);
        }
        self.rings.take(takers.count_ones());
        self.states[number] = next;
        symbol
    }

    /// A step of each of two states, as independent of each other as they can be: the second's words
    /// follow the first's.
    #[inline(always)]
    unsafe fn two_steps(&mut self) -> [u32; 2] {
        let entries = self.shared.entries;
        // SAFETY: the table's entries are in shared memory.
        let ((mut next_0, symbol_0), (mut next_1, symbol_1)) = unsafe {
            (take_symbol(entries, self.states[0]), take_symbol(entries, self.states[S - 1]))
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

    /// Both values of the pair's symbol in the top byte of a word, in the low half.
    #[inline(always)]
    unsafe fn values(&self, symbol: u32) -> u32 {
        let at = self.shared.expanded.offset((symbol >> 24) * VALUES_BYTES);
        // SAFETY: every symbol has an entry, and nobody changes it while the block is decoded.
        unsafe { at.load_u32_constant() }
    }

    /// Four 32-bit elements of group `group` of a unit: three raw planes and the values of two pairs.
    #[inline(always)]
    unsafe fn merge_words<const ROTATED: bool>(
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

    #[inline(always)]
    fn finish(&self, parts: &Parts) -> u32 {
        let mut off = false;
        let mut number = 0;
        while number < S {
            off |= !is_first_state(self.states[number], parts.carried > 0);
            number += 1;
        }
        let mut found = 0;
        if warp::warp_vote_ballot(ALL_LANES, off) != 0 {
            found |= status::FINAL_STATE;
        }
        if self.rings.words_taken() != parts.word_count {
            found |= status::WORDS;
        }
        found
    }
}

macro_rules! fast_kernels {
    ($($(#[$doc:meta])* $name:ident: $width:literal, $coding:ident, $raw:literal, $rotated:literal, $states:literal;)*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// As for [`for_each_task`]; the tasks' blocks and outputs are valid for their lengths.
        #[kernel]
        pub unsafe fn $name(
            groups: *const codec::device::TaskGroup,
            group_count: u32,
            counters: *mut u32,
            tasks: *const BlockTask,
            tables: *const codec::device::KernelTable,
            status: *mut u32,
        ) {
            let work = Work { groups, group_count, counters, tasks, tables, status };
            // SAFETY: the caller's promise.
            unsafe {
                let memory = WarpMemory::new($width, elements_per_symbol($coding), $raw);
                for_each_task(work, memory, |task, shared| {
                    type Kernel = Body<
                        $width, $coding, { run_symbols($width, $coding) }, $raw, $rotated, $states,
                    >;
                    Kernel::decode(task, shared)
                });
            }
        }
    )* };
}

fast_kernels! {
    /// BF16 and F16-like: exponents in pairs, the low byte raw.
    decode_2_pairs_rotated_1: 2, PAIRS, 1, true, 1;
    /// The same with two states per lane.
    decode_2_pairs_rotated_2: 2, PAIRS, 1, true, 2;
    /// F16: the high byte as a symbol, the low byte raw.
    decode_2_symbols_rotated_1: 2, SYMBOLS, 1, true, 1;
    /// The same with two states per lane.
    decode_2_symbols_rotated_2: 2, SYMBOLS, 1, true, 2;
    /// F32: exponents in pairs, three bytes raw.
    decode_4_pairs_rotated_1: 4, PAIRS, 3, true, 1;
    /// The same with two states per lane.
    decode_4_pairs_rotated_2: 4, PAIRS, 3, true, 2;
    /// INT8: high nibbles in pairs, low nibbles raw.
    decode_1_nibbles_1: 1, NIBBLE_PAIRS, 1, false, 1;
    /// The same with two states per lane.
    decode_1_nibbles_2: 1, NIBBLE_PAIRS, 1, false, 2;
    /// FP8: exponents in pairs, sign and mantissa raw.
    decode_1_nibbles_rotated_1: 1, NIBBLE_PAIRS, 1, true, 1;
    /// The same with two states per lane.
    decode_1_nibbles_rotated_2: 1, NIBBLE_PAIRS, 1, true, 2;
    /// Bytes, packed 4-bit values: a symbol each.
    decode_1_symbols_1: 1, SYMBOLS, 0, false, 1;
    /// The same with two states per lane.
    decode_1_symbols_2: 1, SYMBOLS, 0, false, 2;
    /// FP8: a symbol each.
    decode_1_symbols_rotated_1: 1, SYMBOLS, 0, true, 1;
    /// The same with two states per lane.
    decode_1_symbols_rotated_2: 1, SYMBOLS, 0, true, 2;
    /// Bytes of few values: two per symbol.
    decode_1_pairs_1: 1, PAIRS, 0, false, 1;
    /// The same with two states per lane.
    decode_1_pairs_2: 1, PAIRS, 0, false, 2;
}
