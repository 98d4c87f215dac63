//! Where a file is written to.

use std::io;
use std::path::Path;

use super::options::EncodeOptions;
use crate::error::{Error, Result};
use crate::format::{FileHeader, Footer, Index, SECTION_ALIGNMENT, encode_index};
use crate::hash::xxh3;
use crate::output::{Output, Piece, Rooms};

/// Where a `.wcodec` file is written to, front to back.
pub(super) struct Sink<'a> {
    output: &'a mut dyn Output,
    path: &'a Path,
    /// What sections are aligned to; the payload begins at the first multiple.
    alignment: u64,
    deflate_level: u8,
    written: u64,
}

impl<'a> Sink<'a> {
    pub(super) fn new(output: &'a mut dyn Output, path: &'a Path, options: &EncodeOptions) -> Self {
        Self {
            output,
            path,
            alignment: options.section_alignment as u64,
            deflate_level: options.profile.deflate_level(),
            written: 0,
        }
    }

    /// Bytes of payload written so far.
    pub(super) fn payload(&self) -> u64 {
        self.written - self.alignment
    }

    pub(super) fn put(&mut self, piece: Piece) -> Result<()> {
        self.written += piece.bytes().len() as u64;
        self.output.put(piece).map_err(|error| Error::io("write", self.path, error))
    }

    fn align(&mut self) -> Result<()> {
        let gap = self.written.next_multiple_of(self.alignment) - self.written;
        self.put(Piece::of(&[0; SECTION_ALIGNMENT as usize][..gap as usize]))
    }

    pub(super) fn write_header(&mut self) -> Result<()> {
        self.put(Piece::of(&FileHeader::bytes(self.alignment)))?;
        self.align()
    }

    /// Writes the index, and returns the bytes of the whole file.
    pub(super) fn finish(mut self, index: &Index) -> Result<u64> {
        let payload_bytes = self.payload();
        self.align()?;
        let stored = encode_index(index, payload_bytes, self.deflate_level, self.path)?;
        let footer = Footer {
            payload_bytes,
            index_offset: self.written,
            index_bytes: stored.bytes.len() as u64,
            inflated_index_bytes: stored.inflated_bytes,
            index_xxh3: xxh3(&stored.bytes),
        };
        let index_bytes = stored.bytes.len();
        self.put(Piece::new(stored.bytes, index_bytes))?;
        self.put(Piece::of(&footer.bytes()))?;
        self.flush()?;
        Ok(self.written)
    }

    /// Says how many of the original bytes have been encoded.
    pub(super) fn reach(&mut self, reached: u64) {
        self.output.reach(reached);
    }

    /// Has everything written that was put before, and the disk take it.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.output.flush().map_err(|error| Error::io("write", self.path, error))
    }
}

/// Appends what is written to memory.
pub(super) struct Memory<'a> {
    pub(super) bytes: &'a mut Vec<u8>,
    /// Where pieces come from.
    pub(super) rooms: &'a Rooms,
}

impl Output for Memory<'_> {
    fn put(&mut self, piece: Piece) -> io::Result<()> {
        self.bytes.extend_from_slice(piece.bytes());
        self.rooms.give_back(piece.into_memory());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
