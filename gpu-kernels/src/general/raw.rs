//! The planes that have no stream: raw ones, and those of a single value.
//!
//! The unsafe functions here share the promise of [`super`].

use codec::constants::LANES;
use codec::device::plane_kind;
use cuda_std::{global, warp};

use super::Block;
use super::layout::Layout;
use crate::parts::first_bytes;

/// Groups that are looked after together, so many that all of it stays in registers.
const FEW: usize = 4;

/// A run of each of so many groups.
type Runs = [[u32; 4]; FEW];

impl<const WIDTH: u32> Block<'_, WIDTH> {
    /// Writes the output as if all planes with a stream were zeros.
    pub(super) unsafe fn write_planes_without_stream(&self, layout: &Layout) {
        let constant = self.run_of_constants();
        let mut first = 0;
        while first < self.groups() {
            let mut near: Runs = [constant; FEW];
            let mut far: Runs = [constant; FEW];
            let mut plane = 0;
            while plane < WIDTH {
                let (at, length) = (layout.raw_at(plane), self.raw_length(plane));
                if self.kind(plane) == plane_kind::RAW && length > 0 {
                    let load = |first: u32| -> Runs {
                        core::array::from_fn(|number| {
                            // SAFETY: the raw plane lies within the block.
                            unsafe { self.raw_run(at, length, first + number as u32) }
                        })
                    };
                    // All loads come before the first use of one.
                    let loaded = (load(first), load(first + FEW as u32));
                    near = self.add_plane(plane, near, loaded.0);
                    far = self.add_plane(plane, far, loaded.1);
                }
                plane += 1;
            }
            // SAFETY: the module's promise.
            unsafe {
                self.put_runs(first, near);
                self.put_runs(first + FEW as u32, far);
            }
            first += 2 * FEW as u32;
        }
    }

    /// Runs with a plane's bytes added to what they have.
    #[inline(always)]
    fn add_plane(&self, plane: u32, runs: Runs, bytes: Runs) -> Runs {
        core::array::from_fn(|number| {
            let placed = self.place(plane, bytes[number]);
            core::array::from_fn(|word| runs[number][word] | placed[word])
        })
    }

    /// Puts runs into the output, of the groups from `first` on.
    #[inline(always)]
    unsafe fn put_runs(&self, first: u32, runs: Runs) {
        let [a, b, c, d] = runs;
        // SAFETY: the module's promise; behind the last group nothing is written.
        unsafe {
            self.put_run(first, a);
            self.put_run(first + 1, b);
            self.put_run(first + 2, c);
            self.put_run(first + 3, d);
        }
    }

    /// A run of elements with the bytes of the planes of a single value, and zeros in all others.
    fn run_of_constants(&self) -> [u32; 4] {
        let (mut run, mut plane) = ([0; 4], 0);
        while plane < WIDTH {
            if self.kind(plane) == plane_kind::CONSTANT {
                let constant = u32::from(self.specs.constants[plane as usize]) * 0x0101_0101;
                let placed = self.place(plane, [constant; 4]);
                run = core::array::from_fn(|word| run[word] | placed[word]);
            }
            plane += 1;
        }
        run
    }

    /// The bytes of a lane's run in a group, of a raw part with `length` bytes, at least one, at `at`: so
    /// many as the run has elements, zeros for those that are not stored.
    #[inline(always)]
    unsafe fn raw_run(&self, at: u32, length: u32, group: u32) -> [u32; 4] {
        let offset = (group * LANES as u32 + warp::lane_id()) * Self::RUN;
        let mut bytes = [0; 4];
        let mut word = 0;
        while 4 * word < Self::RUN {
            let this = offset + 4 * word;
            // Loaded in any case, the last word in the place of those behind it: so that no load waits
            // for the one before. Whole words are inside the block, since parts end in padding.
            let last = (length - 1) & !(if Self::RUN < 4 { 1 } else { 3 });
            let from = self.part(at + this.min(last));
            let loaded = if Self::RUN < 4 {
                // SAFETY: within the part or its padding; a multiple of 2.
                unsafe { u32::from(global::load_u16(from.cast())) }
            } else {
                // SAFETY: within the part or its padding; a multiple of 4.
                unsafe { global::load_u32(from.cast()) }
            };
            bytes[word as usize] = first_bytes(loaded, length.saturating_sub(this));
            word += 1;
        }
        bytes
    }
}
