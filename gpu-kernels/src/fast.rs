//! Kernels for the plans with a single stream: one body, specialised by constants.
//!
//! The unsafe functions here share one promise, which a kernel's caller gives: the task's block is
//! readable and its output writable for their lengths, shared memory is laid out as
//! [`SharedLayout`] says, and all lanes of the warp call them together.

use codec::block::fills_groups;
use codec::constants::LANE_RUN_BYTES;
use codec::device::staging::WarpMemory;
use codec::device::{BlockTask, THREADS, status};
use codec::rans::carried_by;
use cuda_std::bits::{byte_permute, select_bits};
use cuda_std::{global, kernel, warp};

use crate::escapes::{MARK, announced, announced_by_all};
use crate::grid::{ALL_LANES, SharedLayout, Work, for_each_task};
use crate::lanes::{Lanes, pack, pack_tops};
use crate::output::{replace_bits, store_run};
use crate::parts::Places;

/// One symbol per element.
const SYMBOLS: u8 = codec::device::plane_kind::SYMBOLS;
/// Two elements per symbol, by rank.
const PAIRS: u8 = codec::device::plane_kind::PAIRS;
/// Two elements per symbol, by nibble.
const NIBBLE_PAIRS: u8 = codec::device::plane_kind::NIBBLE_PAIRS;

/// Steps of a part of a unit: as many as have their symbols in registers before they are merged.
const QUARTER: u32 = 4;

/// The same as [`codec::split::unrotate_halves`], in an instruction less.
#[inline(always)]
fn unrotate_halves(elements: u32) -> u32 {
    select_bits(0x7FFF_7FFF, elements >> 1, elements << 15)
}

/// The first and the second elements of four pairs, from their symbols, which are high nibbles, and raw
/// bytes, which are low ones; of rotated elements with the rotation undone. The same as
/// [`codec::split::merge_nibbles`].
#[inline(always)]
fn merge_nibbles(symbols: u32, raw: u32, rotated: bool) -> [u32; 2] {
    if !rotated {
        let low = |raw, symbols| select_bits(0x0F0F_0F0F, raw, symbols);
        return [low(raw, symbols << 4), low(raw >> 4, symbols)];
    }
    // A rotated element's lowest bit becomes its highest, the others move down.
    let low = |down, up| select_bits(0x7F7F_7F7F, down, up);
    let high = |symbols, low| select_bits(0x7878_7878, symbols, low);
    [high(symbols << 3, low(raw >> 1, raw << 7)), high(symbols >> 1, low(raw >> 5, raw << 3))]
}

/// The low and the high bytes of four rotated elements of two bytes, whose high bytes have been rotated
/// right by one bit each, as [`codec::device::KernelTable::unrotated`] has symbols: so each byte gets one
/// bit from the other.
#[inline(always)]
fn unrotate_planes(low: u32, high: u32) -> [u32; 2] {
    [select_bits(0x7F7F_7F7F, low >> 1, high), select_bits(0x7F7F_7F7F, high, low << 7)]
}

/// The constants of a specialisation: bytes of an element, coding of its last plane, symbols of a
/// lane in one group, raw planes to be staged (all others, or one of nibbles), rotation, states per
/// lane, how states are taken apart.
struct Body<
    const WIDTH: u32,
    const CODING: u8,
    const RUN: u32,
    const RAW: usize,
    const ROTATED: bool,
    const S: usize,
    const BY_PRODUCTS: bool,
>;

/// Elements that a symbol stands for.
const fn elements_per_symbol(coding: u8) -> u32 {
    if coding == SYMBOLS { 1 } else { 2 }
}

/// Symbols of a lane in one group.
const fn run_symbols(width: u32, coding: u8) -> u32 {
    LANE_RUN_BYTES as u32 / width / elements_per_symbol(coding)
}

/// Whether states are taken apart by products: measured, that is faster for pairs of nibbles only,
/// whose merging keeps the other units busy.
const fn by_products(coding: u8) -> bool {
    coding == NIBBLE_PAIRS
}

impl<
    const WIDTH: u32,
    const CODING: u8,
    const RUN: u32,
    const RAW: usize,
    const ROTATED: bool,
    const S: usize,
    const BY_PRODUCTS: bool,
> Body<WIDTH, CODING, RUN, RAW, ROTATED, S, BY_PRODUCTS>
{
    /// A unit is a group, or as many as it takes to have four steps.
    const UNIT_STEPS: u32 = if RUN < QUARTER { QUARTER } else { RUN };
    const GROUPS_PER_UNIT: u32 = Self::UNIT_STEPS / RUN;
    const GROUP_BYTES: u32 = codec::constants::GROUP_BYTES as u32;
    /// Whether the states of whole groups carry the last symbols, see
    /// [`codec::block::BlockSpec::carries_symbols`].
    const CARRIES_SYMBOLS: bool = WIDTH == 1 && CODING == SYMBOLS;

    /// Decodes one block and returns its status.
    #[inline(always)]
    unsafe fn decode(task: BlockTask, shared: SharedLayout) -> u32 {
        let Some(places) = Places::of::<WIDTH, CODING, RAW, S>(&task) else {
            return status::LENGTH;
        };
        // SAFETY: the module's promise.
        let opened = unsafe { Lanes::<RAW, RUN, S, BY_PRODUCTS>::open::<CODING>(&places, shared) };
        let Some((mut lanes, counts, bad_start)) = opened else {
            return status::LENGTH;
        };
        let out_bytes = task.elements * WIDTH;
        let last = out_bytes.div_ceil(Self::GROUP_BYTES * Self::GROUPS_PER_UNIT).saturating_sub(1);
        let last_carries = RAW > 0 && places.carries_into(last);
        // SAFETY: the module's promise; the units are those of the block.
        unsafe {
            let out = task.out as *mut u8;
            let mut unit = 0;
            while unit < last {
                Self::decode_unit::<false>(&mut lanes, unit, None, out, out_bytes);
                unit += 1;
            }
            let carried_from = if last_carries { Some(places.raw_length) } else { None };
            Self::decode_unit::<true>(&mut lanes, last, carried_from, out, out_bytes);
        }
        let carries =
            places.carried > 0 || Self::CARRIES_SYMBOLS && fills_groups(out_bytes as usize);
        let mut found = lanes.finish(&counts, carries) | bad_start;
        if RAW > 0 && places.carried > 0 && !last_carries {
            // SAFETY: the module's promise; plane 0 is `carried` bytes longer than `raw_length`.
            unsafe { Self::fill_in_carried(&places, &lanes, &task) };
        }
        if CODING == PAIRS {
            // SAFETY: the module's promise; the escapes lie within the block.
            found |= unsafe {
                let mark = shared.expanded.offset(MARK).load_u32();
                let place = (WIDTH - 1, u32::from(ROTATED));
                counts.escapes.fill_in::<WIDTH>(&task, place, mark, lanes.announced)
            };
        }
        found
    }

    /// Decodes a unit. All but the `LAST` are whole, and the states carry nothing of them: the loop over
    /// them has nothing to ask.
    #[inline(always)]
    unsafe fn decode_unit<const LAST: bool>(
        lanes: &mut Lanes<RAW, RUN, S, BY_PRODUCTS>,
        unit: u32,
        carried_from: Option<u32>,
        out: *mut u8,
        out_bytes: u32,
    ) {
        let none = [0; 4];
        let table = [lanes.entries(); 4];
        let first_byte = unit * (Self::GROUP_BYTES * Self::GROUPS_PER_UNIT);
        let carried = LAST && Self::CARRIES_SYMBOLS && first_byte + Self::GROUP_BYTES == out_bytes;
        // SAFETY: the module's promise; each quarter follows the one before.
        let mut groups = unsafe {
            let is_half =
                LAST && Self::GROUPS_PER_UNIT == 2 && first_byte + Self::GROUP_BYTES >= out_bytes;
            let first = if is_half {
                lanes.half_quarter::<0>(unit)
            } else {
                lanes.quarter::<0>(unit, table)
            };
            let second = if Self::UNIT_STEPS > 4 { lanes.quarter::<4>(unit, table) } else { none };
            let third = if Self::UNIT_STEPS > 8 { lanes.quarter::<8>(unit, table) } else { none };
            let fourth = match Self::UNIT_STEPS > 12 {
                true if carried => lanes.last_quarter::<12>(unit),
                true => lanes.quarter::<12>(unit, table),
                false => none,
            };
            if LAST && let Some(raw_length) = carried_from {
                lanes.put_carried(raw_length);
            }
            let length = if LAST { out_bytes } else { u32::MAX };
            Self::merge(lanes, unit, length, [first, second, third, fourth])
        };
        if carried {
            // SAFETY: the module's promise.
            groups[0][3] |= unsafe { lanes.carried_symbols() };
        }
        let mut group = 0;
        while group < Self::GROUPS_PER_UNIT {
            let at = first_byte + group * Self::GROUP_BYTES + warp::lane_id() * 16;
            let run = groups[group as usize];
            // SAFETY: the output has `out_bytes`, of which a whole unit has all of a run's; a run begins
            // at a multiple of 16.
            unsafe {
                if LAST {
                    store_run(out, at, out_bytes, run);
                } else {
                    global::store_u32x4(out.add(at as usize).cast(), run);
                }
            }
            group += 1;
        }
    }

    /// A lane's runs of a unit, one or two, from its symbols and raw bytes.
    #[inline(always)]
    unsafe fn merge(
        lanes: &mut Lanes<RAW, RUN, S, BY_PRODUCTS>,
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
                return [s.map(pack), unused];
            }
            if WIDTH == 1 && CODING == PAIRS {
                let v: [u32; 8] = core::array::from_fn(|n| lanes.values(s[n / 4][n % 4]));
                lanes.announced += Self::announced(v, group_at(0), out_bytes);
                let two = |a: u32, b: u32| byte_permute(a, b, 0x5410);
                return [
                    [two(v[0], v[1]), two(v[2], v[3]), two(v[4], v[5]), two(v[6], v[7])],
                    unused,
                ];
            }
            if WIDTH == 4 {
                let v = s[0].map(|entry| lanes.values(entry));
                lanes.announced += Self::announced([v[0], v[1]], group_at(0), out_bytes);
                lanes.announced += Self::announced([v[2], v[3]], group_at(1), out_bytes);
                return [
                    lanes.merge_words::<ROTATED>(unit, 0, [v[0], v[1]]),
                    lanes.merge_words::<ROTATED>(unit, 1, [v[2], v[3]]),
                ];
            }
            let [low, high] = lanes.rings.raw(unit, 0).offset(lane * 8).load_u32x2();
            if WIDTH == 1 {
                let eight = |symbols: [u32; 4], raw: u32| {
                    let symbols = if BY_PRODUCTS { pack_tops(symbols) } else { pack(symbols) };
                    let [even, odd] = merge_nibbles(symbols, raw, ROTATED);
                    [byte_permute(even, odd, 0x5140), byte_permute(even, odd, 0x7362)]
                };
                let ([a, b], [c, d]) = (eight(s[0], low), eight(s[1], high));
                return [[a, b, c, d], unused];
            }
            let run = if CODING == PAIRS {
                let halves = |raw: u32, top: u32, selector: u32| {
                    let both = byte_permute(raw, top, selector);
                    if ROTATED { unrotate_halves(both) } else { both }
                };
                let values = s[0].map(|entry| lanes.values(entry));
                lanes.announced += Self::announced(values, group_at(0), out_bytes);
                [
                    halves(low, values[0], 0x5140),
                    halves(low, values[1], 0x5342),
                    halves(high, values[2], 0x5140),
                    halves(high, values[3], 0x5342),
                ]
            } else {
                let words = |raw: u32, top: [u32; 4]| {
                    let [low, high] =
                        if ROTATED { unrotate_planes(raw, pack(top)) } else { [raw, pack(top)] };
                    [byte_permute(low, high, 0x5140), byte_permute(low, high, 0x7362)]
                };
                let ([a, b], [c, d]) = (words(low, s[0]), words(high, s[1]));
                [a, b, c, d]
            };
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

    /// Puts the bytes that the states carried over whatever was merged in their place, for blocks whose
    /// last unit does not have all of them.
    #[inline(always)]
    unsafe fn fill_in_carried(
        places: &Places,
        lanes: &Lanes<RAW, RUN, S, BY_PRODUCTS>,
        task: &BlockTask,
    ) {
        // What other lanes have written must be there before it is added to.
        warp::sync_warp(ALL_LANES);
        let out = task.out as *mut u8;
        let mut number = 0;
        while number < S {
            let carried = carried_by(lanes.states[number]);
            let at = places.raw_length + number as u32 * 64 + warp::lane_id() * 2;
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

macro_rules! fast_kernels {
    ($($(#[$attribute:meta])* $name:ident: $width:literal, $coding:ident, $raw:literal, $rotated:literal, $states:literal;)*) => { $(
        #[kernel]
        $(#[$attribute])*
        ///
        /// # Safety
        ///
        /// As for [`for_each_task`]; the tasks' blocks and outputs are valid for their lengths.
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
                        $width,
                        $coding,
                        { run_symbols($width, $coding) },
                        $raw,
                        $rotated,
                        $states,
                        { by_products($coding) },
                    >;
                    Kernel::decode(task, shared)
                });
            }
        }
    )* };
}

fast_kernels! {
    // Bounds let the assembler take more registers than it would, to have more under way at once. Kernels
    // for symbols of bytes have none, since they are faster with six thread blocks.

    /// BF16 and F16-like: exponents in pairs, the low byte raw.
    #[launch_bounds(THREADS, 4)]
    decode_2_pairs_rotated_1: 2, PAIRS, 1, true, 1;
    /// The same with two states per lane.
    #[launch_bounds(THREADS, 4)]
    decode_2_pairs_rotated_2: 2, PAIRS, 1, true, 2;
    /// F16: the high byte as a symbol, the low byte raw.
    #[launch_bounds(THREADS, 4)]
    decode_2_symbols_rotated_1: 2, SYMBOLS, 1, true, 1;
    /// The same with two states per lane.
    #[launch_bounds(THREADS, 4)]
    decode_2_symbols_rotated_2: 2, SYMBOLS, 1, true, 2;
    /// F32: exponents in pairs, three bytes raw.
    #[launch_bounds(THREADS, 2)]
    decode_4_pairs_rotated_1: 4, PAIRS, 3, true, 1;
    /// The same with two states per lane.
    #[launch_bounds(THREADS, 2)]
    decode_4_pairs_rotated_2: 4, PAIRS, 3, true, 2;
    /// INT8: high nibbles in pairs, low nibbles raw.
    #[launch_bounds(THREADS, 4)]
    decode_1_nibbles_1: 1, NIBBLE_PAIRS, 1, false, 1;
    /// The same with two states per lane.
    #[launch_bounds(THREADS, 4)]
    decode_1_nibbles_2: 1, NIBBLE_PAIRS, 1, false, 2;
    /// FP8: exponents in pairs, sign and mantissa raw.
    #[launch_bounds(THREADS, 4)]
    decode_1_nibbles_rotated_1: 1, NIBBLE_PAIRS, 1, true, 1;
    /// The same with two states per lane.
    #[launch_bounds(THREADS, 4)]
    decode_1_nibbles_rotated_2: 1, NIBBLE_PAIRS, 1, true, 2;
    /// Bytes, packed 4-bit values, FP8: a symbol each.
    decode_1_symbols_1: 1, SYMBOLS, 0, false, 1;
    /// The same with two states per lane.
    decode_1_symbols_2: 1, SYMBOLS, 0, false, 2;
    /// Bytes of few values: two per symbol.
    #[launch_bounds(THREADS, 4)]
    decode_1_pairs_1: 1, PAIRS, 0, false, 1;
    /// The same with two states per lane.
    #[launch_bounds(THREADS, 4)]
    decode_1_pairs_2: 1, PAIRS, 0, false, 2;
}

#[cfg(test)]
mod tests {
    use codec::split::{ElementLayout, Width, merge_nibbles, merge_planes};

    /// Numbers with many patterns in all of their bytes.
    fn patterns() -> impl Iterator<Item = u32> {
        (0..=u32::MAX).step_by(0x1_0203)
    }

    #[test]
    fn rotations_are_undone_as_the_codec_does() {
        for elements in patterns() {
            assert_eq!(super::unrotate_halves(elements), codec::split::unrotate_halves(elements));
        }
    }

    #[test]
    fn nibbles_are_merged_as_the_codec_does() {
        for rotated in [false, true] {
            let layout = ElementLayout { width: Width::One, rotated };
            for (symbols, raw) in patterns().map(|bits| (bits, bits.wrapping_mul(0x9E37_79B9))) {
                let mut elements = [0; 8];
                merge_nibbles(layout, &symbols.to_le_bytes(), &raw.to_le_bytes(), &mut elements);
                let merged = super::merge_nibbles(symbols, raw, rotated);
                let [even, odd] = merged.map(u32::to_le_bytes);
                let merged: [u8; 8] = core::array::from_fn(|at| [even, odd][at % 2][at / 2]);
                assert_eq!(merged, elements, "{symbols:#x}, {raw:#x}, rotated {rotated}");
            }
        }
    }

    #[test]
    fn planes_with_unrotated_symbols_are_merged_as_the_codec_does() {
        let layout = ElementLayout { width: Width::Two, rotated: true };
        for (low, high) in patterns().map(|bits| (bits, bits.wrapping_mul(0x9E37_79B9))) {
            let mut elements = [0; 8];
            let planes = (u64::from(high) << 32 | u64::from(low)).to_le_bytes();
            merge_planes(layout, &planes, &mut elements);
            let merged = super::unrotate_planes(low, codec::split::unrotate_bytes(high));
            let [low, high] = merged.map(u32::to_le_bytes);
            let merged: [u8; 8] = core::array::from_fn(|at| [low, high][at % 2][at / 2]);
            assert_eq!(merged, elements);
        }
    }
}
