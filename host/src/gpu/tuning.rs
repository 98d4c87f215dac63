//! The sizes that loading works with, and a way to try others without building anew.

use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::load::{LoadOptions, PAGE_BYTES};

/// Names other sizes, for measurements: `NAME=NUMBER` with commas between them.
const VARIABLE: &str = "WCODEC_LOAD_SIZES";

/// Sizes of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tuning {
    /// Pinned memory of a piece (`piece`, in KiB): it holds any chunk that a writer makes, with the
    /// rest of its first and last page. A processor's core has a thread's pieces in its own cache or
    /// nearly so, which is what reading is fast with: bytes go to memory once less.
    pub(super) piece_bytes: usize,
    /// Pieces of a thread (`pieces`): one to fill while others are on their way.
    pub(super) pieces: usize,
    /// Bytes that are read before they are compared (`step`, in KiB): little enough to be in the core's
    /// second-level cache then, of which two threads may have one half each.
    pub(super) step_bytes: usize,
    /// Payload and base of a batch at most (`batch`, in KiB).
    pub(super) batch_bytes: usize,
    /// The same, where there is so little that all threads would not have some (`least`, in KiB).
    pub(super) least_batch_bytes: usize,
    /// Batches that each thread gets of little (`share`), so that none has much more to do than another.
    pub(super) batches_per_thread: usize,
    /// Batches for each thread at the end that are cut into smaller ones (`last`).
    pub(super) last_batches: usize,
    /// Whether the device says when it decoded (`times`, 1 or 0): two more calls of the driver for each
    /// batch, and two more when it is done.
    pub(super) with_times: bool,
}

const DEFAULT: Tuning = Tuning {
    piece_bytes: 3 << 19,
    pieces: 3,
    step_bytes: 256 << 10,
    batch_bytes: 7 << 20,
    // A chunk and its base have to fit.
    least_batch_bytes: 5 << 19,
    batches_per_thread: 3,
    last_batches: 1,
    with_times: true,
};

impl Tuning {
    /// The sizes in use, the same as long as the process runs.
    ///
    /// # Errors
    ///
    /// When the environment variable asks for what there isn't or what loading does not work with.
    pub(super) fn get() -> Result<&'static Self> {
        static TUNING: OnceLock<Result<Tuning, String>> = OnceLock::new();
        let tuning = TUNING.get_or_init(|| match std::env::var(VARIABLE) {
            Ok(text) => DEFAULT.with(&text),
            Err(_) => Ok(DEFAULT),
        });
        tuning.as_ref().map_err(|detail| Error::InvalidArgument {
            what: format!("the environment variable {VARIABLE}"),
            detail: detail.clone(),
        })
    }

    /// These sizes with others in their places.
    fn with(mut self, text: &str) -> Result<Self, String> {
        for setting in text.split(',').filter(|setting| !setting.is_empty()) {
            let parsed = setting.split_once('=');
            let parsed = parsed.and_then(|(name, number)| Some((name, number.parse().ok()?)));
            let Some((name, number)): Option<(&str, usize)> = parsed else {
                return Err(format!("{setting:?} is no NAME=NUMBER"));
            };
            if name == "times" && number <= 1 {
                self.with_times = number == 1;
                continue;
            }
            let (place, unit, least, most) = match name {
                // The largest workspace is one of the least pinned memory that a load may have.
                "piece" => (&mut self.piece_bytes, 1 << 10, 1536, 4096),
                "pieces" => (&mut self.pieces, 1, 2, 5),
                "step" => (&mut self.step_bytes, 1 << 10, 16, 1 << 20),
                "batch" => (&mut self.batch_bytes, 1 << 10, 1536, 7168),
                "least" => (&mut self.least_batch_bytes, 1 << 10, 256, 7168),
                "share" => (&mut self.batches_per_thread, 1, 1, 100),
                "last" => (&mut self.last_batches, 1, 0, 100),
                _ => return Err(format!("there is no size called {name:?}")),
            };
            if !(least..=most).contains(&number) {
                return Err(format!("{setting:?} is not between {least} and {most}"));
            }
            *place = number * unit;
        }
        self.piece_bytes = self.piece_bytes.next_multiple_of(PAGE_BYTES);
        self.least_batch_bytes = self.least_batch_bytes.min(self.batch_bytes);
        // Beside the pieces, a workspace has a few pages for status words.
        if self.piece_bytes * self.pieces > LoadOptions::MIN_PINNED_BYTES - 16 * PAGE_BYTES {
            return Err("a thread's pieces are more than the least pinned memory".into());
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_impossible_ones_refused() {
        assert_eq!(DEFAULT.with(""), Ok(DEFAULT));
        let tuned = DEFAULT.with("pieces=2,step=64,batch=3072,share=5,times=0").unwrap();
        let expected = Tuning {
            pieces: 2,
            step_bytes: 64 << 10,
            batch_bytes: 3 << 20,
            batches_per_thread: 5,
            with_times: false,
            ..DEFAULT
        };
        assert_eq!(tuned, expected);
        assert_eq!(DEFAULT.with("batch=1536").unwrap().least_batch_bytes, 3 << 19);
        let wrong = [
            "pieces",
            "pieces=x",
            "pieces=1",
            "lanes=2",
            "piece=4096,pieces=3",
            "step=-1",
            "times=2",
        ];
        for wrong in wrong {
            assert!(DEFAULT.with(wrong).is_err(), "{wrong}");
        }
    }
}
