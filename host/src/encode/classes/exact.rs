//! Rows of F32 numbers that are exactly numbers of a smaller type: the low bits of their mantissas
//! are zero. Converted checkpoints have such rows beside others.

use codec::constants::ALPHABET;
use codec::split::{Width, head_first_32};
use rayon::prelude::*;

use super::subject::{Subject, SymbolKind};
use super::whole::table_of;
use crate::encode::tables::TablePool;
use crate::format::ClassesRecord;

/// Low bits that are zero in a number that is exactly an F16, or a BF16.
const ZERO_BITS: [u32; 2] = [13, 16];
/// Classes of rows: any numbers, exactly F16, exactly BF16.
const CLASSES: usize = ZERO_BITS.len() + 1;
/// The planes that differ: the two lowest.
const PLANES: usize = 2;

/// Classes of rows by how exact they are, for each of the two lowest planes.
pub(crate) struct ExactRows {
    /// One for each plane.
    pub(crate) records: [ClassesRecord; PLANES],
    /// Bits of an element of each class, plane by plane.
    bits: [[f64; CLASSES]; PLANES],
}

/// The exact rows of an F32 matrix, if there are some and others too: where all are alike, blocks need
/// no classes. New tables go to `pool`.
pub(super) fn find_exact_rows(subject: &Subject<'_>, pool: &mut TablePool) -> Option<ExactRows> {
    if subject.layout.width != Width::Four || !matches!(subject.symbols, SymbolKind::Head { .. }) {
        return None;
    }
    let row_bytes = subject.columns * Width::Four.bytes();
    let rows: Vec<u8> = subject.bytes.par_chunks_exact(row_bytes).map(class_of).collect();
    if rows.iter().all(|class| *class == rows[0]) {
        return None;
    }
    let mut counts = [[[0u64; ALPHABET]; CLASSES]; PLANES];
    for (row, &class) in subject.bytes.chunks_exact(row_bytes).zip(&rows).filter(|row| *row.1 > 0) {
        for element in row.as_chunks::<4>().0 {
            let bytes = head_first_32(u32::from_le_bytes(*element)).to_le_bytes();
            for (counts, byte) in counts.iter_mut().zip(bytes) {
                counts[usize::from(class)][usize::from(byte)] += 1;
            }
        }
    }
    // Those of other rows are as good as random.
    counts.iter_mut().for_each(|counts| counts[0] = [1; ALPHABET]);
    let plane = |counts: [[u64; ALPHABET]; CLASSES]| plane_classes(subject, &rows, counts, pool);
    let [(low, low_bits), (high, high_bits)] = counts.map(plane);
    Some(ExactRows { records: [low, high], bits: [low_bits, high_bits] })
}

/// How exact a row is.
fn class_of(row: &[u8]) -> u8 {
    let mut any = 0;
    for element in row.as_chunks::<4>().0 {
        any |= u32::from_le_bytes(*element);
        if any & 1 == 1 {
            return 0;
        }
    }
    ZERO_BITS.iter().filter(|&&bits| any.trailing_zeros() >= bits).count() as u8
}

fn plane_classes(
    subject: &Subject<'_>,
    rows: &[u8],
    counts: [[u64; ALPHABET]; CLASSES],
    pool: &mut TablePool,
) -> (ClassesRecord, [f64; CLASSES]) {
    let mut bits = [0.0; CLASSES];
    let mut choice = Vec::with_capacity(CLASSES);
    let mut tables = Vec::new();
    for (counts, bits) in counts.iter().zip(&mut bits) {
        // The last class that has elements stands in for those that have none.
        if let Some(table) = table_of(counts) {
            let total: u64 = counts.iter().sum();
            let cost = crate::encode::tables::cost_of_many(counts, &table.bits);
            *bits = cost / total as f64;
            tables.push(pool.add(table));
        }
        choice.push(tables.len() as u8 - 1);
    }
    let record = ClassesRecord {
        columns: subject.columns as u64,
        row_classes: rows.to_vec(),
        column_classes: Vec::new(),
        column_class_count: 1,
        choice,
        tables,
    };
    (record, bits)
}

impl ExactRows {
    /// Bits that classes take of a plane of the elements from `first` on.
    pub(crate) fn bits(&self, plane: usize, first: u64, elements: usize) -> f64 {
        let record = &self.records[plane];
        let mut bits = 0.0;
        let (mut at, end) = (first, first + elements as u64);
        while at < end {
            let row = at / record.columns;
            let next = end.min((row + 1) * record.columns);
            let class = record.row_classes.get(row as usize).copied().unwrap_or(0);
            bits += self.bits[plane][usize::from(class)] * (next - at) as f64;
            at = next;
        }
        bits
    }
}
