//! Elements from byte planes, and lines past the cache.
//!
//! Bytes are put beside each other within quarters of a register, so that what is to come out in one piece
//! has to be in the same quarter: planes are put in that order first. To widen each byte, to move it and to put
//! the four together takes 44 instructions for 64 elements, this 20.

use core::arch::x86_64::*;

use super::{load, store_all};
use crate::simd::lanes::LINE_BYTES;

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2")]
pub(super) fn two<const ROTATED: bool>(rows: [&[u8; 64]; 2], elements: &mut [u8; 128]) {
    let order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
    let [low, high] = rows.map(|row| _mm512_permutexvar_epi64(order, load(row)));
    let merged = [_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)];
    let rotate_right = |elements| {
        if ROTATED { _mm512_shrdi_epi16::<1>(elements, elements) } else { elements }
    };
    store_all(merged.map(rotate_right), elements.as_chunks_mut().0);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(super) fn four<const ROTATED: bool>(rows: [&[u8; 64]; 4], elements: &mut [u8; 256]) {
    let order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    let [a, b, c, d] = rows.map(|row| _mm512_permutexvar_epi32(order, load(row)));
    let halves = [
        (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d)),
        (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d)),
    ];
    let rotate_right = |elements| if ROTATED { _mm512_ror_epi32::<1>(elements) } else { elements };
    for ((low, high), out) in halves.into_iter().zip(elements.as_chunks_mut::<128>().0) {
        let merged = [_mm512_unpacklo_epi16(low, high), _mm512_unpackhi_epi16(low, high)];
        store_all(merged.map(rotate_right), out.as_chunks_mut().0);
    }
}

/// # Safety
///
/// `line` begins at a multiple of its size.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(super) unsafe fn store_line(bytes: &[u8; LINE_BYTES], line: &mut [u8; LINE_BYTES]) {
    // SAFETY: a line has the size of a register, and begins where one may.
    unsafe { _mm512_stream_si512(line.as_mut_ptr().cast(), load(bytes)) };
}
