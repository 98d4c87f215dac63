//! The tables that all tensors of a kind choose from.

use codec::constants::ALPHABET;
use rayon::prelude::*;

use super::costs::{Bits, Histogram, add, bits_of, cluster, cost};
use super::sample::{Part, Sample};

/// Tables of a kind.
const TABLES: usize = 64;
/// Rounds in which they are found from the tensors' own first tables.
const CLUSTER_ROUNDS: usize = 6;
/// Rounds in which rows and columns change their class: of half of the rows in turn, in the last of all.
const ROUNDS: usize = 5;

/// The tables of a kind of tensors.
pub(super) struct SharedTables {
    pub(super) bits: Vec<Bits>,
}

impl SharedTables {
    /// Finds tables, and with them the classes of the samples.
    pub(super) fn fit(samples: &mut [Sample<'_>]) -> Self {
        let first: Vec<Histogram> =
            samples.par_iter().map(Sample::first_tables).collect::<Vec<_>>().concat();
        let mut sums = vec![[0f32; ALPHABET]; 1];
        first.iter().for_each(|histogram| add(&mut sums[0], histogram));
        let together = bits_of(&sums[0]);
        // From tables of short codes to tables of long ones.
        let length = |histogram: &Histogram| {
            cost(histogram, &together) / histogram.iter().sum::<f32>().max(1.0)
        };
        let lengths: Vec<f32> = first.iter().map(length).collect();
        let mut order: Vec<usize> = (0..first.len()).collect();
        order.sort_by(|&a, &b| lengths[a].total_cmp(&lengths[b]));
        let mut sums = cluster(&first, &order, TABLES.min(first.len()).max(1), CLUSTER_ROUNDS);
        for round in 0..=ROUNDS {
            let bits: Vec<Bits> = sums.iter().map(bits_of).collect();
            let parts: Vec<Vec<Histogram>> = samples
                .par_iter_mut()
                .map(|sample| {
                    let part = if round == ROUNDS { Part::All } else { Part::Half(round) };
                    if round > 0 {
                        sample.reassign(&bits, part);
                    }
                    let mut sums = vec![[0f32; ALPHABET]; bits.len()];
                    sample.choose_tables(&bits, part, &mut sums);
                    sums
                })
                .collect();
            sums.fill([0.0; ALPHABET]);
            for part in &parts {
                sums.iter_mut().zip(part).for_each(|(sum, part)| add(sum, part));
            }
        }
        Self { bits: sums.iter().map(bits_of).collect() }
    }
}
