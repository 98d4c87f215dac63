//! Copies from global to shared memory that go on while the thread does (`cp.async`).
//!
//! Each thread has its own queue: [`copy_16_partial`] adds to it, [`commit`] closes a group, and
//! [`wait`] waits for groups in their order. Other threads see the bytes after a barrier behind it.

#[cfg(not(target_arch = "nvptx64"))]
use crate::emulator::context;
use crate::shared::SharedAddress;
#[cfg(target_arch = "nvptx64")]
use core::arch::asm;

/// Starts the copy of `bytes` bytes (at most 16) from `source` to `target`, and of zeros to the
/// rest of the 16 bytes there.
///
/// # Safety
///
/// Both are multiples of 16; `source` is readable for `bytes` bytes, and `target` lies within the
/// shared memory, until the copy has been waited for.
#[inline(always)]
pub unsafe fn copy_16_partial(target: SharedAddress, source: *const u8, bytes: u32) {
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: the caller's promise; the instruction touches these bytes and no others.
    unsafe {
        asm!(
            "cp.async.cg.shared.global.L2::256B [{}], [{}], 16, {};",
            in(reg32) target.0, in(reg64) source, in(reg32) bytes,
            options(nostack, preserves_flags)
        );
    }
    #[cfg(not(target_arch = "nvptx64"))]
    // SAFETY: the caller's promise.
    unsafe {
        context::copy_16(target.0, source, bytes);
    }
}

/// Starts the copy of 16 bytes from `source` to `target` where `wanted` is set. The lanes of a warp
/// need not agree and do not part: the instruction itself is left out where it is not wanted.
///
/// # Safety
///
/// Where `wanted` is set: both are multiples of 16; `source` is readable for 16 bytes, and `target`
/// lies within the shared memory, until the copy has been waited for.
#[inline(always)]
pub unsafe fn copy_16_if(wanted: bool, target: SharedAddress, source: *const u8) {
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: the caller's promise; the instruction touches these bytes and no others.
    unsafe {
        asm!(
            "{{ .reg .pred wanted; setp.ne.u32 wanted, {}, 0; \
             @wanted cp.async.cg.shared.global.L2::256B [{}], [{}], 16; }}",
            in(reg32) u32::from(wanted), in(reg32) target.0, in(reg64) source,
            options(nostack, preserves_flags)
        );
    }
    #[cfg(not(target_arch = "nvptx64"))]
    if wanted {
        // SAFETY: the caller's promise.
        unsafe { context::copy_16(target.0, source, 16) };
    }
}

/// Makes a group of all copies since the last one.
#[inline(always)]
pub fn commit() {
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: concerns only copies whose validity `copy_16_partial`'s callers have promised.
    unsafe {
        asm!("cp.async.commit_group;", options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "nvptx64"))]
    context::commit_copies();
}

/// Waits for all groups of this thread but the newest `PENDING`.
#[inline(always)]
pub fn wait<const PENDING: u32>() {
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: concerns only copies whose validity `copy_16_partial`'s callers have promised.
    unsafe {
        asm!("cp.async.wait_group {};", const PENDING, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "nvptx64"))]
    context::wait_for_copies(PENDING as usize);
}
