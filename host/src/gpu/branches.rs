//! Kernels beside each other: streams that leave one and come back to it.

use std::cell::Cell;
use std::ptr;

use cuda_driver::cust::stream::{Stream, StreamFlags};
use cuda_driver::raw::{
    CUevent, cuEventCreate, cuEventDestroy_v2, cuEventRecord, cuStreamWaitEvent,
};

use super::device::{driver, gpu};
use crate::error::Result;

/// `CU_EVENT_DISABLE_TIMING`: the events are for order only.
const WITHOUT_TIMING: u32 = 2;

/// Streams to branch off to. Work that uses one waits for what was queued there before, so that a few
/// more than a launch plan has kernels let several plans keep apart.
const BRANCHES: usize = 4;
/// Those for what fills the device: as many plans keep apart.
const LARGE_BRANCHES: usize = 4;

/// A point in a stream, for others to wait for.
pub(super) struct Mark(CUevent);

// SAFETY: the driver takes the handle on any thread.
unsafe impl Send for Mark {}

impl Mark {
    pub(super) fn new() -> Result<Self> {
        let mut event = ptr::null_mut();
        // SAFETY: one handle is written, to `event`.
        driver(unsafe { cuEventCreate(&mut event, WITHOUT_TIMING) }, "make an event")?;
        Ok(Self(event))
    }

    pub(super) fn set(&self, stream: &Stream) -> Result<()> {
        // SAFETY: both handles are valid.
        driver(unsafe { cuEventRecord(self.0, stream.as_inner()) }, "record an event")
    }

    /// Lets `stream` wait for where this was last set.
    pub(super) fn hold(&self, stream: &Stream) -> Result<()> {
        // SAFETY: both handles are valid.
        let waits = unsafe { cuStreamWaitEvent(stream.as_inner(), self.0, 0) };
        driver(waits, "let a stream wait")
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // SAFETY: the handle is valid; what waits for it goes on doing so. A lost context has no more
        // events, and says so.
        let _ = unsafe { cuEventDestroy_v2(self.0) };
    }
}

/// Streams that are used one after the other.
struct Streams {
    streams: Vec<Stream>,
    /// The one that is used next.
    next: Cell<usize>,
}

impl Streams {
    /// So many, in the current context.
    fn new(count: usize) -> Result<Self> {
        let stream = |_| Stream::new(StreamFlags::NON_BLOCKING, None).map_err(gpu("make a stream"));
        Ok(Self { streams: (0..count).map(stream).collect::<Result<_>>()?, next: Cell::new(0) })
    }

    /// The next one.
    fn take(&self) -> &Stream {
        let number = self.next.get();
        self.next.set((number + 1) % self.streams.len());
        &self.streams[number]
    }
}

/// Streams that branch off from another one.
pub(super) struct Branches {
    small: Streams,
    large: Streams,
    mark: Mark,
}

impl Branches {
    /// In the current context.
    pub(super) fn new() -> Result<Self> {
        let (small, large) = (Streams::new(BRANCHES)?, Streams::new(LARGE_BRANCHES)?);
        Ok(Self { small, large, mark: Mark::new()? })
    }

    /// Queues all items in turn: the first on `stream`, which goes on once all is done, the others on
    /// streams that begin where `stream` is now, the one with the number `large` on one that small ones
    /// don't use. What is on another stream begins some microseconds later, each after the one before. What
    /// has been queued when something fails, `stream` waits for as well.
    pub(super) fn run<T>(
        &self,
        stream: &Stream,
        items: &[T],
        large: usize,
        mut queue: impl FnMut(&T, &Stream) -> Result<()>,
    ) -> Result<()> {
        let Some((first, others)) = items.split_first() else { return Ok(()) };
        let mut result = if others.is_empty() { Ok(()) } else { self.mark.set(stream) };
        result = result.and_then(|()| queue(first, stream));
        let mut used: Vec<&Stream> = Vec::with_capacity(BRANCHES + 1);
        for (number, item) in (1..).zip(others) {
            if result.is_err() {
                break;
            }
            let pool = if number == large { &self.large } else { &self.small };
            let branch = pool.take();
            if !used.iter().any(|known| known.as_inner() == branch.as_inner()) {
                result = self.mark.hold(branch);
                used.push(branch);
            }
            result = result.and_then(|()| queue(item, branch));
        }
        for branch in used {
            let joined = self.mark.set(branch).and_then(|()| self.mark.hold(stream));
            result = result.and(joined);
        }
        result
    }
}
