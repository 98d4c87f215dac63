//! Files mapped into memory.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{Error, Result};

/// A file whose bytes are read from the page cache without a copy.
pub(crate) struct MappedFile(Mmap);

impl MappedFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        let metadata = file.metadata().map_err(|error| Error::io("examine", path, error))?;
        if !metadata.is_file() {
            return Err(Error::InvalidArgument {
                what: path.display().to_string(),
                detail: "it is not a regular file; name a file".into(),
            });
        }
        // SAFETY: the map is read-only and private to this process, and the bytes are only ever
        // treated as plain data whose every read is checked. Another process that changes the file
        // meanwhile can change what is read, which the checksums then find; one that truncates it
        // ends this process with a signal, which is no unsoundness.
        let map = unsafe { Mmap::map(&file) };
        map.map(Self).map_err(|error| Error::io("map", path, error))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
