//! Where decoded elements go.
//!
//! In place, they are in the cache when a caller takes their checksum. But before a line is written for the
//! first time, a processor reads it, and what is written goes to memory later: of each byte, twice as much as
//! needs to be. Past the cache nothing is read, at the price of a copy: a piece is made in memory that stays in
//! the first-level cache, shown to the caller there, and copied while the symbols of the next one are decoded. Of
//! elements of four bytes that is less than what it saves; of two bytes it is more.

use core::ops::Range;

use super::lanes::{LINE_BYTES, Lanes};
use super::pieces::MAX_PIECE_ELEMENTS;
use super::prefetch::{self, ELEMENTS_AHEAD};
use crate::constants::MAX_WIDTH;

/// Where the elements of `B` blocks go that are decoded together, piece by piece. Positions are those of bytes
/// in a block's elements.
///
/// # Safety
///
/// Functions with a parameter `L` may be called only on a processor that has its instructions.
pub(super) trait Outputs<const B: usize> {
    /// Whether elements are made in the outputs. If not, they have several bytes, none of them nibbles: what is for
    /// others is not compiled, nor is anything for arrays.
    const IN_PLACE: bool;

    /// The outputs themselves.
    fn whole(&mut self) -> [&mut [u8]; B];

    /// Something that takes time, in small parts beside decoding: the symbols of the elements at `unit` have come
    /// up, in the piece that begins at `start`.
    unsafe fn beside<L: Lanes>(&mut self, b: usize, start: usize, unit: Range<usize>);

    /// Room for a piece. What it was before is unspecified.
    unsafe fn room<L: Lanes>(&mut self, b: usize, piece: Range<usize>) -> &mut [u8];

    /// The piece has been put there.
    unsafe fn complete<L: Lanes>(&mut self, b: usize, piece: Range<usize>);
}

/// Elements are made where they are to be.
pub(super) struct InPlace<'o, const B: usize> {
    outs: [&'o mut [u8]; B],
    /// Bytes of an element.
    width: usize,
}

impl<'o, const B: usize> InPlace<'o, B> {
    pub(super) fn new(outs: [&'o mut [u8]; B], width: usize) -> Self {
        Self { outs, width }
    }
}

impl<const B: usize> Outputs<B> for InPlace<'_, B> {
    const IN_PLACE: bool = true;

    #[inline(always)]
    fn whole(&mut self) -> [&mut [u8]; B] {
        self.outs.each_mut().map(|out| &mut **out)
    }

    /// Asks for the lines that are to be written, some way ahead.
    #[inline(always)]
    unsafe fn beside<L: Lanes>(&mut self, b: usize, _start: usize, unit: Range<usize>) {
        let ahead = ELEMENTS_AHEAD * self.width;
        if let Some(out) = self.outs[b].get(unit.start + ahead..unit.end + ahead) {
            prefetch::for_writing(out);
        }
    }

    #[inline(always)]
    unsafe fn room<L: Lanes>(&mut self, b: usize, piece: Range<usize>) -> &mut [u8] {
        &mut self.outs[b][piece]
    }

    #[inline(always)]
    unsafe fn complete<L: Lanes>(&mut self, _b: usize, _piece: Range<usize>) {}
}

/// Memory for a piece's elements.
#[derive(Clone)]
#[repr(align(64))]
pub struct PieceBytes([u8; MAX_PIECE_ELEMENTS * MAX_WIDTH]);

impl Default for PieceBytes {
    fn default() -> Self {
        Self([0; MAX_PIECE_ELEMENTS * MAX_WIDTH])
    }
}

/// Elements are made in memory that stays in the cache, and copied past it.
pub(super) struct PastCache<'o, F, const B: usize> {
    outs: [&'o mut [u8]; B],
    made: &'o mut [PieceBytes; B],
    /// The pieces that are in `made`.
    pieces: [Range<usize>; B],
    /// Up to where outputs are complete.
    copied: [usize; B],
    each_part: F,
}

/// Bytes of a block's last piece that are shown, and then copied, at a time: nothing is decoded beside that.
const LAST_PARTS: usize = 8 * LINE_BYTES;

impl<'o, F: FnMut(usize, &[u8]), const B: usize> PastCache<'o, F, B> {
    /// `each_part` is called with the number of a block and its next bytes.
    pub(super) fn new(
        outs: [&'o mut [u8]; B],
        made: &'o mut [PieceBytes; B],
        each_part: F,
    ) -> Self {
        Self { outs, made, pieces: [const { 0..0 }; B], copied: [0; B], each_part }
    }

    /// Copies what has been made of block `b` as far as the last line that ends at position `end` or before.
    /// Nothing but lines, so that no function is called for what there is less of.
    #[inline(always)]
    unsafe fn copy_lines<L: Lanes>(&mut self, b: usize, end: usize) {
        let (piece, start) = (&self.pieces[b], self.copied[b]);
        let bytes = end.min(piece.end).saturating_sub(start);
        let made = &self.made[b].0[start - piece.start..][..bytes];
        let out = &mut self.outs[b][start..][..bytes];
        for (line, bytes) in out.as_chunks_mut().0.iter_mut().zip(made.as_chunks().0) {
            // SAFETY: the caller's promise; what has been copied of a piece that is not complete ends where a
            // line does.
            unsafe { L::store_line(bytes, line) };
        }
        self.copied[b] = start + bytes - bytes % LINE_BYTES;
    }

    /// Copies what has been made of block `b` before position `end` and is less than a line, or begins before one.
    #[inline(always)]
    fn copy_rest(&mut self, b: usize, end: usize) {
        let (piece, start) = (&self.pieces[b], self.copied[b]);
        let made = &self.made[b].0[start - piece.start..end - piece.start];
        self.outs[b][start..end].copy_from_slice(made);
        self.copied[b] = end;
    }
}

impl<F: FnMut(usize, &[u8]), const B: usize> Outputs<B> for PastCache<'_, F, B> {
    const IN_PLACE: bool = false;

    #[inline(always)]
    fn whole(&mut self) -> [&mut [u8]; B] {
        self.outs.each_mut().map(|out| &mut **out)
    }

    /// Copies as much of the piece before.
    #[inline(always)]
    unsafe fn beside<L: Lanes>(&mut self, b: usize, start: usize, unit: Range<usize>) {
        let end = self.pieces[b].start + (unit.end - start);
        // SAFETY: the caller's promise.
        unsafe { self.copy_lines::<L>(b, end) };
    }

    #[inline(always)]
    unsafe fn room<L: Lanes>(&mut self, b: usize, piece: Range<usize>) -> &mut [u8] {
        let end = self.pieces[b].end;
        // SAFETY: the caller's promise.
        unsafe { self.copy_lines::<L>(b, end) };
        self.copy_rest(b, end);
        &mut self.made[b].0[..piece.len()]
    }

    #[inline(always)]
    unsafe fn complete<L: Lanes>(&mut self, b: usize, piece: Range<usize>) {
        let to_line = self.outs[b][piece.start..].as_ptr().align_offset(LINE_BYTES);
        self.pieces[b] = piece.clone();
        self.copy_rest(b, piece.end.min(piece.start.saturating_add(to_line)));
        if piece.end < self.outs[b].len() {
            (self.each_part)(b, &self.made[b].0[..piece.len()]);
            return;
        }
        for start in (0..piece.len()).step_by(LAST_PARTS) {
            let end = piece.len().min(start + LAST_PARTS);
            (self.each_part)(b, &self.made[b].0[start..end]);
            // SAFETY: the caller's promise.
            unsafe { self.copy_lines::<L>(b, piece.start + end) };
        }
        self.copy_rest(b, piece.end);
    }
}
