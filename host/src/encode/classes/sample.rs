//! The classes of the rows of a sample of a tensor, and of all its columns.

use codec::constants::ALPHABET;

use super::costs::{Bits, Histogram, bits_of, cheapest, cluster, cost};
use super::subject::Subject;
use crate::format::MAX_CLASS_TABLES;
use crate::simd::level;

/// Classes of rows, and classes of columns, at most: as many as a vector register has numbers.
pub(super) const CLASSES: usize = 16;
/// Classes of rows at the start.
const ROW_CLASSES: i32 = 12;
/// Classes of columns by scale at the start; times three by the share of negative numbers.
const COLUMN_SCALES: i32 = 5;
/// Bits of a mean code length from one class to the next at the start.
const STEP_BITS: f32 = 0.12;
/// Share of negative numbers from one class to the next at the start.
const SIGN_STEP: f32 = 0.096;
/// Tables of a tensor.
const TABLES: usize = 12;
/// Rounds in which a tensor's first tables are found.
const CLUSTER_ROUNDS: usize = 4;
/// Rows whose costs are added up before they are added to those of the columns.
const TOGETHER: usize = 4;
/// Rows that get their class at a time.
const ROWS_TOGETHER: usize = 32;
/// Rows that a [`Part`] takes, or leaves, together.
const BAND_ROWS: usize = 32;
/// Bits that another table of a tensor must save.
const LEAST_TABLE_GAIN: f32 = 64.0;

const _: () = assert!(TABLES <= MAX_CLASS_TABLES);

/// Which rows of a sample are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// All of them.
    All,
    /// Every other band of rows, one of them this number.
    Half(usize),
}

impl Part {
    fn takes(self, band: usize) -> bool {
        match self {
            Self::All => true,
            Self::Half(one) => band % 2 == one % 2,
        }
    }
}

/// What a class pair's symbol costs, for all classes of the other side at once.
pub(super) type CostRow = [f32; CLASSES];

/// The classes of a matrix.
#[derive(Clone)]
pub(super) struct Classes {
    pub(super) rows: Vec<u8>,
    pub(super) columns: Vec<u8>,
    pub(super) row_count: usize,
    pub(super) column_count: usize,
    /// The shared table of row class `r` and column class `c`, at `r * column_count + c`.
    pub(super) choice: Vec<usize>,
}

/// Some rows of a tensor, all of them where there are few.
pub(super) struct Sample<'a> {
    pub(super) subject: Subject<'a>,
    symbols: Vec<u8>,
    pub(super) classes: Classes,
}

impl<'a> Sample<'a> {
    /// A sample of about `elements` elements, in classes by how many bits rows and columns take with
    /// one table.
    pub(super) fn new(subject: Subject<'a>, elements: usize) -> Self {
        let wanted = (elements / subject.columns).clamp(1, subject.rows);
        let (mut symbols, mut row) = (Vec::new(), Vec::new());
        for number in 0..wanted {
            let at = number * subject.rows / wanted;
            subject.symbols(at..at + 1, &mut row);
            symbols.extend_from_slice(&row);
        }
        let classes = first_classes(&subject, &symbols);
        Self { subject, symbols, classes }
    }

    /// Counts of the symbols of each pair of classes, in the rows that `part` takes.
    fn histograms(&self, part: Part) -> Vec<Histogram> {
        let classes = &self.classes;
        let mut counts = vec![[0u32; ALPHABET]; classes.row_count * classes.column_count];
        let rows = self.symbols.chunks_exact(self.subject.columns).zip(&classes.rows).enumerate();
        for (_, (symbols, &row)) in rows.filter(|(row, _)| part.takes(row / BAND_ROWS)) {
            let counts = &mut counts[usize::from(row) * classes.column_count..];
            for (&symbol, &column) in symbols.iter().zip(&classes.columns) {
                counts[usize::from(column)][usize::from(symbol)] += 1;
            }
        }
        counts.into_iter().map(|counts| counts.map(|count| count as f32)).collect()
    }

    /// Tables that suit the first classes.
    pub(super) fn first_tables(&self) -> Vec<Histogram> {
        let histograms = self.histograms(Part::All);
        let columns = self.classes.column_count;
        let mut order: Vec<usize> = (0..histograms.len()).collect();
        order.sort_by_key(|pair| (pair / columns + pair % columns, *pair));
        cluster(&histograms, &order, TABLES, CLUSTER_ROUNDS)
    }

    /// Gives each pair of classes one of at most [`TABLES`] of the tables, and adds what each codes
    /// to `sums`, both in the rows that `part` takes.
    pub(super) fn choose_tables(&mut self, tables: &[Bits], part: Part, sums: &mut [Histogram]) {
        let histograms = self.histograms(part);
        self.classes.choice = choose_few(&histograms, tables);
        for (histogram, &table) in histograms.iter().zip(&self.classes.choice) {
            super::costs::add(&mut sums[table], histogram);
        }
    }

    /// Moves rows, then columns, to the classes that code them in the fewest bits; the rows that
    /// `part` takes, which also stand for the others.
    pub(super) fn reassign(&mut self, tables: &[Bits], part: Part) {
        let columns = self.subject.columns;
        let costs = RowCosts::new(&self.classes, tables);
        let bands = self.symbols.chunks(BAND_ROWS * columns);
        let bands = || bands.clone().enumerate().filter(|(band, _)| part.takes(*band));
        for (band, symbols) in bands() {
            let rows = self.classes.rows.chunks_mut(BAND_ROWS).nth(band);
            costs.assign(symbols, rows.unwrap_or_default());
        }
        let by_column = column_costs(&self.classes, tables);
        let prior = prior_bits(&self.classes.columns, self.classes.column_count);
        let mut sums = vec![prior; columns];
        for (symbols, rows) in bands().flat_map(|(band, symbols)| {
            let rows = self.classes.rows.chunks(BAND_ROWS).nth(band).unwrap_or_default();
            symbols.chunks(TOGETHER * columns).zip(rows.chunks(TOGETHER))
        }) {
            level().run(
                #[inline(always)]
                || add_column_costs(&mut sums, &by_column, rows, symbols),
            );
        }
        for (class, sum) in self.classes.columns.iter_mut().zip(&sums) {
            *class = cheapest(sum[..self.classes.column_count].iter().copied()) as u8;
        }
    }
}

/// Adds what each column's symbols in a few rows cost in each column class; the rows' classes are
/// `rows`.
#[inline(always)]
fn add_column_costs(sums: &mut [CostRow], by_column: &[CostRow], rows: &[u8], symbols: &[u8]) {
    let costs = |row: usize| &by_column[usize::from(rows[row]) * ALPHABET..][..ALPHABET];
    if rows.len() < TOGETHER {
        for (row, symbols) in symbols.chunks_exact(sums.len()).enumerate() {
            for (sum, &symbol) in sums.iter_mut().zip(symbols) {
                *sum = added(sum, &costs(row)[usize::from(symbol)]);
            }
        }
        return;
    }
    let costs: [_; TOGETHER] = std::array::from_fn(costs);
    let columns = sums.len();
    let symbols: [_; TOGETHER] = std::array::from_fn(|row| &symbols[row * columns..][..columns]);
    for (column, sum) in sums.iter_mut().enumerate() {
        let costs = |row: usize| &costs[row][usize::from(symbols[row][column])];
        *sum = added(sum, &added(&added(costs(0), costs(1)), &added(costs(2), costs(3))));
    }
}

/// What a tensor's symbols cost in each row class.
pub(super) struct RowCosts {
    /// Bits of saying the class of a row.
    prior: CostRow,
    row_count: usize,
    columns: usize,
    /// For each column class its columns, and for each symbol its bits in each row class.
    by_column: Vec<(Vec<u32>, Box<[CostRow; ALPHABET]>)>,
}

impl RowCosts {
    /// The costs with the tables that `classes` have chosen.
    pub(super) fn new(classes: &Classes, tables: &[Bits]) -> Self {
        let mut by_column: Vec<_> = (0..classes.column_count)
            .map(|_| (Vec::new(), Box::new([[0.0; CLASSES]; ALPHABET])))
            .collect();
        for (column, &class) in classes.columns.iter().enumerate() {
            by_column[usize::from(class)].0.push(column as u32);
        }
        for (pair, &table) in classes.choice.iter().enumerate() {
            let (row, column) = (pair / classes.column_count, pair % classes.column_count);
            for (costs, bits) in by_column[column].1.iter_mut().zip(&tables[table]) {
                costs[row] = *bits;
            }
        }
        Self {
            prior: prior_bits(&classes.rows, classes.row_count),
            row_count: classes.row_count,
            columns: classes.columns.len(),
            by_column,
        }
    }

    /// The classes that code whole rows of symbols in the fewest bits, to `classes`.
    pub(super) fn assign(&self, symbols: &[u8], classes: &mut [u8]) {
        let some = symbols.chunks(ROWS_TOGETHER * self.columns);
        for (symbols, classes) in some.zip(classes.chunks_mut(ROWS_TOGETHER)) {
            level().run(
                #[inline(always)]
                || self.assign_some(symbols, classes),
            );
        }
    }

    /// The same for a few rows, column class by column class, so that the costs of one stay in the
    /// nearest cache.
    #[inline(always)]
    fn assign_some(&self, symbols: &[u8], classes: &mut [u8]) {
        let mut sums = [self.prior; ROWS_TOGETHER];
        for (columns, costs) in &self.by_column {
            let (pairs, last) = columns.as_chunks::<2>();
            for (symbols, sum) in symbols.chunks_exact(self.columns).zip(&mut sums) {
                let cost = |column: u32| &costs[usize::from(symbols[column as usize])];
                // Two sums, so that one addition need not wait for the other.
                let (mut even, mut odd) = (*sum, [0.0; CLASSES]);
                for &[first, second] in pairs {
                    even = added(&even, cost(first));
                    odd = added(&odd, cost(second));
                }
                for &column in last {
                    odd = added(&odd, cost(column));
                }
                *sum = added(&even, &odd);
            }
        }
        for (class, sum) in classes.iter_mut().zip(&sums) {
            *class = cheapest(sum[..self.row_count].iter().copied()) as u8;
        }
    }
}

/// Both, class by class.
#[inline(always)]
fn added(a: &CostRow, b: &CostRow) -> CostRow {
    std::array::from_fn(|class| a[class] + b[class])
}

/// For each row class and symbol, its bits in each column class.
fn column_costs(classes: &Classes, tables: &[Bits]) -> Vec<CostRow> {
    let mut costs = vec![[0.0; CLASSES]; classes.row_count * ALPHABET];
    for (pair, &table) in classes.choice.iter().enumerate() {
        let (row, column) = (pair / classes.column_count, pair % classes.column_count);
        for (costs, bits) in costs[row * ALPHABET..].iter_mut().zip(&tables[table]) {
            costs[column] = *bits;
        }
    }
    costs
}

/// Bits that saying the class of a row takes, by how many are of it.
fn prior_bits(members: &[u8], count: usize) -> CostRow {
    let mut counts = [0u32; CLASSES];
    members.iter().for_each(|&class| counts[usize::from(class)] += 1);
    let mut bits = [0.0; CLASSES];
    for (bits, &own) in bits.iter_mut().zip(&counts[..count]) {
        *bits = (members.len() as f32 / (own as f32 + 0.5)).log2();
    }
    bits
}

/// For each histogram one of the tables, at most [`TABLES`] of them in all: one after the other the
/// one that saves the most.
fn choose_few(histograms: &[Histogram], tables: &[Bits]) -> Vec<usize> {
    let costs_of = |histogram| tables.iter().map(|bits| cost(histogram, bits)).collect();
    let costs: Vec<Vec<f32>> = level().run(
        #[inline(always)]
        || histograms.iter().map(costs_of).collect(),
    );
    let mut chosen: Vec<usize> = Vec::new();
    let mut least = vec![f32::INFINITY; histograms.len()];
    for _ in 0..TABLES.min(tables.len()) {
        let total = |table: usize| -> f32 {
            costs.iter().zip(&least).map(|(costs, least)| costs[table].min(*least)).sum()
        };
        let best = cheapest((0..tables.len()).map(total));
        let before: f32 = least.iter().sum();
        if before - total(best) < LEAST_TABLE_GAIN {
            break;
        }
        chosen.push(best);
        least.iter_mut().zip(&costs).for_each(|(least, costs)| *least = least.min(costs[best]));
    }
    let nearest = |costs: &Vec<f32>| chosen[cheapest(chosen.iter().map(|&table| costs[table]))];
    costs.iter().map(nearest).collect()
}

/// Rows by their mean code length, columns by theirs and by their share of negative numbers.
fn first_classes(subject: &Subject<'_>, symbols: &[u8]) -> Classes {
    let columns = subject.columns;
    let mut counts = [0f32; ALPHABET];
    symbols.iter().for_each(|&symbol| counts[usize::from(symbol)] += 1.0);
    let bits = bits_of(&counts);
    let rows = symbols.len() / columns;
    let mut row_means = Vec::with_capacity(rows);
    let (mut column_sums, mut signs) = (vec![0f32; columns], vec![0u32; columns]);
    for symbols in symbols.chunks_exact(columns) {
        let mut sum = 0.0;
        for ((&symbol, column), sign) in symbols.iter().zip(&mut column_sums).zip(&mut signs) {
            let bits = bits[usize::from(symbol)];
            sum += bits;
            *column += bits;
            *sign += u32::from(symbol >> subject.sign_bit() & 1);
        }
        row_means.push(sum / columns as f32);
    }
    let column_means: Vec<f32> = column_sums.iter().map(|sum| sum / rows as f32).collect();
    let negative = signs.iter().map(|&sign| u64::from(sign)).sum::<u64>() as f32 / columns as f32;
    let sign_levels = signs.iter().map(|&sign| {
        let share = (sign as f32 - negative) / rows as f32;
        (share / SIGN_STEP).round().clamp(-1.0, 1.0) as i32 + 1
    });
    let scales = levels(&column_means, COLUMN_SCALES).into_iter();
    let (columns, column_count) =
        numbered(scales.zip(sign_levels).map(|(scale, sign)| 3 * scale + sign).collect());
    let (rows, row_count) = numbered(levels(&row_means, ROW_CLASSES));
    Classes { rows, columns, row_count, column_count, choice: Vec::new() }
}

/// Numbers around their median in steps of [`STEP_BITS`], in `count` levels.
fn levels(means: &[f32], count: i32) -> Vec<i32> {
    let mut sorted = means.to_vec();
    sorted.sort_by(f32::total_cmp);
    let median = sorted[sorted.len() / 2];
    let level = |mean: &f32| ((mean - median) / STEP_BITS).round() as i32;
    means.iter().map(|mean| level(mean).clamp(-(count / 2), count - 1 - count / 2)).collect()
}

/// Levels numbered from 0 without gaps, and how many there are.
fn numbered(levels: Vec<i32>) -> (Vec<u8>, usize) {
    let mut known = levels.clone();
    known.sort_unstable();
    known.dedup();
    let number = |level: &i32| known.binary_search(level).unwrap_or(0) as u8;
    (levels.iter().map(number).collect(), known.len())
}
