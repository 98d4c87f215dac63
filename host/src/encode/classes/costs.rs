//! Histograms of symbols, and what they cost with a table.

use codec::constants::ALPHABET;

use crate::simd::level;

/// Counts of symbols; sums of samples, so that halves do not occur.
pub(super) type Histogram = [f32; ALPHABET];

/// Bits of each symbol.
pub(super) type Bits = [f32; ALPHABET];

/// The most bits that a symbol is taken to cost, about what a single slot does.
const MOST_BITS: f32 = 13.0;

/// The bits of each symbol by their share of `counts`.
pub(super) fn bits_of(counts: &Histogram) -> Bits {
    let total: f32 = counts.iter().sum();
    if total <= 0.0 {
        return [MOST_BITS; ALPHABET];
    }
    counts.map(|count| if count > 0.0 { (total / count).log2().min(MOST_BITS) } else { MOST_BITS })
}

/// Bits that `counts` cost.
#[inline(always)]
pub(super) fn cost(counts: &Histogram, bits: &Bits) -> f32 {
    // Sixteen sums side by side, which a processor adds up at the same time.
    let mut sums = [0f32; 16];
    for (counts, bits) in counts.as_chunks::<16>().0.iter().zip(bits.as_chunks::<16>().0) {
        for ((sum, count), bits) in sums.iter_mut().zip(counts).zip(bits) {
            *sum += count * bits;
        }
    }
    sums.iter().sum()
}

/// Adds `counts` to `sum`.
pub(super) fn add(sum: &mut Histogram, counts: &Histogram) {
    sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}

/// The position of the smallest of `costs`, the first of equals.
#[inline(always)]
pub(super) fn cheapest(costs: impl Iterator<Item = f32>) -> usize {
    costs.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(position, _)| position)
}

/// Groups of `histograms`, at most `groups`, each coded with a table of its own, after some rounds
/// of Lloyd's algorithm; `order` says by its groups' runs which begin together.
pub(super) fn cluster(
    histograms: &[Histogram],
    order: &[usize],
    groups: usize,
    rounds: usize,
) -> Vec<Histogram> {
    let total: f32 = histograms.iter().flatten().sum();
    let mut sums = vec![[0f32; ALPHABET]; groups];
    let mut done = 0f32;
    for &position in order {
        let own: f32 = histograms[position].iter().sum();
        let share = (done + own / 2.0) / total.max(1.0) * groups as f32;
        add(&mut sums[(share as usize).min(groups - 1)], &histograms[position]);
        done += own;
    }
    for _ in 0..rounds {
        let bits: Vec<Bits> = sums.iter().map(bits_of).collect();
        sums = vec![[0f32; ALPHABET]; groups];
        for histogram in histograms {
            let group = level().run(
                #[inline(always)]
                || cheapest(bits.iter().map(|bits| cost(histogram, bits))),
            );
            add(&mut sums[group], histogram);
        }
    }
    sums.retain(|sum| sum.iter().any(|&count| count > 0.0));
    sums
}
