//! The modes of all tiles of a tensor, what they leave to be coded, and whether that is less.

use codec::constants::ALPHABET;
use codec::split::{ElementLayout, Width};
use codec::tile::{
    BlockGrid, Mode, SUB_BLOCK_ELEMENTS, SubBlock, TILE_CLASSES, TILE_ELEMENTS, TileValues, class,
    load_tile,
};
use rayon::prelude::*;

use super::fit::Fit;
use super::subject::Subject;
use super::{Histogram, LEAST_GAIN, forward};
use crate::encode::entropy::entropy_bits;
use crate::encode::histogram::estimate_planes;

/// Counts of the bytes of each plane, by class.
pub(super) struct ClassCounts {
    pub(super) planes: Vec<Vec<Histogram>>,
}

impl ClassCounts {
    fn new(planes: usize) -> Self {
        Self { planes: vec![vec![[0; ALPHABET]; TILE_CLASSES]; planes] }
    }

    fn add(&mut self, class: u32, value: u32) {
        for (plane, byte) in self.planes.iter_mut().zip(value.to_le_bytes()) {
            plane[class as usize][usize::from(byte)] += 1;
        }
    }

    fn merged(mut self, other: Self) -> Self {
        let pairs = self.planes.iter_mut().flatten().zip(other.planes.iter().flatten());
        for (sum, counts) in pairs {
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        self
    }
}

/// The sum of a plane's counts over all classes.
pub(super) fn together(plane: &[Histogram]) -> Histogram {
    let mut sums = [0; ALPHABET];
    for counts in plane {
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    sums
}

/// A tensor with all its modes chosen.
pub(super) struct Whole<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) columns: u32,
    pub(super) coded_width: Width,
    pub(super) modes: Vec<u8>,
    /// Where tables may be chosen by class.
    pub(super) counts: Option<ClassCounts>,
    /// Bits of all blocks' elements as they are, each block's planes with tables of their own.
    plain_bits: f64,
    /// The same of coded elements, and of their modes.
    pub(super) tiled_bits: f64,
    /// Bits of the modes alone.
    pub(super) mode_bits: f64,
}

/// A block with its modes chosen.
struct ChosenBlock {
    modes: Vec<u8>,
    plain_bits: f64,
    coded_bits: f64,
}

impl<'a> Whole<'a> {
    /// Chooses the mode of every sub-block of every block, and counts what they leave `by_class`.
    pub(super) fn new(
        subject: Subject<'a>,
        fit: &Fit,
        block_elements: u32,
        by_class: bool,
    ) -> Self {
        let blocks = subject.bytes.par_chunks(block_elements as usize * subject.width());
        let chosen: Vec<ChosenBlock> =
            blocks.clone().map(|block| ChosenBlock::new(&subject, fit, block)).collect();
        let planes = fit.coded_width.bytes();
        let count = || {
            blocks
                .zip(&chosen)
                .fold(
                    || ClassCounts::new(planes),
                    |mut counts, (block, chosen)| {
                        let add = |class, value| counts.add(class, value);
                        each_coded(&subject, fit.columns, block, &chosen.modes, add);
                        counts
                    },
                )
                .reduce(|| ClassCounts::new(planes), ClassCounts::merged)
        };
        let mut by_mode = [0u64; ALPHABET];
        let modes: Vec<u8> = chosen.iter().flat_map(|block| block.modes.iter().copied()).collect();
        modes.iter().for_each(|&mode| by_mode[usize::from(mode)] += 1);
        let coded_bits: f64 = chosen.iter().map(|block| block.coded_bits).sum();
        Self {
            subject,
            columns: fit.columns,
            coded_width: fit.coded_width,
            modes,
            counts: by_class.then(count),
            plain_bits: chosen.iter().map(|block| block.plain_bits).sum(),
            tiled_bits: coded_bits + entropy_bits(&by_mode),
            mode_bits: entropy_bits(&by_mode),
        }
    }

    /// Whether tiles take enough less than the elements as they are.
    pub(super) fn is_worth_it(&self) -> bool {
        self.tiled_bits < self.plain_bits * (1.0 - LEAST_GAIN)
    }
}

impl ChosenBlock {
    fn new(subject: &Subject<'_>, fit: &Fit, block: &[u8]) -> Self {
        let layout = ElementLayout { width: subject.format.width(), rotated: subject.rotated };
        let plain = estimate_planes(layout, block, 1);
        let plain_bits = plain.iter().map(entropy_bits).sum();
        let mut modes = Vec::new();
        let mut counts = vec![[0u64; ALPHABET]; fit.coded_width.bytes()];
        each_sub_block(subject, fit.columns, block, |values, sub_block| {
            let (mode, coded) = fit.choose(sub_block, |mode, coded| {
                forward(subject.format, values, sub_block, mode, coded);
            });
            modes.push(mode as u8);
            for value in &coded[..sub_block.elements() as usize] {
                for (counts, byte) in counts.iter_mut().zip(value.to_le_bytes()) {
                    counts[usize::from(byte)] += 1;
                }
            }
        });
        Self { modes, plain_bits, coded_bits: counts.iter().map(entropy_bits).sum() }
    }
}

/// Calls `visit` with each tile's values and each of its sub-blocks.
fn each_sub_block(
    subject: &Subject<'_>,
    columns: u32,
    block: &[u8],
    mut visit: impl FnMut(&TileValues, SubBlock),
) {
    let grid = BlockGrid { elements: (block.len() / subject.width()) as u32, columns };
    let mut values = [0; TILE_ELEMENTS];
    for tile in (0..grid.tiles()).map(|number| grid.tile(number)) {
        load_tile(grid, subject.format, tile, block, &mut values);
        for number in 0..tile.sub_blocks() {
            visit(&values, tile.sub_block(number));
        }
    }
}

/// Calls `visit` with the class and value of each coded element of a block with these modes.
fn each_coded(
    subject: &Subject<'_>,
    columns: u32,
    block: &[u8],
    modes: &[u8],
    mut visit: impl FnMut(u32, u32),
) {
    let mut coded = [0; SUB_BLOCK_ELEMENTS];
    let mut modes = modes.iter();
    each_sub_block(subject, columns, block, |values, sub_block| {
        let mode = modes.next().and_then(|&mode| Mode::from_number(mode)).unwrap_or(Mode::None);
        forward(subject.format, values, sub_block, mode, &mut coded);
        for (at, &value) in (0..sub_block.elements()).zip(&coded) {
            let (row, column) = (at / sub_block.width, at % sub_block.width);
            visit(class(mode, sub_block.row + row, sub_block.column + column), value);
        }
    });
}
