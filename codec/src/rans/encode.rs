//! The encoder: runs the decoder's steps backwards, last symbol first.

use super::StreamShape;
use super::step::first_state;
use super::table::Frequencies;
use crate::constants::{ALPHABET, LANES, PROBABILITY_BITS, TABLE_SIZE};

/// What the encoder needs to know of a symbol.
#[derive(Debug, Clone, Copy, Default)]
struct EncodeSymbol {
    /// A state at or above this gives off a word first.
    limit: u64,
    /// `2^64 / frequency`, rounded up; with it the quotient is one high multiplication.
    reciprocal: u64,
    /// First slot of the symbol (and a correction where the frequency is 1).
    bias: u32,
    /// `4096 - frequency`.
    complement: u32,
}

/// The 256 symbols as the encoder needs them.
#[derive(Clone)]
pub struct EncodeTable {
    symbols: [EncodeSymbol; ALPHABET],
    padding: u8,
}

impl EncodeTable {
    /// Prepares `frequencies` for encoding.
    pub fn new(frequencies: &Frequencies) -> Self {
        let mut symbols = [EncodeSymbol::default(); ALPHABET];
        let mut first = 0;
        for (symbol, &frequency) in symbols.iter_mut().zip(frequencies.as_array()) {
            *symbol = EncodeSymbol::new(u32::from(frequency), first);
            first += u32::from(frequency);
        }
        Self { symbols, padding: frequencies.most_frequent() }
    }
}

impl EncodeSymbol {
    fn new(frequency: u32, first: u32) -> Self {
        let limit = u64::from(frequency) << (u32::BITS - PROBABILITY_BITS);
        let complement = TABLE_SIZE as u32 - frequency;
        match frequency {
            0 => Self::default(),
            // 2^64 does not fit; 2^64 - 1 gives `state - 1` as the quotient of every state above
            // zero, and the bias makes up for the missing `4096 - 1`.
            1 => Self { limit, reciprocal: u64::MAX, bias: first + complement, complement },
            // Exact for every 32-bit state: the error is below `state * frequency / 2^64 < 1`.
            _ => Self {
                limit,
                reciprocal: u64::MAX / u64::from(frequency) + 1,
                bias: first,
                complement,
            },
        }
    }

    /// The state from which a decoder takes this symbol and comes back to `state`.
    ///
    /// With `state = q * f + r` that is `q * 4096 + first + r = state + first + q * (4096 - f)`.
    #[inline(always)]
    fn put(&self, state: u32) -> u32 {
        let quotient = ((u128::from(state) * u128::from(self.reciprocal)) >> 64) as u32;
        state + self.bias + quotient * self.complement
    }
}

/// The most words that a stream of `shape` can have: one per symbol, padding included.
pub const fn max_words(shape: StreamShape) -> usize {
    shape.steps() * LANES
}

/// An encoded stream, within the buffer given to [`encode_stream`].
#[derive(Debug)]
pub struct EncodedStream<'a> {
    /// Initial states, `states_per_lane * 32` of them, state by state.
    pub states: [u32; 2 * LANES],
    /// How many of [`EncodedStream::states`] there are.
    pub state_count: usize,
    /// The words, in the order in which a decoder takes them.
    pub words: &'a [u16],
}

/// Encodes `symbols` (`shape.symbols` of them, each with a slot in `table`).
///
/// `buffer` has room for [`max_words`]; the words are written at its end, backwards, since the
/// decoder takes last what the encoder gives off first. The padding of the last group is the
/// cheapest symbol. The first states carry `carried`, which is empty or has
/// `shape.carried_bytes()`. Panics when a symbol has no slot or a length does not fit the shape.
pub fn encode_stream<'a>(
    shape: StreamShape,
    table: &EncodeTable,
    symbols: &[u8],
    carried: &[u8],
    buffer: &'a mut [u16],
) -> EncodedStream<'a> {
    assert_eq!(symbols.len(), shape.symbols, "symbols of another shape");
    assert!(buffer.len() >= max_words(shape), "word buffer too small");
    assert!(carried.is_empty() || carried.len() == shape.carried_bytes(), "carried bytes");
    let mut states = [first_state(0); 2 * LANES];
    for (state, bytes) in states.iter_mut().zip(carried.as_chunks::<2>().0) {
        *state = first_state(u16::from_le_bytes(*bytes));
    }
    let state_count = shape.states_per_lane * LANES;
    let mut at = buffer.len();
    for group in (0..shape.groups()).rev() {
        let symbols = &symbols[group * shape.group_symbols()..];
        for step in (0..shape.symbols_per_run).rev() {
            let half = (group * shape.symbols_per_run + step) % shape.states_per_lane;
            let states = &mut states[half * LANES..][..LANES];
            for (lane, state) in states.iter_mut().enumerate().rev() {
                let symbol = symbols.get(lane * shape.symbols_per_run + step);
                let symbol = &table.symbols[usize::from(*symbol.unwrap_or(&table.padding))];
                assert!(symbol.limit > 0, "a symbol without a slot in the table");
                if u64::from(*state) >= symbol.limit {
                    at -= 1;
                    buffer[at] = *state as u16;
                    *state >>= u16::BITS;
                }
                *state = symbol.put(*state);
            }
        }
    }
    EncodedStream { states, state_count, words: &buffer[at..] }
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeTable, StreamError, decode_stream, normalize};
    use super::*;
    use crate::constants::STATE_LOWER_BOUND;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn table_for(symbols: &[u8]) -> Frequencies {
        let mut counts = [0; ALPHABET];
        counts[0] = 1;
        counts[1] = 1;
        symbols.iter().for_each(|&s| counts[usize::from(s)] += 1);
        normalize(&counts).unwrap()
    }

    fn encoded(
        shape: StreamShape,
        frequencies: &Frequencies,
        symbols: &[u8],
        carried: &[u8],
    ) -> (Vec<u8>, Vec<u8>) {
        let mut buffer = vec![0; max_words(shape)];
        let stream =
            encode_stream(shape, &EncodeTable::new(frequencies), symbols, carried, &mut buffer);
        (
            stream.states[..stream.state_count].iter().flat_map(|s| s.to_le_bytes()).collect(),
            stream.words.iter().flat_map(|w| w.to_le_bytes()).collect(),
        )
    }

    fn shapes(symbols: usize) -> impl Iterator<Item = StreamShape> {
        [1, 2, 4, 8, 16].into_iter().flat_map(move |symbols_per_run| {
            [1, 2].map(|states_per_lane| StreamShape { symbols, symbols_per_run, states_per_lane })
        })
    }

    fn round_trip(symbols: &[u8]) {
        let frequencies = table_for(symbols);
        let table = DecodeTable::new(&frequencies);
        for shape in shapes(symbols.len()) {
            for carried in [0, shape.carried_bytes()] {
                let carried: Vec<u8> = (0..carried).map(|i| (i * 7 % 251) as u8).collect();
                let (states, words) = encoded(shape, &frequencies, symbols, &carried);
                let mut out = vec![0xAA; symbols.len()];
                let mut back = vec![0xAA; carried.len()];
                decode_stream(shape, &table, &states, &words, &mut out, &mut back).unwrap();
                assert!(out == symbols && back == carried, "{shape:?}");
            }
        }
    }

    #[test]
    fn lengths_around_every_group_boundary_come_back() {
        // Period 251, so that swapped runs or groups show.
        for length in [0, 1, 31, 32, 33, 63, 64, 127, 128, 255, 256, 511, 512, 513, 1021, 4096] {
            round_trip(&(0..length).map(|i| (i % 251) as u8).collect::<Vec<_>>());
        }
    }

    #[test]
    fn two_symbols_at_the_extreme_probabilities_come_back() {
        let mut symbols = vec![0u8; 100_000];
        for i in (0..symbols.len()).step_by(4096) {
            symbols[i] = 1;
        }
        round_trip(&symbols);
    }

    #[test]
    fn quotients_are_exact_for_every_frequency_at_the_edges() {
        for frequency in 1..TABLE_SIZE as u32 {
            let symbol = EncodeSymbol::new(frequency, 0);
            let top = (symbol.limit - 1) as u32;
            for state in [STATE_LOWER_BOUND, STATE_LOWER_BOUND + 1, top - top % frequency, top] {
                if u64::from(state) >= symbol.limit {
                    continue;
                }
                let expected = (state / frequency) * TABLE_SIZE as u32 + state % frequency;
                assert_eq!(symbol.put(state), expected, "frequency {frequency}, state {state}");
            }
        }
    }

    #[test]
    fn missing_and_spare_words_and_wrong_states_are_found() {
        let symbols: Vec<u8> = (0..5000u32).map(|i| (i * i % 7) as u8).collect();
        let frequencies = table_for(&symbols);
        let table = DecodeTable::new(&frequencies);
        let shape = StreamShape { symbols: 5000, symbols_per_run: 8, states_per_lane: 2 };
        let (states, words) = encoded(shape, &frequencies, &symbols, &[]);
        let decode = |states: &[u8], words: &[u8]| {
            decode_stream(shape, &table, states, words, &mut vec![0; 5000], &mut [])
        };
        let count = words.len() / 2;
        assert_eq!(
            decode(&states, &words[..words.len() - 2]),
            Err(StreamError::WordsExhausted { words: count - 1 })
        );
        let longer = [&words[..], &[0, 0]].concat();
        assert_eq!(
            decode(&states, &longer),
            Err(StreamError::WordsLeftOver { words: count + 1, taken: count })
        );
        let mut low = states.clone();
        low[4 * 40..4 * 41].copy_from_slice(&0xFFFFu32.to_le_bytes());
        assert_eq!(
            decode(&low, &words),
            Err(StreamError::InitialState { lane: 40, state: 0xFFFF })
        );
        // The last word of a stream belongs to a lane that ends elsewhere when it changes.
        let mut last = words.clone();
        *last.last_mut().unwrap() ^= 0x80;
        assert!(matches!(decode(&states, &last), Err(StreamError::FinalState { .. })));
    }

    proptest! {
        #[test]
        fn random_symbols_come_back(
            symbols in proptest::collection::vec(any::<u8>(), 0..2000),
            mask in any::<u8>(),
        ) {
            round_trip(&symbols.iter().map(|s| s & mask).collect::<Vec<_>>());
        }
    }
}
