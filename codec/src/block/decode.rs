//! The reference decoder of a block: plane by plane into scratch memory, then merged.

use super::layout::{BlockError, BlockLayout, Part, StreamPart};
use super::{BlockSpec, DecodeTables, PlaneCoding};
use crate::constants::{ESCAPE_SYMBOL, LANES, MAX_STATES_PER_LANE, MAX_WIDTH};
use crate::pair::{Escape, expand_all};
use crate::rans::decode_stream;
use crate::split::{merge_nibbles, merge_planes};

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
/// `scratch` has at least [`decode_scratch_bytes`] and `out` exactly
/// [`BlockSpec::decoded_bytes`]; other lengths, or a stream without tables, panic. Whatever
/// `block` holds, nothing outside of it is read. After an error `out` is unspecified.
pub fn decode_block(
    spec: &BlockSpec,
    tables: &BlockTables<'_>,
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
        let values = &mut planes[plane * spec.elements..][..spec.elements];
        match layout.parts[plane] {
            Part::Constant(value) => values.fill(value),
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
    planes[spec.elements - carried.len()..spec.elements].copy_from_slice(carried);
    merge_planes(spec.layout, planes, out);
    Ok(())
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
    let states = &block[stream.states_offset..stream.words_offset];
    let words = &block[stream.words_offset..][..2 * stream.words];
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
