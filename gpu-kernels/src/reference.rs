//! Makes elements of what has been decoded against a base, in place: one pass over the output, 16
//! bytes of a lane at a time. The arithmetic is that of [`codec::reference`].

use codec::device::ReferenceTask;
use codec::reference::{restore_run, unpacked};
use cuda_std::{global, kernel, thread};

use crate::output::store_run;

/// Bytes that a thread takes at a time.
const RUN: u32 = 16;

/// Undoes the references of all tasks; any number of thread blocks shares them, each task one.
///
/// # Safety
///
/// `tasks` has `task_count` tasks. Base and output of each are multiples of 16, the base is readable
/// and the output writable for the task's bytes, and no two outputs overlap.
#[kernel]
pub unsafe fn undo_references(tasks: *const ReferenceTask, task_count: u32) {
    let mut number = thread::block_idx_x();
    while number < task_count {
        // SAFETY: below the number of tasks.
        let task = unsafe { *tasks.add(number as usize) };
        let (reference, layout) = unpacked(task.operation);
        let (base, out) = (task.base as *const u8, task.out as *mut u8);
        let mut offset = thread::thread_idx_x() * RUN;
        while offset < task.bytes {
            // SAFETY: the caller's promise; this thread is the only one to access the run.
            unsafe {
                let run = load_run(out, offset, task.bytes, Source::Output);
                let base = load_run(base, offset, task.bytes, Source::Base);
                let run = restore_run(reference, layout, run, base);
                store_run(out, offset, task.bytes, run);
            }
            offset += thread::block_dim_x() * RUN;
        }
        number += thread::grid_dim_x();
    }
}

/// What is loaded: memory that no thread writes, or that this one writes later.
#[derive(Clone, Copy)]
enum Source {
    Base,
    Output,
}

/// The 16 bytes at `offset` of `length`, zeros behind the end.
///
/// # Safety
///
/// `start` is readable for `length` bytes and a multiple of 16, and so is `offset`.
#[inline(always)]
unsafe fn load_run(start: *const u8, offset: u32, length: u32, source: Source) -> [u32; 4] {
    if offset + RUN <= length {
        let at = start.wrapping_add(offset as usize).cast();
        // SAFETY: inside; aligned.
        return unsafe {
            match source {
                Source::Base => global::load_u32x4(at),
                Source::Output => global::load_u32x4_plain(at),
            }
        };
    }
    let mut run = [0; 4];
    let mut word = 0;
    while word < 4 {
        let mut byte = 0;
        while byte < 4 {
            let at = offset + 4 * word + byte;
            if at < length {
                // SAFETY: inside.
                let value = unsafe { global::load_u8_plain(start.add(at as usize)) };
                run[word as usize] |= u32::from(value) << (8 * byte);
            }
            byte += 1;
        }
        word += 1;
    }
    run
}
