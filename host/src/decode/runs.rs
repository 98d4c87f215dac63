//! Runs of blocks, decoded in parallel: of one tensor or of thousands of small ones.

use std::ops::{Range, RangeInclusive};

use rayon::prelude::*;

use super::blocks::{Block, Destination};
use super::checkpoint::{Checkpoint, mismatch};
use super::tensor::Tensor;
use crate::error::{Error, Result};
use crate::hash::of_blocks;

/// Blocks that a thread takes at a time: enough for two at once, few enough that all threads have
/// some.
const BLOCKS_PER_JOB: usize = 4;
/// Small runs are taken as many at a time as have so many decoded bytes: no more than what each thread has
/// several of, and enough that few blocks are left without another of their kind.
const BYTES_PER_JOB: RangeInclusive<usize> = 32 << 10..=2 << 20;
/// Jobs of small blocks for each thread.
const JOBS_PER_THREAD: usize = 4;

/// Decoded bytes that are more than the cache of most processors keeps until somebody reads them.
const MORE_THAN_CACHED_BYTES: usize = 32 << 20;

/// Which checksums are compared.
#[derive(Clone, Copy)]
pub(super) enum Checks {
    /// None.
    Nothing,
    /// Those of chunks, before anything in them is decoded.
    Chunks,
    /// Those of whole tensors, which all runs then are. What comes out has the right checksum, so that those
    /// of the chunks need not be looked at.
    Tensors,
}

/// How runs are decoded.
#[derive(Clone, Copy)]
struct Decoding<'c> {
    checkpoint: &'c Checkpoint,
    checks: Checks,
    destination: Destination,
}

/// Blocks of a tensor that follow one another, and their place: exactly their bytes.
pub(super) struct Run<'a, 'o> {
    pub(super) tensor: Tensor<'a>,
    pub(super) blocks: Range<usize>,
    pub(super) out: &'o mut [u8],
}

/// Runs that one thread takes at a time: several of few bytes, or one, which others take part in.
struct Job<'j, 'a, 'o> {
    runs: &'j mut [Run<'a, 'o>],
    /// Receives the xxh3 of each block, run by run.
    checksums: &'j mut [u64],
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
    /// Decodes whole tensors, each into as many bytes as it has, and compares their checksums.
    pub(crate) fn decode_tensors<'a, 'o>(
        &'a self,
        tensors: impl IntoIterator<Item = (Tensor<'a>, &'o mut [u8])>,
        destination: Destination,
    ) -> Result<()> {
        let whole = |(tensor, out): (Tensor<'a>, _)| {
            let tensor = tensor.stored();
            Run { tensor, blocks: 0..tensor.record().blocks.len(), out }
        };
        let runs: Vec<Run<'a, 'o>> = tensors.into_iter().map(whole).collect();
        let bytes: usize = runs.iter().map(|run| run.out.len()).sum();
        let is_cached = bytes < MORE_THAN_CACHED_BYTES;
        let destination = if is_cached { Destination::Cache } else { destination };
        self.decode_runs(runs, Checks::Tensors, destination).map(drop)
    }

    /// Decodes runs of blocks. Returns the xxh3 of each block, run by run, or the first thing in the file
    /// that is wrong.
    pub(super) fn decode_runs<'a, 'o>(
        &'a self,
        runs: impl IntoIterator<Item = Run<'a, 'o>>,
        checks: Checks,
        destination: Destination,
    ) -> Result<Vec<u64>> {
        let mut runs: Vec<Run<'a, 'o>> = runs.into_iter().collect();
        let decoding = Decoding { checkpoint: self, checks, destination };
        let mut checksums = vec![0; runs.iter().map(|run| run.blocks.len()).sum()];
        let jobs = jobs(&mut runs, &mut checksums);
        // One by one: of a list that is divided among threads a part is not divided again unless it is stolen,
        // and at the end all wait for who has the longest.
        let done = jobs.into_par_iter().with_max_len(1).map(|job| job.decode(decoding)).collect();
        self.checked(first_error(done))?;
        Ok(checksums)
    }
}

/// Of several errors the first in the file, whichever thread was faster.
fn first_error(done: Vec<Result<()>>) -> Result<()> {
    done.into_iter().collect()
}

/// Runs, as many at a time as one thread takes, with as many checksums as they have blocks.
fn jobs<'j, 'a, 'o>(runs: &'j mut [Run<'a, 'o>], checksums: &'j mut [u64]) -> Vec<Job<'j, 'a, 'o>> {
    let bytes: usize = runs.iter().map(|run| run.out.len()).sum();
    let share = bytes / (JOBS_PER_THREAD * rayon::current_num_threads());
    let most_bytes = share.clamp(*BYTES_PER_JOB.start(), *BYTES_PER_JOB.end());
    let mut jobs = Vec::new();
    let (mut runs, mut checksums) = (runs, checksums);
    while !runs.is_empty() {
        let (mut count, mut blocks, mut bytes) = (0, 0, 0);
        for run in &*runs {
            bytes += run.out.len();
            let with_it = blocks + run.blocks.len();
            if count > 0 && with_it > BLOCKS_PER_JOB && bytes > most_bytes {
                break;
            }
            (count, blocks) = (count + 1, with_it);
        }
        let (now, later) = runs.split_at_mut(count);
        let (own, others) = checksums.split_at_mut(blocks);
        jobs.push(Job { runs: now, checksums: own });
        (runs, checksums) = (later, others);
    }
    jobs
}

impl<'a, 'o> Job<'_, 'a, 'o> {
    fn decode(mut self, decoding: Decoding<'_>) -> Result<()> {
        if self.runs.len() > 1 && self.decode_together(decoding).is_ok() {
            return Ok(());
        }
        // There is only one, or something is wrong with one of them, and not with the others.
        self.each().try_for_each(|(run, checksums)| run.decode(decoding, checksums))
    }

    /// Each run, with the place for its checksums.
    fn each(&mut self) -> impl Iterator<Item = (&mut Run<'a, 'o>, &mut [u64])> {
        let mut rest = &mut *self.checksums;
        self.runs.iter_mut().map(move |run| {
            let own = rest.split_off_mut(..run.blocks.len()).expect("all blocks have one");
            (run, own)
        })
    }

    /// Decodes the blocks of all runs, those of the same kind one after the other. An error does not say which
    /// is the first.
    fn decode_together(&mut self, decoding: Decoding<'_>) -> Result<()> {
        let checks = decoding.checks;
        let mut blocks = Vec::with_capacity(self.checksums.len());
        let mut parts = Vec::with_capacity(self.runs.len());
        self.each().for_each(|(run, checksums)| run.cut(checksums, &mut parts));
        for part in &mut parts {
            part.add_blocks(checks, &mut blocks)?;
        }
        // Two of the same kind are decoded together, of whichever tensors they are.
        blocks.sort_by_cached_key(Block::kind);
        decoding.decode(&mut blocks)?;
        self.each().try_for_each(|(run, checksums)| checks.compare(&run.tensor, checksums))
    }
}

impl<'a> Run<'a, '_> {
    /// Decodes its blocks in parallel.
    fn decode(&mut self, decoding: Decoding<'_>, checksums: &mut [u64]) -> Result<()> {
        let checks = decoding.checks;
        let mut parts = Vec::new();
        self.cut(checksums, &mut parts);
        let decode = |part: &mut Part<'a, '_>| part.decode(decoding);
        let decoded = first_error(parts.par_iter_mut().with_max_len(1).map(decode).collect());
        let right = decoded.and_then(|()| checks.compare(&self.tensor, checksums));
        right.map_err(|error| checks.explain(&self.tensor, error))
    }

    fn cut<'p>(&'p mut self, checksums: &'p mut [u64], parts: &mut Vec<Part<'a, 'p>>) {
        let Self { tensor, blocks, out } = self;
        if checksums.is_empty() {
            return;
        }
        let starts = tensor.chunk_starts();
        let first = starts.partition_point(|start| start.block <= blocks.start) - 1;
        let end = starts.partition_point(|start| start.block < blocks.end);
        let (mut out, mut checksums) = (&mut **out, checksums);
        for (chunk, start) in starts.iter().enumerate().take(end).skip(first) {
            let begin = start.block;
            let end = begin + tensor.record().chunks[chunk].blocks as usize;
            let blocks = begin.max(blocks.start)..end.min(blocks.end);
            let bytes = (blocks.len() * tensor.block_bytes()).min(out.len());
            let (now, later) = out.split_at_mut(bytes);
            out = later;
            let (own, others) = checksums.split_at_mut(blocks.len());
            checksums = others;
            parts.push(Part { tensor: *tensor, chunk, blocks, out: now, checksums: own });
        }
    }
}

impl<'a> Part<'a, '_> {
    fn decode(&mut self, decoding: Decoding<'_>) -> Result<()> {
        let mut blocks = Vec::with_capacity(self.blocks.len());
        self.add_blocks(decoding.checks, &mut blocks)?;
        blocks
            .par_chunks_mut(BLOCKS_PER_JOB)
            .with_max_len(1)
            .try_for_each(|blocks| decoding.decode(blocks))
    }

    /// Adds its blocks, those that have the same tables one after the other, so that they are decoded
    /// together.
    fn add_blocks<'p>(&'p mut self, checks: Checks, blocks: &mut Vec<Block<'p>>) -> Result<()>
    where
        'a: 'p,
    {
        let record = self.tensor.record();
        let bytes = checks.chunk_bytes(&self.tensor, self.chunk)?;
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

impl Decoding<'_> {
    /// Decodes blocks on this thread.
    fn decode(&self, blocks: &mut [Block<'_>]) -> Result<()> {
        let Checkpoint { block_decoders, index, .. } = self.checkpoint;
        block_decoders.lend(|decoder| decoder.decode(index, blocks, self.destination))
    }
}

impl Checks {
    fn chunk_bytes<'a>(self, tensor: &Tensor<'a>, chunk: usize) -> Result<&'a [u8]> {
        match self {
            Self::Nothing | Self::Tensors => Ok(tensor.stored_chunk(chunk)),
            Self::Chunks => tensor.chunk_bytes(chunk),
        }
    }

    /// Compares what is to be compared when all blocks of a run have been decoded.
    fn compare(self, tensor: &Tensor<'_>, checksums: &[u64]) -> Result<()> {
        match self {
            Self::Nothing | Self::Chunks => Ok(()),
            Self::Tensors => check_tensor(tensor, checksums),
        }
    }

    /// The error of a run, as precise as it can be: a chunk whose checksum is wrong says where the damage is.
    fn explain(self, tensor: &Tensor<'_>, error: Error) -> Error {
        match self {
            Self::Nothing | Self::Chunks => error,
            Self::Tensors => {
                let mut chunks = 0..tensor.record().chunks.len();
                chunks.find_map(|chunk| tensor.chunk_bytes(chunk).err()).unwrap_or(error)
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::safetensors::{Dtype, TensorData, build};
    use crate::{EncodeOptions, encode_safetensors_bytes};

    const TENSORS: usize = 40;
    const ELEMENTS: usize = 1500;

    /// Small tensors of several kinds, elements of two and of four bytes in turn, and their bytes.
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
                let mut half = || {
                    let random = random();
                    exponent(random) << 7 | (random as u16 >> 3) & 0x7F
                };
                let mut element = || [half(), half()].map(u16::to_le_bytes).concat();
                let first_byte = [2, 0][tensor % 2];
                (0..elements).flat_map(|_| element().split_off(first_byte)).collect()
            })
            .collect();
        let names: Vec<String> = (0..TENSORS).map(|number| format!("t{number:02}")).collect();
        let dtypes = [Dtype::BF16, Dtype::F32];
        let elements = |number: usize| tensors[number].len() as u64 / [2, 4][number % 2];
        let shapes: Vec<[u64; 1]> = (0..TENSORS).map(|number| [elements(number)]).collect();
        let data: Vec<TensorData<'_>> = (0..TENSORS)
            .map(|number| TensorData {
                name: &names[number],
                dtype: dtypes[number % 2].clone(),
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
        out.fill(0x5A);
        checkpoint
            .decode_runs(runs_of(&checkpoint, &mut out), Checks::Tensors, Destination::Memory)
            .unwrap();
        assert!(out == bytes, "past the cache");
    }

    /// A run for each tensor.
    fn runs_of<'a, 'o>(checkpoint: &'a Checkpoint, out: &'o mut [u8]) -> Vec<Run<'a, 'o>> {
        let mut rest = out;
        let run = |tensor: Tensor<'a>| {
            let out = rest.split_off_mut(..tensor.byte_len() as usize).expect("all have room");
            Run { tensor, blocks: 0..tensor.record().blocks.len(), out }
        };
        checkpoint.tensors().map(run).collect()
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
        let all_checks = [Checks::Chunks, Checks::Nothing, Checks::Tensors];
        let destinations = [Destination::Cache, Destination::Memory];
        for (checks, destination) in
            all_checks.into_iter().flat_map(|checks| destinations.map(|to| (checks, to)))
        {
            for run in runs_of(&checkpoint, &mut out) {
                let tensor = run.tensor;
                let decoded = checkpoint.decode_runs([run], checks, destination);
                let right = decoded.and_then(|checksums| check_tensor(&tensor, &checksums));
                assert_eq!(right.is_ok(), tensor.name() != "t20", "{}", tensor.name());
            }
        }
    }
}
