//! Hints about what will be read or written soon.
//!
//! A processor fetches a block's parts ahead by itself, but only within a page of memory, and a burst of
//! requests keeps others waiting. So each unit of a stream asks for as much of the raw planes and of the
//! output as it has elements, some way ahead of them.

use super::lanes::LINE_BYTES;

/// How far ahead.
pub(super) const ELEMENTS_AHEAD: usize = 1024;

/// Asks for the lines in which `bytes` are, to be read.
#[inline(always)]
pub(super) fn for_reading(bytes: &[u8]) {
    for line in bytes.chunks(LINE_BYTES) {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint, which changes nothing that a program sees.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

/// Asks for the lines in which `bytes` are, to be written.
#[inline(always)]
pub(super) fn for_writing(bytes: &[u8]) {
    for line in bytes.chunks(LINE_BYTES) {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{_MM_HINT_ET1, _mm_prefetch};
            // SAFETY: a hint, which changes nothing that a program sees.
            unsafe { _mm_prefetch::<_MM_HINT_ET1>(line.as_ptr().cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

/// Asks for all lines of `value`, to be read.
#[inline(always)]
pub(super) fn whole<T>(value: &T) {
    for offset in (0..size_of::<T>()).step_by(LINE_BYTES) {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint, which changes nothing that a program sees.
            unsafe { _mm_prefetch::<_MM_HINT_T0>((&raw const *value).byte_add(offset).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (value, offset);
    }
}
