//! Work on many things at the same time whose results are needed one after the other.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// So many are on their way for each thread whatever they weigh: one that it works on, and the next.
const ITEMS_PER_THREAD: usize = 2;

/// Runs `feed`, which is given a function to push items with, their weights beside them. Of each item,
/// `make` makes something on any thread of the pool, and `take` is given that in the order of the items,
/// one at a time. Returns what `feed` does; an error of `take` ends it.
///
/// Nobody waits for a batch to be complete: threads begin items in their order as they become free. A push
/// returns when the items before it that have not been taken weigh no more than `most`, or are two for
/// each thread, and until then lends its thread to the others' work. Outside of the pool everything is done
/// by the caller.
pub(super) fn in_order<T: Send, R: Send, O: Send>(
    most: usize,
    make: impl Fn(T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<()> + Send,
    feed: impl FnOnce(&mut dyn FnMut(T, usize) -> Result<()>) -> Result<O> + Send,
) -> Result<O> {
    if rayon::current_num_threads() == 1 || rayon::current_thread_index().is_none() {
        // At once, while it is in the cache; or as others have not been asked.
        return feed(&mut |item, _| take(make(item)));
    }
    let state = State {
        begun: 0,
        items: VecDeque::new(),
        taken: 0,
        made: VecDeque::new(),
        weight: 0,
        end: None,
        is_awaited: false,
    };
    let line =
        &Line { make, take: Mutex::new(take), state: Mutex::new(state), has_moved: Condvar::new() };
    let fed = rayon::scope(|scope| {
        let fed = feed(&mut |item, weight| {
            line.wait_for_room(most)?;
            line.push(item, weight);
            scope.spawn(|_| line.work());
            Ok(())
        });
        if fed.is_err() {
            line.end(End::Abandoned);
        }
        fed
    });
    match line.lock().end.take() {
        Some(End::Failed(error)) => Err(error),
        _ => fed,
    }
}

/// Items on their way.
struct Line<T, R, M, F> {
    make: M,
    take: Mutex<F>,
    state: Mutex<State<T, R>>,
    /// Something was taken, or will no longer be.
    has_moved: Condvar,
}

struct State<T, R> {
    /// Number of the first item that nobody has begun, and the items from it on, with their weights.
    begun: usize,
    items: VecDeque<(T, usize)>,
    /// Number of the first item that has not been taken, and what was made from it on, with the weight.
    taken: usize,
    made: VecDeque<Option<(R, usize)>>,
    /// That of all items which have not been taken.
    weight: usize,
    end: Option<End>,
    /// Whether somebody waits for something to be taken.
    is_awaited: bool,
}

/// Why nothing more is begun or taken.
enum End {
    /// Taking failed.
    Failed(Error),
    /// Feeding failed, or a thread panicked.
    Abandoned,
}

impl<T, R, M: Fn(T) -> R, F: FnMut(R) -> Result<()>> Line<T, R, M, F> {
    fn push(&self, item: T, weight: usize) {
        let mut state = self.lock();
        state.items.push_back((item, weight));
        state.made.push_back(None);
        state.weight += weight;
    }

    /// Works for the others, and waits when there is nothing to do, until what has not been taken weighs no
    /// more than `most` or is little for each thread.
    fn wait_for_room(&self, most: usize) -> Result<()> {
        let few = ITEMS_PER_THREAD * rayon::current_num_threads();
        loop {
            let is_waiting = |state: &mut State<T, R>| {
                state.end.is_none() && state.weight > most && state.made.len() > few
            };
            if !is_waiting(&mut self.lock()) {
                break;
            }
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                // All of it has been begun.
                let mut state = self.lock();
                state.is_awaited = true;
                let waited = self.has_moved.wait_while(state, is_waiting);
                waited.unwrap_or_else(PoisonError::into_inner).is_awaited = false;
            }
        }
        match self.lock().end {
            None => Ok(()),
            // The caller returns the error itself.
            Some(_) => Err(Error::Internal { detail: "what was made is no longer taken".into() }),
        }
    }

    /// Makes something of the next item, and takes what was waiting for that, unless somebody else does.
    fn work(&self) {
        let guard = EndOnPanic(self);
        let begun = {
            let mut state = self.lock();
            let item = if state.end.is_none() { state.items.pop_front() } else { None };
            item.map(|item| {
                state.begun += 1;
                (state.begun - 1, item)
            })
        };
        if let Some((number, (item, weight))) = begun {
            let made = (self.make)(item);
            let mut state = self.lock();
            let place = number - state.taken;
            state.made[place] = Some((made, weight));
            drop(state);
            self.take_next();
        }
        std::mem::forget(guard);
    }

    /// Takes what comes next for as long as it has been made and nobody else takes.
    fn take_next(&self) {
        // Asked once more after each turn, since whoever came meanwhile has left theirs.
        while self.is_next_made() {
            let Ok(mut take) = self.take.try_lock() else { return };
            while let Some((made, weight)) = self.pop_made() {
                let taken = take(made);
                let mut state = self.lock();
                state.weight -= weight;
                if let Err(error) = taken {
                    state.end = Some(End::Failed(error));
                }
                if state.is_awaited {
                    self.has_moved.notify_all();
                }
            }
        }
    }

    fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.has_moved.notify_all();
    }
}

impl<T, R, M, F> Line<T, R, M, F> {
    fn lock(&self) -> MutexGuard<'_, State<T, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_next_made(&self) -> bool {
        self.lock().is_next_made()
    }

    fn pop_made(&self) -> Option<(R, usize)> {
        let mut state = self.lock();
        if !state.is_next_made() {
            return None;
        }
        state.taken += 1;
        state.made.pop_front().flatten()
    }
}

impl<T, R> State<T, R> {
    fn is_next_made(&self) -> bool {
        self.end.is_none() && matches!(self.made.front(), Some(Some(_)))
    }
}

/// Lets nobody wait for what a thread that panicked would have made.
struct EndOnPanic<'a, T, R, M: Fn(T) -> R, F: FnMut(R) -> Result<()>>(&'a Line<T, R, M, F>);

impl<T, R, M: Fn(T) -> R, F: FnMut(R) -> Result<()>> Drop for EndOnPanic<'_, T, R, M, F> {
    fn drop(&mut self) {
        self.0.end(End::Abandoned);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn on_threads<R: Send>(threads: usize, run: impl FnOnce() -> R + Send) -> R {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
    }

    #[test]
    fn results_come_in_order_whatever_takes_long() {
        for threads in [1, 2, 3, 16] {
            for (count, most) in [(0, 0), (1, 0), (2, 1), (3, 9), (100, 0), (100, 7), (300, 1000)] {
                let mut taken = Vec::new();
                let make = |item: u32| {
                    // Some are slow enough for all others to be done before them.
                    thread::sleep(Duration::from_micros(if item % 16 == 1 { 2000 } else { 1 }));
                    item * 3
                };
                let take = |made| {
                    taken.push(made);
                    Ok(())
                };
                let feed = |push: &mut dyn FnMut(u32, usize) -> Result<()>| {
                    (0..count).try_for_each(|item| push(item, 1))?;
                    Ok("fed")
                };
                let fed = on_threads(threads, || in_order(most, make, take, feed));
                assert_eq!(fed.unwrap(), "fed");
                assert_eq!(taken, (0..count).map(|item| item * 3).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn no_more_is_on_its_way_than_may_be() {
        const MOST: usize = 10;
        const WEIGHT: usize = 3;
        for threads in [2, 16] {
            let (pushed, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let make = |()| {};
            let take = |()| {
                thread::sleep(Duration::from_micros(50));
                taken.fetch_add(WEIGHT, Ordering::SeqCst);
                Ok(())
            };
            let feed = |push: &mut dyn FnMut((), usize) -> Result<()>| {
                for _ in 0..200 {
                    push((), WEIGHT)?;
                    let pushed = pushed.fetch_add(WEIGHT, Ordering::SeqCst) + WEIGHT;
                    let most = MOST.max(ITEMS_PER_THREAD * threads * WEIGHT);
                    // Beside those that wait, one is being taken and one has just been let in.
                    assert!(pushed - taken.load(Ordering::SeqCst) <= most + 2 * WEIGHT);
                }
                Ok(())
            };
            on_threads(threads, || in_order(MOST, make, take, feed)).unwrap();
            assert_eq!(taken.into_inner(), 200 * WEIGHT);
        }
    }

    #[test]
    fn an_error_of_who_takes_ends_it() {
        for threads in [1, 2, 16] {
            let (made, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
            let mut taken = 0;
            let make = |item: usize| {
                while item > 100 && !has_failed.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
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
            let feed = |push: &mut dyn FnMut(usize, usize) -> Result<()>| {
                // Ends because taking fails, or never.
                (0..).try_for_each(|item| push(item, 1))
            };
            let error = on_threads(threads, || in_order(200, make, take, feed)).unwrap_err();
            assert!(matches!(error, Error::Internal { detail } if detail == "no more"));
            assert_eq!(taken, 5);
            assert!(made.into_inner() >= 5);
        }
    }

    #[test]
    fn an_error_of_who_feeds_ends_it() {
        for threads in [1, 2, 16] {
            let feed = |push: &mut dyn FnMut(u32, usize) -> Result<()>| {
                (0..10).try_for_each(|item| push(item, 1))?;
                Err::<(), _>(Error::Internal { detail: "nothing left".into() })
            };
            let error = on_threads(threads, || in_order(100, |item| item, |_| Ok(()), feed));
            let error = error.unwrap_err();
            assert!(matches!(error, Error::Internal { detail } if detail == "nothing left"));
        }
    }

    #[test]
    fn a_panic_comes_through() {
        for threads in [1, 2, 16] {
            let make = |item: u32| assert!(item != 7, "no good");
            let feed = |push: &mut dyn FnMut(u32, usize) -> Result<()>| {
                // Waits for those that will never be taken.
                (0..100).try_for_each(|item| push(item, 1))
            };
            let run = || on_threads(threads, || in_order(2, make, |()| Ok(()), feed));
            let panic = std::panic::catch_unwind(run).unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"no good"));
        }
    }
}
