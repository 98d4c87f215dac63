//! From the file to device memory, in overlapping stages.
//!
//! Each thread takes the next batch of chunks, reads it into pieces of pinned memory, compares the
//! checksums while the bytes are in its cache, and queues the copy of each piece to one of its lanes,
//! and behind them the batch's kernels. Then it goes on with its other lane: while one lane's bytes are
//! on the bus or being decoded, the other is filled. Streams of all threads overlap, so that the bus is
//! never waiting for a kernel.

mod checks;
mod staged;
mod worker;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use cuda_driver::cust::event::{Event, EventFlags};
use cuda_driver::cust::stream::{Stream, StreamFlags};
use rayon::prelude::*;

use self::worker::Times;
use super::device::gpu;
use super::engine::Engine;
use super::intervals::covered_seconds;
use super::sizes::{BATCH_BYTES, BATCHES_PER_THREAD, LAST_BATCHES, LEAST_BATCH_BYTES, PIECE_BYTES};
use super::workspace::{MOST_BLOCKS, PINNED_BYTES, STAGING_BYTES};
use crate::decode::Checkpoint;
use crate::error::{Error, Result};
use crate::load::{Batch, Limits, LoadOptions, PAGE_BYTES, Part, batches, with_small_ones_last};
use crate::mapped::Reader;

/// Of a lane's memory, what payload and base may take; the rest is for the description of the work.
const STAGED_BYTES: usize = STAGING_BYTES / 8 * 7;
/// So that the memory for parts of tensors stays small.
const MOST_DECODED_BYTES: u64 = 64 << 20;

/// Where what is read goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// It is decoded.
    Decoded,
    /// It stays as it is: of each batch the payload, one after the other.
    Payload,
}

/// How a transfer went.
#[derive(Debug, Default)]
pub(super) struct Transferred {
    /// Bytes read of the file.
    pub(super) file_bytes: u64,
    pub(super) pinned_bytes: u64,
    /// Device memory beside the output.
    pub(super) device_bytes: u64,
    pub(super) threads: usize,
    /// Seconds from the start until the first thread had its pinned memory.
    pub(super) setup_seconds: f64,
    /// Seconds that threads read and compared, all together.
    pub(super) read_seconds: f64,
    pub(super) checksum_seconds: f64,
    /// Seconds that threads waited for copies, all together.
    pub(super) copy_wait_seconds: f64,
    /// Seconds that threads said what kernels are to do, queued them and copies, and waited for them, all
    /// together.
    pub(super) describe_seconds: f64,
    pub(super) queue_seconds: f64,
    pub(super) decode_wait_seconds: f64,
    /// Seconds in which at least one kernel was under way.
    pub(super) decode_seconds: f64,
}

/// Batches of one checkpoint, ready to be transferred.
pub(super) struct Transfer<'a> {
    engine: &'a Engine,
    checkpoint: &'a Checkpoint,
    options: &'a LoadOptions,
    batches: Vec<Batch<'a>>,
    /// For each batch, the bytes of payload before it.
    payload_before: Vec<u64>,
    threads: usize,
}

/// What the threads of a transfer share.
struct Shared<'t, 'a> {
    transfer: &'t Transfer<'a>,
    reader: Reader<'a>,
    target: Target,
    /// The target's first byte on the device, as soon as there is memory for it; none when there isn't.
    address: OnceLock<Option<u64>>,
    /// When everything began, by the device's clock.
    origin: Event,
    next: AtomicUsize,
    failed: AtomicBool,
    error: Mutex<Option<Error>>,
    times: Mutex<Times>,
}

impl<'a> Transfer<'a> {
    /// Makes batches of what is wanted.
    pub(super) fn new(
        engine: &'a Engine,
        checkpoint: &'a Checkpoint,
        parts: &[Part<'a>],
        options: &'a LoadOptions,
    ) -> Result<Self> {
        if options.pinned_bytes < LoadOptions::MIN_PINNED_BYTES {
            return Err(Error::InvalidArgument {
                what: format!("{} bytes of pinned memory", options.pinned_bytes),
                detail: format!("loading takes at least {}", LoadOptions::MIN_PINNED_BYTES),
            });
        }
        let threads = options.threads_of_each(1).min(options.pinned_bytes / PINNED_BYTES);
        // Little is cut into so many batches that all threads have some.
        let stored = parts.par_iter().with_min_len(256).map(|part| part.tensor.encoded_bytes());
        let stored: u64 = stored.sum();
        let even = usize::try_from(stored).unwrap_or(usize::MAX) / (BATCHES_PER_THREAD * threads);
        let limits = Limits {
            staged_bytes: even.clamp(LEAST_BATCH_BYTES, BATCH_BYTES).min(STAGED_BYTES),
            piece_bytes: PIECE_BYTES - 2 * PAGE_BYTES,
            blocks: MOST_BLOCKS,
            decoded_bytes: MOST_DECODED_BYTES,
        };
        let batches = batches(parts, options.checksums, &limits)?;
        // Batches of little are small enough, and each brings its tables with it.
        let is_little = even < BATCH_BYTES;
        let last = if is_little { 0 } else { LAST_BATCHES * threads };
        let batches = with_small_ones_last(batches, last);
        let mut sum = 0;
        let before = |batch: &Batch<'_>| {
            sum += batch.read_bytes();
            sum - batch.read_bytes()
        };
        let payload_before = batches.iter().map(before).collect();
        let threads = threads.min(batches.len()).max(1);
        Ok(Self { engine, checkpoint, options, batches, payload_before, threads })
    }

    /// Bytes that are read of the file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.batches.iter().map(Batch::read_bytes).sum()
    }

    pub(super) fn batches(&self) -> &[Batch<'a>] {
        &self.batches
    }

    /// Transfers everything to device memory at `address`; when this returns, the device is done.
    ///
    /// # Safety
    ///
    /// There is device memory of the engine's context with room for all parts (or for
    /// [`Transfer::file_bytes`]), which nobody uses meanwhile.
    pub(super) unsafe fn run(&self, target: Target, address: u64) -> Result<Transferred> {
        // SAFETY: the caller's promise.
        unsafe { self.run_and(target, || Ok(address), || {}) }
    }

    /// Transfers everything to what `allocate` gives the address of. That is called on the calling
    /// thread, and then `meanwhile`, while the first batches are being read.
    ///
    /// # Safety
    ///
    /// As for [`Transfer::run`].
    pub(super) unsafe fn run_and(
        &self,
        target: Target,
        allocate: impl FnOnce() -> Result<u64>,
        meanwhile: impl FnOnce(),
    ) -> Result<Transferred> {
        self.engine.make_current()?;
        let start = Instant::now();
        let stream = Stream::new(StreamFlags::NON_BLOCKING, None).map_err(gpu("make a stream"))?;
        let origin = Event::new(EventFlags::DEFAULT).map_err(gpu("make an event"))?;
        origin.record(&stream).map_err(gpu("record an event"))?;
        let shared = Shared {
            transfer: self,
            reader: self.checkpoint.reader(self.options.direct_io)?,
            target,
            address: OnceLock::new(),
            origin,
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            error: Mutex::default(),
            times: Mutex::default(),
        };
        self.engine.workspaces.trim(self.threads);
        let progress = self.options.progress.as_deref();
        if let Some(progress) = progress {
            progress.start(self.batches.iter().map(Batch::wanted_bytes).sum());
        }
        let panicked = std::thread::scope(|scope| {
            let (sender, done) = channel();
            let work = |_| {
                let (shared, sender) = (&shared, sender.clone());
                scope.spawn(move || shared.work(sender))
            };
            let workers: Vec<_> = (0..self.threads).map(work).collect();
            drop(sender);
            let address = allocate().map_err(|error| shared.fail(error)).ok();
            // Nobody else sets it.
            let _ = shared.address.set(address);
            meanwhile();
            for bytes in done {
                if let Some(progress) = progress {
                    progress.advance(bytes);
                }
            }
            workers.into_iter().any(|worker| worker.join().is_err())
        });
        if panicked {
            return Err(Error::Internal { detail: "a thread that loads panicked".into() });
        }
        shared.outcome(start)
    }
}

impl Shared<'_, '_> {
    /// Ends the transfer with this error, unless there is one already.
    fn fail(&self, error: Error) {
        self.failed.store(true, Ordering::Relaxed);
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
    }

    /// The target's address, which a thread waits for.
    fn address(&self) -> Result<u64> {
        let missing = || Error::Internal { detail: "there is nothing to load to".into() };
        self.address.wait().ok_or_else(missing)
    }

    fn outcome(self, start: Instant) -> Result<Transferred> {
        if let Some(error) = self.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let times = self.times.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Transferred {
            file_bytes: self.transfer.file_bytes(),
            pinned_bytes: (self.transfer.threads * PINNED_BYTES) as u64,
            device_bytes: times.device_bytes,
            threads: self.transfer.threads,
            setup_seconds: times.ready.map_or(0.0, |ready| (ready - start).as_secs_f64()),
            read_seconds: times.read_seconds,
            checksum_seconds: times.checksum_seconds,
            copy_wait_seconds: times.copy_wait_seconds,
            describe_seconds: times.describe_seconds,
            queue_seconds: times.queue_seconds,
            decode_wait_seconds: times.decode_wait_seconds,
            decode_seconds: covered_seconds(times.decodes),
        })
    }
}
