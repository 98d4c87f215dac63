//! The words of a stream as the lanes of a warp take them, through a ring in shared memory.
//!
//! The unsafe functions here share the promise of [`super`].

use cuda_std::warp;

use crate::grid::{ALL_LANES, SharedLayout};
use crate::ring::{Rings, Source};

/// A ring without raw planes, for intervals of four.
type Ring = Rings<0, 4>;

/// The words of a stream in the order in which the lanes take them.
pub(super) struct Words {
    ring: Ring,
    /// How often lanes have been asked to take words since the ring was advanced.
    takes: u32,
}

impl Words {
    /// Starts to copy those at `source`, which is what is left of the block; [`Words::wait`] waits.
    pub(super) unsafe fn start(source: Source, shared: SharedLayout) -> Self {
        // SAFETY: the caller's promise.
        Self { ring: unsafe { Ring::start(shared, source, []) }, takes: 0 }
    }

    /// Waits for what has been started.
    pub(super) fn wait(&self) {
        self.ring.wait();
    }

    /// The next words for the lanes that need one, in the order of the lanes; of no meaning to the others,
    /// and behind the words' end. All lanes call this together.
    #[inline(always)]
    pub(super) unsafe fn take(&mut self, needs: bool) -> u16 {
        if self.takes == Ring::INTERVAL {
            // SAFETY: the caller's promise.
            unsafe { self.ring.advance(0) };
            self.takes = 0;
        }
        self.takes += 1;
        let takers = warp::warp_vote_ballot(ALL_LANES, needs);
        let word = if needs {
            // SAFETY: the ring was advanced for this; no more lanes come before than take words.
            unsafe { self.ring.word((takers & warp::lane_mask_lt()).count_ones()) }
        } else {
            0
        };
        self.ring.take(takers.count_ones());
        word
    }

    /// How many have been taken.
    pub(super) fn taken(&self) -> u32 {
        self.ring.words_taken()
    }
}
