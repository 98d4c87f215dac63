//! Lanes in two registers of AVX-512, 16 in each.

mod merge;
mod words;

use core::arch::x86_64::*;

use super::encode;
use super::lanes::{ENCODE_TABLE_STRIDE, LINE_BYTES, Lanes, NO_RANK};
use super::mixed;
use super::outputs::Outputs;
use super::pieces::{self, BlockInput, PieceBuffers};
use crate::block::{BlockError, BlockSpec, BlockTables, PlaneClasses, PlaneCoding};
use crate::constants::{
    ALPHABET, ESCAPE_SYMBOL, LANES, PROBABILITY_BITS, STATE_LOWER_BOUND, TABLE_SIZE, WORD_BITS,
};
use crate::pair::RankValues;
use crate::rans::{DecodeTable, EncodeTable, PackedSymbol, TableEntry};
use crate::split::ElementLayout;

/// Lanes 0 to 15, and lanes 16 to 31. `QUARTERS` says how bytes are looked up in tables: see [`translate`].
#[derive(Clone, Copy)]
pub(super) struct Registers<const QUARTERS: bool = false>(pub(super) [__m512i; 2]);

/// `task`, compiled for these instructions as far as it is inlined.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg,bmi1,bmi2,popcnt"
)]
pub(super) fn run<R>(task: impl FnOnce() -> R) -> R {
    task()
}

/// [`pieces::decode`], compiled for these instructions.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg,bmi1,bmi2,popcnt"
)]
pub(super) fn decode_blocks<O: Outputs<B>, const B: usize, const QUARTERS: bool>(
    spec: &BlockSpec,
    blocks: [BlockInput<'_>; B],
    buffers: &mut [PieceBuffers; B],
    outs: O,
) -> bool {
    // SAFETY: this function's instructions include those of `Registers`.
    unsafe { pieces::decode::<Registers<QUARTERS>, O, B>(spec, blocks, buffers, outs) }
}

/// [`mixed::decode_block`], compiled for these instructions.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg,bmi1,bmi2,popcnt"
)]
pub(super) fn decode_classed_block(
    spec: &BlockSpec,
    tables: (&BlockTables<'_>, &PlaneClasses<'_, DecodeTable>),
    block: &[u8],
    scratch: &mut [u8],
    out: &mut [u8],
) -> Result<(), BlockError> {
    // SAFETY: this function's instructions include those of `Registers`.
    unsafe { mixed::decode_block::<Registers>(spec, tables, block, scratch, out) }
}

/// [`encode::symbols`], compiled for these instructions.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg,bmi1,bmi2,popcnt"
)]
pub(super) fn symbols<'a>(
    layout: ElementLayout,
    coded: (usize, PlaneCoding),
    ranks: &[Option<u8>; ALPHABET],
    elements: &[u8],
    planes: &mut [u8],
    symbols: &'a mut [u8],
) -> &'a [u8] {
    // SAFETY: this function's instructions include those of `Registers`.
    unsafe { encode::symbols::<Registers>(layout, coded, ranks, elements, planes, symbols) }
}

impl<const QUARTERS: bool> Lanes for Registers<QUARTERS> {
    /// Each byte of all entries, the least significant first.
    type SymbolTable = [[u8; ALPHABET]; 4];
    /// Ranks of values, and what symbols are coded as.
    type PairTables = [[u8; ALPHABET]; 2];
    type FourSymbols = [Self; 4];
    type TwoStates = words::States<QUARTERS>;

    #[inline(never)]
    #[target_feature(
        enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg,bmi1,bmi2,popcnt"
    )]
    unsafe fn apart<R>(task: impl FnOnce() -> R) -> R {
        task()
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn from_array(lanes: &[u32; LANES]) -> Self {
        let (low, high) = lanes.split_at(LANES / 2);
        // SAFETY: both halves have 16 numbers.
        Self([low, high].map(|half| unsafe { _mm512_loadu_epi32(half.as_ptr().cast()) }))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn to_array(self) -> [u32; LANES] {
        let mut lanes = [0; LANES];
        for (half, register) in lanes.as_chunks_mut::<16>().0.iter_mut().zip(self.0) {
            // SAFETY: the half has 16 numbers.
            unsafe { _mm512_storeu_epi32(half.as_mut_ptr().cast(), register) };
        }
        lanes
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn look_up(self, table: &[TableEntry; TABLE_SIZE]) -> Self {
        Self(self.0.map(|states| {
            let slots = _mm512_and_si512(states, _mm512_set1_epi32(TABLE_SIZE as i32 - 1));
            // SAFETY: each index is below the table's size.
            unsafe { _mm512_i32gather_epi32::<4>(slots, table.as_ptr().cast()) }
        }))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn look_up_by_class<const AT: u32>(self, tables: &[DecodeTable], choices: Self) -> Self {
        let slot = _mm512_set1_epi32(TABLE_SIZE as i32 - 1);
        Self(core::array::from_fn(|half| {
            let first = _mm512_slli_epi32::<PROBABILITY_BITS>(byte_at::<AT>(choices.0[half]));
            let slots = _mm512_or_si512(first, _mm512_and_si512(self.0[half], slot));
            // SAFETY: each table has 4096 entries, and each choice is the position of one.
            unsafe { _mm512_i32gather_epi32::<4>(slots, tables.as_ptr().cast()) }
        }))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn step<const AT: u32>(
        &mut self,
        entries: Self,
        words: *const u8,
        symbols: &mut Self,
    ) -> usize {
        let mut taken = 0;
        for ((states, symbols), entries) in self.0.iter_mut().zip(&mut symbols.0).zip(entries.0) {
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
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn at_least<const AT: u32>(self, least: u8) -> u32 {
        let least = _mm512_set1_epi32(least.into());
        let [low, high] = self.0.map(|half| _mm512_cmpge_epu32_mask(byte_at::<AT>(half), least));
        u32::from(high) << 16 | u32::from(low)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn store_runs_of_2(self, out: &mut [u8; 4 * LANES]) {
        let parts = out.as_chunks_mut::<32>().0;
        for (number, symbols) in self.0.into_iter().enumerate() {
            store_half(_mm512_cvtepi32_epi16(symbols), &mut parts[number]);
            let second = _mm512_srli_epi32::<16>(symbols);
            store_half(_mm512_cvtepi32_epi16(second), &mut parts[2 + number]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn store_runs_of_4(self, out: &mut [u8; 4 * LANES]) {
        store_all(self.0, out.as_chunks_mut().0);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn store_runs_of_8(quarters: [Self; 2], out: &mut [u8; 8 * LANES]) {
        let [first, second] = quarters;
        for (half, out) in out.as_chunks_mut::<128>().0.iter_mut().enumerate() {
            store_all(alternate(first.0[half], second.0[half]), out.as_chunks_mut().0);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
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
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn load_runs_of_2(runs: &[u8; 4 * LANES]) -> Self {
        let (first, second) = runs.split_at(2 * LANES);
        let (first, second) = (first.as_chunks::<32>().0, second.as_chunks::<32>().0);
        let mut registers = [_mm512_setzero_si512(); 2];
        for (half, register) in registers.iter_mut().enumerate() {
            let low = _mm512_cvtepu16_epi32(load_half(&first[half]));
            let high = _mm512_cvtepu16_epi32(load_half(&second[half]));
            *register = _mm512_or_si512(low, _mm512_slli_epi32::<16>(high));
        }
        Self(registers)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn load_runs_of_4(runs: &[u8; 4 * LANES]) -> Self {
        let (low, high) = runs.split_at(64);
        Self([load(low), load(high)])
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn load_runs_of_8(runs: &[u8; 8 * LANES]) -> [Self; 2] {
        let mut quarters = [Self([_mm512_setzero_si512(); 2]); 2];
        for (half, runs) in runs.as_chunks::<128>().0.iter().enumerate() {
            let (low, high) = runs.split_at(64);
            let [even, odd] = separate(load(low), load(high));
            (quarters[0].0[half], quarters[1].0[half]) = (even, odd);
        }
        quarters
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn load_runs_of_16(runs: &[u8; 16 * LANES]) -> [Self; 4] {
        let mut quarters = [Self([_mm512_setzero_si512(); 2]); 4];
        for (half, runs) in runs.as_chunks::<256>().0.iter().enumerate() {
            let parts = runs.as_chunks::<64>().0;
            let [even_low, odd_low] = separate(load(&parts[0]), load(&parts[1]));
            let [even_high, odd_high] = separate(load(&parts[2]), load(&parts[3]));
            let [first, third] = separate(even_low, even_high);
            let [second, fourth] = separate(odd_low, odd_high);
            for (quarter, register) in quarters.iter_mut().zip([first, second, third, fourth]) {
                quarter.0[half] = register;
            }
        }
        quarters
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn symbol_table(symbols: &[PackedSymbol; ALPHABET]) -> Self::SymbolTable {
        core::array::from_fn(|byte| symbols.map(|symbol| (symbol.0 >> (8 * byte)) as u8))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn look_up_symbols(table: &Self::SymbolTable, symbols: Self) -> Self::FourSymbols {
        let [low, high] = symbols.0.map(|symbols| entries_of_four(table, symbols));
        core::array::from_fn(|at| Self([low[at], high[at]]))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn entries<const AT: u32>(
        _table: &Self::SymbolTable,
        symbols: Self::FourSymbols,
    ) -> Self {
        symbols[AT as usize]
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn entries_by_class<const AT: u32>(
        tables: &[EncodeTable],
        choices: Self,
        symbols: Self,
    ) -> Self {
        let stride = _mm512_set1_epi32(ENCODE_TABLE_STRIDE as i32);
        Self(core::array::from_fn(|half| {
            let first = _mm512_mullo_epi32(byte_at::<AT>(choices.0[half]), stride);
            let at = _mm512_add_epi32(first, byte_at::<AT>(symbols.0[half]));
            // SAFETY: a table begins with an entry for every byte, and each choice is the position
            // of one.
            unsafe { _mm512_i32gather_epi32::<4>(at, tables.as_ptr().cast()) }
        }))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn put(&mut self, entries: Self, end: *mut u8, rarest: &mut Self) -> usize {
        let in_order = _mm256_set_epi16(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        let mut written = 0;
        for number in (0..2).rev() {
            let (states, rarest) = (&mut self.0[number], &mut rarest.0[number]);
            let entries = entries.0[number];
            let frequencies = _mm512_and_si512(entries, _mm512_set1_epi32(0xFFFF));
            *rarest = _mm512_min_epu32(*rarest, frequencies);
            let limits = _mm512_slli_epi32::<{ u32::BITS - PROBABILITY_BITS }>(frequencies);
            let givers = _mm512_cmpge_epu32_mask(*states, limits);
            let words = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(givers, *states));
            let count = givers.count_ones();
            // The words to the end of the register; indices count modulo 16.
            let order = _mm256_add_epi16(in_order, _mm256_set1_epi16(count as i16));
            let words = _mm256_permutexvar_epi16(order, words);
            // SAFETY: room for a word of each of these lanes is before what the others have written;
            // what lies before the words is written again.
            unsafe { _mm256_storeu_si256(end.sub(written + 32).cast(), words) };
            written += 2 * count as usize;
            let normal = _mm512_mask_srli_epi32::<WORD_BITS>(*states, givers, *states);
            *states = put(normal, frequencies, _mm512_srli_epi32::<16>(entries));
        }
        written
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn pair_tables(ranks: &[u8; ALPHABET], coded: &[u8; ALPHABET]) -> Self::PairTables {
        [*ranks, *coded]
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn join_pairs(tables: &Self::PairTables, values: &[u8; 64], symbols: &mut [u8; 32]) {
        let [ranks, coded] = tables;
        let ranks = translate::<QUARTERS>(ranks, load(values));
        // Two ranks are a 16-bit number, and so are two bytes of ones where there is no rank.
        let missing =
            _mm512_movm_epi8(_mm512_cmpeq_epi8_mask(ranks, _mm512_set1_epi8(NO_RANK as i8)));
        let escaped = _mm512_test_epi16_mask(missing, missing);
        let joined = _mm512_or_si512(ranks, _mm512_srli_epi16::<4>(ranks));
        let joined =
            _mm512_mask_mov_epi16(joined, escaped, _mm512_set1_epi16(ESCAPE_SYMBOL.into()));
        let joined = _mm512_castsi256_si512(_mm512_cvtepi16_epi8(joined));
        store_half(_mm512_castsi512_si256(translate::<QUARTERS>(coded, joined)), symbols);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
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

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2")]
    unsafe fn merge_two<const ROTATED: bool>(rows: [&[u8; 64]; 2], elements: &mut [u8; 128]) {
        merge::two::<ROTATED>(rows, elements);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn merge_four<const ROTATED: bool>(rows: [&[u8; 64]; 4], elements: &mut [u8; 256]) {
        merge::four::<ROTATED>(rows, elements);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn store_line(bytes: &[u8; LINE_BYTES], line: &mut [u8; LINE_BYTES]) {
        // SAFETY: the caller's promise.
        unsafe { merge::store_line(bytes, line) };
    }
}

/// Byte `AT` of each number.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn byte_at<const AT: u32>(numbers: __m512i) -> __m512i {
    match AT {
        0 => _mm512_and_si512(numbers, _mm512_set1_epi32(0xFF)),
        3 => _mm512_srli_epi32::<24>(numbers),
        _ => {
            let moved = _mm512_srlv_epi32(numbers, _mm512_set1_epi32(8 * AT as i32));
            _mm512_and_si512(moved, _mm512_set1_epi32(0xFF))
        }
    }
}

/// [`crate::rans::advance`] in each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn advance(states: __m512i, entries: __m512i) -> __m512i {
    let frequencies = _mm512_and_si512(entries, _mm512_set1_epi32(TABLE_SIZE as i32 - 1));
    let quotients = _mm512_srli_epi32::<PROBABILITY_BITS>(states);
    let offsets = _mm512_srli_epi32::<{ PROBABILITY_BITS + 8 }>(entries);
    _mm512_add_epi32(_mm512_mullo_epi32(frequencies, quotients), offsets)
}

/// `symbols` with the entries' symbols in byte `AT`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn alternate(a: __m512i, b: __m512i) -> [__m512i; 2] {
    let low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    [_mm512_permutex2var_epi32(a, low, b), _mm512_permutex2var_epi32(a, high, b)]
}

/// The 64-bit numbers of `a` and `b` in turn, eight of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn alternate_wide(a: __m512i, b: __m512i) -> [__m512i; 2] {
    let low = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
    let high = _mm512_add_epi64(low, _mm512_set1_epi64(4));
    [_mm512_permutex2var_epi64(a, low, b), _mm512_permutex2var_epi64(a, high, b)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn store_all(registers: [__m512i; 2], out: &mut [[u8; 64]]) {
    for (out, register) in out.iter_mut().zip(registers) {
        // SAFETY: there are 64 bytes.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), register) };
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn store_half(register: __m256i, out: &mut [u8; 32]) {
    // SAFETY: there are 32 bytes.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), register) };
}

/// The even and the odd 32-bit numbers of `a` and `b`: undoes [`alternate`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn separate(a: __m512i, b: __m512i) -> [__m512i; 2] {
    let even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    [_mm512_permutex2var_epi32(a, even, b), _mm512_permutex2var_epi32(a, odd, b)]
}

/// States with a symbol put into each: `state / f * 4096 + state % f + first`.
///
/// The quotient comes from a product of single-precision numbers with a reciprocal: an estimate with an
/// error of less than 2^-14 of it, and a step of Newton's method, which squares that. Roundings add at
/// most 2^-22 of the product, from which 2^-21 is taken, so that it is never too large. It is less than
/// 2^20, hence less than one too small, and the remainder says whether it is.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn put(states: __m512i, frequencies: __m512i, firsts: __m512i) -> __m512i {
    const LESS_THAN_TWO: f32 = 2.0 - 1.0 / (1 << 21) as f32;
    let divisors = _mm512_cvtepi32_ps(frequencies);
    let estimates = _mm512_rcp14_ps(divisors);
    let errors = _mm512_fnmadd_ps(divisors, estimates, _mm512_set1_ps(LESS_THAN_TWO));
    let reciprocals = _mm512_mul_ps(estimates, errors);
    let quotients = _mm512_mul_ps(_mm512_cvtepu32_ps(states), reciprocals);
    let quotients = _mm512_cvttps_epi32(quotients);
    let remainders = _mm512_sub_epi32(states, _mm512_mullo_epi32(quotients, frequencies));
    let small = _mm512_cmpge_epu32_mask(remainders, frequencies);
    let remainders = _mm512_mask_sub_epi32(remainders, small, remainders, frequencies);
    let quotients = _mm512_mask_add_epi32(quotients, small, quotients, _mm512_set1_epi32(1));
    let high = _mm512_slli_epi32::<PROBABILITY_BITS>(quotients);
    _mm512_add_epi32(high, _mm512_add_epi32(remainders, firsts))
}

/// The entries of the four bytes of each lane of `symbols`. Tables of bytes are looked up without
/// going to memory, which a gather does for each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn entries_of_four(table: &[[u8; ALPHABET]; 4], symbols: __m512i) -> [__m512i; 4] {
    const ODD_BYTES: __mmask64 = 0xAAAA_AAAA_AAAA_AAAA;
    const ODD_WORDS: __mmask32 = 0xAAAA_AAAA;
    let [f_low, f_high, first_low, first_high] =
        core::array::from_fn(|byte| translate::<false>(&table[byte], symbols));
    // Numbers of 16 bits, of bytes 0 and 2, and of bytes 1 and 3.
    let even = |low, high| _mm512_mask_mov_epi8(low, ODD_BYTES, _mm512_slli_epi16::<8>(high));
    let odd = |low, high| _mm512_mask_mov_epi8(_mm512_srli_epi16::<8>(low), ODD_BYTES, high);
    let numbers = [
        (even(f_low, f_high), even(first_low, first_high)),
        (odd(f_low, f_high), odd(first_low, first_high)),
    ];
    let [(first, third), (second, fourth)] = numbers.map(|(frequencies, firsts)| {
        let low = _mm512_mask_mov_epi16(frequencies, ODD_WORDS, _mm512_slli_epi32::<16>(firsts));
        let high = _mm512_mask_mov_epi16(_mm512_srli_epi32::<16>(frequencies), ODD_WORDS, firsts);
        (low, high)
    });
    [first, second, third, fourth]
}

/// The entry of `table` for each byte: looked up in halves of the table, or with `QUARTERS` in quarters.
///
/// An instruction that looks up in 128 bytes is three operations of Intel's processors, of which one unit has to
/// do two; one that looks up in 64 bytes is one operation. A Zen 4 does the former as fast, so that it has less
/// to do with halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn translate<const QUARTERS: bool>(table: &[u8; ALPHABET], bytes: __m512i) -> __m512i {
    let parts = table.as_chunks::<64>().0;
    let [low, high] = if QUARTERS {
        // The bit that says which quarter of a half, where a mask is taken from.
        let odd = _mm512_movepi8_mask(_mm512_add_epi8(bytes, bytes));
        [[0, 1], [2, 3]].map(|[even_part, odd_part]| {
            let even_entries = _mm512_permutexvar_epi8(bytes, load(&parts[even_part]));
            _mm512_mask_permutexvar_epi8(even_entries, odd, bytes, load(&parts[odd_part]))
        })
    } else {
        [[0, 1], [2, 3]].map(|[first, second]| {
            _mm512_permutex2var_epi8(load(&parts[first]), bytes, load(&parts[second]))
        })
    };
    _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(bytes), high)
}

/// The 64 bytes of `bytes`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn load(bytes: &[u8]) -> __m512i {
    let bytes: &[u8; 64] = bytes.try_into().expect("a register has 64 bytes");
    // SAFETY: there are 64 bytes.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn load_half(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: there are 32 bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}
