//! The asynchronous copies of a thread.

use std::collections::VecDeque;

/// Bytes that a copy writes.
pub(super) const COPY_BYTES: usize = 16;

/// A copy that has been checked and not been made.
#[derive(Clone, Copy)]
pub(super) struct PendingCopy {
    /// Shared address of the 16 bytes.
    pub(super) target: u32,
    pub(super) source: *const u8,
    /// Bytes to read; the others become zeros.
    pub(super) bytes: usize,
}

impl PendingCopy {
    /// The 16 bytes that this copy writes.
    ///
    /// # Safety
    ///
    /// `source` is readable for `bytes` bytes.
    pub(super) unsafe fn read(&self) -> [u8; COPY_BYTES] {
        let mut copied = [0; COPY_BYTES];
        for (at, byte) in copied.iter_mut().enumerate().take(self.bytes) {
            let address = self.source.wrapping_add(at);
            // SAFETY: `at` is below `bytes`, for which the caller promises readability.
            *byte = unsafe { address.read() };
        }
        copied
    }
}

/// The copies that a thread has issued and not waited for.
#[derive(Default)]
pub(super) struct CopyQueue {
    open: Vec<PendingCopy>,
    groups: VecDeque<Vec<PendingCopy>>,
}

impl CopyQueue {
    pub(super) fn push(&mut self, copy: PendingCopy) {
        self.open.push(copy);
    }

    /// Makes a group of the copies since the last one.
    pub(super) fn commit(&mut self) {
        self.groups.push_back(std::mem::take(&mut self.open));
    }

    /// Takes out the copies of all groups but the newest `pending`, oldest first.
    pub(super) fn take_all_but(&mut self, pending: usize) -> Vec<PendingCopy> {
        let done = self.groups.len().saturating_sub(pending);
        self.groups.drain(..done).flatten().collect()
    }
}
