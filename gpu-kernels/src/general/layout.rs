//! Where the parts of a block are: `docs/FORMAT.md`, section 4.
//!
//! The unsafe functions here share the promise of [`super`].

use codec::constants::{BLOCK_ALIGNMENT, LANES};
use codec::device::plane_kind;
use cuda_std::{global, warp};

use super::{Block, has_nibbles, has_stream};
use crate::grid::ALL_LANES;
use crate::parts::aligned;

/// Bytes that no block has: so sums of what a footer says stay below 2^31.
const TOO_LONG: u32 = 1 << 28;
/// Bytes of a stream's counts in the footer.
const COUNTS_BYTES: u32 = 8;

/// The planes of a block, each in the lane of its number.
pub(super) struct Layout {
    /// Where the plane's parts begin, in bytes from the block's start.
    at: u32,
    words: u32,
    escapes: u32,
}

/// A plane's stream; offsets in bytes from the block's start.
pub(super) struct Stream {
    pub(super) raw_at: u32,
    pub(super) states_at: u32,
    pub(super) words_at: u32,
    pub(super) words: u32,
    pub(super) escapes_at: u32,
    pub(super) escapes: u32,
}

impl Stream {
    /// Where its last part ends.
    fn end(&self) -> u32 {
        self.escapes_at + 4 * self.escapes
    }
}

impl Layout {
    /// Where a raw plane begins.
    pub(super) fn raw_at(&self, plane: u32) -> u32 {
        warp::warp_shuffle_idx(ALL_LANES, self.at, plane)
    }
}

impl<const WIDTH: u32> Block<'_, WIDTH> {
    /// The kind of a plane.
    pub(super) fn kind(&self, plane: u32) -> u8 {
        self.specs.kinds[plane as usize]
    }

    /// Reads the footer; `None` when the parts do not fill the block exactly.
    pub(super) unsafe fn layout(&self) -> Option<Layout> {
        let plane = warp::lane_id();
        let kind = if plane < WIDTH { self.kind(plane) } else { plane_kind::IN_HEADS };
        let streams = warp::warp_vote_ballot(ALL_LANES, has_stream(kind));
        let (length, footer_bytes) = (self.task.block_bytes, COUNTS_BYTES * streams.count_ones());
        if length < footer_bytes
            || length > TOO_LONG
            || !length.is_multiple_of(BLOCK_ALIGNMENT as u32)
        {
            return None;
        }
        let (mut words, mut escapes) = (0, 0);
        if has_stream(kind) {
            let before = (streams & warp::lane_mask_lt()).count_ones();
            let counts = self.part(length - footer_bytes + COUNTS_BYTES * before).cast::<u32>();
            // SAFETY: the block is long enough for its footer.
            (words, escapes) =
                unsafe { (global::load_u32(counts), global::load_u32(counts.add(1))) };
        }
        let bad = words > length || escapes > length || kind != plane_kind::PAIRS && escapes > 0;
        let bytes = match kind {
            _ if bad => TOO_LONG,
            plane_kind::RAW => aligned(self.raw_length(plane)),
            _ if has_stream(kind) => self.stream(kind, 0, (words, escapes)).end().min(TOO_LONG),
            _ => 0,
        };
        let stored = warp::warp_vote_ballot(ALL_LANES, kind == plane_kind::RAW || has_stream(kind));
        let (mut layout, mut end, mut number) = (Layout { at: 0, words, escapes }, 0, 0);
        while number < WIDTH {
            let start = aligned(end);
            if plane == number {
                layout.at = start;
            }
            let bytes = warp::warp_shuffle_idx(ALL_LANES, bytes, number);
            if stored >> number & 1 != 0 {
                end = (start + bytes).min(TOO_LONG);
            }
            number += 1;
        }
        (aligned(end + footer_bytes) == length).then_some(layout)
    }

    /// The stream of a plane that has one.
    pub(super) fn stream_of(&self, plane: u32, layout: &Layout) -> Stream {
        let of_plane = |value: u32| warp::warp_shuffle_idx(ALL_LANES, value, plane);
        let counts = (of_plane(layout.words), of_plane(layout.escapes));
        self.stream(self.kind(plane), of_plane(layout.at), counts)
    }

    /// The stream of a plane of this kind that begins at `raw_at`, with so many words and escapes.
    fn stream(&self, kind: u8, raw_at: u32, (words, escapes): (u32, u32)) -> Stream {
        let raw = match has_nibbles(kind) {
            true => self.task.elements.div_ceil(2) - self.carried(),
            false => 0,
        };
        let states_at = aligned(raw_at + raw);
        let words_at = states_at + self.specs.states_per_lane * (LANES * 4) as u32;
        let escapes_at = (words_at + 2 * words).next_multiple_of(4);
        Stream { raw_at, states_at, words_at, words, escapes_at, escapes }
    }

    /// Stored bytes of a raw plane.
    pub(super) fn raw_length(&self, plane: u32) -> u32 {
        self.task.elements - if plane == 0 { self.carried_raw() } else { 0 }
    }

    /// Bytes of plane 0, where it is raw, that the states of the last plane's stream carry.
    fn carried_raw(&self) -> u32 {
        if has_nibbles(self.kind(WIDTH - 1)) { 0 } else { self.carried() }
    }

    /// Bytes of plane 0, or of raw nibbles, that the states of the last plane's stream carry.
    pub(super) fn carried(&self) -> u32 {
        let (first, last) = (self.kind(0), self.kind(WIDTH - 1));
        let raw_bytes = if has_nibbles(last) {
            self.task.elements.div_ceil(2)
        } else if first == plane_kind::RAW && has_stream(last) {
            self.task.elements
        } else {
            0
        };
        let room = self.specs.states_per_lane * (LANES * 2) as u32;
        if raw_bytes >= room { room } else { 0 }
    }
}
