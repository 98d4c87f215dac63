//! Integers of one or two bytes predicted a row of a sub-block at a time: what [`predict`] does for each
//! element, with sums that a processor's vectors can hold.

use core::array;

use super::mode::{Mode, Term};
use super::{NumberFormat, NumberKind, SubBlock, TileValues, predict};
use crate::constants::{SUB_BLOCK_SIDE, TILE_SIDE};

/// Whether a format's sums of neighbours stay in 32 bits.
pub(super) const fn suit(format: NumberFormat) -> bool {
    format.width().bytes() <= 2 && !matches!(format.kind(), NumberKind::Float { .. })
}

/// A row of a sub-block.
struct Row {
    row: u32,
    /// The row's first and last column in the tile.
    first: u32,
    end: u32,
    /// The neighbours of all columns from `regular` on; those before lack some of them.
    terms: &'static [Term],
    regular: u32,
}

/// The sum of neighbours of each of a row's elements, in quarters; of no account before the regular
/// columns.
type Sums = [i32; SUB_BLOCK_SIDE];

impl Row {
    #[inline(always)]
    fn new(sub_block: SubBlock, row: u32, mode: Mode) -> Self {
        let row = sub_block.row + row;
        let (first, end) = (sub_block.column, sub_block.column + sub_block.width);
        // Columns farther left have the same mode up to where its neighbours would be outside.
        let mode = mode.at(row, end - 1);
        let (_, reach) = mode.reach();
        Self { row, first, end, terms: mode.terms(), regular: reach.clamp(first, end) }
    }

    #[inline(always)]
    fn at(&self, column: u32) -> usize {
        self.row as usize * TILE_SIDE + column as usize
    }

    /// The sums over neighbours for which `takes` holds.
    #[inline(always)]
    fn sums(&self, values: &TileValues, takes: impl Fn(&Term) -> bool) -> Sums {
        let terms = || self.terms.iter().filter(|term| takes(term));
        let back = |term: &Term| usize::from(term.up) * TILE_SIDE + usize::from(term.left);
        let first = self.at(self.first);
        if terms().all(|term| back(term) <= first) {
            // All columns at once, in a vector that stays in a register.
            return terms().fold(Sums::default(), |sums, term| {
                let quarters = i32::from(term.quarters);
                let neighbours = values[first - back(term)..].first_chunk::<SUB_BLOCK_SIDE>();
                let neighbours = neighbours.copied().unwrap_or_default();
                array::from_fn(|at| sums[at] + quarters * neighbours[at])
            });
        }
        let mut sums = Sums::default();
        for term in terms() {
            let quarters = i32::from(term.quarters);
            for column in self.regular..self.end {
                let neighbour = values[self.at(column) - back(term)];
                sums[(column - self.first) as usize] += quarters * neighbour;
            }
        }
        sums
    }
}

/// The residuals of a sub-block, row by row.
#[inline(always)]
pub(super) fn forward(
    format: NumberFormat,
    values: &TileValues,
    sub_block: SubBlock,
    mode: Mode,
    coded: &mut [u32],
) {
    let rows = coded.chunks_exact_mut(sub_block.width as usize);
    for (row, coded) in (0..sub_block.height).zip(rows) {
        let row = Row::new(sub_block, row, mode);
        let sums = row.sums(values, |_| true);
        let own = &values[row.at(row.first)..row.at(row.end)];
        match (
            <&mut [u32; SUB_BLOCK_SIDE]>::try_from(&mut *coded),
            <&[i32; SUB_BLOCK_SIDE]>::try_from(own),
        ) {
            // A number of turns that is known takes vectors.
            (Ok(coded), Ok(own)) => residuals(format, own, sums, coded),
            _ => {
                for ((coded, value), sum) in coded.iter_mut().zip(own).zip(sums) {
                    *coded = format.residual(*value, sum >> 2);
                }
            }
        }
        for (column, coded) in (row.first..row.regular).zip(coded) {
            let predicted = predict_one(format, mode, &row, column, values);
            *coded = format.residual(values[row.at(column)], predicted);
        }
    }
}

#[inline(always)]
fn residuals<const N: usize>(
    format: NumberFormat,
    own: &[i32; N],
    sums: [i32; N],
    coded: &mut [u32; N],
) {
    for at in 0..N {
        coded[at] = format.residual(own[at], sums[at] >> 2);
    }
}

/// Undoes [`forward`]; `coded` gives residuals by their number in the tile.
pub(super) fn undo(
    format: NumberFormat,
    sub_block: SubBlock,
    mode: Mode,
    coded: impl Fn(u32) -> u32,
    values: &mut TileValues,
) {
    let mut numbers = sub_block.coded..;
    for row in 0..sub_block.height {
        let row = Row::new(sub_block, row, mode);
        for column in row.first..row.regular {
            let predicted = predict_one(format, mode, &row, column, values);
            let residual = coded(numbers.next().unwrap_or_default());
            values[row.at(column)] = format.undo_residual(residual, predicted);
        }
        // What lies in this row is known element by element.
        let sums = row.sums(values, |term| term.up > 0);
        for column in row.regular..row.end {
            let at = row.at(column);
            let own = row.terms.iter().filter(|term| term.up == 0);
            let own = own.map(|t| i32::from(t.quarters) * values[at - usize::from(t.left)]);
            let sum = sums[(column - row.first) as usize] + own.sum::<i32>();
            let residual = coded(numbers.next().unwrap_or_default());
            values[at] = format.undo_residual(residual, sum >> 2);
        }
    }
}

#[inline(always)]
fn predict_one(
    format: NumberFormat,
    mode: Mode,
    row: &Row,
    column: u32,
    values: &TileValues,
) -> i32 {
    let at = row.at(column);
    let neighbour = |up: u32, left: u32| values[at - up as usize * TILE_SIDE - left as usize];
    predict(format, mode, row.row, column, neighbour)
}

#[cfg(test)]
mod tests {
    use super::super::{BlockGrid, Tile};
    use super::super::{SUB_BLOCK_ELEMENTS, TILE_ELEMENTS, Width};
    use super::*;

    fn residual_of_one(
        format: NumberFormat,
        values: &TileValues,
        (row, column): (u32, u32),
        mode: Mode,
    ) -> u32 {
        let at = |row: u32, column: u32| (row as usize) * TILE_SIDE + column as usize;
        let neighbour = |up: u32, left: u32| values[at(row - up, column - left)];
        let predicted = predict(format, mode, row, column, neighbour);
        format.residual(values[at(row, column)], predicted)
    }

    fn check(format: NumberFormat, tile: Tile, values: &TileValues, mode: Mode) {
        let mut coded = [0; SUB_BLOCK_ELEMENTS];
        for sub_block in (0..tile.sub_blocks()).map(|number| tile.sub_block(number)) {
            forward(format, values, sub_block, mode, &mut coded);
            for at in 0..sub_block.elements() {
                let (row, column) = (at / sub_block.width, at % sub_block.width);
                let place = (sub_block.row + row, sub_block.column + column);
                let expected = residual_of_one(format, values, place, mode);
                assert_eq!(coded[at as usize], expected, "{mode:?} at {place:?} of {tile:?}");
            }
        }
    }

    #[test]
    fn rows_are_predicted_as_their_elements_are() {
        for (width, range) in [(Width::One, 1 << 8), (Width::Two, 1 << 16)] {
            let format = NumberFormat::new(width, NumberKind::Signed).expect("narrow enough");
            let values: TileValues =
                core::array::from_fn(|at| format.wrapped((at * at * 7919 % range) as i32));
            assert_eq!(values.len(), TILE_ELEMENTS);
            for columns in [1, 3, 8, 11, 16] {
                let tile = BlockGrid { elements: 13 * columns, columns }.tile(0);
                for mode in Mode::ALL.into_iter().filter(|mode| mode.transforms().is_none()) {
                    check(format, tile, &values, mode);
                }
            }
        }
    }
}
