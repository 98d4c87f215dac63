//! A first look at a tensor: how much its rows and columns differ, and what classes of them may
//! therefore save.

use codec::constants::ALPHABET;

use super::subject::Subject;
use crate::encode::entropy::entropy_bits;
use crate::encode::histogram::count_bytes;

/// Rows that are looked at.
const ROWS: usize = 64;
/// Elements that are looked at, at most.
const ELEMENTS: usize = 1 << 17;
/// Bins that symbols fall into.
const BINS: usize = 16;

/// About the part of a tensor's bits that classes save at most: the mutual information of symbols
/// and columns, and that of symbols and rows, over the entropy of the symbols.
///
/// Symbols are taken in few bins of like probability, so that chance makes little of it; what it
/// does make of it is subtracted (G. A. Miller, "Note on the bias of information estimates", 1955).
pub(super) fn gain(subject: &Subject<'_>) -> f64 {
    let rows = subject.rows.min(ROWS).min((ELEMENTS / subject.columns).max(1));
    let (mut symbols, mut row) = (Vec::new(), Vec::new());
    for number in 0..rows {
        let at = number * subject.rows / rows;
        subject.symbols(at..at + 1, &mut row);
        symbols.extend_from_slice(&row);
    }
    let mut counts = [0; ALPHABET];
    count_bytes(&mut counts, &symbols);
    let bins = bins(&counts, subject.sign_bit());
    let mut of_columns = vec![[0; BINS]; subject.columns];
    let mut of_rows = vec![[0; BINS]; rows];
    for (symbols, of_row) in symbols.chunks_exact(subject.columns).zip(&mut of_rows) {
        // Neighbours are often in the same bin; each of the next elements has a counter of its own.
        let mut sets = [[0u32; BINS]; 4];
        for (symbols, of_columns) in symbols.chunks(4).zip(of_columns.chunks_mut(4)) {
            for ((&symbol, of_column), of_row) in symbols.iter().zip(of_columns).zip(&mut sets) {
                let bin = usize::from(bins[usize::from(symbol)]) % BINS;
                of_row[bin] += 1;
                of_column[bin] += 1;
            }
        }
        *of_row = std::array::from_fn(|bin| sets.iter().map(|set| set[bin]).sum());
    }
    let saved = information(&of_columns) + information(&of_rows);
    saved / entropy_bits(&counts).max(f64::MIN_POSITIVE)
}

/// The bin of each symbol: in the order of the signs, then of the other bits.
fn bins(counts: &[u64; ALPHABET], sign_bit: u32) -> [u8; ALPHABET] {
    let total: u64 = counts.iter().sum();
    let (mut bins, mut done) = ([0; ALPHABET], 0);
    for place in 0..=u8::MAX {
        let symbol = usize::from(place.rotate_left(sign_bit + 1));
        let middle = done + counts[symbol] / 2;
        bins[symbol] = (middle * BINS as u64 / total.max(1)).min(BINS as u64 - 1) as u8;
        done += counts[symbol];
    }
    bins
}

/// Bits that knowing the group of each saves, beyond what chance makes of it.
fn information(groups: &[[u32; BINS]]) -> f64 {
    let mut together = [0; BINS];
    for counts in groups {
        together.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let own: f64 = groups.iter().map(entropy_bits).sum();
    let used = together.iter().filter(|&&count| count > 0).count();
    let chance = (used.saturating_sub(1) * groups.len().saturating_sub(1)) as f64 / 2.0;
    (entropy_bits(&together) - own - chance * std::f64::consts::LOG2_E).max(0.0)
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
    fn columns_of_different_scales_promise_a_gain_and_equal_ones_none() {
        assert!(gain_with(|_| 60) < 0.002);
        assert!(gain_with(|column| if column % 2 == 0 { 20 } else { 110 }) > 0.03);
    }
}
