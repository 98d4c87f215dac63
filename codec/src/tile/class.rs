//! Which coded elements are alike: those whose prediction has the same neighbours, and those that are
//! the same coefficient.

use super::mode::Mode;
use crate::constants::SUB_BLOCK_SIDE;

const SUB_BLOCK: u32 = SUB_BLOCK_SIDE as u32;
/// The first transform, whose coefficients are the first classes after those of predictions.
const FIRST_TRANSFORM: u32 = Mode::Cosine as u32;
/// Coefficients of a sub-block.
const COEFFICIENTS: u32 = SUB_BLOCK * SUB_BLOCK;

/// Number of classes of coded elements.
pub const TILE_CLASSES: usize =
    (FIRST_TRANSFORM + (Mode::ALL.len() as u32 - FIRST_TRANSFORM) * COEFFICIENTS) as usize;

/// The class of a coded element at `row` and `column` of a tile, in a sub-block of this mode: the
/// number of the prediction that it gets there, where neighbours may be missing; or, numbered from
/// 22 on, transform by transform, the coefficient that it is, by row and column.
#[inline(always)]
pub const fn class(mode: Mode, row: u32, column: u32) -> u32 {
    if mode.transforms().is_none() {
        return mode.at(row, column) as u32;
    }
    let coefficient = row % SUB_BLOCK * SUB_BLOCK + column % SUB_BLOCK;
    FIRST_TRANSFORM + (mode as u32 - FIRST_TRANSFORM) * COEFFICIENTS + coefficient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_predictions_and_coefficients() {
        assert_eq!(TILE_CLASSES, 22 + 4 * 64);
        assert_eq!(class(Mode::TopLinear, 0, 3), Mode::None as u32);
        assert_eq!(class(Mode::TopLinear, 1, 3), Mode::Top as u32);
        assert_eq!(class(Mode::TopLinear, 9, 3), Mode::TopLinear as u32);
        assert_eq!(class(Mode::Cosine, 8, 9), 22 + 1);
        assert_eq!(class(Mode::SineCosine, 15, 15), TILE_CLASSES as u32 - 1);
    }
}
