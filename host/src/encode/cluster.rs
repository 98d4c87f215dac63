//! Blocks of a tensor grouped by what they hold, so that each group can have its own table.
//!
//! Lloyd's algorithm ("Least squares quantization in PCM", 1957) with coding cost as the distance:
//! blocks go to the table that codes them in the fewest bits, tables are made anew from their
//! blocks. Rows of embeddings differ in scale, so that blocks of one tensor differ as well.

use codec::constants::{ALPHABET, MAX_BLOCK_ELEMENTS, PROBABILITY_BITS, TABLE_SIZE};
use rayon::prelude::*;

use super::histogram::PlaneCounts;
use super::tables::{NO_SLOT, SymbolBits, cost, stored_bits};
use crate::simd::level;

/// Numbers of groups that are tried after one.
const GROUP_COUNTS: [usize; 4] = [2, 4, 8, 16];
/// Blocks on which tables are found.
const SAMPLE_BLOCKS: usize = 256;
/// Rounds of assigning blocks and making tables; more change next to nothing.
const ROUNDS: usize = 3;
/// Bits that a block of a sample seems to gain by each doubling of groups where all are equal.
const NOISE_BITS: f64 = 2.0;
/// Blocks that a group needs on average to be worth trying.
const BLOCKS_PER_GROUP: usize = 2;

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
    if let [_] = blocks {
        return group_of(blocks, vec![0]).into_iter().collect();
    }
    let stride = blocks.len().div_ceil(SAMPLE_BLOCKS).max(1);
    let sample: Vec<&PlaneCounts> = blocks.iter().copied().step_by(stride).collect();
    let mut best = lloyd(&sample, 1);
    let mut least = total_bits(&sample, &best);
    for groups in GROUP_COUNTS {
        if sample.len() < groups * BLOCKS_PER_GROUP {
            break;
        }
        let candidate = lloyd(&sample, groups);
        let noise = (sampled - 1) as f64 * NOISE_BITS * groups.ilog2() as f64;
        let total = total_bits(&sample, &candidate) + noise * sample.len() as f64;
        if total >= least {
            break;
        }
        (best, least) = (candidate, total);
    }
    if stride == 1 { best } else { assign(blocks, &best) }
}

fn total_bits(blocks: &[&PlaneCounts], groups: &[Group]) -> f64 {
    let bits = |group: &Group| -> f64 {
        let members = group.members.iter().map(|&block| cost(blocks[block], &group.bits));
        members.sum::<f64>() + group.table_bits
    };
    groups.iter().map(bits).sum()
}

fn lloyd(blocks: &[&PlaneCounts], count: usize) -> Vec<Group> {
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    let means: Vec<f64> = blocks.iter().map(|counts| mean(counts)).collect();
    order.sort_by(|&a, &b| means[a].total_cmp(&means[b]));
    let share = blocks.len().div_ceil(count).max(1);
    let mut groups: Vec<Group> =
        order.chunks(share).filter_map(|m| group_of(blocks, m.to_vec())).collect();
    for _ in 0..if count > 1 { ROUNDS } else { 0 } {
        groups = assign(blocks, &groups);
    }
    for group in &mut groups {
        group.members.sort_unstable();
    }
    groups
}

/// Blocks by the table that codes them in the fewest bits, and new tables for what came together.
/// Blocks with a symbol that no table has all cost the same, and go to the first.
fn assign(blocks: &[&PlaneCounts], groups: &[Group]) -> Vec<Group> {
    let costs: Vec<usize> = blocks
        .par_iter()
        .map(|counts| {
            level().run(
                #[inline(always)]
                || {
                    let costs = groups.iter().map(|group| cost(counts, &group.bits));
                    let nearest = costs.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
                    nearest.map_or(0, |(group, _)| group)
                },
            )
        })
        .collect();
    let mut members = vec![Vec::new(); groups.len()];
    costs.into_iter().enumerate().for_each(|(block, group)| members[group].push(block));
    members.into_iter().filter_map(|members| group_of(blocks, members)).collect()
}

fn group_of(blocks: &[&PlaneCounts], members: Vec<usize>) -> Option<Group> {
    let counts = sum_of(blocks, &members);
    if counts.iter().filter(|&&count| count > 0).count() < 2 {
        return None;
    }
    let total: u64 = counts.iter().sum();
    let total_log = (total as f32).log2();
    let bits = counts.map(|count| match count {
        0 => NO_SLOT,
        _ => (total_log - (count as f32).log2()).min(PROBABILITY_BITS as f32),
    });
    let frequencies = counts.map(|count| match count {
        0 => 0,
        _ => (count * TABLE_SIZE as u64 / total) as u16,
    });
    Some(Group { bits, table_bits: stored_bits(&frequencies), counts, members })
}

/// The sum of the counts of `members`.
fn sum_of(blocks: &[&PlaneCounts], members: &[usize]) -> [u64; ALPHABET] {
    /// Blocks whose elements together 32 bits can count.
    const MEMBERS: usize = u32::MAX as usize / MAX_BLOCK_ELEMENTS;
    let mut sums = [0u64; ALPHABET];
    for members in members.chunks(MEMBERS) {
        let part = level().run(
            #[inline(always)]
            || {
                let mut part = [0u32; ALPHABET];
                for &block in members {
                    part.iter_mut().zip(blocks[block]).for_each(|(sum, count)| *sum += count);
                }
                part
            },
        );
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += u64::from(part));
    }
    sums
}

/// The mean value of a plane: for exponents, the scale of the block.
fn mean(counts: &PlaneCounts) -> f64 {
    let (sum, total) =
        counts.iter().enumerate().fold((0u64, 0u64), |(sum, total), (value, &count)| {
            (sum + value as u64 * u64::from(count), total + u64::from(count))
        });
    sum as f64 / total.max(1) as f64
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
}
