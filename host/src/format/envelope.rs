//! The fixed parts of a file: 64 bytes at its start and 64 at its end.

use std::path::Path;

use super::corrupt;
use super::limits::{
    MAX_INDEX_BYTES, MAX_INDEX_INFLATION, MAX_UNPAID_INDEX_BYTES, NEWEST_READABLE_VERSION, VERSION,
};
use crate::error::{Error, Result};
use crate::hash::xxh3;

/// What the starts of sections are multiples of, unless a file's header says less.
pub(crate) const SECTION_ALIGNMENT: u64 = 4096;
/// The least that sections may be aligned to, which is the size of the header.
pub(crate) const MIN_SECTION_ALIGNMENT: u64 = FileHeader::BYTES as u64;

const HEADER_MAGIC: [u8; 8] = *b"\x89WCODEC\n";
const FOOTER_MAGIC: [u8; 8] = *b"WCODECix";

/// The first 64 bytes: magic, version, how often the section alignment is halved, zeros.
pub(crate) struct FileHeader;

impl FileHeader {
    pub(crate) const BYTES: usize = 64;

    /// Whether a file begins like a `.wcodec` file.
    pub(crate) fn begins(file: &[u8]) -> bool {
        file.starts_with(&HEADER_MAGIC)
    }

    /// Where the alignment's byte lies.
    const HALVINGS_AT: usize = 12;

    /// The header of a file whose sections are aligned to `alignment`, a power of two from
    /// [`MIN_SECTION_ALIGNMENT`] to [`SECTION_ALIGNMENT`].
    pub(crate) fn bytes(alignment: u64) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&HEADER_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[Self::HALVINGS_AT] = (SECTION_ALIGNMENT / alignment).ilog2() as u8;
        bytes
    }

    /// The alignment that a header names.
    fn alignment(header: &[u8; Self::BYTES]) -> Option<u64> {
        let alignment = SECTION_ALIGNMENT.checked_shr(header[Self::HALVINGS_AT].into())?;
        (alignment >= MIN_SECTION_ALIGNMENT).then_some(alignment)
    }
}

/// The last 64 bytes: where the index lies, and its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) payload_bytes: u64,
    pub(crate) index_offset: u64,
    /// Bytes of the index as stored.
    pub(crate) index_bytes: u64,
    /// Bytes of the index once inflated; the same as stored when it is stored as it is.
    pub(crate) inflated_index_bytes: u64,
    /// xxh3 of the index as stored.
    pub(crate) index_xxh3: u64,
}

impl Footer {
    pub(crate) const BYTES: usize = 64;

    /// Six u64 fields (the five of the struct and the version), the checksum of them, the magic.
    pub(crate) fn bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let fields = [
            self.payload_bytes,
            self.index_offset,
            self.index_bytes,
            self.inflated_index_bytes,
            self.index_xxh3,
            u64::from(VERSION),
        ];
        for (slot, field) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(fields) {
            *slot = field.to_le_bytes();
        }
        let checksum = xxh3(&bytes[..48]);
        bytes[48..56].copy_from_slice(&checksum.to_le_bytes());
        bytes[56..].copy_from_slice(&FOOTER_MAGIC);
        bytes
    }
}

/// Both fixed parts, read and checked against the file's length.
pub(crate) struct Envelope {
    pub(crate) version: u32,
    /// Where the payload begins, and what the index' start is a multiple of.
    pub(crate) alignment: u64,
    pub(crate) footer: Footer,
}

impl Envelope {
    /// Checks everything outside payload and index: magics, versions, positions, zero padding.
    pub(crate) fn read(file: &[u8], path: &Path) -> Result<Self> {
        let header = file.first_chunk::<{ FileHeader::BYTES }>();
        let footer = file.last_chunk::<{ Footer::BYTES }>();
        let (Some(header), Some(footer)) = (header, footer) else {
            return Err(Error::Truncated {
                what: path.display().to_string(),
                location: "its fixed header and footer".into(),
                expected: MIN_SECTION_ALIGNMENT + Footer::BYTES as u64,
                actual: file.len() as u64,
            });
        };
        if header[..8] != HEADER_MAGIC {
            return Err(corrupt(path, "offset 0", "it does not begin like a .wcodec file"));
        }
        let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if version == 0 || version > NEWEST_READABLE_VERSION {
            return Err(Error::UnsupportedVersion {
                what: path.display().to_string(),
                found: version,
                newest_supported: NEWEST_READABLE_VERSION,
            });
        }
        let fields = footer.as_chunks::<8>().0;
        let field = |index: usize| u64::from_le_bytes(fields[index]);
        let sum_is_right = xxh3(&footer[..48]) == field(6);
        if footer[56..] != FOOTER_MAGIC {
            // With the right checksum before it, only the mark itself can be damaged.
            return Err(if sum_is_right {
                corrupt(path, "the last 8 bytes", "the end mark is not there")
            } else {
                Error::Unfinished { what: path.display().to_string(), bytes: file.len() as u64 }
            });
        }
        if !sum_is_right || field(5) != u64::from(version) {
            return Err(corrupt(path, "the footer", "its checksum does not match"));
        }
        let footer = Footer {
            payload_bytes: field(0),
            index_offset: field(1),
            index_bytes: field(2),
            inflated_index_bytes: field(3),
            index_xxh3: field(4),
        };
        let alignment = FileHeader::alignment(header).ok_or_else(|| {
            corrupt(path, "offset 12", "it names an alignment that no writer uses")
        })?;
        footer.check_positions(file, alignment, path)?;
        Ok(Self { version, alignment, footer })
    }
}

/// The most that a deflated index may inflate to: what bounds a reader's memory by the length of
/// the file.
pub(super) fn max_inflated_bytes(stored_bytes: u64, payload_bytes: u64) -> u64 {
    stored_bytes.saturating_mul(MAX_INDEX_INFLATION).min(MAX_UNPAID_INDEX_BYTES.max(payload_bytes))
}

impl Footer {
    fn check_positions(&self, file: &[u8], alignment: u64, path: &Path) -> Result<()> {
        let payload_end = alignment.checked_add(self.payload_bytes);
        let index_end = self.index_offset.checked_add(self.index_bytes);
        let positions = payload_end
            .and_then(|end| end.checked_next_multiple_of(alignment))
            .zip(index_end.and_then(|end| end.checked_add(Self::BYTES as u64)));
        if positions != Some((self.index_offset, file.len() as u64)) {
            return Err(corrupt(path, "the footer", "its positions do not fit the file's length"));
        }
        let inflated = self.inflated_index_bytes;
        let is_deflated = inflated != self.index_bytes;
        if inflated > MAX_INDEX_BYTES
            || inflated < self.index_bytes
            || is_deflated && inflated > max_inflated_bytes(self.index_bytes, self.payload_bytes)
        {
            return Err(corrupt(path, "the footer", "the index has a length no writer gives it"));
        }
        // The positions add up to the file's length, so these ranges lie within it.
        let payload_end = (alignment + self.payload_bytes) as usize;
        let header_end = FileHeader::HALVINGS_AT + 1;
        let gaps = [header_end..alignment as usize, payload_end..self.index_offset as usize];
        for gap in gaps {
            if let Some(at) = file[gap.clone()].iter().position(|&byte| byte != 0) {
                let location = format!("offset {}", gap.start + at);
                return Err(corrupt(path, location, "a padding byte is not zero"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(payload: &[u8], index: &[u8]) -> Vec<u8> {
        aligned_file(payload, index, SECTION_ALIGNMENT)
    }

    fn aligned_file(payload: &[u8], index: &[u8], alignment: u64) -> Vec<u8> {
        let mut file = FileHeader::bytes(alignment).to_vec();
        file.resize(alignment as usize, 0);
        file.extend(payload);
        file.resize(file.len().next_multiple_of(alignment as usize), 0);
        let footer = Footer {
            payload_bytes: payload.len() as u64,
            index_offset: file.len() as u64,
            index_bytes: index.len() as u64,
            inflated_index_bytes: index.len() as u64,
            index_xxh3: xxh3(index),
        };
        file.extend(index);
        file.extend(footer.bytes());
        file
    }

    #[test]
    fn positions_come_back() {
        let file = file(&[7; 5000], &[9; 33]);
        let footer = Envelope::read(&file, Path::new("x")).unwrap().footer;
        assert_eq!((footer.payload_bytes, footer.index_bytes), (5000, 33));
        assert_eq!(footer.index_offset, 3 * SECTION_ALIGNMENT);
    }

    #[test]
    fn every_truncation_and_every_flip_outside_payload_and_index_is_found() {
        for alignment in [SECTION_ALIGNMENT, 256, MIN_SECTION_ALIGNMENT] {
            let file = aligned_file(&[7; 100], &[9; 33], alignment);
            let footer = Envelope::read(&file, Path::new("x")).unwrap().footer;
            for length in 0..file.len() {
                let cut = Envelope::read(&file[..length], Path::new("x"));
                assert!(cut.is_err(), "length {length}");
            }
            let payload = alignment as usize..alignment as usize + 100;
            let index = footer.index_offset as usize..footer.index_offset as usize + 33;
            for bit in 0..8 * file.len() {
                if payload.contains(&(bit / 8)) || index.contains(&(bit / 8)) {
                    continue;
                }
                let mut flipped = file.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(Envelope::read(&flipped, Path::new("x")).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut newer = file(&[], &[]);
        newer[8] = 200;
        let message = Envelope::read(&newer, Path::new("m.wcodec")).err().unwrap().to_string();
        assert!(message.contains("200") && message.contains("m.wcodec"), "{message}");
    }
}
