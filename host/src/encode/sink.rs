//! Where a file is written to.

use std::io::Write;
use std::path::Path;

use super::options::EncodeOptions;
use crate::error::{Error, Result};
use crate::format::{FileHeader, Footer, Index, SECTION_ALIGNMENT, encode_index};
use crate::hash::xxh3;

/// Where a `.wcodec` file is written to, front to back.
pub(super) struct Sink<'a, W> {
    writer: W,
    path: &'a Path,
    /// What sections are aligned to; the payload begins at the first multiple.
    alignment: u64,
    deflate_level: u8,
    pub(super) written: u64,
}

impl<'a, W: Write> Sink<'a, W> {
    pub(super) fn new(writer: W, path: &'a Path, options: &EncodeOptions) -> Self {
        Self {
            writer,
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

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(|error| Error::io("write", self.path, error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn align(&mut self) -> Result<()> {
        let gap = self.written.next_multiple_of(self.alignment) - self.written;
        self.write(&[0; SECTION_ALIGNMENT as usize][..gap as usize])
    }

    pub(super) fn write_header(&mut self) -> Result<()> {
        self.write(&FileHeader::bytes(self.alignment))?;
        self.align()
    }

    pub(super) fn write_index(&mut self, index: &Index) -> Result<()> {
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
        self.write(&stored.bytes)?;
        self.write(&footer.bytes())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.writer.flush().map_err(|error| Error::io("write", self.path, error))
    }
}
