//! Checking a file without writing anything.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::mapped::MappedFile;
use crate::progress::Progress;

/// What a verification went through, all of it found right.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Bytes of the original file, all decoded.
    pub original_bytes: u64,
    /// Tensors whose checksum was compared.
    pub tensors: usize,
    /// Chunks whose checksum was compared.
    pub chunks: usize,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Checkpoint {
    /// Decodes everything and compares every checksum, the SHA-256 of the original included.
    ///
    /// # Errors
    ///
    /// The first damage found, and where it is.
    pub fn verify(&self, progress: Option<&dyn Progress>) -> Result<VerifyReport> {
        self.verify_with(progress, |_| Ok(()))
    }

    /// [`Checkpoint::verify`], and compares every decoded byte with the file `original`.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::verify`], when `original` cannot be read, and when it differs.
    pub fn verify_against(
        &self,
        original: impl AsRef<Path>,
        progress: Option<&dyn Progress>,
    ) -> Result<VerifyReport> {
        let path = original.as_ref();
        let original = MappedFile::open(path)?;
        original.expect_all();
        let differs = |detail: String| Error::Mismatch {
            left: self.path().display().to_string(),
            right: path.display().to_string(),
            detail,
        };
        let length = original.bytes().len() as u64;
        if length != self.original_bytes() {
            return Err(differs(format!(
                "it decodes to {} bytes, and the other file has {length}",
                self.original_bytes()
            )));
        }
        let mut rest = original.bytes();
        let report = self.verify_with(progress, |bytes| {
            // Lengths agree as a whole, and the pieces add up to the whole.
            let (now, later) = rest.split_at(bytes.len().min(rest.len()));
            if now != bytes {
                let at = now.iter().zip(bytes).position(|(a, b)| a != b).unwrap_or(now.len());
                let offset = length - rest.len() as u64 + at as u64;
                return Err(differs(format!("the byte at offset {offset} is not the same")));
            }
            rest = later;
            Ok(())
        });
        original.checked(report)
    }

    fn verify_with(
        &self,
        progress: Option<&dyn Progress>,
        mut compare: impl FnMut(&[u8]) -> Result<()> + Send,
    ) -> Result<VerifyReport> {
        let start = Instant::now();
        if let Some(progress) = progress {
            progress.start(self.original_bytes());
        }
        self.stream(|bytes| {
            compare(bytes)?;
            if let Some(progress) = progress {
                progress.advance(bytes.len() as u64);
            }
            Ok(())
        })?;
        Ok(VerifyReport {
            original_bytes: self.original_bytes(),
            tensors: self.index.tensors.len(),
            chunks: self.index.tensors.iter().map(|tensor| tensor.chunks.len()).sum(),
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}
