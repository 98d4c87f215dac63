//! Planning of small segments before their turn.
//!
//! A segment may take tables of those before it, so that segments are planned one after the other. But few
//! of thousands of small ones make a table: the others' plans are the same whenever they are made.

use rayon::prelude::*;

use super::reference::Referred;
use super::tables::TablePool;
use super::window::{SegmentInput, plan_by_reference};
use crate::format::PlanRecord;
use crate::spares::Spares;

/// A segment, and what occurs in its blocks.
pub(super) type Counted<'a> = (SegmentInput<'a>, Vec<Referred>);

/// Segments that are planned before the turn of the first of them.
const SEGMENTS: usize = 256;
/// Small ones among them for which that is worth waking the other threads.
const LEAST_SMALL_SEGMENTS: usize = 64;
/// What one thread takes at a time.
const SEGMENTS_AT_A_TIME: usize = 16;
/// A segment of so many bytes is small.
const SMALL_BYTES: usize = 4 << 10;

/// Plans segments in their order; new tables go to `pool`. Returns each segment with its blocks' plans.
pub(super) fn plan_in_order<'a>(
    pool: &mut TablePool,
    rooms: &Spares<Vec<u8>>,
    segments: Vec<Counted<'a>>,
) -> Vec<(Counted<'a>, Vec<PlanRecord>)> {
    let mut planned = Vec::with_capacity(segments.len());
    let mut segments = segments.into_iter();
    loop {
        let some: Vec<Counted<'a>> = segments.by_ref().take(SEGMENTS).collect();
        if some.is_empty() {
            return planned;
        }
        let tables = pool.len();
        let early = plan_early(pool, &some);
        for ((input, mut counted), early) in some.into_iter().zip(early) {
            let plans = match early {
                Some(plans) if pool.len() == tables => plans,
                _ => plan_by_reference(pool, rooms, &input, &mut counted),
            };
            planned.push(((input, counted), plans));
        }
    }
}

/// On all threads, the plans that small segments have if none before them makes a table: none for those
/// that make one themselves, and for large ones.
fn plan_early(pool: &TablePool, segments: &[Counted<'_>]) -> Vec<Option<Vec<PlanRecord>>> {
    let is_small = |(input, _): &Counted<'_>| {
        input.blocks.iter().map(|block| block.len()).sum::<usize>() <= SMALL_BYTES
    };
    let small = segments.iter().filter(|segment| is_small(segment)).count();
    if small < LEAST_SMALL_SEGMENTS || rayon::current_num_threads() == 1 {
        return vec![None; segments.len()];
    }
    let plan = |(pool, rooms): &mut (TablePool, Spares<Vec<u8>>), segment: &Counted<'_>| {
        if !is_small(segment) {
            return None;
        }
        let (input, counted) = segment;
        let tables = pool.len();
        let plans = plan_by_reference(pool, rooms, input, &mut counted.clone());
        let makes_none = pool.len() == tables;
        pool.truncate(tables);
        makes_none.then_some(plans)
    };
    let segments = segments.par_iter().with_max_len(SEGMENTS_AT_A_TIME);
    // Each thread has its own of both, so that none waits for another.
    segments.map_init(|| (pool.clone(), Spares::default()), plan).collect()
}

#[cfg(test)]
mod tests {
    use crate::safetensors::{Dtype, TensorData, build};
    use crate::{EncodeOptions, encode_safetensors_bytes};

    /// 1000 tensors of 50 to 2000 bytes: some are noise, the others of some kinds, each with tables of its own.
    fn many_small_tensors() -> Vec<u8> {
        let mut state = 1u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let bytes: Vec<Vec<u8>> = (0..1000)
            .map(|tensor| {
                let (length, kind) = (50 + random() % 2000, tensor / 90);
                let value = |random: u32| match kind % 3 {
                    0 => random as u8,
                    _ => (random % (2 + kind)) as u8 * kind as u8,
                };
                (0..length).map(|_| value(random())).collect()
            })
            .collect();
        let names: Vec<String> = (0..bytes.len()).map(|number| format!("t{number:04}")).collect();
        let shapes: Vec<[u64; 1]> = bytes.iter().map(|bytes| [bytes.len() as u64]).collect();
        let tensors: Vec<TensorData<'_>> = names
            .iter()
            .zip(&shapes)
            .zip(&bytes)
            .map(|((name, shape), bytes)| TensorData { name, dtype: Dtype::U8, shape, bytes })
            .collect();
        build(&tensors, &[]).unwrap()
    }

    #[test]
    fn plans_are_the_same_whenever_they_are_made() {
        let file = many_small_tensors();
        let encode = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| encode_safetensors_bytes(&file, &EncodeOptions::default())).unwrap().0
        };
        let one_by_one = encode(1);
        let tables = crate::Checkpoint::from_bytes(one_by_one.clone()).unwrap().table_count();
        assert!(tables > 3, "{tables}");
        for threads in [2, 3, 8] {
            assert!(encode(threads) == one_by_one, "{threads} threads");
        }
    }
}
