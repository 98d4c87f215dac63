//! The lanes of a warp, and what they do together.
//!
//! Each collective takes a mask of the lanes that take part, bit `i` for lane `i`. All of them must
//! call the same collective with the same mask, and the caller is among them.

#[cfg(not(target_arch = "nvptx64"))]
use crate::emulator::context;
#[cfg(target_arch = "nvptx64")]
use core::arch::asm;

/// Lanes of a warp.
pub const WARP_SIZE: u32 = 32;

// From LLVM and not from `asm!`, which is not known to be convergent: the compiler could move it
// into one side of a branch.
#[cfg(target_arch = "nvptx64")]
unsafe extern "C" {
    #[link_name = "llvm.nvvm.vote.ballot.sync"]
    fn vote_ballot_sync(mask: u32, predicate: bool) -> u32;
    #[link_name = "llvm.nvvm.bar.warp.sync"]
    fn bar_warp_sync(mask: u32);
    #[link_name = "llvm.nvvm.shfl.sync.idx.i32"]
    fn shuffle_idx_sync(mask: u32, value: u32, lane: u32, clamp: u32) -> u32;
}

/// The thread's lane, in thread blocks of one dimension.
#[inline(always)]
pub fn lane_id() -> u32 {
    crate::thread::thread_idx_x() & (WARP_SIZE - 1)
}

/// The mask of the lanes before this one.
#[inline(always)]
pub fn lane_mask_lt() -> u32 {
    #[cfg(target_arch = "nvptx64")]
    {
        let mask: u32;
        // SAFETY: reads a special register.
        unsafe {
            asm!(
                "mov.u32 {}, %lanemask_lt;",
                out(reg32) mask,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        mask
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        (1 << lane_id()) - 1
    }
}

/// The mask of those lanes of `mask` whose `predicate` holds.
#[inline(always)]
pub fn warp_vote_ballot(mask: u32, predicate: bool) -> u32 {
    #[cfg(target_arch = "nvptx64")]
    {
        // SAFETY: exchanges registers; a lane that does not come makes the warp wait.
        unsafe { vote_ballot_sync(mask, predicate) }
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::ballot(mask, predicate)
    }
}

/// The `value` that lane `lane % 32` passes, which must be one of `mask`.
#[inline(always)]
pub fn warp_shuffle_idx(mask: u32, value: u32, lane: u32) -> u32 {
    #[cfg(target_arch = "nvptx64")]
    {
        // SAFETY: exchanges registers; a lane that does not come makes the warp wait.
        unsafe { shuffle_idx_sync(mask, value, lane, WARP_SIZE - 1) }
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::shuffle(mask, value, lane)
    }
}

/// Waits for the lanes of `mask`, and makes what each of them has written before visible to the
/// others.
#[inline(always)]
pub fn sync_warp(mask: u32) {
    #[cfg(target_arch = "nvptx64")]
    {
        // SAFETY: a barrier touches no memory of this thread.
        unsafe { bar_warp_sync(mask) }
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        context::sync_warp(mask);
    }
}
