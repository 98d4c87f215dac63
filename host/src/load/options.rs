//! What is to be loaded, and how.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::progress::Progress;

/// How to load a checkpoint.
#[derive(Clone)]
pub struct LoadOptions {
    /// Names of tensors, or patterns with `*`, `?` and `[...]`; none stands for all tensors.
    pub tensors: Vec<String>,
    /// Which part of each tensor; without one, all of it.
    pub shard: Option<Shard>,
    /// Pinned host memory to take at most, through which all bytes go; for a GPU only. At least
    /// [`LoadOptions::MIN_PINNED_BYTES`].
    pub pinned_bytes: usize,
    /// Threads that read and check; 0 takes one for each processor, but no more than
    /// [`LoadOptions::MOST_THREADS`]. On the CPU the current rayon pool decodes, whatever this says.
    pub threads: usize,
    /// Whether checksums are compared: on a GPU those of the bytes in the file, while they are on
    /// their way, on the CPU those of the decoded bytes as well. Off, damage is found only where a
    /// block cannot be decoded, and [`LoadReport::checksums`](crate::LoadReport::checksums) says so.
    pub checksums: bool,
    /// Whether the file is read around the page cache: often faster for a file that is not in it; for
    /// a GPU, on Linux only.
    pub direct_io: bool,
    /// Told of the bytes of tensors that are ready.
    pub progress: Option<Arc<dyn Progress>>,
    /// Lets another thread end the loading.
    pub cancel: Option<Cancel>,
}

impl LoadOptions {
    /// The least pinned memory that loading works with.
    pub const MIN_PINNED_BYTES: usize = 8 << 20;
    /// Threads that are taken where their number is left open.
    pub const MOST_THREADS: usize = 16;

    /// Threads of each of so many loads at the same time.
    pub(crate) fn threads_of_each(&self, loads: usize) -> usize {
        let all = match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            chosen => chosen,
        };
        let each = all.div_ceil(loads);
        if self.threads == 0 { each.min(Self::MOST_THREADS) } else { each }
    }

    /// Whether somebody has asked for the end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(Cancel::is_cancelled)
    }
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            tensors: Vec::new(),
            shard: None,
            pinned_bytes: 256 << 20,
            threads: 0,
            checksums: true,
            direct_io: false,
            progress: None,
            cancel: None,
        }
    }
}

impl std::fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadOptions")
            .field("tensors", &self.tensors)
            .field("shard", &self.shard)
            .field("pinned_bytes", &self.pinned_bytes)
            .field("threads", &self.threads)
            .field("checksums", &self.checksums)
            .field("direct_io", &self.direct_io)
            .finish_non_exhaustive()
    }
}

/// Ends a load from another thread: it returns [`Error::Cancelled`](crate::Error::Cancelled) soon
/// after.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks for the end. There is no way back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end has been asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The part of a checkpoint that one of several devices takes, as for tensor parallelism: of each
/// tensor that a rule names a slice along one dimension, and all others whole.
///
/// ```
/// use wcodec::Shard;
/// let shard = Shard::new(0, 8).along("*.q_proj.weight", 0).along("*.o_proj.weight", 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub(crate) rank: u64,
    pub(crate) count: u64,
    /// Patterns of names and dimensions; the first that fits counts.
    pub(crate) rules: Vec<(String, usize)>,
}

impl Shard {
    /// The shard number `rank`, counted from 0, of `count`.
    pub fn new(rank: usize, count: usize) -> Self {
        Self { rank: rank as u64, count: count as u64, rules: Vec::new() }
    }

    /// Takes a slice along `dimension` (0 is the slowest) of tensors with names like `pattern`, unless
    /// an earlier rule has them. Of n elements there, shard r of c has those from r n / c to (r + 1) n / c,
    /// rounded down. Tensors without that dimension are taken whole.
    #[must_use]
    pub fn along(mut self, pattern: impl Into<String>, dimension: usize) -> Self {
        self.rules.push((pattern.into(), dimension));
        self
    }

    /// The same rules for the shard number `rank` of `count`.
    pub(crate) fn with_rank(&self, rank: usize, count: usize) -> Self {
        Self { rank: rank as u64, count: count as u64, rules: self.rules.clone() }
    }
}
