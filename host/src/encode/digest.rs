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
