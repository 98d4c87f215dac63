//! Streams encoded with AVX-512, by hand where [`super::encode`] leaves it to lanes in general: symbols
//! are looked up byte by byte and put where a step wants them by one permutation each, quotients come
//! from the divider, which is idle otherwise, and the words of all 32 lanes are gathered at once.
//!
//! Words, states and all else are those of [`crate::rans::encode_stream`], bit for bit.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::avx512;
use super::encode::Vectors;
use super::lanes::{Lanes, STEP_WORD_BYTES, all_of};
use crate::block::{BlockSpec, EncodeTables, Parts, PlaneClasses, encode_block_by};
use crate::constants::{ALPHABET, LANES, PROBABILITY_BITS, TABLE_SIZE, WORD_BITS};
use crate::rans::{EncodeTable, EncodedStream, MixedTables, StreamShape, first_states};

/// Steps whose symbols are looked up together: a register has four bytes for each lane.
const STEPS: usize = 4;
/// Symbols that are put into order together at most: runs of 16.
const MOST_SYMBOLS: usize = 16 * LANES;

/// Encoding looks nothing up that there are two ways for.
type Registers = avx512::Registers<false>;
/// The states of a stream, two for each lane, in two registers each.
type States = [[__m512i; 2]; 2];

/// The parts of encoding a block. A value of this type is made only on a processor that has the
/// instructions.
#[derive(Clone, Copy)]
struct Streams;

/// [`crate::block::encode_classed_block`], compiled for these instructions.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg,bmi1,bmi2,popcnt"
)]
pub(super) fn encode_block(
    spec: &BlockSpec,
    tables: (&EncodeTables<'_>, &PlaneClasses<'_, EncodeTable>),
    elements: &[u8],
    scratch: &mut [u8],
    words: &mut [u16],
    out: &mut [u8],
) -> usize {
    encode_block_by(Streams, spec, tables, elements, scratch, words, out)
}

impl Parts for Streams {
    #[inline(always)]
    fn join_pairs(
        self,
        ranks: &[Option<u8>; ALPHABET],
        has_slot: &[bool; ALPHABET],
        values: &[u8],
        symbols: &mut [u8],
    ) {
        Vectors::<Registers>(PhantomData).join_pairs(ranks, has_slot, values, symbols);
    }

    #[inline(always)]
    fn encode_stream<'a>(
        self,
        shape: StreamShape,
        table: &EncodeTable,
        symbols: &[u8],
        carried: &[u8],
        buffer: &'a mut [u16],
    ) -> EncodedStream<'a> {
        // SAFETY: see `Streams`.
        unsafe { encode_stream(shape, table, symbols, carried, buffer) }
    }

    #[inline(always)]
    fn encode_mixed_stream<'a>(
        self,
        shape: StreamShape,
        tables: MixedTables<'_, EncodeTable>,
        symbols: &[u8],
        tails: Option<&[u8]>,
        carried: &[u8],
        buffer: &'a mut [u16],
    ) -> EncodedStream<'a> {
        let vectors = Vectors::<Registers>(PhantomData);
        vectors.encode_mixed_stream(shape, tables, symbols, tails, carried, buffer)
    }
}

/// See [`crate::rans::encode_stream`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,popcnt")]
fn encode_stream<'a>(
    shape: StreamShape,
    table: &EncodeTable,
    symbols: &[u8],
    carried: &[u8],
    buffer: &'a mut [u16],
) -> EncodedStream<'a> {
    let states = first_states(shape, symbols, carried, buffer);
    let mut encoder = Encoder {
        // SAFETY: these are the instructions of `Registers`.
        states: states.map(|lanes| unsafe { Registers::from_array(&lanes) }.0),
        bytes: Bytes::new(table),
        places: places(),
        padding: table.padding(),
        rarest: _mm512_set1_epi8(-1),
        end: buffer.len(),
        // `first_states` has checked that there is room for a word of every symbol, padding included.
        words: buffer,
    };
    match (shape.symbols_per_run, shape.states_per_lane) {
        (2, 1) => encoder.encode::<2, 1>(symbols),
        (2, _) => encoder.encode::<2, 2>(symbols),
        (4, 1) => encoder.encode::<4, 1>(symbols),
        (4, _) => encoder.encode::<4, 2>(symbols),
        (8, 1) => encoder.encode::<8, 1>(symbols),
        (8, _) => encoder.encode::<8, 2>(symbols),
        (_, 1) => encoder.encode_bytes::<1>(symbols, shape.carried_steps()),
        (_, _) => encoder.encode_bytes::<2>(symbols, shape.carried_steps()),
    }
    let all_have_slots = _mm512_test_epi8_mask(encoder.rarest, encoder.rarest) == u64::MAX;
    assert!(all_have_slots, "a symbol without a slot in the table");
    let Encoder { states, end, words, .. } = encoder;
    // SAFETY: as above.
    let states = states.map(|states| unsafe { avx512::Registers::<false>(states).to_array() });
    EncodedStream { states, words: &words[end..] }
}

/// The bytes of all symbols' frequencies, and of their first slots: the low one and the high one.
/// Permutations look them up in registers, which a gather does in memory for each lane.
struct Bytes {
    frequencies: [[u8; ALPHABET]; 2],
    firsts: [[u8; ALPHABET]; 2],
}

impl Bytes {
    fn new(table: &EncodeTable) -> Self {
        let byte = |at: u32| table.symbols().map(|symbol| (symbol.0 >> (8 * at)) as u8);
        Self { frequencies: [byte(0), byte(1)], firsts: [byte(2), byte(3)] }
    }
}

/// A stream that is being encoded, from its end.
struct Encoder<'a> {
    states: States,
    bytes: Bytes,
    /// See [`places`].
    places: [__m512i; STEPS],
    /// What fills up the last group.
    padding: u8,
    /// Where in `words` those given off so far begin.
    end: usize,
    words: &'a mut [u16],
    /// Bytes of which one is zero if a symbol had no slot.
    rarest: __m512i,
}

impl Encoder<'_> {
    /// Puts all symbols in, the last group filled up.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,popcnt")]
    fn encode<const RUN: usize, const S: usize>(&mut self, symbols: &[u8]) {
        let unit = LANES * if RUN > STEPS { RUN } else { STEPS };
        let (whole, rest) = symbols.split_at(symbols.len() - symbols.len() % unit);
        if !rest.is_empty() {
            let mut padded = [self.padding; MOST_SYMBOLS];
            padded[..rest.len()].copy_from_slice(rest);
            // The last group of runs of two may be half of what is looked up together.
            let half = RUN == 2 && rest.len() <= RUN * LANES;
            self.put_unit::<RUN, S>(&padded[..unit], if half { STEPS / 2 } else { STEPS });
        }
        for symbols in whole.rchunks_exact(unit) {
            self.put_unit::<RUN, S>(symbols, STEPS);
        }
    }

    /// Puts all symbols of runs of 16 in, the last group filled up, but for the last `carried` steps.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,popcnt")]
    fn encode_bytes<const S: usize>(&mut self, symbols: &[u8], carried: usize) {
        if carried == 0 {
            return self.encode::<16, S>(symbols);
        }
        let (before, last) = symbols.split_at(symbols.len() - MOST_SYMBOLS);
        // SAFETY: these are the instructions of `Registers`.
        let quarters = unsafe { Registers::load_runs_of_16(all_of(last)) };
        if carried < STEPS {
            self.put::<S>(quarters[3], STEPS - carried);
        }
        self.put::<S>(quarters[2], STEPS);
        self.put::<S>(quarters[1], STEPS);
        self.put::<S>(quarters[0], STEPS);
        self.encode::<16, S>(before);
    }

    /// Puts the symbols of a group in, or of two groups of runs of two, of which the first `steps` of
    /// each four count.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,popcnt")]
    fn put_unit<const RUN: usize, const S: usize>(&mut self, symbols: &[u8], steps: usize) {
        // SAFETY: these are the instructions of `Registers`.
        unsafe {
            match RUN {
                2 => self.put::<S>(Registers::load_runs_of_2(all_of(symbols)), steps),
                4 => self.put::<S>(Registers::load_runs_of_4(all_of(symbols)), steps),
                8 => {
                    let quarters = Registers::load_runs_of_8(all_of(symbols));
                    self.put::<S>(quarters[1], STEPS);
                    self.put::<S>(quarters[0], STEPS);
                }
                _ => {
                    let quarters = Registers::load_runs_of_16(all_of(symbols));
                    self.put::<S>(quarters[3], STEPS);
                    self.put::<S>(quarters[2], STEPS);
                    self.put::<S>(quarters[1], STEPS);
                    self.put::<S>(quarters[0], STEPS);
                }
            }
        }
    }

    /// Puts the first `steps` of the four symbols of each lane in, the last one first.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,popcnt")]
    fn put<const S: usize>(&mut self, symbols: Registers, steps: usize) {
        // In a variable of its own, so that states stay in registers.
        let mut states = self.states;
        let found = symbols.0.map(|symbols| self.look_up(symbols));
        if steps == STEPS {
            self.step::<3>(&mut states[S - 1], &found);
            self.step::<2>(&mut states[0], &found);
        }
        self.step::<1>(&mut states[S - 1], &found);
        self.step::<0>(&mut states[0], &found);
        self.states = states;
    }

    /// What is known of 64 symbols.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn look_up(&mut self, symbols: __m512i) -> Found {
        let upper = _mm512_movepi8_mask(symbols);
        let find = |table: &[u8; ALPHABET]| translate(table, symbols, upper);
        let found = Found {
            frequencies: [find(&self.bytes.frequencies[0]), find(&self.bytes.frequencies[1])],
            firsts: [find(&self.bytes.firsts[0]), find(&self.bytes.firsts[1])],
        };
        let [low, high] = found.frequencies;
        self.rarest = _mm512_min_epu8(self.rarest, _mm512_or_si512(low, high));
        found
    }

    /// Puts byte `AT` of each lane of the symbols in.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,popcnt")]
    fn step<const AT: usize>(&mut self, states: &mut [__m512i; 2], found: &[Found; 2]) {
        let mut givers = [0; 2];
        let before = *states;
        for half in 0..2 {
            let frequencies = numbers(self.places[AT], found[half].frequencies);
            let firsts = numbers(self.places[AT], found[half].firsts);
            let limits = _mm512_slli_epi32::<{ u32::BITS - PROBABILITY_BITS }>(frequencies);
            givers[half] = _mm512_cmpge_epu32_mask(states[half], limits);
            let normal =
                _mm512_mask_srli_epi32::<WORD_BITS>(states[half], givers[half], states[half]);
            states[half] = put(normal, frequencies, firsts);
        }
        self.give(before, _mm512_kunpackw(givers[1].into(), givers[0].into()));
    }

    /// Writes the low words of those of the 32 lanes that give one, so that they end where the last
    /// ones begin.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,popcnt")]
    fn give(&mut self, states: [__m512i; 2], givers: __mmask32) {
        let words = _mm512_permutex2var_epi16(states[0], load_words(&LOW_WORDS), states[1]);
        let words = _mm512_maskz_compress_epi16(givers, words);
        let count = givers.count_ones() as usize;
        // To the end of the register; indices count modulo 32.
        let order = load_words(COUNTING[count..].first_chunk().expect("at most 32 lanes"));
        let words = _mm512_permutexvar_epi16(order, words);
        let room = self.words[..self.end].last_chunk_mut::<LANES>();
        let room = room.expect("the buffer has room for a word of every symbol");
        // SAFETY: as many bytes as a register has. What lies before the words is written again.
        unsafe { _mm512_storeu_si512(room.as_mut_ptr().cast(), words) };
        self.end -= count;
    }
}

/// What is known of 64 symbols, in their order: low bytes and high bytes.
#[derive(Clone, Copy)]
struct Found {
    frequencies: [__m512i; 2],
    firsts: [__m512i; 2],
}

/// Positions of the low words of 32 numbers in two registers.
static LOW_WORDS: [u16; LANES] = {
    let mut positions = [0; LANES];
    let mut lane = 0;
    while lane < LANES {
        positions[lane] = 2 * lane as u16;
        lane += 1;
    }
    positions
};

/// Counts up, for permutations that begin anywhere.
static COUNTING: [u16; 2 * LANES] = {
    let mut counting = [0; 2 * LANES];
    let mut number = 0;
    while number < counting.len() {
        counting[number] = number as u16;
        number += 1;
    }
    counting
};

const _: () = assert!(STEP_WORD_BYTES == size_of::<__m512i>());

/// For each step, the position in each lane of its byte, in the lane's lowest byte, and in the next one
/// that position in a second register, which is counted from 64.
#[inline]
#[target_feature(enable = "avx512f")]
fn places() -> [__m512i; STEPS] {
    let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let first = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(STEPS as i32 * 0x0101));
    let steps = [0x4000, 0x4101, 0x4202, 0x4303].map(|step| _mm512_set1_epi32(step));
    // Known to the compiler, they would become permutations that take three instructions each.
    core::hint::black_box(steps.map(|step| _mm512_add_epi32(first, step)))
}

/// The 32-bit numbers at these [`places`], of which the registers have the low and the high bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn numbers(places: __m512i, [low, high]: [__m512i; 2]) -> __m512i {
    // The low two bytes of each lane.
    const LOW_BYTES: __mmask64 = 0x3333_3333_3333_3333;
    _mm512_maskz_permutex2var_epi8(LOW_BYTES, low, places, high)
}

/// The entry of `table` for each byte; `upper` says which are 128 or more.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn translate(table: &[u8; ALPHABET], bytes: __m512i, upper: __mmask64) -> __m512i {
    let parts = table.as_chunks::<64>().0;
    let low = _mm512_permutex2var_epi8(load(&parts[0]), bytes, load(&parts[1]));
    let high = _mm512_permutex2var_epi8(load(&parts[2]), bytes, load(&parts[3]));
    _mm512_mask_mov_epi8(low, upper, high)
}

/// States with a symbol put into each: `state / f * 4096 + state % f + first`.
///
/// The quotient is that of single-precision numbers. State and quotient are rounded towards zero, by
/// less than 2^-23 of themselves each, so that it is never too large. It is less than 2^20, hence less
/// than one too small, and the remainder says whether it is.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn put(states: __m512i, frequencies: __m512i, firsts: __m512i) -> __m512i {
    const TO_ZERO: i32 = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
    let dividends = _mm512_cvt_roundepu32_ps::<TO_ZERO>(states);
    let quotients = _mm512_div_round_ps::<TO_ZERO>(dividends, _mm512_cvtepi32_ps(frequencies));
    let quotients = _mm512_cvttps_epi32(quotients);
    let remainders = _mm512_sub_epi32(states, _mm512_mullo_epi32(quotients, frequencies));
    let small = _mm512_cmpge_epu32_mask(remainders, frequencies);
    let high = _mm512_slli_epi32::<PROBABILITY_BITS>(quotients);
    let put = _mm512_add_epi32(_mm512_add_epi32(high, firsts), remainders);
    // One more in the quotient is a frequency less in the remainder.
    let more = _mm512_sub_epi32(_mm512_set1_epi32(TABLE_SIZE as i32), frequencies);
    _mm512_mask_add_epi32(put, small, put, more)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: there are 64 bytes.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_words(words: &[u16; LANES]) -> __m512i {
    // SAFETY: there are 64 bytes.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::constants::STATE_LOWER_BOUND;
    use crate::rans::PackedSymbol;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// Lanes of a register.
    const HALF: usize = LANES / 2;

    /// States below the limit of `frequency`, around the multiples that matter.
    fn edge_states(frequency: u32, seed: u32) -> [u32; HALF] {
        let limit = u64::from(frequency) << (u32::BITS - PROBABILITY_BITS);
        let top = (limit - 1) as u32;
        core::array::from_fn(|lane| {
            let step = lane as u32 / 4;
            let state = match lane % 4 {
                0 => top - step,
                1 => STATE_LOWER_BOUND / 2 + step,
                2 => (top / frequency - step) * frequency,
                _ => {
                    (seed.wrapping_mul(2 * lane as u32 + 1) % top) / frequency * frequency
                        + step % 2
                }
            };
            state.min(top)
        })
    }

    #[test]
    fn quotients_are_exact_for_every_frequency_at_the_edges() {
        if Level::avx512().is_none() {
            return;
        }
        for frequency in 1..TABLE_SIZE as u32 {
            let symbol = PackedSymbol((TABLE_SIZE as u32 - frequency) << 16 | frequency);
            let states = edge_states(frequency, frequency.wrapping_mul(0x9E37_79B9));
            let mut found = [0u32; HALF];
            // SAFETY: the processor has these instructions, and arrays as many bytes as a register.
            unsafe {
                let before = _mm512_loadu_si512(states.as_ptr().cast());
                let first = _mm512_set1_epi32((symbol.0 >> 16) as i32);
                let after = put(before, _mm512_set1_epi32(frequency as i32), first);
                _mm512_storeu_si512(found.as_mut_ptr().cast(), after);
            }
            assert_eq!(found, states.map(|state| symbol.put(state)), "frequency {frequency}");
        }
    }

    /// Compares all shapes of a stream of these symbols with the reference's.
    fn check(symbols: &[u8]) {
        if Level::avx512().is_none() {
            return;
        }
        let mut counts = [0; ALPHABET];
        (counts[0], counts[1]) = (1, 1);
        symbols.iter().for_each(|&symbol| counts[usize::from(symbol)] += 1);
        let table = EncodeTable::new(&crate::rans::normalize(&counts).unwrap());
        for (symbols_per_run, states_per_lane) in
            [2, 4, 8, 16].into_iter().flat_map(|run| [(run, 1), (run, 2)])
        {
            let shape = StreamShape {
                symbols: symbols.len(),
                symbols_per_run,
                states_per_lane,
                carries_symbols: false,
            };
            let whole = !symbols.is_empty() && symbols.len().is_multiple_of(shape.group_symbols());
            let carrying = StreamShape { carries_symbols: whole && symbols_per_run == 16, ..shape };
            for (shape, carried) in [(shape, 0), (shape, shape.carried_bytes()), (carrying, 0)] {
                let carried: Vec<u8> = (0..carried).map(|i| (i * 7 % 251) as u8).collect();
                let mut buffers = [(); 2].map(|()| vec![0; crate::rans::max_words(shape)]);
                let [expected, found] = &mut buffers;
                let expected =
                    crate::rans::encode_stream(shape, &table, symbols, &carried, expected);
                // SAFETY: the processor has these instructions.
                let found = unsafe { encode_stream(shape, &table, symbols, &carried, found) };
                assert!(found.words == expected.words, "{shape:?}");
                let states = &found.states[..states_per_lane];
                assert_eq!(states, &expected.states[..states_per_lane], "{shape:?}");
            }
        }
    }

    #[test]
    fn streams_around_every_group_boundary_are_the_references() {
        for length in
            [0, 1, 31, 33, 63, 64, 65, 127, 128, 129, 255, 257, 511, 512, 513, 1021, 4096, 4099]
        {
            // Period 251, so that swapped runs or groups show.
            check(&(0..length).map(|i| (i % 251) as u8).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_rarest_and_the_most_frequent_symbols_are_the_references() {
        let rare: Vec<u8> = (0..50_000u32).map(|i| u8::from(i % 4096 == 7)).collect();
        check(&rare);
        check(&rare.iter().map(|symbol| 255 * symbol).collect::<Vec<_>>());
    }

    #[test]
    fn a_symbol_without_a_slot_panics() {
        if Level::avx512().is_none() {
            return;
        }
        let mut counts = [0; ALPHABET];
        (counts[0], counts[1]) = (1, 1);
        let table = EncodeTable::new(&crate::rans::normalize(&counts).unwrap());
        let shape = StreamShape {
            symbols: 1000,
            symbols_per_run: 16,
            states_per_lane: 2,
            carries_symbols: false,
        };
        let mut symbols = [0; 1000];
        symbols[777] = 200;
        let encode = || {
            // SAFETY: the processor has these instructions.
            unsafe { encode_stream(shape, &table, &symbols, &[], &mut vec![0; 4096]) };
        };
        let panic = std::panic::catch_unwind(encode).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"a symbol without a slot in the table"));
    }

    proptest! {
        #[test]
        fn random_streams_are_the_references(
            symbols in proptest::collection::vec(any::<u8>(), 0..2000),
            mask in any::<u8>(),
        ) {
            check(&symbols.iter().map(|symbol| symbol & mask).collect::<Vec<_>>());
        }
    }
}
