//! Segments that are planned together.
//!
//! A plan costs about as much for a block as for a hundred, most of it for tables that then turn out not
//! to pay. So the small tensors that follow one another in a file are planned as the blocks of one large
//! tensor are: those that are alike share a table, whichever tensor they belong to.

use codec::split::ElementLayout;
use rayon::prelude::*;

use super::plan::{PlanInput, plan_blocks};
use super::reference::Referred;
use super::tables::TablePool;
use super::tiles::TensorTiling;
use super::window::SegmentInput;
use crate::format::{PlanRecord, ReferenceRecord};
use crate::spares::Spares;

/// A segment of at most so many bytes is small.
const SMALL_BYTES: usize = 256 << 10;
/// What small segments of a lot take together, at most: bytes, and blocks.
const MOST_BYTES: usize = 1 << 20;
/// See [`MOST_BYTES`].
const MOST_BLOCKS: usize = 256;

/// The kinds of blocks of a lot, each of which is planned by itself.
const REFERENCES: [ReferenceRecord; 3] =
    [ReferenceRecord::None, ReferenceRecord::Xor, ReferenceRecord::Difference];

/// Segments that are planned together: a large one, or small ones that follow one another.
///
/// Which these are depends on nothing but the file and the options, so that what is encoded doesn't
/// depend on the number of threads.
#[derive(Default)]
pub(crate) struct Lot<'a> {
    segments: Vec<SegmentInput<'a>>,
    /// Of all segments.
    pub(crate) bytes: usize,
    pub(crate) blocks: usize,
}

impl<'a> Lot<'a> {
    /// Whether `segment` can be planned with those before it.
    pub(crate) fn has_room_for(&self, segment: &SegmentInput<'_>) -> bool {
        let Some(last) = self.segments.last() else { return true };
        is_small(last)
            && is_small(segment)
            && last.layout == segment.layout
            && self.bytes + segment.bytes() <= MOST_BYTES
            && self.blocks + segment.blocks.len() <= MOST_BLOCKS
    }

    pub(crate) fn push(&mut self, segment: SegmentInput<'a>) {
        self.bytes += segment.bytes();
        self.blocks += segment.blocks.len();
        self.segments.push(segment);
    }

    /// What occurs in each block.
    pub(super) fn count(self) -> CountedLot<'a> {
        let counted: Vec<Vec<Referred>> =
            self.segments.par_iter().map(SegmentInput::count_all).collect();
        CountedLot { segments: self.segments, blocks: counted.into_iter().flatten().collect() }
    }
}

/// Whether a segment may be planned with those of other tensors. What has classes or tiles has tables of
/// its own.
fn is_small(segment: &SegmentInput<'_>) -> bool {
    segment.bytes() <= SMALL_BYTES && segment.classes.is_none() && segment.tiling.is_none()
}

/// A lot, and what occurs in its blocks.
pub(super) struct CountedLot<'a> {
    pub(super) segments: Vec<SegmentInput<'a>>,
    /// Those of one segment after those of the other.
    pub(super) blocks: Vec<Referred>,
}

impl CountedLot<'_> {
    /// The plan of each block; blocks that are taken alike are planned together. New tables go to `pool`.
    pub(super) fn plan(
        &mut self,
        pool: &mut TablePool,
        rooms: &Spares<Vec<u8>>,
    ) -> Vec<PlanRecord> {
        let Self { segments, blocks } = self;
        let Some(first) = segments.first() else { return Vec::new() };
        let inputs: Vec<(&SegmentInput<'_>, usize)> = segments
            .iter()
            .flat_map(|segment| (0..segment.blocks.len()).map(move |block| (segment, block)))
            .collect();
        let mut plans: Vec<Option<PlanRecord>> = vec![None; blocks.len()];
        for reference in REFERENCES {
            let is_member = |&block: &usize| blocks[block].reference == reference;
            let members: Vec<usize> = (0..blocks.len()).filter(is_member).collect();
            if members.is_empty() {
                continue;
            }
            let counts =
                members.iter().map(|&block| std::mem::take(&mut blocks[block].counts)).collect();
            let elements = |&block: &usize| {
                let (segment, number) = inputs[block];
                blocks[block].coded.as_deref().unwrap_or(segment.blocks[number])
            };
            let input = PlanInput {
                layout: layout_of(first, reference),
                states_per_lane: first.states_per_lane,
                profile: first.profile,
                pair_tolerance: first.pair_tolerance,
                classes: first.classes,
                tensors: segments.len(),
                first_elements: members
                    .iter()
                    .map(|&block| inputs[block].0.first_element_of(inputs[block].1))
                    .collect(),
                blocks: members.iter().map(elements).collect(),
                counts,
                rooms,
            };
            let planned = plan_tiled_or_plain(pool, &input, first.tiling);
            for (block, plan) in members.into_iter().zip(planned) {
                plans[block] = Some(PlanRecord { reference, ..plan });
            }
        }
        plans.into_iter().flatten().collect()
    }
}

/// The layout of what is split into planes.
fn layout_of(segment: &SegmentInput<'_>, reference: ReferenceRecord) -> ElementLayout {
    let layout = segment.tiling.map_or(segment.layout, TensorTiling::layout);
    reference.operation().map_or(layout, |operation| operation.coded_layout(layout))
}

fn plan_tiled_or_plain(
    pool: &mut TablePool,
    input: &PlanInput<'_, '_>,
    tiling: Option<&TensorTiling>,
) -> Vec<PlanRecord> {
    let Some(tiling) = tiling else { return plan_blocks(pool, input) };
    let plans = match tiling.planes_by_class() {
        Some(planes) => vec![PlanRecord::of_planes(planes.to_vec()); input.blocks.len()],
        None => plan_blocks(pool, input),
    };
    let tiled = |plan: PlanRecord| PlanRecord { tiling: tiling.record(), ..plan };
    plans.into_iter().map(tiled).collect()
}

#[cfg(test)]
mod tests {
    use crate::safetensors::{Dtype, TensorData, build};
    use crate::{Checkpoint, EncodeOptions, encode_safetensors_bytes};

    fn random() -> impl FnMut() -> u32 {
        let mut state = 1u32;
        move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        }
    }

    fn file_of(tensors: &[Vec<u8>], dtype: &Dtype) -> Vec<u8> {
        let names: Vec<String> = (0..tensors.len()).map(|number| format!("t{number:04}")).collect();
        let element_bytes = if *dtype == Dtype::BF16 { 2 } else { 1 };
        let shape = |bytes: &Vec<u8>| [(bytes.len() / element_bytes) as u64];
        let shapes: Vec<[u64; 1]> = tensors.iter().map(shape).collect();
        let parts = names.iter().zip(&shapes).zip(tensors);
        let tensors: Vec<TensorData<'_>> = parts
            .map(|((name, shape), bytes)| TensorData { name, dtype: dtype.clone(), shape, bytes })
            .collect();
        build(&tensors, &[]).unwrap()
    }

    fn encode(file: &[u8], threads: usize) -> Vec<u8> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| encode_safetensors_bytes(file, &EncodeOptions::default())).unwrap().0
    }

    #[test]
    fn plans_do_not_depend_on_the_number_of_threads() {
        // 1000 tensors of 50 to 2000 bytes: some are noise, the others of some kinds.
        let mut random = random();
        let tensors: Vec<Vec<u8>> = (0..1000)
            .map(|tensor| {
                let (length, kind) = (50 + random() % 2000, tensor / 90);
                let value = |random: u32| match kind % 3 {
                    0 => random as u8,
                    _ => (random % (2 + kind)) as u8 * kind as u8,
                };
                (0..length).map(|_| value(random())).collect()
            })
            .collect();
        let file = file_of(&tensors, &Dtype::U8);
        let one_by_one = encode(&file, 1);
        let checkpoint = Checkpoint::from_bytes(one_by_one.clone()).unwrap();
        assert!(checkpoint.table_count() > 3, "{}", checkpoint.table_count());
        assert!(checkpoint.restore_bytes().unwrap() == file);
        for threads in [2, 3, 8] {
            assert!(encode(&file, threads) == one_by_one, "{threads} threads");
        }
    }

    #[test]
    fn tensors_that_are_alike_share_a_table_wherever_they_lie() {
        // Of each kind some tensors that would not pay for a table by themselves.
        let mut random = random();
        let scales = [100u16, 112, 124];
        let tensors: Vec<Vec<u8>> = (0..60)
            .map(|tensor| {
                let element = |random: u32| {
                    let exponent = scales[tensor % 3] - (random | 1 << 12).trailing_zeros() as u16;
                    exponent << 7 | (random >> 5) as u16 & 0x7F | (random as u16 & 1) << 15
                };
                (0..700).flat_map(|_| element(random()).to_le_bytes()).collect()
            })
            .collect();
        let file = file_of(&tensors, &Dtype::BF16);
        let checkpoint = Checkpoint::from_bytes(encode(&file, 2)).unwrap();
        assert_eq!(checkpoint.table_count(), 3);
        let is_coded =
            |plans: &[(usize, String)]| plans.iter().all(|(_, plan)| plan.contains("pairs"));
        assert!(checkpoint.tensors().all(|tensor| is_coded(&tensor.plans())));
        assert!(checkpoint.restore_bytes().unwrap() == file);
    }

    #[test]
    fn a_table_of_pairs_that_are_all_the_same_suits_no_others() {
        const ELEMENTS: usize = 1 << 15;
        let mut random = random();
        let mut weight = || {
            let random = random();
            let exponent = 100 - (random | 1 << 12).trailing_zeros() as u16;
            (exponent << 7 | (random >> 5) as u16 & 0x7F).to_le_bytes()
        };
        let weights: Vec<u8> = (0..ELEMENTS).flat_map(|_| weight()).collect();
        // Two values in turn, as few as nothing to say of each pair.
        let in_turn: Vec<u8> = (0..ELEMENTS).flat_map(|e| [0, 20 + e as u8 % 2]).collect();
        let checkpoint =
            Checkpoint::from_bytes(encode(&file_of(&[in_turn, weights], &Dtype::BF16), 1)).unwrap();
        for tensor in checkpoint.tensors() {
            let plans = tensor.plans();
            assert!(plans.iter().all(|(_, plan)| plan.contains("pairs")), "{plans:?}");
        }
    }
}
