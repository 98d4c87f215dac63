//! An allocator that ends the process when too much is in use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most that may be in use at a time. Inputs are a few KiB, so it stands for what a reader may
/// take above a file's size.
pub const LIMIT_BYTES: usize = 64 << 20;

/// The system's allocator with a limit. The fuzzer, which is C++, does not use it.
pub struct LimitedAllocator;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

fn take(bytes: usize) {
    if IN_USE.fetch_add(bytes, Ordering::Relaxed) + bytes > LIMIT_BYTES {
        // The fuzzer keeps the input of an abort. A message would allocate.
        std::process::abort();
    }
}

fn give_back(bytes: usize) {
    IN_USE.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY: every call is the system allocator's, with the same arguments.
unsafe impl GlobalAlloc for LimitedAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: the caller's promises are the ones needed.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        take(size);
        give_back(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        give_back(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}
