//! A tensor that may be coded in tiles.

use codec::tile::NumberFormat;

use crate::encode::layout::element_layout;
use crate::format::NumberRecord;
use crate::safetensors::{Dtype, TensorEntry};

/// Elements of a row at most, so that 16 rows can be counted in 32 bits.
const MOST_COLUMNS: u64 = 1 << 24;

/// A tensor that may be coded in tiles.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) elements: usize,
    pub(super) format: NumberFormat,
    pub(super) number: NumberRecord,
    /// Whether plain elements are rotated by one bit.
    pub(super) rotated: bool,
    /// Elements of a row, at least one number.
    row_lengths: [u32; 2],
}

impl<'a> Subject<'a> {
    /// `None` for a tensor without rows, or whose elements are no numbers of one, two or four bytes.
    pub(super) fn new(entry: &TensorEntry, bytes: &'a [u8]) -> Option<Self> {
        let layout = element_layout(&entry.dtype);
        let number = number_of(&entry.dtype)?;
        let format = number.format(layout.width)?;
        let elements = bytes.len() / layout.width.bytes();
        let parts = if entry.dtype == Dtype::C64 { 2 } else { 1 };
        let row_lengths = row_lengths(&entry.shape, parts)?;
        Some(Self { bytes, elements, format, number, rotated: layout.rotated, row_lengths })
    }

    /// The lengths of rows to try, each once.
    pub(super) fn row_lengths(&self) -> impl Iterator<Item = u32> {
        let [first, second] = self.row_lengths;
        [Some(first), (second != first).then_some(second)].into_iter().flatten()
    }

    /// Bytes of an element.
    pub(super) fn width(&self) -> usize {
        self.format.width().bytes()
    }
}

fn number_of(dtype: &Dtype) -> Option<NumberRecord> {
    let float = |mantissa_bits| Some(NumberRecord::Float { mantissa_bits });
    match dtype {
        Dtype::I8 | Dtype::I16 | Dtype::I32 => Some(NumberRecord::Signed),
        Dtype::U8 | Dtype::U16 | Dtype::U32 => Some(NumberRecord::Unsigned),
        Dtype::F8E4M3 | Dtype::F8E4M3Fnuz => float(3),
        Dtype::F8E5M2 | Dtype::F8E5M2Fnuz => float(2),
        Dtype::F16 => float(10),
        Dtype::BF16 => float(7),
        Dtype::F32 | Dtype::C64 => float(23),
        _ => None,
    }
}

/// The last dimension, and the last two together: a filter's rows may be those of one channel, or of
/// all of them. Each number of the shape has so many `parts`.
fn row_lengths(shape: &[u64], parts: u64) -> Option<[u32; 2]> {
    let dimensions: Vec<u64> = shape.iter().copied().filter(|&length| length > 1).collect();
    let length = |count: usize| -> Option<u32> {
        let from = dimensions.len().checked_sub(count)?;
        let product = dimensions[from..].iter().try_fold(parts, |a, &b| a.checked_mul(b))?;
        (1..=MOST_COLUMNS).contains(&product).then_some(product as u32)
    };
    let last = length(1)?;
    // Of a matrix both dimensions together are all of it.
    let both = if dimensions.len() > 2 { length(2) } else { None };
    Some([last, both.unwrap_or(last)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_of_the_last_dimensions() {
        assert_eq!(row_lengths(&[512, 384], 1), Some([384, 384]));
        assert_eq!(row_lengths(&[96, 11, 11, 3], 1), Some([3, 33]));
        assert_eq!(row_lengths(&[1, 1, 80, 3000], 1), Some([3000, 3000]));
        assert_eq!(row_lengths(&[64, 32], 2), Some([64, 64]));
        assert_eq!(row_lengths(&[400], 1), Some([400, 400]));
        assert_eq!(row_lengths(&[1 << 40], 1), None);
        assert_eq!(row_lengths(&[], 1), None);
    }
}
