//! From the mapped file to decoded device memory, in overlapping stages.
//!
//! Batches of chunks go through a ring of slots, each with pinned memory, device memory and a
//! stream of its own: while one slot's kernels run, the next one's bytes are on the bus, and the
//! CPU checks and copies those of the one after into pinned memory.

use std::ops::Range;

use cuda_driver::cust::memory::{AsyncCopyDestination, DeviceBuffer, LockedBuffer};
use cuda_driver::cust::stream::{Stream, StreamFlags};
use rayon::prelude::*;

use super::device::gpu;
use super::engine::{Engine, PreparedWork};
use super::work::{Request, Work};
use crate::decode::Tensor;
use crate::error::Result;
use crate::format::Index;

/// Slots of the ring.
const SLOTS: usize = 3;
/// Bytes of a batch, payload and base together; a chunk that has more is a batch of its own.
const BATCH_BYTES: usize = 32 << 20;

/// What kernels load from the base is aligned to this.
pub(super) const BASE_ALIGNMENT: usize = 16;

/// A run of whole blocks of a tensor, and where its bytes go.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    pub(super) tensor: Tensor<'a>,
    pub(super) blocks: Range<usize>,
    /// Offset in the output; a multiple of 16.
    pub(super) out: u64,
}

/// Blocks of one chunk, to be decoded with others of the same batch.
struct Piece<'a> {
    tensor: Tensor<'a>,
    chunk: usize,
    blocks: Range<usize>,
    /// Where the blocks lie in the chunk.
    bytes: Range<usize>,
    out: u64,
    /// The base's bytes of the blocks, if any of them needs these.
    base: &'a [u8],
}

/// Decodes `parts`, all of one checkpoint, into new device memory of `total` bytes.
pub(super) fn decode_parts(
    engine: &Engine,
    parts: &[Part<'_>],
    total: u64,
) -> Result<DeviceBuffer<u8>> {
    engine.make_current()?;
    let length = usize::try_from(total).unwrap_or(usize::MAX).max(1);
    // SAFETY: every byte that a tensor has is written by the kernels, whose status words are
    // checked before the memory is handed out; the gaps between tensors are never read.
    let output = unsafe { DeviceBuffer::<u8>::uninitialized(length) };
    let output =
        output.map_err(gpu(&format!("allocate {length} bytes for the decoded tensors")))?;
    let batches = batches(parts)?;
    let largest = batches.iter().map(|batch| staged_bytes(batch)).max().unwrap_or(0);
    let mut slots: Vec<Slot<'_>> =
        (0..SLOTS.min(batches.len())).map(|_| Slot::new(largest)).collect::<Result<_>>()?;
    for (number, batch) in batches.iter().enumerate() {
        let slot = &mut slots[number % SLOTS];
        slot.finish(engine)?;
        slot.start(engine, batch, output.as_device_ptr().as_raw())?;
    }
    slots.iter_mut().try_for_each(|slot| slot.finish(engine))?;
    Ok(output)
}

/// Pieces in order, as many to a batch as fit.
fn batches<'a>(parts: &[Part<'a>]) -> Result<Vec<Vec<Piece<'a>>>> {
    let mut batches: Vec<Vec<Piece<'a>>> = Vec::new();
    let mut bytes = 0;
    for part in parts {
        for piece in pieces(part)? {
            let length = piece.bytes.len() + piece.base_room();
            match batches.last_mut() {
                Some(batch) if bytes + length <= BATCH_BYTES => batch.push(piece),
                _ => {
                    bytes = 0;
                    batches.push(vec![piece]);
                }
            }
            bytes += length;
        }
    }
    Ok(batches)
}

/// The blocks of a part, chunk by chunk.
fn pieces<'a>(part: &Part<'a>) -> Result<Vec<Piece<'a>>> {
    let record = part.tensor.record();
    let block_bytes = u64::from(record.block_elements) * u64::from(record.width);
    let mut pieces = Vec::new();
    let mut first = 0;
    for (chunk, chunk_record) in record.chunks.iter().enumerate() {
        let all = first..first + chunk_record.blocks as usize;
        first = all.end;
        let blocks = all.start.max(part.blocks.start)..all.end.min(part.blocks.end);
        if blocks.is_empty() {
            continue;
        }
        let length = |range: Range<usize>| -> usize {
            record.blocks[range].iter().map(|block| block.bytes as usize).sum()
        };
        let start = length(all.start..blocks.start);
        let bytes = start..start + length(blocks.clone());
        let out = part.out + (blocks.start - part.blocks.start) as u64 * block_bytes;
        let base = part.tensor.base_of_blocks(blocks.clone())?;
        pieces.push(Piece { tensor: part.tensor, chunk, blocks, bytes, out, base });
    }
    Ok(pieces)
}

fn payload_bytes(batch: &[Piece<'_>]) -> usize {
    batch.iter().map(|piece| piece.bytes.len()).sum()
}

/// What a batch copies to the device.
fn staged_bytes(batch: &[Piece<'_>]) -> usize {
    base_start(batch) + batch.iter().map(Piece::base_room).sum::<usize>()
}

/// Where the base's bytes begin among them: aligned, whatever lengths the index gives to blocks.
fn base_start(batch: &[Piece<'_>]) -> usize {
    payload_bytes(batch).next_multiple_of(BASE_ALIGNMENT)
}

impl Piece<'_> {
    /// Bytes that the base's take among others.
    fn base_room(&self) -> usize {
        self.base.len().next_multiple_of(BASE_ALIGNMENT)
    }
}

/// A place of the ring.
struct Slot<'a> {
    pinned: LockedBuffer<u8>,
    staging: DeviceBuffer<u8>,
    stream: Stream,
    /// What the stream is busy with, and the index that names its blocks.
    busy: Option<(PreparedWork, &'a Index)>,
}

impl Drop for Slot<'_> {
    /// After an error, kernels and copies may still be under way: they end before what they work on
    /// is freed.
    fn drop(&mut self) {
        // A device that is lost does nothing any more.
        let _ = self.stream.synchronize();
    }
}

impl<'a> Slot<'a> {
    fn new(bytes: usize) -> Result<Self> {
        let bytes = bytes.max(1);
        let pinned = LockedBuffer::new(&0, bytes).map_err(gpu("allocate pinned memory"))?;
        // SAFETY: kernels read only what the copy before them has written.
        let staging = unsafe { DeviceBuffer::uninitialized(bytes) };
        let staging = staging.map_err(gpu("allocate memory for compressed blocks"))?;
        let stream = Stream::new(StreamFlags::NON_BLOCKING, None).map_err(gpu("make a stream"))?;
        Ok(Self { pinned, staging, stream, busy: None })
    }

    /// Brings a batch under way. `output` is the address of the decoded memory.
    fn start(&mut self, engine: &Engine, batch: &[Piece<'a>], output: u64) -> Result<()> {
        let Some(first) = batch.first() else { return Ok(()) };
        let index = first.tensor.index();
        let length = staged_bytes(batch);
        fill(batch, &mut self.pinned.as_mut_slice()[..length])?;
        // SAFETY: both buffers have `length` bytes and stay as they are until `finish` has waited
        // for the stream; dropping them earlier waits for the device.
        unsafe {
            let pinned = &self.pinned.as_slice()[..length];
            let copied = self.staging.index(..length).async_copy_from(pinned, &self.stream);
            copied.map_err(gpu("copy compressed blocks"))?;
        }
        let mut payload = self.staging.as_device_ptr().as_raw();
        let mut base = payload + base_start(batch) as u64;
        let mut requests = Vec::with_capacity(batch.len());
        for piece in batch {
            requests.push(Request {
                tensor: piece.tensor.number(),
                blocks: piece.blocks.clone(),
                payload,
                out: output + piece.out,
                base,
            });
            base += piece.base_room() as u64;
            payload += piece.bytes.len() as u64;
        }
        let mut work = engine.prepare(Work::new(index, &requests)?)?;
        // SAFETY: the staging memory and the output outlive the stream's work, as above.
        unsafe { engine.launch(&mut work, &self.stream)? };
        self.busy = Some((work, index));
        Ok(())
    }

    /// Waits for the batch under way, if there is one, and looks at what its kernels report.
    fn finish(&mut self, engine: &Engine) -> Result<()> {
        let Some((work, index)) = self.busy.take() else { return Ok(()) };
        self.stream.synchronize().map_err(gpu("decode"))?;
        engine.check(&work, index)
    }
}

/// Copies the pieces' blocks to pinned memory one after the other, chunks checked, and then what
/// they need of the base.
fn fill(batch: &[Piece<'_>], pinned: &mut [u8]) -> Result<()> {
    let mut rest = pinned;
    let mut jobs = Vec::with_capacity(batch.len());
    for piece in batch {
        let (now, later) = rest.split_at_mut(piece.bytes.len());
        rest = later;
        jobs.push((piece, now));
    }
    let mut rest = &mut rest[base_start(batch) - payload_bytes(batch)..];
    let rooms = batch.iter().map(|piece| {
        let (now, later) = std::mem::take(&mut rest).split_at_mut(piece.base_room());
        rest = later;
        (piece.base, now)
    });
    let bases: Vec<(&[u8], &mut [u8])> = rooms.collect();
    bases.into_par_iter().for_each(|(base, room)| room[..base.len()].copy_from_slice(base));
    jobs.into_par_iter().try_for_each(|(piece, target)| {
        let chunk = piece.tensor.chunk_bytes(piece.chunk)?;
        target.copy_from_slice(&chunk[piece.bytes.clone()]);
        Ok(())
    })
}
