//! The parts of a block with a single stream: where they begin, what its footer says of them, and of
//! any block what their borders mean.

use codec::constants::{BLOCK_ALIGNMENT, LANES};
use codec::device::staging::GRANULE_BYTES;
use codec::device::{BlockTask, plane_kind};
use cuda_std::global;

use crate::escapes::Escapes;
use crate::ring::Source;

/// Where the parts of a block begin. None of it depends on the block's bytes, so that its copies can
/// be under way before its footer has been read.
pub(crate) struct Places {
    raw_start: *const u8,
    /// Bytes of each raw plane that are stored; plane 0 is `carried` shorter than the others.
    pub(crate) raw_length: u32,
    /// Bytes of plane 0 that the states carry.
    pub(crate) carried: u32,
    pub(crate) states: *const u32,
    /// The words, and whatever follows them in the block.
    pub(crate) words: Source,
}

/// What a block's footer counts, checked against its length.
pub(crate) struct Counts {
    pub(crate) words: u32,
    pub(crate) escapes: Escapes,
}

/// Where the next part begins at the earliest.
pub(crate) const fn aligned(bytes: u32) -> u32 {
    bytes.next_multiple_of(BLOCK_ALIGNMENT as u32)
}

/// The lowest `count` bytes of a word, the others zeros: what lies beyond a part is not its own.
pub(crate) fn first_bytes(word: u32, count: u32) -> u32 {
    if count >= 4 { word } else { word & !(u32::MAX << (8 * count)) }
}

/// Bytes of the footer of a block with one stream.
const FOOTER: u32 = 8;

impl Places {
    /// The layout of `docs/FORMAT.md`, section 4, for a block with one stream; `None` when the block
    /// is too short for it or no block can be as long.
    #[inline(always)]
    pub(crate) fn of<const WIDTH: u32, const CODING: u8, const RAW: usize, const S: usize>(
        task: &BlockTask,
    ) -> Option<Self> {
        let raw_bytes = if CODING == plane_kind::NIBBLE_PAIRS {
            task.elements.div_ceil(2)
        } else {
            task.elements
        };
        let room = (S * LANES * 2) as u32;
        let carried = if RAW > 0 && raw_bytes >= room { room } else { 0 };
        let states_at = match RAW as u32 {
            0 => 0,
            planes => aligned(raw_bytes - carried) + (planes - 1) * aligned(raw_bytes),
        };
        let words_at = states_at + (S * LANES * 4) as u32;
        // So that nothing below or in `counts` overflows.
        if task.block_bytes > 1 << 28
            || task.block_bytes < words_at + FOOTER
            || !task.block_bytes.is_multiple_of(BLOCK_ALIGNMENT as u32)
        {
            return None;
        }
        let block = task.block as *const u8;
        let part = |at: u32| block.wrapping_add(at as usize);
        Some(Self {
            raw_start: block,
            raw_length: raw_bytes - carried,
            carried,
            states: part(states_at).cast(),
            words: Source { start: part(words_at), length: task.block_bytes - words_at },
        })
    }

    /// Reads the footer; `None` when the parts do not fill the block exactly.
    ///
    /// # Safety
    ///
    /// The block is readable for its length.
    #[inline(always)]
    pub(crate) unsafe fn counts<const CODING: u8>(&self) -> Option<Counts> {
        let Source { start, length } = self.words;
        let footer = start.wrapping_add((length - FOOTER) as usize).cast::<u32>();
        // SAFETY: the block is long enough for its counts, see `of`.
        let (words, escapes) =
            unsafe { (global::load_u32(footer), global::load_u32(footer.add(1))) };
        if words > length || escapes > length || CODING != plane_kind::PAIRS && escapes > 0 {
            return None;
        }
        let escapes_at = (2 * words).next_multiple_of(4);
        if aligned(escapes_at + 4 * escapes + FOOTER) != length {
            return None;
        }
        let list = start.wrapping_add(escapes_at as usize).cast();
        Some(Counts { words, escapes: Escapes { list, count: escapes } })
    }

    /// Whether the bytes that the states carry all belong to unit `last`, two of them side by side.
    #[inline(always)]
    pub(crate) fn carries_into(&self, last: u32) -> bool {
        self.carried > 0
            && self.raw_length >= last * GRANULE_BYTES
            && self.raw_length.is_multiple_of(2)
    }

    /// The raw planes.
    #[inline(always)]
    pub(crate) fn raw<const RAW: usize>(&self) -> [Source; RAW] {
        let others = self.raw_length + self.carried;
        let first_end = aligned(self.raw_length);
        core::array::from_fn(|plane| {
            let (at, length) = match plane as u32 {
                0 => (0, self.raw_length),
                plane => (first_end + (plane - 1) * aligned(others), others),
            };
            Source { start: self.raw_start.wrapping_add(at as usize), length }
        })
    }
}
