//! Elements from byte planes, and lines past the cache: see the same of AVX-512.

use core::arch::x86_64::*;

use super::{load, store};
use crate::simd::lanes::LINE_BYTES;

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn two<const ROTATED: bool>(rows: [&[u8; 64]; 2], elements: &mut [u8; 128]) {
    let rows = rows.map(|row| row.as_chunks::<32>().0);
    for (half, out) in elements.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let [low, high] =
            rows.map(|row| _mm256_permute4x64_epi64::<0b11_01_10_00>(load(&row[half])));
        let merged = [_mm256_unpacklo_epi8(low, high), _mm256_unpackhi_epi8(low, high)];
        for (elements, out) in merged.into_iter().zip(out.as_chunks_mut().0) {
            let down = _mm256_srli_epi16::<1>(elements);
            let rotated = _mm256_or_si256(down, _mm256_slli_epi16::<15>(elements));
            store(if ROTATED { rotated } else { elements }, out);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn four<const ROTATED: bool>(rows: [&[u8; 64]; 4], elements: &mut [u8; 256]) {
    let order = _mm256_set_epi32(7, 5, 3, 1, 6, 4, 2, 0);
    let rows = rows.map(|row| row.as_chunks::<32>().0);
    for (half, out) in elements.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        let [a, b, c, d] = rows.map(|row| _mm256_permutevar8x32_epi32(load(&row[half]), order));
        let first = (_mm256_unpacklo_epi8(a, b), _mm256_unpacklo_epi8(c, d));
        let second = (_mm256_unpackhi_epi8(a, b), _mm256_unpackhi_epi8(c, d));
        let merged = [
            _mm256_unpacklo_epi16(first.0, first.1),
            _mm256_unpackhi_epi16(first.0, first.1),
            _mm256_unpacklo_epi16(second.0, second.1),
            _mm256_unpackhi_epi16(second.0, second.1),
        ];
        for (elements, out) in merged.into_iter().zip(out.as_chunks_mut().0) {
            let down = _mm256_srli_epi32::<1>(elements);
            let rotated = _mm256_or_si256(down, _mm256_slli_epi32::<31>(elements));
            store(if ROTATED { rotated } else { elements }, out);
        }
    }
}

/// # Safety
///
/// `line` begins at a multiple of its size.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store_line(bytes: &[u8; LINE_BYTES], line: &mut [u8; LINE_BYTES]) {
    for (bytes, half) in bytes.as_chunks().0.iter().zip(line.as_chunks_mut::<32>().0) {
        // SAFETY: half of a line has the size of a register, and begins where one may.
        unsafe { _mm256_stream_si256(half.as_mut_ptr().cast(), load(bytes)) };
    }
}
