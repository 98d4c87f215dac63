//! The original file as a stream of pieces, every checksum on the way checked.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rayon::prelude::*;

use super::blocks::Destination;
use super::checkpoint::Checkpoint;
use super::runs::{Checks, Run, check_tensor};
use super::tensor::Tensor;
use crate::error::{Error, Result};
use crate::gpu::Decoder;
use crate::hash::{Sha256, hex, xxh3};
use crate::spares::Spares;

/// Decoded bytes of a piece; three of them are in memory at most: one is being decoded or has been, one
/// waits, and one is with the slower of those who take them. Enough for all threads to have work, and few
/// enough for a processor's cache to still have them when they are hashed and written.
const PIECE_BYTES: u64 = 4 << 20;
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
    /// its own, while the next piece is being decoded; the SHA-256 of the whole has another thread.
    ///
    /// Chunk checksums are checked before the bytes of a chunk are decoded, tensor checksums and
    /// the SHA-256 when the last of their bytes has gone to `sink`: what `sink` has done is to be
    /// kept only when this returns `Ok`.
    pub(crate) fn stream(&self, sink: impl FnMut(&[u8]) -> Result<()> + Send) -> Result<()> {
        self.require_base()?;
        self.expect_all();
        let gpu = self.decoder().filter(|decoder| decoder.device().is_some());
        let pieces = self.pieces(if gpu.is_some() { GPU_PIECE_BYTES } else { PIECE_BYTES });
        let buffers = Spares::default();
        let panicked = |_| {
            Err(Error::Internal { detail: "a thread that takes decoded bytes panicked".into() })
        };
        let done = std::thread::scope(|scope| {
            let (to_hash, hashed) = sync_channel(1);
            let (to_sink, decoded) = sync_channel(1);
            let hashing = self
                .compared_sha256()
                .map(|expected| scope.spawn(move || self.compare_sha256(hashed, expected)));
            let sinking = scope.spawn(|| self.consume(decoded, sink));
            let to_hash = hashing.is_some().then_some(to_hash);
            self.hand_out(&pieces, gpu, &buffers, to_hash, to_sink);
            sinking.join().unwrap_or_else(panicked)?;
            // Only when everything else is right: before, the hash is that of a part.
            hashing.map_or(Ok(()), |hashing| hashing.join().unwrap_or_else(panicked))
        });
        self.checked(done)
    }

    /// Decodes one piece after the other, until all are, one cannot be, or nobody takes them any more.
    fn hand_out<'a>(
        &'a self,
        pieces: &'a [Piece<'a>],
        gpu: Option<&Decoder>,
        buffers: &'a Spares<Vec<u8>>,
        to_hash: Option<SyncSender<Arc<DecodedPiece<'a>>>>,
        to_sink: SyncSender<Result<Arc<DecodedPiece<'a>>>>,
    ) {
        for piece in pieces {
            let decoded = piece.decode(self, gpu, buffers).map(Arc::new);
            let failed = decoded.is_err();
            if let (Some(to_hash), Ok(decoded)) = (&to_hash, &decoded) {
                // Hangs up only when it panics, which its join tells.
                let _ = to_hash.send(Arc::clone(decoded));
            }
            // Hangs up early only when it fails; its error is the one to report.
            if to_sink.send(decoded).is_err() || failed {
                return;
            }
        }
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

    /// Compares tensors' checksums, and gives the bytes to `sink`.
    fn consume<'a>(
        &self,
        pieces: Receiver<Result<Arc<DecodedPiece<'a>>>>,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        sink(self.original_header())?;
        // Of the blocks of the tensor that the last part belongs to.
        let mut checksums = Vec::new();
        for decoded in pieces {
            let decoded = decoded?;
            let mut rest = &decoded.checksums[..];
            for part in &decoded.piece.parts {
                let found = rest.split_off(..part.blocks.len());
                checksums.extend_from_slice(found.expect("each block has a checksum"));
                if part.blocks.end == part.tensor.record().blocks.len() {
                    check_tensor(&part.tensor, &checksums)?;
                    checksums.clear();
                }
            }
            sink(&decoded.bytes)?;
        }
        Ok(())
    }

    fn compare_sha256<'a>(
        &self,
        pieces: Receiver<Arc<DecodedPiece<'a>>>,
        expected: [u8; 32],
    ) -> Result<()> {
        let mut hash = Sha256::default();
        hash.update(self.original_header());
        pieces.into_iter().for_each(|decoded| hash.update(&decoded.bytes));
        self.check_whole(&hash.finalize(), expected)
    }

    /// Whether the decoded file has the SHA-256 that it is to have.
    pub(super) fn check_whole(&self, found: &[u8; 32], expected: [u8; 32]) -> Result<()> {
        if expected == *found {
            return Ok(());
        }
        Err(Error::ChecksumMismatch {
            what: self.path().display().to_string(),
            location: "the decoded file as a whole (SHA-256)".into(),
            expected: hex(&expected),
            actual: hex(found),
        })
    }
}

/// A piece, decoded.
struct DecodedPiece<'a> {
    piece: &'a Piece<'a>,
    bytes: Vec<u8>,
    /// xxh3 of each block, part by part.
    checksums: Vec<u64>,
    /// Where `bytes` go when nobody needs them any more.
    buffers: &'a Spares<Vec<u8>>,
}

impl Drop for DecodedPiece<'_> {
    fn drop(&mut self) {
        self.buffers.give_back(std::mem::take(&mut self.bytes));
    }
}

impl<'a> Piece<'a> {
    fn decode(
        &'a self,
        checkpoint: &'a Checkpoint,
        gpu: Option<&Decoder>,
        buffers: &'a Spares<Vec<u8>>,
    ) -> Result<DecodedPiece<'a>> {
        let mut bytes = buffers.take();
        bytes.resize(self.bytes, 0);
        let mut decoded = DecodedPiece { piece: self, bytes, checksums: Vec::new(), buffers };
        let bytes = &mut decoded.bytes[..];
        if let Some(decoder) = gpu {
            let run = |part: &Part<'a>| (part.tensor, part.blocks.clone(), part.bytes);
            decoder.decode_to_host(&self.parts.iter().map(run).collect::<Vec<_>>(), bytes)?;
        }
        let mut rest = bytes;
        let runs = self.parts.iter().map(|part| {
            let (out, later) = std::mem::take(&mut rest).split_at_mut(part.bytes);
            rest = later;
            Run { tensor: part.tensor, blocks: part.blocks.clone(), out }
        });
        decoded.checksums = match gpu {
            Some(_) => {
                let blocks: Vec<&[u8]> =
                    runs.flat_map(|run| run.out.chunks(run.tensor.block_bytes())).collect();
                blocks.into_par_iter().map(xxh3).collect()
            }
            None => checkpoint.decode_runs(runs, Checks::Chunks, Destination::Cache)?,
        };
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DEMO_CHECKPOINT, EncodeOptions, RestoreOptions, encode_safetensors_bytes};

    /// A good file, but for the SHA-256 that it gives of its original.
    fn with_another_sha256() -> Checkpoint {
        let (encoded, _) =
            encode_safetensors_bytes(DEMO_CHECKPOINT, &EncodeOptions::default()).unwrap();
        let mut checkpoint = Checkpoint::from_bytes(encoded).unwrap();
        checkpoint.index.original_sha256.as_mut().unwrap()[31] ^= 1;
        checkpoint
    }

    #[test]
    fn another_sha256_is_an_error_and_nothing_is_written() {
        let checkpoint = with_another_sha256();
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out");
        let results = [
            checkpoint.verify(None).map(|_| ()),
            checkpoint.restore(&output, &RestoreOptions::default()),
            checkpoint.salvage(&output, &RestoreOptions::default()).map(|_| ()),
        ];
        for result in results {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::ChecksumMismatch { .. }), "{error}");
            assert!(error.to_string().contains("SHA-256"), "{error}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_the_sha256_everything_else_decides() {
        let checkpoint = with_another_sha256().without_sha256();
        checkpoint.verify(None).unwrap();
        assert!(checkpoint.restore_bytes().unwrap() == DEMO_CHECKPOINT);
    }
}
