//! Pinned host memory with device memory and a stream to go with it, kept for the next load: to pin
//! memory takes longer than to send gigabytes through it.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use cuda_driver::cust::event::{Event, EventFlags};
use cuda_driver::cust::memory::DeviceBuffer;
use cuda_driver::cust::stream::{Stream, StreamFlags};
use cuda_driver::raw::{CU_MEMHOSTREGISTER_PORTABLE, cuMemHostRegister_v2, cuMemHostUnregister};
use memmap2::MmapMut;

use super::device::{driver, gpu};
use crate::error::{Error, Result};
use crate::load::LoadOptions;

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

/// Pinned memory of a slot. Several threads' slots together fit a server's cache; smaller ones make
/// more work for the driver.
pub(super) const SLOT_BYTES: usize = LoadOptions::MIN_PINNED_BYTES / 2;

/// One batch's place on its way to the device.
pub(super) struct Slot {
    // The stream first: it is waited for before the memory goes away, in `drop`.
    pub(super) stream: Stream,
    pub(super) pinned: Pinned,
    /// As many bytes as are pinned.
    pub(super) staging: DeviceBuffer<u8>,
    /// Decoded blocks of which parts are wanted, and coded elements; grows with what batches need.
    pub(super) scratch: Option<DeviceBuffer<u8>>,
    /// Around the copy, and behind the kernels.
    pub(super) events: [Event; 3],
}

impl Slot {
    fn new() -> Result<Self> {
        let event = || Event::new(EventFlags::DEFAULT).map_err(gpu("make an event"));
        let stream = Stream::new(StreamFlags::NON_BLOCKING, None).map_err(gpu("make a stream"))?;
        // SAFETY: kernels read only what a copy before them has written.
        let staging = unsafe { DeviceBuffer::uninitialized(SLOT_BYTES) };
        let staging = staging.map_err(gpu("allocate memory for compressed blocks"))?;
        Ok(Self {
            stream,
            pinned: Pinned::new(SLOT_BYTES)?,
            staging,
            scratch: None,
            events: [event()?, event()?, event()?],
        })
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

    pub(super) fn device_bytes(&self) -> u64 {
        (self.staging.len() + self.scratch.as_ref().map_or(0, |scratch| scratch.len())) as u64
    }
}

impl Drop for Slot {
    /// After an error, kernels and copies may still be under way: they end before what they work on is
    /// freed.
    fn drop(&mut self) {
        // A device that is lost does nothing any more.
        let _ = self.stream.synchronize();
    }
}

/// Slots that no load is using.
#[derive(Default)]
pub(super) struct Ring(Mutex<Vec<Slot>>);

impl Ring {
    /// Gives up the slots that a load with `count` of them has no use for, so that there is never more
    /// pinned memory than it may have.
    pub(super) fn trim(&self, count: usize) {
        self.slots().truncate(count);
    }

    /// A slot, perhaps a new one.
    fn take(&self) -> Result<Slot> {
        let spare = self.slots().pop();
        spare.map_or_else(Slot::new, Ok)
    }

    /// Keeps slots whose streams are done.
    pub(super) fn give_back(&self, slots: Vec<Slot>) {
        self.slots().extend(slots);
    }

    /// Frees all slots that no load is using.
    pub(super) fn clear(&self) {
        self.slots().clear();
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slots of one load. The one that was given back last is handed out first: of the pinned memory
/// only as much is in turn as is needed, and stays in the processor's cache.
pub(super) struct Pool {
    most: usize,
    state: Mutex<PoolState>,
    changed: Condvar,
}

#[derive(Default)]
struct PoolState {
    free: Vec<Slot>,
    /// Slots that there are, free or not.
    count: usize,
    is_closed: bool,
}

impl Pool {
    /// A pool of at most so many slots.
    pub(super) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default(), changed: Condvar::new() }
    }

    /// A free slot, a spare one of `ring` as long as there are fewer than the most, or the next that
    /// is given back; none when the pool is closed.
    pub(super) fn take(&self, ring: &Ring) -> Result<Option<Slot>> {
        let mut state = self.state();
        loop {
            if state.is_closed {
                return Ok(None);
            }
            if let Some(slot) = state.free.pop() {
                return Ok(Some(slot));
            }
            if state.count < self.most {
                state.count += 1;
                drop(state);
                return ring.take().map(Some);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a slot back whose stream is done.
    pub(super) fn give_back(&self, slot: Slot) {
        self.state().free.push(slot);
        self.changed.notify_one();
    }

    /// Ends all waiting: slots do not come back any more.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// The slots that are free.
    pub(super) fn into_slots(self) -> Vec<Slot> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).free
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
