//! A block in pieces that stay in the first-level cache: symbols of every stream first, then
//! elements from all planes.

use core::ops::Range;

use super::lanes::Lanes;
use super::merge::merge_rows;
use super::outputs::Outputs;
use super::prefetch::{self, ELEMENTS_AHEAD};
use super::stream::{
    MAX_GROUP_SYMBOLS, Stream, decode as decode_streams, decode_bytes as decode_byte_streams,
    decode_nibbles as decode_nibble_streams,
};
use crate::block::{BlockLayout, BlockSpec, BlockTables, Part, PlaneCoding};
use crate::constants::{ESCAPE_SYMBOL, LANES, MAX_STATES_PER_LANE, MAX_WIDTH, RANKS};
use crate::pair::{Escape, RankValues};
use crate::split::{ElementLayout, merge_nibbles, replace_top_byte};

/// Elements of a piece, the last one aside: a whole number of groups, whatever the plan.
const PIECE_ELEMENTS: usize = 2048;
/// The last piece takes in a rest of so many, so that all elements whose bytes the states carry are in it: a
/// byte carries up to two.
const MOST_REST: usize = 2 * MAX_STATES_PER_LANE * LANES * size_of::<u16>();
pub(super) const MAX_PIECE_ELEMENTS: usize = PIECE_ELEMENTS + MOST_REST;
/// Symbols whose number fits into a byte.
const COUNTED_AT_ONCE: usize = 192;
/// Room for a piece's bytes of one plane, up to the end of a group.
const ROOM: usize = MAX_PIECE_ELEMENTS + MAX_GROUP_SYMBOLS;

const _: () = {
    assert!(PIECE_ELEMENTS.is_multiple_of(2 * MAX_GROUP_SYMBOLS));
    assert!(PIECE_ELEMENTS >= MOST_REST);
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
pub(super) unsafe fn decode<L: Lanes, O: Outputs<B>, const B: usize>(
    spec: &BlockSpec,
    blocks: [BlockInput<'_>; B],
    buffers: &mut [PieceBuffers; B],
    mut outs: O,
) -> bool {
    let sizes = outs.whole().each_ref().map(|out| out.len());
    assert_eq!(sizes, [spec.decoded_bytes(); B], "output of another size than the block");
    let mut planes: [Planes<'_>; B] = core::array::from_fn(|_| Planes::new(spec));
    let mut streams = [const { [const { None }; MAX_WIDTH] }; B];
    for b in 0..B {
        // SAFETY: the caller's promise.
        if !unsafe { planes[b].open::<L>(spec, blocks[b], &mut streams[b], &mut buffers[b]) } {
            return false;
        }
    }
    if O::IN_PLACE
        && let (ElementLayout::BYTES, Source::Symbols) = (spec.layout, &planes[0].sources[0])
    {
        let streams = streams.each_mut().map(|[stream, ..]| stream_of(stream));
        // SAFETY: the caller's promise.
        return unsafe { decode_bytes(streams, buffers, outs.whole()) };
    }
    let width = spec.layout.width.bytes();
    let mut start = 0;
    while start < spec.elements {
        let left = spec.elements - start;
        let last = left <= MAX_PIECE_ELEMENTS;
        let piece = Piece { start, elements: if last { left } else { PIECE_ELEMENTS }, last };
        // SAFETY: the caller's promise.
        let merged = unsafe { decode_piece(&planes, &mut streams, piece, buffers, &mut outs) };
        for b in 0..B {
            let bytes = width * start..width * (start + piece.elements);
            // SAFETY: the caller's promise.
            unsafe {
                let out = outs.room::<L>(b, bytes.clone());
                if !planes[b].finish(piece, merged, &streams[b], &mut buffers[b], out) {
                    return false;
                }
                outs.complete::<L>(b, bytes);
            }
        }
        start += piece.elements;
    }
    planes.iter().all(|planes| planes.escapes.is_empty())
}

/// Blocks whose symbols are their elements: these go to the output at once.
///
/// # Safety
///
/// See [`decode`].
#[inline(always)]
unsafe fn decode_bytes<L: Lanes, const B: usize>(
    mut streams: [&mut Stream<'_, L>; B],
    buffers: &mut [PieceBuffers; B],
    mut outs: [&mut [u8]; B],
) -> bool {
    let group = streams[0].group_symbols();
    let whole = outs[0].len() - outs[0].len() % group;
    let parts = outs.each_mut().map(|out| &mut out[..whole]);
    let mut rest = buffers.each_mut().map(|buffers| &mut buffers.symbols[0][..group]);
    // SAFETY: the caller's promise.
    unsafe {
        decode_byte_streams(streams.each_mut().map(|stream| &mut **stream), parts);
        if whole < outs[0].len() {
            let parts = rest.each_mut().map(|rest| &mut **rest);
            let streams = streams.each_mut().map(|stream| &mut **stream);
            decode_byte_streams(streams, parts);
        }
        for (out, rest) in outs.iter_mut().zip(rest) {
            let out = &mut out[whole..];
            out.copy_from_slice(&rest[..out.len()]);
        }
        streams.iter().all(|stream| stream.finish(&mut []))
    }
}

/// The symbols of a piece, from every stream of a plane at once. Returns how many elements are in the
/// output already, which those of nibbles are as far as these are not carried.
///
/// # Safety
///
/// See [`decode`].
#[inline(always)]
unsafe fn decode_piece<'a, L: Lanes, O: Outputs<B>, const B: usize>(
    planes: &[Planes<'a>; B],
    streams: &mut [[Option<Stream<'a, L>>; MAX_WIDTH]; B],
    piece: Piece,
    buffers: &mut [PieceBuffers; B],
    outs: &mut O,
) -> usize {
    let width = planes[0].width;
    for plane in 0..planes[0].width {
        let count = match planes[0].sources[plane] {
            Source::Constant | Source::Raw(_) => continue,
            Source::Symbols => piece.elements,
            Source::Pairs | Source::Nibbles(_) => piece.elements.div_ceil(2),
        };
        let streams = streams.each_mut().map(|streams| stream_of(&mut streams[plane]));
        let group = streams[0].group_symbols();
        let room = count.next_multiple_of(group);
        let symbols = buffers.each_mut().map(|buffers| &mut buffers.symbols[plane][..room]);
        if O::IN_PLACE
            && let Source::Nibbles(_) = planes[0].sources[plane]
        {
            // A carried byte has the nibbles of two elements, or of the last one alone.
            let carried = if piece.last { 2 * planes[0].carried } else { 0 };
            let complete = piece.elements.saturating_sub(carried);
            let merged = complete - complete % (2 * group);
            let mut outs = outs.whole().map(|out| &mut out[piece.start..]);
            // SAFETY: the caller's promise.
            unsafe {
                decode_nibble_streams(
                    streams,
                    symbols,
                    #[inline(always)]
                    |b, first, symbols| {
                        let (start, end) = (2 * first, 2 * (first + group));
                        if let Some(out) = outs[b][..merged].get_mut(start..end) {
                            let raw = planes[b].first_raw(piece.start + start);
                            merge_nibbles(planes[b].layout, symbols, raw, out);
                        }
                        let ahead = start + ELEMENTS_AHEAD..end + ELEMENTS_AHEAD;
                        prefetch::for_writing(outs[b].get(ahead).unwrap_or_default());
                        planes[b].prefetch(piece.start + start..piece.start + end);
                    },
                );
            }
            return merged;
        }
        let of_symbol = piece.elements.div_ceil(count);
        // SAFETY: the caller's promise.
        unsafe {
            decode_streams(
                streams,
                symbols,
                #[inline(always)]
                |b, first, symbols| {
                    let start = piece.start + of_symbol * first;
                    let elements = start..start + of_symbol * symbols.len();
                    let unit = width * elements.start..width * elements.end;
                    outs.beside::<L>(b, width * piece.start, unit);
                    planes[b].prefetch(elements);
                },
            );
        }
    }
    0
}

/// The planes of a block that is being decoded.
struct Planes<'a> {
    layout: ElementLayout,
    sources: [Source<'a>; MAX_WIDTH],
    width: usize,
    ranks: &'a RankValues,
    /// Escapes that have not come up.
    escapes: &'a [[u8; 4]],
    carried: usize,
}

/// Where a plane's bytes come from.
enum Source<'a> {
    /// All are the same; the plane's buffer is filled with them.
    Constant,
    /// Stored as they are.
    Raw(&'a [u8]),
    /// A stream of bytes.
    Symbols,
    /// A stream of pairs.
    Pairs,
    /// A stream of high nibbles, and the raw low ones.
    Nibbles(&'a [u8]),
}

impl<'a> Planes<'a> {
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

    /// Finds the planes of a block and their streams, and returns whether they are all right.
    ///
    /// # Safety
    ///
    /// See [`decode`].
    #[inline(always)]
    unsafe fn open<L: Lanes>(
        &mut self,
        spec: &BlockSpec,
        input: BlockInput<'a>,
        streams: &mut [Option<Stream<'a, L>>; MAX_WIDTH],
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
                    streams[plane] = unsafe { Stream::new(part.shape, tables, states, words) };
                    if streams[plane].is_none() {
                        return false;
                    }
                    match coding {
                        PlaneCoding::NibblePairs => {
                            Source::Nibbles(&block[part.raw_offset..][..part.raw_length])
                        }
                        PlaneCoding::Pairs => {
                            let escapes = &block[part.escapes_offset..][..4 * part.escapes];
                            self.escapes = escapes.as_chunks().0;
                            self.ranks = &tables.ranks;
                            Source::Pairs
                        }
                        _ => Source::Symbols,
                    }
                }
            };
        }
        true
    }

    /// The raw bytes of plane 0, or the raw nibbles, from element `start` on.
    #[inline(always)]
    fn first_raw(&self, start: usize) -> &'a [u8] {
        match self.sources[0] {
            Source::Raw(raw) => &raw[start..],
            Source::Nibbles(raw) => &raw[start / 2..],
            _ => &[],
        }
    }

    /// Asks for what elements are made of, some way ahead of `elements`.
    #[inline(always)]
    fn prefetch(&self, elements: Range<usize>) {
        let elements = elements.start + ELEMENTS_AHEAD..elements.end + ELEMENTS_AHEAD;
        for source in &self.sources[..self.width] {
            let raw = match source {
                Source::Raw(raw) => raw.get(elements.clone()),
                Source::Nibbles(raw) => raw.get(elements.start / 2..elements.end / 2),
                Source::Constant | Source::Symbols | Source::Pairs => None,
            };
            if let Some(raw) = raw {
                prefetch::for_reading(raw);
            }
        }
    }

    /// Makes the elements from `start` on, as many as `out` has room for. `first_raw` is what
    /// [`Planes::first_raw`] gives, made complete, and `rows` has what is in each plane's buffer, that of
    /// pairs up to a multiple of [`LANES`].
    ///
    /// # Safety
    ///
    /// See [`decode`].
    #[inline(always)]
    unsafe fn merge<'r, L: Lanes>(
        &'r self,
        start: usize,
        first_raw: &'r [u8],
        mut rows: [&'r [u8]; MAX_WIDTH],
        values: &'r mut [u8; ROOM],
        out: &mut [u8],
    ) {
        let elements = out.len() / self.width;
        if let Source::Nibbles(_) = self.sources[0] {
            let pairs = elements.div_ceil(2);
            merge_nibbles(self.layout, &rows[0][..pairs], &first_raw[..pairs], out);
            return;
        }
        let rows = &mut rows[..self.width];
        if let Source::Pairs = self.sources[self.width - 1] {
            let row = &mut rows[self.width - 1];
            let both = row.as_chunks().0.iter().zip(values.as_chunks_mut().0);
            for (symbols, values) in both.take(elements.div_ceil(2 * LANES)) {
                // SAFETY: the caller's promise.
                unsafe { L::expand_pairs(self.ranks, symbols, values) };
            }
            *row = values;
        }
        for (plane, (row, source)) in rows.iter_mut().zip(&self.sources).enumerate() {
            *row = match source {
                Source::Raw(_) if plane == 0 => &first_raw[..elements],
                Source::Raw(raw) => &raw[start..][..elements],
                _ => &row[..elements],
            };
        }
        // SAFETY: the caller's promise.
        unsafe { merge_rows::<L>(self.layout, rows, out) };
    }

    /// Makes the elements of a piece that have not been `merged`, fills in what is escaped, and returns
    /// whether all is right.
    ///
    /// # Safety
    ///
    /// See [`decode`].
    #[inline(always)]
    unsafe fn finish<L: Lanes>(
        &mut self,
        piece: Piece,
        merged: usize,
        streams: &[Option<Stream<'a, L>>; MAX_WIDTH],
        buffers: &mut PieceBuffers,
        out: &mut [u8],
    ) -> bool {
        let PieceBuffers { symbols, values, first } = buffers;
        let mut carried = [0; MAX_STATES_PER_LANE * LANES * size_of::<u16>()];
        let carried = &mut carried[..if piece.last { self.carried } else { 0 }];
        for (plane, stream) in streams.iter().enumerate().filter(|_| piece.last) {
            let carried = if plane + 1 == self.width { &mut *carried } else { &mut [] };
            // SAFETY: the caller's promise.
            if stream.as_ref().is_some_and(|stream| !unsafe { stream.finish(carried) }) {
                return false;
            }
        }
        if merged < piece.elements {
            let start = piece.start + merged;
            let first_raw = match self.sources[0] {
                Source::Nibbles(_) => {
                    let pairs = (piece.elements - merged).div_ceil(2);
                    complete(self.first_raw(start), pairs, carried, first)
                }
                Source::Raw(_) => {
                    complete(self.first_raw(start), piece.elements - merged, carried, first)
                }
                _ => &[],
            };
            let mut rows: [&[u8]; MAX_WIDTH] = [&[]; MAX_WIDTH];
            for ((row, all), source) in rows.iter_mut().zip(&*symbols).zip(&self.sources) {
                let per_symbol = match source {
                    Source::Pairs | Source::Nibbles(_) => 2,
                    _ => 1,
                };
                *row = &all[merged / per_symbol..];
            }
            let out = &mut out[merged * self.width..];
            // SAFETY: the caller's promise.
            unsafe { self.merge::<L>(start, first_raw, rows, values, out) };
        }
        let last = self.width - 1;
        let Source::Pairs = self.sources[last] else { return true };
        self.fill_in_escapes(piece, &symbols[last][..piece.elements.div_ceil(2)], out)
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

/// The stream of a plane that has one in all blocks, since they have the same description.
#[inline(always)]
fn stream_of<'s, 'a, L>(stream: &'s mut Option<Stream<'a, L>>) -> &'s mut Stream<'a, L> {
    stream.as_mut().expect("blocks with the same description")
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
