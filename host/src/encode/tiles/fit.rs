//! Which modes suit a tensor, and what their residuals cost: found together on a sample, by turns.

use codec::constants::ALPHABET;
use codec::split::Width;
use codec::tile::{Mode, SUB_BLOCK_ELEMENTS, forward_sub_block};

use super::sample::SampledTile;
use super::subject::Subject;

/// Rounds in which modes are chosen by what residuals cost, and costs found by what was chosen.
const ROUNDS: usize = 4;
/// Part of the sub-blocks that must have a mode for it to be tried on all of them.
const LEAST_SHARE: f64 = 1.0 / 128.0;
/// Part of the bits that transforms must save over predictions alone: they take twice the planes.
const TRANSFORM_GAIN: f64 = 1.0 / 64.0;
/// What a byte that does not occur counts, so that it has a cost.
const UNSEEN: f32 = 0.25;

/// Bits of each byte of each plane.
pub(super) type PlaneBits = [[f32; ALPHABET]; 4];

/// Modes for a tensor, and what residuals cost with them.
pub(super) struct Fit {
    pub(super) columns: u32,
    pub(super) coded_width: Width,
    /// Modes to choose from, with the bits that naming each costs.
    pub(super) modes: Vec<(Mode, f32)>,
    pub(super) bits: Box<PlaneBits>,
    /// About what the tensor takes.
    pub(super) bits_per_element: f64,
}

/// A sub-block of the sample: what would be coded of it with each mode.
struct Candidates {
    elements: usize,
    /// One for each mode, without elements where the sub-block cannot have it.
    coded: Vec<Vec<u32>>,
}

impl Fit {
    /// The better of predictions alone and, for elements of one byte, all modes.
    pub(super) fn best(subject: &Subject<'_>, columns: u32, tiles: &[SampledTile]) -> Self {
        let width = subject.format.width();
        let predictions: Vec<Mode> =
            Mode::ALL.into_iter().filter(|mode| mode.transforms().is_none()).collect();
        let predicted = Self::new(subject, columns, tiles, &predictions, width);
        if width != Width::One {
            return predicted;
        }
        let all = Self::new(subject, columns, tiles, &Mode::ALL, Width::Two);
        let gains = all.bits_per_element < predicted.bits_per_element * (1.0 - TRANSFORM_GAIN);
        let transforms = all.modes.iter().any(|(mode, _)| mode.transforms().is_some());
        if gains && transforms { all } else { predicted }
    }

    fn new(
        subject: &Subject<'_>,
        columns: u32,
        tiles: &[SampledTile],
        modes: &[Mode],
        coded_width: Width,
    ) -> Self {
        let candidates: Vec<Candidates> =
            tiles.iter().flat_map(|tile| candidates_of(subject, tile, modes)).collect();
        let planes = coded_width.bytes();
        let mut chosen: Vec<usize> =
            candidates.iter().map(|sub_block| cheapest(sub_block, magnitude_bits)).collect();
        let mut mode_bits = vec![0f32; modes.len()];
        let mut bits = bits_of(&candidates, &chosen, planes);
        for _ in 0..ROUNDS {
            for (sub_block, chosen) in candidates.iter().zip(&mut chosen) {
                *chosen =
                    cheapest(sub_block, |mode, coded| mode_bits[mode] + cost(&bits, planes, coded));
            }
            mode_bits = bits_of_modes(&chosen, modes.len());
            bits = bits_of(&candidates, &chosen, planes);
        }
        let total: f64 = candidates
            .iter()
            .zip(&chosen)
            .map(|(sub_block, &mode)| {
                f64::from(mode_bits[mode] + cost(&bits, planes, &sub_block.coded[mode]))
            })
            .sum();
        let elements: usize = candidates.iter().map(|sub_block| sub_block.elements).sum();
        let share = |mode: usize| chosen.iter().filter(|&&chosen| chosen == mode).count();
        let least = (chosen.len() as f64 * LEAST_SHARE).ceil() as usize;
        let used = modes.iter().enumerate().filter(|(number, mode)| {
            // There is always something that a sub-block can have.
            **mode == Mode::None || share(*number) >= least
        });
        let modes = used.map(|(number, &mode)| (mode, mode_bits[number])).collect();
        let bits_per_element = total / elements.max(1) as f64;
        Self { columns, coded_width, modes, bits, bits_per_element }
    }

    /// The mode that codes a sub-block in the fewest bits, the first of equals. `forward` writes what
    /// would be coded of it with a mode to its argument, and gives the number of elements.
    pub(super) fn choose(
        &self,
        is_whole: bool,
        mut forward: impl FnMut(Mode, &mut [u32; SUB_BLOCK_ELEMENTS]) -> usize,
    ) -> Mode {
        let mut coded = [0; SUB_BLOCK_ELEMENTS];
        let mut best = (Mode::None, f32::INFINITY);
        for &(mode, own_bits) in &self.modes {
            if mode.transforms().is_some() && !is_whole {
                continue;
            }
            let elements = forward(mode, &mut coded);
            let bits = own_bits + cost(&self.bits, self.coded_width.bytes(), &coded[..elements]);
            if bits < best.1 {
                best = (mode, bits);
            }
        }
        best.0
    }
}

fn candidates_of(
    subject: &Subject<'_>,
    SampledTile { tile, values }: &SampledTile,
    modes: &[Mode],
) -> Vec<Candidates> {
    let sub_blocks = (0..tile.sub_blocks()).map(|number| tile.sub_block(number));
    sub_blocks
        .map(|sub_block| {
            let elements = sub_block.elements() as usize;
            let mut coded = [0; SUB_BLOCK_ELEMENTS];
            let with_mode = |&mode: &Mode| {
                if mode.transforms().is_some() && !sub_block.is_whole() {
                    return Vec::new();
                }
                forward_sub_block(subject.format, values, sub_block, mode, &mut coded);
                coded[..elements].to_vec()
            };
            Candidates { elements, coded: modes.iter().map(with_mode).collect() }
        })
        .collect()
}

/// The number of the mode that costs least, the first of equals.
fn cheapest(sub_block: &Candidates, cost: impl Fn(usize, &[u32]) -> f32) -> usize {
    let possible = sub_block.coded.iter().enumerate().filter(|(_, coded)| !coded.is_empty());
    let costs = possible.map(|(mode, coded)| (mode, cost(mode, coded)));
    costs.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(mode, _)| mode)
}

/// A first guess at the cost of residuals: twice the digits of small ones, as in Elias gamma code.
fn magnitude_bits(_mode: usize, coded: &[u32]) -> f32 {
    coded.iter().map(|&value| 1.0 + 2.0 * (value as f32 + 1.0).log2()).sum()
}

fn cost(bits: &PlaneBits, planes: usize, coded: &[u32]) -> f32 {
    let mut sum = 0.0;
    for value in coded {
        for (bits, byte) in bits[..planes].iter().zip(value.to_le_bytes()) {
            sum += bits[usize::from(byte)];
        }
    }
    sum
}

/// What bytes cost by how often they occur with the chosen modes.
fn bits_of(candidates: &[Candidates], chosen: &[usize], planes: usize) -> Box<PlaneBits> {
    let mut counts = Box::new([[UNSEEN; ALPHABET]; 4]);
    for (sub_block, &mode) in candidates.iter().zip(chosen) {
        for value in &sub_block.coded[mode] {
            for (counts, byte) in counts[..planes].iter_mut().zip(value.to_le_bytes()) {
                counts[usize::from(byte)] += 1.0;
            }
        }
    }
    for counts in &mut counts[..planes] {
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
