//! Runs of blocks, decoded in parallel: of one tensor or of thousands of small ones.

use std::ops::{Range, RangeInclusive};

use rayon::prelude::*;

use super::blocks::Block;
use super::checkpoint::{Checkpoint, mismatch};
use super::tensor::Tensor;
use crate::error::Result;
use crate::hash::of_blocks;

/// Blocks that a thread takes at a time: enough for two at once, few enough that all threads have
/// some.
const BLOCKS_PER_JOB: usize = 4;
/// Small ones are taken as many at a time as have so many decoded bytes: no more than what each thread has
/// several of.
const BYTES_PER_JOB: RangeInclusive<usize> = 32 << 10..=1 << 20;
/// Jobs of small blocks for each thread.
const JOBS_PER_THREAD: usize = 4;

/// Gives the bytes of a tensor's chunk: checked, or as they are in the file.
pub(super) type ChunkBytes<'a> = fn(&Tensor<'a>, usize) -> Result<&'a [u8]>;

/// Blocks of a tensor that follow one another, and their place: exactly their bytes.
pub(super) struct Run<'a, 'o> {
    pub(super) tensor: Tensor<'a>,
    pub(super) blocks: Range<usize>,
    pub(super) out: &'o mut [u8],
}

/// Those blocks of a run that lie in one chunk.
struct Part<'a, 'o> {
    tensor: Tensor<'a>,
    chunk: usize,
    blocks: Range<usize>,
    out: &'o mut [u8],
    /// Receives the xxh3 of each block.
    checksums: &'o mut [u64],
}

impl Checkpoint {
    /// Decodes whole tensors, each into as many bytes as it has.
    ///
    /// What comes out has the right checksum, so that those of the chunks need not be looked at.
    pub(crate) fn decode_tensors<'a, 'o>(
        &'a self,
        tensors: impl IntoIterator<Item = (Tensor<'a>, &'o mut [u8])>,
    ) -> Result<()> {
        let whole = |(tensor, out): (Tensor<'a>, _)| {
            let tensor = tensor.stored();
            Run { tensor, blocks: 0..tensor.record().blocks.len(), out }
        };
        let runs: Vec<Run<'a, 'o>> = tensors.into_iter().map(whole).collect();
        let stored: Vec<Tensor<'a>> = runs.iter().map(|run| run.tensor).collect();
        let decoded = self.decode_runs(runs, Tensor::stored_chunk);
        let mut checked = stored.iter().zip(decoded).map(|(tensor, checksums)| {
            checksums.and_then(|checksums| check_tensor(tensor, &checksums)).map_err(|error| {
                // A chunk whose checksum is wrong says more precisely where the damage is.
                let mut chunks = 0..tensor.record().chunks.len();
                chunks.find_map(|chunk| tensor.chunk_bytes(chunk).err()).unwrap_or(error)
            })
        });
        self.checked(checked.try_for_each(|checked| checked))
    }

    /// Decodes runs of blocks, with chunks as `chunk_bytes` gives them. Returns of each run the xxh3 of
    /// its blocks, or the first thing in the file that is wrong with it.
    pub(super) fn decode_runs<'a, 'o>(
        &'a self,
        runs: impl IntoIterator<Item = Run<'a, 'o>>,
        chunk_bytes: ChunkBytes<'a>,
    ) -> Vec<Result<Vec<u64>>> {
        let runs: Vec<Run<'a, 'o>> = runs.into_iter().collect();
        let mut checksums: Vec<Vec<u64>> =
            runs.iter().map(|run| vec![0; run.blocks.len()]).collect();
        let mut parts = Vec::with_capacity(runs.len());
        // How many parts there are up to the end of each run.
        let mut ends = Vec::with_capacity(runs.len());
        for (run, checksums) in runs.into_iter().zip(&mut checksums) {
            run.cut(checksums, &mut parts);
            ends.push(parts.len());
        }
        let decode = |parts: &mut [Part<'a, '_>]| self.decode_parts(parts, chunk_bytes);
        let done: Vec<Vec<Result<()>>> = jobs(&mut parts).into_par_iter().map(decode).collect();
        let mut done = done.into_iter().flatten();
        let mut start = 0;
        let of_run = |(checksums, end): (Vec<u64>, usize)| {
            // Of several errors the first in the file, whichever thread was faster.
            let done = done.by_ref().take(end - start).fold(Ok(()), Result::and);
            start = end;
            done.map(|()| checksums)
        };
        checksums.into_iter().zip(ends).map(of_run).collect()
    }

    fn decode_parts<'a>(
        &self,
        parts: &mut [Part<'a, '_>],
        chunk_bytes: ChunkBytes<'a>,
    ) -> Vec<Result<()>> {
        if let [part] = parts {
            return vec![self.decode_part(part, chunk_bytes)];
        }
        let mut decode = || {
            let mut blocks = Vec::with_capacity(parts.len());
            for part in &mut *parts {
                part.add_blocks(chunk_bytes, &mut blocks)?;
            }
            self.block_decoders.lend(|decoder| decoder.decode(&self.index, &mut blocks))
        };
        match decode() {
            Ok(()) => parts.iter().map(|_| Ok(())).collect(),
            // One of them is damaged, and not the others.
            Err(_) => parts.iter_mut().map(|part| self.decode_part(part, chunk_bytes)).collect(),
        }
    }

    fn decode_part<'a>(&self, part: &mut Part<'a, '_>, chunk_bytes: ChunkBytes<'a>) -> Result<()> {
        let mut blocks = Vec::with_capacity(part.blocks.len());
        part.add_blocks(chunk_bytes, &mut blocks)?;
        blocks.par_chunks_mut(BLOCKS_PER_JOB).try_for_each(|blocks| {
            self.block_decoders.lend(|decoder| decoder.decode(&self.index, blocks))
        })
    }
}

/// Compares the xxh3 of all blocks of a tensor with what the index says.
pub(super) fn check_tensor(tensor: &Tensor<'_>, checksums: &[u64]) -> Result<()> {
    let (expected, found) = (tensor.record().xxh3, of_blocks(checksums));
    if expected == found {
        return Ok(());
    }
    Err(mismatch(tensor.display(), "its decoded bytes", expected, found))
}

/// Parts, as many at a time as one thread takes: one, or several small ones.
fn jobs<'p, 'a, 'o>(parts: &'p mut [Part<'a, 'o>]) -> Vec<&'p mut [Part<'a, 'o>]> {
    let bytes: usize = parts.iter().map(|part| part.out.len()).sum();
    let share = bytes / (JOBS_PER_THREAD * rayon::current_num_threads());
    let most_bytes = share.clamp(*BYTES_PER_JOB.start(), *BYTES_PER_JOB.end());
    let mut jobs = Vec::with_capacity(parts.len());
    let mut rest = parts;
    while !rest.is_empty() {
        let (mut blocks, mut bytes) = (0, 0);
        let taken = rest.iter().take_while(|part| {
            blocks += part.blocks.len();
            bytes += part.out.len();
            blocks == part.blocks.len() || blocks <= BLOCKS_PER_JOB || bytes <= most_bytes
        });
        let count = taken.count();
        let (now, later) = rest.split_at_mut(count);
        jobs.push(now);
        rest = later;
    }
    jobs
}

impl<'a, 'o> Run<'a, 'o> {
    fn cut(self, checksums: &'o mut [u64], parts: &mut Vec<Part<'a, 'o>>) {
        let Self { tensor, blocks, mut out } = self;
        if blocks.is_empty() {
            return;
        }
        let starts = tensor.chunk_starts();
        let first = starts.partition_point(|start| start.block <= blocks.start) - 1;
        let end = starts.partition_point(|start| start.block < blocks.end);
        let mut checksums = checksums;
        for (chunk, start) in starts.iter().enumerate().take(end).skip(first) {
            let begin = start.block;
            let end = begin + tensor.record().chunks[chunk].blocks as usize;
            let blocks = begin.max(blocks.start)..end.min(blocks.end);
            let bytes = (blocks.len() * tensor.block_bytes()).min(out.len());
            let (now, later) = out.split_at_mut(bytes);
            out = later;
            let (own, others) = checksums.split_at_mut(blocks.len());
            checksums = others;
            parts.push(Part { tensor, chunk, blocks, out: now, checksums: own });
        }
    }
}

impl<'a> Part<'a, '_> {
    /// Adds its blocks, those that have the same tables one after the other, so that they are decoded
    /// together.
    fn add_blocks<'p>(
        &'p mut self,
        chunk_bytes: ChunkBytes<'a>,
        blocks: &mut Vec<Block<'p>>,
    ) -> Result<()>
    where
        'a: 'p,
    {
        let record = self.tensor.record();
        let bytes = chunk_bytes(&self.tensor, self.chunk)?;
        let first = self.tensor.chunk_starts()[self.chunk].block;
        let before = &record.blocks[first..self.blocks.start];
        let mut at: usize = before.iter().map(|block| block.bytes as usize).sum();
        let begin = blocks.len();
        let outs = self.out.chunks_mut(self.tensor.block_bytes()).zip(&mut *self.checksums);
        for (number, (out, checksum)) in self.blocks.clone().zip(outs) {
            let block = record.blocks[number];
            let plan = &record.plans[usize::from(block.plan)];
            let base = self.tensor.base_block(number, plan)?;
            let bytes = &bytes[at..][..block.bytes as usize];
            at += block.bytes as usize;
            blocks.push(Block { tensor: record, number, plan, bytes, base, out, checksum });
        }
        blocks[begin..].sort_by_key(|block| record.blocks[block.number].plan);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::safetensors::{Dtype, TensorData, build};
    use crate::{EncodeOptions, encode_safetensors_bytes};

    const TENSORS: usize = 40;
    const ELEMENTS: usize = 1500;

    /// Small tensors of several kinds, one after the other, and their bytes.
    fn encoded() -> (Vec<u8>, Vec<u8>) {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let exponent = |random: u32| 120 - (random | 1 << 9).trailing_zeros() as u16;
        let tensors: Vec<Vec<u8>> = (0..TENSORS)
            .map(|tensor| {
                let elements = if tensor == 7 { 0 } else { ELEMENTS + tensor % 3 };
                let element = |random: u32| exponent(random) << 7 | (random as u16 >> 3) & 0x7F;
                (0..elements).flat_map(|_| element(random()).to_le_bytes()).collect()
            })
            .collect();
        let names: Vec<String> = (0..TENSORS).map(|number| format!("t{number:02}")).collect();
        let shapes: Vec<[u64; 1]> = tensors.iter().map(|bytes| [bytes.len() as u64 / 2]).collect();
        let data: Vec<TensorData<'_>> = (0..TENSORS)
            .map(|number| TensorData {
                name: &names[number],
                dtype: Dtype::BF16,
                shape: &shapes[number],
                bytes: &tensors[number],
            })
            .collect();
        let options = EncodeOptions { block_elements: 1024, ..EncodeOptions::default() };
        let file = build(&data, &[]).unwrap();
        (encode_safetensors_bytes(&file, &options).unwrap().0, tensors.concat())
    }

    #[test]
    fn small_tensors_decode_together() {
        let (encoded, bytes) = encoded();
        let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
        let mut out = vec![0; bytes.len()];
        checkpoint.decode_all_into(&mut out).unwrap();
        assert!(out == bytes);
    }

    #[test]
    fn a_damaged_tensor_does_no_harm_to_those_that_it_is_decoded_with() {
        let (mut encoded, bytes) = encoded();
        let offset = {
            let checkpoint = Checkpoint::from_bytes(encoded.clone()).unwrap();
            checkpoint.tensor("t20").unwrap().chunk_offset(0)
        };
        encoded[offset as usize + 900] ^= 1;
        let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
        let mut out = vec![0; bytes.len()];
        let error = checkpoint.decode_all_into(&mut out).unwrap_err().to_string();
        assert!(error.contains("t20") && error.contains("chunk 0"), "{error}");
        for chunk_bytes in [Tensor::chunk_bytes, Tensor::stored_chunk] {
            let mut rest = &mut out[..];
            let runs = checkpoint.tensors().map(|tensor| {
                let length = tensor.byte_len() as usize;
                let (out, later) = std::mem::take(&mut rest).split_at_mut(length);
                rest = later;
                Run { tensor, blocks: 0..tensor.record().blocks.len(), out }
            });
            let decoded = checkpoint.decode_runs(runs, chunk_bytes);
            for (tensor, decoded) in checkpoint.tensors().zip(decoded) {
                let right = decoded.and_then(|checksums| check_tensor(&tensor, &checksums));
                assert_eq!(right.is_ok(), tensor.name() != "t20", "{}", tensor.name());
            }
        }
    }
}
