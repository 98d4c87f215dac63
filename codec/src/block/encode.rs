//! The encoder of a block.

use super::layout::{aligned, footer_bytes};
use super::{BlockSpec, PlaneClasses, PlaneCoding, PlaneEncodeTables};
use crate::constants::{ALPHABET, BLOCK_ALIGNMENT, ESCAPE_SYMBOL, ESCAPED_HEAD, MAX_WIDTH};
use crate::pair::{Escape, symbol_of};
use crate::rans::{
    EncodeTable, EncodedStream, MixedTables, StreamShape, encode_mixed_stream, encode_stream,
    max_mixed_words, max_words,
};
use crate::split::{ElementLayout, exponent_nibble, split_heads, split_nibbles, split_planes};

/// The tables of each plane that gets a stream.
pub type EncodeTables<'a> = [Option<&'a PlaneEncodeTables>; MAX_WIDTH];

/// Bytes of scratch memory that [`encode_block`] needs: the planes, the symbols of one, and raw
/// nibbles.
pub const fn encode_scratch_bytes(spec: &BlockSpec) -> usize {
    let arranged = spec.decoded_bytes();
    let symbols = 2 * spec.elements;
    spec.decoded_bytes() + if arranged > symbols { arranged } else { symbols }
}

/// Words of scratch memory that [`encode_block`] needs for the words of one stream.
pub const fn encode_scratch_words(spec: &BlockSpec) -> usize {
    // Heads may all be escaped.
    max_mixed_words(spec.stream_shape(1), true)
}

/// The most bytes that a block can take: every symbol a word, every pair an escape.
pub fn max_block_bytes(spec: &BlockSpec) -> usize {
    let plane = |&coding: &PlaneCoding| match coding.elements_per_symbol() {
        None => spec.elements + BLOCK_ALIGNMENT,
        Some(per_symbol) => {
            let shape = spec.stream_shape(per_symbol);
            let escapes = if coding == PlaneCoding::Pairs { 4 * shape.symbols } else { 0 };
            let raw = match coding {
                PlaneCoding::Heads { .. } | PlaneCoding::NibblePairs => spec.elements.div_ceil(2),
                _ => 0,
            };
            let words = if matches!(coding, PlaneCoding::Heads { .. }) {
                max_mixed_words(shape, true)
            } else {
                max_words(shape)
            };
            shape.state_bytes() + 2 * words + escapes + raw + 3 * BLOCK_ALIGNMENT
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
    let classes = &PlaneClasses::default();
    encode_block_by(Reference, spec, (tables, classes), elements, scratch, words, out)
}

/// The same for blocks some of whose planes are coded by class: `classes` are theirs.
pub fn encode_classed_block(
    spec: &BlockSpec,
    tables: &EncodeTables<'_>,
    classes: &PlaneClasses<'_, EncodeTable>,
    elements: &[u8],
    scratch: &mut [u8],
    words: &mut [u16],
    out: &mut [u8],
) -> usize {
    encode_block_by(Reference, spec, (tables, classes), elements, scratch, words, out)
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

    /// See [`encode_mixed_stream`].
    fn encode_mixed_stream<'a>(
        self,
        shape: StreamShape,
        tables: MixedTables<'_, EncodeTable>,
        symbols: &[u8],
        tails: Option<&[u8]>,
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

    fn encode_mixed_stream<'a>(
        self,
        shape: StreamShape,
        tables: MixedTables<'_, EncodeTable>,
        symbols: &[u8],
        tails: Option<&[u8]>,
        carried: &[u8],
        buffer: &'a mut [u16],
    ) -> EncodedStream<'a> {
        encode_mixed_stream(shape, tables, symbols, tails, carried, buffer)
    }
}

/// [`encode_block`] by other parts.
#[inline(always)]
pub(crate) fn encode_block_by(
    by: impl Parts,
    spec: &BlockSpec,
    (tables, classes): (&EncodeTables<'_>, &PlaneClasses<'_, EncodeTable>),
    elements: &[u8],
    scratch: &mut [u8],
    words: &mut [u16],
    out: &mut [u8],
) -> usize {
    assert_eq!(elements.len(), spec.decoded_bytes(), "elements of another size than the block");
    assert!(spec.is_valid(), "a plane's coding that the element's layout does not allow");
    let (planes, rest) = scratch.split_at_mut(spec.decoded_bytes());
    // Elements of one byte are their plane, and nibbles are taken from the elements.
    let is_plane =
        spec.layout == ElementLayout::BYTES || spec.planes() == [PlaneCoding::NibblePairs];
    let planes = if spec.has_heads() {
        split_heads(spec.layout.width, elements, &mut rest[..elements.len()], planes);
        &*planes
    } else if is_plane {
        elements
    } else {
        split_planes(spec.layout, elements, planes);
        &*planes
    };
    let (symbols, nibbles) = rest.split_at_mut(spec.elements);
    let mut writer = Writer { out, at: 0 };
    let mut counts = [[0u8; 8]; MAX_WIDTH];
    let mut streams = counts.iter_mut();
    for (plane, &coding) in spec.planes().iter().enumerate() {
        let (below, values) = planes.split_at(plane * spec.elements);
        let values = &values[..spec.elements];
        let last = plane + 1 == spec.planes().len();
        let Some(per_symbol) = coding.elements_per_symbol() else {
            writer.plain_plane(spec, plane, values);
            continue;
        };
        let shape = spec.stream_shape(per_symbol);
        writer.align(BLOCK_ALIGNMENT);
        let mut escapes = 0;
        let carried = spec.carried_bytes();
        let stream = match coding {
            PlaneCoding::Heads { base } => {
                let below = &below[(plane - 1) * spec.elements..];
                let (heads, nibbles) = (&mut symbols[..spec.elements], &mut nibbles[..]);
                let nibbles = &mut nibbles[..spec.elements.div_ceil(2)];
                join_heads(base, below, values, heads, nibbles);
                let carried = writer.nibbles(nibbles, carried);
                let classes = classes_of(classes, plane);
                by.encode_mixed_stream(shape, classes, heads, Some(values), carried, words)
            }
            PlaneCoding::Classes => {
                let carried = if last { last_bytes(below, spec, carried) } else { &[] };
                let classes = classes_of(classes, plane);
                by.encode_mixed_stream(shape, classes, values, None, carried, words)
            }
            PlaneCoding::Pairs => {
                let tables = tables_of(tables, plane);
                let symbols = &mut symbols[..shape.symbols];
                by.join_pairs(&tables.ranks, &tables.has_slot, values, symbols);
                let carried = last_bytes(below, spec, carried);
                by.encode_stream(shape, &tables.table, symbols, carried, words)
            }
            PlaneCoding::NibblePairs => {
                let symbols = &mut symbols[..shape.symbols];
                let nibbles = &mut nibbles[..shape.symbols];
                split_nibbles(spec.layout, elements, symbols, nibbles);
                let carried = writer.nibbles(nibbles, carried);
                by.encode_stream(shape, &tables_of(tables, plane).table, symbols, carried, words)
            }
            _ => {
                let carried = if last { last_bytes(below, spec, carried) } else { &[] };
                by.encode_stream(shape, &tables_of(tables, plane).table, values, carried, words)
            }
        };
        let word_count = writer.stream(shape, &stream);
        if coding == PlaneCoding::Pairs {
            escapes = writer.escapes(&symbols[..shape.symbols], values);
        }
        if let Some(counts) = streams.next() {
            counts[..4].copy_from_slice(&word_count.to_le_bytes());
            counts[4..].copy_from_slice(&escapes.to_le_bytes());
        }
    }
    writer.footer(&counts.as_flattened()[..footer_bytes(spec)]);
    writer.at
}

/// What the states of the last plane's stream carry of plane 0, the first of `below`.
#[inline(always)]
fn last_bytes<'a>(below: &'a [u8], spec: &BlockSpec, carried: usize) -> &'a [u8] {
    if carried == 0 { &[] } else { &below[spec.elements - carried..spec.elements] }
}

#[inline(always)]
fn tables_of<'a>(tables: &EncodeTables<'a>, plane: usize) -> &'a PlaneEncodeTables {
    match tables[plane] {
        Some(tables) => tables,
        None => panic!("no table for plane {plane}, which gets a stream"),
    }
}

fn classes_of<'a>(
    classes: &PlaneClasses<'a, EncodeTable>,
    plane: usize,
) -> MixedTables<'a, EncodeTable> {
    match classes[plane] {
        Some(classes) => classes,
        None => panic!("no classes for plane {plane}, which is coded by class"),
    }
}

/// The head symbols of the two last planes, and the low nibbles of the lower one of them, two a byte.
fn join_heads(base: u8, below: &[u8], exponents: &[u8], heads: &mut [u8], nibbles: &mut [u8]) {
    for ((head, &exponent), &below) in heads.iter_mut().zip(exponents).zip(below) {
        *head = exponent_nibble(exponent, base).unwrap_or(ESCAPED_HEAD) | below >> 4;
    }
    for (nibbles, pair) in nibbles.iter_mut().zip(below.chunks(2)) {
        *nibbles = pair[0] & 15 | pair.get(1).map_or(0, |second| second << 4);
    }
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

    /// Appends a plane that has no stream.
    #[inline(always)]
    fn plain_plane(&mut self, spec: &BlockSpec, plane: usize, values: &[u8]) {
        match spec.planes[plane] {
            PlaneCoding::Constant(value) => {
                assert!(values.iter().all(|&v| v == value), "plane {plane} is not constant");
            }
            PlaneCoding::InHeads => {}
            _ => {
                let carries = plane == 0 && !spec.has_heads();
                let carried = if carries { spec.carried_bytes() } else { 0 };
                self.align(BLOCK_ALIGNMENT);
                self.bytes(&values[..spec.elements - carried]);
                self.align(BLOCK_ALIGNMENT);
            }
        }
    }

    /// Appends raw nibbles but for the last `carried` bytes, which are returned.
    #[inline(always)]
    fn nibbles<'n>(&mut self, nibbles: &'n [u8], carried: usize) -> &'n [u8] {
        let (stored, carried) = nibbles.split_at(nibbles.len() - carried);
        self.bytes(stored);
        self.align(BLOCK_ALIGNMENT);
        carried
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
