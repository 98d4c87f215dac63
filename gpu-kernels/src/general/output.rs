//! Where the bytes of planes go in the output.
//!
//! The unsafe functions here share the promise of [`super`].

use codec::constants::LANES;
use codec::device::{arrangement, plane_kind};
use codec::rans::carried_by;
use codec::split::{head_last_32, heads_last, unrotate_bytes, unrotate_halves};
use cuda_std::warp;

use super::{Block, Target, has_nibbles};
use crate::grid::ALL_LANES;
use crate::output::{add_to_run, replace_bits, run_before};

/// The bytes of a lane's run, which come one after the other. They move from word to word, so that none of
/// them is looked up by a number: all words stay in registers.
#[derive(Clone, Copy, Default)]
pub(super) struct RunBytes {
    words: [u32; 4],
}

impl RunBytes {
    /// Puts a byte behind the others.
    #[inline(always)]
    pub(super) fn push(&mut self, byte: u32) {
        let [a, b, c, d] = self.words;
        let joined = |low: u32, high: u32| low >> 8 | high << 24;
        self.words = [joined(a, b), joined(b, c), joined(c, d), joined(d, byte)];
    }

    /// The last `count` bytes, which is 2, 4, 8 or 16, from the first word on.
    #[inline(always)]
    pub(super) fn words(self, count: u32) -> [u32; 4] {
        let [a, b, c, d] = self.words;
        match count {
            16 => [a, b, c, d],
            8 => [c, d, 0, 0],
            4 => [d, 0, 0, 0],
            _ => [d >> 16, 0, 0, 0],
        }
    }
}

impl<const WIDTH: u32> Block<'_, WIDTH> {
    /// Where a lane's run of a group lies in the output, and the output's length.
    fn run_at(&self, group: u32) -> (u32, u32) {
        ((group * LANES as u32 + warp::lane_id()) * 16, self.task.elements * WIDTH)
    }

    /// What other planes have put into a lane's run, for [`Block::put`]: asked for before the plane's own
    /// bytes are decoded, so that it comes meanwhile.
    #[inline(always)]
    pub(super) unsafe fn before(&self, target: Target, group: u32) -> [u32; 4] {
        if target.is_first {
            return [0; 4];
        }
        let (offset, length) = self.run_at(group);
        // SAFETY: the output has `length` bytes; a run begins at a multiple of 16.
        unsafe { run_before(self.task.out as *mut u8, offset, length) }
    }

    /// Adds a plane's bytes of a run to the output, which has [`Block::before`] there.
    #[inline(always)]
    pub(super) unsafe fn put(&self, target: Target, group: u32, before: [u32; 4], bytes: [u32; 4]) {
        let (offset, length) = self.run_at(group);
        let run = self.place(target.plane, bytes);
        let out = self.task.out as *mut u8;
        let before = (before, target.is_first);
        // SAFETY: the output has `length` bytes; a run begins at a multiple of 16.
        unsafe { add_to_run(out, (offset, length), before, run) };
    }

    /// Puts a run into the output.
    #[inline(always)]
    pub(super) unsafe fn put_run(&self, group: u32, run: [u32; 4]) {
        let (offset, length) = self.run_at(group);
        // SAFETY: the output has `length` bytes; a run begins at a multiple of 16.
        unsafe { add_to_run(self.task.out as *mut u8, (offset, length), ([0; 4], true), run) };
    }

    /// The bits that bytes of a plane have in their elements, rotation undone.
    pub(super) fn place(&self, plane: u32, bytes: [u32; 4]) -> [u32; 4] {
        let shift = 8 * (plane % 4);
        let byte = |number: u32| bytes[number as usize / 4] >> (number % 4 * 8) & 0xFF;
        let arranged = self.specs.arrangement;
        let rotated = arranged == arrangement::ROTATED;
        match WIDTH {
            1 => bytes.map(|word| if rotated { unrotate_bytes(word) } else { word }),
            2 => core::array::from_fn(|word| {
                let word = word as u32;
                let both = (byte(2 * word) | byte(2 * word + 1) << 16) << shift;
                match arranged {
                    arrangement::ROTATED => unrotate_halves(both),
                    arrangement::HEAD_FIRST => heads_last(both),
                    _ => both,
                }
            }),
            4 => core::array::from_fn(|word| {
                let element = byte(word as u32) << shift;
                match arranged {
                    arrangement::ROTATED => element.rotate_right(1),
                    arrangement::HEAD_FIRST => head_last_32(element),
                    _ => element,
                }
            }),
            _ => core::array::from_fn(|word| {
                let element = u64::from(byte(word as u32 / 2)) << (8 * plane);
                let element = if rotated { element.rotate_right(1) } else { element };
                (element >> (32 * (word % 2))) as u32
            }),
        }
    }

    /// Puts the bytes that the states carried over the zeros that stand for them.
    pub(super) unsafe fn fill_in_carried(&self, kind: u8, states: [u32; 2]) {
        warp::sync_warp(ALL_LANES);
        let out = self.task.out as *mut u8;
        let arranged = self.specs.arrangement;
        let nibbles = has_nibbles(kind);
        // The plane that nibbles are the low ones of.
        let plane = if kind == plane_kind::HEADS { WIDTH - 2 } else { 0 };
        let raw_bytes = if nibbles { self.task.elements.div_ceil(2) } else { self.task.elements };
        let mut number = 0;
        while number < self.specs.states_per_lane {
            let carried = carried_by(if number == 0 { states[0] } else { states[1] });
            let mut byte = 0;
            while byte < 2 {
                let at = raw_bytes - self.carried() + 64 * number + 2 * warp::lane_id() + byte;
                let value = (carried >> (8 * byte)) as u8;
                // SAFETY: the carried bytes are the last of plane 0 or of the nibbles, so that their
                // elements exist.
                unsafe {
                    if !nibbles {
                        replace_bits::<WIDTH>(out, at, (0, u8::MAX), value, arranged);
                    } else {
                        replace_bits::<WIDTH>(out, 2 * at, (plane, 15), value & 15, arranged);
                        if 2 * at + 1 < self.task.elements {
                            replace_bits::<WIDTH>(
                                out,
                                2 * at + 1,
                                (plane, 15),
                                value >> 4,
                                arranged,
                            );
                        }
                    }
                }
                byte += 1;
            }
            number += 1;
        }
    }
}
