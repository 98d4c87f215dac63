//! Tiles: predictions and reversible transforms of a block's elements in two dimensions.
//!
//! A block's elements are cut into tiles of 16x16 ([`BlockGrid`]), each of which has up to four
//! sub-blocks of 8x8 with a [`Mode`] each: a prediction from neighbours in the tile, or a transform
//! of the sub-block alone. What is coded of each element is a residual or a coefficient; there are
//! as many as there are elements, in the order of tiles, sub-blocks and rows. No tile depends on
//! another.
//!
//! Undoing takes three steps: inverse transforms along columns, then along rows, then predictions,
//! from top to bottom and left to right, which may look at what transforms left. The kernel does the
//! same with a thread for each row.

mod class;
mod geometry;
mod mode;
mod number;
mod predict;
mod rows;
mod transform;

#[cfg(test)]
mod tests;

use core::fmt;

use crate::constants::{SUB_BLOCK_SIDE, TILE_SIDE};
use crate::split::Width;

pub use class::{TILE_CLASSES, class};
pub use geometry::{BlockGrid, Place, SubBlock, Tile};
pub use mode::Mode;
pub use number::{NumberFormat, NumberKind, fold, unfold};
pub use predict::predict;
pub use transform::{Eight, Transform};

/// Elements of a whole tile.
pub const TILE_ELEMENTS: usize = TILE_SIDE * TILE_SIDE;
/// Elements of a whole sub-block.
pub const SUB_BLOCK_ELEMENTS: usize = SUB_BLOCK_SIDE * SUB_BLOCK_SIDE;

/// The elements of a tile as ordered integers ([`NumberFormat::to_ordered`]), in rows of 16; those
/// outside of a smaller tile are of no account.
pub type TileValues = [i32; TILE_ELEMENTS];

/// A block that is coded in tiles.
#[derive(Debug, Clone, Copy)]
pub struct TiledBlock<'a> {
    grid: BlockGrid,
    format: NumberFormat,
    coded_width: Width,
    modes: &'a [u8],
}

/// Why a block cannot be coded in tiles as said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileError {
    /// Rows have no elements.
    Columns,
    /// Another number of modes than of sub-blocks.
    Count {
        /// Number of modes.
        modes: usize,
        /// Number of sub-blocks.
        sub_blocks: u32,
    },
    /// The number names no mode.
    Unknown {
        /// Position of the mode.
        sub_block: usize,
        /// Its number.
        mode: u8,
    },
    /// A sub-block is transformed that is not 8x8 elements of one byte, coded in two.
    Transform {
        /// Position of the mode.
        sub_block: usize,
    },
    /// Residuals are coded in another number of bytes than elements have, and not as two for one.
    CodedWidth,
}

impl fmt::Display for TileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns => out.write_str("tiles of rows without elements"),
            Self::Count { modes, sub_blocks } => {
                write!(out, "{modes} tile modes for {sub_blocks} sub-blocks")
            }
            Self::Unknown { sub_block, mode } => {
                write!(out, "the tile mode {mode} of sub-block {sub_block} does not exist")
            }
            Self::Transform { sub_block } => {
                write!(out, "sub-block {sub_block} cannot have a transform")
            }
            Self::CodedWidth => out.write_str("tiles with coded elements of a wrong width"),
        }
    }
}

impl core::error::Error for TileError {}

impl<'a> TiledBlock<'a> {
    /// A block with these modes, one for each sub-block of each tile in turn, whose coded elements
    /// are `coded_width` wide: as wide as its elements, or two bytes for elements of one.
    ///
    /// # Errors
    ///
    /// When the modes don't fit the block.
    pub fn new(
        grid: BlockGrid,
        format: NumberFormat,
        coded_width: Width,
        modes: &'a [u8],
    ) -> Result<Self, TileError> {
        if grid.columns == 0 {
            return Err(TileError::Columns);
        }
        if coded_width != format.width()
            && (coded_width, format.width()) != (Width::Two, Width::One)
        {
            return Err(TileError::CodedWidth);
        }
        if modes.len() != grid.sub_blocks() as usize {
            return Err(TileError::Count { modes: modes.len(), sub_blocks: grid.sub_blocks() });
        }
        let block = Self { grid, format, coded_width, modes };
        for tile in (0..grid.tiles()).map(|number| grid.tile(number)) {
            for number in 0..tile.sub_blocks() {
                block.check_mode((tile.sub_block + number) as usize, tile.sub_block(number))?;
            }
        }
        Ok(block)
    }

    fn check_mode(&self, at: usize, sub_block: SubBlock) -> Result<(), TileError> {
        let number = self.modes[at];
        let mode =
            Mode::from_number(number).ok_or(TileError::Unknown { sub_block: at, mode: number })?;
        let may_transform = sub_block.is_whole() && self.coded_width != self.format.width();
        if mode.transforms().is_some() && !may_transform {
            return Err(TileError::Transform { sub_block: at });
        }
        Ok(())
    }

    /// Rows and columns.
    pub const fn grid(&self) -> BlockGrid {
        self.grid
    }

    /// What the elements are.
    pub const fn format(&self) -> NumberFormat {
        self.format
    }

    /// The mode of each sub-block.
    pub const fn modes(&self) -> &'a [u8] {
        self.modes
    }

    /// How wide coded elements are.
    pub const fn coded_width(&self) -> Width {
        self.coded_width
    }

    /// Bytes of all coded elements.
    pub const fn coded_bytes(&self) -> usize {
        self.grid.elements as usize * self.coded_width.bytes()
    }

    /// The modes of a tile's sub-blocks; [`Mode::None`] for those it doesn't have.
    fn modes_of(&self, tile: Tile) -> [Mode; 4] {
        let modes = &self.modes[tile.sub_block as usize..][..tile.sub_blocks() as usize];
        core::array::from_fn(|number| {
            modes.get(number).and_then(|&mode| Mode::from_number(mode)).unwrap_or(Mode::None)
        })
    }

    /// Makes coded elements (little-endian, as many as the block has elements) of `elements`
    /// (little-endian). Panics if one of them has another length.
    ///
    /// Inlined, so that a caller may have it compiled for the processor's vectors
    /// ([`crate::simd::Level::run`]).
    #[inline(always)]
    pub fn forward(&self, elements: &[u8], coded: &mut [u8]) {
        self.check_lengths(elements, coded);
        match self.coded_width {
            Width::One => self.forward_to(elements, coded.as_chunks_mut::<1>().0),
            Width::Two => self.forward_to(elements, coded.as_chunks_mut::<2>().0),
            _ => self.forward_to(elements, coded.as_chunks_mut::<4>().0),
        }
    }

    #[inline(always)]
    fn forward_to<const W: usize>(&self, elements: &[u8], coded: &mut [[u8; W]]) {
        let mut values = [0; TILE_ELEMENTS];
        let mut coefficients = [0; SUB_BLOCK_ELEMENTS];
        for tile in (0..self.grid.tiles()).map(|number| self.grid.tile(number)) {
            load_tile(self.grid, self.format, tile, elements, &mut values);
            for (sub_block, mode) in sub_blocks(tile, self.modes_of(tile)) {
                forward_sub_block(self.format, &values, sub_block, mode, &mut coefficients);
                let coded = &mut coded[(tile.coded + sub_block.coded) as usize..];
                let found = &coefficients[..sub_block.elements() as usize];
                for (coded, &value) in coded.iter_mut().zip(found) {
                    *coded = bytes_of(value);
                }
            }
        }
    }

    /// Writes to `out`, for each coded element, what `choice` says of its [`class`], of which there are
    /// [`TILE_CLASSES`]. Panics if one of them has another length.
    pub fn fill_choice(&self, choice: &[u8], out: &mut [u8]) {
        assert_eq!(choice.len(), TILE_CLASSES, "a choice for each class");
        assert_eq!(out.len(), self.grid.elements as usize, "coded elements of a block");
        for tile in (0..self.grid.tiles()).map(|number| self.grid.tile(number)) {
            for (sub_block, mode) in sub_blocks(tile, self.modes_of(tile)) {
                let out = &mut out[(tile.coded + sub_block.coded) as usize..];
                let places = positions(sub_block.height, sub_block.width);
                for ((row, column), out) in places.zip(out) {
                    let class = class(mode, sub_block.row + row, sub_block.column + column);
                    *out = choice[class as usize];
                }
            }
        }
    }

    /// Undoes [`Self::forward`]; any coded elements give some elements. Panics if one of the slices
    /// has another length.
    pub fn reconstruct(&self, coded: &[u8], elements: &mut [u8]) {
        self.check_lengths(elements, coded);
        match self.coded_width {
            Width::One => self.reconstruct_from(coded.as_chunks::<1>().0, elements),
            Width::Two => self.reconstruct_from(coded.as_chunks::<2>().0, elements),
            _ => self.reconstruct_from(coded.as_chunks::<4>().0, elements),
        }
    }

    fn reconstruct_from<const C: usize>(&self, coded: &[[u8; C]], elements: &mut [u8]) {
        match self.format.width() {
            Width::One => self.reconstruct_to(coded, elements.as_chunks_mut::<1>().0),
            Width::Two => self.reconstruct_to(coded, elements.as_chunks_mut::<2>().0),
            _ => self.reconstruct_to(coded, elements.as_chunks_mut::<4>().0),
        }
    }

    fn reconstruct_to<const C: usize, const W: usize>(
        &self,
        coded: &[[u8; C]],
        elements: &mut [[u8; W]],
    ) {
        let mut values = [0; TILE_ELEMENTS];
        for tile in (0..self.grid.tiles()).map(|number| self.grid.tile(number)) {
            let read = |at: u32| number(&coded[(tile.coded + at) as usize]);
            reconstruct_tile(self.format, tile, self.modes_of(tile), read, &mut values);
            for (row, values) in (0..tile.height).zip(values.as_chunks::<TILE_SIDE>().0) {
                let elements = &mut elements[(tile.first + row * self.grid.columns) as usize..];
                for (element, &value) in elements[..tile.width as usize].iter_mut().zip(values) {
                    *element = bytes_of(self.format.from_ordered(value));
                }
            }
        }
    }

    fn check_lengths(&self, elements: &[u8], coded: &[u8]) {
        let count = self.grid.elements as usize;
        assert_eq!(elements.len(), count * self.format.width().bytes(), "elements of a block");
        assert_eq!(coded.len(), count * self.coded_width.bytes(), "coded elements of a block");
    }
}

/// Rows and columns of an array, row by row.
fn positions(height: u32, width: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..height).flat_map(move |row| (0..width).map(move |column| (row, column)))
}

/// A little-endian number of at most four bytes.
#[inline(always)]
fn number<const W: usize>(bytes: &[u8; W]) -> u32 {
    let mut padded = [0; 4];
    padded[..W].copy_from_slice(bytes);
    u32::from_le_bytes(padded)
}

/// The low bytes of a number, little-endian.
#[inline(always)]
fn bytes_of<const W: usize>(number: u32) -> [u8; W] {
    let mut bytes = [0; W];
    bytes.copy_from_slice(&number.to_le_bytes()[..W]);
    bytes
}

/// Takes a tile out of a block's little-endian `elements`.
#[inline(always)]
pub fn load_tile(
    grid: BlockGrid,
    format: NumberFormat,
    tile: Tile,
    elements: &[u8],
    values: &mut TileValues,
) {
    match format.width() {
        Width::One => load(grid, format, tile, elements.as_chunks::<1>().0, values),
        Width::Two => load(grid, format, tile, elements.as_chunks::<2>().0, values),
        _ => load(grid, format, tile, elements.as_chunks::<4>().0, values),
    }
}

#[inline(always)]
fn load<const W: usize>(
    grid: BlockGrid,
    format: NumberFormat,
    tile: Tile,
    elements: &[[u8; W]],
    values: &mut TileValues,
) {
    for (row, values) in (0..tile.height).zip(values.as_chunks_mut::<TILE_SIDE>().0) {
        let elements = &elements[(tile.first + row * grid.columns) as usize..];
        for (value, element) in values.iter_mut().zip(&elements[..tile.width as usize]) {
            *value = format.to_ordered(number(element));
        }
    }
}

/// What is coded of a sub-block with this mode: one number for each of its elements, row by row,
/// of 16 bits if it is transformed and of as many as an element has otherwise. Sub-blocks that are
/// transformed must be whole, and have elements of one byte.
///
/// Inlined, so that a caller may have it compiled for the processor's vectors
/// ([`crate::simd::Level::run`]).
#[inline(always)]
pub fn forward_sub_block(
    format: NumberFormat,
    values: &TileValues,
    sub_block: SubBlock,
    mode: Mode,
    coded: &mut [u32; SUB_BLOCK_ELEMENTS],
) {
    let value = |row: u32, column: u32| values[(row * TILE_SIDE as u32 + column) as usize];
    let at = |row: u32, column: u32| (sub_block.row + row, sub_block.column + column);
    let Some(transforms) = mode.transforms() else {
        if rows::suit(format) {
            rows::forward(format, values, sub_block, mode, coded);
            return;
        }
        let places = positions(sub_block.height, sub_block.width);
        for ((row, column), coded) in places.zip(coded) {
            let (row, column) = at(row, column);
            let predicted =
                predict(format, mode, row, column, |up, left| value(row - up, column - left));
            *coded = format.residual(value(row, column), predicted);
        }
        return;
    };
    let mut numbers = core::array::from_fn(|index| {
        let (row, column) = at((index / SUB_BLOCK_SIDE) as u32, (index % SUB_BLOCK_SIDE) as u32);
        value(row, column)
    });
    transform_forward(transforms, &mut numbers);
    let folded = numbers.map(fold_coefficient);
    let columns: [usize; SUB_BLOCK_SIDE] =
        core::array::from_fn(|column| transforms.1.place(column as u32) as usize);
    for (row, coded) in coded.as_chunks_mut::<SUB_BLOCK_SIDE>().0.iter_mut().enumerate() {
        let place = transforms.0.place(row as u32) as usize;
        let row = &folded.as_chunks::<SUB_BLOCK_SIDE>().0[place];
        *coded = columns.map(|column| row[column]);
    }
}

/// A row or column of a sub-block.
struct Line<'a> {
    numbers: &'a mut [i32],
    first: usize,
    stride: usize,
}

impl Eight for Line<'_> {
    fn get(&self, index: u32) -> i32 {
        self.numbers[self.first + index as usize * self.stride]
    }

    fn set(&mut self, index: u32, value: i32) {
        self.numbers[self.first + index as usize * self.stride] = value;
    }
}

/// Transforms 8x8 numbers: rows, then columns.
#[inline(always)]
fn transform_forward(transforms: (Transform, Transform), numbers: &mut [i32; SUB_BLOCK_ELEMENTS]) {
    const SIDE: usize = SUB_BLOCK_SIDE;
    let mut columns: [[i32; SIDE]; SIDE] =
        core::array::from_fn(|column| core::array::from_fn(|row| numbers[row * SIDE + column]));
    transforms.1.forward_each(&mut columns);
    let mut rows: [[i32; SIDE]; SIDE] =
        core::array::from_fn(|row| core::array::from_fn(|column| columns[column][row]));
    transforms.0.forward_each(&mut rows);
    numbers.copy_from_slice(rows.as_flattened());
}

/// What is stored of a coefficient: its 16 low bits, with the sign in the lowest.
#[inline(always)]
pub const fn fold_coefficient(value: i32) -> u32 {
    fold(value as i16 as i32) & 0xFFFF
}

/// Undoes [`fold_coefficient`], for coefficients of 16 bits.
#[inline(always)]
pub const fn unfold_coefficient(folded: u32) -> i32 {
    unfold(folded & 0xFFFF)
}

/// Undoes the modes of a tile, whose coded elements `coded` gives by their positions.
fn reconstruct_tile(
    format: NumberFormat,
    tile: Tile,
    modes: [Mode; 4],
    coded: impl Fn(u32) -> u32,
    values: &mut TileValues,
) {
    for (sub_block, mode) in sub_blocks(tile, modes) {
        let Some(transforms) = mode.transforms() else { continue };
        place_coefficients(sub_block, transforms, &coded, values);
        let first = sub_block.row as usize * TILE_SIDE + sub_block.column as usize;
        for line in 0..SUB_BLOCK_SIDE {
            let first = first + line;
            transforms.0.inverse(&mut Line { numbers: values, first, stride: TILE_SIDE });
        }
        for line in 0..SUB_BLOCK_SIDE {
            let first = first + line * TILE_SIDE;
            transforms.1.inverse(&mut Line { numbers: values, first, stride: 1 });
            values[first..][..SUB_BLOCK_SIDE].iter_mut().for_each(|value| {
                *value = format.wrapped(*value);
            });
        }
    }
    for (sub_block, mode) in sub_blocks(tile, modes) {
        if mode.transforms().is_none() {
            undo_prediction(format, sub_block, mode, &coded, values);
        }
    }
}

fn sub_blocks(tile: Tile, modes: [Mode; 4]) -> impl Iterator<Item = (SubBlock, Mode)> {
    (0..tile.sub_blocks()).map(move |number| (tile.sub_block(number), modes[number as usize]))
}

fn place_coefficients(
    sub_block: SubBlock,
    transforms: (Transform, Transform),
    coded: impl Fn(u32) -> u32,
    values: &mut TileValues,
) {
    for ((row, column), number) in positions(8, 8).zip(sub_block.coded..) {
        let row = sub_block.row + transforms.0.place(row);
        let column = sub_block.column + transforms.1.place(column);
        values[(row * TILE_SIDE as u32 + column) as usize] = unfold_coefficient(coded(number));
    }
}

/// A sub-block looks only at those left of it and above, which come before it.
fn undo_prediction(
    format: NumberFormat,
    sub_block: SubBlock,
    mode: Mode,
    coded: impl Fn(u32) -> u32,
    values: &mut TileValues,
) {
    if rows::suit(format) {
        rows::undo(format, sub_block, mode, coded, values);
        return;
    }
    let places = positions(sub_block.height, sub_block.width);
    for ((row, column), number) in places.zip(sub_block.coded..) {
        let (row, column) = (sub_block.row + row, sub_block.column + column);
        let at = |row: u32, column: u32| (row * TILE_SIDE as u32 + column) as usize;
        let predicted =
            predict(format, mode, row, column, |up, left| values[at(row - up, column - left)]);
        values[at(row, column)] = format.undo_residual(coded(number), predicted);
    }
}
