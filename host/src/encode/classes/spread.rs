//! A first look at a tensor: how much its rows and columns differ, and what classes of them may
//! therefore save.

use codec::constants::ALPHABET;

use super::subject::Subject;
use crate::encode::entropy::entropy_bits;
use crate::encode::histogram::count_bytes;
use crate::simd::level;

/// Rows that are looked at.
const ROWS: usize = 32;
/// One of so many of these rows says how often each symbol occurs.
const ROW_STEP: usize = 2;
/// Elements that are looked at, at most.
const ELEMENTS: usize = 1 << 16;
/// Bins that symbols fall into.
const BINS: usize = 16;
/// Symbols that are counted at the same time, as many as a vector register has bytes.
const TOGETHER: usize = 64;

// So that a byte is a counter.
const _: () = assert!(ROWS < 256 && TOGETHER < 256);

/// About the part of a tensor's bits that classes save at most: the mutual information of symbols
/// and columns, and that of symbols and rows, over the entropy of the symbols.
///
/// Symbols are taken in few bins of like probability, so that chance makes little of it; what it does
/// make of it is subtracted.
pub(super) fn gain(subject: &Subject<'_>) -> f64 {
    let rows = subject.rows.min(ROWS).min((ELEMENTS / subject.columns).max(1));
    let (mut symbols, mut row) = (Vec::with_capacity(rows * subject.columns), Vec::new());
    for number in 0..rows {
        let at = number * subject.rows / rows;
        subject.symbols(at..at + 1, &mut row);
        symbols.extend_from_slice(&row);
    }
    let mut counts = [0; ALPHABET];
    for row in symbols.chunks_exact(subject.columns).step_by(ROW_STEP) {
        count_bytes(&mut counts, row);
    }
    let bins = Bins::new(&counts, subject.sign_bit());
    let [of_rows, of_columns] = level().run(
        #[inline(always)]
        || {
            bins.turn_to_places(&mut symbols);
            [bins.of_rows(&symbols, subject.columns), bins.of_columns(&symbols, subject.columns)]
        },
    );
    let saved = information(&of_columns) + information(&of_rows);
    let counted: u64 = counts.iter().sum();
    let all = entropy_bits(&counts) * symbols.len() as f64 / counted.max(1) as f64;
    saved / all.max(f64::MIN_POSITIVE)
}

/// Bins of symbols in the order of their *places*: of the signs, then of the other bits.
struct Bins {
    /// Bits that a symbol is rotated to the right by to make a place of it.
    rotation: u32,
    /// The last place of each bin but the last, in rising order. There may be fewer bins; the others
    /// end with the highest place.
    ends: [u8; BINS - 1],
}

/// How many of some symbols are in each bin.
type BinCounts = [u32; BINS];

impl Bins {
    /// Bins of like probability.
    fn new(counts: &[u64; ALPHABET], sign_bit: u32) -> Self {
        let rotation = sign_bit + 1;
        let total: u64 = counts.iter().sum();
        let mut done = 0;
        let bins: [u64; ALPHABET] = std::array::from_fn(|place| {
            let count = counts[usize::from((place as u8).rotate_left(rotation))];
            let middle = done + count / 2;
            done += count;
            (middle * BINS as u64 / total.max(1)).min(BINS as u64 - 1)
        });
        let mut ends = [u8::MAX; BINS - 1];
        let last = (0..u8::MAX).zip(bins.windows(2)).filter(|(_, bins)| bins[0] != bins[1]);
        ends.iter_mut().zip(last).for_each(|(end, (place, _))| *end = place);
        Self { rotation, ends }
    }

    /// Replaces symbols by their places.
    #[inline(always)]
    fn turn_to_places(&self, symbols: &mut [u8]) {
        symbols.iter_mut().for_each(|symbol| *symbol = symbol.rotate_right(self.rotation));
    }

    /// Counts of each row of places.
    ///
    /// How many places are behind each bin's end is a comparison and a sum that a processor's vectors
    /// do for many at the same time; the bins are the differences.
    #[inline(always)]
    fn of_rows(&self, places: &[u8], columns: usize) -> Vec<BinCounts> {
        let mut counts = Vec::with_capacity(places.len() / columns);
        for row in places.chunks_exact(columns) {
            let mut behind = [0u32; BINS - 1];
            for (behind, &end) in behind.iter_mut().zip(&self.ends) {
                for places in row.chunks(TOGETHER) {
                    *behind += u32::from(places.iter().map(|p| u8::from(*p > end)).sum::<u8>());
                }
            }
            counts.push(differences(columns as u32, behind));
        }
        counts
    }

    /// The same of each column.
    #[inline(always)]
    fn of_columns(&self, places: &[u8], columns: usize) -> Vec<BinCounts> {
        let rows = places.len() / columns;
        let mut counts = Vec::with_capacity(columns);
        for first in (0..columns).step_by(TOGETHER) {
            let width = TOGETHER.min(columns - first);
            let mut behind = [[0u8; TOGETHER]; BINS - 1];
            for row in places.chunks_exact(columns) {
                let mut padded = [0; TOGETHER];
                padded[..width].copy_from_slice(&row[first..][..width]);
                for (behind, &end) in behind.iter_mut().zip(&self.ends) {
                    for (behind, place) in behind.iter_mut().zip(padded) {
                        *behind += u8::from(place > end);
                    }
                }
            }
            let of_column = |column: usize| behind.map(|behind| u32::from(behind[column]));
            counts.extend((0..width).map(|column| differences(rows as u32, of_column(column))));
        }
        counts
    }
}

/// The counts of the bins by how many of `all` symbols are behind the end of each but the last.
#[inline(always)]
fn differences(all: u32, behind: [u32; BINS - 1]) -> BinCounts {
    let before = |bin: usize| if bin == 0 { all } else { behind[bin - 1] };
    std::array::from_fn(|bin| before(bin) - behind.get(bin).copied().unwrap_or(0))
}

/// Bits that knowing the group of each saves, beyond what chance makes of it: in a group of `n` symbols in
/// `k` bins of like probability that is `(k - 1) / 2 + (k^2 - 1) / 12n` nats of theirs, to the second order
/// (B. Harris, "The statistical estimation of entropy in the non-parametric case", 1975).
fn information(groups: &[BinCounts]) -> f64 {
    let mut together = [0; BINS];
    for counts in groups {
        together.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let own: f64 = groups.iter().map(entropy_bits).sum();
    let all: u32 = together.iter().sum();
    let used = together.iter().filter(|&&count| count > 0).count() as f64;
    let first = (used - 1.0).max(0.0) * (groups.len() as f64 - 1.0).max(0.0) / 2.0;
    let of_each = f64::from(all) / groups.len().max(1) as f64;
    let second = (used * used - 1.0).max(0.0) * groups.len() as f64 / (12.0 * of_each.max(1.0));
    (entropy_bits(&together) - own - (first + second) * std::f64::consts::LOG2_E).max(0.0)
}

#[cfg(test)]
mod tests {
    use codec::split::{ElementLayout, Width};
    use wcodec_tests::Random;

    use super::super::subject::SymbolKind;
    use super::*;

    const ROW_ELEMENTS: usize = 256;

    /// Sums of two random numbers up to the scale that the column has.
    fn gain_with(scale: impl Fn(usize) -> u64) -> f64 {
        let random = &mut Random::new(3);
        let value = |place: usize| {
            let scale = scale(place % ROW_ELEMENTS);
            (random.bits() % scale + random.bits() % scale) as u8
        };
        let bytes: Vec<u8> = (0..256 * ROW_ELEMENTS).map(value).collect();
        gain(&Subject {
            tensor: 0,
            layout: ElementLayout { width: Width::One, rotated: false },
            symbols: SymbolKind::TopByte,
            bytes: &bytes,
            rows: 256,
            columns: ROW_ELEMENTS,
        })
    }

    #[test]
    fn bins_hold_what_is_in_them() {
        let random = &mut Random::new(5);
        for (columns, sign_bit) in [(1, 7), (63, 0), (64, 7), (65, 3), (200, 0)] {
            let symbols: Vec<u8> = (0..7 * columns)
                .map(|_| (random.bits() % 40 * (random.bits() % 7)) as u8)
                .collect();
            let mut counts = [0; ALPHABET];
            count_bytes(&mut counts, &symbols);
            let bins = Bins::new(&counts, sign_bit);
            let bin_of = |symbol: u8| {
                let place = symbol.rotate_right(sign_bit + 1);
                bins.ends.iter().filter(|&&end| place > end).count()
            };
            let mut rows = vec![[0; BINS]; 7];
            let mut of_columns = vec![[0; BINS]; columns];
            for (at, &symbol) in symbols.iter().enumerate() {
                rows[at / columns][bin_of(symbol)] += 1;
                of_columns[at % columns][bin_of(symbol)] += 1;
            }
            let mut places = symbols.clone();
            bins.turn_to_places(&mut places);
            assert_eq!(bins.of_rows(&places, columns), rows);
            assert_eq!(bins.of_columns(&places, columns), of_columns);
        }
    }

    #[test]
    fn columns_of_different_scales_promise_a_gain_and_equal_ones_none() {
        assert!(gain_with(|_| 60) < 0.002);
        assert!(gain_with(|column| if column % 2 == 0 { 20 } else { 110 }) > 0.03);
    }
}
