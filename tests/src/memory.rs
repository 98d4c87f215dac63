//! An allocator that counts, to tell how much memory a reader takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which ends the process when more than its limit is in use at a time.
pub struct LimitedAllocator {
    limit: usize,
    in_use: AtomicUsize,
    peak: AtomicUsize,
}

impl LimitedAllocator {
    /// An allocator for at most `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self { limit, in_use: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    /// The most bytes that were in use during `work`, on all threads, above those before it.
    pub fn peak_of(&self, work: impl FnOnce()) -> usize {
        let before = self.in_use.load(Ordering::Relaxed);
        self.peak.store(before, Ordering::Relaxed);
        work();
        self.peak.load(Ordering::Relaxed).saturating_sub(before)
    }

    fn take(&self, bytes: usize) {
        let now = self.in_use.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.peak.fetch_max(now, Ordering::Relaxed);
        if now > self.limit {
            // A message would allocate; fuzzers keep the input of an abort.
            std::process::abort();
        }
    }

    fn give_back(&self, bytes: usize) {
        self.in_use.fetch_sub(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every call is the system allocator's, with the same arguments.
unsafe impl GlobalAlloc for LimitedAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size());
        // SAFETY: the caller's promises are the ones needed.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.take(size);
        self.give_back(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.give_back(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}
