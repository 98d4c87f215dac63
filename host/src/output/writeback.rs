//! Writing to disk that begins before the file is complete.

use std::fs::File;
use std::io;

/// Bytes that are handed to the disk at a time.
const STEP: u64 = 1 << 20;

/// Bytes of the disk that are set aside at a time: what a file system finds in one piece it takes a third
/// less time to fill. Files are that much shorter than what is set aside for them until they are complete.
const RESERVED_STEP: u64 = 4 << 20;

/// How far the bytes of a file that grows at its end are on their way to the disk.
///
/// Making a file durable waits for the disk to take all that it has not yet; what it was given while
/// the rest was still being computed, it has taken by then.
#[derive(Debug, Default)]
pub(super) struct Writeback {
    written: u64,
    begun: u64,
    /// What is set aside for the file; less than is written while nothing is.
    reserved: u64,
}

impl Writeback {
    /// `bytes` more are about to be written to the end of `file`.
    pub(super) fn reserve(&mut self, file: &File, bytes: usize) {
        let needed = self.written + bytes as u64;
        // Small files need no help.
        if self.written >= STEP && needed > self.reserved {
            let reserved = needed.next_multiple_of(RESERVED_STEP);
            if set_aside(file, self.written, reserved - self.written) {
                self.reserved = reserved;
            } else {
                // Nor will it work the next time.
                self.reserved = u64::MAX;
            }
        }
    }

    /// `bytes` more have been written to the end of `file`.
    pub(super) fn advance(&mut self, file: &File, bytes: usize) {
        self.written += bytes as u64;
        if self.written - self.begun >= STEP {
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

    /// Gives back what was set aside and is behind the end of `file`, which is complete.
    pub(super) fn free_rest(&self, file: &File) -> io::Result<()> {
        if self.reserved > 0 { file.set_len(file.metadata()?.len()) } else { Ok(()) }
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

/// Sets `length` bytes of the disk aside for `file` from `start` on, which leaves its length as it is;
/// whether that worked. Where there is too little room, writing says so.
#[cfg(target_os = "linux")]
fn set_aside(file: &File, start: u64, length: u64) -> bool {
    use rustix::fs::{FallocateFlags, fallocate};
    fallocate(file, FallocateFlags::KEEP_SIZE, start, length).is_ok()
}

/// Other systems find room for each write.
#[cfg(not(target_os = "linux"))]
fn set_aside(_file: &File, _start: u64, _length: u64) -> bool {
    false
}
