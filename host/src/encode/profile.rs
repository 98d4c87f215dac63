//! What the encoder optimises for.

use codec::constants::MAX_BLOCK_ELEMENTS;

use crate::format::{DEFAULT_BLOCK_ELEMENTS, MIN_SECTION_ALIGNMENT, SECTION_ALIGNMENT};

/// What the encoder optimises for; both decode everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// Fast to encode and to decode: plans from samples, two elements per symbol where they cost next
    /// to nothing.
    #[default]
    Fast,
    /// The smallest files: plans from exact counts, whatever is smallest.
    Max,
}

impl Profile {
    /// Part of a tensor's bits that two elements per symbol may cost more than one: they decode at
    /// twice the speed.
    pub(crate) const fn pair_tolerance(self) -> f64 {
        match self {
            Self::Fast => 0.005,
            Self::Max => 0.0,
        }
    }

    /// One of so many spans of a large block is counted for planning: a power of two.
    pub(crate) const fn stride(self) -> usize {
        match self {
            Self::Fast => 8,
            Self::Max => 1,
        }
    }

    /// Of blocks with so many elements together, the pairs of ranks of one part of how many are counted.
    /// What is missed is escaped wherever it occurs, so that more is lost than by a table that is off.
    pub(crate) const fn rank_pair_step(self, elements: usize) -> usize {
        self.pair_step(elements / (1 << 17), 4)
    }

    /// The step of the first look at the pairs of so many elements, of which one of `step` parts is counted
    /// where that doesn't tell enough.
    pub(crate) const fn first_look_step(self, step: usize, elements: usize) -> usize {
        /// Elements that are looked at, at least.
        const LEAST: usize = 1 << 13;
        match (self, elements / LEAST) {
            (Self::Max, _) | (_, 0) => step,
            (Self::Fast, parts) if parts < 4 * step => parts,
            (Self::Fast, _) => 4 * step,
        }
    }

    /// The same of pairs of nibbles, all of which have a slot.
    pub(crate) const fn nibble_pair_step(self, elements: usize) -> usize {
        self.pair_step(elements / (1 << 16), 16)
    }

    /// One part of `parts`, each of which has enough elements, but no less than one of `most`.
    const fn pair_step(self, parts: usize, most: usize) -> usize {
        match (self, parts) {
            (Self::Max, _) | (_, 0) => 1,
            (Self::Fast, step) if step < most => step,
            (Self::Fast, _) => most,
        }
    }

    /// Of blocks with so many elements together, the elements of one part of how many are counted, where
    /// each is a symbol.
    pub(crate) const fn symbol_step(self, elements: usize) -> usize {
        /// Elements that are counted at least.
        const LEAST: usize = 1 << 16;
        /// The table of a smaller part costs more than its time is worth.
        const MOST: usize = 4;
        match (self, elements / LEAST) {
            (Self::Max, _) | (_, 0) => 1,
            (Self::Fast, step @ 1..MOST) => step,
            (Self::Fast, _) => MOST,
        }
    }

    /// Elements of a block: larger ones share what each block takes for itself.
    pub(crate) const fn block_elements(self) -> usize {
        match self {
            Self::Fast => DEFAULT_BLOCK_ELEMENTS,
            Self::Max => MAX_BLOCK_ELEMENTS,
        }
    }

    /// What sections begin at multiples of.
    pub(crate) const fn section_alignment(self) -> usize {
        match self {
            Self::Fast => SECTION_ALIGNMENT as usize,
            Self::Max => MIN_SECTION_ALIGNMENT as usize,
        }
    }

    /// How closely DEFLATE looks for what repeats in the index, from 0 to 10.
    pub(crate) const fn deflate_level(self) -> u8 {
        match self {
            // The highest that looks no further once it has found something: a tenth of the time of those that
            // do, for at most 2 % more of an index.
            Self::Fast => 3,
            Self::Max => 9,
        }
    }

    /// rANS states per lane.
    pub(crate) const fn states_per_lane(self) -> usize {
        match self {
            Self::Fast => 2,
            Self::Max => 1,
        }
    }
}
