//! Which bytes of a tensor are wanted, as rows of a matrix of bytes.

use std::ops::Range;

/// The same columns of every row of a tensor's bytes: what a slice along any dimension is. The rows
/// are everything before that dimension, a row's bytes that dimension and all behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Bytes of a row, at least 1.
    pub(crate) pitch: u64,
    /// The first wanted byte of each row.
    pub(crate) start: u64,
    /// Wanted bytes of each row; they end within it.
    pub(crate) width: u64,
    /// Number of rows.
    pub(crate) count: u64,
}

/// A rectangle of bytes that is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rectangle {
    /// Its first byte, counted from the start of the decoded bytes that it is taken of.
    pub(crate) from: u64,
    /// Where that goes, counted from the start of the slice.
    pub(crate) to: u64,
    /// Bytes of each of its rows, at least 1.
    pub(crate) width: u64,
    /// Rows, at least 1.
    pub(crate) height: u64,
}

impl Rows {
    /// All of a tensor of so many bytes.
    pub(crate) fn all(bytes: u64) -> Self {
        Self::run(bytes, 0..bytes)
    }

    /// A run of bytes of a tensor of so many.
    pub(crate) fn run(bytes: u64, wanted: Range<u64>) -> Self {
        let (start, width) = (wanted.start, wanted.end - wanted.start);
        Self { pitch: bytes.max(1), start, width, count: 1 }
    }

    /// Bytes of the slice.
    pub(crate) fn byte_len(&self) -> u64 {
        self.width * self.count
    }

    /// Where the bytes `range` of the tensor go, all of which are wanted and follow one another in
    /// the slice; `None` if that is not so.
    pub(crate) fn contiguous(&self, range: &Range<u64>) -> Option<u64> {
        let wanted = self.start..self.start + self.width;
        let is_inside = wanted.start <= range.start && range.end <= wanted.end;
        (self.count == 1 && is_inside).then(|| range.start - wanted.start)
    }

    /// What is wanted of the bytes `range` of the tensor: the rest of a row, whole rows, and the begin
    /// of another row.
    pub(crate) fn rectangles(&self, range: &Range<u64>) -> impl Iterator<Item = Rectangle> + use<> {
        let mut rectangles = [None; 3];
        if !range.is_empty() && self.width > 0 {
            let (first, last) = (range.start / self.pitch, (range.end - 1) / self.pitch);
            rectangles[0] = self.part_of_row(first, range);
            let row = first + 1;
            rectangles[1] = (last > row).then(|| Rectangle {
                from: row * self.pitch + self.start - range.start,
                to: row * self.width,
                width: self.width,
                height: last - row,
            });
            rectangles[2] = (last > first).then(|| self.part_of_row(last, range)).flatten();
        }
        rectangles.into_iter().flatten()
    }

    fn part_of_row(&self, row: u64, range: &Range<u64>) -> Option<Rectangle> {
        let start = row * self.pitch + self.start;
        let (from, to) = (range.start.max(start), range.end.min(start + self.width));
        (from < to).then(|| Rectangle {
            from: from - range.start,
            to: row * self.width + (from - start),
            width: to - from,
            height: 1,
        })
    }

    /// Whether any of the bytes `range` of the tensor are wanted.
    pub(crate) fn want(&self, range: &Range<u64>) -> bool {
        self.rectangles(range).next().is_some()
    }

    /// Copies what is wanted of `decoded`, the bytes of the tensor from `first` on, to the slice `out`.
    pub(crate) fn copy(&self, decoded: &[u8], first: u64, out: &mut [u8]) {
        let range = first..first + decoded.len() as u64;
        for Rectangle { from, to, width, height } in self.rectangles(&range) {
            let (mut from, mut to) = (from as usize, to as usize);
            for _ in 0..height {
                out[to..][..width as usize].copy_from_slice(&decoded[from..][..width as usize]);
                from += self.pitch as usize;
                to += self.width as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cut of a tensor into pieces gives the same slice, and `want` says which pieces matter.
    #[test]
    fn pieces_of_any_length_make_up_the_slice() {
        for (pitch, start, width, count) in [
            (12, 0, 12, 5),
            (12, 3, 4, 5),
            (12, 11, 1, 5),
            (60, 13, 40, 1),
            (12, 5, 0, 5),
            (1, 0, 1, 60),
        ] {
            let rows = Rows { pitch, start, width, count };
            let bytes: Vec<u8> = (0..60).collect();
            let expected: Vec<u8> = (0..count)
                .flat_map(|row| {
                    let at = (row * pitch + start) as usize;
                    bytes[at..at + width as usize].to_vec()
                })
                .collect();
            assert_eq!(expected.len() as u64, rows.byte_len());
            for piece in 1..=60 {
                let mut out = vec![255; expected.len()];
                for (number, part) in bytes.chunks(piece).enumerate() {
                    let first = (number * piece) as u64;
                    let range = first..first + part.len() as u64;
                    rows.copy(part, first, &mut out);
                    let wanted = part.iter().any(|byte| expected.contains(byte));
                    assert_eq!(rows.want(&range), wanted, "{rows:?}, {range:?}");
                    if let Some(at) = rows.contiguous(&range) {
                        assert_eq!(&expected[at as usize..][..part.len()], part);
                    }
                }
                assert_eq!(out, expected, "{rows:?} in pieces of {piece}");
            }
        }
    }
}
