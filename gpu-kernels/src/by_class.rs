//! Kernels for elements of one byte, a symbol each, whose table depends on their row and column.
//!
//! The same lanes and rings as in [`crate::fast`]. All tables lie in shared memory side by side, so
//! that a step's look-up differs from that of one table by where the table begins. A lane's run of
//! 16 elements lies in one row, since rows are whole runs: one load tells the tables of all 16, and
//! it is under way while the run before is decoded.
//!
//! The unsafe functions here share one promise, which a kernel's caller gives: the task's block is
//! readable and its output writable for their lengths, the lists of the classes are readable and name
//! no table that there is not, shared memory is laid out as [`SharedLayout`] says, and all lanes of
//! the warp call them together.

use codec::constants::{GROUP_BYTES, LANE_RUN_BYTES};
use codec::device::staging::WarpMemory;
use codec::device::{
    BlockTask, CLASS_RUN, KernelClasses, KernelTable, PlaneSpecs, TaskGroup, plane_kind,
    shared_layout, status,
};
use cuda_std::shared::SharedAddress;
use cuda_std::{global, kernel, warp};

use crate::classes::class_at;
use crate::grid::{SharedLayout, Work, for_each_task_by_class};
use crate::lanes::{Lanes, pack};
use crate::output::store_run;
use crate::parts::{Places, first_bytes};

/// Elements of a group, of which each lane has a run.
const GROUP: u32 = GROUP_BYTES as u32;

/// The tables of a lane's runs, one group after the other.
struct Runs {
    classes: KernelClasses,
    row: u64,
    column: u32,
    /// Whole rows of a group, and the columns that are left.
    step: (u64, u32),
}

impl Runs {
    /// From the run on that begins with `element` of the tensor.
    #[inline(always)]
    fn from(classes: KernelClasses, element: u64) -> Self {
        // Never 0; said so that the compiler needs no branch that ends the program.
        let columns = classes.columns.max(1);
        let step = (u64::from(GROUP / columns), GROUP % columns);
        let row = element / u64::from(columns);
        Self { classes, row, column: (element % u64::from(columns)) as u32, step }
    }

    /// The tables of the next run, a byte each; behind the last row, those of some row.
    #[inline(always)]
    unsafe fn next(&mut self) -> [u32; 4] {
        let KernelClasses { rows, row_count, columns, choices, .. } = self.classes;
        // SAFETY: the module's promise.
        let class = unsafe { class_at(rows, row_count, self.row) };
        let at = u64::from(class) * u64::from(columns) + u64::from(self.column);
        self.row += self.step.0;
        self.column += self.step.1;
        if self.column >= columns {
            self.row += 1;
            self.column -= columns;
        }
        // SAFETY: there are `columns` bytes for each class; rows and columns of runs are multiples
        // of 16.
        unsafe { global::load_u32x4((choices + at) as *const [u32; 4]) }
    }
}

/// Where the entries of the tables are that four bytes name.
#[inline(always)]
fn tables_at(entries: SharedAddress, tables: u32) -> [SharedAddress; 4] {
    core::array::from_fn(|number| {
        entries.offset((tables >> (8 * number) & 0xFF) * shared_layout::ENTRIES_BYTES)
    })
}

/// Decodes one block and returns its status.
#[inline(always)]
unsafe fn decode<const S: usize>(
    task: BlockTask,
    shared: SharedLayout,
    classes: KernelClasses,
) -> u32 {
    const CODING: u8 = plane_kind::SYMBOLS;
    let Some(places) = Places::of::<1, CODING, 0, S>(&task) else {
        return status::LENGTH;
    };
    // SAFETY: the module's promise.
    let opened = unsafe { Lanes::<0, CLASS_RUN, S, false>::open::<CODING>(&places, shared) };
    let Some((mut lanes, counts, bad_start)) = opened else {
        return status::LENGTH;
    };
    let in_group = warp::lane_id() * CLASS_RUN;
    let mut runs = Runs::from(classes, task.first + u64::from(in_group));
    // SAFETY: the module's promise.
    let mut next = unsafe { runs.next() };
    let mut group = 0;
    while group * GROUP < task.elements {
        let at = group * GROUP + in_group;
        let mut tables = next;
        // SAFETY: the module's promise.
        next = unsafe { runs.next() };
        if (group + 1) * GROUP > task.elements {
            tables = inside(tables, task.elements.saturating_sub(at));
        }
        let [first, second, third, fourth] = tables.map(|four| tables_at(shared.entries, four));
        // SAFETY: the module's promise; each quarter follows the one before.
        let symbols = unsafe {
            [
                lanes.quarter::<0>(group, first),
                lanes.quarter::<4>(group, second),
                lanes.quarter::<8>(group, third),
                lanes.quarter::<12>(group, fourth),
            ]
        };
        // SAFETY: the output has as many bytes as the block elements; a run begins at a multiple of
        // 16.
        unsafe { store_run(task.out as *mut u8, at, task.elements, symbols.map(pack)) };
        group += 1;
    }
    lanes.finish(&counts, false) | bad_start
}

/// The tables of a run of which only the first `count` elements are the block's: what pads the stream
/// takes the first table.
#[inline(always)]
fn inside(tables: [u32; 4], count: u32) -> [u32; 4] {
    let [a, b, c, d] = tables;
    [
        first_bytes(a, count),
        first_bytes(b, count.saturating_sub(4)),
        first_bytes(c, count.saturating_sub(8)),
        first_bytes(d, count.saturating_sub(12)),
    ]
}

const _: () = assert!(LANE_RUN_BYTES as u32 == CLASS_RUN);

macro_rules! kernels_by_class {
    ($($(#[$doc:meta])* $name:ident: $states:literal;)*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// As for [`for_each_task_by_class`]; the tasks' blocks and outputs are valid for their
        /// lengths.
        #[kernel]
        #[allow(clippy::too_many_arguments, reason = "those of the general kernels")]
        pub unsafe fn $name(
            groups: *const TaskGroup,
            group_count: u32,
            counters: *mut u32,
            tasks: *const BlockTask,
            tables: *const KernelTable,
            status: *mut u32,
            _specs: *const PlaneSpecs,
            classes: *const KernelClasses,
        ) {
            let work = Work { groups, group_count, counters, tasks, tables, status };
            // SAFETY: the caller's promise.
            unsafe {
                for_each_task_by_class(
                    work,
                    classes,
                    WarpMemory::new(1, 1, 0),
                    |task, shared, classes| decode::<$states>(task, shared, classes),
                );
            }
        }
    )* };
}

kernels_by_class! {
    /// Bytes, packed 4-bit values, FP8.
    decode_1_classes_1: 1;
    /// The same with two states per lane.
    decode_1_classes_2: 2;
}
