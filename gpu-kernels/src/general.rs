//! Kernels for any plan of the format, one for each width: a pass over the output for the planes that have
//! no stream, all of them together, then one for each stream, with its words and table in the warp's
//! shared memory. Slower than [`crate::fast`], and short enough to audit line by line.
//!
//! The first pass writes a block's output, the others add their bits to it. A lane only ever reads back
//! what it wrote itself, except for escapes, which follow a barrier.
//!
//! The unsafe functions here share one promise, which a kernel's caller gives: the task's block is
//! readable and its output writable for their lengths, shared memory is laid out as
//! [`SharedLayout`] says, and all lanes of the warp call them together.

mod by_class;
mod lane;
mod layout;
mod output;
mod passes;
mod raw;
mod streams;
mod words;

use codec::block::fills_groups;
use codec::constants::LANES;
use codec::device::{BlockTask, KernelClasses, KernelTable, PlaneSpecs, plane_kind, status};
use cuda_std::kernel;

use self::layout::Stream;
use crate::grid::{Decode, SharedLayout, Work, for_each_task_with_own_tables};

/// What all planes of a block have in common.
struct Block<'a, const WIDTH: u32> {
    task: BlockTask,
    specs: &'a PlaneSpecs,
    tables: *const KernelTable,
    classes: *const KernelClasses,
    shared: SharedLayout,
}

/// A plane, and whether nothing has been written to the output before it.
#[derive(Clone, Copy)]
struct Target {
    plane: u32,
    is_first: bool,
}

/// Whether a plane is not written with those that have no stream.
fn has_pass_of_its_own(kind: u8) -> bool {
    kind != plane_kind::RAW && kind != plane_kind::CONSTANT
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

    #[inline(always)]
    unsafe fn decode(&self) -> u32 {
        // SAFETY: the module's promise.
        let Some(layout) = (unsafe { self.layout() }) else { return status::LENGTH };
        let mut is_first = (0..WIDTH).all(|plane| has_pass_of_its_own(self.kind(plane)));
        if !is_first {
            // SAFETY: the module's promise; the raw planes lie within the block.
            unsafe { self.write_planes_without_stream(&layout) };
        }
        let (mut found, mut plane) = (0, 0);
        while plane < WIDTH {
            let kind = self.kind(plane);
            if has_stream(kind) {
                let stream = self.stream_of(plane, &layout);
                // SAFETY: the module's promise; the stream's parts lie within the block.
                found |= unsafe { self.decode_plane(Target { plane, is_first }, kind, &stream) };
                is_first = false;
            }
            plane += 1;
        }
        found
    }

    /// Decodes the stream of a plane.
    #[inline(always)]
    unsafe fn decode_plane(&self, target: Target, kind: u8, stream: &Stream) -> u32 {
        // SAFETY: the caller's promise.
        unsafe {
            match kind {
                plane_kind::CLASSES => self.decode_classes(target, stream),
                plane_kind::HEADS if WIDTH > 1 => self.decode_heads(target, stream),
                _ if WIDTH == 2 || WIDTH == 4 => self.decode_by_pass(target, kind, stream),
                _ => self.decode_stream(target, kind, stream),
            }
        }
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
}

/// What a launch of a general kernel has in common.
struct Launch<const WIDTH: u32> {
    specs: *const PlaneSpecs,
    tables: *const KernelTable,
    classes: *const KernelClasses,
}

impl<const WIDTH: u32> Decode for Launch<WIDTH> {
    #[inline(always)]
    unsafe fn decode(&self, task: BlockTask, shared: SharedLayout) -> u32 {
        let Self { specs, tables, classes } = *self;
        // SAFETY: the host made `specs` a position within the list; the module's promise.
        unsafe {
            let specs = &*specs.add(task.specs as usize);
            Block::<WIDTH> { task, specs, tables, classes, shared }.decode()
        }
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
                let launch = Launch::<$width> { specs, tables, classes };
                for_each_task_with_own_tables(work, &launch);
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
