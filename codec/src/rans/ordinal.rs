//! The decode table in so few bytes that a processor holds it in registers.

use super::table::Frequencies;
use crate::constants::{ALPHABET, PROBABILITY_BITS};

/// Slots that share a byte of each of [`OrdinalTable`]'s first parts, as a power of two.
pub const BUCKET_BITS: u32 = 4;

/// What [`super::DecodeTable`] says, in seven tables of 256 bytes.
///
/// The symbols that have slots are numbered in slot order; such a number is an *ordinal*. A slot's
/// is how many symbols begin up to it, less one: a count that is kept for every 16 slots, a *bucket*,
/// plus the ones up to the slot in a bucket's bits. This is the structure for ranks of G. Jacobson,
/// "Space-efficient static trees and graphs" (1989).
#[derive(Clone)]
#[repr(C, align(64))]
pub struct OrdinalTable {
    /// Symbols that begin before a bucket, less one, modulo 256.
    pub begun: [u8; ALPHABET],
    /// A bit for each of a bucket's slots where a symbol begins, the first eight and the last.
    pub begins: [[u8; ALPHABET]; 2],
    /// The symbol with an ordinal.
    pub symbols: [u8; ALPHABET],
    /// Low bytes of the symbols' first slots, by ordinal like what follows.
    pub first_low: [u8; ALPHABET],
    /// Low bytes of their frequencies.
    pub frequency_low: [u8; ALPHABET],
    /// What both have above that: four bits of the first slot, and of the frequency above them.
    pub high: [u8; ALPHABET],
    /// Whether all frequencies, and so all offsets from a first slot, are bytes.
    pub small: bool,
}

const _: () = assert!(1 << (PROBABILITY_BITS - BUCKET_BITS) == ALPHABET);

impl OrdinalTable {
    /// The table for these frequencies.
    pub fn new(frequencies: &Frequencies) -> Self {
        let zeros = [0; ALPHABET];
        let mut table = Self {
            begun: zeros,
            begins: [zeros; 2],
            symbols: zeros,
            first_low: zeros,
            frequency_low: zeros,
            high: zeros,
            small: frequencies.as_array().iter().all(|&f| f <= u8::MAX.into()),
        };
        let with_slots = frequencies.as_array().iter().enumerate().filter(|&(_, &f)| f > 0);
        let mut first = 0;
        for (ordinal, (symbol, &frequency)) in with_slots.enumerate() {
            let (bucket, at) = (usize::from(first >> BUCKET_BITS), first % (1 << BUCKET_BITS));
            table.begins[usize::from(at / 8)][bucket] |= 1 << (at % 8);
            table.symbols[ordinal] = symbol as u8;
            table.first_low[ordinal] = first as u8;
            table.frequency_low[ordinal] = frequency as u8;
            table.high[ordinal] = (frequency >> 8 << 4 | first >> 8) as u8;
            first += frequency;
        }
        let mut begun = u8::MAX;
        for bucket in 0..ALPHABET {
            table.begun[bucket] = begun;
            let begins = table.begins.map(|bits| bits[bucket].count_ones() as u8);
            begun = begun.wrapping_add(begins[0] + begins[1]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeTable, TableEntry, normalize};
    use super::*;
    use crate::constants::TABLE_SIZE;
    use proptest::prelude::*;

    /// A slot's entry, by the steps that vectors take.
    fn entry(table: &OrdinalTable, slot: u16) -> TableEntry {
        let (bucket, at) = (usize::from(slot >> BUCKET_BITS), slot % (1 << BUCKET_BITS));
        let bits = u16::from_le_bytes(table.begins.map(|bits| bits[bucket]));
        let ones = (bits & ((2_u32 << at) - 1) as u16).count_ones();
        let ordinal = usize::from(table.begun[bucket].wrapping_add(ones as u8));
        let high = table.high[ordinal];
        let first = u16::from_le_bytes([table.first_low[ordinal], high & 15]);
        let frequency = u16::from_le_bytes([table.frequency_low[ordinal], high >> 4]);
        TableEntry::new(table.symbols[ordinal], (slot - first).into(), frequency.into())
    }

    proptest! {
        #[test]
        fn each_slot_has_the_entry_of_the_decode_table(
            counts in proptest::collection::vec(
                prop_oneof![Just(0u64), Just(1), 1..10u64, 1..100_000u64], ALPHABET,
            )
        ) {
            let counts: [u64; ALPHABET] = counts.try_into().unwrap();
            let Ok(frequencies) = normalize(&counts) else { return Ok(()) };
            let (table, expected) =
                (OrdinalTable::new(&frequencies), DecodeTable::new(&frequencies));
            for slot in 0..TABLE_SIZE as u16 {
                prop_assert_eq!(entry(&table, slot), expected.entry(slot.into()));
            }
        }
    }
}
