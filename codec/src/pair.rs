//! Two field values as one symbol.
//!
//! A paired field is coded as the ranks of two neighbouring elements: `rank(first) | rank(second)
//! << 4`. Values without a rank, and pairs whose symbol has no slot in the table, are *escaped*:
//! the stream holds [`ESCAPE_SYMBOL`] and the block's escape list both values.

use crate::constants::{ALPHABET, ESCAPE_SYMBOL, RANKS};

/// The value of each of the 16 ranks.
pub type RankValues = [u8; RANKS];

/// Both values of a symbol, the first in the low byte; an escape gives zeros, to be filled in from
/// the list of [`Escape`]s.
#[inline(always)]
pub const fn expand(ranks: &RankValues, symbol: u8) -> u16 {
    if symbol == ESCAPE_SYMBOL {
        return 0;
    }
    let (first, second) = (ranks[symbol as usize & 15], ranks[symbol as usize >> 4]);
    first as u16 | (second as u16) << 8
}

/// [`expand`] of all 256 symbols.
pub fn expand_all(ranks: &RankValues) -> [u16; ALPHABET] {
    core::array::from_fn(|symbol| expand(ranks, symbol as u8))
}

/// Set in what [`expand_for_kernels`] gives for the symbol that stands for an escape.
pub const ESCAPE_FLAG: u32 = 1 << 16;

/// [`expand`] of all 256 symbols in the low halves of words. In the place of an escape's pair, with
/// [`ESCAPE_FLAG`], there is one of a value without a rank, which no other symbol gives.
pub fn expand_for_kernels(ranks: &RankValues) -> [u32; ALPHABET] {
    let mut words = expand_all(ranks).map(u32::from);
    let unranked = (0..=u8::MAX).find(|value| !ranks.contains(value)).unwrap_or_default();
    words[ESCAPE_SYMBOL as usize] = ESCAPE_FLAG | (u32::from(unranked) * 0x0101);
    words
}

/// The rank of every value, `None` for values that are escaped. Of equal values the last rank
/// counts, so unused ranks may repeat a value.
pub fn ranks_of(values: &RankValues) -> [Option<u8>; ALPHABET] {
    let mut ranks = [None; ALPHABET];
    for (rank, &value) in values.iter().enumerate() {
        ranks[usize::from(value)] = Some(rank as u8);
    }
    ranks
}

/// The symbol of two ranks; `None` where it is the one that stands for an escape.
#[inline(always)]
pub const fn symbol_of(first_rank: u8, second_rank: u8) -> Option<u8> {
    match first_rank | second_rank << 4 {
        ESCAPE_SYMBOL => None,
        symbol => Some(symbol),
    }
}

/// An entry of a block's escape list, packed as `pair | first << 16 | second << 24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Escape(pub u32);

impl Escape {
    /// The pair with the number `pair` (elements `2 * pair` and `2 * pair + 1` of the block).
    #[inline(always)]
    pub const fn new(pair: u16, first: u8, second: u8) -> Self {
        Self(pair as u32 | (first as u32) << 16 | (second as u32) << 24)
    }

    /// The pair's number in the block.
    #[inline(always)]
    pub const fn pair(self) -> u16 {
        self.0 as u16
    }

    /// Both values, the first in the low byte: what [`expand`] gives for other symbols.
    #[inline(always)]
    pub const fn values(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_values_are_inverse() {
        let values: RankValues = core::array::from_fn(|rank| 100 + 3 * rank as u8);
        let ranks = ranks_of(&values);
        for symbol in 0..ESCAPE_SYMBOL {
            let both = expand(&values, symbol);
            let first = ranks[usize::from(both as u8)].unwrap();
            let second = ranks[usize::from((both >> 8) as u8)].unwrap();
            assert_eq!(symbol_of(first, second), Some(symbol));
        }
        assert_eq!(symbol_of(15, 15), None);
        assert_eq!(expand(&values, ESCAPE_SYMBOL), 0);
        assert_eq!(ranks[0], None);
    }

    #[test]
    fn kernels_can_tell_an_escape_from_every_pair() {
        let words = expand_for_kernels(&core::array::from_fn(|rank| rank as u8));
        let escape = words[usize::from(ESCAPE_SYMBOL)];
        assert_eq!(escape, ESCAPE_FLAG | 0x1010);
        for &pair in &words[..usize::from(ESCAPE_SYMBOL)] {
            assert!(pair < ESCAPE_FLAG && pair != escape as u16 as u32);
        }
    }

    #[test]
    fn an_escape_keeps_its_parts() {
        let escape = Escape::new(0xFEDC, 0x12, 0x34);
        assert_eq!((escape.pair(), escape.values()), (0xFEDC, 0x3412));
    }
}
