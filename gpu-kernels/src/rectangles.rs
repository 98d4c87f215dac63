//! Copies rectangles of bytes: what is wanted of decoded blocks, to its place in a slice of a tensor.
//!
//! A warp takes a task. The rows of its destination are cut into units at multiples of the unit's size,
//! at most 16 bytes and as large as source and destination have in common; lanes take units side by
//! side, across the ends of rows. A unit that lies in its row is one load and one store. Of one that
//! reaches beyond it the row's bytes are copied one by one: nothing outside of a rectangle is read or
//! written.

use codec::device::RectangleTask;
use cuda_std::{global, kernel, thread, warp};

use crate::grid::WARP;

/// Units of a lane that are under way together: all are loaded before the first is stored.
const TOGETHER: usize = 4;
/// A row has to have so many units, or units are made so small that none reaches beyond its row:
/// bytes one by one take longer than those of such a row in smaller units.
const LEAST_UNITS: u32 = 8;

/// Copies the rectangles of all tasks; any number of thread blocks of whole warps shares them.
///
/// # Safety
///
/// `tasks` has `task_count` tasks. The rows of each are readable at their source, where no thread writes
/// during the launch, and writable at their destination, where no other task or row writes.
#[kernel]
pub unsafe fn copy_rectangles(tasks: *const RectangleTask, task_count: u32) {
    let warps = thread::block_dim_x() / WARP;
    let mut number = thread::block_idx_x() * warps + thread::thread_idx_x() / WARP;
    while number < task_count {
        // SAFETY: below the number of tasks.
        let mut task = unsafe { *tasks.add(number as usize) };
        if task.rows <= 1 {
            (task.from_pitch, task.to_pitch) = (0, 0);
        }
        // SAFETY: the caller's promise; all addresses are multiples of the unit wherever a whole one is
        // accessed, see `unit_bytes`.
        unsafe {
            match unit_bytes(&task) {
                16 => copy::<[u32; 4]>(task),
                4 | 8 => copy::<u32>(task),
                2 => copy::<u16>(task),
                _ => copy::<u8>(task),
            }
        }
        number += thread::grid_dim_x() * warps;
    }
}

/// Bytes of the task's units: a power of two, at most 16, by which source and destination are apart in
/// all rows. So a source is a multiple of it where the destination is one.
fn unit_bytes(task: &RectangleTask) -> u32 {
    const MOST: u32 = 16;
    let power_in = |bits: u32| 1 << (bits | MOST).trailing_zeros();
    // Lower bits are all that matters.
    let (from, to) = (task.from as u32, task.to as u32);
    let common = power_in(from.wrapping_sub(to) | task.from_pitch.wrapping_sub(task.to_pitch));
    if task.width >= LEAST_UNITS * common {
        common
    } else {
        power_in(from | to | task.from_pitch | task.to_pitch | task.width)
    }
}

/// What a lane loads and stores at once.
trait Unit: Copy {
    const ZERO: Self;

    /// # Safety
    ///
    /// `address` is a multiple of the size and readable; no thread writes there during the launch.
    unsafe fn load(address: u64) -> Self;

    /// # Safety
    ///
    /// `address` is a multiple of the size and writable; no other thread accesses it.
    unsafe fn store(self, address: u64);
}

macro_rules! units {
    ($($unit:ty: $zero:expr, $load:ident, $store:ident;)*) => { $(
        impl Unit for $unit {
            const ZERO: Self = $zero;

            #[inline(always)]
            unsafe fn load(address: u64) -> Self {
                // SAFETY: the caller's promise.
                unsafe { global::$load(address as *const Self) }
            }

            #[inline(always)]
            unsafe fn store(self, address: u64) {
                // SAFETY: the caller's promise.
                unsafe { global::$store(address as *mut Self, self) };
            }
        }
    )* };
}

units! {
    [u32; 4]: [0; 4], load_u32x4, store_u32x4;
    u32: 0, load_u32, store_u32;
    u16: 0, load_u16, store_u16;
    u8: 0, load_u8, store_u8;
}

/// The units of a task that a lane takes: every 32nd, row after row.
struct Units {
    task: RectangleTask,
    unit_bytes: u32,
    /// Units of a row, at most.
    per_row: u32,
    /// From a unit of the lane to its next one.
    row_step: u32,
    step: u32,
    /// The next one.
    row: u32,
    unit: u32,
}

/// What a unit has of its row.
#[derive(Clone, Copy)]
struct Part {
    from: u64,
    to: u64,
    bytes: u32,
}

impl Units {
    #[inline(always)]
    fn new(task: RectangleTask, unit_bytes: u32) -> Self {
        // Rows that begin within a unit may end within one more.
        let begins = (task.to as u32 | task.to_pitch) % unit_bytes;
        let before = if begins == 0 { 0 } else { unit_bytes - 1 };
        let per_row = (task.width + before).div_ceil(unit_bytes).max(1);
        let lane = warp::lane_id();
        Self {
            task,
            unit_bytes,
            per_row,
            row_step: WARP / per_row,
            step: WARP % per_row,
            row: lane / per_row,
            unit: lane % per_row,
        }
    }

    /// The next unit's part of its row; without bytes where there is none.
    #[inline(always)]
    fn next(&mut self) -> Part {
        let (task, row) = (&self.task, u64::from(self.row));
        let to = task.to + row * u64::from(task.to_pitch);
        let from = task.from + row * u64::from(task.from_pitch);
        // Counted from the row's begin, which may lie within its first unit.
        let before = to as u32 % self.unit_bytes;
        let start = (self.unit * self.unit_bytes).saturating_sub(before);
        let end = ((self.unit + 1) * self.unit_bytes - before).min(task.width);
        let bytes = if self.row < task.rows { end.saturating_sub(start) } else { 0 };
        self.row += self.row_step;
        self.unit += self.step;
        if self.unit >= self.per_row {
            self.unit -= self.per_row;
            self.row += 1;
        }
        Part { from: from + u64::from(start), to: to + u64::from(start), bytes }
    }
}

/// Copies a rectangle in units of this type, by all lanes of a warp.
///
/// # Safety
///
/// As for [`copy_rectangles`]; the unit is one that `unit_bytes` allows.
#[inline(always)]
unsafe fn copy<U: Unit>(task: RectangleTask) {
    let unit_bytes = size_of::<U>() as u32;
    let mut units = Units::new(task, unit_bytes);
    while units.row < task.rows {
        let mut parts = [Part { from: 0, to: 0, bytes: 0 }; TOGETHER];
        let mut values = [U::ZERO; TOGETHER];
        let mut number = 0;
        while number < TOGETHER {
            let part = units.next();
            parts[number] = part;
            if part.bytes == unit_bytes {
                // SAFETY: a whole unit within the row.
                values[number] = unsafe { U::load(part.from) };
            }
            number += 1;
        }
        number = 0;
        while number < TOGETHER {
            let part = parts[number];
            if part.bytes == unit_bytes {
                // SAFETY: a whole unit within the row.
                unsafe { values[number].store(part.to) };
            } else {
                // SAFETY: bytes of the row, and of no other lane's units.
                unsafe { copy_bytes(part) };
            }
            number += 1;
        }
    }
}

/// Copies less than a unit.
///
/// # Safety
///
/// The part's bytes are readable and writable as [`copy_rectangles`] has it.
#[inline(always)]
unsafe fn copy_bytes(part: Part) {
    let mut byte = 0;
    while byte < u64::from(part.bytes) {
        // SAFETY: the caller's promise.
        unsafe { u8::load(part.from + byte).store(part.to + byte) };
        byte += 1;
    }
}
