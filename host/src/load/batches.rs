//! From what is wanted of each tensor to batches of chunks, which are read, copied and decoded one at
//! a time. Nothing here reads the file's payload or talks to a device.

use std::ops::Range;

use rayon::prelude::*;
use smallvec::SmallVec;

use super::options::LoadOptions;
use super::rows::Rows;
use crate::decode::Tensor;
use crate::error::{Error, Result, quoted};

/// What kernels load from the base, and what they write, is aligned to this.
pub(crate) const BLOCK_ALIGNMENT: u64 = 16;

/// Reads around the page cache begin and end at multiples of this, in the file and in memory.
pub(crate) const PAGE_BYTES: usize = 4096;

/// What is wanted of a tensor, and where it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    /// A tensor with blocks of its own.
    pub(crate) tensor: Tensor<'a>,
    pub(crate) rows: Rows,
    /// Offset of the slice in the output; a multiple of 16.
    pub(crate) out: u64,
}

/// Blocks that follow one another in the file.
#[derive(Debug, Clone)]
pub(crate) struct Run<'a> {
    pub(crate) blocks: Range<usize>,
    /// Where their bytes lie in what is read of the chunk.
    pub(crate) at: usize,
    pub(crate) place: Place,
    /// The base's bytes of the blocks, if any of them needs these.
    pub(crate) base: &'a [u8],
}

/// Where decoded blocks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// To this offset of the output, as they are.
    Direct(u64),
    /// To memory of the batch, so many bytes, from which the wanted ones are copied.
    Scratch(u64),
}

/// How the bytes of a piece are known to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// They are not checked, or with another piece.
    Not,
    /// They are a whole chunk, with a checksum.
    Read,
    /// They are too small a part of their chunk, which is read from the file for its checksum alone.
    WholeChunk,
}

/// The runs of a piece: nearly always one, so that thousands of small tensors need no memory of their
/// own each.
pub(crate) type Runs<'a> = SmallVec<[Run<'a>; 1]>;

/// What is read of a chunk at a time.
#[derive(Debug, Clone)]
pub(crate) struct Piece<'a> {
    pub(crate) part: Part<'a>,
    pub(crate) chunk: usize,
    /// Where in the file.
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    pub(crate) check: Check,
    pub(crate) runs: Runs<'a>,
    /// Wanted bytes of the tensor.
    pub(crate) decoded_bytes: u64,
}

/// What a batch takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Memory for payload and base.
    pub(crate) staged_bytes: usize,
    /// Payload of a piece, which is read at once.
    pub(crate) piece_bytes: usize,
    pub(crate) blocks: usize,
    /// Decoded bytes, wanted or not.
    pub(crate) decoded_bytes: u64,
}

/// Pieces that are read, copied and decoded together.
#[derive(Debug, Default)]
pub(crate) struct Batch<'a> {
    pub(crate) pieces: Vec<Piece<'a>>,
    /// What is read in one go, in the order of pieces.
    pub(crate) spans: Vec<Span>,
    /// Where what is needed of the base begins, behind the payload.
    pub(crate) base_at: usize,
    /// All bytes of payload and base, and between them.
    pub(crate) staged_bytes: usize,
    blocks: usize,
    decoded_bytes: u64,
}

/// Pieces that follow one another in the file.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) pieces: Range<usize>,
    /// Where in the file.
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    /// Where in the batch's memory: the same as in the file modulo the size of a page.
    pub(crate) at: usize,
}

/// What a piece adds to a batch.
struct Cost {
    staged_bytes: usize,
    blocks: usize,
    decoded_bytes: u64,
}

/// Parts and blocks for which it is worth it to have another thread.
const GROUP_WEIGHT: usize = 256;
/// Groups for each thread: a few more than one, as some take longer.
const GROUPS_PER_THREAD: usize = 2;
/// More threads than a load has would only make more and smaller batches.
const MOST_THREADS: usize = LoadOptions::MOST_THREADS;

/// The pieces of `parts`, as many to a batch as fit.
///
/// Thousands of small tensors take longer to cut up than their bytes take on the bus, so groups of
/// parts are cut up at the same time. The last batch of each may be a small one.
pub(crate) fn batches<'a>(
    parts: &[Part<'a>],
    checksums: bool,
    limits: &Limits,
) -> Result<Vec<Batch<'a>>> {
    let threads = rayon::current_num_threads().min(MOST_THREADS);
    let groups = groups(parts, threads * GROUPS_PER_THREAD);
    let of_group = |parts: &[Part<'a>]| batches_of_group(parts, checksums, limits);
    let batches = groups.into_par_iter().with_max_len(1).map(of_group);
    Ok(batches.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// At most about `count` groups of parts that follow one another, alike in the work that they make.
pub(super) fn groups<'p, 'a>(parts: &'p [Part<'a>], count: usize) -> Vec<&'p [Part<'a>]> {
    let weight = |part: &Part<'_>| 1 + part.tensor.record().blocks.len();
    let sum: usize = parts.iter().map(weight).sum();
    let most = (sum / count.max(1)).max(GROUP_WEIGHT);
    let mut groups = Vec::with_capacity(count + 1);
    let (mut start, mut group) = (0, 0);
    for (number, part) in parts.iter().enumerate() {
        group += weight(part);
        if group >= most {
            groups.push(&parts[start..=number]);
            (start, group) = (number + 1, 0);
        }
    }
    groups.push(&parts[start..]);
    groups
}

fn batches_of_group<'a>(
    parts: &[Part<'a>],
    checksums: bool,
    limits: &Limits,
) -> Result<Vec<Batch<'a>>> {
    let mut batches: Vec<Batch<'a>> = vec![Batch::default()];
    let mut of_part = Vec::new();
    for part in parts {
        pieces(part, checksums, limits, &mut of_part)?;
        for piece in of_part.drain(..) {
            let cost = piece.cost();
            let fits = batches.last().is_some_and(|batch| batch.fits(&piece, &cost, limits));
            if !fits {
                batches.push(Batch::default());
            }
            if let Some(batch) = batches.last_mut() {
                batch.push(piece, &cost);
            }
        }
    }
    batches.retain(|batch| !batch.pieces.is_empty());
    batches.iter_mut().for_each(Batch::lay_out);
    Ok(batches)
}

/// The same pieces, the last `count` batches cut in halves and the last half of these once more, so that
/// threads that take one after the other end at about the same time.
pub(crate) fn with_small_ones_last(mut batches: Vec<Batch<'_>>, count: usize) -> Vec<Batch<'_>> {
    let last = batches.split_off(batches.len().saturating_sub(count));
    let middle = last.len() / 2;
    for (number, batch) in last.into_iter().enumerate() {
        let parts = if number < middle { 2 } else { 4 };
        let pieces = batch.pieces.len().div_ceil(parts).max(1);
        let mut left = batch.pieces.into_iter().peekable();
        while left.peek().is_some() {
            let mut part = Batch::default();
            for piece in left.by_ref().take(pieces) {
                let cost = piece.cost();
                part.push(piece, &cost);
            }
            part.lay_out();
            batches.push(part);
        }
    }
    batches
}

impl Batch<'_> {
    fn fits(&self, piece: &Piece<'_>, cost: &Cost, limits: &Limits) -> bool {
        let staged = self.staged_bytes + cost.staged_bytes + self.room_before(piece) + PAGE_BYTES;
        self.pieces.is_empty()
            || staged <= limits.staged_bytes
                && self.blocks + cost.blocks <= limits.blocks
                && self.decoded_bytes + cost.decoded_bytes <= limits.decoded_bytes
    }

    /// Room that the next piece may need to have its place in a page: none where it goes on with what
    /// is read.
    fn room_before(&self, piece: &Piece<'_>) -> usize {
        let follows = self.pieces.last().is_some_and(|last| last.end() == piece.offset);
        if follows { 0 } else { 2 * PAGE_BYTES }
    }
}

impl<'a> Batch<'a> {
    fn push(&mut self, piece: Piece<'a>, cost: &Cost) {
        self.staged_bytes += cost.staged_bytes + self.room_before(&piece);
        self.blocks += cost.blocks;
        self.decoded_bytes += cost.decoded_bytes;
        self.pieces.push(piece);
    }

    /// Gives everything its place in memory.
    fn lay_out(&mut self) {
        let mut end = 0usize;
        for (number, piece) in self.pieces.iter().enumerate() {
            match self.spans.last_mut() {
                Some(span) if span.offset + span.bytes as u64 == piece.offset => {
                    span.pieces.end = number + 1;
                    span.bytes += piece.bytes;
                    end += piece.bytes;
                }
                _ => {
                    let in_page = (piece.offset % PAGE_BYTES as u64) as usize;
                    let at = end.next_multiple_of(PAGE_BYTES) + in_page;
                    let pieces = number..number + 1;
                    self.spans.push(Span { pieces, offset: piece.offset, bytes: piece.bytes, at });
                    end = at + piece.bytes;
                }
            }
        }
        // A read around the page cache ends with a page.
        self.base_at = end.next_multiple_of(PAGE_BYTES);
        let base: usize = self.pieces.iter().map(Piece::base_bytes).sum();
        self.staged_bytes = self.base_at + base;
    }

    /// Wanted bytes of its tensors.
    pub(crate) fn wanted_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.decoded_bytes).sum()
    }

    /// Bytes that are read of the file.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes as u64).sum()
    }
}

impl Piece<'_> {
    fn end(&self) -> u64 {
        self.offset + self.bytes as u64
    }

    fn base_bytes(&self) -> usize {
        self.runs.iter().map(Run::base_room).sum()
    }

    fn cost(&self) -> Cost {
        let block_bytes = self.part.tensor.block_bytes() as u64;
        let blocks = self.runs.iter().map(|run| run.blocks.len()).sum();
        Cost {
            staged_bytes: self.bytes + self.base_bytes(),
            blocks,
            decoded_bytes: blocks as u64 * block_bytes,
        }
    }
}

impl Run<'_> {
    /// Bytes that the base's take among others.
    pub(crate) fn base_room(&self) -> usize {
        self.base.len().next_multiple_of(BLOCK_ALIGNMENT as usize)
    }
}

/// Adds the chunks of a part that hold something wanted to `pieces`.
fn pieces<'a>(
    part: &Part<'a>,
    checksums: bool,
    limits: &Limits,
    pieces: &mut Vec<Piece<'a>>,
) -> Result<()> {
    let record = part.tensor.record();
    let mut first = 0;
    for (chunk, chunk_record) in record.chunks.iter().enumerate() {
        let blocks = first..first + chunk_record.blocks as usize;
        first = blocks.end;
        if !part.rows.want(&part.bytes_of(&blocks)) {
            continue;
        }
        let whole = Cutter { part, chunk, blocks: blocks.clone(), limits };
        let piece = whole.piece(blocks.clone(), checksums)?;
        let cost = piece.cost();
        // Less the room for its place in a page, and for the page that the last bytes lie in.
        let most = limits.staged_bytes.saturating_sub(3 * PAGE_BYTES);
        if piece.bytes <= limits.piece_bytes
            && cost.staged_bytes <= most
            && cost.blocks <= limits.blocks
            && cost.decoded_bytes <= limits.decoded_bytes
        {
            pieces.push(piece);
        } else {
            whole.cut(most, checksums, pieces)?;
        }
    }
    Ok(())
}

impl Part<'_> {
    /// The decoded bytes of a run of blocks, counted from the start of the tensor.
    pub(crate) fn bytes_of(&self, blocks: &Range<usize>) -> Range<u64> {
        let block_bytes = self.tensor.block_bytes() as u64;
        let end = (blocks.end as u64 * block_bytes).min(self.tensor.byte_len());
        blocks.start as u64 * block_bytes..end
    }
}

/// Makes pieces of one chunk.
struct Cutter<'p, 'a> {
    part: &'p Part<'a>,
    chunk: usize,
    /// All of its blocks.
    blocks: Range<usize>,
    limits: &'p Limits,
}

impl<'a> Cutter<'_, 'a> {
    /// Cuts a chunk that is too large for one batch, which no writer makes but a reader has to take.
    fn cut(&self, most: usize, checksums: bool, pieces: &mut Vec<Piece<'a>>) -> Result<()> {
        let tensor = self.part.tensor;
        let block_bytes = tensor.block_bytes();
        let mut check = if checksums { Check::WholeChunk } else { Check::Not };
        let mut start = self.blocks.start;
        while start < self.blocks.end {
            let (mut end, mut payload) = (start, 0);
            while end < self.blocks.end && end - start < self.limits.blocks {
                payload += tensor.record().blocks[end].bytes as usize;
                let decoded = (end + 1 - start) * block_bytes;
                if payload > self.limits.piece_bytes
                    || payload + decoded > most
                    || decoded as u64 > self.limits.decoded_bytes
                {
                    break;
                }
                end += 1;
            }
            if end == start {
                return Err(Error::Corrupt {
                    what: format!("tensor {}", quoted(tensor.name())),
                    location: format!("block {start}"),
                    detail: "it is longer than any block of its elements is".into(),
                });
            }
            let mut piece = self.piece(start..end, false)?;
            start = end;
            if piece.runs.is_empty() {
                continue;
            }
            piece.check = std::mem::replace(&mut check, Check::Not);
            pieces.push(piece);
        }
        Ok(())
    }

    /// What is wanted of `blocks`: with checksums all of their bytes are read, which have to be those
    /// of the chunk.
    fn piece(&self, blocks: Range<usize>, checksums: bool) -> Result<Piece<'a>> {
        let (part, tensor) = (self.part, self.part.tensor);
        let record = tensor.record();
        let length = |range: Range<usize>| -> usize {
            record.blocks[range].iter().map(|block| block.bytes as usize).sum()
        };
        let mut runs = Runs::new();
        let mut at = 0;
        for number in blocks.clone() {
            let bytes = part.bytes_of(&(number..number + 1));
            if part.rows.want(&bytes) {
                let place = self.place(&bytes);
                match runs.last_mut().filter(|run| run.blocks.end == number) {
                    Some(run) if run.place.goes_on(place) => {
                        run.blocks.end = number + 1;
                        if let (Place::Scratch(sum), Place::Scratch(more)) = (&mut run.place, place)
                        {
                            *sum += more;
                        }
                    }
                    _ => runs.push(Run { blocks: number..number + 1, at, place, base: &[] }),
                }
            }
            at += record.blocks[number].bytes as usize;
        }
        for run in &mut runs {
            run.base = tensor.base_of_blocks(run.blocks.clone())?;
        }
        let skipped = length(self.blocks.start..blocks.start);
        let mut offset = tensor.chunk_offset(self.chunk) + skipped as u64;
        let mut bytes = at;
        let check = if checksums { Check::Read } else { Check::Not };
        if let (false, Some(first), Some(last)) = (checksums, runs.first(), runs.last()) {
            let (skipped, end) = (first.at, last.at + length(last.blocks.clone()));
            offset += skipped as u64;
            bytes = end - skipped;
            runs.iter_mut().for_each(|run| run.at -= skipped);
        }
        let wanted = |run: &Run<'_>| {
            let rectangles = part.rows.rectangles(&part.bytes_of(&run.blocks));
            rectangles.map(|part| part.width * part.height).sum::<u64>()
        };
        let decoded_bytes = runs.iter().map(wanted).sum();
        Ok(Piece { part: *part, chunk: self.chunk, offset, bytes, check, runs, decoded_bytes })
    }

    /// Where a block goes whose bytes in the tensor are these.
    fn place(&self, bytes: &Range<u64>) -> Place {
        let direct = self.part.rows.contiguous(bytes).map(|at| self.part.out + at);
        match direct {
            Some(out) if out.is_multiple_of(BLOCK_ALIGNMENT) => Place::Direct(out),
            _ => Place::Scratch((bytes.end - bytes.start).next_multiple_of(BLOCK_ALIGNMENT)),
        }
    }
}

impl Place {
    /// Whether a block with the place `next`, behind those with this one, makes a run with them.
    fn goes_on(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Direct(_), Self::Direct(_)) | (Self::Scratch(_), Self::Scratch(_))
        )
    }
}
