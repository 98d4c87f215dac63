//! The mapped file that is encoded, and how far those who read it from front to back have come.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::mapped::MappedFile;

/// Bytes at the end of a file whose pages are given back while the disk is waited for, which takes as long.
const LAST_BYTES: usize = 24 << 20;

/// A file that is encoded, and hashed meanwhile. Its pages are given back when both are done with them, since to
/// give back those of a large file takes longer than what else there is to do at the end.
pub(super) struct Source {
    pub(super) mapped: MappedFile,
    /// Bytes that have been hashed, or needn't be.
    hashed: AtomicUsize,
}

impl Source {
    pub(super) fn new(mapped: MappedFile, is_hashed: bool) -> Self {
        let hashed = if is_hashed { 0 } else { usize::MAX };
        Self { mapped, hashed: AtomicUsize::new(hashed) }
    }

    /// The next `bytes` bytes have been hashed.
    pub(super) fn note_hashed(&self, bytes: usize) {
        self.hashed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The first `bytes` bytes have been encoded.
    pub(super) fn note_encoded(&self, bytes: usize) {
        let done = bytes.min(self.hashed.load(Ordering::Relaxed));
        let most = self.mapped.bytes().len().saturating_sub(LAST_BYTES);
        self.mapped.give_back(done.min(most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn source(bytes: &[u8], is_hashed: bool) -> (tempfile::TempDir, Source) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        (folder, Source::new(MappedFile::open(&path).unwrap(), is_hashed))
    }

    /// KiB of a mapped file whose pages this process has.
    #[cfg(target_os = "linux")]
    fn resident_kib(source: &Source) -> usize {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let start = format!("{:x}-", source.mapped.bytes().as_ptr().addr());
        let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&start));
        let resident = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        resident.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn pages_that_are_given_back_are_not_there_any_more() {
        let bytes = vec![7; LAST_BYTES + 8 * MIB];
        let (_folder, source) = source(&bytes, false);
        assert!(source.mapped.bytes() == bytes);
        assert!(resident_kib(&source) > LAST_BYTES >> 10);
        source.note_encoded(bytes.len());
        assert!(resident_kib(&source) <= LAST_BYTES >> 10);
    }

    #[test]
    fn what_is_given_back_has_been_hashed_and_encoded() {
        let bytes: Vec<u8> = (0..LAST_BYTES + 9 * MIB).map(|number| (number % 251) as u8).collect();
        let (_folder, source) = source(&bytes, true);
        assert!(source.mapped.bytes() == bytes);
        source.note_encoded(8 * MIB);
        assert_eq!(source.mapped.given_back(), 0, "nothing has been hashed");
        source.note_hashed(5 * MIB);
        assert_eq!(source.mapped.given_back(), 0, "nobody has looked yet");
        source.note_encoded(8 * MIB);
        assert_eq!(source.mapped.given_back(), 4 * MIB);
        source.note_hashed(bytes.len() - 5 * MIB);
        source.note_encoded(7 * MIB);
        assert_eq!(source.mapped.given_back(), 4 * MIB);
        source.note_encoded(bytes.len());
        assert_eq!(source.mapped.given_back(), 8 * MIB, "the last pages stay");
        assert!(source.mapped.bytes() == bytes, "who reads it again finds what is in the file");
    }

    #[test]
    fn what_need_not_be_hashed_is_given_back_when_it_is_encoded() {
        let (_folder, source) = source(&vec![7; LAST_BYTES + 4 * MIB], false);
        source.note_encoded(4 * MIB - 1);
        assert_eq!(source.mapped.given_back(), 0);
        source.note_encoded(4 * MIB);
        assert_eq!(source.mapped.given_back(), 4 * MIB);
    }
}
