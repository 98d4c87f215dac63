//! The original file as a stream of pieces, every checksum on the way checked.

use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};

use rayon::prelude::*;

use super::checkpoint::{Checkpoint, Tensor};
use crate::error::{Error, Result, quoted};
use crate::gpu::Decoder;
use crate::hash::{Sha256, hex, of_blocks, xxh3};

/// Decoded bytes of a piece; three of them are in memory at most.
const PIECE_BYTES: u64 = 16 << 20;
/// The same where a GPU decodes, which takes more work at a time.
const GPU_PIECE_BYTES: u64 = 256 << 20;

/// A run of blocks of one tensor.
struct Part<'a> {
    tensor: Tensor<'a>,
    blocks: Range<usize>,
    bytes: usize,
}

/// Parts that are decoded together: so many blocks that all threads have work.
#[derive(Default)]
struct Piece<'a> {
    parts: Vec<Part<'a>>,
    bytes: usize,
}

impl Checkpoint {
    /// Gives the original file's bytes to `sink`, piece by piece and in order, from a thread of
    /// its own, while the next piece is being decoded.
    ///
    /// Chunk checksums are checked before the bytes of a chunk are decoded, tensor checksums and
    /// the SHA-256 of the whole when the last of their bytes has gone to `sink`: what `sink` has
    /// done is to be kept only when this returns `Ok`.
    pub(crate) fn stream(&self, sink: impl FnMut(&[u8]) -> Result<()> + Send) -> Result<()> {
        self.require_base()?;
        let gpu = self.decoder().filter(|decoder| decoder.device().is_some());
        let pieces = self.pieces(if gpu.is_some() { GPU_PIECE_BYTES } else { PIECE_BYTES });
        let done = std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(1);
            let consumer = scope.spawn(|| self.consume(receiver, sink));
            for piece in &pieces {
                let decoded = piece.decode(gpu);
                let failed = decoded.is_err();
                // The consumer hangs up early only when it fails; its error is the one to report.
                if sender.send(decoded).is_err() || failed {
                    break;
                }
            }
            drop(sender);
            consumer.join().unwrap_or_else(|_| {
                Err(Error::Internal { detail: "the consumer of a stream panicked".into() })
            })
        });
        self.checked(done)
    }

    fn pieces(&self, most: u64) -> Vec<Piece<'_>> {
        let mut pieces = Vec::new();
        let mut piece = Piece::default();
        for tensor in self.tensors().map(|tensor| tensor.stored()) {
            let record = tensor.record();
            let block_bytes = u64::from(record.block_elements) * u64::from(record.width);
            let count = record.blocks.len();
            let step = (most / block_bytes).max(1) as usize;
            // A tensor without blocks is a part too, so that its checksum is looked at.
            for start in (0..count.max(1)).step_by(step) {
                let blocks = start..(start + step).min(count);
                let end = (blocks.end as u64 * block_bytes).min(record.bytes);
                let bytes = (end - blocks.start as u64 * block_bytes) as usize;
                if piece.bytes > 0 && (piece.bytes + bytes) as u64 > most {
                    pieces.push(std::mem::take(&mut piece));
                }
                piece.bytes += bytes;
                piece.parts.push(Part { tensor, blocks, bytes });
            }
        }
        pieces.push(piece);
        pieces
    }

    fn consume<'a>(
        &self,
        pieces: Receiver<Result<DecodedPiece<'a>>>,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut whole = self.original_sha256().map(|expected| (Sha256::default(), expected));
        let mut hash = |bytes: &[u8]| {
            if let Some((hash, _)) = &mut whole {
                hash.update(bytes);
            }
        };
        hash(self.original_header());
        sink(self.original_header())?;
        // Of the blocks of the tensor that the last part belongs to.
        let mut checksums = Vec::new();
        for decoded in pieces {
            let decoded = decoded?;
            for (part, found) in decoded.piece.parts.iter().zip(decoded.checksums) {
                checksums.extend(found);
                if part.blocks.end == part.tensor.record().blocks.len() {
                    check_tensor(&part.tensor, of_blocks(&checksums))?;
                    checksums.clear();
                }
            }
            hash(&decoded.bytes);
            sink(&decoded.bytes)?;
        }
        let Some((hash, expected)) = whole else { return Ok(()) };
        let found = hash.finalize();
        if expected[..] != found[..] {
            return Err(Error::ChecksumMismatch {
                what: self.path().display().to_string(),
                location: "the decoded file as a whole (SHA-256)".into(),
                expected: hex(&expected),
                actual: hex(&found),
            });
        }
        Ok(())
    }
}

fn check_tensor(tensor: &Tensor<'_>, found: u64) -> Result<()> {
    let expected = tensor.record().xxh3;
    if expected == found {
        return Ok(());
    }
    Err(Error::ChecksumMismatch {
        what: format!("tensor {}", quoted(tensor.name())),
        location: "its decoded bytes".into(),
        expected: format!("{expected:016x}"),
        actual: format!("{found:016x}"),
    })
}

/// A piece, decoded.
struct DecodedPiece<'a> {
    piece: &'a Piece<'a>,
    bytes: Vec<u8>,
    /// xxh3 of each block, part by part.
    checksums: Vec<Vec<u64>>,
}

impl<'a> Piece<'a> {
    fn decode(&'a self, gpu: Option<&Decoder>) -> Result<DecodedPiece<'a>> {
        let mut bytes = vec![0; self.bytes];
        if let Some(decoder) = gpu {
            let run = |part: &Part<'a>| (part.tensor, part.blocks.clone(), part.bytes);
            decoder.decode_to_host(&self.parts.iter().map(run).collect::<Vec<_>>(), &mut bytes)?;
        }
        let mut rest = &mut bytes[..];
        let mut jobs = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let (now, later) = rest.split_at_mut(part.bytes);
            rest = later;
            jobs.push((part, now));
        }
        let checksums: Vec<Result<Vec<u64>>> = jobs
            .into_par_iter()
            .map(|(part, out)| match gpu {
                Some(_) => Ok(out.par_chunks(part.tensor.block_bytes()).map(xxh3).collect()),
                None => part.tensor.decode_blocks(part.blocks.clone(), out),
            })
            .collect();
        // Of several errors the first in the file, whichever thread was faster.
        let checksums = checksums.into_iter().collect::<Result<_>>()?;
        Ok(DecodedPiece { piece: self, bytes, checksums })
    }
}
