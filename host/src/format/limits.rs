//! What the writer produces and what the reader accepts: separate, named limits.

/// The version that this writer writes.
pub(crate) const VERSION: u32 = 1;
/// The newest version that this reader reads.
pub(crate) const NEWEST_READABLE_VERSION: u32 = 1;

/// Elements of a block, where the caller asks for no other number.
pub(crate) const DEFAULT_BLOCK_ELEMENTS: usize = 1 << 16;
/// Bytes of payload after which the writer closes a chunk.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// Original bytes that the writer plans and encodes at a time, and blocks, of which each takes
/// some KiB for its counts: both bound its memory.
pub(crate) const WINDOW_BYTES: usize = 8 << 20;
/// See [`WINDOW_BYTES`].
pub(crate) const WINDOW_BLOCKS: usize = 1024;

/// The largest index that a reader accepts.
pub(crate) const MAX_INDEX_BYTES: u64 = 1 << 32;
/// How many times its stored length an index may inflate to; the writer stores it as it is where
/// it would be more, and so a reader's memory is bounded by the file's length.
pub(crate) const MAX_INDEX_INFLATION: u64 = 64;
/// The most elements that a row of classes may have; kernels count them in 32 bits.
pub(crate) const MAX_CLASS_COLUMNS: u64 = 1 << 31;
/// The most tables that classes may choose from.
pub(crate) const MAX_CLASS_TABLES: usize = 16;
/// What an index may inflate to whatever the payload's length; beyond it, an index that inflates to
/// more than the payload has bytes is stored as it is. So a small file cannot take much memory.
pub(crate) const MAX_UNPAID_INDEX_BYTES: u64 = 4 << 20;
/// How many times its inflated length the records of an index may take in memory, the length
/// rounded up to a power of two.
pub(crate) const MAX_INDEX_EXPANSION: usize = 8;
/// The most plans that a tensor may have: block records name them by a u16.
pub(crate) const MAX_PLANS: usize = 1 << 16;
