//! A tensor as a matrix of symbols.

use codec::constants::HEAD_EXPONENTS;
use codec::split::{ElementLayout, Width, head_symbol_16, head_symbol_32};

use crate::encode::layout::element_layout;
use crate::safetensors::{Dtype, TensorEntry};

/// Elements that a tensor must have for classes to be worth their own bytes.
const LEAST_ELEMENTS: usize = 1 << 14;
/// A last dimension of fewer elements than this is part of a longer row: it is a kernel's width, or
/// a pair of numbers.
const LEAST_COLUMNS: u64 = 32;

/// What of an element is coded by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SymbolKind {
    /// The top byte of the (rotated) element, or an element of one byte as it is.
    TopByte,
    /// The head of a floating-point number with an exponent of 8 bits, counted from `base`.
    Head {
        /// The exponent of the lowest heads.
        base: u8,
    },
}

/// A tensor whose elements may be coded by class.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) tensor: usize,
    pub(super) layout: ElementLayout,
    pub(super) symbols: SymbolKind,
    pub(super) bytes: &'a [u8],
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl<'a> Subject<'a> {
    /// `None` for a tensor that is small, no matrix, or of a type whose values have no scale.
    pub(super) fn new(tensor: usize, entry: &TensorEntry, bytes: &'a [u8]) -> Option<Self> {
        let layout = element_layout(&entry.dtype);
        let elements = bytes.len() / layout.width.bytes();
        let columns = row_length(&entry.shape, elements)?;
        if elements < LEAST_ELEMENTS {
            return None;
        }
        let symbols = match (&entry.dtype, layout.width) {
            (Dtype::BF16 | Dtype::F32, _) => SymbolKind::Head { base: head_base(layout, bytes) },
            (Dtype::Bool, _) => return None,
            (_, Width::One) | (Dtype::F16, _) => SymbolKind::TopByte,
            _ => return None,
        };
        Some(Self { tensor, layout, symbols, bytes, rows: elements / columns, columns })
    }

    /// What tensors that may share tables have in common.
    pub(super) fn kind(&self, entry: &TensorEntry) -> String {
        match self.symbols {
            SymbolKind::Head { .. } => "head".to_owned(),
            SymbolKind::TopByte => entry.dtype.name().to_owned(),
        }
    }

    /// The symbols of some rows, one after the other, written to `out` in place of what it held.
    pub(super) fn symbols(&self, rows: std::ops::Range<usize>, out: &mut Vec<u8>) {
        let row_bytes = self.columns * self.layout.width.bytes();
        let bytes = &self.bytes[rows.start * row_bytes..rows.end * row_bytes];
        let rotation = u32::from(self.layout.rotated);
        out.clear();
        match (self.symbols, self.layout.width) {
            (SymbolKind::Head { base }, Width::Two) => out.extend(
                bytes.as_chunks().0.iter().map(|e| head_symbol_16(u16::from_le_bytes(*e), base)),
            ),
            (SymbolKind::Head { base }, _) => out.extend(
                bytes.as_chunks().0.iter().map(|e| head_symbol_32(u32::from_le_bytes(*e), base)),
            ),
            (SymbolKind::TopByte, Width::One) => out.extend_from_slice(bytes),
            (SymbolKind::TopByte, _) => {
                let top = |e: &[u8; 2]| (u16::from_le_bytes(*e).rotate_left(rotation) >> 8) as u8;
                out.extend(bytes.as_chunks().0.iter().map(top));
            }
        }
    }

    /// The bit of a symbol that is the element's sign, as far as one can tell.
    pub(super) fn sign_bit(&self) -> u32 {
        match self.symbols {
            SymbolKind::Head { .. } => 0,
            SymbolKind::TopByte if self.layout.rotated && self.layout.width != Width::One => 0,
            SymbolKind::TopByte => 7,
        }
    }
}

/// Elements of a row of the matrix that a tensor is taken as.
fn row_length(shape: &[u64], elements: usize) -> Option<usize> {
    let (&last, others) = shape.split_last()?;
    let first = *others.first()?;
    // Packed types have fewer bytes in a row than the shape has numbers, so that rows are counted.
    let rows = if last >= LEAST_COLUMNS { others.iter().product() } else { first };
    let rows = usize::try_from(rows).ok().filter(|&rows| rows >= 2)?;
    let columns = elements / rows;
    let whole = elements.is_multiple_of(rows);
    (whole && (2..1 << 31).contains(&columns)).then_some(columns)
}

/// The base from which heads can name the most exponents: found on a sample.
fn head_base(layout: ElementLayout, bytes: &[u8]) -> u8 {
    const SPAN: usize = 1 << 12;
    const SAMPLED: usize = 1 << 16;
    let width = layout.width.bytes();
    let stride = (bytes.len() / width).div_ceil(SAMPLED).max(1);
    let mut counts = [0u64; 256];
    for span in bytes.chunks(SPAN * width).step_by(stride) {
        for element in span.chunks_exact(width) {
            let top = u16::from_le_bytes([element[width - 2], element[width - 1]]);
            counts[usize::from(top >> 7 & 0xFF)] += 1;
        }
    }
    let window = usize::from(HEAD_EXPONENTS);
    let named = |base: usize| -> u64 { counts[base..base + window].iter().sum() };
    // Of equals the highest, so that small numbers, the rarer ones, have room to come.
    (0..=256 - window).max_by_key(|&base| named(base)).unwrap_or(0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_the_last_dimension_unless_it_is_short() {
        assert_eq!(row_length(&[30522, 384], 30522 * 384), Some(384));
        assert_eq!(row_length(&[8, 64, 128], 8 * 64 * 128), Some(128));
        assert_eq!(row_length(&[64, 32, 3, 3], 64 * 32 * 9), Some(32 * 9));
        // Two numbers of four bits a byte.
        assert_eq!(row_length(&[100, 512], 100 * 256), Some(256));
        assert_eq!(row_length(&[384], 384), None);
        assert_eq!(row_length(&[], 1), None);
        assert_eq!(row_length(&[4, 0], 0), None);
    }

    #[test]
    fn the_window_of_heads_lies_where_most_exponents_are() {
        let bytes: Vec<u8> =
            (0..4096u32).flat_map(|i| (((100 + i % 15) as u16) << 7 | 5).to_le_bytes()).collect();
        let layout = ElementLayout { width: Width::Two, rotated: true };
        assert_eq!(head_base(layout, &bytes), 100);
    }
}
