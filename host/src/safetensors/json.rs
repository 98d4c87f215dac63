//! The JSON of the header, read without losing order or repeated names.
//!
//! A map type would silently keep one of two entries with the same name; these visitors keep both,
//! so that the checks that follow can name the repeated one.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{MAX_DIMENSIONS, MAX_METADATA_ENTRIES};

/// The name under which a header keeps its metadata among the tensors.
pub(super) const METADATA_KEY: &str = "__metadata__";

/// A header as it is written: entries in their order, nothing checked but its form.
#[derive(Debug, Default)]
pub(super) struct RawHeader {
    pub(super) metadata: Vec<RawMetadata>,
    pub(super) tensors: Vec<(String, RawTensor)>,
}

/// One `__metadata__` entry.
#[derive(Debug)]
pub(super) struct RawMetadata(pub(super) Vec<(String, String)>);

/// One tensor's entry; other members of the object are skipped, as the reference implementation
/// does.
#[derive(Debug, serde::Deserialize)]
#[serde(expecting = "an object with dtype, shape and data_offsets")]
pub(super) struct RawTensor {
    pub(super) dtype: String,
    pub(super) shape: RawShape,
    /// First byte and the byte after the last one, counted from the end of the header.
    pub(super) data_offsets: (u64, u64),
}

/// The dimensions; of a list longer than [`MAX_DIMENSIONS`] only one more than that many are kept.
#[derive(Debug)]
pub(super) struct RawShape(pub(super) Vec<u64>);

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object that maps names to tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA_KEY {
                header.metadata.extend(map.next_value::<Option<RawMetadata>>()?);
            } else {
                header.tensors.push((name, map.next_value()?));
            }
        }
        Ok(header)
    }
}

impl<'de> Deserialize<'de> for RawMetadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = RawMetadata;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object that maps names to strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawMetadata, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            if entries.len() == MAX_METADATA_ENTRIES {
                let message = format!("its metadata has more than {MAX_METADATA_ENTRIES} entries");
                return Err(A::Error::custom(message));
            }
            entries.push(entry);
        }
        Ok(RawMetadata(entries))
    }
}

impl<'de> Deserialize<'de> for RawShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = RawShape;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<RawShape, A::Error> {
        let mut dimensions = Vec::new();
        while dimensions.len() <= MAX_DIMENSIONS {
            match sequence.next_element()? {
                Some(dimension) => dimensions.push(dimension),
                None => return Ok(RawShape(dimensions)),
            }
        }
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(RawShape(dimensions))
    }
}
