//! A block in pieces that stay in the first-level cache: symbols of every stream first, then
//! elements from all planes.

use super::lanes::Lanes;
use super::stream::{MAX_GROUP_SYMBOLS, Stream, decode as decode_streams};
use crate::block::{BlockLayout, BlockSpec, BlockTables, Part, PlaneCoding};
use crate::constants::{ESCAPE_SYMBOL, LANES, MAX_STATES_PER_LANE, MAX_WIDTH, RANKS};
use crate::pair::{Escape, RankValues};
use crate::split::{ElementLayout, merge_nibbles, merge_rows, replace_top_byte};

/// Elements of a piece, the last one aside: a whole number of groups, whatever the plan.
const PIECE_ELEMENTS: usize = 2048;
/// The last piece takes in a rest that is no whole one, so that all elements whose bytes the states
/// carry are in it.
const MAX_PIECE_ELEMENTS: usize = 2 * PIECE_ELEMENTS;
/// Symbols whose number fits into a byte.
const COUNTED_AT_ONCE: usize = 192;
/// Room for a piece's bytes of one plane, up to the end of a group.
const ROOM: usize = MAX_PIECE_ELEMENTS + MAX_GROUP_SYMBOLS;

const _: () = {
    assert!(PIECE_ELEMENTS.is_multiple_of(2 * MAX_GROUP_SYMBOLS));
    assert!(PIECE_ELEMENTS >= 2 * MAX_STATES_PER_LANE * LANES * size_of::<u16>());
};

/// What [`super::Level::decode_blocks`] needs besides its input and output.
#[derive(Clone)]
pub struct PieceBuffers {
    /// Symbols of each plane's stream, or a constant plane's value over and over.
    symbols: [[u8; ROOM]; MAX_WIDTH],
    /// A paired plane's values.
    values: [u8; ROOM],
    /// The last piece of plane 0 with what the states carry.
    first: [u8; ROOM],
}

impl Default for PieceBuffers {
    fn default() -> Self {
        Self { symbols: [[0; ROOM]; MAX_WIDTH], values: [0; ROOM], first: [0; ROOM] }
    }
}

/// A block, and the tables of its streams.
#[derive(Clone, Copy)]
pub struct BlockInput<'a> {
    /// The tables of each plane that has a stream.
    pub tables: BlockTables<'a>,
    /// The block.
    pub bytes: &'a [u8],
}

/// A run of a block's elements.
#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    elements: usize,
    last: bool,
}

/// Decodes `B` blocks with the same description; see [`super::Level::decode_blocks`].
///
/// # Safety
///
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn decode<L: Lanes, const B: usize>(
    spec: &BlockSpec,
    blocks: [BlockInput<'_>; B],
    buffers: &mut [PieceBuffers; B],
    mut outs: [&mut [u8]; B],
) -> bool {
    let sizes = outs.each_ref().map(|out| out.len());
    assert_eq!(sizes, [spec.decoded_bytes(); B], "output of another size than the block");
    let mut planes: [Planes<'_, L>; B] = core::array::from_fn(|_| Planes::new(spec));
    for ((planes, block), buffers) in planes.iter_mut().zip(blocks).zip(&mut *buffers) {
        // SAFETY: the caller's promise.
        if !unsafe { planes.open(spec, block, buffers) } {
            return false;
        }
    }
    let width = spec.layout.width.bytes();
    let mut start = 0;
    while start < spec.elements {
        let left = spec.elements - start;
        let last = left <= MAX_PIECE_ELEMENTS;
        let piece = Piece { start, elements: if last { left } else { PIECE_ELEMENTS }, last };
        // SAFETY: the caller's promise.
        unsafe { decode_symbols(&mut planes, piece, buffers) };
        for ((planes, buffers), out) in planes.iter_mut().zip(&mut *buffers).zip(&mut outs) {
            let out = &mut out[start * width..][..piece.elements * width];
            // SAFETY: the caller's promise.
            if !unsafe { planes.merge_piece(piece, buffers, out) } {
                return false;
            }
        }
        start += piece.elements;
    }
    planes.iter().all(|planes| planes.escapes.is_empty())
}

/// The symbols of a piece, from every stream of a plane at once.
#[inline(always)]
unsafe fn decode_symbols<L: Lanes, const B: usize>(
    planes: &mut [Planes<'_, L>; B],
    piece: Piece,
    buffers: &mut [PieceBuffers; B],
) {
    for plane in 0..planes[0].width {
        let count = match planes[0].sources[plane] {
            Source::Constant | Source::Raw(_) => continue,
            Source::Symbols(_) => piece.elements,
            Source::Pairs(_) | Source::Nibbles(..) => piece.elements.div_ceil(2),
        };
        let streams = planes.each_mut().map(|planes| planes.sources[plane].stream());
        let streams = streams.map(|stream| stream.expect("blocks with the same description"));
        let room = count.next_multiple_of(streams[0].group_symbols());
        let symbols = buffers.each_mut().map(|buffers| &mut buffers.symbols[plane][..room]);
        // SAFETY: the caller's promise.
        unsafe { decode_streams(streams, symbols) };
    }
}

/// The planes of a block that is being decoded.
struct Planes<'a, L> {
    layout: ElementLayout,
    sources: [Source<'a, L>; MAX_WIDTH],
    width: usize,
    ranks: &'a RankValues,
    /// Escapes that have not come up.
    escapes: &'a [[u8; 4]],
    carried: usize,
}

/// Where a plane's bytes come from.
enum Source<'a, L> {
    /// All are the same; the plane's buffer is filled with them.
    Constant,
    /// Stored as they are.
    Raw(&'a [u8]),
    Symbols(Stream<'a, L>),
    Pairs(Stream<'a, L>),
    /// High nibbles, and the raw low ones.
    Nibbles(Stream<'a, L>, &'a [u8]),
}

impl<'a, L: Lanes> Planes<'a, L> {
    #[inline(always)]
    fn new(spec: &BlockSpec) -> Self {
        Self {
            layout: spec.layout,
            sources: [const { Source::Constant }; MAX_WIDTH],
            width: spec.planes().len(),
            ranks: &[0; RANKS],
            escapes: &[],
            carried: spec.carried_bytes(),
        }
    }

    /// Finds the planes of a block, and returns whether they are all right.
    ///
    /// # Safety
    ///
    /// See [`decode`].
    #[inline(always)]
    unsafe fn open(
        &mut self,
        spec: &BlockSpec,
        input: BlockInput<'a>,
        buffers: &mut PieceBuffers,
    ) -> bool {
        let BlockInput { tables, bytes: block } = input;
        let Ok(layout) = BlockLayout::read(spec, block) else { return false };
        for (plane, &coding) in spec.planes().iter().enumerate() {
            self.sources[plane] = match layout.parts[plane] {
                // Heads are coded by class, and such blocks do not come here.
                Part::InHeads => return false,
                Part::Constant(value) => {
                    buffers.symbols[plane].fill(value);
                    Source::Constant
                }
                Part::Raw { offset, length } => Source::Raw(&block[offset..][..length]),
                Part::Stream(part) => {
                    let Some(tables) = tables[plane] else {
                        panic!("no table for plane {plane}, which has a stream")
                    };
                    let states = &block[part.states_offset..part.words_offset];
                    let words = &block[part.words_offset..][..2 * part.words];
                    // SAFETY: the caller's promise.
                    let stream = unsafe { Stream::new(part.shape, tables, states, words) };
                    let Some(stream) = stream else { return false };
                    match coding {
                        PlaneCoding::NibblePairs => {
                            let raw = &block[part.raw_offset..][..part.raw_length];
                            Source::Nibbles(stream, raw)
                        }
                        PlaneCoding::Pairs => {
                            let escapes = &block[part.escapes_offset..][..4 * part.escapes];
                            self.escapes = escapes.as_chunks().0;
                            self.ranks = &tables.ranks;
                            Source::Pairs(stream)
                        }
                        _ => Source::Symbols(stream),
                    }
                }
            };
        }
        true
    }

    /// Makes a piece's elements of its symbols and raw bytes, and returns whether it is all right.
    ///
    /// # Safety
    ///
    /// See [`decode`].
    #[inline(always)]
    unsafe fn merge_piece(
        &mut self,
        piece: Piece,
        buffers: &mut PieceBuffers,
        out: &mut [u8],
    ) -> bool {
        let PieceBuffers { symbols, values, first } = buffers;
        let mut carried = [0; MAX_STATES_PER_LANE * LANES * size_of::<u16>()];
        let carried = &mut carried[..if piece.last { self.carried } else { 0 }];
        for (plane, source) in self.sources.iter_mut().enumerate().filter(|_| piece.last) {
            let carried = if plane + 1 == self.width { &mut *carried } else { &mut [] };
            // SAFETY: the caller's promise.
            if !source.stream().is_none_or(|stream| unsafe { stream.finish(carried) }) {
                return false;
            }
        }
        let pairs = piece.elements.div_ceil(2);
        if let Source::Nibbles(_, raw) = self.sources[0] {
            let raw = complete(&raw[piece.start / 2..], pairs, carried, first);
            merge_nibbles(self.layout, &symbols[0][..pairs], raw, out);
            return true;
        }
        let paired = matches!(self.sources[self.width - 1], Source::Pairs(_));
        if paired {
            let symbols = &symbols[self.width - 1];
            for (symbols, values) in
                symbols.as_chunks().0.iter().zip(values.as_chunks_mut().0).take(pairs.div_ceil(32))
            {
                // SAFETY: the caller's promise.
                unsafe { L::expand_pairs(self.ranks, symbols, values) };
            }
        }
        let mut rows: [&[u8]; MAX_WIDTH] = [&[]; MAX_WIDTH];
        for (plane, (row, source)) in rows[..self.width].iter_mut().zip(&self.sources).enumerate() {
            *row = match source {
                // Done below.
                Source::Raw(_) if plane == 0 => continue,
                Source::Raw(raw) => &raw[piece.start..][..piece.elements],
                Source::Pairs(_) => &values[..piece.elements],
                _ => &symbols[plane][..piece.elements],
            };
        }
        if let Source::Raw(raw) = self.sources[0] {
            rows[0] = complete(&raw[piece.start..], piece.elements, carried, first);
        }
        merge_rows(self.layout, &rows[..self.width], out);
        !paired || self.fill_in_escapes(piece, &symbols[self.width - 1][..pairs], out)
    }

    /// Puts the values of escaped pairs in, and returns whether they are those that the symbols
    /// announce.
    #[inline(always)]
    fn fill_in_escapes(&mut self, piece: Piece, symbols: &[u8], out: &mut [u8]) -> bool {
        let announced = count_escapes(symbols);
        if announced > self.escapes.len() {
            return false;
        }
        let (now, later) = self.escapes.split_at(announced);
        self.escapes = later;
        let mut next = piece.start / 2;
        for escape in now {
            let escape = Escape(u32::from_le_bytes(*escape));
            let pair = usize::from(escape.pair());
            if pair < next || symbols.get(pair - piece.start / 2) != Some(&ESCAPE_SYMBOL) {
                return false;
            }
            let at = 2 * pair - piece.start;
            let [first, second] = escape.values().to_le_bytes();
            if at + 1 == piece.elements && first != second {
                return false;
            }
            next = pair + 1;
            for (element, value) in (at..piece.elements).zip(escape.values().to_le_bytes()) {
                replace_top_byte(
                    self.layout,
                    &mut out[element * self.width..][..self.width],
                    value,
                );
            }
        }
        true
    }
}

impl<'a, L> Source<'a, L> {
    #[inline(always)]
    fn stream(&mut self) -> Option<&mut Stream<'a, L>> {
        match self {
            Self::Constant | Self::Raw(_) => None,
            Self::Symbols(stream) | Self::Pairs(stream) | Self::Nibbles(stream, _) => Some(stream),
        }
    }
}

/// How many symbols announce an escape. Counted in bytes, of which a register holds many.
#[inline(always)]
fn count_escapes(symbols: &[u8]) -> usize {
    let count = |part: &[u8]| -> u8 {
        part.iter().map(|&symbol| u8::from(symbol == ESCAPE_SYMBOL)).fold(0, u8::wrapping_add)
    };
    symbols.chunks(COUNTED_AT_ONCE).map(|part| usize::from(count(part))).sum()
}

/// The first `length` bytes of `stored`, where what is missing at its end is `carried`.
#[inline(always)]
fn complete<'a>(
    stored: &'a [u8],
    length: usize,
    carried: &[u8],
    room: &'a mut [u8; ROOM],
) -> &'a [u8] {
    if carried.is_empty() {
        return &stored[..length];
    }
    let (first, last) = room[..length].split_at_mut(length - carried.len());
    first.copy_from_slice(&stored[..first.len()]);
    last.copy_from_slice(carried);
    &room[..length]
}
