//! Planes with one table of elements of two and four bytes: one body, specialised by coding and number of
//! states, whose steps are those of the fast kernels.
//!
//! The unsafe functions here share the promise of [`super`].

use codec::constants::LANES;
use codec::device::{plane_kind, status};
use cuda_std::bits::byte_permute;
use cuda_std::warp;

use super::layout::Stream;
use super::{Block, Target};
use crate::escapes::{Escapes, MARK, announced};
use crate::lanes::{Lanes, pack};
use crate::parts::Counts;
use crate::ring::Source;

/// One symbol per element.
const SYMBOLS: u8 = plane_kind::SYMBOLS;
/// Two elements per symbol, by rank.
const PAIRS: u8 = plane_kind::PAIRS;

/// Steps of [`Lanes::quarter`].
const QUARTER: u32 = 4;
/// Lanes without raw planes, whose ring is that of the general kernels.
type StreamLanes<const S: usize> = Lanes<0, QUARTER, S, false>;

impl<const WIDTH: u32> Block<'_, WIDTH> {
    /// A plane of symbols with one table, for elements of two or four bytes.
    #[inline(always)]
    pub(super) unsafe fn decode_by_pass(&self, target: Target, kind: u8, stream: &Stream) -> u32 {
        // SAFETY: the caller's promise.
        unsafe {
            match (kind, self.specs.states_per_lane) {
                (SYMBOLS, 1) => self.pass::<SYMBOLS, 1>(target, stream),
                (SYMBOLS, _) => self.pass::<SYMBOLS, 2>(target, stream),
                (PAIRS, 1) => self.pass::<PAIRS, 1>(target, stream),
                (PAIRS, _) => self.pass::<PAIRS, 2>(target, stream),
                // Nibbles are of elements of one byte.
                _ => status::LENGTH,
            }
        }
    }

    #[inline(always)]
    unsafe fn pass<const CODING: u8, const S: usize>(
        &self,
        target: Target,
        stream: &Stream,
    ) -> u32 {
        let length = self.task.block_bytes - stream.words_at;
        let words = Source { start: self.part(stream.words_at), length };
        // SAFETY: the stream's parts lie within the block.
        let mut lanes = unsafe { StreamLanes::<S>::start(self.shared_of_warp(), words, []) };
        // SAFETY: the module's promise.
        unsafe { self.load_table(target.plane) };
        // SAFETY: there are `S` states of each lane.
        let bad_start = unsafe { lanes.read_states(self.part(stream.states_at).cast()) };
        lanes.rings.wait();
        let mut group = 0;
        while group < self.groups() {
            // SAFETY: the module's promise; the groups follow those before.
            unsafe { self.pass_unit::<CODING, S>(target, &mut lanes, group) };
            group += Self::groups_of_unit(CODING);
        }
        let carries = target.plane + 1 == WIDTH && self.carried() > 0;
        let list = self.part(stream.escapes_at).cast();
        let escapes = Escapes { list, count: stream.escapes };
        let mut found = bad_start | lanes.finish(&Counts { words: stream.words, escapes }, carries);
        if carries {
            let states = [lanes.states[0], lanes.states[S - 1]];
            // SAFETY: the module's promise; the last plane's stream has been decoded.
            unsafe { self.fill_in_carried(CODING, states) };
        }
        if CODING == PAIRS {
            // SAFETY: the escapes lie within the block; the table is the stream's.
            found |= unsafe {
                let mark = self.shared_of_warp().expanded.offset(MARK).load_u32_constant();
                let place = (target.plane, self.specs.arrangement);
                escapes.fill_in::<WIDTH>(&self.task, place, mark, lanes.announced)
            };
        }
        found
    }

    /// Steps of a group.
    const fn steps_of_group(coding: u8) -> u32 {
        if coding == SYMBOLS { Self::RUN } else { Self::RUN / 2 }
    }

    /// Groups of a unit, which takes two quarters of steps.
    const fn groups_of_unit(coding: u8) -> u32 {
        2 * QUARTER / Self::steps_of_group(coding)
    }

    /// Decodes a unit, or what the block has of it.
    #[inline(always)]
    unsafe fn pass_unit<const CODING: u8, const S: usize>(
        &self,
        target: Target,
        lanes: &mut StreamLanes<S>,
        group: u32,
    ) {
        let count = Self::groups_of_unit(CODING) as usize;
        let before: [[u32; 4]; 4] = core::array::from_fn(|number| match number < count {
            // SAFETY: the module's promise; behind the last group nothing is read.
            true => unsafe { self.before(target, group + number as u32) },
            false => [0; 4],
        });
        let left = self.groups() - group;
        let of_quarter = count as u32 / 2;
        // SAFETY: the module's promise; the second quarter follows the first.
        let [first, second] = unsafe {
            let first = self.pass_quarter::<CODING, S, 0>(lanes, group, left);
            let left = left.saturating_sub(of_quarter);
            let has_second = of_quarter == 0 || left > 0;
            let second = match has_second {
                true => self.pass_quarter::<CODING, S, QUARTER>(lanes, group + of_quarter, left),
                false => [0; 2],
            };
            [first, second]
        };
        let groups = match (WIDTH, CODING) {
            (2, SYMBOLS) => [[first[0], second[0]], [0; 2], [0; 2], [0; 2]],
            (2, _) => [first, second, [0; 2], [0; 2]],
            (_, SYMBOLS) => [[first[0], 0], [second[0], 0], [0; 2], [0; 2]],
            _ => [[first[0], 0], [first[1], 0], [second[0], 0], [second[1], 0]],
        };
        let put = |number: usize| {
            if number < count {
                let ([low, high], before) = (groups[number], before[number]);
                // SAFETY: the module's promise; behind the last group nothing is written.
                unsafe { self.put(target, group + number as u32, before, [low, high, 0, 0]) };
            }
        };
        // Not counted, so that what each puts stays in registers.
        put(0);
        put(1);
        put(2);
        put(3);
    }

    /// A quarter of steps, of which `left` groups are left from `group` on: their bytes in one word, those of
    /// pairs in two.
    #[inline(always)]
    unsafe fn pass_quarter<const CODING: u8, const S: usize, const FIRST: u32>(
        &self,
        lanes: &mut StreamLanes<S>,
        group: u32,
        left: u32,
    ) -> [u32; 2] {
        // SAFETY: the module's promise.
        unsafe {
            let is_half = 2 * Self::steps_of_group(CODING) == QUARTER && left == 1;
            let symbols = if is_half {
                lanes.half_quarter::<FIRST>(0)
            } else {
                lanes.quarter::<FIRST>(0, [lanes.entries(); 4])
            };
            if CODING == PAIRS {
                self.pairs_of::<S>(lanes, symbols, group)
            } else {
                [pack(symbols), 0]
            }
        }
    }

    /// The values of four symbols of pairs, in two words: those of a lane's run in `group`, or of its runs in
    /// that and the next.
    #[inline(always)]
    unsafe fn pairs_of<const S: usize>(
        &self,
        lanes: &mut StreamLanes<S>,
        symbols: [u32; 4],
        group: u32,
    ) -> [u32; 2] {
        // SAFETY: the symbols are of the stream's table.
        let values = symbols.map(|entry| unsafe { lanes.values(entry) });
        let inside = |group: u32| {
            let first = (group * LANES as u32 + warp::lane_id()) * Self::RUN;
            self.task.elements.saturating_sub(first).div_ceil(2)
        };
        let [first, second, third, fourth] = values;
        if Self::RUN == 2 * QUARTER {
            lanes.announced += announced(values, inside(group));
        } else {
            lanes.announced += announced([first, second], inside(group));
            lanes.announced += announced([third, fourth], inside(group + 1));
        }
        let two = |first: u32, second: u32| byte_permute(first, second, 0x5410);
        [two(first, second), two(third, fourth)]
    }
}
