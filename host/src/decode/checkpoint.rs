//! Reading a `.wcodec` file.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use codec::tile::Mode;
use rayon::prelude::*;

use super::blocks::{Block, BlockDecoder};
use super::elements::Decoded;
use super::validate::validate;
use crate::base::Base;
use crate::error::{Error, Result, quoted};
use crate::format::{
    BlockRecord, ChunkRecord, Envelope, Index, PlanRecord, ReferenceRecord, TensorRecord,
    decode_index,
};
use crate::gpu::{Decoder, TableCache};
use crate::hash::{hex, of_blocks, xxh3};
use crate::mapped::{MappedFile, Reader};
use crate::safetensors::Dtype;
use crate::spares::Spares;

/// An open `.wcodec` file. Cheap to share between threads; decoding runs on the current rayon
/// pool.
pub struct Checkpoint {
    storage: Storage,
    path: PathBuf,
    format_version: u32,
    pub(crate) index: Index,
    by_name: HashMap<String, usize>,
    /// Where the payload section begins.
    payload_start: u64,
    /// For each tensor, where each of its chunks begins: block number and payload offset.
    chunk_starts: Vec<Vec<ChunkStart>>,
    /// What restores and verifies; without one the CPU does.
    decoder: Option<Arc<Decoder>>,
    /// What blocks with a reference need; checked when it was given.
    base: Option<Arc<Base>>,
    /// Whether the SHA-256 of the original is compared when the file is restored or verified.
    compares_sha256: bool,
    /// Tables and buffers that no thread is using at the moment.
    block_decoders: Spares<BlockDecoder>,
    /// Tables as the GPU's kernels take them.
    pub(crate) kernel_tables: TableCache,
}

/// Blocks that a thread takes at a time: enough for two at once, few enough that all threads have
/// some.
const BLOCKS_PER_JOB: usize = 4;

enum Storage {
    Mapped(MappedFile),
    Owned(Vec<u8>),
}

#[derive(Debug, Clone, Copy)]
struct ChunkStart {
    block: usize,
    /// Offset in the file.
    offset: u64,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint")
            .field("path", &self.path)
            .field("tensors", &self.index.tensors.len())
            .finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Opens a file: reads and checks all but the payload, which is mapped and read when needed.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is cut off or damaged outside its payload, or was written by
    /// a newer version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::read(Storage::Mapped(MappedFile::open(path)?), path)
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::read(Storage::Owned(bytes), Path::new("<memory>"))
    }

    fn read(storage: Storage, path: &Path) -> Result<Self> {
        let (envelope, index) = storage.checked(Self::read_index(storage.bytes(), path))?;
        let by_name = index.tensors.iter().enumerate().map(|(n, t)| (t.name.clone(), n)).collect();
        let chunk_starts =
            index.tensors.iter().map(|t| chunk_starts(t, envelope.alignment)).collect();
        Ok(Self {
            storage,
            path: path.to_owned(),
            format_version: envelope.version,
            index,
            by_name,
            payload_start: envelope.alignment,
            chunk_starts,
            decoder: None,
            base: None,
            compares_sha256: true,
            block_decoders: Spares::default(),
            kernel_tables: TableCache::default(),
        })
    }

    fn read_index(file: &[u8], path: &Path) -> Result<(Envelope, Index)> {
        let envelope = Envelope::read(file, path)?;
        let footer = envelope.footer;
        let index = &file[footer.index_offset as usize..][..footer.index_bytes as usize];
        let found = xxh3(index);
        if found != footer.index_xxh3 {
            return Err(mismatch(path.display(), "the index", footer.index_xxh3, found));
        }
        let index = decode_index(index, &footer, path)?;
        validate(&index, &footer, path)?;
        Ok((envelope, index))
    }

    /// `result`, if all of the file that was asked for could be read so far.
    pub(crate) fn checked<T>(&self, result: Result<T>) -> Result<T> {
        self.storage.checked(result)
    }

    /// Lets `decoder` do the decoding when the file is restored or verified.
    #[must_use]
    pub fn with_decoder(mut self, decoder: Arc<Decoder>) -> Self {
        self.decoder = Some(decoder);
        self
    }

    /// Leaves the SHA-256 of the original out when the file is restored or verified. It is computed by one
    /// thread, so that with many others everything waits for it; the checksums of chunks and tensors
    /// are compared all the same, and with them every byte.
    #[must_use]
    pub fn without_sha256(mut self) -> Self {
        self.compares_sha256 = false;
        self
    }

    /// Gives the checkpoint that this one is stored against. A file that needs none takes any;
    /// [`Checkpoint::base_sha256`] says which one is needed.
    ///
    /// # Errors
    ///
    /// [`Error::WrongBase`] when it is another one, by its length and SHA-256.
    pub fn with_base(mut self, base: Arc<Base>) -> Result<Self> {
        let Some(needed) = self.index.base else { return Ok(self) };
        if (needed.bytes, needed.sha256) != (base.byte_len(), base.sha256()) {
            return Err(Error::WrongBase {
                path: self.path,
                base: base.path().to_owned(),
                expected: hex(&needed.sha256),
                actual: hex(&base.sha256()),
            });
        }
        self.base = Some(base);
        self.check_base_tensors()?;
        Ok(self)
    }

    /// The base that was given.
    pub(crate) fn base(&self) -> Option<&Base> {
        self.base.as_deref()
    }

    fn check_base_tensors(&self) -> Result<()> {
        let lacks_base =
            |tensor: &Tensor<'_>| tensor.record().needs_base() && tensor.base_bytes().is_none();
        match self.tensors().find(lacks_base) {
            None => Ok(()),
            Some(tensor) => Err(Error::Corrupt {
                what: self.path.display().to_string(),
                location: format!("tensor {}", quoted(tensor.name())),
                detail: "its base has no tensor with this name, dtype and shape".into(),
            }),
        }
    }

    /// SHA-256 of the `.safetensors` file that this one is stored against, if it is.
    pub fn base_sha256(&self) -> Option<[u8; 32]> {
        self.index.base.map(|base| base.sha256)
    }

    /// Fails early where a base is needed and has not been given.
    pub(crate) fn require_base(&self) -> Result<()> {
        match self.index.base {
            Some(needed) if self.base.is_none() => {
                Err(Error::MissingBase { path: self.path.clone(), sha256: hex(&needed.sha256) })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn decoder(&self) -> Option<&Decoder> {
        self.decoder.as_deref()
    }

    /// The path that the file was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Version of the format that the file is written in.
    pub fn format_version(&self) -> u32 {
        self.format_version
    }

    /// Length of the `.wcodec` file.
    pub fn encoded_bytes(&self) -> u64 {
        self.storage.bytes().len() as u64
    }

    /// Length of the original file.
    pub fn original_bytes(&self) -> u64 {
        self.index.original_bytes
    }

    /// SHA-256 of the original file, as stored; [`Checkpoint::verify`] checks it. A file encoded
    /// without [`crate::EncodeOptions::sha256`] has none.
    pub fn original_sha256(&self) -> Option<[u8; 32]> {
        self.index.original_sha256
    }

    /// The same, if it is to be compared.
    pub(super) fn compared_sha256(&self) -> Option<[u8; 32]> {
        self.original_sha256().filter(|_| self.compares_sha256)
    }

    /// The original file up to its tensors' bytes: header length and JSON.
    pub fn original_header(&self) -> &[u8] {
        &self.index.header
    }

    /// What reads the file beside its mapping; see [`Reader`].
    pub(crate) fn reader(&self, direct: bool) -> Result<Reader<'_>> {
        match &self.storage {
            Storage::Mapped(file) => file.reader(direct),
            Storage::Owned(bytes) => Ok(Reader::of_bytes(bytes)),
        }
    }

    /// The bytes of all blocks; a zero where there are none, since device memory has a first byte.
    pub(crate) fn payload_or_zero(&self) -> &[u8] {
        let bytes = |tensor: &TensorRecord| tensor.chunks.iter().map(|c| c.bytes).sum::<u64>();
        let end = self.index.tensors.iter().map(bytes).sum::<u64>().max(1);
        &self.storage.bytes()[self.payload_start as usize..][..end as usize]
    }

    /// Frequency tables of the file.
    pub fn table_count(&self) -> usize {
        self.index.tables.len()
    }

    /// All tensors, in the order of their bytes in the original file.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor<'_>> {
        (0..self.index.tensors.len()).map(|number| Tensor { checkpoint: self, number })
    }

    /// Bytes of all tensors together.
    pub fn tensor_bytes(&self) -> u64 {
        // They add up to the original: the index was validated.
        self.index.original_bytes - self.index.header.len() as u64
    }

    /// Decodes all tensors into `out`, one after the other as in the original file. It has
    /// [`Checkpoint::tensor_bytes`].
    ///
    /// # Errors
    ///
    /// When `out` has another length, or the file is damaged; what `out` holds then is unspecified.
    pub fn decode_all_into(&self, out: &mut [u8]) -> Result<()> {
        if out.len() as u64 != self.tensor_bytes() {
            return Err(Error::InvalidArgument {
                what: format!("an output of {} bytes", out.len()),
                detail: format!(
                    "the tensors of {} have {} bytes; give exactly as many",
                    self.path.display(),
                    self.tensor_bytes()
                ),
            });
        }
        let mut rest = out;
        let mut jobs = Vec::with_capacity(self.index.tensors.len());
        for tensor in self.tensors() {
            let (now, later) = rest.split_at_mut(tensor.byte_len() as usize);
            rest = later;
            jobs.push((tensor, now));
        }
        jobs.into_par_iter().try_for_each(|(tensor, out)| tensor.decode_into(out))
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    ///
    /// When there is none; the error suggests similar names.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>> {
        match self.by_name.get(name) {
            Some(&number) => Ok(Tensor { checkpoint: self, number }),
            None => Err(Error::tensor_not_found(
                &self.path,
                name,
                self.index.tensors.iter().map(|tensor| tensor.name.as_str()),
            )),
        }
    }
}

impl Storage {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(file) => file.bytes(),
            Self::Owned(bytes) => bytes,
        }
    }

    fn checked<T>(&self, result: Result<T>) -> Result<T> {
        match self {
            Self::Mapped(file) => file.checked(result),
            Self::Owned(_) => result,
        }
    }
}

fn chunk_starts(tensor: &TensorRecord, payload_start: u64) -> Vec<ChunkStart> {
    let mut start = ChunkStart { block: 0, offset: payload_start + tensor.payload_offset };
    let advance = |chunk: &ChunkRecord| {
        let this = start;
        start.block += chunk.blocks as usize;
        start.offset += chunk.bytes;
        this
    };
    tensor.chunks.iter().map(advance).collect()
}

fn mismatch(what: impl ToString, location: &str, expected: u64, actual: u64) -> Error {
    Error::ChecksumMismatch {
        what: what.to_string(),
        location: location.to_owned(),
        expected: format!("{expected:016x}"),
        actual: format!("{actual:016x}"),
    }
}

/// A tensor of an open checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    checkpoint: &'a Checkpoint,
    number: usize,
}

impl<'a> Tensor<'a> {
    pub(crate) fn record(&self) -> &'a TensorRecord {
        &self.checkpoint.index.tensors[self.number]
    }

    /// The tensor's number in the index.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// The tensor's file.
    pub(crate) fn checkpoint(&self) -> &'a Checkpoint {
        self.checkpoint
    }

    /// The tensor whose blocks are decoded for this one: an earlier one with the same bytes, or
    /// itself.
    pub(crate) fn stored(&self) -> Self {
        match self.record().copy_of {
            Some(number) => Self { number: number as usize, ..*self },
            None => *self,
        }
    }

    /// The earlier tensor that this one is stored as a copy of.
    pub fn copy_of(&self) -> Option<&'a str> {
        self.record().copy_of.map(|_| self.stored().name())
    }

    /// The tensor's bytes in the base, where there is such a tensor.
    fn base_bytes(&self) -> Option<&'a [u8]> {
        let base = self.checkpoint.base.as_ref()?;
        let bytes = base.tensor(self.name(), &self.dtype(), self.shape())?;
        (bytes.len() as u64 == self.byte_len()).then_some(bytes)
    }

    /// The base's bytes of a block with this plan; empty for one that needs none.
    pub(crate) fn base_block(&self, number: usize, plan: &PlanRecord) -> Result<&'a [u8]> {
        match plan.reference {
            ReferenceRecord::None => Ok(&[]),
            _ => self.base_range(number..number + 1),
        }
    }

    /// The base's bytes of a run of blocks; empty where none of them needs any.
    pub(crate) fn base_of_blocks(&self, blocks: Range<usize>) -> Result<&'a [u8]> {
        let record = self.record();
        let needs = |block: &BlockRecord| {
            record.plans[usize::from(block.plan)].reference != ReferenceRecord::None
        };
        match record.blocks[blocks.clone()].iter().any(needs) {
            false => Ok(&[]),
            true => self.base_range(blocks),
        }
    }

    fn base_range(&self, blocks: Range<usize>) -> Result<&'a [u8]> {
        self.checkpoint.require_base()?;
        let start = blocks.start * self.block_bytes();
        let end = (blocks.end * self.block_bytes()).min(self.byte_len() as usize);
        self.base_bytes().and_then(|bytes| bytes.get(start..end)).ok_or_else(|| Error::Corrupt {
            what: self.display(),
            location: format!("block {}", blocks.start),
            detail: "the base has no bytes for it".into(),
        })
    }

    /// The tensor's name.
    pub fn name(&self) -> &'a str {
        &self.record().name
    }

    /// Type of the elements.
    pub fn dtype(&self) -> Dtype {
        Dtype::from(self.record().dtype.as_str())
    }

    /// Dimensions, the slowest first; none for a scalar.
    pub fn shape(&self) -> &'a [u64] {
        &self.record().shape
    }

    /// Decoded bytes.
    pub fn byte_len(&self) -> u64 {
        self.record().bytes
    }

    /// Bytes of the tensor's blocks in the file.
    pub fn encoded_bytes(&self) -> u64 {
        self.record().blocks.iter().map(|block| u64::from(block.bytes)).sum()
    }

    /// Bytes of an element as it is coded: packed and unknown dtypes count as bytes.
    pub fn element_bytes(&self) -> u64 {
        u64::from(self.record().width)
    }

    /// Decodes the whole tensor.
    ///
    /// # Errors
    ///
    /// When the tensor's bytes in the file are damaged, or it does not fit into memory.
    pub fn decode(&self) -> Result<Decoded> {
        let mut decoded = self.allocate(self.byte_len())?;
        self.decode_into(decoded.as_bytes_mut())?;
        Ok(decoded)
    }

    fn allocate(&self, bytes: u64) -> Result<Decoded> {
        Decoded::zeroed(self.dtype(), bytes, &format!("tensor {}", quoted(self.name())))
    }

    /// Decodes the whole tensor into `out`, which has [`Tensor::byte_len`] bytes.
    ///
    /// # Errors
    ///
    /// When `out` has another length, or the tensor's bytes in the file are damaged; what `out`
    /// holds then is unspecified.
    pub fn decode_into(&self, out: &mut [u8]) -> Result<()> {
        if out.len() as u64 != self.byte_len() {
            return Err(Error::InvalidArgument {
                what: format!("an output of {} bytes", out.len()),
                detail: format!(
                    "tensor {} has {} bytes; give exactly as many",
                    quoted(self.name()),
                    self.byte_len()
                ),
            });
        }
        let stored = self.stored();
        let decoded = stored.decode_whole(out).map_err(|error| {
            // A chunk whose checksum is wrong says more precisely where the damage is.
            let chunks = 0..stored.record().chunks.len();
            chunks.into_iter().find_map(|chunk| stored.chunk_bytes(chunk).err()).unwrap_or(error)
        });
        self.checkpoint.checked(decoded)
    }

    /// Decodes all blocks. What comes out has the right checksum, so those of the chunks need not
    /// be looked at.
    fn decode_whole(&self, out: &mut [u8]) -> Result<()> {
        let blocks = 0..self.record().blocks.len();
        let checksums = self.decode_unchecked(blocks, out, Self::stored_chunk)?;
        let (expected, found) = (self.record().xxh3, of_blocks(&checksums));
        if expected != found {
            return Err(mismatch(self.display(), "its decoded bytes", expected, found));
        }
        Ok(())
    }

    /// Decodes the elements with the numbers `elements`, counted row-major (for packed and
    /// unknown dtypes: bytes). Only the chunks that hold them are read.
    ///
    /// # Errors
    ///
    /// When the range is not within the tensor, or its bytes in the file are damaged.
    pub fn decode_range(&self, elements: Range<u64>) -> Result<Decoded> {
        let width = self.element_bytes();
        let count = self.byte_len() / width;
        if elements.start > elements.end || elements.end > count {
            return Err(Error::InvalidArgument {
                what: format!("the range {}..{}", elements.start, elements.end),
                detail: format!("tensor {} has {count} elements", quoted(self.name())),
            });
        }
        let mut decoded = self.allocate((elements.end - elements.start) * width)?;
        if elements.is_empty() {
            return Ok(decoded);
        }
        let stored = self.stored();
        let block_elements = u64::from(stored.record().block_elements);
        let blocks = elements.start / block_elements..elements.end.div_ceil(block_elements);
        let first_byte = blocks.start * block_elements * width;
        let last_byte = (blocks.end * block_elements * width).min(self.byte_len());
        let mut whole = self.allocate(last_byte - first_byte)?;
        stored.decode_blocks(blocks.start as usize..blocks.end as usize, whole.as_bytes_mut())?;
        let skip = (elements.start * width - first_byte) as usize;
        let out = decoded.as_bytes_mut();
        out.copy_from_slice(&whole.as_bytes()[skip..][..out.len()]);
        Ok(decoded)
    }

    /// Decodes a run of blocks in parallel and returns the xxh3 of each; `out` has exactly their
    /// bytes. Chunks have to have the right checksum.
    pub(crate) fn decode_blocks(&self, blocks: Range<usize>, out: &mut [u8]) -> Result<Vec<u64>> {
        let decoded = self.decode_unchecked(blocks, out, Self::chunk_bytes);
        self.checkpoint.checked(decoded)
    }

    /// The same with whatever checksums chunks have.
    pub(crate) fn decode_blocks_unchecked(
        &self,
        blocks: Range<usize>,
        out: &mut [u8],
    ) -> Result<()> {
        let decoded = self.decode_unchecked(blocks, out, Self::stored_chunk);
        self.checkpoint.checked(decoded).map(drop)
    }

    /// The same with chunks as `chunk_bytes` gives them.
    fn decode_unchecked(
        &self,
        blocks: Range<usize>,
        out: &mut [u8],
        chunk_bytes: fn(&Self, usize) -> Result<&'a [u8]>,
    ) -> Result<Vec<u64>> {
        let record = self.record();
        let block_bytes = self.block_bytes();
        let mut checksums = vec![0; blocks.len()];
        if blocks.is_empty() {
            return Ok(checksums);
        }
        let starts = &self.checkpoint.chunk_starts[self.number];
        let first = starts.partition_point(|start| start.block <= blocks.start) - 1;
        let end = starts.partition_point(|start| start.block < blocks.end);
        let mut jobs = Vec::new();
        let (mut rest, mut checksums_left) = (out, &mut checksums[..]);
        for (chunk, start) in starts.iter().enumerate().take(end).skip(first) {
            let begin = start.block;
            let end = begin + record.chunks[chunk].blocks as usize;
            let wanted = begin.max(blocks.start)..end.min(blocks.end);
            let length = (wanted.len() * block_bytes).min(rest.len());
            let (now, later) = rest.split_at_mut(length);
            rest = later;
            let (own, later) = checksums_left.split_at_mut(wanted.len());
            checksums_left = later;
            jobs.push((chunk, wanted, now, own));
        }
        let decode = |(chunk, wanted, out, checksums)| {
            self.decode_chunk(chunk, chunk_bytes(self, chunk)?, wanted, out, checksums)
        };
        // Of several errors the first in the file, whichever thread was faster.
        let done: Vec<Result<()>> = jobs.into_par_iter().map(decode).collect();
        done.into_iter().collect::<Result<()>>()?;
        Ok(checksums)
    }

    /// Decoded bytes of a block other than the last.
    pub(crate) fn block_bytes(&self) -> usize {
        self.record().block_elements as usize * usize::from(self.record().width)
    }

    fn decode_chunk(
        &self,
        chunk: usize,
        bytes: &[u8],
        wanted: Range<usize>,
        out: &mut [u8],
        checksums: &mut [u64],
    ) -> Result<()> {
        let record = self.record();
        let start = self.checkpoint.chunk_starts[self.number][chunk];
        let mut at = 0;
        let mut blocks = Vec::with_capacity(wanted.len());
        let mut outs = out.chunks_mut(self.block_bytes()).zip(checksums);
        for number in start.block..wanted.end {
            let block = record.blocks[number];
            let length = block.bytes as usize;
            if wanted.contains(&number) {
                let plan = &record.plans[usize::from(block.plan)];
                let bytes = &bytes[at..][..length];
                let Some((out, checksum)) = outs.next() else { break };
                let base = self.base_block(number, plan)?;
                blocks.push(Block { tensor: record, number, plan, bytes, base, out, checksum });
            }
            at += length;
        }
        // Blocks with the same tables are decoded together.
        blocks.sort_by_key(|block| record.blocks[block.number].plan);
        blocks.par_chunks_mut(BLOCKS_PER_JOB).try_for_each(|blocks| {
            self.checkpoint
                .block_decoders
                .lend(|decoder| decoder.decode(&self.checkpoint.index, blocks))
        })
    }

    /// A chunk's bytes as they are in the file.
    fn stored_chunk(&self, chunk: usize) -> Result<&'a [u8]> {
        let record = &self.record().chunks[chunk];
        let start = self.checkpoint.chunk_starts[self.number][chunk];
        // Within the file: the index was validated against the payload's length.
        let file = self.checkpoint.storage.bytes();
        Ok(&file[start.offset as usize..][..record.bytes as usize])
    }

    /// A chunk's bytes, once its checksum has been found right.
    pub(crate) fn chunk_bytes(&self, chunk: usize) -> Result<&'a [u8]> {
        let bytes = self.stored_chunk(chunk)?;
        self.checkpoint.checked(self.check_chunk(chunk, bytes))?;
        Ok(bytes)
    }

    /// Compares the checksum of `bytes`, read from the file, with that of a chunk.
    pub(crate) fn check_chunk(&self, chunk: usize, bytes: &[u8]) -> Result<()> {
        self.check_chunk_sum(chunk, xxh3(bytes))
    }

    /// Compares a checksum that was `found` with that of a chunk.
    pub(crate) fn check_chunk_sum(&self, chunk: usize, found: u64) -> Result<()> {
        let expected = self.record().chunks[chunk].xxh3;
        if found == expected {
            return Ok(());
        }
        let location = format!("chunk {chunk} (file offset {})", self.chunk_offset(chunk));
        Err(mismatch(self.display(), &location, expected, found))
    }

    /// Where in the file a chunk begins.
    pub(crate) fn chunk_offset(&self, chunk: usize) -> u64 {
        self.checkpoint.chunk_starts[self.number][chunk].offset
    }

    pub(super) fn display(&self) -> String {
        format!("tensor {} of {}", quoted(self.name()), self.checkpoint.path.display())
    }

    /// How many sub-blocks of 8x8 elements have which mode, the most frequent first: predictions and
    /// transforms. Empty for a tensor that is not coded in tiles.
    pub fn tile_modes(&self) -> Vec<(usize, &'static str)> {
        let modes = &self.record().tile_modes;
        let count = |mode: &Mode| modes.iter().filter(|&&number| number == *mode as u8).count();
        let mut counts: Vec<(usize, &'static str)> =
            Mode::ALL.iter().map(|mode| (count(mode), mode.name())).collect();
        counts.retain(|(count, _)| *count > 0);
        counts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        counts
    }

    /// How the tensor's blocks are coded, plan by plan: number of blocks and a description such as
    /// "raw, pairs", plane 0 first.
    pub fn plans(&self) -> Vec<(usize, String)> {
        let record = self.record();
        let mut counts = vec![0; record.plans.len()];
        record.blocks.iter().for_each(|block| counts[usize::from(block.plan)] += 1);
        let mut merged: Vec<(usize, String)> = Vec::new();
        for (plan, count) in record.plans.iter().zip(counts) {
            let text = plan.name();
            match merged.iter_mut().find(|(_, known)| *known == text) {
                Some((sum, _)) => *sum += count,
                None => merged.push((count, text)),
            }
        }
        merged.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        merged
    }
}
