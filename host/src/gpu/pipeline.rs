//! From the file to device memory, in overlapping stages.
//!
//! Each thread takes the next batch of chunks, reads it into pinned memory, compares the checksums
//! while the bytes are in the cache, and queues copy and kernels on the stream of that memory. Then it
//! goes on with its other slot: while one slot's bytes are on the bus or being decoded, the other is
//! filled. Streams of all threads overlap, so that the bus is never waiting for a kernel.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use cuda_driver::cust::event::Event;
use cuda_driver::cust::stream::Stream;
use cuda_driver::raw::{cuMemcpyDtoHAsync_v2, cuMemcpyHtoDAsync_v2};

use super::copies::copy_rectangle;
use super::description::Description;
use super::device::{driver, gpu};
use super::engine::{Engine, check_statuses};
use super::ring::Slot;
use super::tables::TableCache;
use super::work::{Request, Work};
use crate::decode::Checkpoint;
use crate::error::{Error, Result};
use crate::load::{Batch, Check, Limits, LoadOptions, Part, Place, Run, Span, batches};
use crate::mapped::Reader;

/// Slots of each thread: one is filled while the other's batch is under way.
const SLOTS_PER_THREAD: usize = 2;
/// The least pinned memory of a slot: any block with its base, and the description of the work.
const MIN_SLOT_BYTES: usize = LoadOptions::MIN_PINNED_BYTES / SLOTS_PER_THREAD;
/// More than this at a time only makes the beginning and the end longer.
const MOST_SLOT_BYTES: usize = 16 << 20;
/// Of a slot, the part that payload and base may take; the rest is for the description of the work.
const STAGED_PART: (usize, usize) = (7, 8);
/// What a batch's description grows with, so that it and the memory for parts of tensors stay small.
const MOST_BLOCKS: usize = 4096;
const MOST_DECODED_BYTES: u64 = 64 << 20;
/// Bytes that are read before their checksums are compared: they are still in the cache.
const READ_BYTES: usize = 1 << 20;

/// Where what is read goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// It is decoded to device memory at this address.
    Decoded(u64),
    /// It goes to device memory at this address as it is: of each batch the payload, one after the
    /// other.
    Payload(u64),
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
    /// Seconds in which at least one copy, or one kernel, was under way.
    pub(super) copy_seconds: f64,
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
    slot_bytes: usize,
    tables: TableCache,
}

/// What the threads of a transfer share.
struct Shared<'t, 'a> {
    transfer: &'t Transfer<'a>,
    reader: Reader<'a>,
    target: Target,
    /// When everything began, by the device's clock.
    origin: Event,
    next: AtomicUsize,
    failed: AtomicBool,
    error: Mutex<Option<Error>>,
    times: Mutex<Times>,
    device_bytes: AtomicU64,
}

/// What threads have measured.
#[derive(Default)]
struct Times {
    read_seconds: f64,
    checksum_seconds: f64,
    /// Begin and end of each copy and of each batch's kernels, in milliseconds since the origin.
    copies: Vec<(f32, f32)>,
    decodes: Vec<(f32, f32)>,
    ready: Option<Instant>,
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
        let threads = options.threads_of_each(1);
        let threads =
            threads.min(options.pinned_bytes / (SLOTS_PER_THREAD * MIN_SLOT_BYTES)).max(1);
        let page = crate::load::PAGE_BYTES;
        let slot_bytes = options.pinned_bytes / (SLOTS_PER_THREAD * threads) / page * page;
        let slot_bytes = slot_bytes.min(MOST_SLOT_BYTES);
        let (part, of) = STAGED_PART;
        let most = slot_bytes / of * part;
        // Little is cut into so many batches that all threads have some.
        let stored: u64 = parts.iter().map(|part| part.tensor.encoded_bytes()).sum();
        let even = usize::try_from(stored).unwrap_or(usize::MAX) / (SLOTS_PER_THREAD * threads);
        let limits = Limits {
            staged_bytes: most.min(even.max(MIN_SLOT_BYTES / of * part)),
            blocks: MOST_BLOCKS,
            decoded_bytes: MOST_DECODED_BYTES,
        };
        let batches = batches(parts, options.checksums, &limits)?;
        let mut sum = 0;
        let before = |batch: &Batch<'_>| {
            sum += batch.read_bytes();
            sum - batch.read_bytes()
        };
        let payload_before = batches.iter().map(before).collect();
        let threads = threads.min(batches.len()).max(1);
        let tables = TableCache::default();
        Ok(Self {
            engine,
            checkpoint,
            options,
            batches,
            payload_before,
            threads,
            slot_bytes,
            tables,
        })
    }

    /// Bytes that are read of the file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.batches.iter().map(Batch::read_bytes).sum()
    }

    pub(super) fn batches(&self) -> &[Batch<'a>] {
        &self.batches
    }

    /// Transfers everything; when this returns, the device is done.
    ///
    /// # Safety
    ///
    /// The target is device memory of the engine's context with room for all parts (or for
    /// [`Transfer::file_bytes`]), which nobody uses meanwhile.
    pub(super) unsafe fn run(&self, target: Target) -> Result<Transferred> {
        // SAFETY: the caller's promise.
        unsafe { self.run_and(target, || {}) }
    }

    /// Transfers everything, and does `meanwhile` on the calling thread, which only waits otherwise.
    ///
    /// # Safety
    ///
    /// As for [`Transfer::run`].
    pub(super) unsafe fn run_and(
        &self,
        target: Target,
        meanwhile: impl FnOnce(),
    ) -> Result<Transferred> {
        self.engine.make_current()?;
        let start = Instant::now();
        let stream = Stream::new(cuda_driver::cust::stream::StreamFlags::NON_BLOCKING, None);
        let stream = stream.map_err(gpu("make a stream"))?;
        let origin = Event::new(cuda_driver::cust::event::EventFlags::DEFAULT);
        let origin = origin.map_err(gpu("make an event"))?;
        origin.record(&stream).map_err(gpu("record an event"))?;
        let shared = Shared {
            transfer: self,
            reader: self.checkpoint.reader(self.options.direct_io)?,
            target,
            origin,
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            error: Mutex::default(),
            times: Mutex::default(),
            device_bytes: AtomicU64::new(0),
        };
        self.engine.ring.trim(self.slot_bytes, self.threads * SLOTS_PER_THREAD);
        let progress = self.options.progress.as_deref();
        if let Some(progress) = progress {
            progress.start(self.batches.iter().map(Batch::wanted_bytes).sum());
        }
        let panicked = std::thread::scope(|scope| {
            let (sender, done) = channel();
            let workers: Vec<_> = (0..self.threads)
                .map(|_| {
                    let (shared, sender) = (&shared, sender.clone());
                    scope.spawn(move || shared.work(&sender))
                })
                .collect();
            drop(sender);
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
    /// One thread: batch after batch, until there are no more or somebody fails.
    fn work(&self, done: &Sender<u64>) {
        if let Err(error) = self.work_until_error(done) {
            self.failed.store(true, Ordering::Relaxed);
            let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(error);
        }
    }

    fn work_until_error(&self, done: &Sender<u64>) -> Result<()> {
        let engine = self.transfer.engine;
        engine.make_current()?;
        let mut lanes: Vec<Lane> = Vec::with_capacity(SLOTS_PER_THREAD);
        let mut times = Times::default();
        for turn in 0.. {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if self.failed.load(Ordering::Relaxed) || number >= self.transfer.batches.len() {
                break;
            }
            if self.transfer.options.is_cancelled() {
                return Err(Error::Cancelled { path: self.transfer.checkpoint.path().to_owned() });
            }
            if lanes.len() < SLOTS_PER_THREAD {
                lanes.push(Lane::new(engine.ring.take(self.transfer.slot_bytes)?));
                times.ready.get_or_insert_with(Instant::now);
            }
            let lane = &mut lanes[turn % SLOTS_PER_THREAD];
            lane.finish(self, &mut times, done)?;
            lane.start(self, number, &mut times)?;
        }
        for lane in &mut lanes {
            lane.finish(self, &mut times, done)?;
        }
        let device_bytes = lanes.iter().map(|lane| lane.slot.device_bytes()).sum();
        self.device_bytes.fetch_add(device_bytes, Ordering::Relaxed);
        lanes.into_iter().for_each(|lane| engine.ring.give_back(lane.slot));
        self.times.lock().unwrap_or_else(PoisonError::into_inner).add(times);
        Ok(())
    }

    fn outcome(self, start: Instant) -> Result<Transferred> {
        if let Some(error) = self.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let times = self.times.into_inner().unwrap_or_else(PoisonError::into_inner);
        let slots = self.transfer.batches.len().min(self.transfer.threads * SLOTS_PER_THREAD);
        Ok(Transferred {
            file_bytes: self.transfer.file_bytes(),
            pinned_bytes: (slots * self.transfer.slot_bytes) as u64,
            device_bytes: self.device_bytes.into_inner(),
            threads: self.transfer.threads,
            setup_seconds: times.ready.map_or(0.0, |ready| (ready - start).as_secs_f64()),
            read_seconds: times.read_seconds,
            checksum_seconds: times.checksum_seconds,
            copy_seconds: covered_seconds(times.copies),
            decode_seconds: covered_seconds(times.decodes),
        })
    }
}

impl Times {
    fn add(&mut self, other: Self) {
        self.read_seconds += other.read_seconds;
        self.checksum_seconds += other.checksum_seconds;
        self.copies.extend(other.copies);
        self.decodes.extend(other.decodes);
        self.ready = [self.ready, other.ready].into_iter().flatten().min();
    }
}

/// Seconds that at least one of the intervals, in milliseconds, covers.
fn covered_seconds(mut intervals: Vec<(f32, f32)>) -> f64 {
    intervals.sort_by(|left, right| left.0.total_cmp(&right.0));
    let (mut covered, mut end) = (0.0, f32::NEG_INFINITY);
    for (start, stop) in intervals {
        covered += f64::from((stop - start.max(end)).max(0.0));
        end = end.max(stop);
    }
    covered / 1e3
}

/// A slot and what its stream is busy with.
struct Lane {
    slot: Slot,
    busy: Option<Busy>,
}

/// A batch under way.
struct Busy {
    wanted_bytes: u64,
    /// The tensor and block of each status word, and where these come back to; none without kernels.
    decode: Option<(Vec<(usize, usize)>, Statuses)>,
}

/// Where status words come back to.
enum Statuses {
    /// To this place of the pinned memory.
    Pinned(std::ops::Range<usize>),
    /// They are read when the stream is done: the description had no room in the pinned memory.
    Device(super::engine::PreparedWork),
}

impl Lane {
    fn new(slot: Slot) -> Self {
        Self { slot, busy: None }
    }

    /// Reads a batch and brings it under way.
    fn start(&mut self, shared: &Shared<'_, '_>, number: usize, times: &mut Times) -> Result<()> {
        let batch = &shared.transfer.batches[number];
        for span in &batch.spans {
            read_span(&shared.reader, batch, span, self.slot.pinned.bytes_mut(), times)?;
        }
        let decode = match shared.target {
            Target::Decoded(output) => {
                stage_base(batch, self.slot.pinned.bytes_mut());
                Some(self.decode(shared, batch, output)?)
            }
            Target::Payload(start) => {
                self.keep(batch, start + shared.transfer.payload_before[number])?;
                None
            }
        };
        self.busy = Some(Busy { wanted_bytes: batch.wanted_bytes(), decode });
        Ok(())
    }

    /// Queues the copy of a batch and its kernels.
    fn decode(
        &mut self,
        shared: &Shared<'_, '_>,
        batch: &Batch<'_>,
        output: u64,
    ) -> Result<(Vec<(usize, usize)>, Statuses)> {
        let engine = shared.transfer.engine;
        let staging = self.slot.staging.as_device_ptr().as_raw();
        let tables = &shared.transfer.tables;
        let index = &shared.transfer.checkpoint.index;
        let describe = |scratch| {
            let requests = requests(batch, staging, output, scratch);
            Ok::<_, Error>(Description::new(Work::new(index, &requests, tables)?))
        };
        let parts_bytes = scratch_bytes(batch).next_multiple_of(256);
        let mut scratch = self.slot.scratch(parts_bytes)?;
        let mut described = describe(scratch)?;
        let all = self.slot.scratch(parts_bytes + described.coded_bytes())?;
        if all != scratch {
            scratch = all;
            described = describe(scratch)?;
        }
        let at = batch.staged_bytes.next_multiple_of(256);
        if at + described.byte_len() > self.slot.pinned.bytes().len() {
            let requests = requests(batch, staging, output, scratch);
            return self.decode_separately(shared, batch, &requests, (scratch, output));
        }
        let plan = engine.plan(&described, staging + at as u64)?;
        let end = at + described.byte_len();
        let (sections, blocks) = described.write(
            staging + at as u64,
            scratch + parts_bytes,
            &mut self.slot.pinned.bytes_mut()[at..end],
        );
        self.copy_to_device(0..end, staging)?;
        // SAFETY: staging, scratch and output stay until `finish` has waited for the stream.
        unsafe { engine.launch(&plan, &self.slot.stream)? };
        copy_parts(batch, scratch, output, &self.slot.stream)?;
        let status = at + sections.status.start..at + sections.status.end;
        let from = staging + status.start as u64;
        let target = self.slot.pinned.bytes_mut()[status.clone()].as_mut_ptr();
        // SAFETY: both have so many bytes, and stay as they are until `finish` has waited.
        let copied = unsafe {
            cuMemcpyDtoHAsync_v2(target.cast(), from, status.len(), self.slot.stream.as_inner())
        };
        driver(copied, "copy the status words")?;
        self.record(2)?;
        Ok((blocks, Statuses::Pinned(status)))
    }

    /// The same with the description in memory of its own, for the rare batch with too long a one:
    /// thousands of tables, or tiles by class.
    fn decode_separately(
        &mut self,
        shared: &Shared<'_, '_>,
        batch: &Batch<'_>,
        requests: &[Request],
        (scratch, output): (u64, u64),
    ) -> Result<(Vec<(usize, usize)>, Statuses)> {
        let engine = shared.transfer.engine;
        let index = &shared.transfer.checkpoint.index;
        let work = Work::new(index, requests, &shared.transfer.tables)?;
        let prepared = engine.prepare(work, &self.slot.stream)?;
        self.copy_to_device(0..batch.staged_bytes, self.slot.staging.as_device_ptr().as_raw())?;
        // SAFETY: as in `decode`; the prepared work is kept as long.
        unsafe { engine.launch(prepared.plan(), &self.slot.stream)? };
        copy_parts(batch, scratch, output, &self.slot.stream)?;
        self.record(2)?;
        Ok((Vec::new(), Statuses::Device(prepared)))
    }

    /// Queues the copy of a batch's payload to `address`, without gaps.
    fn keep(&mut self, batch: &Batch<'_>, mut address: u64) -> Result<()> {
        self.record(0)?;
        for span in &batch.spans {
            self.copy(span.at..span.at + span.bytes, address)?;
            address += span.bytes as u64;
        }
        self.record(1)?;
        self.record(2)
    }

    fn copy_to_device(&mut self, bytes: std::ops::Range<usize>, address: u64) -> Result<()> {
        self.record(0)?;
        self.copy(bytes, address)?;
        self.record(1)
    }

    fn copy(&mut self, bytes: std::ops::Range<usize>, address: u64) -> Result<()> {
        let from = &self.slot.pinned.bytes()[bytes];
        // SAFETY: the target has room for as many bytes, and both stay as they are until `finish` has
        // waited for the stream; dropping the slot earlier waits too.
        let copied = unsafe {
            let stream = self.slot.stream.as_inner();
            cuMemcpyHtoDAsync_v2(address, from.as_ptr().cast(), from.len(), stream)
        };
        driver(copied, "copy compressed blocks")
    }

    fn record(&self, event: usize) -> Result<()> {
        self.slot.events[event].record(&self.slot.stream).map_err(gpu("record an event"))
    }

    /// Waits for the batch under way, if there is one, and looks at what its kernels report.
    fn finish(
        &mut self,
        shared: &Shared<'_, '_>,
        times: &mut Times,
        done: &Sender<u64>,
    ) -> Result<()> {
        let Some(busy) = self.busy.take() else { return Ok(()) };
        self.slot.stream.synchronize().map_err(gpu("decode"))?;
        let index = &shared.transfer.checkpoint.index;
        let since =
            |event: &Event| event.elapsed_time_f32(&shared.origin).map_err(gpu("tell the time"));
        let [begin, copied, end] = &self.slot.events;
        times.copies.push((since(begin)?, since(copied)?));
        if let Some((blocks, statuses)) = busy.decode {
            times.decodes.push((since(copied)?, since(end)?));
            match statuses {
                Statuses::Pinned(place) => {
                    check_statuses(&self.slot.pinned.bytes()[place], &blocks, index)?;
                }
                Statuses::Device(work) => shared.transfer.engine.check(&work, index)?,
            }
        }
        // Nobody listens any more when the calling thread has ended.
        let _ = done.send(busy.wanted_bytes);
        Ok(())
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

/// Copies what is needed of the base to its place behind the payload.
fn stage_base(batch: &Batch<'_>, memory: &mut [u8]) {
    let mut at = batch.base_at;
    for run in batch.pieces.iter().flat_map(|piece| &piece.runs) {
        memory[at..][..run.base.len()].copy_from_slice(run.base);
        at += run.base_room();
    }
}

/// Memory for blocks of which parts are wanted.
fn scratch_bytes(batch: &Batch<'_>) -> u64 {
    let runs = batch.pieces.iter().flat_map(|piece| &piece.runs);
    let scratch = |run: &Run<'_>| match run.place {
        Place::Direct(_) => 0,
        Place::Scratch(bytes) => bytes,
    };
    runs.map(scratch).sum()
}

/// What the kernels are to do, for a batch that lies at `staging` as it does in pinned memory.
fn requests(batch: &Batch<'_>, staging: u64, output: u64, mut scratch: u64) -> Vec<Request> {
    let mut base = staging + batch.base_at as u64;
    let mut requests = Vec::with_capacity(batch.pieces.len());
    for span in &batch.spans {
        let mut piece_at = staging + span.at as u64;
        for piece in &batch.pieces[span.pieces.clone()] {
            for run in &piece.runs {
                let out = match run.place {
                    Place::Direct(out) => output + out,
                    Place::Scratch(bytes) => {
                        scratch += bytes;
                        scratch - bytes
                    }
                };
                requests.push(Request {
                    tensor: piece.part.tensor.number(),
                    blocks: run.blocks.clone(),
                    payload: piece_at + run.at as u64,
                    out,
                    base,
                });
                base += run.base_room() as u64;
            }
            piece_at += piece.bytes as u64;
        }
    }
    requests
}

/// Queues the copies of what is wanted from scratch memory to the output.
fn copy_parts(batch: &Batch<'_>, mut scratch: u64, output: u64, stream: &Stream) -> Result<()> {
    for piece in &batch.pieces {
        for run in &piece.runs {
            let Place::Scratch(bytes) = run.place else { continue };
            let part = &piece.part;
            for rectangle in part.rows.rectangles(&part.bytes_of(&run.blocks)) {
                // SAFETY: the blocks of the run lie at `scratch`, and rectangles within them and within
                // the slice; both stay until the lane has waited for its stream.
                unsafe {
                    copy_rectangle(&rectangle, &part.rows, scratch, output + part.out, stream)?;
                }
            }
            scratch += bytes;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covered_time_counts_once() {
        assert_eq!(covered_seconds(vec![]), 0.0);
        let intervals = vec![(4000.0, 5000.0), (0.0, 1000.0), (500.0, 2000.0), (600.0, 700.0)];
        assert_eq!(covered_seconds(intervals), 3.0);
    }
}
