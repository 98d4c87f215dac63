//! A tensor of an open file: what the index says of it, and its bytes.

use std::ops::Range;

use codec::tile::Mode;

use super::blocks::Destination;
use super::checkpoint::{Checkpoint, ChunkStart, mismatch};
use super::elements::Decoded;
use super::runs::{Checks, Run};
use crate::error::{Error, Result, quoted};
use crate::format::{BlockRecord, PlanRecord, ReferenceRecord, TensorRecord};
use crate::hash::xxh3;
use crate::safetensors::Dtype;

/// A tensor of an open checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    checkpoint: &'a Checkpoint,
    number: usize,
}

impl<'a> Tensor<'a> {
    /// The tensor with this number in the index.
    pub(super) fn new(checkpoint: &'a Checkpoint, number: usize) -> Self {
        Self { checkpoint, number }
    }

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
    pub(super) fn base_bytes(&self) -> Option<&'a [u8]> {
        let base = self.checkpoint.base()?;
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
        self.checkpoint.decode_tensors([(*self, out)], Destination::Memory)
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
        let run = Run { tensor: *self, blocks, out };
        self.checkpoint.decode_runs([run], Checks::Chunks, Destination::Cache)
    }

    /// The same with whatever checksums chunks have.
    pub(crate) fn decode_blocks_unchecked(
        &self,
        blocks: Range<usize>,
        out: &mut [u8],
    ) -> Result<()> {
        let run = Run { tensor: *self, blocks, out };
        self.checkpoint.decode_runs([run], Checks::Nothing, Destination::Cache).map(drop)
    }

    /// Decoded bytes of a block other than the last.
    pub(crate) fn block_bytes(&self) -> usize {
        self.record().block_elements as usize * usize::from(self.record().width)
    }

    /// A chunk's bytes as they are in the file.
    pub(super) fn stored_chunk(&self, chunk: usize) -> &'a [u8] {
        let record = &self.record().chunks[chunk];
        let start = self.chunk_starts()[chunk];
        // Within the file: the index was validated against the payload's length.
        let file = self.checkpoint.file();
        &file[start.offset as usize..][..record.bytes as usize]
    }

    /// A chunk's bytes, once its checksum has been found right.
    pub(crate) fn chunk_bytes(&self, chunk: usize) -> Result<&'a [u8]> {
        let bytes = self.stored_chunk(chunk);
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

    /// Where each chunk begins.
    pub(super) fn chunk_starts(&self) -> &'a [ChunkStart] {
        self.checkpoint.chunk_starts(self.number)
    }

    /// Where in the file a chunk begins.
    pub(crate) fn chunk_offset(&self, chunk: usize) -> u64 {
        self.chunk_starts()[chunk].offset
    }

    pub(super) fn display(&self) -> String {
        format!("tensor {} of {}", quoted(self.name()), self.checkpoint.path().display())
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
