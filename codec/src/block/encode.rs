//! The encoder of a block.

use super::layout::{aligned, footer_bytes};
use super::{BlockSpec, PlaneCoding, PlaneEncodeTables};
use crate::constants::{ALPHABET, BLOCK_ALIGNMENT, ESCAPE_SYMBOL, MAX_WIDTH};
use crate::pair::{Escape, symbol_of};
use crate::rans::{EncodeTable, EncodedStream, StreamShape, encode_stream, max_words};
use crate::split::ElementLayout;
use crate::split::{split_nibbles, split_planes};

/// The tables of each plane that gets a stream.
pub type EncodeTables<'a> = [Option<&'a PlaneEncodeTables>; MAX_WIDTH];

/// Bytes of scratch memory that [`encode_block`] needs: the planes, the symbols of one, and raw
/// nibbles.
pub const fn encode_scratch_bytes(spec: &BlockSpec) -> usize {
    spec.decoded_bytes() + 2 * spec.elements
}

/// Words of scratch memory that [`encode_block`] needs for the words of one stream.
pub const fn encode_scratch_words(spec: &BlockSpec) -> usize {
    max_words(spec.stream_shape(1))
}

/// The most bytes that a block can take: every symbol a word, every pair an escape.
pub fn max_block_bytes(spec: &BlockSpec) -> usize {
    let plane = |&coding: &PlaneCoding| match coding.elements_per_symbol() {
        None => spec.elements + BLOCK_ALIGNMENT,
        Some(per_symbol) => {
            let shape = spec.stream_shape(per_symbol);
            let escapes = 4 * shape.symbols;
            let raw = spec.elements;
            shape.state_bytes() + 2 * max_words(shape) + escapes + raw + 3 * BLOCK_ALIGNMENT
        }
    };
    aligned(footer_bytes(spec)) + spec.planes().iter().map(plane).sum::<usize>()
}

/// Encodes the little-endian `elements` and returns the length of the block, which is written to
/// the start of `out`.
///
/// `out` has at least [`max_block_bytes`], `scratch` [`encode_scratch_bytes`] and `words`
/// [`encode_scratch_words`]. Panics when a buffer is too small, a stream has no tables, or a
/// constant plane is not constant: all of them mistakes of the caller, not of the data.
pub fn encode_block(
    spec: &BlockSpec,
    tables: &EncodeTables<'_>,
    elements: &[u8],
    scratch: &mut [u8],
    words: &mut [u16],
    out: &mut [u8],
) -> usize {
    encode_block_by(Reference, spec, tables, elements, scratch, words, out)
}

/// The parts of encoding that have faster ways than the reference's.
pub(crate) trait Parts: Copy {
    /// The symbols of a paired plane: [`ESCAPE_SYMBOL`] for pairs that have no slot.
    fn join_pairs(
        self,
        ranks: &[Option<u8>; ALPHABET],
        has_slot: &[bool; ALPHABET],
        values: &[u8],
        symbols: &mut [u8],
    );

    /// See [`encode_stream`].
    fn encode_stream<'a>(
        self,
        shape: StreamShape,
        table: &EncodeTable,
        symbols: &[u8],
        carried: &[u8],
        buffer: &'a mut [u16],
    ) -> EncodedStream<'a>;
}

#[derive(Clone, Copy)]
struct Reference;

impl Parts for Reference {
    fn join_pairs(
        self,
        ranks: &[Option<u8>; ALPHABET],
        has_slot: &[bool; ALPHABET],
        values: &[u8],
        symbols: &mut [u8],
    ) {
        join_pairs(ranks, has_slot, values, symbols);
    }

    fn encode_stream<'a>(
        self,
        shape: StreamShape,
        table: &EncodeTable,
        symbols: &[u8],
        carried: &[u8],
        buffer: &'a mut [u16],
    ) -> EncodedStream<'a> {
        encode_stream(shape, table, symbols, carried, buffer)
    }
}

/// [`encode_block`] by other parts.
#[inline(always)]
pub(crate) fn encode_block_by(
    by: impl Parts,
    spec: &BlockSpec,
    tables: &EncodeTables<'_>,
    elements: &[u8],
    scratch: &mut [u8],
    words: &mut [u16],
    out: &mut [u8],
) -> usize {
    assert_eq!(elements.len(), spec.decoded_bytes(), "elements of another size than the block");
    assert!(spec.is_valid(), "a plane's coding that the element's width does not allow");
    let (planes, rest) = scratch.split_at_mut(spec.decoded_bytes());
    let (symbols, nibbles) = rest.split_at_mut(spec.elements);
    split_planes(spec.layout, elements, planes);
    let mut writer = Writer { out, at: 0 };
    let mut counts = [[0u8; 8]; MAX_WIDTH];
    let mut streams = counts.iter_mut();
    for (plane, &coding) in spec.planes().iter().enumerate() {
        let values = &planes[plane * spec.elements..][..spec.elements];
        let Some(per_symbol) = coding.elements_per_symbol() else {
            match coding {
                PlaneCoding::Constant(value) => {
                    assert!(values.iter().all(|&v| v == value), "plane {plane} is not constant");
                }
                _ => {
                    let carried = if plane == 0 { spec.carried_bytes() } else { 0 };
                    writer.align(BLOCK_ALIGNMENT);
                    writer.bytes(&values[..spec.elements - carried]);
                    writer.align(BLOCK_ALIGNMENT);
                }
            }
            continue;
        };
        let Some(tables) = tables[plane] else {
            panic!("no table for plane {plane}, which gets a stream")
        };
        let shape = spec.stream_shape(per_symbol);
        writer.align(BLOCK_ALIGNMENT);
        let symbols = match coding {
            PlaneCoding::Pairs => {
                by.join_pairs(
                    &tables.ranks,
                    &tables.has_slot,
                    values,
                    &mut symbols[..shape.symbols],
                );
                &symbols[..shape.symbols]
            }
            PlaneCoding::NibblePairs => {
                let symbols = &mut symbols[..shape.symbols];
                split_nibbles(spec.layout, elements, symbols, &mut nibbles[..shape.symbols]);
                writer.bytes(&nibbles[..shape.symbols - spec.carried_bytes()]);
                writer.align(BLOCK_ALIGNMENT);
                symbols
            }
            _ => values,
        };
        let carried = match coding {
            PlaneCoding::NibblePairs => &nibbles[..shape.symbols],
            _ if plane + 1 == spec.planes().len() => &planes[..spec.elements],
            _ => &[],
        };
        let carried = &carried[carried.len() - spec.carried_bytes().min(carried.len())..];
        let stream = by.encode_stream(shape, &tables.table, symbols, carried, words);
        let word_count = writer.stream(shape, &stream);
        let escapes =
            if coding == PlaneCoding::Pairs { writer.escapes(symbols, values) } else { 0 };
        if let Some(counts) = streams.next() {
            counts[..4].copy_from_slice(&word_count.to_le_bytes());
            counts[4..].copy_from_slice(&escapes.to_le_bytes());
        }
    }
    writer.footer(&counts.as_flattened()[..footer_bytes(spec)]);
    writer.at
}

/// See [`Parts::join_pairs`].
pub(crate) fn join_pairs(
    ranks: &[Option<u8>; ALPHABET],
    has_slot: &[bool; ALPHABET],
    values: &[u8],
    symbols: &mut [u8],
) {
    for (symbol, pair) in symbols.iter_mut().zip(values.chunks(2)) {
        // The second element of a pair that the block's end cuts off is taken to equal the first.
        let (first, second) = (pair[0], *pair.last().unwrap_or(&pair[0]));
        let both = ranks[usize::from(first)].zip(ranks[usize::from(second)]);
        *symbol = both
            .and_then(|(first, second)| symbol_of(first, second))
            .filter(|&symbol| has_slot[usize::from(symbol)])
            .unwrap_or(ESCAPE_SYMBOL);
    }
}

/// The symbols that plane `plane` of a block is coded as, if `coding` has any and every pair of
/// ranks has a slot: what a table is made for.
///
/// `elements` are the block's elements, `planes` has as many bytes, and `symbols` has room for one
/// per element; the part of it that holds the symbols is returned.
#[inline(always)]
pub(crate) fn symbols_by<'a>(
    by: impl Parts,
    layout: ElementLayout,
    (plane, coding): (usize, PlaneCoding),
    ranks: &[Option<u8>; ALPHABET],
    elements: &[u8],
    planes: &mut [u8],
    symbols: &'a mut [u8],
) -> &'a [u8] {
    let count = elements.len() / layout.width.bytes();
    let planes = &mut planes[..elements.len()];
    let symbols = match coding.elements_per_symbol() {
        None => return &[],
        Some(per_symbol) => &mut symbols[..count.div_ceil(per_symbol)],
    };
    if coding == PlaneCoding::NibblePairs {
        split_nibbles(layout, elements, symbols, &mut planes[..count.div_ceil(2)]);
        return symbols;
    }
    split_planes(layout, elements, planes);
    let values = &planes[plane * count..][..count];
    if coding == PlaneCoding::Pairs {
        by.join_pairs(ranks, &[true; ALPHABET], values, symbols);
    } else {
        symbols.copy_from_slice(values);
    }
    symbols
}

/// Symbols that are searched for escapes at a time.
const ESCAPE_SEARCH: usize = 64;

/// Appends parts to a block.
struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn reserve(&mut self, length: usize) -> &mut [u8] {
        let reserved = &mut self.out[self.at..][..length];
        self.at += length;
        reserved
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len()).copy_from_slice(bytes);
    }

    fn zeros(&mut self, length: usize) {
        self.reserve(length).fill(0);
    }

    fn align(&mut self, alignment: usize) {
        self.zeros(self.at.next_multiple_of(alignment) - self.at);
    }

    /// Appends the footer, so that the block ends at a multiple of 16.
    fn footer(&mut self, counts: &[u8]) {
        let end = aligned(self.at + counts.len());
        self.zeros(end - counts.len() - self.at);
        self.bytes(counts);
    }

    /// Appends states and words, and returns the number of words.
    fn stream(&mut self, shape: StreamShape, stream: &EncodedStream<'_>) -> u32 {
        for state in stream.states[..shape.states_per_lane].as_flattened() {
            self.bytes(&state.to_le_bytes());
        }
        let words = self.reserve(2 * stream.words.len());
        for (bytes, word) in words.as_chunks_mut::<2>().0.iter_mut().zip(stream.words) {
            *bytes = word.to_ne_bytes();
        }
        self.align(4);
        stream.words.len() as u32
    }

    /// Appends both values of every escaped pair, and returns how many there are.
    #[inline(always)]
    fn escapes(&mut self, symbols: &[u8], values: &[u8]) -> u32 {
        let mut count = 0;
        for (part, symbols) in symbols.chunks(ESCAPE_SEARCH).enumerate() {
            // Escapes are rare, and asking for one is faster than looking for it.
            if !symbols.iter().fold(false, |any, &symbol| any | (symbol == ESCAPE_SYMBOL)) {
                continue;
            }
            for (at, _) in symbols.iter().enumerate().filter(|(_, s)| **s == ESCAPE_SYMBOL) {
                let pair = part * ESCAPE_SEARCH + at;
                let first = values[2 * pair];
                let second = *values.get(2 * pair + 1).unwrap_or(&first);
                self.bytes(&Escape::new(pair as u16, first, second).0.to_le_bytes());
                count += 1;
            }
        }
        count
    }
}
