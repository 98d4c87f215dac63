//! The index: what the file holds, as bincode with fixed-width little-endian integers, deflated.
//! Names and records repeat themselves so much that deflating leaves a quarter.

use std::path::Path;

use bincode::config::{Config, Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};
use codec::block::PlaneCoding;

use super::corrupt;
use super::envelope::{Footer, max_inflated_bytes};
use super::limits::{MAX_INDEX_BYTES, MAX_INDEX_EXPANSION};
use crate::error::{Error, Result};

/// Everything about a file but its payload.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Index {
    /// Length of the original file.
    pub(crate) original_bytes: u64,
    /// SHA-256 of the original file, where the encoder was to compute it.
    pub(crate) original_sha256: Option<[u8; 32]>,
    /// The original file up to its tensors' bytes.
    pub(crate) header: Vec<u8>,
    /// Tables that plane records name by position.
    pub(crate) tables: Vec<TableRecord>,
    /// Tensors, in the order of their bytes in the original file.
    pub(crate) tensors: Vec<TensorRecord>,
}

/// A frequency table.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct TableRecord {
    /// For tables of paired planes: the value of each rank.
    pub(crate) ranks: Option<[u8; 16]>,
    /// The frequencies in Elias gamma code.
    pub(crate) frequencies: Vec<u8>,
}

/// A tensor.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct TensorRecord {
    pub(crate) name: String,
    /// The dtype as the original header spells it.
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    /// Decoded bytes.
    pub(crate) bytes: u64,
    /// xxh3 (64 bits) of the xxh3 of each block's decoded bytes, little-endian, in order.
    pub(crate) xxh3: u64,
    /// Bytes of an element as it is coded: 1, 2, 4 or 8.
    pub(crate) width: u8,
    /// Whether elements are rotated left by one bit.
    pub(crate) rotated: bool,
    pub(crate) states_per_lane: u8,
    /// Elements of each block but the last.
    pub(crate) block_elements: u32,
    /// Where the first block lies, counted from the start of the payload section.
    pub(crate) payload_offset: u64,
    /// The plans that block records name by position: a record for each plane.
    pub(crate) plans: Vec<Vec<PlaneRecord>>,
    pub(crate) blocks: Vec<BlockRecord>,
    pub(crate) chunks: Vec<ChunkRecord>,
}

/// How a plane is coded, and with which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub(crate) enum PlaneRecord {
    Raw,
    Constant(u8),
    Symbols(u32),
    Pairs(u32),
    NibblePairs(u32),
}

/// A block: its length and which of the tensor's plans it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct BlockRecord {
    pub(crate) bytes: u32,
    pub(crate) plan: u16,
}

/// A run of blocks with one checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ChunkRecord {
    pub(crate) blocks: u32,
    pub(crate) bytes: u64,
    /// xxh3 (64 bits) of the chunk's bytes in the payload.
    pub(crate) xxh3: u64,
}

/// The index is small, so the smallest result counts.
const DEFLATE_LEVEL: u8 = 9;

type FixedWidth = Configuration<LittleEndian, Fixint>;

const CONFIGURATION: FixedWidth = bincode::config::standard().with_fixed_int_encoding();

/// An index as it is stored.
pub(crate) struct StoredIndex {
    pub(crate) bytes: Vec<u8>,
    pub(crate) inflated_bytes: u64,
}

/// The index of a file with `payload_bytes` of blocks, deflated where that pays and a reader's
/// limits allow it.
pub(crate) fn encode_index(index: &Index, payload_bytes: u64, path: &Path) -> Result<StoredIndex> {
    let inflated =
        bincode::encode_to_vec(index, CONFIGURATION).map_err(|error| Error::Internal {
            detail: format!("the index of {} cannot be encoded: {error}", path.display()),
        })?;
    let inflated_bytes = inflated.len() as u64;
    if inflated_bytes > MAX_INDEX_BYTES {
        return Err(Error::InvalidArgument {
            what: "block_elements".into(),
            detail: format!(
                "{} needs an index of {inflated_bytes} bytes, more than the {MAX_INDEX_BYTES} of the format; \
                 choose larger blocks",
                path.display()
            ),
        });
    }
    let deflated = miniz_oxide::deflate::compress_to_vec_zlib(&inflated, DEFLATE_LEVEL);
    let deflated_bytes = deflated.len() as u64;
    let worth_it = deflated_bytes < inflated_bytes
        && inflated_bytes <= max_inflated_bytes(deflated_bytes, payload_bytes);
    Ok(StoredIndex { bytes: if worth_it { deflated } else { inflated }, inflated_bytes })
}

/// Reads an index from its stored bytes.
pub(crate) fn decode_index(stored: &[u8], footer: &Footer, path: &Path) -> Result<Index> {
    if footer.inflated_index_bytes == stored.len() as u64 {
        return decode_inflated(stored, path);
    }
    // The footer's check has bounded this by a multiple of the stored length.
    let length = footer.inflated_index_bytes as usize;
    let inflated = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(stored, length)
        .map_err(|error| corrupt(path, "the index", format!("it cannot be inflated: {error}")))?;
    if inflated.len() != length {
        return Err(corrupt(path, "the index", "it inflates to another length"));
    }
    decode_inflated(&inflated, path)
}

/// Reads an inflated index. What a hostile one makes bincode allocate stays within a small multiple of
/// its own length: the limit counts the memory of every list before it is made.
fn decode_inflated(bytes: &[u8], path: &Path) -> Result<Index> {
    // bincode takes its limit at compile time, so there is one for each power of two.
    macro_rules! within_the_first_of {
        ($($power:literal)*) => {
            match bytes.len() {
                $(length if length <= 1 << $power => decode_within(
                    bytes,
                    path,
                    CONFIGURATION.with_limit::<{ MAX_INDEX_EXPANSION << $power }>(),
                ),)*
                _ => Err(corrupt(path, "the index", "it is longer than any writer makes it")),
            }
        };
    }
    const _: () = assert!(MAX_INDEX_BYTES == 1 << 32);
    within_the_first_of!(17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}

fn decode_within<const LIMIT: usize>(
    bytes: &[u8],
    path: &Path,
    configuration: Configuration<LittleEndian, Fixint, Limit<LIMIT>>,
) -> Result<Index>
where
    Configuration<LittleEndian, Fixint, Limit<LIMIT>>: Config,
{
    let corrupt = |detail: String| corrupt(path, "the index", detail);
    let (index, used) = bincode::decode_from_slice(bytes, configuration)
        .map_err(|error| corrupt(error.to_string()))?;
    if used != bytes.len() {
        return Err(corrupt(format!("{} bytes follow its last record", bytes.len() - used)));
    }
    Ok(index)
}

impl PlaneRecord {
    /// The coding without its table.
    pub(crate) fn coding(self) -> PlaneCoding {
        match self {
            Self::Raw => PlaneCoding::Raw,
            Self::Constant(value) => PlaneCoding::Constant(value),
            Self::Symbols(_) => PlaneCoding::Symbols,
            Self::Pairs(_) => PlaneCoding::Pairs,
            Self::NibblePairs(_) => PlaneCoding::NibblePairs,
        }
    }

    /// The table, by position in the index.
    pub(crate) fn table(self) -> Option<u32> {
        match self {
            Self::Raw | Self::Constant(_) => None,
            Self::Symbols(table) | Self::Pairs(table) | Self::NibblePairs(table) => Some(table),
        }
    }

    /// What `inspect` calls it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Raw => "raw".into(),
            Self::Constant(value) => format!("constant {value:#04x}"),
            Self::Symbols(_) => "symbols".into(),
            Self::Pairs(_) => "pairs".into(),
            Self::NibblePairs(_) => "nibble pairs".into(),
        }
    }
}
