//! The thread that submits what others have filled, and gives slots back when the device is done.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use cuda_driver::cust::event::{Event, EventStatus};
use cuda_driver::raw::{cuMemcpyDtoHAsync_v2, cuMemcpyHtoDAsync_v2};

use super::super::device::{driver, gpu};
use super::super::engine::{PreparedWork, check_statuses};
use super::super::ring::Slot;
use super::Shared;
use super::fill::{Action, Described, Filled};
use super::staged::copy_parts;
use super::times::Times;
use crate::error::Result;

/// How long to wait for the next batch before looking at those under way.
const PAUSE: Duration = Duration::from_micros(20);

/// A batch that the device is busy with.
struct UnderWay {
    slot: Slot,
    number: usize,
    statuses: Statuses,
}

/// Where status words come back to.
enum Statuses {
    /// There are none, as nothing is decoded.
    None,
    /// To this place of the pinned memory; the tensor and block of each.
    Pinned(Range<usize>, Vec<(usize, usize)>),
    /// They are read when the stream is done.
    Apart(Box<PreparedWork>),
}

impl Shared<'_, '_> {
    /// Submits batches until all are done or somebody fails.
    pub(super) fn submit(&self, filled: Receiver<Filled>) {
        let mut times = Times::default();
        self.note(self.submit_until_error(&filled, &mut times));
        self.times.lock().unwrap_or_else(PoisonError::into_inner).add(times);
    }

    fn submit_until_error(&self, filled: &Receiver<Filled>, times: &mut Times) -> Result<()> {
        let mut under_way = VecDeque::with_capacity(self.transfer.slots);
        loop {
            let next = if under_way.is_empty() {
                filled.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                filled.recv_timeout(PAUSE)
            };
            if self.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            match next {
                Ok(batch) => under_way.push_back(self.queue(batch)?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return under_way.into_iter().try_for_each(|batch| self.finish(batch, times));
                }
            }
            while let Some(first) = under_way.pop_front() {
                if !first.is_done()? {
                    under_way.push_front(first);
                    break;
                }
                self.finish(first, times)?;
            }
        }
    }

    /// Queues what is to be done with a batch.
    fn queue(&self, filled: Filled) -> Result<UnderWay> {
        let Filled { mut slot, number, action } = filled;
        let batch = &self.transfer.batches[number];
        slot.record(0)?;
        let statuses = match action {
            Action::Keep(mut address) => {
                for span in &batch.spans {
                    slot.send(span.at..span.at + span.bytes, address)?;
                    address += span.bytes as u64;
                }
                slot.record(1)?;
                Statuses::None
            }
            Action::Decode { staged_bytes, description, scratch, output } => {
                let staging = slot.staging.as_device_ptr().as_raw();
                slot.send(0..staged_bytes, staging)?;
                slot.record(1)?;
                let plan = match &description {
                    Described::InSlot { plan, .. } => plan,
                    Described::Apart(prepared) => prepared.plan(),
                };
                // SAFETY: staging, scratch, output and what is prepared stay until `finish` has waited
                // for the stream; so does a slot that is dropped earlier.
                unsafe { self.transfer.engine.launch(plan, &slot.stream)? };
                copy_parts(batch, scratch, output, &slot.stream)?;
                match description {
                    Described::InSlot { status, blocks, .. } => {
                        slot.fetch(staging + status.start as u64, status.clone())?;
                        Statuses::Pinned(status, blocks)
                    }
                    Described::Apart(prepared) => Statuses::Apart(prepared),
                }
            }
        };
        slot.record(2)?;
        Ok(UnderWay { slot, number, statuses })
    }

    /// Waits for a batch, looks at what its kernels report, and gives its slot back.
    fn finish(&self, batch: UnderWay, times: &mut Times) -> Result<()> {
        let UnderWay { slot, number, statuses } = batch;
        slot.stream.synchronize().map_err(gpu("decode"))?;
        let since =
            |event: &Event| event.elapsed_time_f32(&self.origin).map_err(gpu("tell the time"));
        let [begin, copied, end] = &slot.events;
        let copied = since(copied)?;
        times.copies.push((since(begin)?, copied));
        let index = &self.transfer.checkpoint.index;
        match statuses {
            Statuses::None => {}
            Statuses::Pinned(place, blocks) => {
                times.decodes.push((copied, since(end)?));
                check_statuses(&slot.pinned.bytes()[place], &blocks, index)?;
            }
            Statuses::Apart(work) => {
                times.decodes.push((copied, since(end)?));
                self.transfer.engine.check(&work, index)?;
            }
        }
        self.pool.give_back(slot);
        if let Some(progress) = self.transfer.options.progress.as_deref() {
            progress.advance(self.transfer.batches[number].wanted_bytes());
        }
        Ok(())
    }
}

impl UnderWay {
    /// Whether the device is done with it.
    fn is_done(&self) -> Result<bool> {
        let status = self.slot.events[2].query().map_err(gpu("decode"))?;
        Ok(status == EventStatus::Ready)
    }
}

impl Slot {
    fn record(&self, event: usize) -> Result<()> {
        self.events[event].record(&self.stream).map_err(gpu("record an event"))
    }

    /// Queues a copy of `bytes` of the pinned memory to `address`, which has room for them.
    fn send(&self, bytes: Range<usize>, address: u64) -> Result<()> {
        let from = &self.pinned.bytes()[bytes];
        // SAFETY: the target has room for as many bytes, and both stay as they are until `finish` has
        // waited for the stream; dropping the slot earlier waits too.
        let copied = unsafe {
            let stream = self.stream.as_inner();
            cuMemcpyHtoDAsync_v2(address, from.as_ptr().cast(), from.len(), stream)
        };
        driver(copied, "copy compressed blocks")
    }

    /// Queues a copy from `address` to `place` of the pinned memory.
    fn fetch(&mut self, address: u64, place: Range<usize>) -> Result<()> {
        let target = &mut self.pinned.bytes_mut()[place];
        // SAFETY: both have so many bytes, and stay as they are until `finish` has waited.
        let copied = unsafe {
            let stream = self.stream.as_inner();
            cuMemcpyDtoHAsync_v2(target.as_mut_ptr().cast(), address, target.len(), stream)
        };
        driver(copied, "copy the status words")
    }
}
