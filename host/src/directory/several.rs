//! Several files of a directory at a time.
//!
//! One thread computes a file's SHA-256, at 1 to 2 GB/s, and with many threads everything else waits for
//! it. So where there are enough of them several files are under way, each with such a thread.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::error::{Error, Result};

/// Threads that keep up with the SHA-256 of one file.
const THREADS_PER_FILE: usize = 4;
/// Files at a time, at most: each has buffers of its own.
const MOST_FILES: usize = 4;

/// Does `work` for every file, and returns what it returned in the order of `files`; of several errors
/// the one of the first file. After an error no more files are begun.
pub(super) fn for_each_file<F: Sync, R: Send>(
    files: &[F],
    work: impl Fn(&F) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    // Threads of our own would leave a pool that the caller has chosen.
    let is_in_pool = rayon::current_thread_index().is_some();
    let most = rayon::current_num_threads() / THREADS_PER_FILE;
    let at_a_time = if is_in_pool { 1 } else { most.clamp(1, MOST_FILES).min(files.len()) };
    for_each_of(files, at_a_time, work)
}

fn for_each_of<F: Sync, R: Send>(
    files: &[F],
    at_a_time: usize,
    work: impl Fn(&F) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    if at_a_time <= 1 {
        return files.iter().map(work).collect();
    }
    let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let take_files = || {
        let mut done = Vec::new();
        while !has_failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(number) else { break };
            let result = work(file);
            has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((number, result));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let threads: Vec<_> = (0..at_a_time).map(|_| scope.spawn(take_files)).collect();
        let mut done = Vec::with_capacity(files.len());
        for thread in threads {
            let panicked = |_| Error::Internal {
                detail: "a thread that works on the files of a directory panicked".into(),
            };
            done.extend(thread.join().map_err(panicked)?);
        }
        Ok(done)
    })?;
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_files_however_many_are_under_way() {
        let files: Vec<usize> = (0..23).collect();
        for at_a_time in [1, 2, 4, 23] {
            let doubled = for_each_of(&files, at_a_time, |file| Ok(2 * file)).unwrap();
            assert!(doubled.into_iter().eq((0..23).map(|file| 2 * file)), "{at_a_time}");
        }
        assert!(for_each_of(&[] as &[usize], 4, |file| Ok(*file)).unwrap().is_empty());
    }

    #[test]
    fn so_many_files_are_under_way_at_once() {
        // Nobody passes before all three are here.
        let barrier = Barrier::new(3);
        let pass = |_: &()| {
            barrier.wait();
            Ok(())
        };
        assert_eq!(for_each_of(&[(); 3], 3, pass).unwrap().len(), 3);
    }

    #[test]
    fn the_first_files_error_is_reported_and_ends_the_work() {
        let begun = AtomicUsize::new(0);
        let both = Barrier::new(2);
        let files: Vec<usize> = (0..1000).collect();
        let error = for_each_of(&files, 2, |&file| -> Result<()> {
            begun.fetch_add(1, Ordering::Relaxed);
            // Both of them fail, the second file's thread first or not.
            if file < 2 {
                both.wait();
            }
            Err(Error::Internal { detail: format!("file {file}") })
        });
        let message = error.unwrap_err().to_string();
        assert!(message.contains("file 0"), "{message}");
        assert!(begun.load(Ordering::Relaxed) <= 4, "{begun:?}");
    }
}
