//! Work on many things at the same time whose results are needed one after the other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::error::Result;

/// Makes something of each item, on all threads of the pool, and gives what was made to `take` in the
/// order of the items. An error of `take` ends it.
///
/// Threads begin items in their order and wait neither for each other nor for `take`, which one of them
/// runs at a time, beside the others' work. So what is made and not yet taken is little as long as
/// `take` is quick, and at most everything.
pub(super) fn for_each_in_order<T: Sync, R: Send>(
    items: &[T],
    make: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<()> + Send,
) -> Result<()> {
    let threads = rayon::current_num_threads().min(items.len());
    if threads <= 1 {
        // At once, while it is in the cache.
        return items.iter().try_for_each(|item| take(make(item)));
    }
    let line = Line {
        begun: AtomicUsize::new(0),
        made: items.iter().map(|_| Mutex::new(None)).collect(),
        taker: Mutex::new(Taker { take, taken: 0, result: Ok(()) }),
        has_failed: AtomicBool::new(false),
    };
    (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
        while let Some(number) = line.begin() {
            line.finish(number, make(&items[number]));
        }
    });
    line.take_rest()
}

/// Items on their way.
struct Line<R, F> {
    /// Items that have been begun, or more.
    begun: AtomicUsize,
    /// What was made of each and has not been taken.
    made: Vec<Mutex<Option<R>>>,
    taker: Mutex<Taker<F>>,
    has_failed: AtomicBool,
}

struct Taker<F> {
    take: F,
    /// Items that have been taken.
    taken: usize,
    result: Result<()>,
}

impl<R, F: FnMut(R) -> Result<()>> Line<R, F> {
    /// The next item to be worked on.
    fn begin(&self) -> Option<usize> {
        if self.has_failed.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        (number < self.made.len()).then_some(number)
    }

    /// Puts in what was made of an item, and takes what it was waited for with, unless another thread
    /// is taking.
    fn finish(&self, number: usize, made: R) {
        *lock(&self.made[number]) = Some(made);
        // A thread that found nothing more to take and has not let go of the taker yet overlooks this
        // one; whoever finishes next finds it.
        if let Ok(mut taker) = self.taker.try_lock() {
            self.take(&mut taker);
        }
    }

    /// Takes what the last threads to finish have left, and returns how taking went.
    fn take_rest(self) -> Result<()> {
        self.take(&mut lock(&self.taker));
        self.taker.into_inner().unwrap_or_else(PoisonError::into_inner).result
    }

    /// Takes what comes next for as long as it has been made.
    fn take(&self, taker: &mut Taker<F>) {
        while taker.result.is_ok()
            && let Some(made) = self.made.get(taker.taken)
            && let Some(made) = lock(made).take()
        {
            taker.taken += 1;
            taker.result = (taker.take)(made);
            if taker.result.is_err() {
                self.has_failed.store(true, Ordering::Relaxed);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::error::Error;

    fn on_threads<R: Send>(threads: usize, run: impl FnOnce() -> R + Send) -> R {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
    }

    #[test]
    fn results_come_in_order_whatever_takes_long() {
        for threads in [1, 2, 3, 16] {
            for count in [0, 1, 2, 3, 100] {
                let items: Vec<u32> = (0..count).collect();
                let mut taken = Vec::new();
                let make = |&item: &u32| {
                    // Some are slow enough for all others to be done before them.
                    thread::sleep(Duration::from_micros(if item % 16 == 1 { 2000 } else { 1 }));
                    item * 3
                };
                let take = |made| {
                    taken.push(made);
                    Ok(())
                };
                on_threads(threads, || for_each_in_order(&items, make, take)).unwrap();
                assert_eq!(taken, items.iter().map(|item| item * 3).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn an_error_ends_it() {
        for threads in [1, 2, 16] {
            let items: Vec<usize> = (0..1000).collect();
            let (made, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
            let mut taken = 0;
            let make = |&item: &usize| {
                while item > 100 && !has_failed.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                // Long enough for the others to be told before everything is made.
                thread::sleep(Duration::from_millis(if item > 100 { 10 } else { 0 }));
                made.fetch_add(1, Ordering::Relaxed);
            };
            let take = |()| {
                taken += 1;
                if taken < 5 {
                    return Ok(());
                }
                has_failed.store(true, Ordering::Relaxed);
                Err(Error::Internal { detail: "no more".into() })
            };
            let error = on_threads(threads, || for_each_in_order(&items, make, take)).unwrap_err();
            assert!(matches!(error, Error::Internal { detail } if detail == "no more"));
            assert_eq!(taken, 5);
            assert!(made.into_inner() < items.len());
        }
    }

    #[test]
    #[should_panic(expected = "no good")]
    fn a_panic_comes_through() {
        let make = |&item: &u32| assert!(item != 7, "no good");
        let _ = on_threads(2, || for_each_in_order(&[1, 7, 2], make, |()| Ok(())));
    }
}
