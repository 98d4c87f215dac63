//! What a thread brings batches to the device with: pieces of pinned memory, and streams with device
//! memory. Kept for the next load: to pin memory takes longer than to send gigabytes through it.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cuda_driver::cust::event::{Event, EventFlags};
use cuda_driver::cust::memory::DeviceBuffer;
use cuda_driver::cust::stream::{Stream, StreamFlags};
use cuda_driver::raw::{
    CU_MEMHOSTREGISTER_PORTABLE, cuMemHostRegister_v2, cuMemHostUnregister, cuMemcpyDtoHAsync_v2,
    cuMemcpyHtoDAsync_v2,
};
use memmap2::MmapMut;

use super::device::{driver, gpu};
use super::sizes::{PIECE_BYTES, PIECES};
use crate::error::{Error, Result};
use crate::load::PAGE_BYTES;

/// Lanes of a thread: one is filled while the other's kernels run.
pub(super) const LANES: usize = 2;
/// Device memory of a lane for a batch and the description of its work. Larger ones only make the
/// beginning and the end longer.
pub(super) const STAGING_BYTES: usize = 8 << 20;
/// Blocks that a lane has room for status words for, 4 bytes each.
pub(super) const MOST_BLOCKS: usize = 4096;

const STATUS_BYTES: usize = MOST_BLOCKS * size_of::<u32>();
const PIECES_AT: usize = (LANES * STATUS_BYTES).next_multiple_of(PAGE_BYTES);

/// Pinned memory of a workspace.
pub(super) const PINNED_BYTES: usize = PIECES_AT + PIECES * PIECE_BYTES;

/// Pinned memory begins with a page, as direct reads need it.
pub(super) struct Pinned(ManuallyDrop<MmapMut>);

impl Pinned {
    /// So many bytes of zeros, at least one, pinned for the current context.
    fn new(bytes: usize) -> Result<Self> {
        let failed = |error: std::io::Error| Error::Gpu {
            action: format!("have {bytes} bytes of host memory to pin"),
            detail: error.to_string(),
        };
        let mut map = MmapMut::map_anon(bytes).map_err(failed)?;
        // Large pages are pinned much faster; without them it works as well.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        // The pages come into being here, on this thread, and not one by one within the driver.
        map.fill(0);
        let place = map.as_mut_ptr().cast::<c_void>();
        // SAFETY: the memory is mapped, has so many bytes, and stays mapped until it is unregistered
        // when this is dropped.
        let answer = unsafe { cuMemHostRegister_v2(place, bytes, CU_MEMHOSTREGISTER_PORTABLE) };
        driver(answer, &format!("pin {bytes} bytes of host memory"))?;
        Ok(Self(ManuallyDrop::new(map)))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: the memory was registered when this was made; the slot that owns it has waited for
        // its stream.
        let answer = unsafe { cuMemHostUnregister(self.0.as_mut_ptr().cast()) };
        // A context that is lost does not give it back, and the driver may come to it at the process'
        // end: then it stays mapped.
        if driver(answer, "give pinned memory back").is_ok() {
            // SAFETY: nobody uses it after this.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}

/// A thread's pinned memory, streams and device memory.
pub(super) struct Workspace {
    // The lanes first: their streams are waited for before the pinned memory goes away.
    pub(super) lanes: [Lane; LANES],
    pub(super) pieces: Pieces,
}

impl Workspace {
    fn new() -> Result<Self> {
        let pieces = Pieces::new()?;
        Ok(Self { lanes: [Lane::new()?, Lane::new()?], pieces })
    }

    /// Device memory that it takes.
    pub(super) fn device_bytes(&self) -> u64 {
        self.lanes.iter().map(Lane::device_bytes).sum()
    }
}

/// A stream with device memory for one batch at a time.
pub(super) struct Lane {
    pub(super) stream: Stream,
    /// Compressed blocks and what the kernels have to know, [`STAGING_BYTES`].
    pub(super) staging: DeviceBuffer<u8>,
    /// Decoded blocks of which parts are wanted, and coded elements; grows with what batches need.
    scratch: Option<DeviceBuffer<u8>>,
    /// Before and after the kernels.
    pub(super) events: [Event; 2],
}

impl Lane {
    fn new() -> Result<Self> {
        let stream = Stream::new(StreamFlags::NON_BLOCKING, None).map_err(gpu("make a stream"))?;
        // SAFETY: kernels read only what a copy before them has written.
        let staging = unsafe { DeviceBuffer::uninitialized(STAGING_BYTES) };
        let staging = staging.map_err(gpu("allocate memory for compressed blocks"))?;
        let event = || Event::new(EventFlags::DEFAULT).map_err(gpu("make an event"));
        Ok(Self { stream, staging, scratch: None, events: [event()?, event()?] })
    }

    /// The address of its staging memory.
    pub(super) fn address(&self) -> u64 {
        self.staging.as_device_ptr().as_raw()
    }

    /// The address of at least so many bytes of scratch memory, a multiple of 256.
    pub(super) fn scratch(&mut self, bytes: u64) -> Result<u64> {
        let bytes = bytes as usize;
        if self.scratch.as_ref().is_none_or(|scratch| scratch.len() < bytes) {
            self.scratch = None;
            // SAFETY: every byte is written by a kernel before it is read.
            let scratch = unsafe { DeviceBuffer::uninitialized(bytes.next_power_of_two().max(1)) };
            self.scratch = Some(scratch.map_err(gpu("allocate memory for parts of tensors"))?);
        }
        Ok(self.scratch.as_ref().map_or(0, |scratch| scratch.as_device_ptr().as_raw()))
    }

    pub(super) fn record(&self, event: usize) -> Result<()> {
        self.events[event].record(&self.stream).map_err(gpu("record an event"))
    }

    fn device_bytes(&self) -> u64 {
        (self.staging.len() + self.scratch.as_ref().map_or(0, |scratch| scratch.len())) as u64
    }
}

impl Drop for Lane {
    /// After an error, kernels and copies may still be under way: they end before what they work on is
    /// freed.
    fn drop(&mut self) {
        // A device that is lost does nothing any more.
        let _ = self.stream.synchronize();
    }
}

/// Pieces of pinned memory, filled in turn, and places for the lanes' status words.
pub(super) struct Pieces {
    pinned: Pinned,
    turn: usize,
    /// Behind each piece's copy, and whether that is under way.
    copied: Vec<(Event, bool)>,
}

impl Pieces {
    fn new() -> Result<Self> {
        let event = |_| {
            let event = Event::new(EventFlags::DISABLE_TIMING).map_err(gpu("make an event"))?;
            Ok((event, false))
        };
        Ok(Self {
            pinned: Pinned::new(PINNED_BYTES)?,
            turn: 0,
            copied: (0..PIECES).map(event).collect::<Result<_>>()?,
        })
    }

    /// The memory of the next piece, from the beginning of a page on, when the copy that it was last
    /// used for is done. The time that this took is added to `waited`.
    pub(super) fn next(&mut self, waited: &mut Duration) -> Result<&mut [u8]> {
        self.turn = (self.turn + 1) % self.copied.len();
        self.settle(self.turn, waited)?;
        let at = self.place();
        Ok(&mut self.pinned.bytes_mut()[at..at + PIECE_BYTES])
    }

    /// Queues a copy of `bytes` of the piece in turn to `address`.
    ///
    /// # Safety
    ///
    /// There is room for so many bytes, which nobody else uses until the stream has passed this point.
    pub(super) unsafe fn send(
        &mut self,
        bytes: Range<usize>,
        address: u64,
        stream: &Stream,
    ) -> Result<()> {
        let at = self.place();
        let from = &self.pinned.bytes()[at + bytes.start..at + bytes.end];
        // SAFETY: the caller's promise; the piece is not written again before the event behind the copy
        // has been waited for, and lives as long as the lanes, whose streams are waited for.
        let copied = unsafe {
            cuMemcpyHtoDAsync_v2(address, from.as_ptr().cast(), from.len(), stream.as_inner())
        };
        driver(copied, "copy compressed blocks")?;
        let (event, is_under_way) = &mut self.copied[self.turn];
        event.record(stream).map_err(gpu("record an event"))?;
        *is_under_way = true;
        Ok(())
    }

    /// Waits for all copies.
    pub(super) fn settle_all(&mut self, waited: &mut Duration) -> Result<()> {
        (0..self.copied.len()).try_for_each(|piece| self.settle(piece, waited))
    }

    fn settle(&mut self, piece: usize, waited: &mut Duration) -> Result<()> {
        let (event, is_under_way) = &mut self.copied[piece];
        if std::mem::take(is_under_way) {
            let start = Instant::now();
            event.synchronize().map_err(gpu("copy compressed blocks"))?;
            *waited += start.elapsed();
        }
        Ok(())
    }

    /// Queues a copy of the status words of the lane with this number, so many bytes, from `address`.
    ///
    /// # Safety
    ///
    /// There are so many bytes until the stream has passed this point.
    pub(super) unsafe fn fetch_statuses(
        &mut self,
        lane: usize,
        address: u64,
        bytes: usize,
        stream: &Stream,
    ) -> Result<()> {
        let target = &mut self.pinned.bytes_mut()[lane * STATUS_BYTES..][..bytes];
        // SAFETY: the caller's promise; the place is the lane's alone, and lives as long as it.
        let copied = unsafe {
            cuMemcpyDtoHAsync_v2(target.as_mut_ptr().cast(), address, bytes, stream.as_inner())
        };
        driver(copied, "copy the status words")
    }

    /// The status words of a lane, so many bytes, when its stream has been waited for.
    pub(super) fn statuses(&self, lane: usize, bytes: usize) -> &[u8] {
        &self.pinned.bytes()[lane * STATUS_BYTES..][..bytes]
    }

    /// Where the piece in turn begins.
    fn place(&self) -> usize {
        PIECES_AT + self.turn * PIECE_BYTES
    }
}

/// Workspaces that no load is using.
#[derive(Default)]
pub(super) struct Workspaces(Mutex<Vec<Workspace>>);

impl Workspaces {
    /// Gives up those that a load with `count` of them has no use for, so that there is never more
    /// pinned memory than it may have.
    pub(super) fn trim(&self, count: usize) {
        self.all().truncate(count);
    }

    /// A workspace, perhaps a new one.
    pub(super) fn take(&self) -> Result<Workspace> {
        let spare = self.all().pop();
        spare.map_or_else(Workspace::new, Ok)
    }

    /// Keeps a workspace whose streams are done.
    pub(super) fn give_back(&self, workspace: Workspace) {
        self.all().push(workspace);
    }

    /// Frees all that no load is using.
    pub(super) fn clear(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, Vec<Workspace>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
