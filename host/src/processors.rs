//! How many threads there are processors for.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread;

static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

/// Whether there are more processors than threads in the current pool: where there are, work that cannot be
/// divided is better done in a thread of its own; where there are not, such a thread would only take turns
/// with those of the pool.
pub(crate) fn one_is_free() -> bool {
    rayon::current_num_threads() < *PROCESSORS
}
