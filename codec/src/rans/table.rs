//! Frequency tables and the decode table made from them.

use core::fmt;

use crate::constants::{ALPHABET, PROBABILITY_BITS, TABLE_SIZE};

/// One entry of a decode table, packed as `offset << 20 | symbol << 12 | frequency`:
/// the parts on the decoder's critical path, offset and frequency, take one instruction each.
///
/// The offset is the distance of the entry's slot from the first slot of its symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct TableEntry(pub u32);

impl TableEntry {
    const FREQUENCY: u32 = (1 << PROBABILITY_BITS) - 1;
    const SYMBOL_SHIFT: u32 = PROBABILITY_BITS;
    const OFFSET_SHIFT: u32 = PROBABILITY_BITS + 8;

    /// The product of a packed entry with this has its offset in the high half, and in the low half
    /// its symbol as the top byte.
    pub const FACTOR: u32 = 1 << (u32::BITS - Self::OFFSET_SHIFT);

    /// Packs an entry; `offset < frequency < 4096`.
    #[inline(always)]
    pub const fn new(symbol: u8, offset: u32, frequency: u32) -> Self {
        Self(offset << Self::OFFSET_SHIFT | (symbol as u32) << Self::SYMBOL_SHIFT | frequency)
    }

    /// The same entry for another symbol.
    #[inline(always)]
    pub const fn with_symbol(self, symbol: u8) -> Self {
        Self::new(symbol, self.offset(), self.frequency())
    }

    /// The symbol that the slot stands for.
    #[inline(always)]
    pub const fn symbol(self) -> u8 {
        (self.0 >> Self::SYMBOL_SHIFT) as u8
    }

    /// Distance from the first slot of the symbol.
    #[inline(always)]
    pub const fn offset(self) -> u32 {
        self.0 >> Self::OFFSET_SHIFT
    }

    /// Number of slots of the symbol.
    #[inline(always)]
    pub const fn frequency(self) -> u32 {
        self.0 & Self::FREQUENCY
    }
}

/// Frequencies of the 256 symbols. They sum to 4096, and at least two are not zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frequencies([u16; ALPHABET]);

/// Why a list of numbers is not a frequency table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrequencyError {
    /// The frequencies do not sum to 4096.
    Sum(u32),
    /// One symbol has all 4096 slots, which an entry's 12 bits cannot hold.
    SingleSymbol(u8),
}

impl fmt::Display for FrequencyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sum(sum) => write!(f, "the frequencies sum to {sum} instead of {TABLE_SIZE}"),
            Self::SingleSymbol(symbol) => {
                write!(f, "symbol {symbol} alone has all {TABLE_SIZE} slots")
            }
        }
    }
}

impl core::error::Error for FrequencyError {}

impl Frequencies {
    /// Checks that `frequencies` is a table.
    pub fn new(frequencies: [u16; ALPHABET]) -> Result<Self, FrequencyError> {
        let sum: u32 = frequencies.iter().map(|&f| u32::from(f)).sum();
        if sum != TABLE_SIZE as u32 {
            return Err(FrequencyError::Sum(sum));
        }
        match frequencies.iter().position(|&f| usize::from(f) == TABLE_SIZE) {
            Some(symbol) => Err(FrequencyError::SingleSymbol(symbol as u8)),
            None => Ok(Self(frequencies)),
        }
    }

    /// The frequency of each symbol.
    #[inline]
    pub const fn as_array(&self) -> &[u16; ALPHABET] {
        &self.0
    }

    /// The most frequent symbol, the smallest of several.
    pub fn most_frequent(&self) -> u8 {
        let mut best = 0;
        for symbol in 1..ALPHABET {
            if self.0[symbol] > self.0[best] {
                best = symbol;
            }
        }
        best as u8
    }
}

/// The 4096 entries that a decoder looks states up in.
#[derive(Clone)]
#[repr(transparent)]
pub struct DecodeTable([TableEntry; TABLE_SIZE]);

impl DecodeTable {
    /// Lays out the slots of each symbol one after the other, in symbol order.
    pub fn new(frequencies: &Frequencies) -> Self {
        let mut table = Self([TableEntry(0); TABLE_SIZE]);
        table.rebuild(frequencies);
        table
    }

    /// The same as [`DecodeTable::new`], into memory that is already there.
    pub fn rebuild(&mut self, frequencies: &Frequencies) {
        let mut first = 0;
        for (symbol, &frequency) in frequencies.0.iter().enumerate() {
            let frequency = usize::from(frequency);
            for (offset, entry) in self.0[first..first + frequency].iter_mut().enumerate() {
                *entry = TableEntry::new(symbol as u8, offset as u32, frequency as u32);
            }
            first += frequency;
        }
    }

    /// The entry of a slot; `slot < 4096`, as [`super::slot`] gives it.
    #[inline(always)]
    pub fn entry(&self, slot: u32) -> TableEntry {
        self.0[slot as usize % TABLE_SIZE]
    }

    /// All entries, in slot order.
    #[inline(always)]
    pub const fn entries(&self) -> &[TableEntry; TABLE_SIZE] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(list: &[(usize, u16)]) -> [u16; ALPHABET] {
        let mut all = [0; ALPHABET];
        for &(symbol, frequency) in list {
            all[symbol] = frequency;
        }
        all
    }

    #[test]
    fn slots_follow_symbol_order_and_know_their_offset() {
        let table =
            DecodeTable::new(&Frequencies::new(frequencies(&[(3, 4095), (255, 1)])).unwrap());
        assert_eq!(table.entry(0), TableEntry::new(3, 0, 4095));
        assert_eq!(table.entry(4094), TableEntry::new(3, 4094, 4095));
        assert_eq!(table.entry(4095), TableEntry::new(255, 0, 1));
        assert_eq!(table.entry(4095).symbol(), 255);
    }

    #[test]
    fn products_take_states_and_entries_apart() {
        let entry = TableEntry::new(0xA7, 0x9BC, 0xDEF);
        let product = u64::from(entry.0) * u64::from(TableEntry::FACTOR);
        assert_eq!(((product >> 32) as u32, (product as u32 >> 24) as u8), (0x9BC, 0xA7));
        let state = 0xFEDC_BA98;
        let product = u64::from(state) * u64::from(super::super::STATE_FACTOR);
        let quotient = (product >> 32) as u32;
        assert_eq!(product as u32 >> super::super::SLOT_SHIFT, super::super::slot(state));
        let parts = super::super::advance_parts(quotient, entry.frequency(), entry.offset());
        assert_eq!(parts, super::super::advance(state, entry));
    }

    #[test]
    fn sums_other_than_4096_and_single_symbols_are_refused() {
        assert_eq!(
            Frequencies::new(frequencies(&[(0, 4000), (1, 95)])),
            Err(FrequencyError::Sum(4095))
        );
        assert_eq!(
            Frequencies::new(frequencies(&[(7, 4096)])),
            Err(FrequencyError::SingleSymbol(7))
        );
    }

    #[test]
    fn the_most_frequent_symbol_is_the_smallest_of_equals() {
        let table = Frequencies::new(frequencies(&[(9, 2048), (12, 2048)])).unwrap();
        assert_eq!(table.most_frequent(), 9);
    }
}
