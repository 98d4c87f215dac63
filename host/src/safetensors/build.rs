//! Building a `.safetensors` file in memory, for tests and demonstrations.

use std::path::Path;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::json::METADATA_KEY;
use super::{Dtype, LENGTH_PREFIX_BYTES, parse};
use crate::error::{Error, Result};

/// One tensor to put into a file.
#[derive(Debug, Clone)]
pub struct TensorData<'a> {
    /// Its name.
    pub name: &'a str,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, the slowest one first; none for a scalar.
    pub shape: &'a [u64],
    /// Its elements, little-endian, the last dimension contiguous.
    pub bytes: &'a [u8],
}

/// Builds a `.safetensors` file of `tensors`, in this order, and `metadata` (left out if empty).
///
/// The header is padded with spaces to a multiple of 8 bytes, as the reference implementation does.
///
/// # Errors
///
/// [`Error::InvalidSafetensors`] where the result would not be a valid file, for instance because
/// of a repeated name or because shape and bytes don't agree.
///
/// # Examples
///
/// ```
/// use std::path::Path;
/// use wcodec::safetensors::{Dtype, TensorData, build, parse};
///
/// let weight = TensorData { name: "weight", dtype: Dtype::F32, shape: &[2], bytes: &[0; 8] };
/// let file = build(&[weight], &[("format", "pt")])?;
/// assert_eq!(parse(&file, Path::new("example.safetensors"))?.tensors[0].element_count(), 2);
/// # Ok::<(), wcodec::Error>(())
/// ```
pub fn build(tensors: &[TensorData<'_>], metadata: &[(&str, &str)]) -> Result<Vec<u8>> {
    let header = HeaderToWrite { tensors, metadata };
    let mut file = vec![0; LENGTH_PREFIX_BYTES];
    serde_json::to_writer(&mut file, &header).map_err(|error| Error::Internal {
        detail: format!("a header cannot be written as JSON: {error}"),
    })?;
    file.resize(file.len().next_multiple_of(LENGTH_PREFIX_BYTES), b' ');
    let header_len = (file.len() - LENGTH_PREFIX_BYTES) as u64;
    file[..LENGTH_PREFIX_BYTES].copy_from_slice(&header_len.to_le_bytes());
    for tensor in tensors {
        file.extend_from_slice(tensor.bytes);
    }
    parse(&file, Path::new("file built in memory"))?;
    Ok(file)
}

struct HeaderToWrite<'a> {
    tensors: &'a [TensorData<'a>],
    metadata: &'a [(&'a str, &'a str)],
}

impl Serialize for HeaderToWrite<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA_KEY, &MetadataToWrite(self.metadata))?;
        }
        let mut start = 0;
        for tensor in self.tensors {
            let end = start + tensor.bytes.len();
            let entry = EntryToWrite {
                dtype: tensor.dtype.name(),
                shape: tensor.shape,
                data_offsets: [start, end],
            };
            map.serialize_entry(tensor.name, &entry)?;
            start = end;
        }
        map.end()
    }
}

/// Keeps order and repetitions, which the check of the finished file then reports.
struct MetadataToWrite<'a>(&'a [(&'a str, &'a str)]);

impl Serialize for MetadataToWrite<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

#[derive(serde::Serialize)]
struct EntryToWrite<'a> {
    dtype: &'a str,
    shape: &'a [u64],
    data_offsets: [usize; 2],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::safetensors::SafetensorsProblem;

    #[test]
    fn built_files_parse_to_what_went_in() {
        let tensors = [
            TensorData { name: "scalar \"\n", dtype: Dtype::I64, shape: &[], bytes: &[7; 8] },
            TensorData { name: "empty", dtype: Dtype::F16, shape: &[0, 3], bytes: &[] },
            TensorData { name: "packed", dtype: Dtype::F4, shape: &[2, 3], bytes: &[1, 2, 3] },
            TensorData {
                name: "new",
                dtype: Dtype::Other("F2".into()),
                shape: &[5],
                bytes: &[4, 5],
            },
        ];
        let built = build(&tensors, &[("format", "pt")]).unwrap();
        let header = parse(&built, Path::new("built")).unwrap();
        assert_eq!(header.data_start % 8, 0);
        assert_eq!(header.metadata.as_ref().unwrap()["format"], "pt");
        assert_eq!(header.tensors.len(), tensors.len());
        for (entry, tensor) in header.tensors.iter().zip(&tensors) {
            assert_eq!(entry.name, tensor.name);
            assert_eq!(entry.dtype, tensor.dtype);
            assert_eq!(entry.shape, tensor.shape);
            assert_eq!(entry.bytes(&built), Some(tensor.bytes));
        }
        assert_eq!(parse(&build(&[], &[]).unwrap(), Path::new("none")).unwrap().metadata, None);
    }

    #[test]
    fn building_an_invalid_file_is_an_error() {
        let tensor = |name, shape| TensorData { name, dtype: Dtype::U8, shape, bytes: &[1, 2] };
        let problem = |tensors: &[TensorData<'_>], metadata: &[(&str, &str)]| match build(
            tensors, metadata,
        ) {
            Err(Error::InvalidSafetensors { problem, .. }) => problem,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            problem(&[tensor("a", &[2]), tensor("a", &[2])], &[]),
            SafetensorsProblem::DuplicateName { name: "a".into() }
        );
        assert_eq!(
            problem(&[], &[("k", "1"), ("k", "2")]),
            SafetensorsProblem::DuplicateName { name: "k".into() }
        );
        assert!(matches!(
            problem(&[tensor("a", &[3])], &[]),
            SafetensorsProblem::SizeMismatch { .. }
        ));
        assert!(matches!(
            problem(&[tensor("__metadata__", &[2])], &[]),
            SafetensorsProblem::HeaderNotJson { .. }
        ));
    }
}
