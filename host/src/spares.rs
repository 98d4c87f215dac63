//! Things that are expensive to make, kept for the next thread that needs one.

use std::sync::{Mutex, PoisonError};

/// Buffers (or whatever `T` is) that no thread is using at the moment. There are never more of them
/// than threads have used at the same time.
#[derive(Debug)]
pub(crate) struct Spares<T>(Mutex<Vec<T>>);

impl<T> Default for Spares<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> Spares<T> {
    /// Runs `run` with a spare, or with a new one where all are in use.
    pub(crate) fn lend<R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
        let mut one = self.take();
        let result = run(&mut one);
        self.give_back(one);
        result
    }

    /// A spare, or a new one.
    pub(crate) fn take(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keeps `one` for others.
    pub(crate) fn give_back(&self, one: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_lent_again() {
        let spares = Spares::<Vec<u8>>::default();
        spares.lend(|buffer| buffer.push(1));
        let outer = spares.lend(|first| {
            assert_eq!(*first, [1]);
            spares.lend(|second| assert!(second.is_empty()));
            first.len()
        });
        assert_eq!(outer, 1);
        assert_eq!(spares.0.lock().unwrap().len(), 2);
    }
}
