//! Staging of a block's words and raw planes through a warp's shared memory.
//!
//! What a warp needs next is on its way while it decodes: asynchronous copies of 16 bytes a lane fill
//! rings, one with words and one for each raw plane. Once in an interval of four or eight steps the
//! warp issues what there is room for, and waits for all but the newest two groups of copies.
//!
//! Why that suffices. An interval takes at most a quarter of the ring of words, and a lane issues its
//! next 16 bytes once the 256 bytes that they belong to fit. So behind an issue, all words are under
//! way but for the last 256 bytes of the ring. What an interval needs has then been issued at least
//! two intervals before, since these two and it take three quarters of the ring. Raw planes are
//! issued three units ahead of their use.

use codec::device::staging::{GRANULE_BYTES, RAW_RING_BYTES, interval, word_ring_bytes};
use cuda_std::bits::{add_if, multiply_add};
use cuda_std::shared::SharedAddress;
use cuda_std::{async_copy, warp};

use crate::grid::{ALL_LANES, SharedLayout};

/// Units of raw planes that are issued before they are needed.
const RAW_AHEAD: u32 = 3;
/// Groups of copies that may still be under way when decoding goes on.
const PENDING: u32 = 2;
/// Lanes that copy 256 bytes, 16 bytes each.
const HALF_WARP: u32 = 16;

const _: () = {
    assert!(HALF_WARP * 16 == GRANULE_BYTES);
    assert!(PENDING <= RAW_AHEAD && (RAW_AHEAD + 1) * GRANULE_BYTES <= RAW_RING_BYTES);
    // What the steps of `PENDING` intervals and of one more take, and the granule that may be missing.
    let short = word_ring_bytes(4);
    assert!((PENDING + 1) * (short / 4) + GRANULE_BYTES <= short);
    let long = word_ring_bytes(8);
    assert!((PENDING + 1) * (long / 4) + GRANULE_BYTES <= long);
};

/// A part of a block in device memory.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    /// First byte; a multiple of 16.
    pub(crate) start: *const u8,
    /// Bytes. What follows them up to a multiple of 16 is readable too.
    pub(crate) length: u32,
}

/// What a lane copies into one ring: 16 bytes at a time, others of which other lanes copy the rest.
#[derive(Clone, Copy)]
struct Feed {
    source: Source,
    ring: SharedAddress,
    /// Where in the source the lane's next 16 bytes are.
    next: u32,
    /// How far ahead of what has been used up they may be.
    ahead: u32,
}

impl Feed {
    /// A feed that never copies.
    const NONE: Self = Self {
        source: Source { start: core::ptr::null(), length: 0 },
        ring: SharedAddress(0),
        next: u32::MAX,
        ahead: 0,
    };

    /// Lane `lane` of those that feed a ring which holds `ahead` bytes beyond those used up.
    #[inline(always)]
    fn new(source: Source, ring: SharedAddress, lane: u32, ahead: u32) -> Self {
        let next = lane * 16;
        Self { source, ring, next, ahead: ahead - GRANULE_BYTES + next % GRANULE_BYTES }
    }

    /// Issues the lane's next 16 bytes, if there is room for them in a ring of `ring_bytes`; goes on
    /// by `stride` then.
    #[inline(always)]
    unsafe fn issue(&mut self, used: u32, ring_bytes: u32, stride: u32) {
        let fits = self.next.wrapping_sub(used) <= self.ahead;
        // SAFETY: the caller's promise.
        unsafe { self.copy_if(fits, ring_bytes) };
        self.next = add_if(fits, self.next, stride);
    }

    /// The same where there is room.
    #[inline(always)]
    unsafe fn issue_fitting(&mut self, ring_bytes: u32, stride: u32) {
        // SAFETY: the caller's promise.
        unsafe { self.copy_if(true, ring_bytes) };
        self.next = self.next.wrapping_add(stride);
    }

    /// Issues the lane's next 16 bytes where there is room for them and the source has them.
    #[inline(always)]
    unsafe fn copy_if(&self, fits: bool, ring_bytes: u32) {
        // The ring begins at a multiple of its size, so that or-ing is adding.
        let target = SharedAddress(self.ring.0 | (self.next % ring_bytes));
        let from = self.source.start.wrapping_add(self.next as usize);
        // SAFETY: where it is done, within the source, whose last 16 bytes are readable, and the ring.
        unsafe { async_copy::copy_16_if(fits & (self.next < self.source.length), target, from) };
    }
}

/// The rings of a warp, for a block with `RAW` staged planes, whose runs have `RUN` symbols.
pub(crate) struct Rings<const RAW: usize, const RUN: u32> {
    words: SharedAddress,
    raw: SharedAddress,
    feeds: [Feed; 2],
    /// Whether the lane's part of a feed that two rings share is the words'.
    feeds_words: bool,
    /// Bytes of words taken.
    taken: u32,
}

impl<const RAW: usize, const RUN: u32> Rings<RAW, RUN> {
    /// Steps between two calls of [`Rings::advance`].
    pub(crate) const INTERVAL: u32 = interval(RUN);
    const WORD_BYTES: u32 = word_ring_bytes(Self::INTERVAL);
    /// Whether all lanes copy words, so that raw planes have a feed of their own; otherwise the two
    /// halves of the warp feed different rings.
    const WHOLE_WARP: bool = Self::WORD_BYTES / 4 == 2 * GRANULE_BYTES;

    /// Starts the copies of a block; [`Rings::wait`] waits for them.
    ///
    /// # Safety
    ///
    /// The sources are readable, `shared` is that of a kernel with these rings, and all lanes call
    /// this together.
    #[inline(always)]
    pub(crate) unsafe fn start(shared: SharedLayout, words: Source, raw: [Source; RAW]) -> Self {
        let lane = warp::lane_id();
        let mut rings = Self {
            words: shared.words,
            raw: shared.raw,
            feeds: [Feed::NONE; 2],
            feeds_words: lane >= HALF_WARP,
            taken: 0,
        };
        rings.feeds = rings.feeds_of(lane, words, raw);
        // Lanes may still read what the block before left in the rings, and of a damaged block, which
        // can end early, copies may still be on their way there.
        async_copy::wait::<0>();
        warp::sync_warp(ALL_LANES);
        // SAFETY: the caller's promise.
        unsafe {
            rings.issue(0);
            rings.issue(0);
            rings.issue(0);
            // Raw planes with feeds of their own go on when the first unit begins.
            rings.issue_words(0);
        }
        async_copy::commit();
        rings
    }

    /// Waits for all copies that have been started.
    #[inline(always)]
    pub(crate) fn wait(&self) {
        async_copy::wait::<0>();
        warp::sync_warp(ALL_LANES);
    }

    /// Puts two bytes into the place of bytes `at` and `at + 1` of raw plane 0, `at` being even.
    ///
    /// # Safety
    ///
    /// They belong to the last unit, whose copies have been waited for; all lanes call this together,
    /// each for bytes of its own.
    #[inline(always)]
    pub(crate) unsafe fn replace_raw(&self, at: u32, bytes: u16) {
        // SAFETY: within the ring of plane 0.
        unsafe { self.raw.offset(at % RAW_RING_BYTES).store_u16(bytes) };
    }

    #[inline(always)]
    fn feeds_of(&self, lane: u32, words: Source, raw: [Source; RAW]) -> [Feed; 2] {
        let in_half = lane % HALF_WARP;
        let words_by = |lane: u32| Feed::new(words, self.words, lane, Self::WORD_BYTES);
        let raw_by = |plane: usize| {
            let ring = self.raw.offset(plane as u32 * RAW_RING_BYTES);
            Feed::new(raw[plane], ring, in_half, (RAW_AHEAD + 1) * GRANULE_BYTES)
        };
        let upper = lane >= HALF_WARP;
        match (Self::WHOLE_WARP, RAW) {
            (true, 0) => [words_by(lane), Feed::NONE],
            (true, _) => [words_by(lane), if upper { Feed::NONE } else { raw_by(0) }],
            (false, 0) => [if upper { words_by(in_half) } else { Feed::NONE }, Feed::NONE],
            (false, 1) => [if upper { words_by(in_half) } else { raw_by(0) }, Feed::NONE],
            (false, _) => [
                if upper { raw_by(1) } else { raw_by(0) },
                if upper { words_by(in_half) } else { raw_by(2) },
            ],
        }
    }

    /// Goes on by an interval: issues copies, and waits for what its steps need, which begin unit
    /// `unit` of the raw planes, or lie in it.
    ///
    /// # Safety
    ///
    /// As for [`Rings::start`].
    #[inline(always)]
    pub(crate) unsafe fn advance(&mut self, unit: u32) {
        warp::sync_warp(ALL_LANES);
        // SAFETY: the caller's promise.
        unsafe { self.issue(unit * GRANULE_BYTES) };
        async_copy::commit();
        async_copy::wait::<{ PENDING }>();
        warp::sync_warp(ALL_LANES);
    }

    /// Issues what there is room for, with so many bytes of each raw plane used up, which are those
    /// before a unit.
    #[inline(always)]
    unsafe fn issue(&mut self, raw_used: u32) {
        // SAFETY: the caller's promise.
        unsafe {
            self.issue_words(raw_used);
            // A unit more has been used up than when this was called last, so that there is room.
            let [first, second] = &mut self.feeds;
            match (Self::WHOLE_WARP, RAW) {
                (true, 0) | (false, 0 | 1) => {}
                (true, _) => second.issue_fitting(RAW_RING_BYTES, GRANULE_BYTES),
                (false, _) => first.issue_fitting(RAW_RING_BYTES, GRANULE_BYTES),
            }
        }
    }

    /// The same for words, and raw planes whose feed is theirs too.
    #[inline(always)]
    unsafe fn issue_words(&mut self, raw_used: u32) {
        let taken = self.taken;
        let either = if self.feeds_words { taken } else { raw_used };
        let [first, second] = &mut self.feeds;
        // SAFETY: the caller's promise.
        unsafe {
            match (Self::WHOLE_WARP, RAW) {
                (true, _) => first.issue(taken, Self::WORD_BYTES, 2 * GRANULE_BYTES),
                (false, 0 | 1) => first.issue(either, RAW_RING_BYTES, GRANULE_BYTES),
                (false, _) => second.issue(either, RAW_RING_BYTES, GRANULE_BYTES),
            }
        }
    }

    /// The word `ahead` words after those taken.
    ///
    /// # Safety
    ///
    /// [`Rings::advance`] was called for the interval that this word belongs to.
    #[inline(always)]
    pub(crate) unsafe fn word(&self, ahead: u32) -> u16 {
        // The ring begins at a multiple of its size, so that or-ing is adding.
        let at = (multiply_add(ahead, 2, self.taken) % Self::WORD_BYTES) | self.words.0;
        // SAFETY: within the ring.
        unsafe { SharedAddress(at).load_u16() }
    }

    /// Counts `words` more as taken.
    #[inline(always)]
    pub(crate) fn take(&mut self, words: u32) {
        self.taken = multiply_add(words, 2, self.taken);
    }

    /// Words taken.
    #[inline(always)]
    pub(crate) fn words_taken(&self) -> u32 {
        self.taken / 2
    }

    /// Where a unit of a raw plane lies. Behind the plane's end there is anything.
    #[inline(always)]
    pub(crate) fn raw(&self, unit: u32, plane: u32) -> SharedAddress {
        self.raw.offset(plane * RAW_RING_BYTES + unit * GRANULE_BYTES % RAW_RING_BYTES)
    }
}
