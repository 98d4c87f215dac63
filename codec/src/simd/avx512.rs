//! Lanes in two registers of AVX-512, 16 in each.

use core::arch::x86_64::*;

use super::lanes::Lanes;
use super::pieces::{self, BlockInput, PieceBuffers};
use crate::block::BlockSpec;
use crate::constants::{LANES, PROBABILITY_BITS, STATE_LOWER_BOUND, TABLE_SIZE, WORD_BITS};
use crate::pair::RankValues;
use crate::rans::TableEntry;

/// Lanes 0 to 15, and lanes 16 to 31.
#[derive(Clone, Copy)]
pub(super) struct Registers([__m512i; 2]);

/// [`pieces::decode`], compiled for these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
pub(super) fn decode_blocks<const B: usize>(
    spec: &BlockSpec,
    blocks: [BlockInput<'_>; B],
    buffers: &mut [PieceBuffers; B],
    outs: [&mut [u8]; B],
) -> bool {
    // SAFETY: this function's instructions include those of `Registers`.
    unsafe { pieces::decode::<Registers, B>(spec, blocks, buffers, outs) }
}

impl Lanes for Registers {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn from_array(lanes: &[u32; LANES]) -> Self {
        let (low, high) = lanes.split_at(LANES / 2);
        // SAFETY: both halves have 16 numbers.
        Self([low, high].map(|half| unsafe { _mm512_loadu_epi32(half.as_ptr().cast()) }))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn to_array(self) -> [u32; LANES] {
        let mut lanes = [0; LANES];
        for (half, register) in lanes.as_chunks_mut::<16>().0.iter_mut().zip(self.0) {
            // SAFETY: the half has 16 numbers.
            unsafe { _mm512_storeu_epi32(half.as_mut_ptr().cast(), register) };
        }
        lanes
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn step<const AT: u32>(
        &mut self,
        table: &[TableEntry; TABLE_SIZE],
        words: *const u8,
        symbols: &mut Self,
    ) -> usize {
        let entries = self.0.map(|states| lookup(table, states));
        let mut taken = 0;
        for ((states, symbols), entries) in self.0.iter_mut().zip(&mut symbols.0).zip(entries) {
            *symbols = add_symbols::<AT>(*symbols, entries);
            let next = advance(*states, entries);
            let takers = _mm512_cmplt_epu32_mask(next, _mm512_set1_epi32(STATE_LOWER_BOUND as i32));
            // SAFETY: 32 bytes, after at most 32 that the lanes before took.
            let words = unsafe { _mm256_loadu_si256(words.add(taken).cast()) };
            let words = _mm512_maskz_expand_epi32(takers, _mm512_cvtepu16_epi32(words));
            let shifted = _mm512_slli_epi32::<WORD_BITS>(next);
            *states = _mm512_mask_or_epi32(next, takers, shifted, words);
            taken += 2 * takers.count_ones() as usize;
        }
        taken
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store_runs_of_2(self, out: &mut [u8; 4 * LANES]) {
        let parts = out.as_chunks_mut::<32>().0;
        for (number, symbols) in self.0.into_iter().enumerate() {
            store_half(_mm512_cvtepi32_epi16(symbols), &mut parts[number]);
            let second = _mm512_srli_epi32::<16>(symbols);
            store_half(_mm512_cvtepi32_epi16(second), &mut parts[2 + number]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store_runs_of_4(self, out: &mut [u8; 4 * LANES]) {
        store_all(self.0, out.as_chunks_mut().0);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store_runs_of_8(quarters: [Self; 2], out: &mut [u8; 8 * LANES]) {
        let [first, second] = quarters;
        for (half, out) in out.as_chunks_mut::<128>().0.iter_mut().enumerate() {
            store_all(alternate(first.0[half], second.0[half]), out.as_chunks_mut().0);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store_runs_of_16(quarters: [Self; 4], out: &mut [u8; 16 * LANES]) {
        let [a, b, c, d] = quarters;
        for (half, out) in out.as_chunks_mut::<256>().0.iter_mut().enumerate() {
            // Eight bytes of each lane's run, then all 16.
            let first = alternate(a.0[half], b.0[half]);
            let second = alternate(c.0[half], d.0[half]);
            let (low, high) = out.split_at_mut(128);
            store_all(alternate_wide(first[0], second[0]), low.as_chunks_mut().0);
            store_all(alternate_wide(first[1], second[1]), high.as_chunks_mut().0);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn expand_pairs(ranks: &RankValues, symbols: &[u8; 32], values: &mut [u8; 64]) {
        // SAFETY: there are 16 ranks.
        let ranks = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(ranks.as_ptr().cast()) });
        // SAFETY: there are 32 symbols.
        let symbols = unsafe { _mm256_loadu_si256(symbols.as_ptr().cast()) };
        let symbols = _mm512_cvtepu8_epi16(symbols);
        let both = _mm512_or_si512(symbols, _mm512_slli_epi16::<4>(symbols));
        let both = _mm512_and_si512(both, _mm512_set1_epi8(15));
        // SAFETY: there are 64 values.
        unsafe {
            _mm512_storeu_si512(values.as_mut_ptr().cast(), _mm512_shuffle_epi8(ranks, both))
        };
    }
}

/// The entries that states select.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn lookup(table: &[TableEntry; TABLE_SIZE], states: __m512i) -> __m512i {
    let slots = _mm512_and_si512(states, _mm512_set1_epi32(TABLE_SIZE as i32 - 1));
    // SAFETY: each index is below the table's size.
    unsafe { _mm512_i32gather_epi32::<4>(slots, table.as_ptr().cast()) }
}

/// [`crate::rans::advance`] in each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn advance(states: __m512i, entries: __m512i) -> __m512i {
    let frequencies = _mm512_and_si512(entries, _mm512_set1_epi32(TABLE_SIZE as i32 - 1));
    let quotients = _mm512_srli_epi32::<PROBABILITY_BITS>(states);
    let offsets = _mm512_srli_epi32::<{ PROBABILITY_BITS + 8 }>(entries);
    _mm512_add_epi32(_mm512_mullo_epi32(frequencies, quotients), offsets)
}

/// `symbols` with the entries' symbols in byte `AT`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn add_symbols<const AT: u32>(symbols: __m512i, entries: __m512i) -> __m512i {
    let moved = match AT {
        0 => _mm512_srli_epi32::<PROBABILITY_BITS>(entries),
        1 => _mm512_srli_epi32::<{ PROBABILITY_BITS - 8 }>(entries),
        2 => _mm512_slli_epi32::<{ 16 - PROBABILITY_BITS }>(entries),
        _ => _mm512_slli_epi32::<{ 24 - PROBABILITY_BITS }>(entries),
    };
    let byte = _mm512_set1_epi32((0xFF_u32 << (8 * AT)) as i32);
    // a | (b & c)
    _mm512_ternarylogic_epi32::<0xF8>(symbols, moved, byte)
}

/// The 32-bit numbers of `a` and `b` in turn, 16 of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn alternate(a: __m512i, b: __m512i) -> [__m512i; 2] {
    let low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    [_mm512_permutex2var_epi32(a, low, b), _mm512_permutex2var_epi32(a, high, b)]
}

/// The 64-bit numbers of `a` and `b` in turn, eight of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn alternate_wide(a: __m512i, b: __m512i) -> [__m512i; 2] {
    let low = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
    let high = _mm512_add_epi64(low, _mm512_set1_epi64(4));
    [_mm512_permutex2var_epi64(a, low, b), _mm512_permutex2var_epi64(a, high, b)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn store_all(registers: [__m512i; 2], out: &mut [[u8; 64]]) {
    for (out, register) in out.iter_mut().zip(registers) {
        // SAFETY: there are 64 bytes.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), register) };
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn store_half(register: __m256i, out: &mut [u8; 32]) {
    // SAFETY: there are 32 bytes.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), register) };
}
