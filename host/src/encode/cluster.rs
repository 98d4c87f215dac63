//! Blocks of a tensor grouped by what they hold, so that each group can have its own table.
//!
//! Lloyd's algorithm ("Least squares quantization in PCM", 1957) with coding cost as the distance:
//! blocks go to the table that codes them in the fewest bits, tables are made anew from their
//! blocks. Rows of embeddings differ in scale, so that blocks of one tensor differ as well.

use std::ops::Range;

use codec::constants::{ALPHABET, MAX_BLOCK_ELEMENTS, PROBABILITY_BITS, TABLE_SIZE};
use rayon::prelude::*;

use super::entropy::{about_entropy_bits, about_log2};
use super::histogram::PlaneCounts;
use super::tables::{
    COST_SUMS, NO_SLOT, SymbolBits, cost_of_symbols, overfitting_bits, stored_bits,
};
use crate::simd::level;

/// Numbers of groups that are tried after one.
const GROUP_COUNTS: [usize; 4] = [2, 4, 8, 16];
/// Blocks on which tables are found.
const SAMPLE_BLOCKS: usize = 256;
/// Rounds of assigning blocks and making tables; more change next to nothing.
const ROUNDS: usize = 3;
/// Bits that a block of a sample seems to gain by each doubling of groups where all are equal.
const NOISE_BITS: f64 = 2.0;
/// Blocks that are worth handing to another thread.
const BLOCKS_AT_A_TIME: usize = 64;
/// Blocks that a group needs on average to be worth trying.
const BLOCKS_PER_GROUP: usize = 2;

/// Bits that every table takes.
const LEAST_TABLE_BITS: f64 = ALPHABET as f64;

/// A group of blocks, and what a table that suits them would cost.
pub(crate) struct Group {
    /// Bits of each symbol.
    pub(crate) bits: SymbolBits,
    /// Bits of the table itself.
    pub(crate) table_bits: f64,
    /// Sum of the blocks' counts.
    pub(crate) counts: [u64; ALPHABET],
    /// Positions in the list of blocks given to [`group_blocks`].
    pub(crate) members: Vec<usize>,
}

/// Groups `blocks`, none of which may be constant, so that blocks and tables together are small.
///
/// Tables are found on a sample of the blocks, and all blocks then go to the nearest. The search
/// ends where more groups stop paying, which for most tensors is at once. `sampled` is the stride of
/// the sample that counts come from: groups of equal blocks gain by its noise, times the stride.
pub(crate) fn group_blocks(blocks: &[&PlaneCounts], sampled: usize) -> Vec<Group> {
    let all = Blocks::new(blocks);
    if let [_] = blocks {
        return all.group_of(vec![0]).into_iter().collect();
    }
    let stride = blocks.len().div_ceil(SAMPLE_BLOCKS).max(1);
    let every: Vec<&PlaneCounts> = blocks.iter().copied().step_by(stride).collect();
    let sample = Blocks { counts: &every, symbols: all.symbols.clone() };
    let mut best = sample.lloyd(1);
    let mut least = sample.total_bits(&best);
    for groups in GROUP_COUNTS {
        if every.len() < groups * BLOCKS_PER_GROUP {
            break;
        }
        let candidate = sample.lloyd(groups);
        let noise = (sampled - 1) as f64 * NOISE_BITS * groups.ilog2() as f64;
        let total = sample.total_bits(&candidate) + noise * every.len() as f64;
        if total >= least {
            break;
        }
        (best, least) = (candidate, total);
    }
    if stride == 1 { best } else { all.assign(&best) }
}

/// The same of blocks of several tensors, of which each may be of another kind.
///
/// Beside what [`group_blocks`] finds, groups are opened as they are needed (DP-means: Kulis and Jordan,
/// "Revisiting k-means: new algorithms via Bayesian nonparametrics", 2012): a block that its own table would
/// gain more for than the table takes has one. What is smaller is returned.
pub(crate) fn group_tensors(blocks: &[&PlaneCounts], sampled: usize) -> Vec<Group> {
    let few = group_blocks(blocks, sampled);
    let blocks = Blocks::new(blocks);
    let opened = blocks.open_groups(sampled);
    if opened.len() <= few.len() {
        return few;
    }
    let opened = blocks.assign(&opened);
    let gain = blocks.total_bits(&few) - blocks.total_bits(&opened);
    let biases =
        |groups: &[Group]| -> f64 { groups.iter().map(|group| bias(&group.counts, sampled)).sum() };
    if gain > biases(&opened) - biases(&few) { opened } else { few }
}

/// Bits by which a table of counts of every `sampled`th symbol suits these better than all of them: half
/// of [`overfitting_bits`], since the table that is made in the end is not made of the sample.
fn bias<C: Copy + Default + PartialOrd>(counts: &[C; ALPHABET], sampled: usize) -> f64 {
    let used = counts.iter().filter(|&&count| count > C::default()).count();
    overfitting_bits(used, sampled) / 2.0
}

/// Blocks that are grouped.
struct Blocks<'a> {
    counts: &'a [&'a PlaneCounts],
    /// No block has others; those of weights' exponents are a fifth of all.
    symbols: Range<usize>,
}

impl<'a> Blocks<'a> {
    fn new(counts: &'a [&'a PlaneCounts]) -> Self {
        let any = level().run(
            #[inline(always)]
            || {
                let mut any = [0u32; ALPHABET];
                for counts in counts {
                    any.iter_mut().zip(*counts).for_each(|(any, count)| *any |= count);
                }
                any
            },
        );
        let first = any.iter().position(|&any| any > 0).unwrap_or_default();
        let end = any.iter().rposition(|&any| any > 0).map_or(first, |last| last + 1);
        // Whole vectors.
        let symbols = first / COST_SUMS * COST_SUMS..end.next_multiple_of(COST_SUMS);
        Self { counts, symbols }
    }

    #[inline(always)]
    fn cost(&self, block: usize, bits: &SymbolBits) -> f64 {
        cost_of_symbols(self.symbols.clone(), self.counts[block], bits)
    }

    fn total_bits(&self, groups: &[Group]) -> f64 {
        let bits = |group: &Group| -> f64 {
            let members = group.members.iter().map(|&block| self.cost(block, &group.bits));
            members.sum::<f64>() + group.table_bits
        };
        level().run(
            #[inline(always)]
            || groups.iter().map(bits).sum(),
        )
    }

    /// Groups, each of blocks to which the table of the first of them is the nearest.
    fn open_groups(&self, sampled: usize) -> Vec<Group> {
        let mut bits: Vec<SymbolBits> = Vec::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (block, counts) in self.counts.iter().enumerate() {
            let nearest = self.nearest(block, bits.iter());
            let most =
                |table_bits: f64| about_entropy_bits(counts) + table_bits + bias(counts, sampled);
            match nearest {
                Some((group, bits)) if bits <= most(LEAST_TABLE_BITS) => members[group].push(block),
                _ => {
                    let Some(own) = self.group_of(vec![block]) else { continue };
                    match nearest {
                        Some((group, bits)) if bits <= most(own.table_bits) => {
                            members[group].push(block);
                        }
                        _ => {
                            // What this block lacks, others may have, and the table will.
                            bits.push(own.bits.map(|bits| bits.min(PROBABILITY_BITS as f32)));
                            members.push(own.members);
                        }
                    }
                }
            }
        }
        members.into_iter().filter_map(|members| self.group_of(members)).collect()
    }

    /// Which of the tables codes a block in the fewest bits, and the bits.
    fn nearest<'b>(
        &self,
        block: usize,
        tables: impl Iterator<Item = &'b SymbolBits>,
    ) -> Option<(usize, f64)> {
        level().run(
            #[inline(always)]
            || {
                let costs = tables.map(|bits| self.cost(block, bits)).enumerate();
                costs.min_by(|a, b| a.1.total_cmp(&b.1))
            },
        )
    }

    fn lloyd(&self, count: usize) -> Vec<Group> {
        let mut order: Vec<usize> = (0..self.counts.len()).collect();
        if count == 1 {
            return self.group_of(order).into_iter().collect();
        }
        let means: Vec<f64> = order.iter().map(|&block| self.mean(block)).collect();
        order.sort_by(|&a, &b| means[a].total_cmp(&means[b]));
        let share = order.len().div_ceil(count).max(1);
        let mut groups: Vec<Group> =
            order.chunks(share).filter_map(|m| self.group_of(m.to_vec())).collect();
        for _ in 0..ROUNDS {
            groups = self.assign(&groups);
        }
        groups
    }

    /// Blocks by the table that codes them in the fewest bits, and new tables for what came together.
    /// Blocks with a symbol that no table has all cost the same, and go to the first.
    fn assign(&self, groups: &[Group]) -> Vec<Group> {
        let nearest = |block: usize| {
            let nearest = self.nearest(block, groups.iter().map(|group| &group.bits));
            nearest.map_or(0, |(group, _)| group)
        };
        let blocks = (0..self.counts.len()).into_par_iter().with_min_len(BLOCKS_AT_A_TIME);
        let nearest: Vec<usize> = blocks.map(nearest).collect();
        let mut members = vec![Vec::new(); groups.len()];
        nearest.into_iter().enumerate().for_each(|(block, group)| members[group].push(block));
        members.into_iter().filter_map(|members| self.group_of(members)).collect()
    }

    fn group_of(&self, members: Vec<usize>) -> Option<Group> {
        let counts = self.sum_of(&members);
        if counts.iter().filter(|&&count| count > 0).count() < 2 {
            return None;
        }
        let total: u64 = counts.iter().sum();
        let total_log = (total as f32).log2();
        let bits = level().run(
            #[inline(always)]
            || {
                counts.map(|count| {
                    let bits = total_log - about_log2((count as f32).max(1.0));
                    if count == 0 { NO_SLOT } else { bits.min(PROBABILITY_BITS as f32) }
                })
            },
        );
        let frequencies = counts.map(|count| match count {
            0 => 0,
            _ => (count * TABLE_SIZE as u64 / total) as u16,
        });
        Some(Group { bits, table_bits: stored_bits(&frequencies), counts, members })
    }

    /// The sum of the counts of `members`.
    fn sum_of(&self, members: &[usize]) -> [u64; ALPHABET] {
        /// Blocks whose elements together 32 bits can count.
        const MEMBERS: usize = u32::MAX as usize / MAX_BLOCK_ELEMENTS;
        let mut sums = [0u64; ALPHABET];
        for members in members.chunks(MEMBERS) {
            let part = level().run(
                #[inline(always)]
                || {
                    let mut part = [0u32; ALPHABET];
                    let part_symbols = &mut part[self.symbols.clone()];
                    for &block in members {
                        let counts = &self.counts[block][self.symbols.clone()];
                        part_symbols.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                    }
                    part
                },
            );
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += u64::from(part));
        }
        sums
    }

    /// The mean value of a plane: for exponents, the scale of the block.
    fn mean(&self, block: usize) -> f64 {
        let values = self.symbols.clone().zip(&self.counts[block][self.symbols.clone()]);
        let (sum, total) = values.fold((0u64, 0u64), |(sum, total), (value, &count)| {
            (sum + value as u64 * u64::from(count), total + u64::from(count))
        });
        sum as f64 / total.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(values: &[(usize, u32)]) -> PlaneCounts {
        let mut counts = [0; ALPHABET];
        values.iter().for_each(|&(value, count)| counts[value] = count);
        counts
    }

    #[test]
    fn two_kinds_of_blocks_get_two_tables() {
        let low = block(&[(10, 30_000), (11, 30_000)]);
        let high = block(&[(20, 30_000), (21, 30_000)]);
        let blocks: Vec<&PlaneCounts> =
            (0..12).map(|i| if i % 3 == 0 { &low } else { &high }).collect();
        let groups = group_blocks(&blocks, 1);
        assert_eq!(groups.len(), 2);
        let mut members: Vec<_> = groups.iter().map(|g| g.members.clone()).collect();
        members.sort();
        assert_eq!(members, [vec![0, 3, 6, 9], vec![1, 2, 4, 5, 7, 8, 10, 11]]);
    }

    #[test]
    fn equal_blocks_share_one_table_and_every_block_is_in_a_group() {
        let same = block(&[(1, 500), (2, 300), (9, 3)]);
        for count in [1, 2, 5, 40] {
            let groups = group_blocks(&vec![&same; count], 1);
            assert_eq!(groups.len(), 1);
            assert_eq!(groups[0].members, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn blocks_of_several_tensors_have_as_many_tables_as_pay() {
        // Three kinds in six blocks: too few blocks for so many groups of one tensor.
        let kinds: [PlaneCounts; 3] =
            std::array::from_fn(|kind| block(&[(60 * kind, 30_000), (60 * kind + 1, 20_000)]));
        let blocks: Vec<&PlaneCounts> = (0..6).map(|number| &kinds[number % 3]).collect();
        let groups = group_tensors(&blocks, 1);
        let mut members: Vec<_> = groups.iter().map(|g| g.members.clone()).collect();
        members.sort();
        assert_eq!(members, [[0, 3], [1, 4], [2, 5]]);
        // What a table would gain is less than it takes.
        let small: [PlaneCounts; 2] =
            std::array::from_fn(|kind| block(&[(kind, 30), (kind + 1, 20), (kind + 2, 10)]));
        let blocks: Vec<&PlaneCounts> = (0..4).map(|number| &small[number % 2]).collect();
        assert_eq!(group_tensors(&blocks, 1).len(), 1);
    }
}
