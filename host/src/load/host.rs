//! Loading on the CPU: the mapped file is decoded in parallel.

use std::ops::Range;

use rayon::prelude::*;

use super::loaded::on_host;
use super::options::LoadOptions;
use super::report::LoadReport;
use super::selection::{Selected, Selection};
use crate::decode::{Checkpoint, Destination};
use crate::error::{Error, Result};
use crate::gpu::{DeviceTensor, HostMemory};

/// Bytes that are decoded between one look at the cancellation and the next.
const STEP_BYTES: u64 = 64 << 20;
/// Blocks of a slice that are decoded at a time, in bytes: what they are decoded to is memory beside
/// the output.
const SLICE_STEP_BYTES: usize = 8 << 20;

/// Decodes everything that is selected into one allocation.
pub(super) fn load(
    checkpoint: &Checkpoint,
    selection: &Selection<'_>,
    options: &LoadOptions,
) -> Result<(Vec<DeviceTensor>, LoadReport)> {
    let mut memory = HostMemory::zeroed(selection.total)?;
    let out = &mut memory.bytes_mut()[..selection.total as usize];
    let report = decode(checkpoint, selection, options, out, Destination::Cache)?;
    Ok((on_host(selection, memory), report))
}

/// Decodes everything that is selected into `out`, which has as many bytes as the selection.
pub(super) fn decode(
    checkpoint: &Checkpoint,
    selection: &Selection<'_>,
    options: &LoadOptions,
    out: &mut [u8],
    destination: Destination,
) -> Result<LoadReport> {
    let tensor_bytes = selection.tensor_bytes();
    let progress = options.progress.as_deref();
    if let Some(progress) = progress {
        progress.start(tensor_bytes);
    }
    for step in steps(selection, out) {
        if options.is_cancelled() {
            return Err(Error::Cancelled { path: checkpoint.path().to_owned() });
        }
        let bytes = step.iter().map(|(tensor, _)| tensor.byte_len()).sum();
        let is_plain = |(tensor, _): &(&Selected<'_>, _)| options.checksums && tensor.is_whole();
        let (whole, others): (Vec<_>, Vec<_>) = step.into_iter().partition(is_plain);
        let whole = whole.into_iter().map(|(selected, out)| (selected.part.tensor, out));
        checkpoint.decode_tensors(whole, destination)?;
        let decoded = others
            .into_par_iter()
            .try_for_each(|(tensor, out)| decode_tensor(tensor, options.checksums, out));
        checkpoint.checked(decoded)?;
        if let Some(progress) = progress {
            progress.advance(bytes);
        }
    }
    let read = |tensor: &Selected<'_>| read_bytes(tensor, options.checksums);
    Ok(LoadReport {
        seconds: 0.0,
        file_bytes: selection.tensors.iter().map(read).sum(),
        tensor_bytes,
        tensors: selection.tensors.len(),
        threads: rayon::current_num_threads(),
        pinned_bytes: 0,
        device_bytes: 0,
        checksums: options.checksums,
        stages: None,
    })
}

/// Tensors with their memory, so many at a time that all threads have work.
fn steps<'s, 'a, 'o>(
    selection: &'s Selection<'a>,
    out: &'o mut [u8],
) -> Vec<Vec<(&'s Selected<'a>, &'o mut [u8])>> {
    let mut steps: Vec<Vec<(&Selected<'_>, &mut [u8])>> = Vec::new();
    let (mut rest, mut done, mut bytes) = (out, 0, 0);
    for tensor in &selection.tensors {
        let (_, from_here) = rest.split_at_mut((tensor.part.out - done) as usize);
        let (now, later) = from_here.split_at_mut(tensor.byte_len() as usize);
        rest = later;
        done = tensor.part.out + tensor.byte_len();
        match steps.last_mut() {
            Some(step) if bytes + tensor.byte_len() <= STEP_BYTES => step.push((tensor, now)),
            _ => {
                bytes = 0;
                steps.push(vec![(tensor, now)]);
            }
        }
        bytes += tensor.byte_len();
    }
    steps
}

fn decode_tensor(selected: &Selected<'_>, checksums: bool, out: &mut [u8]) -> Result<()> {
    let tensor = selected.part.tensor;
    let rows = &selected.part.rows;
    let mut decoded = Vec::new();
    for blocks in wanted_blocks(selected) {
        let bytes = selected.part.bytes_of(&blocks);
        decoded.resize((bytes.end - bytes.start) as usize, 0);
        if checksums {
            tensor.decode_blocks(blocks, &mut decoded)?;
        } else {
            tensor.decode_blocks_unchecked(blocks, &mut decoded)?;
        }
        rows.copy(&decoded, bytes.start, out);
    }
    Ok(())
}

/// The runs of blocks that are decoded together: each begins and ends with something of the slice.
fn wanted_blocks<'s>(selected: &'s Selected<'_>) -> impl Iterator<Item = Range<usize>> + 's {
    let part = &selected.part;
    let count = part.tensor.record().blocks.len();
    let step = (SLICE_STEP_BYTES / part.tensor.block_bytes()).max(1);
    (0..count).step_by(step).filter_map(move |start| {
        let wanted = |number: &usize| part.rows.want(&part.bytes_of(&(*number..number + 1)));
        let blocks = start..(start + step).min(count);
        let first = blocks.clone().find(wanted)?;
        let last = blocks.rev().find(wanted)?;
        Some(first..last + 1)
    })
}

/// Bytes of the file that a tensor, or the part of it that is wanted, takes: with checksums all of
/// each chunk that has something of it.
fn read_bytes(selected: &Selected<'_>, checksums: bool) -> u64 {
    let record = selected.part.tensor.record();
    let length = |blocks: Range<usize>| -> u64 {
        record.blocks[blocks].iter().map(|block| u64::from(block.bytes)).sum()
    };
    let runs: Vec<Range<usize>> = wanted_blocks(selected).collect();
    if !checksums {
        return runs.into_iter().map(length).sum();
    }
    let mut end = 0;
    let chunks = record.chunks.iter().map(|chunk| {
        let start = end;
        end += chunk.blocks as usize;
        start..end
    });
    let is_read = |chunk: &Range<usize>| {
        let next = runs.partition_point(|run| run.end <= chunk.start);
        runs.get(next).is_some_and(|run| run.start < chunk.end)
    };
    chunks.filter(is_read).map(length).sum()
}
