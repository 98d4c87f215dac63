//! One thread of a transfer.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::super::description::Description;
use super::super::device::gpu;
use super::super::engine::{PreparedWork, check_statuses};
use super::super::intervals::Intervals;
use super::super::sizes::{PIECE_BYTES, STEP_BYTES};
use super::super::work::Work;
use super::super::workspace::{LANES, Lane, STAGING_BYTES, Workspace};
use super::checks::Checks;
use super::staged::{copies, requests, scratch_bytes};
use super::{Shared, Target, Transfer};
use crate::error::{Error, Result};
use crate::load::{BLOCK_ALIGNMENT, Batch, PAGE_BYTES, Piece, Span};

/// What threads have measured.
#[derive(Default)]
pub(super) struct Times {
    pub(super) read_seconds: f64,
    pub(super) checksum_seconds: f64,
    pub(super) copy_wait_seconds: f64,
    pub(super) describe_seconds: f64,
    pub(super) queue_seconds: f64,
    pub(super) decode_wait_seconds: f64,
    /// Begin and end of each batch's kernels, in milliseconds since the origin.
    pub(super) decodes: Vec<(f32, f32)>,
    /// When the first thread had its pinned memory.
    pub(super) ready: Option<Instant>,
    pub(super) device_bytes: u64,
}

/// A thread with its memory.
struct Worker<'w, 't, 'a> {
    shared: &'w Shared<'t, 'a>,
    /// Told of the bytes of tensors that are ready.
    done: Sender<u64>,
    workspace: &'w mut Workspace,
    /// What each lane's stream is busy with.
    busy: [Option<Busy>; LANES],
    read_seconds: f64,
    checksum_seconds: f64,
    /// What was waited for copies, and for kernels.
    copy_wait: Duration,
    decode_wait: Duration,
    /// What it took to say what kernels are to do, and to queue them and copies.
    describing: Duration,
    queueing: Duration,
    decodes: Intervals<'w>,
}

/// A batch under way.
struct Busy {
    wanted_bytes: u64,
    statuses: Statuses,
}

/// Where status words come back to.
enum Statuses {
    /// There are none, as nothing is decoded.
    None,
    /// To the lane's place in pinned memory; the tensor and block of each.
    Pinned(Vec<(usize, usize)>),
    /// They are read when the stream is done: the description has memory of its own.
    Apart(Box<PreparedWork>),
}

impl Shared<'_, '_> {
    /// One thread: batch after batch, until there are no more or somebody fails.
    pub(super) fn work(&self, done: Sender<u64>) {
        if let Err(error) = self.work_until_error(done) {
            self.fail(error);
        }
    }

    fn work_until_error(&self, done: Sender<u64>) -> Result<()> {
        let engine = self.transfer.engine;
        engine.make_current()?;
        let mut workspace = engine.workspaces.take()?;
        let ready = Instant::now();
        let mut worker = Worker {
            shared: self,
            done,
            workspace: &mut workspace,
            busy: Default::default(),
            read_seconds: 0.0,
            checksum_seconds: 0.0,
            copy_wait: Duration::ZERO,
            decode_wait: Duration::ZERO,
            describing: Duration::ZERO,
            queueing: Duration::ZERO,
            decodes: Intervals::since(&self.origin),
        };
        worker.work()?;
        let Worker { read_seconds, checksum_seconds, decodes, .. } = worker;
        let [copy_wait, decode_wait, describing, queueing] =
            [worker.copy_wait, worker.decode_wait, worker.describing, worker.queueing]
                .map(|time| time.as_secs_f64());
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.read_seconds += read_seconds;
        times.checksum_seconds += checksum_seconds;
        times.copy_wait_seconds += copy_wait;
        times.decode_wait_seconds += decode_wait;
        times.describe_seconds += describing;
        times.queue_seconds += queueing;
        times.decodes.extend(decodes.into_vec());
        times.ready = times.ready.into_iter().chain([ready]).min();
        times.device_bytes += workspace.device_bytes();
        engine.workspaces.give_back(workspace);
        Ok(())
    }
}

impl Worker<'_, '_, '_> {
    fn work(&mut self) -> Result<()> {
        let Transfer { batches, options, checkpoint, .. } = self.shared.transfer;
        for lane in (0..LANES).cycle() {
            let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
            if self.shared.failed.load(Ordering::Relaxed) || number >= batches.len() {
                break;
            }
            if options.is_cancelled() {
                return Err(Error::Cancelled { path: checkpoint.path().to_owned() });
            }
            self.finish(lane)?;
            self.start(lane, number)?;
        }
        (0..LANES).try_for_each(|lane| self.finish(lane))?;
        self.workspace.pieces.settle_all(&mut self.copy_wait)
    }

    /// Reads a batch and brings it under way.
    fn start(&mut self, lane: usize, number: usize) -> Result<()> {
        let batch = &self.shared.transfer.batches[number];
        let statuses = match self.shared.target {
            Target::Payload => {
                let start = self.shared.address()?;
                let mut address = start + self.shared.transfer.payload_before[number];
                for span in &batch.spans {
                    self.read_span(lane, batch, span, address)?;
                    address += span.bytes as u64;
                }
                Statuses::None
            }
            Target::Decoded => {
                let staging = self.workspace.lanes[lane].address();
                for span in &batch.spans {
                    self.read_span(lane, batch, span, staging + span.at as u64)?;
                }
                self.send_base(lane, batch)?;
                let output = self.shared.address()?;
                self.decode(lane, batch, output)?
            }
        };
        self.busy[lane] = Some(Busy { wanted_bytes: batch.wanted_bytes(), statuses });
        Ok(())
    }

    /// Reads what follows one another in the file, piece by piece, and queues their copies to `address`.
    /// Checksums are compared in steps, while the bytes are in the cache.
    fn read_span(
        &mut self,
        lane: usize,
        batch: &Batch<'_>,
        span: &Span,
        address: u64,
    ) -> Result<()> {
        let Workspace { lanes, pieces } = &mut *self.workspace;
        let reader = &self.shared.reader;
        // Few large reads are best around the page cache.
        let step = if reader.is_direct() { usize::MAX } else { STEP_BYTES };
        let mut left = &batch.pieces[span.pieces.clone()];
        let mut done = 0;
        while !left.is_empty() {
            let offset = span.offset + done as u64;
            // A read around the page cache takes whole pages.
            let at = (offset % PAGE_BYTES as u64) as usize;
            let (now, later, bytes) = fitting(left, PIECE_BYTES - PAGE_BYTES - at);
            let memory = pieces.next(&mut self.copy_wait)?;
            let mut checks = Checks::new(now);
            let mut filled = 0;
            loop {
                // Up to the end of a page, in the file as in memory.
                let count = (step - (at + filled) % PAGE_BYTES).min(bytes - filled);
                let start = Instant::now();
                reader.read(memory, at + filled, offset + filled as u64, count)?;
                let read = Instant::now();
                checks.take(&memory[at + filled..][..count])?;
                self.read_seconds += (read - start).as_secs_f64();
                self.checksum_seconds += read.elapsed().as_secs_f64();
                filled += count;
                // Blocks may have no bytes, and are compared all the same.
                if filled == bytes {
                    break;
                }
            }
            let start = Instant::now();
            // SAFETY: the target has room for the batch, as `Transfer::run` and the batches' limits have
            // it, and nobody uses it before `finish` has waited; a lane that is dropped earlier waits too.
            unsafe { pieces.send(at..at + bytes, address + done as u64, &lanes[lane].stream)? };
            self.queueing += start.elapsed();
            (left, done) = (later, done + bytes);
        }
        Ok(())
    }

    /// Copies what is needed of the base to its place behind the payload.
    fn send_base(&mut self, lane: usize, batch: &Batch<'_>) -> Result<()> {
        let Workspace { lanes, pieces } = &mut *self.workspace;
        let stream = &lanes[lane].stream;
        let mut address = lanes[lane].address() + batch.base_at as u64;
        let runs = batch.pieces.iter().flat_map(|piece| &piece.runs);
        let mut parts = runs.flat_map(|run| run.base.chunks(PIECE_BYTES)).peekable();
        let room = |part: &[u8]| part.len().next_multiple_of(BLOCK_ALIGNMENT as usize);
        while parts.peek().is_some() {
            let memory = pieces.next(&mut self.copy_wait)?;
            let mut filled = 0;
            while let Some(part) = parts.next_if(|part| filled + room(part) <= PIECE_BYTES) {
                memory[filled..][..part.len()].copy_from_slice(part);
                filled += room(part);
            }
            // SAFETY: as in `read_span`.
            unsafe { pieces.send(0..filled, address, stream)? };
            address += filled as u64;
        }
        Ok(())
    }

    /// Says what the kernels are to do, and queues them.
    fn decode(&mut self, number: usize, batch: &Batch<'_>, output: u64) -> Result<Statuses> {
        let Transfer { engine, checkpoint, .. } = self.shared.transfer;
        let Workspace { lanes, pieces } = &mut *self.workspace;
        let start = Instant::now();
        let lane = &mut lanes[number];
        let staging = lane.address();
        let work = |scratch| {
            let requests = requests(batch, staging, output, scratch);
            let mut work = Work::new(&checkpoint.index, &requests, &checkpoint.kernel_tables)?;
            work.copies = copies(batch, scratch, output);
            Ok::<_, Error>(work)
        };
        let parts_bytes = scratch_bytes(batch).next_multiple_of(256);
        let mut scratch = lane.scratch(parts_bytes)?;
        let mut described = Description::new(work(scratch)?);
        let all = lane.scratch(parts_bytes + described.coded_bytes())?;
        if all != scratch {
            scratch = all;
            described = Description::new(work(scratch)?);
        }
        let at = batch.staged_bytes.next_multiple_of(256);
        let bytes = described.byte_len();
        if bytes > PIECE_BYTES || at + bytes > STAGING_BYTES {
            // Thousands of tables, or tiles by class.
            let prepared = Box::new(engine.prepare(work(scratch)?, &lane.stream)?);
            lane.record(0)?;
            // SAFETY: what is prepared is kept until `finish` has waited; for the rest see below.
            unsafe { engine.launch(prepared.plan(), &lane.stream)? };
            lane.record(1)?;
            return Ok(Statuses::Apart(prepared));
        }
        let address = staging + at as u64;
        let plan = engine.plan(&described, address)?;
        self.describing += start.elapsed();
        let memory = pieces.next(&mut self.copy_wait)?;
        let start = Instant::now();
        let (sections, blocks) =
            described.write(address, scratch + parts_bytes, &mut memory[..bytes]);
        self.describing += start.elapsed();
        let start = Instant::now();
        // SAFETY: there is room for it, as looked at above.
        unsafe { pieces.send(0..bytes, address, &lane.stream)? };
        lane.record(0)?;
        // SAFETY: staging, scratch and output stay until `finish` has waited for the stream.
        unsafe { engine.launch(&plan, &lane.stream)? };
        let (from, length) = (address + sections.status.start as u64, sections.status.len());
        // SAFETY: the status words are part of the description.
        unsafe { pieces.fetch_statuses(number, from, length, &lane.stream)? };
        lane.record(1)?;
        self.queueing += start.elapsed();
        Ok(Statuses::Pinned(blocks))
    }

    /// Waits for the batch that a lane is busy with, if there is one, and looks at what its kernels
    /// report.
    fn finish(&mut self, lane: usize) -> Result<()> {
        let Some(busy) = self.busy[lane].take() else { return Ok(()) };
        let Workspace { lanes, pieces } = &*self.workspace;
        let Transfer { engine, checkpoint, .. } = self.shared.transfer;
        let Lane { stream, events, .. } = &lanes[lane];
        let start = Instant::now();
        stream.synchronize().map_err(gpu("decode"))?;
        self.decode_wait += start.elapsed();
        let has_kernels = !matches!(busy.statuses, Statuses::None);
        if has_kernels {
            self.decodes.add(events)?;
        }
        match busy.statuses {
            Statuses::None => {}
            Statuses::Pinned(blocks) => {
                let statuses = pieces.statuses(lane, blocks.len() * size_of::<u32>());
                check_statuses(statuses, &blocks, &checkpoint.index)?;
            }
            Statuses::Apart(work) => engine.check(&work, &checkpoint.index)?,
        }
        // Nobody listens any more when the calling thread has ended.
        let _ = self.done.send(busy.wanted_bytes);
        Ok(())
    }
}

/// The first pieces, as many as fit into `most` bytes together but at least one; the others; and how
/// many bytes the first ones have.
fn fitting<'p, 'a>(
    pieces: &'p [Piece<'a>],
    most: usize,
) -> (&'p [Piece<'a>], &'p [Piece<'a>], usize) {
    let (mut count, mut bytes) = (0, 0);
    for piece in pieces {
        if count > 0 && bytes + piece.bytes > most {
            break;
        }
        count += 1;
        bytes += piece.bytes;
    }
    let (now, later) = pieces.split_at(count);
    (now, later, bytes)
}
