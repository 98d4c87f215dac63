//! The encoder: runs the decoder's steps backwards, last symbol first.

use super::StreamShape;
use super::step::first_state;
use super::table::Frequencies;
use crate::constants::{ALPHABET, LANES, PROBABILITY_BITS};

/// What the encoder needs to know of a symbol, packed as `first << 16 | frequency`: its first slot
/// and how many it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct PackedSymbol(pub(crate) u32);

impl PackedSymbol {
    /// Number of slots; 0 for a symbol that cannot be coded.
    #[inline(always)]
    pub const fn frequency(self) -> u32 {
        self.0 & 0xFFFF
    }

    /// Whether a state is so large that it has to give off a word before the symbol is put into it.
    #[inline(always)]
    pub const fn gives_word(self, state: u32) -> bool {
        state >= self.frequency() << (u32::BITS - PROBABILITY_BITS)
    }

    /// The state from which a decoder takes this symbol and comes back to `state`, which gives off
    /// no word.
    #[inline(always)]
    pub const fn put(self, state: u32) -> u32 {
        let (quotient, remainder) = (state / self.frequency(), state % self.frequency());
        (quotient << PROBABILITY_BITS) + (self.0 >> 16) + remainder
    }
}

/// The 256 symbols as the encoder needs them, which lie first in memory.
#[derive(Clone)]
#[repr(C)]
pub struct EncodeTable {
    symbols: [PackedSymbol; ALPHABET],
    padding: u8,
}

impl EncodeTable {
    /// Prepares `frequencies` for encoding.
    pub fn new(frequencies: &Frequencies) -> Self {
        let mut first = 0;
        let symbols = frequencies.as_array().map(|frequency| {
            let frequency = u32::from(frequency);
            let symbol = PackedSymbol(first << 16 | frequency);
            first += frequency;
            symbol
        });
        Self { symbols, padding: frequencies.most_frequent() }
    }

    /// All symbols.
    #[inline(always)]
    pub const fn symbols(&self) -> &[PackedSymbol; ALPHABET] {
        &self.symbols
    }

    /// The cheapest symbol, with which last groups are filled up.
    #[inline(always)]
    pub const fn padding(&self) -> u8 {
        self.padding
    }
}

/// The most words that a stream of `shape` can have: one per symbol, padding included.
pub const fn max_words(shape: StreamShape) -> usize {
    shape.steps() * LANES
}

/// An encoded stream, within the buffer given to [`encode_stream`].
#[derive(Debug)]
pub struct EncodedStream<'a> {
    /// Initial states, those of the second state of each lane of use only where there are two.
    pub states: [[u32; LANES]; 2],
    /// The words as little-endian numbers, in the order in which a decoder takes them.
    pub words: &'a [u16],
}

/// Encodes `symbols` (`shape.symbols` of them, each with a slot in `table`).
///
/// `buffer` has room for [`max_words`]; the words are written at its end, backwards, since the
/// decoder takes last what the encoder gives off first. The padding of the last group is the
/// cheapest symbol. The first states carry `carried`, which is empty or has
/// `shape.carried_bytes()`, or where the shape says so the last symbols. Panics when a symbol that is
/// not carried has no slot or a length does not fit the shape.
pub fn encode_stream<'a>(
    shape: StreamShape,
    table: &EncodeTable,
    symbols: &[u8],
    carried: &[u8],
    buffer: &'a mut [u16],
) -> EncodedStream<'a> {
    let mut states = first_states(shape, symbols, carried, buffer);
    let mut at = buffer.len();
    for group in (0..shape.groups()).rev() {
        let symbols = &symbols[group * shape.group_symbols()..];
        let last = group + 1 == shape.groups();
        let steps = shape.symbols_per_run - if last { shape.carried_steps() } else { 0 };
        for step in (0..steps).rev() {
            let half = (group * shape.symbols_per_run + step) % shape.states_per_lane;
            for (lane, state) in states[half].iter_mut().enumerate().rev() {
                let symbol = symbols.get(lane * shape.symbols_per_run + step);
                let symbol = table.symbols[usize::from(*symbol.unwrap_or(&table.padding))];
                assert!(symbol.frequency() > 0, "a symbol without a slot in the table");
                if symbol.gives_word(*state) {
                    at -= 1;
                    buffer[at] = (*state as u16).to_le();
                    *state >>= u16::BITS;
                }
                *state = symbol.put(*state);
            }
        }
    }
    EncodedStream { states, words: &buffer[at..] }
}

/// The states that an encoder begins with. Panics for lengths that do not fit the shape.
pub(crate) fn first_states(
    shape: StreamShape,
    symbols: &[u8],
    carried: &[u8],
    buffer: &[u16],
) -> [[u32; LANES]; 2] {
    assert_eq!(symbols.len(), shape.symbols, "symbols of another shape");
    assert!(buffer.len() >= max_words(shape), "word buffer too small");
    assert!(carried.is_empty() || carried.len() == shape.carried_bytes(), "carried bytes");
    let mut states = [[first_state(0); LANES]; 2];
    if shape.carries_symbols {
        assert!(carried.is_empty(), "carried bytes beside carried symbols");
        for (number, states) in states[..shape.states_per_lane].iter_mut().enumerate() {
            for (lane, state) in states.iter_mut().enumerate() {
                let symbol = |byte| symbols[shape.carried_symbol(number, lane, byte)];
                *state = first_state(u16::from_le_bytes([symbol(0), symbol(1)]));
            }
        }
        return states;
    }
    for (state, bytes) in states.as_flattened_mut().iter_mut().zip(carried.as_chunks::<2>().0) {
        *state = first_state(u16::from_le_bytes(*bytes));
    }
    states
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeTable, StreamError, decode_stream, normalize};
    use super::*;
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
            stream.states[..shape.states_per_lane]
                .as_flattened()
                .iter()
                .flat_map(|s| s.to_le_bytes())
                .collect(),
            stream.words.iter().flat_map(|w| w.to_ne_bytes()).collect(),
        )
    }

    fn shapes(symbols: usize) -> impl Iterator<Item = StreamShape> {
        [1, 2, 4, 8, 16].into_iter().flat_map(move |symbols_per_run| {
            [1, 2].map(|states_per_lane| StreamShape {
                symbols,
                symbols_per_run,
                states_per_lane,
                carries_symbols: false,
            })
        })
    }

    fn round_trip(symbols: &[u8]) {
        let frequencies = table_for(symbols);
        let table = DecodeTable::new(&frequencies);
        for shape in shapes(symbols.len()) {
            let whole = !symbols.is_empty() && symbols.len().is_multiple_of(shape.group_symbols());
            let carries_symbols = whole && shape.symbols_per_run >= 2 * shape.states_per_lane;
            let carrying = StreamShape { carries_symbols, ..shape };
            for (shape, carried) in [(shape, 0), (shape, shape.carried_bytes()), (carrying, 0)] {
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
    fn missing_and_spare_words_and_wrong_states_are_found() {
        let symbols: Vec<u8> = (0..5000u32).map(|i| (i * i % 7) as u8).collect();
        let frequencies = table_for(&symbols);
        let table = DecodeTable::new(&frequencies);
        let shape = StreamShape {
            symbols: 5000,
            symbols_per_run: 8,
            states_per_lane: 2,
            carries_symbols: false,
        };
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
