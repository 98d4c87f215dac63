//! The index as it is stored: bincode with fixed-width little-endian integers, deflated. Records repeat
//! themselves so much that deflating leaves a fraction.
//!
//! What the original header says (names, dtypes, shapes, lengths) and what follows from other numbers is
//! not stored a second time. Checksums, which nothing makes smaller, lie before the deflated records.

use std::path::Path;

use bincode::config::{Config, Configuration, Fixint, Limit, LittleEndian};

use super::corrupt;
use super::deflate::deflate;
use super::envelope::{Footer, max_inflated_bytes};
use super::index::Index;
use super::limits::{MAX_INDEX_BYTES, MAX_INDEX_EXPANSION};
use crate::error::{Error, Result};
use crate::safetensors::parse_prefix;

impl Index {
    /// The checksums of a tensor and its chunks, tensor by tensor; none of copies.
    fn checksums(&self) -> impl Iterator<Item = u64> {
        let tensors = self.tensors.iter().filter(|tensor| tensor.copy_of.is_none());
        tensors.flat_map(|tensor| {
            std::iter::once(tensor.xxh3).chain(tensor.chunks.iter().map(|chunk| chunk.xxh3))
        })
    }

    /// Adds what is not stored in the records: what the header says, what follows from other numbers,
    /// and the checksums. Numbers that do not fit each other are left as they are, to be found when all is
    /// checked.
    fn complete(&mut self, checksums: &[[u8; CHECKSUM_BYTES]], path: &Path) -> Result<()> {
        let Some(data_bytes) = self.original_bytes.checked_sub(self.header.len() as u64) else {
            return Err(corrupt(path, "the index", "its header is longer than the original"));
        };
        let header = parse_prefix(&self.header, data_bytes)
            .map_err(|problem| corrupt(path, "the original header", problem.to_string()))?;
        if header.tensors.len() != self.tensors.len() {
            let detail = "it has another number of tensors than the header";
            return Err(corrupt(path, "the index", detail));
        }
        let mut checksums = checksums.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut missing = false;
        let mut next = || {
            let checksum = checksums.next();
            missing |= checksum.is_none();
            checksum.unwrap_or_default()
        };
        let mut payload = 0u64;
        for number in 0..self.tensors.len() {
            let (earlier, others) = self.tensors.split_at_mut(number);
            let (Some(tensor), Some(entry)) = (others.first_mut(), header.tensors.get(number))
            else {
                break;
            };
            tensor.bytes = entry.byte_len();
            tensor.name.clone_from(&entry.name);
            entry.dtype.name().clone_into(&mut tensor.dtype);
            tensor.shape.clone_from(&entry.shape);
            if let Some(original) = tensor.copy_of {
                tensor.xxh3 = earlier.get(original as usize).map_or(0, |tensor| tensor.xxh3);
                continue;
            }
            tensor.xxh3 = next();
            tensor.payload_offset = if tensor.blocks.is_empty() { 0 } else { payload };
            let mut blocks = tensor.blocks.iter();
            for chunk in &mut tensor.chunks {
                let blocks = blocks.by_ref().take(chunk.blocks as usize);
                // At most 2^32 blocks of 2^32 bytes.
                chunk.bytes = blocks.map(|block| u64::from(block.bytes)).sum();
                chunk.xxh3 = next();
                payload = payload.saturating_add(chunk.bytes);
            }
        }
        if missing || checksums.next().is_some() {
            return Err(corrupt(
                path,
                "the index",
                "it has another number of checksums than it needs",
            ));
        }
        Ok(())
    }
}

type FixedWidth = Configuration<LittleEndian, Fixint>;

const CONFIGURATION: FixedWidth = bincode::config::standard().with_fixed_int_encoding();

const CHECKSUM_BYTES: usize = size_of::<u64>();

/// An index as it is stored.
pub(crate) struct StoredIndex {
    pub(crate) bytes: Vec<u8>,
    pub(crate) inflated_bytes: u64,
}

/// The index of a file with `payload_bytes` of blocks, deflated at `level` where that pays and a
/// reader's limits allow it.
pub(crate) fn encode_index(
    index: &Index,
    payload_bytes: u64,
    level: u8,
    path: &Path,
) -> Result<StoredIndex> {
    let records =
        bincode::encode_to_vec(index, CONFIGURATION).map_err(|error| Error::Internal {
            detail: format!("the index of {} cannot be encoded: {error}", path.display()),
        })?;
    let checksums: Vec<u8> = index.checksums().flat_map(u64::to_le_bytes).collect();
    let count = (checksums.len() / CHECKSUM_BYTES) as u64;
    let mut bytes = [&count.to_le_bytes()[..], &checksums].concat();
    let inflated_bytes = (bytes.len() + records.len()) as u64;
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
    let pays = |deflated: &Vec<u8>| {
        let deflated_bytes = (bytes.len() + deflated.len()) as u64;
        deflated_bytes < inflated_bytes
            && inflated_bytes <= max_inflated_bytes(deflated_bytes, payload_bytes)
    };
    let deflated = deflate(&records, level).filter(pays);
    bytes.extend_from_slice(deflated.as_ref().unwrap_or(&records));
    Ok(StoredIndex { bytes, inflated_bytes })
}

/// Reads an index from its stored bytes.
pub(crate) fn decode_index(stored: &[u8], footer: &Footer, path: &Path) -> Result<Index> {
    let split = |stored: &'_ [u8]| {
        let (count, rest) = stored.split_first_chunk::<CHECKSUM_BYTES>()?;
        let bytes = u64::from_le_bytes(*count).checked_mul(CHECKSUM_BYTES as u64)?;
        let bytes = usize::try_from(bytes).ok().filter(|&bytes| bytes <= rest.len())?;
        Some(CHECKSUM_BYTES + bytes)
    };
    let Some(records_at) = split(stored) else {
        return Err(corrupt(path, "the index", "it ends within its checksums"));
    };
    let (checksums, records) = stored.split_at(records_at);
    let checksums = checksums[CHECKSUM_BYTES..].as_chunks().0;
    let mut index = if footer.inflated_index_bytes == stored.len() as u64 {
        decode_inflated(records, path)?
    } else {
        // The footer's check has bounded this by a multiple of the stored length, which it is not below.
        let length = footer.inflated_index_bytes as usize - records_at;
        let inflated = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(records, length)
            .map_err(|error| {
                corrupt(path, "the index", format!("it cannot be inflated: {error}"))
            })?;
        if inflated.len() != length {
            return Err(corrupt(path, "the index", "it inflates to another length"));
        }
        decode_inflated(&inflated, path)?
    };
    index.complete(checksums, path)?;
    Ok(index)
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
