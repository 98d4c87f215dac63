//! Where a thread is in its launch, and the barrier of its thread block.

#[cfg(not(target_arch = "nvptx64"))]
use crate::emulator::context;
#[cfg(target_arch = "nvptx64")]
use core::arch::{asm, nvptx};

/// The thread's number in its thread block.
#[inline(always)]
pub fn thread_idx_x() -> u32 {
    #[cfg(target_arch = "nvptx64")]
    {
        // SAFETY: reads a special register.
        unsafe { nvptx::_thread_idx_x() as u32 }
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::position().thread
    }
}

/// The thread block's number in the grid.
#[inline(always)]
pub fn block_idx_x() -> u32 {
    #[cfg(target_arch = "nvptx64")]
    {
        // SAFETY: reads a special register.
        unsafe { nvptx::_block_idx_x() as u32 }
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::position().block
    }
}

/// Threads of a thread block.
#[inline(always)]
pub fn block_dim_x() -> u32 {
    #[cfg(target_arch = "nvptx64")]
    {
        // SAFETY: reads a special register.
        unsafe { nvptx::_block_dim_x() as u32 }
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::dimensions().1
    }
}

/// Thread blocks of the grid.
#[inline(always)]
pub fn grid_dim_x() -> u32 {
    #[cfg(target_arch = "nvptx64")]
    {
        // SAFETY: reads a special register.
        unsafe { nvptx::_grid_dim_x() as u32 }
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::dimensions().0
    }
}

/// Waits for all threads of the thread block, which must all call this, and makes what each of
/// them has written before visible to the others.
#[inline(always)]
pub fn sync_threads() {
    #[cfg(target_arch = "nvptx64")]
    {
        // SAFETY: a barrier touches no memory of this thread.
        unsafe { nvptx::_syncthreads() }
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::sync_threads();
    }
}

/// What `#[launch_bounds]` puts at the beginning of a kernel: a comment in its PTX, where Rust has no
/// way to write the directives themselves; `cuda_builder` puts them in its place.
#[doc(hidden)]
#[inline(always)]
pub fn note_launch_bounds<const THREADS: u32, const BLOCKS: u32>() {
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: a comment.
    unsafe {
        asm!(
            "// launch_bounds {} {}", const THREADS, const BLOCKS,
            options(nomem, nostack, preserves_flags)
        );
    }
}
