//! How many threads there are processors for, and which of them a thread begins on.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread::{self, Scope, ScopedJoinHandle};

static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

/// How many more processors there are than threads in the current pool. Where there are some, work that cannot
/// be divided is better done in a thread of its own; where there are none, such a thread would only take turns
/// with those of the pool.
pub(crate) fn free() -> usize {
    let threads = rayon::current_num_threads();
    // What part of them the process may have is in files, which need not be read where there are none anyway.
    if allowed() <= threads { 0 } else { PROCESSORS.saturating_sub(threads) }
}

/// How many processors the current thread may run on, at most.
fn allowed() -> usize {
    #[cfg(target_os = "linux")]
    if let Ok(allowed) = rustix::thread::sched_getaffinity(None) {
        return allowed.count() as usize;
    }
    *PROCESSORS
}

/// Spawns a thread that begins at once and not on the processor of the current one, if it may run on another.
///
/// A system may begin a thread where the one that spawned it is, to have processors to spare, and part the two
/// when it next looks at what is running: some milliseconds later, which is as long as a small checkpoint
/// takes.
pub(crate) fn spawn_apart<'scope, R: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    run: impl FnOnce() -> R + Send + 'scope,
) -> ScopedJoinHandle<'scope, R> {
    let taken = Processor::current();
    let thread = scope.spawn(move || {
        taken.leave();
        run()
    });
    // If it has to begin here, it does so now.
    thread::yield_now();
    thread
}

/// A processor, where the system says which one a thread is on.
#[derive(Clone, Copy)]
struct Processor(#[cfg(target_os = "linux")] usize);

#[cfg(target_os = "linux")]
impl Processor {
    /// That of the current thread.
    fn current() -> Self {
        Self(rustix::thread::sched_getcpu())
    }

    /// Moves the current thread to another one if it is on this. The system may move it back later.
    fn leave(self) {
        use rustix::thread::{sched_getaffinity, sched_getcpu, sched_setaffinity};

        if sched_getcpu() != self.0 {
            return;
        }
        let Ok(allowed) = sched_getaffinity(None) else { return };
        let mut others = allowed;
        others.unset(self.0);
        // Fails if there are no others.
        if sched_setaffinity(None, &others).is_ok() {
            // What was allowed before still is; if not, the thread keeps to those others.
            let _ = sched_setaffinity(None, &allowed);
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Processor {
    fn current() -> Self {
        Self()
    }

    fn leave(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_spawned_apart_returns_what_it_comes_to() {
        let numbers = [1, 2, 3];
        let sum = thread::scope(|scope| {
            spawn_apart(scope, || numbers.iter().sum::<i32>()).join().unwrap()
        });
        assert_eq!(sum, 6);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_leaves_a_processor_may_run_where_it_could() {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

        // In a thread of its own, whose processors are nobody else's concern.
        thread::scope(|scope| {
            let leaving = scope.spawn(|| {
                let allowed = sched_getaffinity(None).unwrap();
                let mut has_left = false;
                for _ in 0..100 {
                    let taken = Processor::current();
                    taken.leave();
                    // The system may have moved it back meanwhile, but not each time.
                    has_left |= Processor::current().0 != taken.0;
                    assert_eq!(sched_getaffinity(None).unwrap(), allowed);
                }
                assert_eq!(has_left, allowed.count() > 1);

                let only = Processor::current();
                let mut one = CpuSet::new();
                one.set(only.0);
                sched_setaffinity(None, &one).unwrap();
                only.leave();
                assert_eq!(Processor::current().0, only.0, "there was nowhere to go");
                assert_eq!(sched_getaffinity(None).unwrap(), one);
            });
            leaving.join().unwrap();
        });
    }
}
