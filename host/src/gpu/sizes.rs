//! The sizes that loading works with; `docs/loading.md` says how they were measured.

use crate::load::{LoadOptions, PAGE_BYTES};

/// Pinned memory of a piece: it holds any chunk that a writer makes, with the rest of its first and last
/// page. A processor's core has a thread's pieces in its own cache or nearly so, which is what reading is
/// fast with: bytes go to memory once less.
pub(super) const PIECE_BYTES: usize = 3 << 19;
/// Pieces of a thread: one to fill while others are on their way.
pub(super) const PIECES: usize = 3;
/// Bytes that are read before they are compared: little enough to be in the core's second-level cache
/// then, of which two threads may have one half each.
pub(super) const STEP_BYTES: usize = 256 << 10;
/// Payload and base of a batch at most.
pub(super) const BATCH_BYTES: usize = 7 << 20;
/// The same, where there is so little that all threads would not have some: a chunk and its base have to
/// fit.
pub(super) const LEAST_BATCH_BYTES: usize = 5 << 19;
/// Batches that each thread gets of little, so that none has much more to do than another.
pub(super) const BATCHES_PER_THREAD: usize = 3;
/// Batches for each thread at the end that are cut into smaller ones.
pub(super) const LAST_BATCHES: usize = 1;

/// Of a thread's pinned memory, beside the pieces, a few pages are for status words.
const _: () = assert!(PIECE_BYTES * PIECES <= LoadOptions::MIN_PINNED_BYTES - 16 * PAGE_BYTES);
const _: () = assert!(PIECE_BYTES.is_multiple_of(PAGE_BYTES) && LEAST_BATCH_BYTES <= BATCH_BYTES);
