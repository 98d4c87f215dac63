//! The tables of a file: made once, shared by all tensors that they suit.

use std::ops::Range;
use std::sync::Arc;

use codec::block::PlaneEncodeTables;
use codec::constants::{ALPHABET, PROBABILITY_BITS, TABLE_SIZE};
use codec::pair::{RankValues, ranks_of};
use codec::rans::{EncodeTable, Frequencies};

use super::entropy::entropy_bits;
use super::histogram::PlaneCounts;
use crate::format::{TableRecord, encode_frequencies};

/// How many of the newest tables of a kind are tried before a new one is made.
const RECENT_TABLES: usize = 24;

/// Bits that each symbol costs; [`NO_SLOT`] for symbols without a slot.
pub(crate) type SymbolBits = [f32; ALPHABET];

/// More bits than any block has, and yet a number: zero times infinity would be none.
pub(crate) const NO_SLOT: f32 = 1e20;

/// A table, and what the planner and the block encoder need of it.
pub(crate) struct Table {
    pub(crate) ranks: Option<RankValues>,
    pub(crate) bits: SymbolBits,
    pub(crate) encode: PlaneEncodeTables,
    /// Part of their entropy by which what the table was made of exceeds it.
    pub(crate) excess: f64,
    serialized: Vec<u8>,
}

impl Table {
    pub(crate) fn new(frequencies: &Frequencies, ranks: Option<RankValues>) -> Self {
        let encode = PlaneEncodeTables {
            table: EncodeTable::new(frequencies),
            has_slot: frequencies.as_array().map(|frequency| frequency > 0),
            ranks: ranks.as_ref().map_or([None; ALPHABET], ranks_of),
        };
        let serialized = encode_frequencies(frequencies);
        Self { ranks, bits: symbol_bits(frequencies), encode, excess: 0.0, serialized }
    }

    /// Bits that the table takes in the index, list lengths included.
    pub(crate) fn stored_bits(&self) -> f64 {
        let ranks = if self.ranks.is_some() { 16 } else { 0 };
        8.0 * (self.serialized.len() + RECORD_BYTES + ranks) as f64
    }
}

/// Bytes of a table's record beside its frequencies and ranks.
const RECORD_BYTES: usize = 9;

/// The fewest bits that `counts` take with a table made for them, its record counted: their entropy,
/// and frequencies in proportion to them, or half of that, since slots are moved to and fro; for
/// symbols that may be `escaped`, one bit each.
///
/// A table that rarely pays is dear to make, and this tells without it.
pub(crate) fn least_bits_with_new_table(
    counts: &[u64; ALPHABET],
    escaped: impl Fn(u64) -> bool,
) -> f64 {
    entropy_bits(counts) + record_bits_of_part(counts, escaped, 2)
}

/// About the bits of a table's record, its frequencies in proportion to `counts`.
pub(crate) fn record_bits(counts: &[u64; ALPHABET], escaped: impl Fn(u64) -> bool) -> f64 {
    record_bits_of_part(counts, escaped, 1)
}

/// The same with frequencies of one part of `parts` of that.
fn record_bits_of_part(counts: &[u64; ALPHABET], escaped: impl Fn(u64) -> bool, parts: u64) -> f64 {
    let total: u64 = counts.iter().sum::<u64>().max(1);
    let digits = |&count: &u64| match count {
        0 => 1,
        count if escaped(count) => 1,
        count => {
            let frequency = count * TABLE_SIZE as u64 / total;
            2 * ((frequency / parts).max(1) + 1).ilog2() + 1
        }
    };
    let record: u32 = counts.iter().map(digits).sum();
    f64::from(record) + 8.0 * RECORD_BYTES as f64
}

/// Bits by which a table that was made of counts of every `step`th symbol seems better than it is.
///
/// It suits those symbols better than the source that they are a sample of, by half a nat for each of
/// the `used` frequencies but one, and what was not counted worse by as much (the bias that Akaike's
/// criterion corrects, "A new look at the statistical model identification", 1974). Each symbol that
/// was counted stands for `step` of them, of which all but itself are of the second kind. A table that
/// was there before has no such bias, so that without this a large tensor would get one for each part
/// of it that is planned at a time.
pub(crate) fn overfitting_bits(used: usize, step: usize) -> f64 {
    let nats = used.saturating_sub(1) as f64 * (step - 1) as f64;
    nats * std::f64::consts::LOG2_E
}

/// Bits by which one of two tables may seem better than the other without being so: five standard
/// errors of what an estimate from one of `step` symbols says of their difference. Three are for
/// chance; the others because the new table gives its slots to just those rare symbols that happen
/// to be more frequent in the sample, which [`overfitting_bits`] leaves out. The counts of symbols are
/// `used`, each standing for `step`, and `differs` is what a symbol takes more with one table than with
/// the other.
pub(crate) fn doubtful_bits(used: &[(u8, u64)], step: usize, differs: impl Fn(u8) -> f64) -> f64 {
    const STANDARD_ERRORS: f64 = 5.0;
    let squares = used.iter().map(|&(symbol, count)| count as f64 * differs(symbol).powi(2));
    STANDARD_ERRORS * (squares.sum::<f64>() * (step - 1) as f64).sqrt()
}

/// About the bits that a table of plain symbols takes in the index.
pub(crate) fn stored_bits(frequencies: &[u16; ALPHABET]) -> f64 {
    let digits = |&frequency: &u16| 2 * (u32::from(frequency) + 1).ilog2() + 1;
    f64::from(frequencies.iter().map(digits).sum::<u32>()) + 8.0 * RECORD_BYTES as f64
}

fn symbol_bits(frequencies: &Frequencies) -> SymbolBits {
    frequencies.as_array().map(|frequency| match frequency {
        0 => NO_SLOT,
        _ => PROBABILITY_BITS as f32 - f32::from(frequency).log2(),
    })
}

/// Sums that are added up side by side, which a processor does at the same time.
pub(crate) const COST_SUMS: usize = 8;

/// Bits that `counts` cost with `bits` a symbol; beyond all measure when a symbol has no slot.
#[inline(always)]
pub(crate) fn cost(counts: &PlaneCounts, bits: &SymbolBits) -> f64 {
    cost_of_symbols(0..ALPHABET, counts, bits)
}

/// The same of no other symbols than `symbols`, from one multiple of [`COST_SUMS`] to another.
#[inline(always)]
pub(crate) fn cost_of_symbols(
    symbols: Range<usize>,
    counts: &PlaneCounts,
    bits: &SymbolBits,
) -> f64 {
    sum_of_products(&bits[symbols.clone()], &counts[symbols], |&count| count as i32 as f32)
}

/// The same with counts that are numbers of this kind already.
#[inline(always)]
pub(crate) fn cost_of_floats(counts: &[f32; ALPHABET], bits: &SymbolBits) -> f64 {
    sum_of_products(bits, counts, |&count| count)
}

#[inline(always)]
fn sum_of_products<C>(bits: &[f32], counts: &[C], to_float: impl Fn(&C) -> f32) -> f64 {
    let mut sums = [0f32; COST_SUMS];
    let (bits, counts) = (bits.as_chunks::<COST_SUMS>().0, counts.as_chunks::<COST_SUMS>().0);
    for (bits, counts) in bits.iter().zip(counts) {
        for ((sum, bits), count) in sums.iter_mut().zip(bits).zip(counts) {
            *sum += to_float(count) * bits;
        }
    }
    sums.into_iter().map(f64::from).sum()
}

/// The same for the counts of many blocks.
pub(crate) fn cost_of_many(counts: &[u64; ALPHABET], bits: &SymbolBits) -> f64 {
    counts.iter().zip(bits).map(|(&count, &bits)| count as f64 * f64::from(bits)).sum()
}

/// Those of `counts` that are not zero, each with its symbol: few, where a block is small.
pub(crate) fn used(counts: &[u64; ALPHABET]) -> Vec<(u8, u64)> {
    let symbols = (0..=u8::MAX).zip(counts.iter().copied());
    // Growing it locks what thread the memory was from: with two threads, planning tiny tensors took three
    // times as long.
    let mut used = Vec::with_capacity(counts.iter().filter(|&&count| count > 0).count());
    used.extend(symbols.filter(|(_, count)| *count > 0));
    used
}

/// The tables of a file, in the order in which plane records name them.
#[derive(Clone, Default)]
pub(crate) struct Tables(Vec<Arc<Table>>);

impl Tables {
    pub(crate) fn get(&self, id: u32) -> &Table {
        &self.0[id as usize]
    }
}

/// The tables of a file that is being planned.
#[derive(Clone, Default)]
pub(crate) struct TablePool(Tables);

impl TablePool {
    pub(crate) fn get(&self, id: u32) -> &Table {
        self.0.get(id)
    }

    pub(crate) fn add(&mut self, table: Table) -> u32 {
        let Tables(tables) = &mut self.0;
        tables.push(Arc::new(table));
        (tables.len() - 1) as u32
    }

    /// The tables so far.
    pub(crate) fn so_far(&self) -> Tables {
        self.0.clone()
    }

    /// The newest tables of a kind (for pairs, or for plain symbols), newest first.
    pub(crate) fn recent(&self, paired: bool) -> impl Iterator<Item = (u32, &Table)> {
        let tables = self.0.0.iter().enumerate().rev();
        tables
            .filter(move |(_, table)| table.ranks.is_some() == paired)
            .map(|(id, table)| (id as u32, &**table))
            .take(RECENT_TABLES)
    }

    pub(crate) fn records(&self) -> Vec<TableRecord> {
        let record = |table: &Arc<Table>| TableRecord {
            ranks: table.ranks,
            frequencies: table.serialized.clone(),
        };
        self.0.0.iter().map(record).collect()
    }
}
