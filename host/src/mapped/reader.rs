//! Positioned reads: into memory of the caller's, by any number of threads, and if wanted around the
//! page cache.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result};

/// What direct reads are aligned to, in the file and in memory: no file system asks for more.
const DIRECT_ALIGNMENT: usize = 4096;

/// Reads from a file, or from its bytes in memory.
pub(crate) struct Reader<'a> {
    source: Source<'a>,
    path: &'a Path,
}

enum Source<'a> {
    #[cfg(unix)]
    File(&'a File),
    #[cfg(target_os = "linux")]
    Direct(File),
    Memory(&'a [u8]),
}

impl<'a> Reader<'a> {
    /// Copies of bytes in memory.
    pub(crate) fn of_bytes(bytes: &'a [u8]) -> Self {
        Self { source: Source::Memory(bytes), path: Path::new("<memory>") }
    }

    /// Reads of a file, whose `map` is used where the system has no positioned reads.
    pub(super) fn of_file(
        file: &'a File,
        map: &'a [u8],
        path: &'a Path,
        direct: bool,
    ) -> Result<Self> {
        let source = if direct { Self::direct(path)? } else { Self::buffered(file, map) };
        Ok(Self { source, path })
    }

    #[cfg(unix)]
    fn buffered(file: &'a File, _: &'a [u8]) -> Source<'a> {
        Source::File(file)
    }

    #[cfg(not(unix))]
    fn buffered(_: &'a File, map: &'a [u8]) -> Source<'a> {
        Source::Memory(map)
    }

    #[cfg(target_os = "linux")]
    fn direct(path: &Path) -> Result<Source<'a>> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(path);
        let action = "read around the page cache, which some file systems don't have,";
        Ok(Source::Direct(file.map_err(|error| Error::io(action, path, error))?))
    }

    #[cfg(not(target_os = "linux"))]
    fn direct(path: &Path) -> Result<Source<'a>> {
        Err(Error::InvalidArgument {
            what: format!("a direct read of {}", path.display()),
            detail: "only Linux has them; read through the page cache".into(),
        })
    }

    /// Whether reads go around the page cache: few large ones are best then.
    pub(crate) fn is_direct(&self) -> bool {
        #[cfg(target_os = "linux")]
        let direct = matches!(self.source, Source::Direct(_));
        #[cfg(not(target_os = "linux"))]
        let direct = false;
        direct
    }

    /// Reads `length` bytes at `offset` of the file to `memory[at..]`. A direct read may also write to
    /// the rest of the pages that these lie in; then `memory` begins with a page and has all of these,
    /// and `at` and `offset` are the same modulo the size of a page.
    pub(crate) fn read(
        &self,
        memory: &mut [u8],
        at: usize,
        offset: u64,
        length: usize,
    ) -> Result<()> {
        match &self.source {
            Source::Memory(bytes) => {
                let from = bytes.get(offset as usize..).and_then(|rest| rest.get(..length));
                let from = from.ok_or_else(|| self.truncated(offset, length as u64, 0))?;
                memory[at..at + length].copy_from_slice(from);
                Ok(())
            }
            #[cfg(unix)]
            Source::File(file) => {
                self.read_up_to(file, &mut memory[at..at + length], offset, length)
            }
            #[cfg(target_os = "linux")]
            Source::Direct(file) => {
                let before = at % DIRECT_ALIGNMENT;
                let end = (at + length).next_multiple_of(DIRECT_ALIGNMENT);
                let target = &mut memory[at - before..end];
                self.read_up_to(file, target, offset - before as u64, before + length)
            }
        }
    }

    /// Reads until `target` is full, or at least its first `needed` bytes are and the file ends.
    #[cfg(unix)]
    fn read_up_to(&self, file: &File, target: &mut [u8], offset: u64, needed: usize) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let mut done = 0;
        while done < needed {
            // A direct read ends within a page only where the file does.
            if self.is_direct() && done % DIRECT_ALIGNMENT != 0 {
                return Err(self.truncated(offset, needed as u64, done as u64));
            }
            match file.read_at(&mut target[done..], offset + done as u64) {
                Ok(0) => return Err(self.truncated(offset, needed as u64, done as u64)),
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", self.path, error)),
            }
        }
        Ok(())
    }

    fn truncated(&self, offset: u64, expected: u64, actual: u64) -> Error {
        Error::Truncated {
            what: self.path.display().to_string(),
            location: format!("offset {offset}, while it was being read"),
            expected,
            actual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_the_files_bytes_and_end_where_it_ends() {
        let bytes: Vec<u8> = (0..10_000u32).map(|number| (number % 251) as u8).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let open = File::open(file.path()).unwrap();
        let mut readers = vec![
            Reader::of_bytes(&bytes),
            Reader::of_file(&open, &bytes, file.path(), false).unwrap(),
        ];
        // Not every file system reads around the page cache.
        readers.extend(Reader::of_file(&open, &bytes, file.path(), true));
        let mut memory = memmap2::MmapMut::map_anon(5 * DIRECT_ALIGNMENT).unwrap();
        for reader in &readers {
            for (offset, length) in [(0, 10_000), (5000, 100), (9999, 1), (4096, 4096), (8191, 2)] {
                let at = DIRECT_ALIGNMENT + offset % DIRECT_ALIGNMENT;
                reader.read(&mut memory, at, offset as u64, length).unwrap();
                assert_eq!(memory[at..at + length], bytes[offset..offset + length]);
            }
            let past_end = reader.read(&mut memory, 1712, 9904, 100);
            assert!(matches!(past_end, Err(Error::Truncated { .. })), "{past_end:?}");
        }
    }
}
