//! Kernels beside each other: streams that leave one and come back to it.

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

/// Streams that branch off from another one.
pub(super) struct Branches {
    streams: Vec<Stream>,
    mark: Mark,
    /// The one that is used next.
    next: usize,
}

impl Branches {
    /// In the current context.
    pub(super) fn new() -> Result<Self> {
        let stream = |_| Stream::new(StreamFlags::NON_BLOCKING, None).map_err(gpu("make a stream"));
        let streams = (0..BRANCHES).map(stream).collect::<Result<_>>()?;
        Ok(Self { streams, mark: Mark::new()?, next: 0 })
    }

    /// Queues everything of `aside` on streams that begin where `stream` is now, then `last` on
    /// `stream` itself, which goes on once all is done. What has been queued when something fails, it
    /// waits for as well.
    pub(super) fn run<T>(
        &mut self,
        stream: &Stream,
        aside: &[T],
        last: &T,
        mut queue: impl FnMut(&T, &Stream) -> Result<()>,
    ) -> Result<()> {
        let mut used = Vec::with_capacity(BRANCHES.min(aside.len()));
        let mut result = if aside.is_empty() { Ok(()) } else { self.mark.set(stream) };
        for item in aside {
            if result.is_err() {
                break;
            }
            let number = self.next;
            self.next = (number + 1) % BRANCHES;
            if !used.contains(&number) {
                result = self.mark.hold(&self.streams[number]);
                used.push(number);
            }
            result = result.and_then(|()| queue(item, &self.streams[number]));
        }
        if result.is_ok() {
            result = queue(last, stream);
        }
        for number in used {
            let joined = self.mark.set(&self.streams[number]).and_then(|()| self.mark.hold(stream));
            result = result.and(joined);
        }
        result
    }
}
