//! Encoding of a whole checkpoint.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use codec::split::Width;
use rayon::Scope;

use super::classes::{TensorClasses, find_classes};
use super::copies::find_copies;
use super::digest::{self, Digest, SMALL_FILE_BYTES};
use super::in_order::in_order;
use super::layout::element_layout;
use super::lot::Lot;
use super::options::EncodeOptions;
use super::profile::Profile;
use super::records::{OpenChunk, TensorBuilder, TensorPlans, chunk_of};
use super::reference::find_references;
use super::report::{EncodeReport, TensorReport};
use super::sink::{Memory, Sink};
use super::source::Source;
use super::tables::TablePool;
use super::tiles::find_tilings;
use super::window::{EncodedBlock, Planner, SegmentInput, Workshop};
use crate::error::{Error, Result};
use crate::format::{BaseRecord, CHUNK_BYTES, Index, TensorRecord, WINDOW_BLOCKS, WINDOW_BYTES};
use crate::mapped::MappedFile;
use crate::output::{AtomicFile, InBetween, Nothing, ensure_apart, write_beside};
use crate::processors;
use crate::safetensors::{self, Header, TensorEntry};

/// Encodes the `.safetensors` file `input` into the `.wcodec` file `output`.
///
/// The output appears under its name when it is complete; after an error there is none, and one
/// that was there before is unchanged. Runs on the current rayon pool. Memory stays bounded
/// whatever the file's size: the input is mapped, the output streams.
///
/// # Errors
///
/// When the input cannot be read or is no valid `.safetensors` file, when the output exists and
/// may not be replaced, is the input, or cannot be written, and when an option is out of its range.
pub fn encode_safetensors(
    input: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: &EncodeOptions,
) -> Result<EncodeReport> {
    let (input, output) = (input.as_ref(), output.as_ref());
    // On a thread of the pool, so that its many small loops need not be handed over to one.
    rayon::scope(|scope| encode_file(scope, input, output, options))
}

fn encode_file<'scope>(
    scope: &Scope<'scope>,
    input: &Path,
    output: &Path,
    options: &EncodeOptions,
) -> Result<EncodeReport> {
    options.check()?;
    ensure_apart(input, output)?;
    if let Some(base) = &options.base {
        ensure_apart(base.path(), output)?;
    }
    let source = Arc::new(Source::new(MappedFile::open(input)?, options.sha256));
    let mapped = &source.mapped;
    mapped.expect_all();
    let before = mapped.metadata()?;
    let header = mapped.checked(safetensors::parse(mapped.bytes(), input))?;
    let mut file = AtomicFile::create(output, options.overwrite)?;
    let workshop = Workshop::default();
    let threads = rayon::current_num_threads();
    let free = if mapped.bytes().len() > SMALL_FILE_BYTES { processors::free() } else { 0 };
    let (in_between, digest): (Option<Box<dyn InBetween>>, _) = match (threads, free) {
        // If one is free, the hash is what all wait for, and has it to itself.
        (_, 0) | (2.., 1) => (None, Digest::of(options)),
        // Who encodes writes as far as the hash takes longer than that.
        (_, 1) if options.sha256 => {
            let (hashing, digest) = digest::in_between(&source);
            (Some(hashing), digest)
        }
        _ => (Some(Box::new(Nothing)), Digest::of(options)),
    };
    let mut unmapping = None;
    let (written, encoded) = write_beside(&mut file, in_between, &workshop.rooms, |behind| {
        let mut sink = Sink::new(behind, output, options);
        let (bytes, mapped) = (source.mapped.bytes(), &source.mapped);
        let payload =
            encode_payload(bytes, Some(&source), &header, options, digest, &workshop, &mut sink);
        let payload = mapped.checked(payload)?;
        mapped.check_unchanged(&before)?;
        // The last of its pages are given back meanwhile, not before or after all else.
        if free > 0 {
            // Where there can be no thread it is done at once.
            unmapping = thread::Builder::new().spawn(|| drop(source)).ok();
        } else {
            scope.spawn(|_| drop(source));
        }
        payload.complete(sink)
    });
    // Where writing has failed, encoding only knows that it has.
    written.map_err(|error| Error::io("write", output, error))?;
    let report = encoded?;
    // By another thread of the pool while this one waits for the disk, and else after that: giving memory back
    // may have to wait until the mapped file is.
    scope.spawn(|_| drop(workshop));
    file.commit()?;
    if let Some(unmapping) = unmapping {
        // Nothing in it can panic.
        let _ = unmapping.join();
    }
    Ok(report)
}

/// The same from memory to memory: `file` is a whole `.safetensors` file.
///
/// # Errors
///
/// When `file` is no valid `.safetensors` file, or an option is out of its range.
pub fn encode_safetensors_bytes(
    file: &[u8],
    options: &EncodeOptions,
) -> Result<(Vec<u8>, EncodeReport)> {
    // Pages that are never written to take no memory.
    let mut bytes = Vec::with_capacity(file.len());
    let report = encode_safetensors_bytes_into(file, options, &mut bytes)?;
    Ok((bytes, report))
}

/// The same into memory of the caller, for many files one after the other: new memory costs a
/// quarter of the time. What `out` held before is lost; after an error its contents are unspecified.
///
/// # Errors
///
/// As [`encode_safetensors_bytes`].
pub fn encode_safetensors_bytes_into(
    file: &[u8],
    options: &EncodeOptions,
    out: &mut Vec<u8>,
) -> Result<EncodeReport> {
    options.check()?;
    let path = Path::new("<memory>");
    let header = safetensors::parse(file, path)?;
    out.clear();
    let workshop = Workshop::default();
    let mut memory = Memory { bytes: out, rooms: &workshop.rooms };
    let mut sink = Sink::new(&mut memory, path, options);
    let digest = Digest::of(options);
    let encode = || encode_payload(file, None, &header, options, digest, &workshop, &mut sink);
    let payload = if header.tensors.len() <= 1 && file.len() <= SMALL_FILE_BYTES {
        // Done before another thread would be awake, and nothing in it is for several.
        encode()
    } else {
        // On a thread of the pool, so that its many small loops need not be handed over to one.
        rayon::scope(|_| encode())
    };
    payload?.complete(sink)
}

/// A payload that has been written, and what remains to be.
struct Payload {
    start: Instant,
    index: Index,
    tensors: Vec<TensorReport>,
}

impl Payload {
    /// Writes the index.
    fn complete(self, sink: Sink<'_>) -> Result<EncodeReport> {
        let Self { start, index, tensors } = self;
        let encoded_bytes = sink.finish(&index)?;
        Ok(EncodeReport {
            original_bytes: index.original_bytes,
            encoded_bytes,
            original_sha256: index.original_sha256,
            seconds: start.elapsed().as_secs_f64(),
            tensors,
        })
    }
}

fn encode_payload(
    file: &[u8],
    source: Option<&Source>,
    header: &Header,
    options: &EncodeOptions,
    digest: Digest,
    workshop: &Workshop,
    sink: &mut Sink<'_>,
) -> Result<Payload> {
    let start = Instant::now();
    if let Some(progress) = &options.progress {
        progress.start(file.len() as u64);
    }
    let encode = || encode_tensors(file, source, header, options, workshop, sink);
    let (original_sha256, (tables, tensors)) = digest.beside(file, source, encode)?;
    let reports = header.tensors.iter().zip(&tensors).map(report_of).collect();
    let base = options.base.as_ref().filter(|_| tensors.iter().any(TensorRecord::needs_base));
    let index = Index {
        original_bytes: file.len() as u64,
        original_sha256,
        base: base.map(|base| BaseRecord { bytes: base.byte_len(), sha256: base.sha256() }),
        header: file[header.header_bytes.clone()].to_vec(),
        tables: tables.records(),
        tensors,
    };
    Ok(Payload { start, index, tensors: reports })
}

fn report_of((entry, record): (&TensorEntry, &TensorRecord)) -> TensorReport {
    TensorReport {
        name: entry.name.clone(),
        dtype: entry.dtype.clone(),
        original_bytes: record.bytes,
        encoded_bytes: record.blocks.iter().map(|block| u64::from(block.bytes)).sum(),
    }
}

/// Writes the payload of all tensors, and returns what the index says of them.
fn encode_tensors(
    file: &[u8],
    source: Option<&Source>,
    header: &Header,
    options: &EncodeOptions,
    workshop: &Workshop,
    sink: &mut Sink<'_>,
) -> Result<(TablePool, Vec<TensorRecord>)> {
    sink.write_header()?;
    let mut planner = Planner::default();
    let mut builders: Vec<TensorBuilder> =
        header.tensors.iter().map(|entry| TensorBuilder::new(entry, file, options)).collect();
    let (profile, block_elements) = (options.profile, options.block_elements);
    let copies = find_copies(file, header);
    for (builder, original) in builders.iter_mut().zip(&copies) {
        builder.record.copy_of = *original;
    }
    let is_copy = |tensor: usize| copies[tensor].is_some();
    let base = options.base.as_deref();
    let references = find_references(file, header, base, block_elements, is_copy);
    let is_known = |tensor: usize| is_copy(tensor) || references[tensor].is_some();
    let pool = &mut planner.pool;
    let tilings = find_tilings(file, header, profile, block_elements, is_known, pool);
    for (builder, tiling) in builders.iter_mut().zip(&tilings) {
        if let Some(tiling) = tiling {
            tiling.describe(&mut builder.record);
        }
    }
    // With the profile fast, only bytes may be coded by class.
    let has_no_classes = |tensor: usize| {
        let width = element_layout(&header.tensors[tensor].dtype).width;
        is_known(tensor)
            || tilings[tensor].is_some()
            || profile == Profile::Fast && width != Width::One
    };
    let classes = find_classes(file, header, profile, has_no_classes, &mut planner.pool);
    for (builder, classes) in builders.iter_mut().zip(&classes) {
        let records = classes.iter().flat_map(TensorClasses::records);
        builder.record.classes.extend(records.cloned());
    }
    let mut plans: Vec<TensorPlans> =
        header.tensors.iter().map(|_| TensorPlans::default()).collect();
    let (chunk, written) = (OpenChunk::default(), 0);
    let mut writer = TensorWriter { builders, chunk, written, source, options, sink };
    let take =
        |blocks: Vec<EncodedBlock>| blocks.into_iter().try_for_each(|block| writer.write(block));
    in_order(
        Window::most_bytes(),
        |blocks| workshop.encode(&blocks),
        take,
        |encode| {
            let mut flush = |lots: Vec<_>| {
                let admit = |tensor: usize, plan| plans[tensor].admit(plan);
                planner.plan(lots, admit).try_for_each(|blocks| {
                    let bytes = blocks.original_bytes();
                    encode(blocks, bytes)
                })
            };
            let mut window = Window::default();
            let mut lot = Lot::default();
            for (tensor, entry) in header.tensors.iter().enumerate() {
                let layout = element_layout(&entry.dtype);
                let block_bytes = options.block_elements * layout.width.bytes();
                let bytes = entry.bytes(file).unwrap_or_default();
                if is_copy(tensor) {
                    options.advance(bytes.len());
                    continue;
                }
                let mut first_element = 0;
                for bytes in bytes.chunks(WINDOW_BYTES.next_multiple_of(block_bytes)) {
                    let segment = SegmentInput {
                        tensor,
                        layout,
                        states_per_lane: options.states_per_lane,
                        pair_tolerance: options.pair_tolerance,
                        profile: options.profile,
                        classes: classes.get(tensor).and_then(Option::as_ref),
                        tiling: tilings[tensor].as_ref(),
                        base: references[tensor].map(|base| {
                            &base[first_element as usize * layout.width.bytes()..][..bytes.len()]
                        }),
                        first_element,
                        blocks: bytes.chunks(block_bytes).collect(),
                    };
                    first_element += (bytes.len() / layout.width.bytes()) as u64;
                    if !lot.has_room_for(&segment)
                        && let Some(full) = window.push(std::mem::take(&mut lot))
                    {
                        flush(full.lots)?;
                    }
                    lot.push(segment);
                }
            }
            if let Some(full) = window.push(lot) {
                flush(full.lots)?;
            }
            flush(window.lots)
        },
    )?;
    // The disk takes the last of it while memory is given back and the index is made.
    writer.sink.flush()?;
    let builders = writer.builders.into_iter().zip(plans);
    let mut records: Vec<TensorRecord> =
        builders.map(|(builder, plans)| builder.finish(plans)).collect();
    for (copy, original) in copies.into_iter().enumerate() {
        if let Some(original) = original {
            records[copy].xxh3 = records[original as usize].xxh3;
        }
    }
    Ok((planner.pool, records))
}

/// Lots that are encoded together.
#[derive(Default)]
struct Window<'a> {
    lots: Vec<Lot<'a>>,
    bytes: usize,
    blocks: usize,
}

impl<'a> Window<'a> {
    /// Bytes of several lots that are encoded together.
    fn most_bytes() -> usize {
        /// What each thread takes at a time: as much as stays in its cache until it is coded.
        const CACHED_BYTES: usize = 1 << 20;
        WINDOW_BYTES.min(CACHED_BYTES * rayon::current_num_threads())
    }

    /// Adds a lot. If there is no room for it beside those that are here, they are returned. What is
    /// encoded doesn't depend on it: a lot is never cut.
    fn push(&mut self, lot: Lot<'a>) -> Option<Self> {
        let has_room = self.lots.is_empty()
            || self.bytes + lot.bytes <= Self::most_bytes()
                && self.blocks + lot.blocks <= WINDOW_BLOCKS;
        let full = (!has_room).then(|| std::mem::take(self));
        self.bytes += lot.bytes;
        self.blocks += lot.blocks;
        self.lots.push(lot);
        full
    }
}

/// The blocks of all tensors, as far as they are written.
struct TensorWriter<'a, 'sink> {
    builders: Vec<TensorBuilder>,
    /// What is written of the current segment since its last chunk.
    chunk: OpenChunk,
    /// What the blocks that are written were before they were encoded, in bytes.
    written: u64,
    source: Option<&'a Source>,
    options: &'a EncodeOptions,
    sink: &'a mut Sink<'sink>,
}

impl TensorWriter<'_, '_> {
    /// Writes the next block.
    fn write(&mut self, block: EncodedBlock) -> Result<()> {
        let builder = &mut self.builders[block.tensor];
        builder.add_block(&block, self.sink.payload());
        let bytes = block.piece.bytes();
        if block.ends_segment && self.chunk.blocks == 0 {
            builder.add_chunk(chunk_of(bytes));
        } else {
            self.chunk.add(bytes);
            if block.ends_segment || self.chunk.bytes >= CHUNK_BYTES as u64 {
                builder.add_chunk(std::mem::take(&mut self.chunk).close());
            }
        }
        self.options.advance(block.original_bytes);
        self.written += block.original_bytes as u64;
        self.sink.reach(self.written);
        self.source.inspect(|source| source.note_encoded(self.written as usize));
        self.sink.put(block.piece)
    }
}
