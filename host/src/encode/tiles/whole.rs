//! The modes of all tiles of a tensor, what they leave to be coded, and whether that is less.

use codec::constants::ALPHABET;
use codec::split::{ElementLayout, Width};
use codec::tile::{
    BlockGrid, Mode, SUB_BLOCK_ELEMENTS, SubBlock, TILE_CLASSES, TILE_ELEMENTS, Tile, class,
    forward_sub_block, load_tile,
};
use rayon::prelude::*;

use super::fit::Fit;
use super::subject::Subject;
use super::{Histogram, LEAST_GAIN, entropy_bits};
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
    pub(super) counts: ClassCounts,
}

impl<'a> Whole<'a> {
    /// Chooses the mode of every sub-block of every block.
    pub(super) fn new(subject: Subject<'a>, fit: &Fit, block_elements: u32) -> Self {
        let planes = fit.coded_width.bytes();
        let blocks = subject.bytes.par_chunks(block_elements as usize * subject.width());
        let chosen: Vec<Vec<u8>> =
            blocks.clone().map(|block| block_modes(&subject, fit, block)).collect();
        let counts = blocks
            .zip(&chosen)
            .fold(
                || ClassCounts::new(planes),
                |mut counts, (block, modes)| {
                    count_block(&subject, fit, block, modes, &mut counts);
                    counts
                },
            )
            .reduce(|| ClassCounts::new(planes), ClassCounts::merged);
        let modes = chosen.concat();
        Self { subject, columns: fit.columns, coded_width: fit.coded_width, modes, counts }
    }

    /// Whether tiles take enough less than the elements as they are, each plane with one table.
    pub(super) fn is_worth_it(&self) -> bool {
        let layout =
            ElementLayout { width: self.subject.format.width(), rotated: self.subject.rotated };
        let mut plain = vec![[0u64; ALPHABET]; layout.width.bytes()];
        for part in self.subject.bytes.chunks(1 << 20) {
            for (sum, counts) in plain.iter_mut().zip(estimate_planes(layout, part, 1)) {
                sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u64::from(count));
            }
        }
        let plain: f64 = plain.iter().map(entropy_bits).sum();
        let mut modes = [0; ALPHABET];
        self.modes.iter().for_each(|&mode| modes[usize::from(mode)] += 1);
        let planes = self.counts.planes.iter();
        let coded: f64 = planes.map(|plane| entropy_bits(&together(plane))).sum();
        coded + entropy_bits(&modes) < plain * (1.0 - LEAST_GAIN)
    }
}

/// Calls `visit` with each tile's values and each of its sub-blocks.
fn each_sub_block(
    subject: &Subject<'_>,
    columns: u32,
    block: &[u8],
    mut visit: impl FnMut(&[i32; TILE_ELEMENTS], Tile, SubBlock),
) {
    let grid = BlockGrid { elements: (block.len() / subject.width()) as u32, columns };
    let mut values = [0; TILE_ELEMENTS];
    for tile in (0..grid.tiles()).map(|number| grid.tile(number)) {
        load_tile(grid, subject.format, tile, block, &mut values);
        for number in 0..tile.sub_blocks() {
            visit(&values, tile, tile.sub_block(number));
        }
    }
}

fn block_modes(subject: &Subject<'_>, fit: &Fit, block: &[u8]) -> Vec<u8> {
    let mut modes = Vec::new();
    each_sub_block(subject, fit.columns, block, |values, _, sub_block| {
        let mode = fit.choose(sub_block, |mode, coded| {
            forward_sub_block(subject.format, values, sub_block, mode, coded);
        });
        modes.push(mode as u8);
    });
    modes
}

fn count_block(
    subject: &Subject<'_>,
    fit: &Fit,
    block: &[u8],
    modes: &[u8],
    counts: &mut ClassCounts,
) {
    let mut coded = [0; SUB_BLOCK_ELEMENTS];
    let mut modes = modes.iter();
    each_sub_block(subject, fit.columns, block, |values, _, sub_block| {
        let mode = modes.next().and_then(|&mode| Mode::from_number(mode)).unwrap_or(Mode::None);
        forward_sub_block(subject.format, values, sub_block, mode, &mut coded);
        for (at, &value) in (0..sub_block.elements()).zip(&coded) {
            let (row, column) = (at / sub_block.width, at % sub_block.width);
            counts.add(class(mode, sub_block.row + row, sub_block.column + column), value);
        }
    });
}
