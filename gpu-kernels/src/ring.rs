//! Staging of a block's words and raw planes through a warp's shared memory.
//!
//! What a warp needs next is on its way while it decodes: asynchronous copies of 256 bytes fill two
//! rings, one with words and one with the raw planes. Every four steps the warp issues what there
//! is room for, 16 lanes for each ring, and waits for all but the newest two groups of copies.
//!
//! Why that suffices: four steps take at most 128 words, one slot. A slot is refilled as soon as
//! it is used up, when two more lie before the first need of it, so that at least
//! `WORD_SLOTS - 2` issues of copies come in between; raw planes are issued two units ahead.

use codec::device::staging::{RAW_SLOTS, SLOT_BYTES as SLOT, WORD_SLOTS};
use cuda_std::async_copy;
use cuda_std::shared::SharedAddress;
use cuda_std::warp;

use crate::grid::ALL_LANES;

/// Units of raw planes that are issued before they are needed.
const RAW_AHEAD: u32 = 2;
/// Groups of copies that may still be under way when decoding goes on.
const PENDING: u32 = 2;
/// Lanes that copy for one ring, 16 bytes each.
const HALF_WARP: u32 = 16;

const _: () = assert!(PENDING <= WORD_SLOTS - 2 && RAW_AHEAD < RAW_SLOTS);

/// A part of a block in device memory.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    /// First byte; a multiple of 16.
    pub(crate) start: *const u8,
    /// Bytes.
    pub(crate) length: u32,
}

/// The rings of a warp, for a block with `RAW` staged planes.
pub(crate) struct Rings<const RAW: usize> {
    words_at: SharedAddress,
    raw_at: SharedAddress,
    words: Source,
    raw: [Source; RAW],
    /// Slots of words issued.
    issued: u32,
    /// Bytes of words taken.
    taken: u32,
}

impl<const RAW: usize> Rings<RAW> {
    /// Starts the copies of a block and waits for its first slots.
    ///
    /// # Safety
    ///
    /// The sources are readable, `at` is a
    /// multiple of the words' ring with [`codec::device::staging::bytes_per_warp`] of shared
    /// memory, and all lanes call this together.
    #[inline(always)]
    pub(crate) unsafe fn open(at: SharedAddress, words: Source, raw: [Source; RAW]) -> Self {
        let raw_at = at.offset(SLOT * WORD_SLOTS);
        let mut rings = Self { words_at: at, raw_at, words, raw, issued: 0, taken: 0 };
        // Lanes may still read what the block before left in the rings, and of a damaged block, which
        // can end early, copies may still be on their way there.
        async_copy::wait::<0>();
        warp::sync_warp(ALL_LANES);
        // SAFETY: the caller's promise.
        unsafe {
            rings.issue(Some(0));
            rings.issue(Some(1));
            rings.issue(None);
            rings.issue(None);
        }
        async_copy::commit();
        async_copy::wait::<0>();
        warp::sync_warp(ALL_LANES);
        rings
    }

    /// Goes on by four steps: issues copies, and waits for what those steps need. `unit` is the
    /// unit of raw planes that begins, if one does.
    ///
    /// # Safety
    ///
    /// As for [`Rings::open`].
    #[inline(always)]
    pub(crate) unsafe fn advance(&mut self, unit: Option<u32>) {
        warp::sync_warp(ALL_LANES);
        // SAFETY: the caller's promise.
        unsafe { self.issue(unit.map(|unit| unit + RAW_AHEAD)) };
        async_copy::commit();
        async_copy::wait::<{ PENDING }>();
        warp::sync_warp(ALL_LANES);
    }

    /// Issues the next slot of words, if there is room for it, and a unit of raw planes.
    #[inline(always)]
    unsafe fn issue(&mut self, unit: Option<u32>) {
        let lane = warp::lane_id();
        let in_slot = (lane % HALF_WARP) * 16;
        let free = self.issued - self.taken / SLOT < WORD_SLOTS;
        if lane >= HALF_WARP {
            if free {
                let slot = self.words_at.offset(self.issued % WORD_SLOTS * SLOT + in_slot);
                // SAFETY: the caller's promise.
                unsafe { copy(self.words, self.issued * SLOT + in_slot, slot) };
            }
        } else if let Some(unit) = unit {
            let mut plane = 0;
            while plane < RAW {
                let slot = unit % RAW_SLOTS * (SLOT * RAW as u32) + plane as u32 * SLOT;
                let target = self.raw_at.offset(slot + in_slot);
                // SAFETY: the caller's promise.
                unsafe { copy(self.raw[plane], unit * SLOT + in_slot, target) };
                plane += 1;
            }
        }
        self.issued += free as u32;
    }

    /// The word `ahead` words after those taken.
    ///
    /// # Safety
    ///
    /// [`Rings::advance`] was called for the four steps that this word belongs to.
    #[inline(always)]
    pub(crate) unsafe fn word(&self, ahead: u32) -> u16 {
        // The ring begins at a multiple of its size, so that or-ing is adding.
        let at = ((self.taken + 2 * ahead) % (SLOT * WORD_SLOTS)) | self.words_at.0;
        // SAFETY: within the ring.
        unsafe { SharedAddress(at).load_u16() }
    }

    /// Counts `words` more as taken.
    #[inline(always)]
    pub(crate) fn take(&mut self, words: u32) {
        self.taken += 2 * words;
    }

    /// Words taken.
    #[inline(always)]
    pub(crate) fn words_taken(&self) -> u32 {
        self.taken / 2
    }

    /// Where a unit of a raw plane lies.
    #[inline(always)]
    pub(crate) fn raw(&self, unit: u32, plane: u32) -> SharedAddress {
        self.raw_at.offset(unit % RAW_SLOTS * (SLOT * RAW as u32) + plane * SLOT)
    }
}

/// Copies 16 bytes of `source`, or zeros where it has ended.
#[inline(always)]
unsafe fn copy(source: Source, offset: u32, target: SharedAddress) {
    // What follows the source is not copied: bytes that states carry are added to zeros.
    let left = source.length.saturating_sub(offset);
    let from = if left > 0 { offset } else { 0 };
    // SAFETY: `from + left` is at most the length, and no more than `left` bytes are read.
    unsafe {
        async_copy::copy_16_partial(target, source.start.add(from as usize), left.min(16));
    }
}
