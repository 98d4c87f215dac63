//! Kernels for any plan of the format, one for each width: plane after plane, with the plane's words and
//! table in the warp's shared memory, and every other load straight from global memory.
//! Slower than [`crate::fast`], and short enough to audit line by line.
//!
//! The first plane's pass writes a block's output, the others add their bits to it. A lane only
//! ever reads back what it wrote itself, except for escapes, which follow a barrier.
//!
//! The unsafe functions here share one promise, which a kernel's caller gives: the task's block is
//! readable and its output writable for their lengths, shared memory is laid out as
//! [`SharedLayout`] says, and all lanes of the warp call them together.

mod by_class;
mod lane;
mod output;
mod streams;
mod words;

use codec::block::fills_groups;
use codec::constants::{BLOCK_ALIGNMENT, LANES};
use codec::device::{BlockTask, KernelClasses, KernelTable, PlaneSpecs, plane_kind, status};
use cuda_std::{global, kernel};

use crate::grid::{SharedLayout, Work, for_each_task_with_own_tables};
use crate::parts::aligned;

/// What all planes of a block have in common.
struct Block<'a, const WIDTH: u32> {
    task: BlockTask,
    specs: &'a PlaneSpecs,
    tables: *const KernelTable,
    classes: *const KernelClasses,
    shared: SharedLayout,
}

/// Where the last part of a block ended, and where the next counts of its footer are.
struct Cursor {
    at: u32,
    footer: u32,
}

/// A plane's stream, as the footer describes it; offsets in bytes from the block's start.
struct Stream {
    raw_at: u32,
    states_at: u32,
    words_at: u32,
    words: u32,
    escapes_at: u32,
    escapes: u32,
}

fn has_stream(kind: u8) -> bool {
    kind != plane_kind::RAW && kind != plane_kind::CONSTANT && kind != plane_kind::IN_HEADS
}

/// Whether a stream follows raw nibbles, two a byte.
fn has_nibbles(kind: u8) -> bool {
    kind == plane_kind::NIBBLE_PAIRS || kind == plane_kind::HEADS
}

impl<const WIDTH: u32> Block<'_, WIDTH> {
    /// Elements of a lane in one group.
    const RUN: u32 = 16 / WIDTH;

    unsafe fn decode(&self) -> u32 {
        let streams = (0..WIDTH).filter(|&p| has_stream(self.specs.kinds[p as usize])).count();
        let footer_bytes = 8 * streams as u32;
        let length = self.task.block_bytes;
        if length < footer_bytes
            || length > 1 << 28
            || !length.is_multiple_of(BLOCK_ALIGNMENT as u32)
        {
            return status::LENGTH;
        }
        let mut cursor = Cursor { at: 0, footer: length - footer_bytes };
        let mut found = 0;
        let mut plane = 0;
        while plane < WIDTH {
            // SAFETY: the module's promise; the plane is one of the element's.
            match unsafe { self.decode_plane(plane, &mut cursor) } {
                Some(bad) => found |= bad,
                None => return status::LENGTH,
            }
            plane += 1;
        }
        if aligned(cursor.at + footer_bytes) != length { found | status::LENGTH } else { found }
    }

    /// One plane; `None` when its parts do not fit into the block.
    unsafe fn decode_plane(&self, plane: u32, cursor: &mut Cursor) -> Option<u32> {
        let kind = self.specs.kinds[plane as usize];
        if kind == plane_kind::IN_HEADS {
            return Some(0);
        }
        if has_stream(kind) {
            // SAFETY: the block is long enough for a footer, see `decode`.
            let stream = unsafe { self.next_stream(kind, cursor)? };
            // SAFETY: the stream's parts lie within the block.
            return Some(unsafe {
                match kind {
                    plane_kind::CLASSES => self.decode_classes(plane, &stream),
                    plane_kind::HEADS => self.decode_heads(plane, &stream),
                    _ => self.decode_stream(plane, kind, &stream),
                }
            });
        }
        let raw_at = aligned(cursor.at);
        let length = self.task.elements - if plane == 0 { self.carried_raw() } else { 0 };
        if kind == plane_kind::RAW {
            cursor.at = aligned(raw_at + length);
            if cursor.at > self.task.block_bytes {
                return None;
            }
        }
        let constant = u32::from(self.specs.constants[plane as usize]) * 0x0101_0101;
        let mut group = 0;
        while group < self.groups() {
            let bytes = if kind == plane_kind::RAW {
                // SAFETY: the raw plane lies within the block.
                unsafe { self.raw_run(raw_at, length, group) }
            } else {
                [constant; 4]
            };
            // SAFETY: the module's promise; the group is one of the block's.
            unsafe { self.put(plane, group, self.before(plane, group), bytes) };
            group += 1;
        }
        Some(0)
    }

    /// Bytes of plane 0, where it is raw, that the states of the last plane's stream carry.
    fn carried_raw(&self) -> u32 {
        if has_nibbles(self.specs.kinds[WIDTH as usize - 1]) { 0 } else { self.carried() }
    }

    /// Bytes of plane 0, or of raw nibbles, that the states of the last plane's stream carry.
    fn carried(&self) -> u32 {
        let (first, last) = (self.specs.kinds[0], self.specs.kinds[WIDTH as usize - 1]);
        let raw_bytes = if has_nibbles(last) {
            self.task.elements.div_ceil(2)
        } else if first == plane_kind::RAW && has_stream(last) {
            self.task.elements
        } else {
            0
        };
        let room = self.specs.states_per_lane * (LANES * 2) as u32;
        if raw_bytes >= room { room } else { 0 }
    }

    /// Whether the states carry the last symbols, see
    /// [`codec::block::BlockSpec::carries_symbols`].
    fn carries_symbols(&self) -> bool {
        WIDTH == 1
            && self.specs.kinds[0] == plane_kind::SYMBOLS
            && fills_groups(self.task.elements as usize)
    }

    /// So many of each lane, if they do.
    fn carried_steps(&self) -> u32 {
        2 * self.specs.states_per_lane
    }

    fn groups(&self) -> u32 {
        self.task.elements.div_ceil(LANES as u32 * Self::RUN)
    }

    fn part(&self, at: u32) -> *const u8 {
        (self.task.block as *const u8).wrapping_add(at as usize)
    }

    /// Reads a stream's counts and checks that its parts lie within the block.
    unsafe fn next_stream(&self, kind: u8, cursor: &mut Cursor) -> Option<Stream> {
        let footer = self.part(cursor.footer).cast::<u32>();
        // SAFETY: the block is long enough for a footer, see `decode`.
        let (words, escapes) =
            unsafe { (global::load_u32(footer), global::load_u32(footer.add(1))) };
        let most = self.task.block_bytes;
        if words > most || escapes > most || kind != plane_kind::PAIRS && escapes > 0 {
            return None;
        }
        let raw_at = aligned(cursor.at);
        let nibbles = has_nibbles(kind);
        let raw = if nibbles { self.task.elements.div_ceil(2) - self.carried() } else { 0 };
        let states_at = aligned(raw_at + raw);
        let words_at = states_at + self.specs.states_per_lane * (LANES * 4) as u32;
        let escapes_at = (words_at + 2 * words).next_multiple_of(4);
        cursor.at = escapes_at + 4 * escapes;
        cursor.footer += 8;
        let stream = Stream { raw_at, states_at, words_at, words, escapes_at, escapes };
        (cursor.at <= most).then_some(stream)
    }
}

macro_rules! general_kernels {
    ($($(#[$doc:meta])* $name:ident: $width:literal;)*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// As for [`for_each_task_with_own_tables`]; the tasks' blocks and outputs are valid for their lengths,
        /// their `specs` are positions in `specs`, and those of planes by class in `classes`, whose
        /// lists are readable and hold no class without a table.
        #[kernel]
        #[allow(clippy::too_many_arguments, reason = "a launch has no structures to pass")]
        pub unsafe fn $name(
            groups: *const codec::device::TaskGroup,
            group_count: u32,
            counters: *mut u32,
            tasks: *const BlockTask,
            tables: *const KernelTable,
            status: *mut u32,
            specs: *const PlaneSpecs,
            classes: *const KernelClasses,
        ) {
            let work = Work { groups, group_count, counters, tasks, tables, status };
            // SAFETY: the caller's promise.
            unsafe {
                for_each_task_with_own_tables(work, |task, shared| {
                    let specs = &*specs.add(task.specs as usize);
                    Block::<$width> { task, specs, tables, classes, shared }.decode()
                });
            }
        }
    )* };
}

general_kernels! {
    /// Elements of one byte.
    decode_1_general: 1;
    /// Elements of two bytes.
    decode_2_general: 2;
    /// Elements of four bytes.
    decode_4_general: 4;
    /// Elements of eight bytes.
    decode_8_general: 8;
}
