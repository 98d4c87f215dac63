//! The threads that fill slots: they read, compare checksums, and say what the kernels are to do.

use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::super::description::Description;
use super::super::engine::{LaunchPlan, PreparedWork};
use super::super::ring::Slot;
use super::super::work::{Request, Work};
use super::staged::{requests, scratch_bytes, stage_base};
use super::times::Times;
use super::{Shared, Target, Transfer};
use crate::error::{Error, Result};
use crate::load::{Batch, Check, Span};
use crate::mapped::Reader;

/// Bytes that are read before their checksums are compared: they are still in the cache.
const READ_BYTES: usize = 1 << 20;

/// A batch in pinned memory, ready to be submitted.
pub(super) struct Filled {
    pub(super) slot: Slot,
    /// The batch's number.
    pub(super) number: usize,
    pub(super) action: Action,
}

/// What is to be done with a batch.
pub(super) enum Action {
    /// Its payload goes to this address as it is.
    Keep(u64),
    /// It is decoded.
    Decode {
        /// Bytes to copy, from the start of the slot.
        staged_bytes: usize,
        description: Described,
        /// Where the blocks lie of which parts are wanted.
        scratch: u64,
        /// Where decoded tensors go.
        output: u64,
    },
}

/// Where the description of the work is.
pub(super) enum Described {
    /// In the slot, with its status words there, and the tensor and block of each.
    InSlot { plan: LaunchPlan, status: Range<usize>, blocks: Vec<(usize, usize)> },
    /// In device memory of its own, for the rare batch with too long a one: thousands of tables, or
    /// tiles by class.
    Apart(Box<PreparedWork>),
}

impl Shared<'_, '_> {
    /// One thread: fills slot after slot, until there are no more batches or somebody fails.
    pub(super) fn fill(&self, filled: &Sender<Filled>) {
        self.note(self.fill_until_error(filled));
    }

    fn fill_until_error(&self, filled: &Sender<Filled>) -> Result<()> {
        let transfer = self.transfer;
        transfer.engine.make_current()?;
        let mut times = Times::default();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if self.failed.load(Ordering::Relaxed) || number >= transfer.batches.len() {
                break;
            }
            if transfer.options.is_cancelled() {
                return Err(Error::Cancelled { path: transfer.checkpoint.path().to_owned() });
            }
            let Some(mut slot) = self.pool.take(&transfer.engine.ring)? else { break };
            times.ready.get_or_insert_with(Instant::now);
            let batch = &transfer.batches[number];
            for span in &batch.spans {
                read_span(&self.reader, batch, span, slot.pinned.bytes_mut(), &mut times)?;
            }
            let action = match self.target {
                Target::Payload(start) => Action::Keep(start + transfer.payload_before[number]),
                Target::Decoded(output) => {
                    stage_base(batch, slot.pinned.bytes_mut());
                    self.describe(&mut slot, batch, output)?
                }
            };
            if filled.send(Filled { slot, number, action }).is_err() {
                break;
            }
        }
        self.times.lock().unwrap_or_else(PoisonError::into_inner).add(times);
        Ok(())
    }

    /// Says what the kernels are to do, behind the payload.
    fn describe(&self, slot: &mut Slot, batch: &Batch<'_>, output: u64) -> Result<Action> {
        let Transfer { engine, checkpoint, .. } = self.transfer;
        let staging = slot.staging.as_device_ptr().as_raw();
        let work = |scratch| {
            let requests: Vec<Request> = requests(batch, staging, output, scratch);
            Work::new(&checkpoint.index, &requests, &checkpoint.kernel_tables)
        };
        let parts_bytes = scratch_bytes(batch).next_multiple_of(256);
        let mut scratch = slot.scratch(parts_bytes)?;
        let mut described = Description::new(work(scratch)?);
        let all = slot.scratch(parts_bytes + described.coded_bytes())?;
        if all != scratch {
            scratch = all;
            described = Description::new(work(scratch)?);
        }
        let at = batch.staged_bytes.next_multiple_of(256);
        let end = at + described.byte_len();
        let (staged_bytes, description) = if end > slot.pinned.bytes().len() {
            let prepared = engine.prepare(work(scratch)?, &slot.stream)?;
            (batch.staged_bytes, Described::Apart(Box::new(prepared)))
        } else {
            let plan = engine.plan(&described, staging + at as u64)?;
            let memory = &mut slot.pinned.bytes_mut()[at..end];
            let (sections, blocks) =
                described.write(staging + at as u64, scratch + parts_bytes, memory);
            let status = at + sections.status.start..at + sections.status.end;
            (end, Described::InSlot { plan, status, blocks })
        };
        Ok(Action::Decode { staged_bytes, description, scratch, output })
    }
}

/// Reads the pieces of a span, and compares their checksums while they are in the cache.
fn read_span(
    reader: &Reader<'_>,
    batch: &Batch<'_>,
    span: &Span,
    memory: &mut [u8],
    times: &mut Times,
) -> Result<()> {
    let most = if reader.is_direct() { usize::MAX } else { READ_BYTES };
    let mut pieces = &batch.pieces[span.pieces.clone()];
    let (mut at, mut offset) = (span.at, span.offset);
    while let [first, rest @ ..] = pieces {
        let (mut count, mut bytes) = (1, first.bytes);
        for piece in rest {
            if bytes + piece.bytes > most {
                break;
            }
            count += 1;
            bytes += piece.bytes;
        }
        let start = Instant::now();
        reader.read(memory, at, offset, bytes)?;
        let read = Instant::now();
        let (now, later) = pieces.split_at(count);
        let mut chunk_at = at;
        for piece in now {
            let part = &memory[chunk_at..chunk_at + piece.bytes];
            match piece.check {
                Check::Not => {}
                Check::Read => piece.part.tensor.check_chunk(piece.chunk, part)?,
                Check::WholeChunk => drop(piece.part.tensor.chunk_bytes(piece.chunk)?),
            }
            chunk_at += piece.bytes;
        }
        times.read_seconds += (read - start).as_secs_f64();
        times.checksum_seconds += read.elapsed().as_secs_f64();
        (pieces, at, offset) = (later, at + bytes, offset + bytes as u64);
    }
    Ok(())
}
