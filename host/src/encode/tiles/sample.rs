//! Some tiles of a tensor, and whether they promise anything.

use codec::constants::{ALPHABET, TILE_SIDE};
use codec::split::Width;
use codec::tile::{
    BlockGrid, Mode, SUB_BLOCK_ELEMENTS, TILE_ELEMENTS, Tile, TileValues, forward_sub_block,
    load_tile,
};

use super::fit::Fit;
use super::subject::Subject;
use super::{Histogram, entropy_bits};

/// Tiles of a first look.
const FEW_TILES: usize = 24;
/// Tiles that modes are fitted to.
const MANY_TILES: usize = 320;
/// Part of the sample's bits that some mode must save for a second look.
const LEAST_PROMISE: f64 = 0.02;
/// What a first look tries.
const TELLING_MODES: [Mode; 5] = [Mode::Left, Mode::Top, Mode::Planar, Mode::Skip, Mode::Cosine];

/// A tile of a tensor.
pub(super) struct SampledTile {
    pub(super) tile: Tile,
    pub(super) values: TileValues,
}

/// The modes fitted to a tensor and the row length that suits them best, if it promises to gain;
/// `by_class` where tables may be chosen by class.
pub(super) fn promising(subject: &Subject<'_>, by_class: bool) -> Option<Fit> {
    let rows = subject.row_lengths().filter(|&columns| {
        let tiles = sample(subject, columns, FEW_TILES);
        promise(subject, &tiles) >= LEAST_PROMISE
    });
    let fits = rows.map(|columns| {
        let tiles = sample(subject, columns, MANY_TILES);
        Fit::best(subject, columns, &tiles, by_class)
    });
    // The first of equals.
    fits.reduce(|best, fit| if fit.bits_per_element < best.bits_per_element { fit } else { best })
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

/// The part of the sample's bits that the best of the telling modes saves.
fn promise(subject: &Subject<'_>, tiles: &[SampledTile]) -> f64 {
    let plain = bits_with(subject, tiles, Mode::None);
    let modes = TELLING_MODES
        .into_iter()
        .filter(|mode| mode.transforms().is_none() || subject.format.width() == Width::One);
    let best = modes.map(|mode| bits_with(subject, tiles, mode)).fold(f64::INFINITY, f64::min);
    1.0 - best / plain.max(1.0)
}

/// Bits of the tiles with one mode, by the entropy of each plane. Sub-blocks that cannot have the
/// mode have none.
fn bits_with(subject: &Subject<'_>, tiles: &[SampledTile], mode: Mode) -> f64 {
    let mut counts: [Histogram; 4] = [[0; ALPHABET]; 4];
    let mut coded = [0; SUB_BLOCK_ELEMENTS];
    for SampledTile { tile, values } in tiles {
        for sub_block in (0..tile.sub_blocks()).map(|number| tile.sub_block(number)) {
            let fits = mode.transforms().is_none() || sub_block.is_whole();
            let mode = if fits { mode } else { Mode::None };
            forward_sub_block(subject.format, values, sub_block, mode, &mut coded);
            for value in &coded[..sub_block.elements() as usize] {
                for (counts, byte) in counts.iter_mut().zip(value.to_le_bytes()) {
                    counts[usize::from(byte)] += 1;
                }
            }
        }
    }
    counts.iter().map(entropy_bits).sum()
}
