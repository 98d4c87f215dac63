//! Tables for pairs: of exponents by rank, and of nibbles.

use codec::constants::{ALPHABET, ESCAPE_SYMBOL, RANKS, TABLE_SIZE};
use codec::pair::{RankValues, ranks_of, symbol_of};
use codec::rans::normalize;

use super::tables::{NO_SLOT, Table, TablePool, cost_of_floats, least_bits_with_new_table, used};
use crate::simd::level;

/// Bits of an entry of the escape list.
const ESCAPE_BITS: f64 = 32.0;

/// Bits of the ranks in a table's record.
const RANK_BITS: f64 = 8.0 * RANKS as f64;

/// Counts of the pairs of a plane.
#[derive(Clone)]
pub(crate) struct PairCounts {
    ranks: RankValues,
    /// Counts of the symbols of two ranks; that of [`ESCAPE_SYMBOL`] counts what has no symbol.
    symbols: [u64; ALPHABET],
}

impl PairCounts {
    /// Counts of nothing, with the 16 most frequent values of `values` as ranks.
    pub(crate) fn new(values: &[u64; ALPHABET]) -> Self {
        let mut order = used(values);
        order.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let unused = (0..=u8::MAX).filter(|&value| values[usize::from(value)] == 0);
        let mut order = order.into_iter().map(|(value, _)| value).chain(unused);
        // Of 256 values, there are always more.
        let ranks = std::array::from_fn(|_| order.next().unwrap_or_default());
        Self { ranks, symbols: [0; ALPHABET] }
    }

    /// The rank of each value, of which 16 have one.
    pub(crate) fn ranks(&self) -> [Option<u8>; ALPHABET] {
        ranks_of(&self.ranks)
    }

    /// The same ranks with counts of symbols.
    pub(crate) fn with_symbols(self, symbols: [u64; ALPHABET]) -> Self {
        Self { symbols, ..self }
    }

    /// The table that codes these pairs best among the pool's newest and a new one, and the bits
    /// of the pairs with it; the bits of a new table's record are counted as well. None is made
    /// that certainly takes more than `most_bits`.
    pub(crate) fn choose_table(
        &self,
        pool: &TablePool,
        most_bits: f64,
    ) -> Option<(TableChoice, f64)> {
        let used = used(&self.symbols);
        let shared = pool
            .recent(true)
            .map(|(id, table)| (TableChoice::Shared(id), self.cost_with(table, &used)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        let most_bits = shared.as_ref().map_or(most_bits, |(_, bits)| bits.min(most_bits));
        let slot_bits = self.slot_bits();
        let escaped = |count: u64| is_escaped(count, slot_bits);
        let least = least_bits_with_new_table(&self.symbols, escaped) + RANK_BITS;
        let new = if least < most_bits { self.new_table() } else { None };
        let new = new.map(|table| {
            let bits = self.cost_with(&table, &used) + table.stored_bits();
            (TableChoice::New(Box::new(table)), bits)
        });
        shared.into_iter().chain(new).min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// A table for these pairs. Pairs so rare that their slot costs the others more than their
    /// escapes would are escaped.
    fn new_table(&self) -> Option<Table> {
        let slot_bits = self.slot_bits();
        let mut counts = self.symbols;
        let mut escaped = counts[usize::from(ESCAPE_SYMBOL)];
        for count in &mut counts[..usize::from(ESCAPE_SYMBOL)] {
            if is_escaped(*count, slot_bits) {
                escaped += std::mem::take(count);
            }
        }
        // One slot at least, so that the table can serve other tensors too.
        counts[usize::from(ESCAPE_SYMBOL)] = escaped.max(1);
        Some(Table::new(&normalize(&counts).ok()?, Some(self.ranks)))
    }

    /// Bits that a slot of a table takes from all other pairs together.
    fn slot_bits(&self) -> f64 {
        let total: u64 = self.symbols.iter().sum();
        total as f64 * std::f64::consts::LOG2_E / TABLE_SIZE as f64
    }

    /// Bits of these pairs, whose symbols that occur are `used`, with `table`. Its ranks may be others.
    fn cost_with(&self, table: &Table, used: &[(u8, u64)]) -> f64 {
        let escape = f64::from(table.bits[usize::from(ESCAPE_SYMBOL)]) + ESCAPE_BITS;
        let theirs = self.ranks.map(|value| table.encode.ranks[usize::from(value)]);
        let bits_of = |symbol: u8| {
            if symbol == ESCAPE_SYMBOL {
                return escape;
            }
            let both = theirs[usize::from(symbol & 15)].zip(theirs[usize::from(symbol >> 4)]);
            let theirs = both.and_then(|(first, second)| symbol_of(first, second));
            let bits = theirs.map_or(NO_SLOT, |symbol| table.bits[usize::from(symbol)]);
            f64::from(bits).min(escape)
        };
        used.iter().map(|&(symbol, count)| count as f64 * bits_of(symbol)).sum()
    }
}

/// Whether pairs that occur so often are escaped: an escape costs its entry and its symbol, of about
/// the length of the pair's own.
fn is_escaped(count: u64, slot_bits: f64) -> bool {
    count as f64 * ESCAPE_BITS < slot_bits
}

/// A table from the pool, or one to be added to it.
pub(crate) enum TableChoice {
    Shared(u32),
    New(Box<Table>),
}

impl TableChoice {
    pub(crate) fn into_id(self, pool: &mut TablePool) -> u32 {
        match self {
            Self::Shared(id) => id,
            Self::New(table) => pool.add(*table),
        }
    }
}

/// The table that codes plain symbols best among the pool's newest and a new one, and the bits with
/// it. None is made that certainly takes more than `most_bits`.
pub(crate) fn choose_symbol_table(
    counts: &[u64; ALPHABET],
    pool: &TablePool,
    most_bits: f64,
) -> Option<(TableChoice, f64)> {
    let floats = counts.map(|count| count as f32);
    let cost_with = |table: &Table| cost_of_floats(&floats, &table.bits);
    let shared = level().run(
        #[inline(always)]
        || {
            let costs = pool.recent(false).map(|(id, table)| (id, cost_with(table)));
            costs.min_by(|a, b| a.1.total_cmp(&b.1))
        },
    );
    let shared = shared.map(|(id, bits)| (TableChoice::Shared(id), bits));
    let most_bits = shared.as_ref().map_or(most_bits, |(_, bits)| bits.min(most_bits));
    if least_bits_with_new_table(counts, |_| false) >= most_bits {
        return shared;
    }
    let new = normalize(counts).ok().map(|frequencies| {
        let table = Table::new(&frequencies, None);
        let bits = cost_with(&table) + table.stored_bits();
        (TableChoice::New(Box::new(table)), bits)
    });
    shared.into_iter().chain(new).min_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(values: &[u8]) -> PairCounts {
        let mut histogram = [0; ALPHABET];
        values.iter().for_each(|&v| histogram[usize::from(v)] += 1);
        let counts = PairCounts::new(&histogram);
        let ranks = counts.ranks();
        let mut symbols = [0; ALPHABET];
        for pair in values.as_chunks::<2>().0 {
            let [first, second] = pair.map(|value| ranks[usize::from(value)]);
            let symbol = first.zip(second).and_then(|(a, b)| symbol_of(a, b));
            symbols[usize::from(symbol.unwrap_or(ESCAPE_SYMBOL))] += 1;
        }
        counts.with_symbols(symbols)
    }

    /// Exponents falling off by half from 120 down, as those of weights do.
    fn exponents(count: usize) -> Vec<u8> {
        (1..=count as u32)
            .map(|i| 120 - i.wrapping_mul(0x9E37_79B9).leading_zeros() as u8)
            .collect()
    }

    #[test]
    fn the_same_pairs_take_the_pools_table_the_second_time() {
        let counts = counted(&exponents(100_000));
        let mut pool = TablePool::default();
        let (first, _) = counts.choose_table(&pool, f64::INFINITY).unwrap();
        assert!(matches!(first, TableChoice::New(_)));
        first.into_id(&mut pool);
        let (second, _) = counts.choose_table(&pool, f64::INFINITY).unwrap();
        assert!(matches!(second, TableChoice::Shared(0)));
    }

    #[test]
    fn a_table_of_other_ranks_costs_the_same_when_it_ranks_the_same_values() {
        let counts = counted(&exponents(100_000));
        let mut other = counts.clone();
        other.ranks.swap(0, 1);
        let cost = |counts: &PairCounts| {
            counts.cost_with(&counts.new_table().unwrap(), &used(&counts.symbols))
        };
        let ours = cost(&counts);
        // Swapped back in the symbols, the counts are the same pairs.
        let swap = |rank: usize| if rank < 2 { 1 - rank } else { rank };
        other.symbols = std::array::from_fn(|s| counts.symbols[swap(s & 15) | swap(s >> 4) << 4]);
        let theirs = counts.cost_with(&other.new_table().unwrap(), &used(&counts.symbols));
        assert!((ours - theirs).abs() <= 1e-3 * ours, "{ours} {theirs}");
    }
}
