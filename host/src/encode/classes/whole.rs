//! The classes of all rows of a tensor, exact counts, and whether they are worth it.

use codec::constants::ALPHABET;
use codec::rans::{is_escaped_head, normalize};
use rayon::prelude::*;

use super::TensorClasses;
use super::exact::find_exact_rows;
use super::sample::{RowCosts, Sample};
use super::shared::SharedTables;
use super::subject::{Subject, SymbolKind};
use crate::encode::tables::{Table, TablePool, cost_of_many};
use crate::format::ClassesRecord;

/// Elements that a thread classifies at a time.
const JOB_ELEMENTS: usize = 1 << 18;

/// A tensor with the class of each row, and what each shared table is to code of it.
pub(super) struct Classified<'a> {
    subject: Subject<'a>,
    row_classes: Vec<u8>,
    column_classes: Vec<u8>,
    column_count: usize,
    choice: Vec<usize>,
    counts: Vec<[u64; ALPHABET]>,
}

/// Gives every row of the sample's tensor its class, and counts its symbols.
pub(super) fn classify<'a>(sample: Sample<'a>, shared: &SharedTables) -> Classified<'a> {
    let Sample { subject, classes, .. } = sample;
    let costs = RowCosts::new(&classes, &shared.bits);
    let rows_per_job = (JOB_ELEMENTS / subject.columns).max(1);
    let jobs: Vec<(Vec<u8>, Vec<[u64; ALPHABET]>)> = (0..subject.rows.div_ceil(rows_per_job))
        .into_par_iter()
        .map(|job| {
            let mut symbols = Vec::new();
            let end = subject.rows.min((job + 1) * rows_per_job);
            subject.symbols(job * rows_per_job..end, &mut symbols);
            let mut counts = vec![[0u32; ALPHABET]; shared.bits.len()];
            let mut rows = vec![0; symbols.len() / subject.columns];
            costs.assign(&symbols, &mut rows);
            for (symbols, &class) in symbols.chunks_exact(subject.columns).zip(&rows) {
                let choice = &classes.choice[usize::from(class) * classes.column_count..];
                for (&symbol, &column) in symbols.iter().zip(&classes.columns) {
                    counts[choice[usize::from(column)]][usize::from(symbol)] += 1;
                }
            }
            (rows, counts.into_iter().map(|counts| counts.map(u64::from)).collect())
        })
        .collect();
    let mut counts = vec![[0; ALPHABET]; shared.bits.len()];
    let mut row_classes = Vec::with_capacity(subject.rows);
    for (rows, part) in jobs {
        row_classes.extend(rows);
        for (sum, part) in counts.iter_mut().zip(part) {
            sum.iter_mut().zip(part).for_each(|(sum, count)| *sum += count);
        }
    }
    Classified {
        subject,
        row_classes,
        column_classes: classes.columns,
        column_count: classes.column_count,
        choice: classes.choice,
        counts,
    }
}

/// The tensors that classes make smaller, each with its number. Their tables go to `pool`.
pub(super) fn choose(
    tensors: Vec<Classified<'_>>,
    shared: &SharedTables,
    least_gain: f64,
    pool: &mut TablePool,
) -> Vec<(usize, TensorClasses)> {
    let mut sums = vec![[0u64; ALPHABET]; shared.bits.len()];
    for counts in tensors.iter().map(|tensor| &tensor.counts) {
        for (sum, counts) in sums.iter_mut().zip(counts) {
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
    let tables: Vec<Option<Table>> = sums.iter().map(table_of).collect();
    let chosen: Vec<Classified<'_>> =
        tensors.into_iter().filter(|tensor| tensor.is_worth_it(&tables, least_gain)).collect();
    // In the order of the tables, so that the same ones get the same numbers in every run.
    let used = |table: usize| chosen.iter().any(|tensor| tensor.choice.contains(&table));
    let ids: Vec<Option<u32>> = tables
        .into_iter()
        .enumerate()
        .map(|(number, table)| table.filter(|_| used(number)).map(|table| pool.add(table)))
        .collect();
    let with_exact_rows = |tensor: Classified<'_>| {
        let (number, exact) = (tensor.subject.tensor, find_exact_rows(&tensor.subject, pool));
        (number, TensorClasses { exact, ..tensor.into_classes(&ids) })
    };
    chosen.into_iter().map(with_exact_rows).collect()
}

/// A table for `counts`; none where nothing was counted.
pub(super) fn table_of(counts: &[u64; ALPHABET]) -> Option<Table> {
    let only = counts.iter().position(|&count| count > 0)?;
    let mut counts = *counts;
    // A table has two symbols at least.
    counts[only ^ 1] = counts[only ^ 1].max(1);
    normalize(&counts).ok().map(|frequencies| Table::new(&frequencies, None))
}

impl Classified<'_> {
    /// Whether classes save `least_gain`, a part of what a single table takes.
    fn is_worth_it(&self, tables: &[Option<Table>], least_gain: f64) -> bool {
        let mut together = [0u64; ALPHABET];
        let mut bits = self.side_bits();
        for (counts, table) in self.counts.iter().zip(tables) {
            together.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            bits += table.as_ref().map_or(0.0, |table| cost_of_many(counts, &table.bits));
        }
        let plain = match self.subject.symbols {
            SymbolKind::TopByte => entropy_bits(&together),
            SymbolKind::Head { .. } => {
                let escaped = together.iter().enumerate();
                let escaped = escaped.filter(|(symbol, _)| is_escaped_head(*symbol as u8));
                bits += 8.0 * escaped.map(|(_, &count)| count as f64).sum::<f64>();
                let mut exponents = [0u64; ALPHABET];
                for (symbol, &count) in together.iter().enumerate() {
                    exponents[symbol >> 4] += count;
                }
                entropy_bits(&exponents) + 4.0 * together.iter().sum::<u64>() as f64
            }
        };
        bits < plain * (1.0 - least_gain)
    }

    /// About the bits that the classes themselves take.
    fn side_bits(&self) -> f64 {
        let list = |classes: &[u8]| {
            let mut counts = [0u64; ALPHABET];
            classes.iter().for_each(|&class| counts[usize::from(class)] += 1);
            entropy_bits(&counts)
        };
        list(&self.row_classes) + list(&self.column_classes) + 2.0 * self.choice.len() as f64
    }

    fn into_classes(self, ids: &[Option<u32>]) -> TensorClasses {
        let mut used: Vec<usize> = self.choice.clone();
        used.sort_unstable();
        used.dedup();
        // A pair of classes without elements may have a table that codes nothing anywhere.
        used.retain(|&table| ids[table].is_some());
        let position = |table: &usize| used.binary_search(table).unwrap_or(0) as u8;
        TensorClasses {
            exact: None,
            symbols: self.subject.symbols,
            record: ClassesRecord {
                columns: self.subject.columns as u64,
                row_classes: self.row_classes,
                column_classes: self.column_classes,
                column_class_count: self.column_count as u8,
                choice: self.choice.iter().map(position).collect(),
                tables: used.iter().filter_map(|&table| ids[table]).collect(),
            },
        }
    }
}

/// Bits of counted symbols by their own entropy.
fn entropy_bits(counts: &[u64; ALPHABET]) -> f64 {
    let total: u64 = counts.iter().sum();
    let bits = |&count: &u64| -(count as f64) * (count as f64 / total as f64).log2();
    counts.iter().filter(|&&count| count > 0).map(bits).sum()
}
