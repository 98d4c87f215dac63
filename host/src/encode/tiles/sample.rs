//! Some tiles of a tensor, and whether they promise anything.

use codec::constants::{ALPHABET, TILE_SIDE};
use codec::split::Width;
use codec::tile::{
    BlockGrid, Mode, SUB_BLOCK_ELEMENTS, TILE_ELEMENTS, Tile, TileValues, load_tile,
};

use super::fit::Fit;
use super::forward;
use super::subject::Subject;
use crate::encode::entropy::entropy_bits;
use crate::encode::profile::Profile;
use crate::simd::level;

/// How closely a profile looks.
struct Effort {
    /// Elements that a tensor must have for tiles to be worth a look, which costs the same whatever it has:
    /// some 25 us with the profile fast.
    least_elements: usize,
    /// Tiles of a first look at elements of one plane; for one more plane it takes half as many again.
    few_tiles: usize,
    /// Part of their bits that must be saved for a second look: more than chance saves.
    least_promise: f64,
    /// Tiles that modes are fitted to.
    many_tiles: usize,
}

impl Effort {
    fn of(profile: Profile) -> Self {
        match profile {
            Profile::Fast => {
                Self { least_elements: 1 << 16, few_tiles: 8, least_promise: 0.05, many_tiles: 16 }
            }
            Profile::Max => Self {
                least_elements: 1 << 11,
                few_tiles: 16,
                least_promise: 0.02,
                many_tiles: 320,
            },
        }
    }
}

/// The highest planes, which a first look counts: lower ones are noise in most tensors.
const PLANES: usize = 2;

/// A tile of a tensor.
pub(super) struct SampledTile {
    pub(super) tile: Tile,
    pub(super) values: TileValues,
}

/// The modes fitted to a tensor with the row length that suits them best, in one or two ways; none if
/// it does not promise to gain. With the profile max, tables may be chosen by class.
pub(super) fn promising(subject: &Subject<'_>, profile: Profile) -> Vec<Fit> {
    let effort = Effort::of(profile);
    if subject.elements < effort.least_elements {
        return Vec::new();
    }
    let few_tiles = effort.few_tiles * (PLANES.min(subject.width()) + 1) / 2;
    let rows = subject.row_lengths().filter(|&columns| {
        let tiles = sample(subject, columns, few_tiles);
        promise(subject, &tiles) >= effort.least_promise
    });
    let fits = rows.map(|columns| {
        let tiles = sample(subject, columns, effort.many_tiles);
        Fit::of_sample(subject, columns, &tiles, profile == Profile::Max)
    });
    let bits =
        |fits: &[Fit]| fits.iter().map(|fit| fit.bits_per_element).fold(f64::INFINITY, f64::min);
    // The first of equals.
    let best = fits.reduce(|best, fits| if bits(&fits) < bits(&best) { fits } else { best });
    best.unwrap_or_default()
}

/// At most `count` tiles from all over a tensor.
fn sample(subject: &Subject<'_>, columns: u32, count: usize) -> Vec<SampledTile> {
    let row_bytes = columns as usize * subject.width();
    let rows = (subject.elements / columns as usize).max(1);
    let bands = rows.div_ceil(TILE_SIDE);
    let across = (columns as usize).div_ceil(TILE_SIDE);
    let all = bands * across;
    let count = count.min(all);
    let tile = |number: usize| {
        // Not at the same place of each part, which might be the same columns of all rows.
        let (start, end) = (number * all / count, (number + 1) * all / count);
        let place = start + number.wrapping_mul(0x9E37_79B1) % (end - start);
        let band = place / across * TILE_SIDE;
        let bytes = &subject.bytes[band * row_bytes..];
        let bytes = &bytes[..bytes.len().min(TILE_SIDE * row_bytes)];
        let grid = BlockGrid { elements: (bytes.len() / subject.width()) as u32, columns };
        let tile = grid.tile((place % across) as u32);
        let mut values = [0; TILE_ELEMENTS];
        load_tile(grid, subject.format, tile, bytes, &mut values);
        SampledTile { tile, values }
    };
    (0..count).map(tile).collect()
}

/// The part of the bits that the best of some simple predictions saves, or a transform, by the
/// entropy of the highest planes. Floats are predicted by their order, which suffices to tell.
fn promise(subject: &Subject<'_>, tiles: &[SampledTile]) -> f64 {
    let planes = PLANES.min(subject.width());
    let unused = 8 * subject.width().saturating_sub(PLANES);
    let mut counts = [[[0u32; ALPHABET]; PLANES]; PREDICTIONS];
    for SampledTile { tile, values } in tiles {
        let mut above = &[0; TILE_SIDE];
        for row in &values.as_chunks::<TILE_SIDE>().0[..tile.height as usize] {
            let residuals = simple_residuals(subject, row, above, unused as u32);
            for (counts, residuals) in counts.iter_mut().zip(&residuals) {
                for residual in &residuals[FIRST_COLUMN..(tile.width as usize).max(FIRST_COLUMN)] {
                    for (counts, byte) in counts[..planes].iter_mut().zip(residual.to_le_bytes()) {
                        counts[usize::from(byte)] += 1;
                    }
                }
            }
            above = row;
        }
    }
    let counted: u64 = counts[0][0].iter().map(|&count| u64::from(count)).sum();
    // Planes that are not counted are taken to be noise.
    let noise = (unused as u64 * counted) as f64;
    let bits =
        counts.map(|counts_of| counts_of[..planes].iter().map(entropy_bits).sum::<f64>() + noise);
    let best = bits[1..].iter().copied().fold(f64::INFINITY, f64::min);
    let predicted = 1.0 - best / bits[0].max(1.0);
    predicted.max(promise_of_transforms(subject, tiles))
}

/// Columns of a row that have all neighbours to their left begin with this one.
const FIRST_COLUMN: usize = 2;
/// None, left, top, planar, and the second left.
const PREDICTIONS: usize = 5;

/// What some predictions leave of a tile's row, each without its `unused` low bits. Above the first row
/// are zeros.
fn simple_residuals(
    subject: &Subject<'_>,
    row: &[i32; TILE_SIDE],
    above: &[i32; TILE_SIDE],
    unused: u32,
) -> [[u32; TILE_SIDE]; PREDICTIONS] {
    let format = subject.format;
    level().run(
        #[inline(always)]
        || {
            let mut residuals = [[0; TILE_SIDE]; PREDICTIONS];
            for column in FIRST_COLUMN..TILE_SIDE {
                let (left, skip) = (row[column - 1], row[column - 2]);
                let (top, corner) = (above[column], above[column - 1]);
                let planar = left.wrapping_add(top).wrapping_sub(corner);
                for (residuals, predicted) in residuals.iter_mut().zip([0, left, top, planar, skip])
                {
                    residuals[column] = format.residual(row[column], predicted) >> unused;
                }
            }
            residuals
        },
    )
}

/// The same of cosine transforms of a sub-block of each tile.
fn promise_of_transforms(subject: &Subject<'_>, tiles: &[SampledTile]) -> f64 {
    if subject.format.width() != Width::One {
        return 0.0;
    }
    let bits = [Mode::None, Mode::Cosine].map(|mode| {
        let mut counts = [[0u64; ALPHABET]; PLANES];
        let mut coded = [0; SUB_BLOCK_ELEMENTS];
        for SampledTile { tile, values } in tiles {
            let sub_block = tile.sub_block(0);
            if sub_block.is_whole() {
                forward(subject.format, values, sub_block, mode, &mut coded);
                for value in coded {
                    for (counts, byte) in counts.iter_mut().zip(value.to_le_bytes()) {
                        counts[usize::from(byte)] += 1;
                    }
                }
            }
        }
        counts.iter().map(entropy_bits).sum::<f64>()
    });
    1.0 - bits[1] / bits[0].max(1.0)
}
