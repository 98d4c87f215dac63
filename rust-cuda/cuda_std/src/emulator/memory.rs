//! The memory that kernels may access.

use std::cell::Cell;
use std::ops::Range;

/// The address of the first byte of dynamic shared memory: a multiple of 16, which is all that its
/// declaration promises, and of no larger power of two.
pub const SHARED_BASE: u32 = 1040;

/// What each byte of shared memory holds before a kernel writes it.
pub const POISON: u8 = 0xA5;

/// Addresses of global memory that a kernel may access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalRange {
    /// The bytes' addresses.
    pub addresses: Range<usize>,
    /// Whether the kernel may also write them.
    pub writable: bool,
}

impl GlobalRange {
    /// The bytes of `values`, to be read.
    pub fn readable<T>(values: &[T]) -> Self {
        Self { addresses: bytes_of(values), writable: false }
    }

    /// The bytes of `values`, to be read and written.
    pub fn writable<T>(values: &mut [T]) -> Self {
        Self { addresses: bytes_of(values), writable: true }
    }

    pub(super) fn contains(&self, address: usize, bytes: usize) -> bool {
        let Range { start, end } = self.addresses;
        address >= start && address.checked_add(bytes).is_some_and(|access_end| access_end <= end)
    }
}

fn bytes_of<T>(values: &[T]) -> Range<usize> {
    let start = values.as_ptr().addr();
    start..start + size_of_val(values)
}

/// The dynamic shared memory of a thread block.
pub(super) struct SharedMemory {
    /// The bytes, with some before them for alignment.
    cells: Box<[Cell<u8>]>,
    /// Position of the first byte.
    first: usize,
}

impl SharedMemory {
    /// What the address of the first byte, as a pointer of the host, is a multiple of.
    const ALIGNMENT: usize = 16;

    pub(super) fn new(bytes: u32) -> Self {
        let cells = vec![Cell::new(POISON); bytes as usize + Self::ALIGNMENT].into_boxed_slice();
        let first = cells.as_ptr().addr().wrapping_neg() % Self::ALIGNMENT;
        Self { cells, first }
    }

    fn bytes(&self) -> &[Cell<u8>] {
        &self.cells[self.first..][..self.cells.len() - Self::ALIGNMENT]
    }

    pub(super) fn pointer(&self) -> *mut u8 {
        self.bytes().as_ptr().cast::<u8>().cast_mut()
    }

    /// The bytes at an address, if there are so many.
    pub(super) fn get(&self, address: u32, bytes: usize) -> Option<&[Cell<u8>]> {
        let start = address.checked_sub(SHARED_BASE)? as usize;
        self.bytes().get(start..start.checked_add(bytes)?)
    }
}
