//! The `.safetensors` format: reading the header of a file, and building small files in memory.
//!
//! A file is the header's length as a little-endian `u64`, the header as JSON, and the tensors'
//! bytes. This parser accepts what the reference implementation (the `safetensors` crate) accepts,
//! and moreover element types that it doesn't know; it rejects repeated names, which the format
//! forbids.

mod build;
mod dtype;
mod json;
mod problem;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;

pub use build::{TensorData, build};
pub use dtype::Dtype;
pub use problem::SafetensorsProblem;

use crate::error::{Error, Result};
use json::{METADATA_KEY, RawHeader, RawMetadata, RawTensor};

/// Most bytes of JSON that a header may have, as in the reference implementation.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Most entries of a header's `__metadata__` that are read.
pub const MAX_METADATA_ENTRIES: usize = 65_536;

/// Most bytes of a tensor's name that are read.
pub const MAX_NAME_BYTES: usize = 4096;

/// Most bytes of an element type's name that are read.
pub const MAX_DTYPE_NAME_BYTES: usize = 64;

/// Most dimensions of a tensor that are read.
pub const MAX_DIMENSIONS: usize = 64;

/// Bytes of the header's length at the start of a file.
const LENGTH_PREFIX_BYTES: usize = size_of::<u64>();

/// How the text begins that git keeps in place of a file that is stored elsewhere.
const GIT_LFS_POINTER_START: &[u8] = b"version https://git-lfs";

/// A parsed and checked header. The tensors cover the data without hole or overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Where length prefix and JSON, padding included, lie in the file: from 0 to the first byte
    /// of data.
    pub header_bytes: Range<usize>,
    /// Offset in the file of the first byte of data.
    pub data_start: u64,
    /// The file's own notes, such as the framework that wrote it; `None` where the header has no
    /// such entry.
    pub metadata: Option<BTreeMap<String, String>>,
    /// The tensors by ascending offset; empty ones that share an offset stay in the order of the
    /// header.
    pub tensors: Vec<TensorEntry>,
}

/// One tensor of a file, as [`parse`] checked it: its sizes can be computed without overflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// The name, unique in its file.
    pub name: String,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The dimensions, the slowest one first; none for a scalar.
    pub shape: Vec<u64>,
    /// Offset in the file of the first byte.
    pub start: u64,
    /// Offset in the file of the byte after the last one.
    pub end: u64,
}

impl Header {
    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&TensorEntry> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

impl TensorEntry {
    /// Number of elements: the product of the dimensions, so 1 for a scalar.
    pub fn element_count(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Number of bytes.
    pub fn byte_len(&self) -> u64 {
        self.end - self.start
    }

    /// The bytes of this tensor in `file`, the slice that its header was parsed from; `None` if
    /// `file` is shorter.
    pub fn bytes<'file>(&self, file: &'file [u8]) -> Option<&'file [u8]> {
        file.get(usize::try_from(self.start).ok()?..usize::try_from(self.end).ok()?)
    }
}

/// Reads and checks the header of a `.safetensors` file.
///
/// `bytes` is the whole file, usually memory-mapped, of which only the header is read; `path` is
/// for messages only. Memory stays within a small multiple of the header, itself at most
/// [`MAX_HEADER_BYTES`].
///
/// # Errors
///
/// [`Error::InvalidSafetensors`] with the first broken rule that was found.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Header> {
    parse_header(bytes)
        .map_err(|problem| Error::InvalidSafetensors { path: path.to_owned(), problem })
}

/// The same for the part of a file up to its data, which has `data_bytes`; both together have fewer
/// than 2^64.
pub(crate) fn parse_prefix(prefix: &[u8], data_bytes: u64) -> Result<Header, SafetensorsProblem> {
    let (json, rest) = split_file(prefix)?;
    if !rest.is_empty() {
        return Err(SafetensorsProblem::TrailingBytes { bytes: rest.len() as u64 });
    }
    parse_json(json, data_bytes)
}

fn parse_header(bytes: &[u8]) -> Result<Header, SafetensorsProblem> {
    let (json, data) = split_file(bytes)?;
    parse_json(json, data.len() as u64)
}

/// Checks a header's JSON against the bytes of data that follow it.
fn parse_json(json: &str, data_bytes: u64) -> Result<Header, SafetensorsProblem> {
    let raw: RawHeader = serde_json::from_str(json)
        .map_err(|error| SafetensorsProblem::HeaderNotJson { detail: error.to_string() })?;
    let header_bytes = 0..LENGTH_PREFIX_BYTES + json.len();
    let data_start = header_bytes.end as u64;
    reject_duplicates(raw.tensors.iter().map(|(name, _)| name.as_str()))?;
    let mut tensors = Vec::with_capacity(raw.tensors.len());
    for (name, tensor) in raw.tensors {
        tensors.push(check_tensor(name, tensor, data_bytes)?);
    }
    tensors.sort_by_key(|tensor| (tensor.start, tensor.end));
    check_tiling(&tensors, data_bytes)?;
    // No offset exceeds the data's length, and header and data together have a length.
    for tensor in &mut tensors {
        tensor.start += data_start;
        tensor.end += data_start;
    }
    Ok(Header { header_bytes, data_start, metadata: check_metadata(raw.metadata)?, tensors })
}

/// The header's JSON and the data of a file.
fn split_file(bytes: &[u8]) -> Result<(&str, &[u8]), SafetensorsProblem> {
    if bytes.starts_with(GIT_LFS_POINTER_START) {
        return Err(SafetensorsProblem::GitLfsPointer);
    }
    let Some((prefix, rest)) = bytes.split_first_chunk::<LENGTH_PREFIX_BYTES>() else {
        return Err(SafetensorsProblem::FileTooShort { file_len: bytes.len() as u64 });
    };
    let header_len = u64::from_le_bytes(*prefix);
    if header_len > MAX_HEADER_BYTES {
        return Err(SafetensorsProblem::HeaderTooLong { header_len, limit: MAX_HEADER_BYTES });
    }
    // MAX_HEADER_BYTES fits the address space of every target, so the cast keeps the value.
    let Some((json, data)) = rest.split_at_checked(header_len as usize) else {
        return Err(SafetensorsProblem::HeaderBeyondFile {
            header_len,
            available: rest.len() as u64,
        });
    };
    let json = std::str::from_utf8(json).map_err(|error| SafetensorsProblem::HeaderNotUtf8 {
        offset: (LENGTH_PREFIX_BYTES + error.valid_up_to()) as u64,
    })?;
    if json.trim_start().starts_with('{') {
        Ok((json, data))
    } else {
        Err(SafetensorsProblem::HeaderNotObject)
    }
}

fn reject_duplicates<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), SafetensorsProblem> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(SafetensorsProblem::DuplicateName { name: name.to_owned() });
        }
    }
    Ok(())
}

fn check_metadata(
    mut raw: Vec<RawMetadata>,
) -> Result<Option<BTreeMap<String, String>>, SafetensorsProblem> {
    let Some(RawMetadata(entries)) = raw.pop() else {
        return Ok(None);
    };
    if !raw.is_empty() {
        return Err(SafetensorsProblem::DuplicateName { name: METADATA_KEY.to_owned() });
    }
    reject_duplicates(entries.iter().map(|(name, _)| name.as_str()))?;
    Ok(Some(entries.into_iter().collect()))
}

/// Checks one tensor by itself; its offsets stay relative to the data.
fn check_tensor(
    name: String,
    raw: RawTensor,
    data_len: u64,
) -> Result<TensorEntry, SafetensorsProblem> {
    check_limits(&name, &raw)?;
    let (start, end) = raw.data_offsets;
    if end < start {
        return Err(SafetensorsProblem::OffsetsReversed { tensor: name, start, end });
    }
    let entry = TensorEntry {
        name,
        dtype: Dtype::from(raw.dtype.as_str()),
        shape: raw.shape.0,
        start,
        end,
    };
    check_size(&entry)?;
    if end > data_len {
        return Err(SafetensorsProblem::TensorBeyondFile {
            tensor: entry.name,
            end,
            available: data_len,
        });
    }
    Ok(entry)
}

fn check_limits(name: &str, raw: &RawTensor) -> Result<(), SafetensorsProblem> {
    if name.len() > MAX_NAME_BYTES {
        let (name, name_len) = (name.to_owned(), name.len());
        return Err(SafetensorsProblem::NameTooLong { name, name_len, limit: MAX_NAME_BYTES });
    }
    if raw.dtype.len() > MAX_DTYPE_NAME_BYTES {
        let (tensor, name_len) = (name.to_owned(), raw.dtype.len());
        return Err(SafetensorsProblem::DtypeNameTooLong {
            tensor,
            name_len,
            limit: MAX_DTYPE_NAME_BYTES,
        });
    }
    if raw.shape.0.len() > MAX_DIMENSIONS {
        return Err(SafetensorsProblem::TooManyDimensions {
            tensor: name.to_owned(),
            limit: MAX_DIMENSIONS,
        });
    }
    Ok(())
}

/// Checks that shape and element type give the bytes that the offsets give; any size suits an
/// unknown type.
fn check_size(entry: &TensorEntry) -> Result<(), SafetensorsProblem> {
    let (tensor, dtype, shape) = (&entry.name, entry.dtype.name(), &entry.shape);
    let overflow =
        || SafetensorsProblem::ShapeOverflow { tensor: tensor.clone(), shape: shape.clone() };
    // In order and without regard to a zero that may follow, as the reference implementation
    // counts.
    let elements = shape
        .iter()
        .try_fold(1_u64, |count, &size| count.checked_mul(size))
        .ok_or_else(overflow)?;
    let Some(element_bits) = entry.dtype.bits() else {
        return Ok(());
    };
    let bits = elements.checked_mul(u64::from(element_bits)).ok_or_else(overflow)?;
    if bits % 8 != 0 {
        let (tensor, dtype, shape) = (tensor.clone(), dtype.to_owned(), shape.clone());
        return Err(SafetensorsProblem::PartialByte { tensor, dtype, shape });
    }
    let (expected, actual) = (bits / 8, entry.byte_len());
    if expected != actual {
        let (tensor, dtype, shape) = (tensor.clone(), dtype.to_owned(), shape.clone());
        return Err(SafetensorsProblem::SizeMismatch { tensor, dtype, shape, expected, actual });
    }
    Ok(())
}

/// Checks that tensors sorted by offset cover `data_len` bytes exactly once.
fn check_tiling(sorted: &[TensorEntry], data_len: u64) -> Result<(), SafetensorsProblem> {
    let mut covered = 0;
    let mut previous = "";
    for tensor in sorted {
        match tensor.start.cmp(&covered) {
            Ordering::Less => {
                let (first, second) = (previous.to_owned(), tensor.name.clone());
                return Err(SafetensorsProblem::Overlap { first, second });
            }
            Ordering::Greater => {
                let (tensor, bytes) = (tensor.name.clone(), tensor.start - covered);
                return Err(SafetensorsProblem::Hole { tensor, bytes });
            }
            Ordering::Equal => {
                covered = tensor.end;
                previous = &tensor.name;
            }
        }
    }
    if covered < data_len {
        return Err(SafetensorsProblem::TrailingBytes { bytes: data_len - covered });
    }
    Ok(())
}
