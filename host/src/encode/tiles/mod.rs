//! Tiles: tensors that are smooth, or made of waves, coded as what is left of their elements after
//! a prediction or a transform ([`codec::tile`]).
//!
//! Trained weights are neither, and must cost next to nothing here. So a few tiles of each tensor
//! are looked at first ([`subject`], [`sample`]); what seems to gain has its modes fitted to more of
//! them ([`fit`]), and only then are all its tiles given modes and counted ([`whole`]). Where tables
//! may be chosen by class, [`classes`] finds them.

mod classes;
mod fit;
mod sample;
mod subject;
mod whole;

use codec::constants::ALPHABET;
use codec::split::{ElementLayout, Width};
use codec::tile::{
    BlockGrid, Mode, NumberFormat, SUB_BLOCK_ELEMENTS, SubBlock, TileValues, TiledBlock,
    forward_sub_block,
};
use rayon::prelude::*;

use self::subject::Subject;
use self::whole::Whole;
use super::profile::Profile;
use super::tables::TablePool;
use crate::format::{NumberRecord, PlaneRecord, TensorRecord, TileClassesRecord, TilingRecord};
use crate::safetensors::Header;
use crate::simd::level;

/// Part of a tensor's bits that tiles must save to be worth their slower decoding.
const LEAST_GAIN: f64 = 1.0 / 32.0;

/// Counts of a plane's bytes.
type Histogram = [u64; ALPHABET];

/// How a tensor is coded in tiles.
pub(crate) struct TensorTiling {
    format: NumberFormat,
    number: NumberRecord,
    columns: u32,
    block_elements: u32,
    coded_width: Width,
    modes: Vec<u8>,
    /// What all blocks' planes are coded as, where that is by class.
    by_class: Option<Vec<PlaneRecord>>,
    classes: Vec<TileClassesRecord>,
}

impl TensorTiling {
    pub(crate) fn record(&self) -> TilingRecord {
        TilingRecord::Tiles {
            columns: self.columns,
            coded_width: self.coded_width.bytes() as u8,
            number: self.number,
        }
    }

    /// Notes the tiling in the record of its tensor.
    pub(crate) fn describe(&self, record: &mut TensorRecord) {
        record.tile_modes = self.modes.clone();
        record.tile_classes = self.classes.clone();
    }

    /// The layout of coded elements.
    pub(crate) fn layout(&self) -> ElementLayout {
        ElementLayout { width: self.coded_width, rotated: false }
    }

    /// The records of all planes, where they are coded by class.
    pub(crate) fn planes_by_class(&self) -> Option<&[PlaneRecord]> {
        self.by_class.as_deref()
    }

    /// The classes of a plane, if it is coded by class.
    pub(crate) fn classes(&self, record: PlaneRecord) -> Option<&TileClassesRecord> {
        self.classes.get(record.classes()? as usize)
    }

    /// A block as tiles: that of which `first_element` is the first.
    pub(crate) fn block(&self, first_element: u64, elements: usize) -> TiledBlock<'_> {
        let whole = BlockGrid { elements: self.block_elements, columns: self.columns };
        let grid = BlockGrid { elements: elements as u32, columns: self.columns };
        let number = (first_element / u64::from(self.block_elements)) as usize;
        let modes = &self.modes[number * whole.sub_blocks() as usize..];
        let modes = &modes[..grid.sub_blocks() as usize];
        TiledBlock::new(grid, self.format, self.coded_width, modes)
            .expect("the modes were chosen for these blocks")
    }

    /// The coded elements of a block.
    pub(crate) fn coded(&self, first_element: u64, elements: &[u8]) -> Vec<u8> {
        let count = elements.len() / self.format.width().bytes();
        let block = self.block(first_element, count);
        let mut coded = vec![0; block.coded_bytes()];
        level().run(
            #[inline(always)]
            || block.forward(elements, &mut coded),
        );
        coded
    }
}

/// [`forward_sub_block`] with the processor's vectors.
fn forward(
    format: NumberFormat,
    values: &TileValues,
    sub_block: SubBlock,
    mode: Mode,
    coded: &mut [u32; SUB_BLOCK_ELEMENTS],
) {
    level().run(
        #[inline(always)]
        || forward_sub_block(format, values, sub_block, mode, coded),
    );
}

/// The tiling of each tensor of a file that gains by it and is not `excluded`. New tables go to `pool`.
pub(crate) fn find_tilings(
    file: &[u8],
    header: &Header,
    profile: Profile,
    block_elements: usize,
    excluded: impl Fn(usize) -> bool + Sync,
    pool: &mut TablePool,
) -> Vec<Option<TensorTiling>> {
    let candidates: Vec<Option<Whole<'_>>> = header
        .tensors
        .par_iter()
        .enumerate()
        .map(|(number, entry)| {
            if excluded(number) {
                return None;
            }
            let subject = Subject::new(entry, entry.bytes(file).unwrap_or_default())?;
            let fits = sample::promising(&subject, profile);
            let by_class = profile == Profile::Max;
            let whole_of = |fit| Whole::new(subject, fit, block_elements as u32, by_class);
            let wholes = fits.iter().map(whole_of);
            let bits = |whole: &Whole<'_>| match &whole.counts {
                None => whole.tiled_bits,
                Some(counts) => whole.mode_bits + classes::bits(counts),
            };
            let bits_and_wholes = wholes.map(|whole| (bits(&whole), whole));
            // The first of equals: predictions alone.
            let best = bits_and_wholes.reduce(|best, one| if one.0 < best.0 { one } else { best });
            best.map(|(_, whole)| whole).filter(Whole::is_worth_it)
        })
        .collect();
    candidates
        .into_iter()
        .map(|whole| whole.map(|whole| into_tiling(whole, block_elements, pool)))
        .collect()
}

fn into_tiling(whole: Whole<'_>, block_elements: usize, pool: &mut TablePool) -> TensorTiling {
    let by_class = whole.counts.as_ref().and_then(|counts| classes::choose(counts, pool));
    let (by_class, classes) = by_class.unzip();
    TensorTiling {
        format: whole.subject.format,
        number: whole.subject.number,
        columns: whole.columns,
        block_elements: block_elements as u32,
        coded_width: whole.coded_width,
        modes: whole.modes,
        by_class,
        classes: classes.unwrap_or_default(),
    }
}
