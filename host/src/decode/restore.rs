//! Writing the original file again.

use std::path::Path;
use std::sync::Arc;

use super::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::output::{AtomicFile, ensure_apart};
use crate::progress::Progress;

/// How to write the original file again.
#[derive(Clone, Default)]
pub struct RestoreOptions {
    /// Whether an existing file is replaced.
    pub overwrite: bool,
    /// Told of the original bytes done.
    pub progress: Option<Arc<dyn Progress>>,
}

impl Checkpoint {
    /// Writes the original file to `output`, byte for byte.
    ///
    /// It appears under its name when all of it has been written and its SHA-256 found right;
    /// after an error there is none, and one that was there before is unchanged.
    ///
    /// # Errors
    ///
    /// When this file is damaged, when the output exists and may not be replaced or is this
    /// file or its base, when a base is needed and was not given, and when it cannot be written.
    pub fn restore(&self, output: impl AsRef<Path>, options: &RestoreOptions) -> Result<()> {
        let output = output.as_ref();
        ensure_apart(self.path(), output)?;
        if let Some(base) = self.base() {
            ensure_apart(base.path(), output)?;
        }
        self.require_base()?;
        let mut file = AtomicFile::create(output, options.overwrite)?;
        if let Some(progress) = &options.progress {
            progress.start(self.original_bytes());
        }
        self.stream(|bytes| {
            file.append(bytes)?;
            if let Some(progress) = &options.progress {
                progress.advance(bytes.len() as u64);
            }
            Ok(())
        })?;
        file.commit()
    }

    /// The original file, in memory.
    ///
    /// # Errors
    ///
    /// When this file is damaged, or does not fit into memory.
    pub fn restore_bytes(&self) -> Result<Vec<u8>> {
        let mut file = Vec::new();
        self.stream(|bytes| {
            file.try_reserve(bytes.len()).map_err(|_| Error::InvalidArgument {
                what: format!("{} in memory", self.path().display()),
                detail: format!(
                    "its {} bytes do not fit; restore it to a file",
                    self.original_bytes()
                ),
            })?;
            file.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(file)
    }
}
