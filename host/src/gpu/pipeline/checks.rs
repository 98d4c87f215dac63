//! Comparing of checksums while bytes are being read.

use std::hash::Hasher;

use crate::error::Result;
use crate::hash::{Xxh3, xxh3};
use crate::load::{Check, Piece};

/// Pieces that follow one another, whose bytes come in steps of any length: each is hashed while it is
/// in the cache.
pub(super) struct Checks<'p, 'a> {
    left: &'p [Piece<'a>],
    /// Bytes of the first one that have been there.
    done: usize,
    /// What they hash to, if there were any.
    hash: Option<Xxh3>,
}

impl<'p, 'a> Checks<'p, 'a> {
    pub(super) fn new(pieces: &'p [Piece<'a>]) -> Self {
        Self { left: pieces, done: 0, hash: None }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// When a chunk ends within them that is not what it was.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some((piece, later)) = self.left.split_first() {
            let count = bytes.len().min(piece.bytes - self.done);
            let (now, others) = bytes.split_at(count);
            let is_end = self.done + count == piece.bytes;
            if piece.check == Check::Read {
                self.check(piece, now, is_end)?;
            }
            if !is_end {
                self.done += count;
                return Ok(());
            }
            if piece.check == Check::WholeChunk {
                piece.part.tensor.chunk_bytes(piece.chunk)?;
            }
            (self.left, self.done, bytes) = (later, 0, others);
        }
        Ok(())
    }

    fn check(&mut self, piece: &Piece<'_>, bytes: &[u8], is_end: bool) -> Result<()> {
        let found = match (self.hash.take(), is_end) {
            // Small chunks mostly come at once.
            (None, true) => xxh3(bytes),
            (hash, _) => {
                let mut hash = hash.unwrap_or_default();
                hash.write(bytes);
                if !is_end {
                    self.hash = Some(hash);
                    return Ok(());
                }
                hash.finish()
            }
        };
        piece.part.tensor.check_chunk_sum(piece.chunk, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Batch, Limits, LoadOptions, Selection, batches};
    use crate::safetensors::{Dtype, TensorData, build};
    use crate::{Checkpoint, EncodeOptions, ErrorKind, encode_safetensors_bytes};

    /// Three chunks of one tensor and one each of many small ones.
    fn checkpoint() -> Checkpoint {
        let bytes: Vec<u8> = (0..2_500_000u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
        let names: Vec<String> = (0..40).map(|number| format!("small.{number}")).collect();
        let tensor = |name, length: usize| TensorData {
            name,
            dtype: Dtype::U8,
            shape: std::slice::from_ref(Box::leak(Box::new(length as u64))),
            bytes: &bytes[..length],
        };
        let mut tensors = vec![tensor("large", bytes.len())];
        let numbered = names.iter().enumerate();
        tensors.extend(numbered.map(|(number, name)| tensor(name, 1 + 97 * number)));
        let file = build(&tensors, &[]).unwrap();
        let options = EncodeOptions::default();
        Checkpoint::from_bytes(encode_safetensors_bytes(&file, &options).unwrap().0).unwrap()
    }

    fn check(batch: &Batch<'_>, bytes: &[Vec<u8>], step: usize) -> Result<()> {
        for (span, bytes) in batch.spans.iter().zip(bytes) {
            let mut checks = Checks::new(&batch.pieces[span.pieces.clone()]);
            bytes.chunks(step).try_for_each(|part| checks.take(part))?;
            assert!(checks.left.is_empty());
        }
        Ok(())
    }

    #[test]
    fn every_chunk_is_compared_in_steps_of_any_length() {
        let checkpoint = checkpoint();
        let selection = Selection::new(&checkpoint, &LoadOptions::default()).unwrap();
        let parts = selection.parts();
        let all = usize::MAX >> 8;
        let limits =
            Limits { staged_bytes: all, piece_bytes: all, blocks: all, decoded_bytes: all as u64 };
        let batches = batches(&parts, true, &limits).unwrap();
        let reader = checkpoint.reader(false).unwrap();
        for batch in &batches {
            let read = |span: &crate::load::Span| {
                let mut bytes = vec![0; span.bytes];
                reader.read(&mut bytes, 0, span.offset, span.bytes).unwrap();
                bytes
            };
            let mut bytes: Vec<Vec<u8>> = batch.spans.iter().map(read).collect();
            for step in [1, 63, 256, 1000, 65_536, 1 << 20, all] {
                check(batch, &bytes, step).unwrap();
            }
            let mut at = 0;
            for piece in &batch.pieces {
                // A block of one value has no bytes.
                let places = [0, piece.bytes / 2, piece.bytes.saturating_sub(1)];
                for place in places.into_iter().filter(|_| piece.bytes > 0) {
                    bytes[0][at + place] ^= 4;
                    for step in [1000, 65_536, all] {
                        let error = check(batch, &bytes, step).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::Corrupt);
                        let name = format!("tensor \"{}\"", piece.part.tensor.name());
                        let chunk = format!("chunk {} ", piece.chunk);
                        let text = error.to_string();
                        assert!(text.contains(&name) && text.contains(&chunk), "{text}");
                    }
                    bytes[0][at + place] ^= 4;
                }
                at += piece.bytes;
            }
            assert_eq!((bytes.len(), at), (1, bytes[0].len()));
        }
    }
}
