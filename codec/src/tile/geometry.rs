//! Where elements of a block lie in tiles, and where tiles lie in the coded elements.
//!
//! A block is looked at as rows of `columns` elements, the first of which starts at its first
//! element, whatever the tensor's rows are. Bands of 16 rows are cut into tiles of 16 columns; the
//! last band may be lower and its last tile narrower. A last row that isn't full is a band of its
//! own. Coded elements follow each other tile by tile, in a tile sub-block by sub-block, and in
//! each of these row by row, so that all offsets have closed forms.

use crate::constants::{SUB_BLOCK_SIDE, TILE_SIDE};

const TILE: u32 = TILE_SIDE as u32;
const SUB_BLOCK: u32 = SUB_BLOCK_SIDE as u32;

/// A block as a two-dimensional array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockGrid {
    /// Elements of the block, at most [`crate::constants::MAX_BLOCK_ELEMENTS`].
    pub elements: u32,
    /// Elements of a row, at least 1.
    pub columns: u32,
}

/// A tile of a block: 16x16 elements, or fewer at the block's lower and right edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Position in the block of the element at its upper left corner.
    pub first: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Position of its first coded element among those of the block.
    pub coded: u32,
    /// Number of its first sub-block among those of the block.
    pub sub_block: u32,
}

/// A sub-block of a tile: 8x8 elements, or fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubBlock {
    /// Row in the tile of its first row.
    pub row: u32,
    /// Column in the tile of its first column.
    pub column: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Position of its first coded element among those of the tile.
    pub coded: u32,
}

/// Where a coded element belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of its sub-block among those of the block.
    pub sub_block: u32,
    /// Its row in the sub-block, below 8.
    pub row: u32,
    /// Its column in the sub-block, below 8.
    pub column: u32,
}

impl BlockGrid {
    /// Rows that are full.
    #[inline(always)]
    const fn full_rows(self) -> u32 {
        self.elements / self.columns
    }

    /// Elements of the last row if it isn't full.
    #[inline(always)]
    const fn rest(self) -> u32 {
        self.elements % self.columns
    }

    /// Tiles of a band of full rows.
    #[inline(always)]
    const fn tiles_across(self) -> u32 {
        self.columns.div_ceil(TILE)
    }

    /// Number of tiles.
    #[inline(always)]
    pub const fn tiles(self) -> u32 {
        self.tiles_of_full_rows() + self.rest().div_ceil(TILE)
    }

    #[inline(always)]
    const fn tiles_of_full_rows(self) -> u32 {
        // Without full rows the columns may be any number.
        if self.full_rows() == 0 {
            0
        } else {
            self.full_rows().div_ceil(TILE) * self.tiles_across()
        }
    }

    /// Number of sub-blocks.
    #[inline(always)]
    pub const fn sub_blocks(self) -> u32 {
        self.sub_blocks_of_full_rows() + self.rest().div_ceil(SUB_BLOCK)
    }

    #[inline(always)]
    const fn sub_blocks_of_full_rows(self) -> u32 {
        let rows = self.full_rows();
        if rows == 0 { 0 } else { rows.div_ceil(SUB_BLOCK) * self.columns.div_ceil(SUB_BLOCK) }
    }

    /// The tile with this number, which is below [`Self::tiles`].
    #[inline(always)]
    pub const fn tile(self, number: u32) -> Tile {
        let full = self.tiles_of_full_rows();
        if number >= full {
            let column = TILE * (number - full);
            let first = self.full_rows() * self.columns + column;
            let width = least(TILE, self.rest() - column);
            let sub_block = self.sub_blocks_of_full_rows() + column / SUB_BLOCK;
            return Tile { first, height: 1, width, coded: first, sub_block };
        }
        let row = TILE * (number / self.tiles_across());
        let column = TILE * (number % self.tiles_across());
        let height = least(TILE, self.full_rows() - row);
        Tile {
            first: row * self.columns + column,
            height,
            width: least(TILE, self.columns - column),
            coded: row * self.columns + height * column,
            sub_block: row / SUB_BLOCK * self.columns.div_ceil(SUB_BLOCK)
                + height.div_ceil(SUB_BLOCK) * (column / SUB_BLOCK),
        }
    }

    /// Where the coded element at this position, which is below [`Self::elements`], belongs.
    #[inline(always)]
    pub const fn place(self, coded: u32) -> Place {
        let full = self.full_rows() * self.columns;
        if coded >= full {
            let column = coded - full;
            let sub_block = self.sub_blocks_of_full_rows() + column / SUB_BLOCK;
            return Place { sub_block, row: 0, column: column % SUB_BLOCK };
        }
        let band = coded / (TILE * self.columns);
        let height = least(TILE, self.full_rows() - TILE * band);
        let in_band = coded - band * TILE * self.columns;
        // Only the last tile is narrower, so that all before it have the same size.
        let tile = self.tile(band * self.tiles_across() + in_band / (TILE * height));
        let in_tile = coded - tile.coded;
        let upper = least(SUB_BLOCK, tile.height) * tile.width;
        let below = if in_tile < upper { 0 } else { 1 };
        let height = least(SUB_BLOCK, tile.height - SUB_BLOCK * below);
        let in_row = in_tile - below * upper;
        let right = if in_row < SUB_BLOCK * height { 0 } else { 1 };
        let number = below * tile.width.div_ceil(SUB_BLOCK) + right;
        let width = least(SUB_BLOCK, tile.width - SUB_BLOCK * right);
        let at = in_row - right * SUB_BLOCK * height;
        Place { sub_block: tile.sub_block + number, row: at / width, column: at % width }
    }
}

impl Tile {
    /// Number of sub-blocks: 1, 2 or 4.
    #[inline(always)]
    pub const fn sub_blocks(self) -> u32 {
        self.height.div_ceil(SUB_BLOCK) * self.width.div_ceil(SUB_BLOCK)
    }

    /// Which of the tile's sub-blocks the element at `row` and `column` belongs to.
    #[inline(always)]
    pub const fn sub_block_at(self, row: u32, column: u32) -> u32 {
        row / SUB_BLOCK * self.width.div_ceil(SUB_BLOCK) + column / SUB_BLOCK
    }

    /// The tile's sub-block with this number, which is below [`Self::sub_blocks`].
    #[inline(always)]
    pub const fn sub_block(self, number: u32) -> SubBlock {
        let across = self.width.div_ceil(SUB_BLOCK);
        let row = number / across * SUB_BLOCK;
        let column = number % across * SUB_BLOCK;
        let height = least(SUB_BLOCK, self.height - row);
        let width = least(SUB_BLOCK, self.width - column);
        SubBlock { row, column, height, width, coded: row * self.width + height * column }
    }
}

impl SubBlock {
    /// Number of elements.
    #[inline(always)]
    pub const fn elements(self) -> u32 {
        self.height * self.width
    }

    /// Whether it has all 8x8 elements; others cannot be transformed.
    #[inline(always)]
    pub const fn is_whole(self) -> bool {
        self.elements() == SUB_BLOCK * SUB_BLOCK
    }
}

#[inline(always)]
const fn least(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    /// Every element is in one tile and sub-block, and coded elements follow each other.
    #[test]
    fn tiles_partition_every_block() {
        let columns = (1..50).chain([63, 64, 65, 200, u32::MAX]);
        for columns in columns {
            for elements in [1, 2, 7, 8, 9, 15, 16, 17, 127, 128, 129, 255, 256, 257, 1000, 1999] {
                check(BlockGrid { elements, columns });
            }
        }
    }

    fn check(grid: BlockGrid) {
        let mut seen = vec![false; grid.elements as usize];
        let (mut coded, mut sub_blocks) = (0, 0);
        for number in 0..grid.tiles() {
            let tile = grid.tile(number);
            assert_eq!((tile.coded, tile.sub_block), (coded, sub_blocks), "{grid:?} {tile:?}");
            for sub in 0..tile.sub_blocks() {
                let sub_block = tile.sub_block(sub);
                assert_eq!(tile.coded + sub_block.coded, coded, "{grid:?} {tile:?} {sub_block:?}");
                assert!(sub_block.elements() > 0, "{grid:?} {tile:?}");
                for offset in 0..sub_block.elements() {
                    let row = sub_block.row + offset / sub_block.width;
                    let column = sub_block.column + offset % sub_block.width;
                    assert_eq!(tile.sub_block_at(row, column), sub);
                    let place = Place {
                        sub_block: tile.sub_block + sub,
                        row: row - sub_block.row,
                        column: column - sub_block.column,
                    };
                    assert_eq!(grid.place(coded + offset), place, "{grid:?} {tile:?}");
                    let element = tile.first + row * grid.columns + column;
                    let before = std::mem::replace(&mut seen[element as usize], true);
                    assert!(!before, "{grid:?}: element {element} is in two tiles");
                }
                coded += sub_block.elements();
            }
            sub_blocks += tile.sub_blocks();
        }
        assert_eq!((coded, sub_blocks), (grid.elements, grid.sub_blocks()), "{grid:?}");
    }
}
