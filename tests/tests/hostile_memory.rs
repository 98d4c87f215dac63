//! A hostile file takes no memory to speak of, whatever it claims. This file holds one test only, so
//! that nothing else runs in its process while it measures.

use wcodec::Checkpoint;
use wcodec_tests::{LimitedAllocator, bombs, lies, small_file, small_original};

/// What a reader may take above a file's size.
const LIMIT_BYTES: usize = 64 << 20;

/// Memory that is claimed and refused ends the process, so the limit is where that would be seen.
#[global_allocator]
static ALLOCATOR: LimitedAllocator = LimitedAllocator::new(256 << 20);

#[test]
fn lies_and_bombs_take_less_than_64_mib() {
    let (original, file) = (small_original().unwrap(), small_file().unwrap());
    let peak = ALLOCATOR.peak_of(|| assert_eq!(lies(&file, &original, 17).wrong, 0));
    assert!(peak < LIMIT_BYTES, "lies take {} MiB", peak >> 20);
    for (number, bomb) in bombs().into_iter().enumerate() {
        assert!(bomb.len() < 1 << 20, "bomb {number} has {} bytes", bomb.len());
        let peak = ALLOCATOR.peak_of(|| {
            assert!(Checkpoint::from_bytes(bomb.clone()).is_err(), "bomb {number}");
        });
        assert!(peak < LIMIT_BYTES, "bomb {number} takes {} MiB", peak >> 20);
    }
}
