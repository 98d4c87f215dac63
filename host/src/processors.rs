//! How many threads there are processors for.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread;

static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

/// How many more processors there are than threads in the current pool. Where there are some, work that cannot
/// be divided is better done in a thread of its own; where there are none, such a thread would only take turns
/// with those of the pool.
pub(crate) fn free() -> usize {
    PROCESSORS.saturating_sub(rayon::current_num_threads())
}
