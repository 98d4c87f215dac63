//! Files mapped into memory.

#[cfg(unix)]
mod guard;
mod reader;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

use crate::error::{Error, Result};

#[cfg(unix)]
pub use guard::guard_mapped_files;
pub(crate) use reader::Reader;

/// Other systems don't let a mapped file be cut short, so there is nothing to guard.
///
/// # Errors
///
/// None.
#[cfg(not(unix))]
pub fn guard_mapped_files() -> Result<()> {
    Ok(())
}

/// Bytes whose pages are given back at a time.
const GIVEN_BACK_BYTES: usize = 4 << 20;

/// A file whose bytes are read from the page cache without a copy.
pub(crate) struct MappedFile {
    // Before the map, so that nobody looks for the addresses of one that is gone.
    #[cfg(unix)]
    region: guard::Region,
    map: Mmap,
    /// Bytes whose pages have been given back.
    given_back: AtomicUsize,
    file: File,
    path: PathBuf,
}

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
        // makes reads find zeros, or ends this process with a signal, which is no unsoundness.
        let map = unsafe { Mmap::map(&file) };
        let map = map.map_err(|error| Error::io("map", path, error))?;
        Ok(Self {
            #[cfg(unix)]
            region: guard::Region::of(&map),
            map,
            given_back: AtomicUsize::new(0),
            file,
            path: path.to_owned(),
        })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Tells the system that all of the file is going to be read: where it can, it then reads and keeps 2 MiB at a
    /// time, which the disk gives sooner and which take less to map. To be said before anything is read: a system
    /// that reads ahead goes on in parts as large as those that it began with.
    pub(crate) fn expect_all(&self) {
        // A hint, which not every system knows.
        #[cfg(target_os = "linux")]
        let _ = self.map.advise(Advice::HugePage);
    }

    /// Takes back what [`MappedFile::expect_all`] said: who reads a little here and there has no use for the rest
    /// of 2 MiB each time.
    pub(crate) fn expect_parts(&self) {
        #[cfg(target_os = "linux")]
        let _ = self.map.advise(Advice::NoHugePage);
    }

    /// Gives back the pages of about the first `bytes` bytes, which nobody is expected to read again; who does
    /// finds them as they are in the file.
    pub(crate) fn give_back(&self, bytes: usize) {
        let end = bytes.min(self.map.len());
        let end = end - end % GIVEN_BACK_BYTES;
        let start = self.given_back.fetch_max(end, Ordering::Relaxed);
        #[cfg(unix)]
        if start < end {
            // SAFETY: the pages are those of a file that this map only reads, or zeros that the guard has put
            // in the place of some that cannot be read: both are found again. It is but a hint.
            let _ = unsafe {
                self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start)
            };
        }
        #[cfg(not(unix))]
        let _ = start;
    }

    /// Bytes whose pages have been given back so far.
    #[cfg(test)]
    pub(crate) fn given_back(&self) -> usize {
        self.given_back.load(Ordering::Relaxed)
    }

    /// `result`, which was made from these bytes, if all of them could be read so far.
    pub(crate) fn checked<T>(&self, result: Result<T>) -> Result<T> {
        #[cfg(unix)]
        if self.region.is_incomplete() {
            return Err(self.unreadable());
        }
        result
    }

    /// Checks, when all has been read, that the file still is as long and as old as at the start
    /// of it: otherwise different bytes may have been read at different times.
    pub(crate) fn check_unchanged(&self, before: &std::fs::Metadata) -> Result<()> {
        let now = self.metadata()?;
        let modified = |metadata: &std::fs::Metadata| metadata.modified().ok();
        if (now.len(), modified(&now)) == (before.len(), modified(before)) {
            return Ok(());
        }
        Err(Error::InvalidArgument {
            what: self.path.display().to_string(),
            detail: "it was changed while it was being read; run it again when nobody writes it"
                .into(),
        })
    }

    pub(crate) fn metadata(&self) -> Result<std::fs::Metadata> {
        self.file.metadata().map_err(|error| Error::io("examine", &self.path, error))
    }

    /// Reads of the file, which with `direct` go around the page cache.
    pub(crate) fn reader(&self, direct: bool) -> Result<Reader<'_>> {
        Reader::of_file(&self.file, &self.map, &self.path, direct)
    }

    #[cfg(unix)]
    fn unreadable(&self) -> Error {
        let (expected, actual) = (self.map.len() as u64, self.file.metadata().map(|now| now.len()));
        match actual {
            Ok(actual) if actual < expected => Error::Truncated {
                what: self.path.display().to_string(),
                location: "its end, while it was being read".into(),
                expected,
                actual,
            },
            _ => Error::io("read", &self.path, std::io::Error::other("the disk gave no answer")),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// What the system has been told of the pages of a file that is mapped; see `proc_pid_smaps(5)`.
    fn flags(mapped: &MappedFile) -> Vec<String> {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let start = format!("{:x}-", mapped.bytes().as_ptr().addr());
        let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&start));
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
        flags.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn large_pages_are_for_who_reads_all_of_a_file() {
        if !Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            return;
        }
        let large = "hg".to_owned();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 9000]).unwrap();
        let mapped = MappedFile::open(&path).unwrap();
        assert!(!flags(&mapped).contains(&large));
        mapped.expect_all();
        assert!(flags(&mapped).contains(&large));
        mapped.expect_parts();
        assert!(!flags(&mapped).contains(&large));
    }
}
