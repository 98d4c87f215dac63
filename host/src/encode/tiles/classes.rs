//! Tables by class: classes of coded elements that are alike share one.

use codec::constants::ALPHABET;
use codec::rans::normalize;
use codec::tile::TILE_CLASSES;

use super::Histogram;
use super::whole::{ClassCounts, together};
use crate::encode::entropy::entropy_bits;
use crate::encode::tables::{Table, TablePool, stored_bits};
use crate::format::{PlaneRecord, TileClassesRecord};

/// Numbers of tables to try.
const TABLES: [usize; 4] = [2, 4, 8, 16];
/// Rounds of Lloyd's algorithm, with coding cost as the distance.
const ROUNDS: usize = 6;
/// Part of a plane's bits that it must save to be coded at all, or by class.
const LEAST_GAIN: f64 = 1.0 / 64.0;
/// About the bits of a class' choice, deflated.
const CHOICE_BITS: f64 = 2.0;

/// Classes with the table of each, and what that codes.
struct Grouping {
    choice: Vec<u8>,
    sums: Vec<Histogram>,
    bits: f64,
}

/// About the bits of all planes with tables by class.
pub(super) fn bits(counts: &ClassCounts) -> f64 {
    counts.planes.iter().map(|plane| group(plane).bits).sum()
}

/// The records of all planes, and the classes that they name, if classes save anything.
pub(super) fn choose(
    counts: &ClassCounts,
    pool: &mut TablePool,
) -> Option<(Vec<PlaneRecord>, Vec<TileClassesRecord>)> {
    let groupings: Vec<Grouping> = counts.planes.iter().map(|plane| group(plane)).collect();
    let plain: f64 = counts.planes.iter().map(|plane| single(plane).bits).sum();
    let grouped: f64 = groupings.iter().map(|grouping| grouping.bits).sum();
    if grouped > plain * (1.0 - LEAST_GAIN) {
        return None;
    }
    let mut classes = Vec::new();
    let mut record_of = |(plane, grouping): (&Vec<Histogram>, Grouping)| {
        let all = together(plane);
        let elements: u64 = all.iter().sum();
        let mut values = (0..=u8::MAX).filter(|&value| all[usize::from(value)] > 0);
        if let (Some(value), None) = (values.next(), values.next()) {
            return PlaneRecord::Constant(value);
        }
        if grouping.bits > 8.0 * elements as f64 * (1.0 - LEAST_GAIN) {
            return PlaneRecord::Raw;
        }
        let tables = grouping.sums.iter().map(|counts| pool.add(table_of(counts))).collect();
        classes.push(TileClassesRecord { choice: grouping.choice, tables });
        PlaneRecord::Classes(classes.len() as u32 - 1)
    };
    let records = counts.planes.iter().zip(groupings).map(&mut record_of).collect();
    Some((records, classes))
}

/// The grouping of a plane's classes that takes the fewest bits, tables included.
fn group(plane: &[Histogram]) -> Grouping {
    let used: Vec<usize> =
        (0..plane.len()).filter(|&class| plane[class].iter().any(|&count| count > 0)).collect();
    let tries = TABLES.iter().map(|&tables| clustered(plane, &used, tables));
    tries.fold(
        single(plane),
        |best, grouping| {
            if grouping.bits < best.bits { grouping } else { best }
        },
    )
}

fn single(plane: &[Histogram]) -> Grouping {
    Grouping::new(vec![0; TILE_CLASSES], vec![together(plane)])
}

impl Grouping {
    fn new(choice: Vec<u8>, sums: Vec<Histogram>) -> Self {
        let of_table = |counts: &Histogram| {
            let frequencies = normalize(&with_two_values(counts));
            let table = frequencies.map_or(0.0, |table| stored_bits(table.as_array()));
            entropy_bits(counts) + table
        };
        let mut bits: f64 = sums.iter().map(of_table).sum();
        if sums.len() > 1 {
            bits += CHOICE_BITS * choice.len() as f64;
        }
        Self { choice, sums, bits }
    }
}

/// At most `tables` groups of the `used` classes; all others have the first's table.
fn clustered(plane: &[Histogram], used: &[usize], tables: usize) -> Grouping {
    let mean_bits = |class: usize| {
        let counts = &plane[class];
        entropy_bits(counts) / counts.iter().sum::<u64>() as f64
    };
    let mut order: Vec<(f64, usize)> =
        used.iter().map(|&class| (mean_bits(class), class)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut choice = vec![0u8; TILE_CLASSES];
    for (position, &(_, class)) in order.iter().enumerate() {
        choice[class] = (position * tables / order.len()) as u8;
    }
    let mut sums = sums_of(plane, used, &choice, tables);
    for _ in 0..ROUNDS {
        let bits: Vec<[f64; ALPHABET]> = sums.iter().map(bits_of).collect();
        for &class in used {
            let costs = bits.iter().map(|bits| cost(&plane[class], bits));
            let best = costs.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
            choice[class] = best.map_or(0, |(table, _)| table as u8);
        }
        sums = sums_of(plane, used, &choice, tables);
    }
    without_empty(choice, sums)
}

fn sums_of(plane: &[Histogram], used: &[usize], choice: &[u8], tables: usize) -> Vec<Histogram> {
    let mut sums = vec![[0; ALPHABET]; tables];
    for &class in used {
        let sum = &mut sums[usize::from(choice[class])];
        sum.iter_mut().zip(&plane[class]).for_each(|(sum, count)| *sum += count);
    }
    sums
}

/// Bits of each byte; those that do not occur count a quarter.
fn bits_of(counts: &Histogram) -> [f64; ALPHABET] {
    let total = counts.iter().sum::<u64>() as f64 + ALPHABET as f64 / 4.0;
    counts.map(|count| (total / (count as f64).max(0.25)).log2())
}

fn cost(counts: &Histogram, bits: &[f64; ALPHABET]) -> f64 {
    counts.iter().zip(bits).map(|(&count, bits)| count as f64 * bits).sum()
}

/// Leaves out tables that code nothing.
fn without_empty(choice: Vec<u8>, sums: Vec<Histogram>) -> Grouping {
    let mut numbers = vec![0u8; sums.len()];
    let mut kept = Vec::new();
    for (table, counts) in sums.into_iter().enumerate() {
        if counts.iter().any(|&count| count > 0) {
            numbers[table] = kept.len() as u8;
            kept.push(counts);
        }
    }
    let choice = choice.into_iter().map(|table| numbers[usize::from(table)]).collect();
    Grouping::new(choice, kept)
}

/// A table has two symbols at least.
fn with_two_values(counts: &Histogram) -> Histogram {
    let mut counts = *counts;
    let first = counts.iter().position(|&count| count > 0).unwrap_or(0);
    counts[first] = counts[first].max(1);
    counts[first ^ 1] = counts[first ^ 1].max(1);
    counts
}

fn table_of(counts: &Histogram) -> Table {
    let frequencies = normalize(&with_two_values(counts)).expect("two symbols occur");
    Table::new(&frequencies, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_differ_get_tables_of_their_own() {
        let mut plane = vec![[0; ALPHABET]; TILE_CLASSES];
        for (class, counts) in plane.iter_mut().take(6).enumerate() {
            let values = if class % 2 == 0 { 0..4 } else { 100..164 };
            counts[values].fill(5000);
        }
        let grouping = group(&plane);
        assert_eq!(grouping.sums.len(), 2);
        assert_eq!(grouping.choice[0], grouping.choice[4]);
        assert_ne!(grouping.choice[0], grouping.choice[1]);
        assert_eq!(grouping.choice[1], grouping.choice[5]);
    }

    #[test]
    fn classes_alike_share_a_table() {
        let mut plane = vec![[0; ALPHABET]; TILE_CLASSES];
        plane[..8].fill([7; ALPHABET]);
        assert_eq!(group(&plane).sums.len(), 1);
    }
}
