//! The SHA-256 of the file that is encoded: a pass of its own, which cannot be divided.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::options::EncodeOptions;
use super::source::Source;
use crate::error::{Error, Result};
use crate::hash::Sha256;
use crate::output::InBetween;
use crate::processors;

/// Bytes that are hashed at a time by who also does something else.
const STEP_BYTES: usize = 128 << 10;
/// A file of no more bytes is encoded sooner than another thread is awake.
pub(super) const SMALL_FILE_BYTES: usize = 128 << 10;

/// Who computes the hash.
pub(super) enum Digest {
    /// Nobody.
    Unwanted,
    /// A thread that has nothing else to do, or one of the pool.
    Ours,
    /// Somebody who sends it.
    Sent(Receiver<[u8; 32]>),
}

impl Digest {
    /// The hash, if it is wanted.
    pub(super) fn of(options: &EncodeOptions) -> Self {
        if options.sha256 { Self::Ours } else { Self::Unwanted }
    }

    /// Runs `encode`, meanwhile has `file` hashed, which is `source` if it is mapped, and returns what both have
    /// come to.
    pub(super) fn beside<R: Send>(
        self,
        file: &[u8],
        source: Option<&Source>,
        encode: impl FnOnce() -> Result<R> + Send,
    ) -> Result<(Option<[u8; 32]>, R)> {
        let failed = || Error::Internal { detail: "hashing the original failed".into() };
        let sha256 = || {
            let mut hash = Sha256::default();
            for part in file.chunks(STEP_BYTES) {
                hash.update(part);
                source.inspect(|source| source.note_hashed(part.len()));
            }
            hash.finalize()
        };
        match self {
            Self::Unwanted => Ok((None, encode()?)),
            Self::Sent(receiver) => {
                let encoded = encode()?;
                Ok((Some(receiver.recv().map_err(|_| failed())?), encoded))
            }
            Self::Ours if file.len() <= SMALL_FILE_BYTES => {
                let encoded = encode()?;
                Ok((Some(sha256()), encoded))
            }
            Self::Ours if processors::free() > 0 => thread::scope(|scope| {
                let hash = processors::spawn_apart(scope, sha256);
                let encoded = encode();
                Ok((Some(hash.join().map_err(|_| failed())?), encoded?))
            }),
            Self::Ours => {
                // Another thread of the pool begins with the hash, which is the first that it can take.
                let (encoded, hash) = rayon::join(encode, sha256);
                Ok((Some(hash), encoded?))
            }
        }
    }
}

/// The hash of a mapped file for who has nothing else to do, and where it then is.
pub(super) fn in_between(source: &Arc<Source>) -> (Box<dyn InBetween>, Digest) {
    let (sender, receiver) = channel();
    let rest = Some((Arc::clone(source), Sha256::default()));
    (Box::new(Hashing { rest, hashed: 0, sender }), Digest::Sent(receiver))
}

/// A hash that somebody computes a little of each time.
struct Hashing {
    /// The file and the hash of what has been hashed, until that is all.
    rest: Option<(Arc<Source>, Sha256)>,
    hashed: usize,
    sender: Sender<[u8; 32]>,
}

impl InBetween for Hashing {
    fn go_on(&mut self) -> bool {
        let Some((source, mut hash)) = self.rest.take() else { return false };
        let bytes = source.mapped.bytes();
        let end = bytes.len().min(self.hashed + STEP_BYTES);
        hash.update(&bytes[self.hashed..end]);
        source.note_hashed(end - self.hashed);
        self.hashed = end;
        if end < bytes.len() {
            self.rest = Some((source, hash));
            return true;
        }
        // Before anybody learns that it is not needed here any more.
        drop(source);
        // Who does not take it has failed.
        let _ = self.sender.send(hash.finalize());
        false
    }

    /// Both go from the front of the file to its end.
    fn is_behind(&self, reached: u64) -> bool {
        (self.hashed as u64) < reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;
    use crate::mapped::MappedFile;

    fn bytes(count: usize) -> Vec<u8> {
        (0..count as u32).map(|number| (number % 253) as u8).collect()
    }

    #[test]
    fn the_hash_in_between_is_that_of_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // An empty file cannot be a checkpoint; nor can it be mapped everywhere.
        for count in [1, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 3 * STEP_BYTES + 7] {
            let bytes = bytes(count);
            std::fs::write(&path, &bytes).unwrap();
            let source = Arc::new(Source::new(MappedFile::open(&path).unwrap(), true));
            let (mut hashing, digest) = in_between(&source);
            let mut steps = 0;
            loop {
                assert!(!hashing.is_behind((steps * STEP_BYTES) as u64));
                assert!(hashing.is_behind((steps * STEP_BYTES + 1) as u64));
                steps += 1;
                if !hashing.go_on() {
                    break;
                }
            }
            assert_eq!(steps, count.div_ceil(STEP_BYTES));
            assert!(!hashing.is_behind(count as u64), "all has been hashed");
            assert!(!hashing.go_on(), "there is nothing left to do");
            assert_eq!(Arc::strong_count(&source), 1, "the file is not needed any more");
            let (hash, ()) = digest.beside(&bytes, None, || Ok(())).unwrap();
            assert_eq!(hash, Some(sha256(&bytes)));
        }
    }

    #[test]
    fn whoever_hashes_comes_to_the_same() {
        for threads in [1, 2, 300] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for count in [0, SMALL_FILE_BYTES, SMALL_FILE_BYTES + 1] {
                let bytes = bytes(count);
                let hashed = pool.install(|| Digest::Ours.beside(&bytes, None, || Ok("encoded")));
                assert_eq!(hashed.unwrap(), (Some(sha256(&bytes)), "encoded"));
                let hashed =
                    pool.install(|| Digest::Unwanted.beside(&bytes, None, || Ok("encoded")));
                assert_eq!(hashed.unwrap(), (None, "encoded"));
            }
        }
    }

    #[test]
    fn an_encoder_that_fails_waits_for_no_hash() {
        // Never sent, and never hung up.
        let (sender, receiver) = channel();
        let failed = || Err::<(), _>(Error::Internal { detail: "no".into() });
        let error = Digest::Sent(receiver).beside(&[], None, failed).unwrap_err();
        assert!(matches!(error, Error::Internal { detail } if detail == "no"));
        drop(sender);
    }
}
