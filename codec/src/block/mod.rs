//! Blocks: the elements that one warp decodes alone, the unit of random access.

#[cfg(test)]
mod classed_tests;
mod decode;
mod encode;
mod layout;
#[cfg(test)]
mod tests;

pub use decode::{BlockTables, decode_block, decode_scratch_bytes};
pub(crate) use decode::{MixedDecoder, decode_block_by};
pub use encode::{
    EncodeTables, encode_block, encode_classed_block, encode_scratch_bytes, encode_scratch_words,
    max_block_bytes,
};
pub(crate) use encode::{Parts, encode_block_by, join_pairs, symbols_by};
pub use layout::{BlockError, BlockLayout, Part, StreamPart};

use crate::constants::{ALPHABET, GROUP_BYTES, LANE_RUN_BYTES, LANES, MAX_WIDTH};
use crate::pair::RankValues;
use crate::rans::{DecodeTable, EncodeTable, Frequencies, MixedTables, OrdinalTable, StreamShape};
use crate::split::{ElementLayout, Width};

/// How one plane of a block is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlaneCoding {
    /// Its bytes, as they are.
    Raw,
    /// The same byte in every element; the block holds nothing of it.
    Constant(u8),
    /// rANS, one symbol per element.
    Symbols,
    /// rANS, one symbol for the ranks of two neighbouring elements, with an escape list.
    /// Only for the last plane of elements of up to four bytes.
    Pairs,
    /// For elements of one byte: rANS with one symbol for the high nibbles of two neighbouring
    /// elements; the low nibbles are raw.
    NibblePairs,
    /// rANS, one symbol per element, with the table of its class; see [`crate::classes`].
    Classes,
    /// For the last plane of floating-point elements of two or four bytes: rANS, one symbol, with
    /// the table of its class, for the 12 bits of each element's head; see [`crate::split`]. The
    /// low nibbles of the plane below are raw.
    Heads {
        /// The exponent of heads whose high nibble is 0.
        base: u8,
    },
    /// The plane below one of heads, which are all that is stored of it.
    InHeads,
}

impl PlaneCoding {
    /// Elements that one symbol stands for; `None` where the plane has no stream.
    #[inline(always)]
    pub const fn elements_per_symbol(self) -> Option<usize> {
        match self {
            Self::Raw | Self::Constant(_) | Self::InHeads => None,
            Self::Symbols | Self::Classes | Self::Heads { .. } => Some(1),
            Self::Pairs | Self::NibblePairs => Some(2),
        }
    }
}

/// What a reader must know of a block before it reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockSpec {
    /// Width and rotation of the elements.
    pub layout: ElementLayout,
    /// Elements of the block, at most [`crate::constants::MAX_BLOCK_ELEMENTS`].
    pub elements: usize,
    /// rANS states per lane, 1 or 2.
    pub states_per_lane: usize,
    /// The coding of each plane; entries beyond the width are [`PlaneCoding::Raw`].
    pub planes: [PlaneCoding; MAX_WIDTH],
}

impl BlockSpec {
    /// The codings of the planes that exist, plane 0 first.
    #[inline(always)]
    pub fn planes(&self) -> &[PlaneCoding] {
        &self.planes[..self.layout.width.bytes()]
    }

    /// How elements lie in their planes, of which the first is coded like this: those of one byte are
    /// rotated only where it is their nibbles that are coded. To a byte that is a symbol it makes no
    /// difference, but whoever decodes it would have to rotate it back.
    pub const fn layout_for(elements: ElementLayout, first: PlaneCoding) -> ElementLayout {
        match (elements.width, first) {
            (Width::One, PlaneCoding::NibblePairs) => elements,
            (Width::One, _) => ElementLayout::BYTES,
            _ => elements,
        }
    }

    /// Whether every plane's coding is one that the element's layout allows.
    pub fn is_valid(&self) -> bool {
        let width = self.layout.width.bytes();
        if Self::layout_for(self.layout, self.planes[0]) != self.layout {
            return false;
        }
        self.planes().iter().enumerate().all(|(plane, coding)| match coding {
            PlaneCoding::Raw | PlaneCoding::Constant(_) => true,
            PlaneCoding::Symbols | PlaneCoding::Classes => true,
            PlaneCoding::Pairs => plane + 1 == width && width <= 4,
            PlaneCoding::NibblePairs => width == 1,
            PlaneCoding::Heads { .. } => {
                plane + 1 == width
                    && self.layout.rotated
                    && matches!(self.layout.width, Width::Two | Width::Four)
                    && self.planes[width - 2] == PlaneCoding::InHeads
            }
            PlaneCoding::InHeads => plane + 2 == width && self.has_heads(),
        })
    }

    /// Whether the elements' bits lie head first.
    #[inline(always)]
    pub fn has_heads(&self) -> bool {
        matches!(self.planes[self.layout.width.bytes() - 1], PlaneCoding::Heads { .. })
    }

    /// Whether a plane is coded with tables by class, so that [`decode_block`] has to be told the
    /// classes.
    pub fn has_classes(&self) -> bool {
        let classed = |coding: &PlaneCoding| {
            matches!(coding, PlaneCoding::Classes | PlaneCoding::Heads { .. })
        };
        self.planes().iter().any(classed)
    }

    /// Bytes of raw plane 0 (or of raw nibbles, where there are any) that the first states of the last plane's stream
    /// carry instead: its last ones, as many as the states have room for, if it has so many.
    #[inline(always)]
    pub fn carried_bytes(&self) -> usize {
        let last = self.layout.width.bytes() - 1;
        let raw_bytes = match (self.planes[0], self.planes[last]) {
            (PlaneCoding::NibblePairs, _) | (_, PlaneCoding::Heads { .. }) => {
                self.elements.div_ceil(2)
            }
            (
                PlaneCoding::Raw,
                PlaneCoding::Symbols | PlaneCoding::Pairs | PlaneCoding::Classes,
            ) => self.elements,
            _ => 0,
        };
        let room = self.states_per_lane * LANES * size_of::<u16>();
        if raw_bytes >= room { room } else { 0 }
    }

    /// Whether the first states carry the last symbols, since there is nothing else that they could
    /// carry: whole groups of symbols that are elements.
    #[inline(always)]
    pub const fn carries_symbols(&self) -> bool {
        matches!((self.layout, self.planes[0]), (ElementLayout::BYTES, PlaneCoding::Symbols))
            && fills_groups(self.elements)
    }

    /// Bytes of the decoded block.
    #[inline(always)]
    pub const fn decoded_bytes(&self) -> usize {
        self.elements * self.layout.width.bytes()
    }

    /// The shape of the stream of a plane with `elements_per_symbol`.
    #[inline(always)]
    pub const fn stream_shape(&self, elements_per_symbol: usize) -> StreamShape {
        StreamShape {
            symbols: self.elements.div_ceil(elements_per_symbol),
            symbols_per_run: LANE_RUN_BYTES / self.layout.width.bytes() / elements_per_symbol,
            states_per_lane: self.states_per_lane,
            carries_symbols: self.carries_symbols(),
        }
    }
}

/// Whether so many decoded bytes are whole groups, and at least one.
#[inline(always)]
pub const fn fills_groups(bytes: usize) -> bool {
    bytes > 0 && bytes.is_multiple_of(GROUP_BYTES)
}

/// For each plane that is coded by class, the tables and which of them each element takes.
pub type PlaneClasses<'a, T> = [Option<MixedTables<'a, T>>; MAX_WIDTH];

/// All that decoding a plane's stream takes.
#[derive(Clone)]
pub struct DecodeTables {
    /// Slots to symbols.
    pub table: DecodeTable,
    /// The same, for levels that look slots up in registers.
    pub ordinals: OrdinalTable,
    /// Ranks to values; of use to paired planes only.
    pub ranks: RankValues,
}

impl DecodeTables {
    /// The tables for these frequencies, and for these values of ranks.
    pub fn new(frequencies: &Frequencies, ranks: RankValues) -> Self {
        let table = DecodeTable::new(frequencies);
        Self { table, ordinals: OrdinalTable::new(frequencies), ranks }
    }

    /// The same as [`DecodeTables::new`], into memory that is already there.
    pub fn rebuild(&mut self, frequencies: &Frequencies, ranks: RankValues) {
        self.table.rebuild(frequencies);
        self.ordinals = OrdinalTable::new(frequencies);
        self.ranks = ranks;
    }
}

/// All that encoding a plane takes.
#[derive(Clone)]
pub struct PlaneEncodeTables {
    /// Symbols to state changes.
    pub table: EncodeTable,
    /// Whether a symbol has a slot; pairs without one are escaped.
    pub has_slot: [bool; ALPHABET],
    /// Values to ranks; of use to paired planes only.
    pub ranks: [Option<u8>; ALPHABET],
}
