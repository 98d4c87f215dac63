//! Tables for pairs: of exponents by rank, and of nibbles.

use codec::constants::{ALPHABET, ESCAPE_SYMBOL, RANKS, TABLE_SIZE};
use codec::pair::{RankValues, ranks_of, symbol_of};
use codec::rans::normalize;

use super::entropy::entropy_bits;
use super::tables::{
    NO_SLOT, Table, TablePool, cost_of_floats, doubtful_bits, least_bits_with_new_table,
    overfitting_bits, record_bits, used,
};
use crate::simd::level;

/// Bits of an entry of the escape list.
const ESCAPE_BITS: f64 = 32.0;

/// Bits of the ranks in a table's record.
const RANK_BITS: f64 = 8.0 * RANKS as f64;

/// The most that a table may exceed the entropy by without that being the pairs' own doing: ten times what
/// is usual.
const MOST_EXCESS: f64 = 1.0 / 16.0;

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
    pub(crate) fn with_symbols(&self, symbols: [u64; ALPHABET]) -> Self {
        Self { ranks: self.ranks, symbols }
    }

    /// The table of the pool's newest that codes these pairs best, and their bits with it, if a new one
    /// would likely not be chosen: the first look at pairs of which one of `step` has been counted. Where
    /// that doesn't tell, one of `next_step` is counted, and doubts are about that.
    pub(crate) fn suiting_table(
        &self,
        pool: &TablePool,
        step: usize,
        next_step: usize,
    ) -> Option<(TableChoice, f64)> {
        let used = used(&self.symbols);
        let (id, bits) = self.shared_table(pool, &used)?;
        let table = pool.get(id);
        let total: u64 = self.symbols.iter().sum();
        // Of what occurs once in a sample nobody knows how often it occurs in all.
        let is_known = |&(_, count): &(u8, u64)| count >= 2 * step as u64;
        let known: Vec<(u8, u64)> = used.into_iter().filter(is_known).collect();
        let differs = |symbol: u8| {
            let own = (total as f64 / self.symbols[usize::from(symbol)] as f64).log2();
            self.bits_with(table, symbol) - own
        };
        let gain: f64 = known.iter().map(|&(symbol, count)| count as f64 * differs(symbol)).sum();
        let slot_bits = self.slot_bits();
        let escaped = |count: u64| is_escaped(count, slot_bits);
        let record = record_bits(&self.symbols, escaped) + RANK_BITS;
        // Nor would a new table, with its whole slots, be as good as the entropy.
        let excess = entropy_bits(&self.symbols) * table.excess;
        let doubts =
            overfitting_bits(known.len(), next_step) + doubtful_bits(&known, next_step, differs);
        (gain <= record + excess + doubts).then_some((TableChoice::Shared(id), bits))
    }

    /// The best of the pool's newest tables, and the bits with it.
    fn shared_table(&self, pool: &TablePool, used: &[(u8, u64)]) -> Option<(u32, f64)> {
        let costs = pool.recent(true).map(|(id, table)| (id, self.cost_with(table, used)));
        costs.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The table that codes these pairs best among the pool's newest and a new one, and the bits
    /// of the pairs with it; the bits of a new table's record are counted as well. None is made
    /// that certainly takes more than `most_bits`. Of `step` pairs one has been counted, see
    /// [`overfitting_bits`].
    pub(crate) fn choose_table(
        &self,
        pool: &TablePool,
        most_bits: f64,
        step: usize,
    ) -> Option<(TableChoice, f64)> {
        let used = used(&self.symbols);
        let overfitting = overfitting_bits(used.len(), step);
        let shared = self.shared_table(pool, &used);
        let most_bits = shared.map_or(most_bits, |(_, bits)| bits.min(most_bits));
        let slot_bits = self.slot_bits();
        let escaped = |count: u64| is_escaped(count, slot_bits);
        let least = least_bits_with_new_table(&self.symbols, escaped) + RANK_BITS + overfitting;
        let new = if least < most_bits { self.new_table() } else { None };
        let new = new.map(|mut table| {
            let bits = self.cost_with(&table, &used);
            // Of pairs that are nearly all the same, a small number over next to none.
            let excess = bits / entropy_bits(&self.symbols).max(1.0) - 1.0;
            table.excess = excess.clamp(0.0, MOST_EXCESS);
            let bits = bits + table.stored_bits() + overfitting;
            (table, bits)
        });
        choose(pool, shared, new, |theirs, ours| {
            let differs = |symbol| self.bits_with(theirs, symbol) - self.bits_with(ours, symbol);
            doubtful_bits(&used, step, differs)
        })
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

    /// Bits of these pairs, whose symbols that occur are `used`, with `table`.
    fn cost_with(&self, table: &Table, used: &[(u8, u64)]) -> f64 {
        used.iter().map(|&(symbol, count)| count as f64 * self.bits_with(table, symbol)).sum()
    }

    /// Bits of a pair of this symbol with `table`, whose ranks may be others.
    fn bits_with(&self, table: &Table, symbol: u8) -> f64 {
        let escape = f64::from(table.bits[usize::from(ESCAPE_SYMBOL)]) + ESCAPE_BITS;
        if symbol == ESCAPE_SYMBOL {
            return escape;
        }
        let theirs = |rank: u8| table.encode.ranks[usize::from(self.ranks[usize::from(rank)])];
        let both = theirs(symbol & 15).zip(theirs(symbol >> 4));
        let theirs = both.and_then(|(first, second)| symbol_of(first, second));
        let bits = theirs.map_or(NO_SLOT, |symbol| table.bits[usize::from(symbol)]);
        f64::from(bits).min(escape)
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
/// it. None is made that certainly takes more than `most_bits`. Of `step` symbols one has been
/// counted, see [`overfitting_bits`].
pub(crate) fn choose_symbol_table(
    counts: &[u64; ALPHABET],
    pool: &TablePool,
    most_bits: f64,
    step: usize,
) -> Option<(TableChoice, f64)> {
    let kinds = counts.iter().filter(|&&count| count > 0).count();
    let overfitting = overfitting_bits(kinds, step);
    let floats = counts.map(|count| count as f32);
    let cost_with = |table: &Table| cost_of_floats(&floats, &table.bits);
    let shared = level().run(
        #[inline(always)]
        || {
            let costs = pool.recent(false).map(|(id, table)| (id, cost_with(table)));
            costs.min_by(|a, b| a.1.total_cmp(&b.1))
        },
    );
    let most_bits = shared.map_or(most_bits, |(_, bits)| bits.min(most_bits));
    let new = if least_bits_with_new_table(counts, |_| false) + overfitting < most_bits {
        normalize(counts).ok().map(|frequencies| {
            let table = Table::new(&frequencies, None);
            let bits = cost_with(&table) + table.stored_bits() + overfitting;
            (table, bits)
        })
    } else {
        None
    };
    choose(pool, shared, new, |theirs, ours| {
        let bits = |table: &Table, symbol: u8| f64::from(table.bits[usize::from(symbol)]);
        let differs = |symbol| bits(theirs, symbol) - bits(ours, symbol);
        doubtful_bits(&used(counts), step, differs)
    })
}

/// Part of the bits that a new table has to save: blocks with the same table decode faster on a GPU, whose
/// warps read them in their order.
const LEAST_GAIN: f64 = 1.0 / 32_768.0;

/// A new table, where it takes fewer bits than the pool's by more than is `doubtful` between the two.
fn choose(
    pool: &TablePool,
    shared: Option<(u32, f64)>,
    new: Option<(Table, f64)>,
    doubtful: impl Fn(&Table, &Table) -> f64,
) -> Option<(TableChoice, f64)> {
    // A table without a slot for one of the symbols cannot code them.
    let shared = shared.filter(|&(_, bits)| bits < f64::from(NO_SLOT));
    match (shared, new) {
        (Some((id, bits)), Some((table, new_bits)))
            if bits * (1.0 - LEAST_GAIN) <= new_bits + doubtful(pool.get(id), &table) =>
        {
            Some((TableChoice::Shared(id), bits))
        }
        (_, Some((table, bits))) => Some((TableChoice::New(Box::new(table)), bits)),
        (shared, None) => shared.map(|(id, bits)| (TableChoice::Shared(id), bits)),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use rand_distr::{Distribution, StandardNormal};

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
        let (first, _) = counts.choose_table(&pool, f64::INFINITY, 1).unwrap();
        assert!(matches!(first, TableChoice::New(_)));
        first.into_id(&mut pool);
        let (second, _) = counts.choose_table(&pool, f64::INFINITY, 1).unwrap();
        assert!(matches!(second, TableChoice::Shared(0)));
    }

    /// Every `step`th pair of Gaussian weights, each counted `step` times.
    fn sample(seed: u64, scale: f32, step: u64) -> PairCounts {
        let mut random = SmallRng::seed_from_u64(seed);
        let values: Vec<u8> = (0..1 << 18)
            .map(|_| {
                let weight: f32 = StandardNormal.sample(&mut random);
                ((weight * scale).to_bits() >> 23) as u8
            })
            .collect();
        let mut counts = counted(&values);
        counts.symbols = counts.symbols.map(|count| count * step);
        counts
    }

    #[test]
    fn other_samples_of_the_same_weights_take_the_pools_table_and_other_weights_do_not() {
        let mut pool = TablePool::default();
        let (first, _) = sample(0, 0.02, 16).choose_table(&pool, f64::INFINITY, 16).unwrap();
        first.into_id(&mut pool);
        for seed in 1..6 {
            let (choice, _) =
                sample(seed, 0.02, 16).choose_table(&pool, f64::INFINITY, 16).unwrap();
            assert!(matches!(choice, TableChoice::Shared(0)), "seed {seed}");
        }
        let (choice, _) = sample(9, 0.03, 16).choose_table(&pool, f64::INFINITY, 16).unwrap();
        assert!(matches!(choice, TableChoice::New(_)));
    }

    #[test]
    fn a_first_look_at_the_same_weights_often_suffices_and_at_others_never() {
        let mut pool = TablePool::default();
        assert!(sample(0, 0.02, 16).suiting_table(&pool, 16, 4).is_none());
        let (first, _) = sample(0, 0.02, 4).choose_table(&pool, f64::INFINITY, 4).unwrap();
        first.into_id(&mut pool);
        let suits = |seed, scale| {
            let suiting = sample(seed, scale, 16).suiting_table(&pool, 16, 4);
            matches!(suiting, Some((TableChoice::Shared(0), _)))
        };
        let suiting = (1..11).filter(|&seed| suits(seed, 0.02)).count();
        assert!(suiting >= 3, "{suiting} of ten");
        assert!((1..6).all(|seed| !suits(seed, 0.03)));
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
