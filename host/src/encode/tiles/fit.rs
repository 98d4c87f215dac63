//! Which modes suit a tensor, and what their residuals cost: found together on a sample, by turns.

use codec::constants::{ALPHABET, TILE_SIDE};
use codec::split::Width;
use codec::tile::{Mode, SUB_BLOCK_ELEMENTS, SubBlock, TILE_ELEMENTS, class};
use rayon::prelude::*;

use super::forward;
use super::sample::SampledTile;
use super::subject::Subject;
use crate::simd::level;

/// Rounds in which modes are chosen by what residuals cost, and costs found by what was chosen. Where
/// tables are not chosen by class, a third one changed no file that was measured.
const fn rounds(by_class: bool) -> usize {
    if by_class { 3 } else { 2 }
}
/// Part of the sub-blocks that must have a mode for it to be tried on all of them.
const fn least_share(by_class: bool) -> f64 {
    if by_class { 1.0 / 128.0 } else { 1.0 / 24.0 }
}
/// How much more transforms may take of the sample than predictions alone, to be tried on the whole,
/// where tables are chosen by class: those tell coefficients better apart.
const SAMPLE_TOLERANCE: f64 = 1.04;
/// What a byte that does not occur counts, so that it has a cost.
const UNSEEN: f32 = 0.25;

/// Frequencies of coefficients that are told apart.
const FREQUENCIES: usize = 8;
/// Predictions, whose numbers come before those of transforms.
const PREDICTIONS: usize = Mode::Cosine as usize;
/// Kinds of coded elements.
const KINDS: usize = PREDICTIONS + FREQUENCIES;

/// Bits of each byte of each plane, of elements of one kind.
type PlaneBits = [[f32; ALPHABET]; 4];

/// The kind of each coded element of a tile, for each mode: where tables may be chosen by class, the
/// prediction that it gets there, or about the frequency of the coefficient, for that a sample
/// suffices; otherwise they are all the same.
struct Kinds {
    of_mode: Vec<[u8; TILE_ELEMENTS]>,
    all_the_same: bool,
}

impl Kinds {
    fn new(by_class: bool) -> Self {
        let kind = |mode: Mode, row: u32, column: u32| match mode.transforms() {
            _ if !by_class => 0,
            None => class(mode, row, column) as u8,
            Some(_) => {
                let frequency = (row % 8 + column % 8) as usize / 2;
                (PREDICTIONS + frequency.min(FREQUENCIES - 1)) as u8
            }
        };
        let side = TILE_SIDE as u32;
        let of_mode =
            |mode| std::array::from_fn(|at| kind(mode, at as u32 / side, at as u32 % side));
        Self { of_mode: Mode::ALL.map(of_mode).to_vec(), all_the_same: !by_class }
    }

    /// The kinds of a sub-block's elements with a mode, row by row.
    fn of(&self, mode: Mode, sub_block: SubBlock) -> impl Iterator<Item = usize> {
        let kinds = &self.of_mode[mode as usize];
        (0..sub_block.height).flat_map(move |row| {
            let first = (sub_block.row + row) as usize * TILE_SIDE + sub_block.column as usize;
            kinds[first..][..sub_block.width as usize].iter().map(|&kind| usize::from(kind))
        })
    }

    /// Bits of what is coded of a sub-block with a mode.
    fn cost(
        &self,
        bits: &[PlaneBits],
        planes: usize,
        mode: Mode,
        sub_block: SubBlock,
        coded: &[u32],
    ) -> f32 {
        let cost_of = |bits: &[[f32; ALPHABET]], value: u32| -> f32 {
            let bytes = value.to_le_bytes().into_iter();
            bits.iter().zip(bytes).map(|(bits, byte)| bits[usize::from(byte)]).sum()
        };
        let coded = &coded[..sub_block.elements() as usize];
        if self.all_the_same {
            let bits = &bits[0];
            return match planes {
                1 => sum_of_eight(coded, |value| cost_of(&bits[..1], value)),
                2 => sum_of_eight(coded, |value| cost_of(&bits[..2], value)),
                _ => sum_of_eight(coded, |value| cost_of(bits, value)),
            };
        }
        let kinds = self.of(mode, sub_block).zip(coded);
        kinds.map(|(kind, &value)| cost_of(&bits[kind][..planes], value)).sum()
    }
}

/// The sum of the costs of all values: eight sums side by side, none of which waits for the others.
#[inline(always)]
fn sum_of_eight(values: &[u32], cost: impl Fn(u32) -> f32) -> f32 {
    let mut sums = [0f32; 8];
    let (eights, last) = values.as_chunks::<8>();
    for eight in eights {
        sums.iter_mut().zip(eight).for_each(|(sum, &value)| *sum += cost(value));
    }
    sums.iter_mut().zip(last).for_each(|(sum, &value)| *sum += cost(value));
    sums.iter().sum()
}

/// Modes for a tensor, and what residuals cost with them.
pub(super) struct Fit {
    pub(super) columns: u32,
    pub(super) coded_width: Width,
    /// Modes to choose from, with the bits that naming each costs.
    pub(super) modes: Vec<(Mode, f32)>,
    /// By kind.
    bits: Vec<PlaneBits>,
    kinds: Kinds,
    /// About what the tensor takes.
    pub(super) bits_per_element: f64,
}

/// A sub-block of the sample: what would be coded of it with each mode.
struct Candidates {
    sub_block: SubBlock,
    /// One for each mode, of as many elements as the sub-block has.
    coded: Vec<[u32; SUB_BLOCK_ELEMENTS]>,
    /// A first guess at what they cost; none where the sub-block cannot have the mode.
    magnitudes: Vec<Option<f32>>,
}

impl Fit {
    /// A fit of predictions alone and, for elements of one byte, one of all modes, if transforms suit
    /// the sample; `by_class` where tables may be chosen by class.
    pub(super) fn of_sample(
        subject: &Subject<'_>,
        columns: u32,
        tiles: &[SampledTile],
        by_class: bool,
    ) -> Vec<Self> {
        let width = subject.format.width();
        let predictions: Vec<Mode> =
            Mode::ALL.into_iter().filter(|mode| mode.transforms().is_none()).collect();
        // Transforms come last, so that both choose from the same.
        let modes: &[Mode] = if width == Width::One { &Mode::ALL } else { &predictions };
        let candidates: Vec<Candidates> =
            tiles.par_iter().flat_map_iter(|tile| candidates_of(subject, tile, modes)).collect();
        let new = |modes: &[Mode], coded_width| {
            Self::new(columns, &candidates, modes, coded_width, by_class)
        };
        if width != Width::One {
            return vec![new(modes, width)];
        }
        let (predicted, all) =
            rayon::join(|| new(&predictions, width), || new(&Mode::ALL, Width::Two));
        let tolerance = if by_class { SAMPLE_TOLERANCE } else { 1.0 };
        let promising = all.bits_per_element < predicted.bits_per_element * tolerance;
        let transforms = all.modes.iter().any(|(mode, _)| mode.transforms().is_some());
        match promising && transforms {
            true if by_class => vec![predicted, all],
            true => vec![all],
            false => vec![predicted],
        }
    }

    fn new(
        columns: u32,
        candidates: &[Candidates],
        modes: &[Mode],
        coded_width: Width,
        by_class: bool,
    ) -> Self {
        let kinds = Kinds::new(by_class);
        let planes = coded_width.bytes();
        let bits_of = |chosen: &[&[usize]]| bits_of(candidates, chosen, modes, &kinds, planes);
        // The costs of the first round are those of the best predictions and of the best transforms
        // together: what never occurs seems dear, and would never be chosen.
        let first = |transforms: bool| -> Vec<usize> {
            let wanted = |mode: usize| modes[mode].transforms().is_some() == transforms;
            candidates.iter().map(|one| one.smallest(modes.len(), wanted)).collect()
        };
        let (mut chosen, transformed) = (first(false), first(true));
        let mut mode_bits = vec![0f32; modes.len()];
        let mut bits = bits_of(&[&chosen, &transformed]);
        let cost_of = |candidates: &Candidates, mode: usize, bits: &[PlaneBits]| {
            let coded = candidates.coded(mode);
            kinds.cost(bits, planes, modes[mode], candidates.sub_block, coded)
        };
        for _ in 0..rounds(by_class) {
            for (candidates, chosen) in candidates.iter().zip(&mut chosen) {
                *chosen = candidates.cheapest(modes.len(), |mode| {
                    mode_bits[mode] + cost_of(candidates, mode, &bits)
                });
            }
            mode_bits = bits_of_modes(&chosen, modes.len());
            bits = bits_of(&[&chosen]);
        }
        let pairs = candidates.iter().zip(&chosen);
        let bits_of_pair = |(candidates, &mode): (&Candidates, &usize)| {
            f64::from(mode_bits[mode] + cost_of(candidates, mode, &bits))
        };
        let total: f64 = pairs.map(bits_of_pair).sum();
        let elements: u32 = candidates.iter().map(|one| one.sub_block.elements()).sum();
        let modes = used_modes(modes, &mode_bits, &chosen, least_share(by_class));
        let bits_per_element = total / f64::from(elements.max(1));
        Self { columns, coded_width, modes, bits, kinds, bits_per_element }
    }

    /// The mode that codes a sub-block in the fewest bits, the first of equals, and what is coded of it
    /// then. `forward` writes what would be coded of it with a mode to its argument.
    pub(super) fn choose(
        &self,
        sub_block: SubBlock,
        mut forward: impl FnMut(Mode, &mut [u32; SUB_BLOCK_ELEMENTS]),
    ) -> (Mode, [u32; SUB_BLOCK_ELEMENTS]) {
        let mut coded = [0; SUB_BLOCK_ELEMENTS];
        let (mut best, mut least) = ((Mode::None, coded), f32::INFINITY);
        for &(mode, own_bits) in &self.modes {
            if mode.transforms().is_some() && !sub_block.is_whole() {
                continue;
            }
            forward(mode, &mut coded);
            let planes = self.coded_width.bytes();
            let bits = own_bits + self.kinds.cost(&self.bits, planes, mode, sub_block, &coded);
            if bits < least {
                (best, least) = ((mode, coded), bits);
            }
        }
        best
    }
}

/// The modes that enough sub-blocks have, and their bits.
fn used_modes(
    modes: &[Mode],
    bits: &[f32],
    chosen: &[usize],
    least_share: f64,
) -> Vec<(Mode, f32)> {
    let least = (chosen.len() as f64 * least_share).ceil() as usize;
    let share = |number: usize| chosen.iter().filter(|&&chosen| chosen == number).count();
    let numbered = modes.iter().zip(bits).enumerate();
    // There is always something that a sub-block can have.
    let used =
        numbered.filter(|(number, (mode, _))| **mode == Mode::None || share(*number) >= least);
    used.map(|(_, (&mode, &bits))| (mode, bits)).collect()
}

fn candidates_of(
    subject: &Subject<'_>,
    SampledTile { tile, values }: &SampledTile,
    modes: &[Mode],
) -> Vec<Candidates> {
    let sub_blocks = (0..tile.sub_blocks()).map(|number| tile.sub_block(number));
    sub_blocks
        .map(|sub_block| {
            let mut coded = vec![[0; SUB_BLOCK_ELEMENTS]; modes.len()];
            let with_mode = |(&mode, coded): (&Mode, &mut [u32; SUB_BLOCK_ELEMENTS])| {
                if mode.transforms().is_some() && !sub_block.is_whole() {
                    return None;
                }
                forward(subject.format, values, sub_block, mode, coded);
                Some(magnitude_bits(&coded[..sub_block.elements() as usize]))
            };
            let magnitudes = modes.iter().zip(&mut coded).map(with_mode).collect();
            Candidates { sub_block, coded, magnitudes }
        })
        .collect()
}

impl Candidates {
    /// What would be coded of the sub-block with a mode.
    fn coded(&self, mode: usize) -> &[u32] {
        &self.coded[mode][..self.sub_block.elements() as usize]
    }

    /// The number of that of the first `modes` that costs least, the first of equals.
    fn cheapest(&self, modes: usize, cost: impl Fn(usize) -> f32) -> usize {
        let possible = (0..modes).filter(|&mode| self.magnitudes[mode].is_some());
        let costs = possible.map(|mode| (mode, cost(mode)));
        costs.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(mode, _)| mode)
    }

    /// The number of the mode that leaves the smallest numbers, among those `wanted` if there are any.
    fn smallest(&self, modes: usize, wanted: impl Fn(usize) -> bool) -> usize {
        const DEAR: f32 = 1e6;
        self.cheapest(modes, |mode| {
            self.magnitudes[mode].unwrap_or(DEAR) + if wanted(mode) { 0.0 } else { DEAR }
        })
    }
}

/// A first guess at the cost of residuals: twice the digits of small ones, as in Elias gamma code.
fn magnitude_bits(coded: &[u32]) -> f32 {
    level().run(
        #[inline(always)]
        || coded.iter().map(|&value| 2 * digits_of_next(value) - 1).sum::<u32>() as f32,
    )
}

/// The binary digits of `value + 1`: those of the number itself, and one more where all are ones.
#[inline(always)]
fn digits_of_next(value: u32) -> u32 {
    32 - value.leading_zeros() + u32::from(value & value.wrapping_add(1) == 0)
}

/// What bytes of each kind cost by how often they occur with the chosen modes, of one or more choices.
fn bits_of(
    candidates: &[Candidates],
    chosen: &[&[usize]],
    modes: &[Mode],
    kinds: &Kinds,
    planes: usize,
) -> Vec<PlaneBits> {
    // Where all kinds are the same the others are never asked for.
    let used = if kinds.all_the_same { 1 } else { KINDS };
    let mut counts = vec![[[UNSEEN; ALPHABET]; 4]; used];
    let pairs = chosen.iter().flat_map(|chosen| candidates.iter().zip(*chosen));
    for (candidates, &mode) in pairs {
        let kinds = kinds.of(modes[mode], candidates.sub_block);
        for (kind, value) in kinds.zip(candidates.coded(mode)) {
            for (counts, byte) in counts[kind][..planes].iter_mut().zip(value.to_le_bytes()) {
                counts[usize::from(byte)] += 1.0;
            }
        }
    }
    for counts in counts.iter_mut().flat_map(|planes_of_kind| &mut planes_of_kind[..planes]) {
        let total: f32 = counts.iter().sum();
        counts.iter_mut().for_each(|count| *count = (total / *count).log2());
    }
    counts
}

fn bits_of_modes(chosen: &[usize], modes: usize) -> Vec<f32> {
    let mut counts = vec![UNSEEN; modes];
    chosen.iter().for_each(|&mode| counts[mode] += 1.0);
    let total: f32 = counts.iter().sum();
    counts.into_iter().map(|count| (total / count).log2()).collect()
}
