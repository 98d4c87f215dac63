//! Writing to disk that begins before the file is complete.

use std::fs::File;

/// Bytes that are handed to the disk at a time: one part in so many of what there is, but at least and at most
/// so much. Each time has a cost of its own, and what has not been handed over the end of the file waits for.
const PARTS: u64 = 16;
const LEAST_BYTES: u64 = 2 << 20;
const MOST_BYTES: u64 = 8 << 20;

/// How far the bytes of a file that grows at its end are on their way to the disk.
///
/// Making a file durable waits for the disk to take all that it has not yet; what it was given while
/// the rest was still being computed, it has taken by then.
#[derive(Debug, Default)]
pub(super) struct Writeback {
    written: u64,
    begun: u64,
}

impl Writeback {
    /// `bytes` more have been written to the end of `file`.
    pub(super) fn advance(&mut self, file: &File, bytes: usize) {
        self.written += bytes as u64;
        if self.written - self.begun >= (self.written / PARTS).clamp(LEAST_BYTES, MOST_BYTES) {
            self.begin_all(file);
        }
    }

    /// Hands to the disk what it has not yet.
    pub(super) fn begin_all(&mut self, file: &File) {
        if self.begun < self.written {
            begin(file, self.begun, self.written - self.begun);
            self.begun = self.written;
        }
    }
}

/// Has the disk begin to take `length` bytes of `file` from `start` on. A hint: whatever goes wrong shows
/// when the file is made durable.
#[cfg(target_os = "linux")]
fn begin(file: &File, start: u64, length: u64) {
    use std::os::fd::AsRawFd;

    // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is touched.
    unsafe {
        libc::sync_file_range(
            file.as_raw_fd(),
            start as libc::off64_t,
            length as libc::off64_t,
            libc::SYNC_FILE_RANGE_WRITE,
        );
    }
}

/// Other systems begin when they see fit.
#[cfg(not(target_os = "linux"))]
fn begin(_file: &File, _start: u64, _length: u64) {}
