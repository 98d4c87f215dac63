//! Planes whose symbols take tables by class.
//!
//! The unsafe functions here share the promise of [`super`].

use codec::constants::LANES;
use codec::device::{KernelTable, plane_kind};
use codec::rans::{TableEntry, is_escaped_head};
use codec::split::exponent_of;
use cuda_std::{global, warp};

use super::lane::Lane;
use super::layout::Stream;
use super::output::RunBytes;
use super::{Block, Target};
use crate::classes::Choices;
use crate::parts::first_bytes;

impl<const WIDTH: u32> Block<'_, WIDTH> {
    /// The choices of a plane by class.
    unsafe fn choices(&self, plane: u32) -> Choices {
        let position = self.specs.tables[plane as usize] as usize;
        // SAFETY: the host made it a position within the classes.
        Choices::new(unsafe { *self.classes.add(position) })
    }

    /// The table of the next of a lane's elements; the number of those behind the block's end is not
    /// that of any element, and what pads a stream takes the first table.
    unsafe fn choose(&self, choices: &mut Choices, inside: bool) -> *const KernelTable {
        // SAFETY: the caller's promise, that what the classes point to is readable.
        let table = unsafe { if inside { choices.next() } else { choices.first() } };
        // SAFETY: the host made it a position within the tables.
        unsafe { self.tables.add(table as usize) }
    }

    /// A step with the table of the next of a lane's elements.
    unsafe fn chosen_step(&self, lane: &mut Lane, choices: &mut Choices, inside: bool) -> u32 {
        // SAFETY: the caller's promise; the table is one of the launch's, of which only the address is
        // taken here.
        let entries = unsafe {
            let table = self.choose(choices, inside);
            (&raw const (*table).entries).cast::<u32>()
        };
        // SAFETY: a slot is below the table's size; the lane was made for a stream of the block.
        unsafe { lane.step(|slot| TableEntry(global::load_u32(entries.add(slot as usize)))) }
    }

    /// A plane whose symbols take tables by class.
    pub(super) unsafe fn decode_classes(&self, target: Target, stream: &Stream) -> u32 {
        // SAFETY: the stream's parts lie within the block; the module's promise.
        let (mut lane, mut choices) =
            unsafe { (Lane::new(self, stream), self.choices(target.plane)) };
        lane.wait();
        let mut group = 0;
        while group < self.groups() {
            let element = (group * LANES as u32 + warp::lane_id()) * Self::RUN;
            let mut bytes = RunBytes::default();
            // SAFETY: the module's promise; the group is one of the block's.
            let before = unsafe { self.before(target, group) };
            // SAFETY: the module's promise.
            unsafe { choices.seek(self.task.first + u64::from(element)) };
            let mut number = 0;
            while number < Self::RUN {
                // SAFETY: the lane was made for a stream of the block.
                bytes.push(unsafe {
                    let inside = element + number < self.task.elements;
                    self.chosen_step(&mut lane, &mut choices, inside)
                });
                number += 1;
            }
            let bytes = bytes.words(Self::RUN);
            // SAFETY: the module's promise; the group is one of the block's.
            unsafe { self.put(target, group, before, bytes) };
            group += 1;
        }
        let carries = target.plane + 1 == WIDTH && self.carried() > 0;
        if carries {
            // SAFETY: the module's promise; the last plane's stream has been decoded.
            unsafe { self.fill_in_carried(plane_kind::CLASSES, lane.final_states()) };
        }
        lane.finish(carries)
    }

    /// The two last planes, from heads and raw nibbles.
    pub(super) unsafe fn decode_heads(&self, target: Target, stream: &Stream) -> u32 {
        let base = self.specs.constants[target.plane as usize];
        let low = Target { plane: target.plane - 1, ..target };
        let high = Target { is_first: false, ..target };
        // SAFETY: the stream's parts lie within the block; the module's promise.
        let (mut lane, mut choices) =
            unsafe { (Lane::new(self, stream), self.choices(target.plane)) };
        lane.wait();
        let mut group = 0;
        while group < self.groups() {
            let element = (group * LANES as u32 + warp::lane_id()) * Self::RUN;
            // SAFETY: the module's promise.
            unsafe { choices.seek(self.task.first + u64::from(element)) };
            let (mut exponents, mut above) = (RunBytes::default(), RunBytes::default());
            // SAFETY: the raw nibbles lie within the block.
            let nibbles = unsafe { self.nibbles_of_run(stream, element) };
            let mut number = 0;
            while number < Self::RUN {
                let inside = element + number < self.task.elements;
                // SAFETY: the lane was made for a stream of the block.
                let (head, tail) = unsafe {
                    let head = self.chosen_step(&mut lane, &mut choices, inside);
                    (head, lane.tail(inside && is_escaped_head(head as u8)))
                };
                let escaped = is_escaped_head(head as u8);
                let exponent = if escaped { tail } else { exponent_of(head as u8, base) };
                exponents.push(u32::from(exponent));
                above.push((head & 15) << 4);
                number += 1;
            }
            let (exponents, above) = (exponents.words(Self::RUN), above.words(Self::RUN));
            let below = core::array::from_fn(|word| nibbles[word] | above[word]);
            // SAFETY: the module's promise; the group is one of the block's.
            unsafe {
                self.put(low, group, self.before(low, group), below);
                self.put(high, group, self.before(high, group), exponents);
            }
            group += 1;
        }
        let carries = self.carried() > 0;
        if carries {
            // SAFETY: the module's promise; the last plane's stream has been decoded.
            unsafe { self.fill_in_carried(plane_kind::HEADS, lane.final_states()) };
        }
        lane.finish(carries)
    }

    /// The raw nibbles of a lane's run that begins at `element`, a byte each; zeros for those that
    /// are not stored.
    unsafe fn nibbles_of_run(&self, stream: &Stream, element: u32) -> [u32; 4] {
        let length = self.task.elements.div_ceil(2) - self.carried();
        let at = element / 2;
        if at >= length {
            return [0; 4];
        }
        let from = self.part(stream.raw_at + at);
        let packed = if Self::RUN < 8 {
            // SAFETY: within the nibbles or their padding; a multiple of 2.
            u32::from(unsafe { global::load_u16(from.cast()) })
        } else {
            // SAFETY: within the nibbles or their padding; a multiple of 4.
            unsafe { global::load_u32(from.cast()) }
        };
        let packed = first_bytes(packed, length - at);
        let spread =
            |two: u32| two & 0x0F | (two & 0xF0) << 4 | (two & 0x0F00) << 8 | (two & 0xF000) << 12;
        [spread(packed & 0xFFFF), spread(packed >> 16), 0, 0]
    }
}
