//! The SHA-256 of the file that is encoded: a pass of its own, which cannot be divided.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::options::EncodeOptions;
use crate::error::{Error, Result};
use crate::hash::{Sha256, sha256};
use crate::mapped::MappedFile;
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

    /// Runs `encode`, meanwhile has `file` hashed, and returns what both have come to.
    pub(super) fn beside<R: Send>(
        self,
        file: &[u8],
        encode: impl FnOnce() -> Result<R> + Send,
    ) -> Result<(Option<[u8; 32]>, R)> {
        let failed = || Error::Internal { detail: "hashing the original failed".into() };
        match self {
            Self::Unwanted => Ok((None, encode()?)),
            Self::Sent(receiver) => {
                let encoded = encode()?;
                Ok((Some(receiver.recv().map_err(|_| failed())?), encoded))
            }
            Self::Ours if file.len() <= SMALL_FILE_BYTES => {
                let encoded = encode()?;
                Ok((Some(sha256(file)), encoded))
            }
            Self::Ours if processors::free() > 0 => thread::scope(|scope| {
                let hash = scope.spawn(|| sha256(file));
                let encoded = encode();
                Ok((Some(hash.join().map_err(|_| failed())?), encoded?))
            }),
            Self::Ours => {
                // Another thread of the pool begins with the hash, which is the first that it can take.
                let (encoded, hash) = rayon::join(encode, || sha256(file));
                Ok((Some(hash), encoded?))
            }
        }
    }
}

/// The hash of a mapped file for who has nothing else to do, and where it then is.
pub(super) fn in_between(mapped: &Arc<MappedFile>) -> (Option<InBetween>, Digest) {
    let (sender, receiver) = channel();
    let mut rest = Some((Arc::clone(mapped), Sha256::default(), 0));
    let go_on = move || {
        let Some((mapped, mut hash, start)) = rest.take() else { return false };
        let bytes = mapped.bytes();
        let end = bytes.len().min(start + STEP_BYTES);
        hash.update(&bytes[start..end]);
        if end < bytes.len() {
            rest = Some((mapped, hash, end));
            return true;
        }
        // Before anybody learns that it is not needed here any more.
        drop(mapped);
        // Who does not take it has failed.
        let _ = sender.send(hash.finalize());
        false
    };
    (Some(Box::new(go_on)), Digest::Sent(receiver))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let mapped = Arc::new(MappedFile::open(&path).unwrap());
            let (go_on, digest) = in_between(&mapped);
            let mut go_on = go_on.unwrap();
            let mut steps = 1;
            while go_on() {
                steps += 1;
            }
            assert_eq!(steps, count.div_ceil(STEP_BYTES));
            assert!(!go_on(), "there is nothing left to do");
            assert_eq!(Arc::strong_count(&mapped), 1, "the file is not needed any more");
            let (hash, ()) = digest.beside(&bytes, || Ok(())).unwrap();
            assert_eq!(hash, Some(sha256(&bytes)));
        }
    }

    #[test]
    fn whoever_hashes_comes_to_the_same() {
        for threads in [1, 2, 300] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for count in [0, SMALL_FILE_BYTES, SMALL_FILE_BYTES + 1] {
                let bytes = bytes(count);
                let hashed = pool.install(|| Digest::Ours.beside(&bytes, || Ok("encoded")));
                assert_eq!(hashed.unwrap(), (Some(sha256(&bytes)), "encoded"));
                let hashed = pool.install(|| Digest::Unwanted.beside(&bytes, || Ok("encoded")));
                assert_eq!(hashed.unwrap(), (None, "encoded"));
            }
        }
    }

    #[test]
    fn an_encoder_that_fails_waits_for_no_hash() {
        // Never sent, and never hung up.
        let (sender, receiver) = channel();
        let failed = || Err::<(), _>(Error::Internal { detail: "no".into() });
        let error = Digest::Sent(receiver).beside(&[], failed).unwrap_err();
        assert!(matches!(error, Error::Internal { detail } if detail == "no"));
        drop(sender);
    }
}
