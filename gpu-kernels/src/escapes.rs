//! Escapes of paired planes: what the list of a block says, and whether it is that of its symbols.
//!
//! Where a symbol announces an escape, decoding leaves a pair that nothing else can be
//! ([`codec::pair::expand_for_kernels`]) and counts. A list in rising order, as long as that count,
//! whose every entry finds such a pair in its place, names exactly the escapes that were announced.

use codec::constants::{ESCAPE_SYMBOL, LANES};
use codec::device::{BlockTask, status};
use codec::pair::Escape;
use cuda_std::{global, warp};

use crate::grid::ALL_LANES;
use crate::output::exchange_byte;

/// Bytes of a table from one symbol's values to the next one's.
pub(crate) const VALUES_BYTES: u32 = 4;
/// Where a table has the pair that decoding leaves for escapes, in bytes.
pub(crate) const MARK: u32 = ESCAPE_SYMBOL as u32 * VALUES_BYTES;

/// A block's list of escapes.
#[derive(Clone, Copy)]
pub(crate) struct Escapes {
    pub(crate) list: *const u32,
    pub(crate) count: u32,
}

/// How many of the next `inside` pairs a lane's `values` announce as escapes.
#[inline(always)]
pub(crate) fn announced<const N: usize>(values: [u32; N], inside: u32) -> u32 {
    let mut count = 0;
    let mut number = 0;
    while number < N {
        count += (values[number] >> 16) * u32::from((number as u32) < inside);
        number += 1;
    }
    count
}

/// The same where all of them are inside.
#[inline(always)]
pub(crate) fn announced_by_all<const N: usize>(values: [u32; N]) -> u32 {
    let mut count = 0;
    let mut number = 0;
    while number < N {
        count += values[number] >> 16;
        number += 1;
    }
    count
}

impl Escapes {
    /// Puts the values of escaped pairs into plane `plane`, where decoding has left `mark` for each,
    /// and says whether they are those that were announced: `announced` of them by this lane.
    ///
    /// # Safety
    ///
    /// The list and the task's output are valid for their lengths, and all lanes of the warp, which
    /// has decoded the block, call this together.
    #[inline(always)]
    pub(crate) unsafe fn fill_in<const WIDTH: u32>(
        self,
        task: &BlockTask,
        (plane, arranged): (u32, u32),
        mark: u32,
        announced: u32,
    ) -> u32 {
        if warp::warp_vote_ballot(ALL_LANES, (announced | self.count) != 0) == 0 {
            return 0;
        }
        // What other lanes have written must be visible before it is read.
        warp::sync_warp(ALL_LANES);
        let mut bad = false;
        let mut index = warp::lane_id();
        while index < self.count {
            // SAFETY: below the number of escapes.
            let (before, escape) = unsafe { (self.at(index.saturating_sub(1)), self.at(index)) };
            bad |= (index > 0) & (before.pair() >= escape.pair());
            let first = 2 * u32::from(escape.pair());
            bad |= first >= task.elements;
            // What no element has repeats the one before.
            let [low, high] = escape.values().to_le_bytes();
            bad |= (first + 1 == task.elements) & (low != high);
            let mut second = 0;
            while second < 2 {
                if first + second < task.elements {
                    let byte = |both: u32| (both >> (8 * second)) as u8;
                    let values = (byte(mark), byte(u32::from(escape.values())));
                    let out = task.out as *mut u8;
                    // SAFETY: the element exists; another lane's escape names another one, or the
                    // block is corrupt and any bytes will do.
                    let found = unsafe {
                        exchange_byte::<WIDTH>(out, first + second, plane, values, arranged)
                    };
                    bad |= !found;
                }
                second += 1;
            }
            index += LANES as u32;
        }
        bad |= sum(announced) != self.count;
        if warp::warp_vote_ballot(ALL_LANES, bad) != 0 { status::ESCAPES } else { 0 }
    }

    #[inline(always)]
    unsafe fn at(self, index: u32) -> Escape {
        // SAFETY: the caller's promise; at a multiple of 4.
        Escape(unsafe { global::load_u32(self.list.add(index as usize)) })
    }
}

/// The sum of all lanes' numbers, each below 2^16, bit by bit.
#[inline(always)]
fn sum(number: u32) -> u32 {
    let mut sum = 0;
    let mut bit = 0;
    while bit < u16::BITS {
        let lanes = warp::warp_vote_ballot(ALL_LANES, number >> bit & 1 != 0);
        sum += lanes.count_ones() << bit;
        bit += 1;
    }
    sum
}
