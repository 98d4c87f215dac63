//! Lanes in four registers of AVX2, eight in each.

mod merge;
mod pairs;

use core::arch::x86_64::*;

use self::pairs::PairTables;
use super::encode;
use super::lanes::{ENCODE_TABLE_STRIDE, LINE_BYTES, Lanes};
use super::mixed;
use super::outputs::Outputs;
use super::pieces::{self, BlockInput, PieceBuffers};
use super::prefetch;
use super::states::{Pipelined, keep_in_turn};
use crate::block::{
    BlockError, BlockSpec, BlockTables, DecodeTables, EncodeTables, PlaneClasses, PlaneCoding,
};
use crate::constants::{ALPHABET, LANES, PROBABILITY_BITS, TABLE_SIZE, WORD_BITS};
use crate::pair::RankValues;
use crate::rans::{DecodeTable, EncodeTable, PackedSymbol, TableEntry};
use crate::split::ElementLayout;

/// Lanes 0 to 7, 8 to 15, and so on. With `GATHERS`, table entries are looked up eight at a time, and
/// otherwise one by one.
#[derive(Clone, Copy)]
pub(super) struct Registers<const GATHERS: bool = false>([__m256i; 4]);

/// `task`, compiled for these instructions as far as it is inlined.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
pub(super) fn run<R>(task: impl FnOnce() -> R) -> R {
    task()
}

/// [`pieces::decode`], compiled for these instructions.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
pub(super) fn decode_blocks<O: Outputs<B>, const B: usize, const GATHERS: bool>(
    spec: &BlockSpec,
    blocks: [BlockInput<'_>; B],
    buffers: &mut [PieceBuffers; B],
    outs: O,
) -> bool {
    // SAFETY: this function's instructions include those of `Registers`.
    unsafe { pieces::decode::<Registers<GATHERS>, O, B>(spec, blocks, buffers, outs) }
}

/// For each set of lanes that take a word, which bytes of the next words each lane of eight takes; those of
/// a lane that takes none are zero.
static WORDS_OF_LANES: Rows = Rows(words_of_lanes());

/// A row for each set of eight lanes, none of which lies in two lines of the cache.
#[repr(align(16))]
struct Rows([[u8; 16]; 256]);

const fn words_of_lanes() -> [[u8; 16]; 256] {
    /// Makes a shuffle of bytes put a zero.
    const ZERO: u8 = 0x80;
    let mut bytes = [[ZERO; 16]; 256];
    let mut takers = 0;
    while takers < 256 {
        let (mut lane, mut at) = (0, 0);
        while lane < 8 {
            if takers >> lane & 1 == 1 {
                bytes[takers][2 * lane] = at;
                bytes[takers][2 * lane + 1] = at + 1;
                at += 2;
            }
            lane += 1;
        }
        takers += 1;
    }
    bytes
}

/// For each set of lanes that give off a word, which bytes of the lanes' words are the last ones.
static WORDS_AT_END: Rows = Rows(words_at_end());

const fn words_at_end() -> [[u8; 16]; 256] {
    let mut bytes = [[0; 16]; 256];
    let mut givers = 0;
    while givers < 256 {
        let (mut lane, mut at) = (8, 16);
        while lane > 0 {
            lane -= 1;
            if givers >> lane & 1 == 1 {
                at -= 2;
                bytes[givers][at] = 2 * lane as u8;
                bytes[givers][at + 1] = 2 * lane as u8 + 1;
            }
        }
        givers += 1;
    }
    bytes
}

/// [`encode::encode_block`], compiled for these instructions.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
pub(super) fn encode_block(
    spec: &BlockSpec,
    tables: (&EncodeTables<'_>, &PlaneClasses<'_, EncodeTable>),
    elements: &[u8],
    scratch: &mut [u8],
    words: &mut [u16],
    out: &mut [u8],
) -> usize {
    // SAFETY: this function's instructions include those of `Registers`.
    unsafe { encode::encode_block::<Registers>(spec, tables, elements, scratch, words, out) }
}

/// [`mixed::decode_block`], compiled for these instructions.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
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
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
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

impl<const GATHERS: bool> Lanes for Registers<GATHERS> {
    type SymbolTable = [PackedSymbol; ALPHABET];
    type PairTables = PairTables;
    type TwoStates = Pipelined<Self>;
    type FourSymbols = Self;

    const LONG_STEPS: bool = true;

    #[inline(never)]
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    unsafe fn apart<R>(task: impl FnOnce() -> R) -> R {
        task()
    }

    #[inline]
    fn fetch(tables: &DecodeTables) {
        prefetch::whole(&tables.table);
        prefetch::whole(&WORDS_OF_LANES);
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn from_array(lanes: &[u32; LANES]) -> Self {
        let mut registers = [_mm256_setzero_si256(); 4];
        for (register, eight) in registers.iter_mut().zip(lanes.as_chunks::<8>().0) {
            // SAFETY: there are eight numbers.
            *register = unsafe { _mm256_loadu_si256(eight.as_ptr().cast()) };
        }
        Self(registers)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn to_array(self) -> [u32; LANES] {
        let mut lanes = [0; LANES];
        for (eight, register) in lanes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            // SAFETY: there are eight numbers.
            unsafe { _mm256_storeu_si256(eight.as_mut_ptr().cast(), register) };
        }
        lanes
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn look_up(self, table: &[TableEntry; TABLE_SIZE]) -> Self {
        Self(self.0.map(|states| look_up::<GATHERS>(states, table)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn look_up_by_class<const AT: u32>(self, tables: &[DecodeTable], choices: Self) -> Self {
        let slot = _mm256_set1_epi32(TABLE_SIZE as i32 - 1);
        Self(core::array::from_fn(|part| {
            let choices = byte_at::<AT>(choices.0[part]);
            let first = _mm256_slli_epi32::<{ PROBABILITY_BITS as i32 }>(choices);
            let slots = _mm256_or_si256(first, _mm256_and_si256(self.0[part], slot));
            // SAFETY: each table has 4096 entries, and each choice is the position of one.
            unsafe { _mm256_i32gather_epi32::<4>(tables.as_ptr().cast(), slots) }
        }))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn step<const AT: u32>(
        &mut self,
        entries: Self,
        words: *const u8,
        symbols: &mut Self,
    ) -> usize {
        let mut taken = 0;
        for ((states, symbols), entries) in self.0.iter_mut().zip(&mut symbols.0).zip(entries.0) {
            let advanced = Advanced::of::<AT>(*states, entries, symbols);
            // SAFETY: as many bytes can be read, after at most 48 that the lanes before took.
            taken += unsafe { advanced.refill(states, words.add(taken)) };
        }
        taken
    }

    #[inline(always)]
    unsafe fn step_beside<const AT: u32>(
        &mut self,
        entries: Self,
        words: *const u8,
        symbols: &mut Self,
        (others, table): (Self, &[TableEntry; TABLE_SIZE]),
    ) -> (usize, Self) {
        let (states, symbols, entries) = (&mut self.0, &mut symbols.0, entries.0);
        let (mut of_others, mut taken) = (entries, 0);
        // SAFETY: the caller's promise; see `step`.
        unsafe {
            // Which words eight lanes take is long in coming, so that it is begun early and awaited late.
            let first = Advanced::of::<AT>(states[0], entries[0], &mut symbols[0]);
            let second = Advanced::of::<AT>(states[1], entries[1], &mut symbols[1]);
            of_others[0] = look_up::<GATHERS>(others.0[0], table);
            keep_in_turn();
            taken += first.refill(&mut states[0], words);
            let third = Advanced::of::<AT>(states[2], entries[2], &mut symbols[2]);
            of_others[1] = look_up::<GATHERS>(others.0[1], table);
            keep_in_turn();
            taken += second.refill(&mut states[1], words.add(taken));
            let fourth = Advanced::of::<AT>(states[3], entries[3], &mut symbols[3]);
            of_others[2] = look_up::<GATHERS>(others.0[2], table);
            keep_in_turn();
            taken += third.refill(&mut states[2], words.add(taken));
            of_others[3] = look_up::<GATHERS>(others.0[3], table);
            keep_in_turn();
            taken += fourth.refill(&mut states[3], words.add(taken));
            keep_in_turn();
            (taken, Self(of_others))
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn at_least<const AT: u32>(self, least: u8) -> u32 {
        let least = _mm256_set1_epi32(i32::from(least) - 1);
        let parts = self.0.map(|part| {
            let reached = _mm256_cmpgt_epi32(byte_at::<AT>(part), least);
            _mm256_movemask_ps(_mm256_castsi256_ps(reached)) as u8
        });
        u32::from_le_bytes(parts)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_runs_of_2(self, out: &mut [u8; 4 * LANES]) {
        let halves = _mm256_set1_epi32(0xFFFF);
        let parts = out.as_chunks_mut::<32>().0;
        for (number, two) in self.0.as_chunks::<2>().0.iter().enumerate() {
            // Packing works within halves of a register; the permutation puts these in order.
            let first = two.map(|symbols| _mm256_and_si256(symbols, halves));
            let second = two.map(|symbols| _mm256_srli_epi32::<16>(symbols));
            let in_order = |[a, b]: [__m256i; 2]| {
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(a, b))
            };
            store(in_order(first), &mut parts[number]);
            store(in_order(second), &mut parts[2 + number]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_runs_of_4(self, out: &mut [u8; 4 * LANES]) {
        for (out, register) in out.as_chunks_mut().0.iter_mut().zip(self.0) {
            store(register, out);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_runs_of_8(quarters: [Self; 2], out: &mut [u8; 8 * LANES]) {
        let [first, second] = quarters;
        for (number, out) in out.as_chunks_mut::<64>().0.iter_mut().enumerate() {
            let low = _mm256_unpacklo_epi32(first.0[number], second.0[number]);
            let high = _mm256_unpackhi_epi32(first.0[number], second.0[number]);
            let parts = out.as_chunks_mut().0;
            store(_mm256_permute2x128_si256::<0x20>(low, high), &mut parts[0]);
            store(_mm256_permute2x128_si256::<0x31>(low, high), &mut parts[1]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_runs_of_16(quarters: [Self; 4], out: &mut [u8; 16 * LANES]) {
        for (number, out) in out.as_chunks_mut::<128>().0.iter_mut().enumerate() {
            let [a, b, c, d] = quarters.map(|quarter| quarter.0[number]);
            let low = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
            let high = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
            // The runs of lanes 0 and 4, 1 and 5, 2 and 6, 3 and 7.
            let runs = [
                _mm256_unpacklo_epi64(low.0, low.1),
                _mm256_unpackhi_epi64(low.0, low.1),
                _mm256_unpacklo_epi64(high.0, high.1),
                _mm256_unpackhi_epi64(high.0, high.1),
            ];
            let parts = out.as_chunks_mut().0;
            store(_mm256_permute2x128_si256::<0x20>(runs[0], runs[1]), &mut parts[0]);
            store(_mm256_permute2x128_si256::<0x20>(runs[2], runs[3]), &mut parts[1]);
            store(_mm256_permute2x128_si256::<0x31>(runs[0], runs[1]), &mut parts[2]);
            store(_mm256_permute2x128_si256::<0x31>(runs[2], runs[3]), &mut parts[3]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_runs_of_2(runs: &[u8; 4 * LANES]) -> Self {
        let (first, second) = runs.split_at(2 * LANES);
        let (first, second) = (first.as_chunks::<16>().0, second.as_chunks::<16>().0);
        let mut registers = [_mm256_setzero_si256(); 4];
        for (number, register) in registers.iter_mut().enumerate() {
            let low = _mm256_cvtepu16_epi32(load_half(&first[number]));
            let high = _mm256_cvtepu16_epi32(load_half(&second[number]));
            *register = _mm256_or_si256(low, _mm256_slli_epi32::<16>(high));
        }
        Self(registers)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_runs_of_4(runs: &[u8; 4 * LANES]) -> Self {
        let mut registers = [_mm256_setzero_si256(); 4];
        for (register, runs) in registers.iter_mut().zip(runs.as_chunks().0) {
            *register = load(runs);
        }
        Self(registers)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_runs_of_8(runs: &[u8; 8 * LANES]) -> [Self; 2] {
        let mut quarters = [Self([_mm256_setzero_si256(); 4]); 2];
        for (number, runs) in runs.as_chunks::<64>().0.iter().enumerate() {
            let parts = runs.as_chunks().0;
            let [even, odd] = separate(load(&parts[0]), load(&parts[1]));
            (quarters[0].0[number], quarters[1].0[number]) = (even, odd);
        }
        quarters
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_runs_of_16(runs: &[u8; 16 * LANES]) -> [Self; 4] {
        let mut quarters = [Self([_mm256_setzero_si256(); 4]); 4];
        for (number, runs) in runs.as_chunks::<128>().0.iter().enumerate() {
            let parts = runs.as_chunks().0;
            let [even_low, odd_low] = separate(load(&parts[0]), load(&parts[1]));
            let [even_high, odd_high] = separate(load(&parts[2]), load(&parts[3]));
            let [first, third] = separate(even_low, even_high);
            let [second, fourth] = separate(odd_low, odd_high);
            for (quarter, register) in quarters.iter_mut().zip([first, second, third, fourth]) {
                quarter.0[number] = register;
            }
        }
        quarters
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn symbol_table(symbols: &[PackedSymbol; ALPHABET]) -> Self::SymbolTable {
        *symbols
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn look_up_symbols(_table: &Self::SymbolTable, symbols: Self) -> Self {
        symbols
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn entries<const AT: u32>(table: &Self::SymbolTable, symbols: Self) -> Self {
        Self(symbols.0.map(|symbols| {
            // SAFETY: each index is a byte, and there is an entry for every byte.
            unsafe { _mm256_i32gather_epi32::<4>(table.as_ptr().cast(), byte_at::<AT>(symbols)) }
        }))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn entries_by_class<const AT: u32>(
        tables: &[EncodeTable],
        choices: Self,
        symbols: Self,
    ) -> Self {
        let stride = _mm256_set1_epi32(ENCODE_TABLE_STRIDE as i32);
        Self(core::array::from_fn(|part| {
            let first = _mm256_mullo_epi32(byte_at::<AT>(choices.0[part]), stride);
            let at = _mm256_add_epi32(first, byte_at::<AT>(symbols.0[part]));
            // SAFETY: a table begins with an entry for every byte, and each choice is the position
            // of one.
            unsafe { _mm256_i32gather_epi32::<4>(tables.as_ptr().cast(), at) }
        }))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn put(&mut self, entries: Self, end: *mut u8, rarest: &mut Self) -> usize {
        let mut written = 0;
        for number in (0..4).rev() {
            let (states, rarest) = (&mut self.0[number], &mut rarest.0[number]);
            let entries = entries.0[number];
            let frequencies = _mm256_and_si256(entries, _mm256_set1_epi32(0xFFFF));
            *rarest = _mm256_min_epu32(*rarest, frequencies);
            let limits = _mm256_slli_epi32::<{ 32 - PROBABILITY_BITS as i32 }>(frequencies);
            // Without an unsigned comparison: at or above the limit is being the larger of both.
            let givers = _mm256_cmpeq_epi32(_mm256_max_epu32(*states, limits), *states);
            let set = _mm256_movemask_ps(_mm256_castsi256_ps(givers)) as usize & 0xFF;
            let low = _mm256_and_si256(*states, _mm256_set1_epi32(0xFFFF));
            let low = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, low));
            // SAFETY: a row has 16 bytes.
            let order = unsafe { _mm_loadu_si128(WORDS_AT_END.0[set].as_ptr().cast()) };
            let words = _mm_shuffle_epi8(_mm256_castsi256_si128(low), order);
            // SAFETY: room for a word of each of these lanes is before what the others have written;
            // what lies before the words is written again.
            unsafe { _mm_storeu_si128(end.sub(written + 16).cast(), words) };
            written += 2 * set.count_ones() as usize;
            let shifted = _mm256_srli_epi32::<{ WORD_BITS as i32 }>(*states);
            let normal = _mm256_blendv_epi8(*states, shifted, givers);
            *states = put(normal, frequencies, _mm256_srli_epi32::<16>(entries));
        }
        written
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn pair_tables(ranks: &[u8; ALPHABET], coded: &[u8; ALPHABET]) -> Self::PairTables {
        PairTables::new(ranks, coded)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn join_pairs(tables: &Self::PairTables, values: &[u8; 64], symbols: &mut [u8; 32]) {
        let both = values.as_chunks::<32>().0;
        let both: [__m256i; 2] = core::array::from_fn(|half| tables.join(load(&both[half])));
        // Within each half of a register, so that the middle quarters change places.
        let joined = _mm256_packus_epi16(both[0], both[1]);
        let joined = _mm256_permute4x64_epi64::<0b11_01_10_00>(joined);
        let coded = tables.with_slots(joined);
        // SAFETY: there are 32 symbols.
        unsafe { _mm256_storeu_si256(symbols.as_mut_ptr().cast(), coded) };
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn expand_pairs(ranks: &RankValues, symbols: &[u8; 32], values: &mut [u8; 64]) {
        // SAFETY: there are 16 ranks.
        let ranks = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(ranks.as_ptr().cast()) });
        let halves = symbols.as_chunks::<16>().0;
        for (half, out) in halves.iter().zip(values.as_chunks_mut().0) {
            // SAFETY: there are 16 symbols.
            let symbols = unsafe { _mm_loadu_si128(half.as_ptr().cast()) };
            let symbols = _mm256_cvtepu8_epi16(symbols);
            let both = _mm256_or_si256(symbols, _mm256_slli_epi16::<4>(symbols));
            let both = _mm256_and_si256(both, _mm256_set1_epi8(15));
            store(_mm256_shuffle_epi8(ranks, both), out);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn merge_two<const ROTATED: bool>(rows: [&[u8; 64]; 2], elements: &mut [u8; 128]) {
        merge::two::<ROTATED>(rows, elements);
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn merge_four<const ROTATED: bool>(rows: [&[u8; 64]; 4], elements: &mut [u8; 256]) {
        merge::four::<ROTATED>(rows, elements);
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_line(bytes: &[u8; LINE_BYTES], line: &mut [u8; LINE_BYTES]) {
        // SAFETY: the caller's promise.
        unsafe { merge::store_line(bytes, line) };
    }
}

/// The entries that eight states select of `table`.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up<const GATHERS: bool>(states: __m256i, table: &[TableEntry; TABLE_SIZE]) -> __m256i {
    let slots = _mm256_and_si256(states, _mm256_set1_epi32(TABLE_SIZE as i32 - 1));
    // SAFETY: each index is below the table's size.
    unsafe {
        if GATHERS {
            _mm256_i32gather_epi32::<4>(table.as_ptr().cast(), slots)
        } else {
            entries_at(table.as_ptr().cast(), slots)
        }
    }
}

/// Eight states after a symbol, before they take words.
#[derive(Clone, Copy)]
struct Advanced {
    states: __m256i,
    /// All ones in lanes that take a word.
    takers: __m256i,
    /// A bit for each of those, the lowest for the first lane.
    set: usize,
}

impl Advanced {
    /// What becomes of `states` with the `entries` that they select, whose symbols go to byte `AT` of `symbols`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn of<const AT: u32>(states: __m256i, entries: __m256i, symbols: &mut __m256i) -> Self {
        *symbols = add_symbols::<AT>(*symbols, entries);
        let states = advance(states, entries);
        // A state is below the lower bound where its high word is zero.
        let high = _mm256_srli_epi32::<{ WORD_BITS as i32 }>(states);
        let takers = _mm256_cmpeq_epi32(high, _mm256_setzero_si256());
        let set = _mm256_movemask_ps(_mm256_castsi256_ps(takers)) as usize & 0xFF;
        Self { states, takers, set }
    }

    /// Makes them `states`, with words where they take some, and returns how many bytes those have.
    ///
    /// # Safety
    ///
    /// 16 bytes can be read at `words`.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    unsafe fn refill(self, states: &mut __m256i, words: *const u8) -> usize {
        // SAFETY: the caller's promise.
        let words = unsafe { _mm_loadu_si128(words.cast()) };
        // SAFETY: a row has 16 bytes.
        let order = unsafe { _mm_loadu_si128(WORDS_OF_LANES.0[self.set].as_ptr().cast()) };
        let words = _mm256_cvtepu16_epi32(_mm_shuffle_epi8(words, order));
        // The states are ready before the words are. Shifting each lane by its own number of bits is
        // one operation, where a blend is up to three.
        let bits = _mm256_and_si256(self.takers, _mm256_set1_epi32(WORD_BITS as i32));
        *states = _mm256_or_si256(_mm256_sllv_epi32(self.states, bits), words);
        2 * self.set.count_ones() as usize
    }
}

/// The numbers of `table` at the positions `at`, loaded one by one, for processors whose gathers are slower.
///
/// # Safety
///
/// Each of these can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn entries_at(table: *const i32, at: __m256i) -> __m256i {
    let [low, high] = [_mm256_castsi256_si128(at), _mm256_extracti128_si256::<1>(at)];
    let four = |at: __m128i| {
        let (first, second) = (_mm_cvtsi128_si64(at) as u64, _mm_extract_epi64::<1>(at) as u64);
        // SAFETY: the caller's promise.
        unsafe {
            let entry = |number: u64| *table.add(number as usize);
            _mm_set_epi32(
                entry(second >> 32),
                entry(second & 0xFFFF_FFFF),
                entry(first >> 32),
                entry(first & 0xFFFF_FFFF),
            )
        }
    };
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(four(low)), four(high))
}

/// Byte `AT` of each number.
#[inline]
#[target_feature(enable = "avx2")]
fn byte_at<const AT: u32>(numbers: __m256i) -> __m256i {
    let moved = _mm256_srlv_epi32(numbers, _mm256_set1_epi32(8 * AT as i32));
    _mm256_and_si256(moved, _mm256_set1_epi32(0xFF))
}

/// [`crate::rans::advance`] in each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn advance(states: __m256i, entries: __m256i) -> __m256i {
    let frequencies = _mm256_and_si256(entries, _mm256_set1_epi32(TABLE_SIZE as i32 - 1));
    let quotients = _mm256_srli_epi32::<{ PROBABILITY_BITS as i32 }>(states);
    let offsets = _mm256_srli_epi32::<{ PROBABILITY_BITS as i32 + 8 }>(entries);
    _mm256_add_epi32(_mm256_mullo_epi32(frequencies, quotients), offsets)
}

/// `symbols` with the entries' symbols in byte `AT`.
#[inline]
#[target_feature(enable = "avx2")]
fn add_symbols<const AT: u32>(symbols: __m256i, entries: __m256i) -> __m256i {
    let moved = match AT {
        0 => _mm256_srli_epi32::<{ PROBABILITY_BITS as i32 }>(entries),
        1 => _mm256_srli_epi32::<{ PROBABILITY_BITS as i32 - 8 }>(entries),
        2 => _mm256_slli_epi32::<{ 16 - PROBABILITY_BITS as i32 }>(entries),
        _ => _mm256_slli_epi32::<{ 24 - PROBABILITY_BITS as i32 }>(entries),
    };
    let byte = _mm256_set1_epi32((0xFF_u32 << (8 * AT)) as i32);
    _mm256_or_si256(symbols, _mm256_and_si256(moved, byte))
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(register: __m256i, out: &mut [u8; 32]) {
    // SAFETY: there are 32 bytes.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), register) };
}

/// The even and the odd 32-bit numbers of `a` and `b`.
#[inline]
#[target_feature(enable = "avx2")]
fn separate(a: __m256i, b: __m256i) -> [__m256i; 2] {
    let (a, b) = (_mm256_castsi256_ps(a), _mm256_castsi256_ps(b));
    let even = _mm256_castps_si256(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
    let odd = _mm256_castps_si256(_mm256_shuffle_ps::<0b11_01_11_01>(a, b));
    // Shuffling works within halves of a register; the permutation puts these in order.
    [even, odd].map(|numbers| _mm256_permute4x64_epi64::<0b11_01_10_00>(numbers))
}

/// States with a symbol put into each: `state / f * 4096 + state % f + first`.
///
/// The quotient comes from a division of single-precision numbers, the divisor slightly too large for the
/// quotient to be so. It has less than 20 bits, the numbers have 24, so that it is right or one too small,
/// and the remainder says which.
#[inline]
#[target_feature(enable = "avx2")]
fn put(states: __m256i, frequencies: __m256i, firsts: __m256i) -> __m256i {
    const TWO_TO_THE_32: f32 = 65536.0 * 65536.0;
    const MORE_THAN_ONE: f32 = 1.0 + 1.0 / (1 << 21) as f32;
    // States are unsigned, and what is converted is signed.
    let negative = _mm256_castsi256_ps(_mm256_srai_epi32::<31>(states));
    let missing = _mm256_and_ps(negative, _mm256_set1_ps(TWO_TO_THE_32));
    let dividends = _mm256_add_ps(_mm256_cvtepi32_ps(states), missing);
    let divisors = _mm256_cvtepi32_ps(frequencies);
    let divisors = _mm256_mul_ps(divisors, _mm256_set1_ps(MORE_THAN_ONE));
    let quotients = _mm256_cvttps_epi32(_mm256_div_ps(dividends, divisors));
    let remainders = _mm256_sub_epi32(states, _mm256_mullo_epi32(quotients, frequencies));
    let right = _mm256_cmpgt_epi32(frequencies, remainders);
    let remainders = _mm256_sub_epi32(remainders, _mm256_andnot_si256(right, frequencies));
    let quotients = _mm256_add_epi32(quotients, _mm256_andnot_si256(right, _mm256_set1_epi32(1)));
    let high = _mm256_slli_epi32::<{ PROBABILITY_BITS as i32 }>(quotients);
    _mm256_add_epi32(high, _mm256_add_epi32(remainders, firsts))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: there are 32 bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_half(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: there are 16 bytes.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}
