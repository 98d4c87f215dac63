//! The launch in progress, and what the host forms of the library's functions ask of it.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::ptr;
use std::rc::Rc;

use corosensei::Yielder;

use super::copies::{COPY_BYTES, CopyQueue, PendingCopy};
use super::error::{Access, Collective, EmulationError, Space, ThreadPosition};
use super::memory::{GlobalRange, SHARED_BASE, SharedMemory};
use super::{CopyTiming, Grid};
use crate::shared::SharedAddress;
use crate::warp::WARP_SIZE;

thread_local! {
    static ACTIVE: RefCell<Option<Rc<Active>>> = const { RefCell::new(None) };
}

/// What a lane that suspends itself wants.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) collective: Collective,
    /// The lane's value: the predicate of a ballot, what a shuffle gives to others.
    pub(super) value: u32,
    /// For a shuffle, the lane whose value is asked for.
    pub(super) source_lane: u32,
}

/// How a lane suspends itself, and gets the answer to its request.
pub(super) type LaneYielder = Yielder<u32, Request>;

/// A launch in progress on this thread of the host.
pub(super) struct Active {
    /// The grid, its ranges of global memory by address.
    pub(super) grid: Grid,
    /// The thread that runs.
    current: Cell<ThreadPosition>,
    blocks: Vec<BlockMemory>,
}

struct BlockMemory {
    shared: SharedMemory,
    threads: Vec<ThreadMemory>,
}

struct ThreadMemory {
    copies: RefCell<CopyQueue>,
    yielder: Cell<*const LaneYielder>,
}

/// Keeps a launch the active one.
pub(super) struct Entered(pub(super) Rc<Active>);

impl Drop for Entered {
    fn drop(&mut self) {
        ACTIVE.with_borrow_mut(|active| *active = None);
    }
}

impl Active {
    /// Makes a launch the active one until the result is dropped.
    pub(super) fn enter(grid: &Grid) -> Result<Entered, EmulationError> {
        let thread =
            || ThreadMemory { copies: RefCell::default(), yielder: Cell::new(ptr::null()) };
        let block = || BlockMemory {
            shared: SharedMemory::new(grid.shared_bytes),
            threads: (0..grid.threads_per_block).map(|_| thread()).collect(),
        };
        ACTIVE.with_borrow_mut(|active| {
            if active.is_some() {
                return Err(EmulationError::Nested);
            }
            let mut grid = grid.clone();
            if let Some(ranges) = &mut grid.global {
                ranges.sort_by_key(|range| range.addresses.start);
            }
            let launch = Rc::new(Self {
                blocks: (0..grid.blocks).map(|_| block()).collect(),
                grid,
                current: Cell::new(ThreadPosition { block: 0, thread: 0 }),
            });
            *active = Some(Rc::clone(&launch));
            Ok(Entered(launch))
        })
    }

    /// Says which thread runs from now on.
    pub(super) fn set_current(&self, position: ThreadPosition) {
        self.current.set(position);
    }

    /// Takes the running thread's means to suspend itself.
    ///
    /// # Safety
    ///
    /// `yielder` is that of the coroutine that runs whenever the running thread is the current one,
    /// and outlives its last call of a collective.
    pub(super) unsafe fn set_yielder(&self, yielder: &LaneYielder) {
        self.memory().1.yielder.set(yielder);
    }

    fn memory(&self) -> (&BlockMemory, &ThreadMemory) {
        let ThreadPosition { block, thread } = self.current.get();
        let block = &self.blocks[block as usize];
        (block, &block.threads[thread as usize])
    }

    fn check_alignment(
        &self,
        space: Space,
        access: Access,
        address: usize,
        bytes: usize,
    ) -> Result<(), EmulationError> {
        if address.is_multiple_of(bytes) {
            return Ok(());
        }
        let thread = self.current.get();
        Err(EmulationError::Misaligned { thread, space, access, address, bytes })
    }

    fn check_global(
        &self,
        access: Access,
        address: usize,
        bytes: usize,
    ) -> Result<(), EmulationError> {
        let allows = |range: &GlobalRange| {
            range.contains(address, bytes) && (range.writable || access == Access::Read)
        };
        let allowed = self.grid.global.as_ref().is_none_or(|ranges| {
            // Most often it is the last range that begins at or before the address; with ranges
            // that overlap it may be any.
            let next = ranges.partition_point(|range| range.addresses.start <= address);
            ranges[..next].last().is_some_and(allows) || ranges.iter().any(allows)
        });
        if allowed {
            return Ok(());
        }
        let (space, thread) = (Space::Global, self.current.get());
        Err(EmulationError::OutOfRange { thread, space, access, address, bytes })
    }

    fn shared(
        &self,
        access: Access,
        address: u32,
        bytes: usize,
    ) -> Result<&[Cell<u8>], EmulationError> {
        let (space, thread) = (Space::Shared, self.current.get());
        self.check_alignment(space, access, address as usize, bytes)?;
        self.memory().0.shared.get(address, bytes).ok_or(EmulationError::OutOfRange {
            thread,
            space,
            access,
            address: address as usize,
            bytes,
        })
    }

    fn store_shared(&self, address: u32, bytes: &[u8]) -> Result<(), EmulationError> {
        let cells = self.shared(Access::Write, address, bytes.len())?;
        for (cell, &byte) in cells.iter().zip(bytes) {
            cell.set(byte);
        }
        Ok(())
    }

    /// Checks both ends of a copy.
    fn check_copy(&self, copy: &PendingCopy) -> Result<(), EmulationError> {
        if copy.bytes > COPY_BYTES {
            let (thread, bytes) = (self.current.get(), copy.bytes as u32);
            return Err(EmulationError::CopySize { thread, bytes });
        }
        self.shared(Access::Write, copy.target, COPY_BYTES)?;
        let source = copy.source.addr();
        self.check_alignment(Space::Global, Access::Read, source, COPY_BYTES)?;
        if copy.bytes == 0 {
            return Ok(());
        }
        self.check_global(Access::Read, source, copy.bytes)
    }

    /// Makes a copy that has been checked.
    ///
    /// # Safety
    ///
    /// The copy's source is readable for its bytes.
    unsafe fn make_copy(&self, copy: &PendingCopy) -> Result<(), EmulationError> {
        // SAFETY: the caller's promise.
        let bytes = unsafe { copy.read() };
        self.store_shared(copy.target, &bytes)
    }

    /// Checks that the running lane may call a collective.
    fn check_request(&self, request: Request) -> Result<(), EmulationError> {
        let thread = self.current.get();
        let Request { collective, source_lane, .. } = request;
        let mask = collective.mask();
        if mask >> (thread.thread % WARP_SIZE) & 1 == 0 {
            return Err(EmulationError::ForeignMask { thread, collective });
        }
        let is_shuffle = matches!(collective, Collective::Shuffle { .. });
        if is_shuffle && mask >> source_lane & 1 == 0 {
            return Err(EmulationError::ShuffleSource { thread, collective, source_lane });
        }
        Ok(())
    }
}

/// Asks the launch in progress; ends the running thread when the answer is an error.
///
/// # Panics
///
/// Outside of a launch: the host has no threads of a kernel to speak of.
fn ask<T>(question: impl FnOnce(&Active) -> Result<T, EmulationError>) -> T {
    let answer = ACTIVE.with_borrow(|active| match active {
        Some(active) => question(active),
        None => panic!("on the host, kernels run within `cuda_std::emulator::launch` only"),
    });
    // The scheduler takes the error out of the payload; no panic hook is called.
    answer.unwrap_or_else(|error| resume_unwind(Box::new(error)))
}

/// Suspends the running lane until its collective is complete.
fn suspend(request: Request) -> u32 {
    let yielder = ask(|active| {
        active.check_request(request)?;
        Ok(active.memory().1.yielder.get())
    });
    // SAFETY: the running thread is the current one, and this is a call of a collective from within
    // it: `set_yielder`'s caller promises that its yielder is alive and the running coroutine's.
    unsafe { &*yielder }.suspend(request)
}

/// The running thread.
pub(crate) fn position() -> ThreadPosition {
    ask(|active| Ok(active.current.get()))
}

/// Thread blocks, and threads of each.
pub(crate) fn dimensions() -> (u32, u32) {
    ask(|active| Ok((active.grid.blocks, active.grid.threads_per_block)))
}

pub(crate) fn sync_threads() {
    suspend(Request { collective: Collective::SyncThreads, value: 0, source_lane: 0 });
}

pub(crate) fn sync_warp(mask: u32) {
    suspend(Request { collective: Collective::SyncWarp { mask }, value: 0, source_lane: 0 });
}

pub(crate) fn ballot(mask: u32, predicate: bool) -> u32 {
    let (collective, value) = (Collective::Ballot { mask }, u32::from(predicate));
    suspend(Request { collective, value, source_lane: 0 })
}

pub(crate) fn shuffle(mask: u32, value: u32, lane: u32) -> u32 {
    let collective = Collective::Shuffle { mask };
    suspend(Request { collective, value, source_lane: lane % WARP_SIZE })
}

/// Checks an access to global memory, whose address must be a multiple of its size.
pub(crate) fn check_global(access: Access, address: usize, bytes: usize) {
    ask(|active| {
        active.check_alignment(Space::Global, access, address, bytes)?;
        active.check_global(access, address, bytes)
    });
}

pub(crate) fn shared_base() -> SharedAddress {
    ask(|_| Ok(SharedAddress(SHARED_BASE)))
}

pub(crate) fn shared_pointer() -> *mut u8 {
    ask(|active| Ok(active.memory().0.shared.pointer()))
}

pub(crate) fn load_shared<const BYTES: usize>(address: u32) -> [u8; BYTES] {
    ask(|active| {
        let cells = active.shared(Access::Read, address, BYTES)?;
        Ok(std::array::from_fn(|at| cells[at].get()))
    })
}

pub(crate) fn store_shared<const BYTES: usize>(address: u32, bytes: [u8; BYTES]) {
    ask(|active| active.store_shared(address, &bytes));
}

/// Issues an asynchronous copy of the running thread.
///
/// # Safety
///
/// `source` is readable for `bytes` bytes until the copy has been waited for.
pub(crate) unsafe fn copy_16(target: u32, source: *const u8, bytes: u32) {
    let copy = PendingCopy { target, source, bytes: bytes as usize };
    ask(|active| {
        active.check_copy(&copy)?;
        match active.grid.copy_timing {
            // SAFETY: the caller's promise.
            CopyTiming::Early => unsafe { active.make_copy(&copy) },
            CopyTiming::Late => {
                active.memory().1.copies.borrow_mut().push(copy);
                Ok(())
            }
        }
    });
}

/// Makes a group of the running thread's copies since the last one.
pub(crate) fn commit_copies() {
    ask(|active| {
        active.memory().1.copies.borrow_mut().commit();
        Ok(())
    });
}

/// Waits for all groups of the running thread's copies but the newest `pending`.
pub(crate) fn wait_for_copies(pending: usize) {
    ask(|active| {
        let copies = active.memory().1.copies.borrow_mut().take_all_but(pending);
        for copy in copies {
            // SAFETY: `copy_16`'s caller promised it until now.
            unsafe { active.make_copy(&copy)? };
        }
        Ok(())
    });
}
