//! The reference decoder of a block: plane by plane into scratch memory, then merged.

use super::layout::{BlockError, BlockLayout, Part, StreamPart};
use super::{BlockSpec, DecodeTables, PlaneClasses, PlaneCoding};
use crate::constants::{ESCAPE_SYMBOL, LANES, MAX_STATES_PER_LANE, MAX_WIDTH};
use crate::pair::{Escape, expand_all};
use crate::rans::{
    DecodeTable, MixedTables, StreamError, StreamShape, decode_mixed_stream, decode_stream,
    is_escaped_head,
};
use crate::split::{exponent_of, merge_heads, merge_nibbles, merge_planes};

/// The tables of each plane that has a stream.
pub type BlockTables<'a> = [Option<&'a DecodeTables>; MAX_WIDTH];

/// Bytes of scratch memory that [`decode_block`] needs: the planes, and the symbols of one or the
/// raw nibbles.
pub const fn decode_scratch_bytes(spec: &BlockSpec) -> usize {
    spec.decoded_bytes() + spec.elements
}

/// The most bytes that the states of a stream carry.
const MAX_CARRIED_BYTES: usize = MAX_STATES_PER_LANE * LANES * size_of::<u16>();

/// Decodes `block` into `out`.
///
/// `classes` are those of the planes that are coded by class. `scratch` has at least
/// [`decode_scratch_bytes`] and `out` exactly [`BlockSpec::decoded_bytes`]; other lengths, or a
/// stream without tables, panic. Whatever `block` holds, nothing outside of it is read. After an
/// error `out` is unspecified.
pub fn decode_block(
    spec: &BlockSpec,
    tables: &BlockTables<'_>,
    classes: &PlaneClasses<'_, DecodeTable>,
    block: &[u8],
    scratch: &mut [u8],
    out: &mut [u8],
) -> Result<(), BlockError> {
    decode_block_by(Reference, spec, (tables, classes), block, scratch, out)
}

/// The part of decoding that has a faster way than the reference's.
pub(crate) trait MixedDecoder: Copy {
    /// See [`decode_mixed_stream`].
    #[allow(clippy::too_many_arguments, reason = "those of the reference")]
    fn decode_mixed_stream(
        self,
        shape: StreamShape,
        tables: MixedTables<'_, DecodeTable>,
        states: &[u8],
        words: &[u8],
        symbols: &mut [u8],
        tails: Option<&mut [u8]>,
        carried: &mut [u8],
    ) -> Result<(), StreamError>;
}

#[derive(Clone, Copy)]
struct Reference;

impl MixedDecoder for Reference {
    fn decode_mixed_stream(
        self,
        shape: StreamShape,
        tables: MixedTables<'_, DecodeTable>,
        states: &[u8],
        words: &[u8],
        symbols: &mut [u8],
        tails: Option<&mut [u8]>,
        carried: &mut [u8],
    ) -> Result<(), StreamError> {
        decode_mixed_stream(shape, tables, states, words, symbols, tails, carried)
    }
}

/// [`decode_block`], streams with several tables by way of `by`.
#[inline(always)]
pub(crate) fn decode_block_by(
    by: impl MixedDecoder,
    spec: &BlockSpec,
    (tables, classes): (&BlockTables<'_>, &PlaneClasses<'_, DecodeTable>),
    block: &[u8],
    scratch: &mut [u8],
    out: &mut [u8],
) -> Result<(), BlockError> {
    assert_eq!(out.len(), spec.decoded_bytes(), "output of another size than the block");
    let layout = BlockLayout::read(spec, block)?;
    let (planes, symbols) = scratch[..decode_scratch_bytes(spec)].split_at_mut(out.len());
    if let (PlaneCoding::NibblePairs, Part::Stream(stream)) = (spec.planes[0], layout.parts[0]) {
        let symbols = &mut symbols[..stream.shape.symbols];
        let raw = &mut planes[..stream.shape.symbols];
        let (stored, carried) = raw.split_at_mut(stream.raw_length);
        stored.copy_from_slice(&block[stream.raw_offset..][..stream.raw_length]);
        decode_symbols(0, &stream, tables, block, symbols, carried)?;
        merge_nibbles(spec.layout, symbols, raw, out);
        return Ok(());
    }
    let mut carried = [0; MAX_CARRIED_BYTES];
    let carried = &mut carried[..spec.carried_bytes()];
    for (plane, &coding) in spec.planes().iter().enumerate() {
        // Only the last plane's stream carries bytes.
        let carried = if plane + 1 == spec.planes().len() { &mut *carried } else { &mut [] };
        let (below, values) = planes.split_at_mut(plane * spec.elements);
        let values = &mut values[..spec.elements];
        match layout.parts[plane] {
            Part::InHeads => {}
            Part::Constant(value) => values.fill(value),
            Part::Stream(stream) if matches!(coding, PlaneCoding::Heads { .. }) => {
                let below = &mut below[(plane - 1) * spec.elements..];
                let classes = classes_of(classes, plane);
                decode_heads(by, spec, (&stream, classes), block, symbols, [below, values])?;
            }
            Part::Stream(stream) if coding == PlaneCoding::Classes => {
                let classes = classes_of(classes, plane);
                let (states, words) = stream.bytes(block);
                by.decode_mixed_stream(stream.shape, classes, states, words, values, None, carried)
                    .map_err(|error| BlockError::Stream { plane, error })?;
            }
            Part::Raw { offset, length } => {
                values[..length].copy_from_slice(&block[offset..][..length]);
            }
            Part::Stream(stream) if coding == PlaneCoding::Pairs => {
                let symbols = &mut symbols[..stream.shape.symbols];
                decode_symbols(plane, &stream, tables, block, symbols, carried)?;
                expand_pairs(tables_of(tables, plane), symbols, values);
                let escapes = &block[stream.escapes_offset..][..4 * stream.escapes];
                fill_in_escapes(escapes, symbols, values)?;
            }
            Part::Stream(stream) => {
                decode_symbols(plane, &stream, tables, block, values, carried)?;
            }
        }
    }
    if spec.has_heads() {
        merge_heads(spec.layout.width, planes, out);
        return Ok(());
    }
    planes[spec.elements - carried.len()..spec.elements].copy_from_slice(carried);
    merge_planes(spec.layout, planes, out);
    Ok(())
}

/// Decodes the plane of exponents and the one below it from heads and raw nibbles.
#[inline(always)]
fn decode_heads(
    by: impl MixedDecoder,
    spec: &BlockSpec,
    (stream, classes): (&StreamPart, MixedTables<'_, DecodeTable>),
    block: &[u8],
    heads: &mut [u8],
    [below, exponents]: [&mut [u8]; 2],
) -> Result<(), BlockError> {
    let plane = spec.planes().len() - 1;
    let PlaneCoding::Heads { base } = spec.planes[plane] else { return Err(BlockError::Spec) };
    let (stored, carried) = below[..spec.elements.div_ceil(2)].split_at_mut(stream.raw_length);
    stored.copy_from_slice(&block[stream.raw_offset..][..stream.raw_length]);
    let (states, words) = stream.bytes(block);
    let tails = Some(&mut *exponents);
    by.decode_mixed_stream(stream.shape, classes, states, words, heads, tails, carried)
        .map_err(|error| BlockError::Stream { plane, error })?;
    // From the end on, so that no packed nibble is overwritten before its elements have it.
    for (number, &head) in heads.iter().enumerate().rev() {
        let nibble = below[number / 2] >> (number % 2 * 4) & 15;
        below[number] = head << 4 | nibble;
        if !is_escaped_head(head) {
            exponents[number] = exponent_of(head, base);
        }
    }
    Ok(())
}

fn classes_of<'a>(
    classes: &PlaneClasses<'a, DecodeTable>,
    plane: usize,
) -> MixedTables<'a, DecodeTable> {
    match classes[plane] {
        Some(classes) => classes,
        None => panic!("no classes for plane {plane}, which is coded by class"),
    }
}

fn tables_of<'a>(tables: &BlockTables<'a>, plane: usize) -> &'a DecodeTables {
    match tables[plane] {
        Some(tables) => tables,
        None => panic!("no table for plane {plane}, which has a stream"),
    }
}

fn decode_symbols(
    plane: usize,
    stream: &StreamPart,
    tables: &BlockTables<'_>,
    block: &[u8],
    out: &mut [u8],
    carried: &mut [u8],
) -> Result<(), BlockError> {
    let table = &tables_of(tables, plane).table;
    let (states, words) = stream.bytes(block);
    decode_stream(stream.shape, table, states, words, out, carried)
        .map_err(|error| BlockError::Stream { plane, error })
}

fn expand_pairs(tables: &DecodeTables, symbols: &[u8], values: &mut [u8]) {
    let expanded = expand_all(&tables.ranks);
    for (pair, &symbol) in values.chunks_mut(2).zip(symbols) {
        pair.copy_from_slice(&expanded[usize::from(symbol)].to_le_bytes()[..pair.len()]);
    }
}

/// Fills in the values of the escaped pairs: exactly those whose symbol says so, in order.
fn fill_in_escapes(escapes: &[u8], symbols: &[u8], values: &mut [u8]) -> Result<(), BlockError> {
    let escapes = escapes.as_chunks::<4>().0;
    let escaped = symbols.iter().filter(|&&symbol| symbol == ESCAPE_SYMBOL).count();
    if escaped != escapes.len() {
        return Err(BlockError::Escape { index: escaped.min(escapes.len()) });
    }
    let mut next = 0;
    for (index, bytes) in escapes.iter().enumerate() {
        let escape = Escape(u32::from_le_bytes(*bytes));
        let pair = usize::from(escape.pair());
        if pair < next || symbols.get(pair) != Some(&ESCAPE_SYMBOL) {
            return Err(BlockError::Escape { index });
        }
        let (at, [first, second]) = (2 * pair, escape.values().to_le_bytes());
        if at + 1 == values.len() && first != second {
            return Err(BlockError::Escape { index });
        }
        next = pair + 1;
        let target = values[2 * pair..].iter_mut().take(2);
        target.zip(escape.values().to_le_bytes()).for_each(|(byte, value)| *byte = value);
    }
    Ok(())
}
