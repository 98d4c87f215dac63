//! A window of segments: counted, planned and encoded together, so that many small tensors keep
//! all threads busy and a huge one takes bounded memory.

use codec::block::{
    BlockSpec, PlaneCoding, encode_block, encode_scratch_bytes, encode_scratch_words,
    max_block_bytes,
};
use codec::constants::MAX_WIDTH;
use codec::split::ElementLayout;
use rayon::prelude::*;

use super::histogram::count_planes;
use super::plan::{Segment, plan_segment};
use super::tables::TablePool;
use crate::format::PlaneRecord;
use crate::hash::xxh3;

/// A run of blocks of one tensor, to be encoded.
pub(crate) struct SegmentInput<'a> {
    /// Position of the tensor in the file.
    pub(crate) tensor: usize,
    pub(crate) layout: ElementLayout,
    pub(crate) states_per_lane: usize,
    /// Elements of each block, little-endian.
    pub(crate) blocks: Vec<&'a [u8]>,
}

/// A block, encoded.
pub(crate) struct EncodedBlock {
    pub(crate) tensor: usize,
    /// Number of its plan in the tensor.
    pub(crate) plan: u16,
    pub(crate) bytes: Vec<u8>,
    /// xxh3 of its elements.
    pub(crate) checksum: u64,
}

/// Encodes all blocks of `segments`, in order. New tables go to `pool`.
///
/// `admit` is given the number of a tensor and the plan of each of its blocks in turn, and says
/// which plan the block is to follow, and the plan's number in the tensor.
pub(crate) fn encode_window(
    pool: &mut TablePool,
    segments: Vec<SegmentInput<'_>>,
    mut admit: impl FnMut(usize, Vec<PlaneRecord>) -> (u16, Vec<PlaneRecord>),
) -> Vec<EncodedBlock> {
    let counted: Vec<(usize, Segment<'_>)> = segments
        .into_par_iter()
        .map(|input| {
            let counts = input.blocks.par_iter().map(|b| count_planes(input.layout, b)).collect();
            let SegmentInput { tensor, layout, states_per_lane, blocks } = input;
            (tensor, Segment { layout, states_per_lane, blocks, counts })
        })
        .collect();
    let mut planned = Vec::new();
    for (tensor, segment) in &counted {
        let plans = plan_segment(pool, segment);
        for (&block, plan) in segment.blocks.iter().zip(plans) {
            let (number, plan) = admit(*tensor, plan);
            planned.push((*tensor, segment, block, number, plan));
        }
    }
    let pool = &*pool;
    planned
        .into_par_iter()
        .map_init(BlockEncoder::default, |encoder, (tensor, segment, block, number, plan)| {
            let bytes = encoder.encode(pool, segment, block, &plan);
            EncodedBlock { tensor, plan: number, bytes, checksum: xxh3(block) }
        })
        .collect()
}

/// One thread's buffers.
#[derive(Default)]
struct BlockEncoder {
    scratch: Vec<u8>,
    words: Vec<u16>,
    out: Vec<u8>,
}

impl BlockEncoder {
    fn encode(
        &mut self,
        pool: &TablePool,
        segment: &Segment<'_>,
        elements: &[u8],
        plan: &[PlaneRecord],
    ) -> Vec<u8> {
        let mut planes = [PlaneCoding::Raw; MAX_WIDTH];
        let mut tables = [None; MAX_WIDTH];
        for (plane, record) in plan.iter().enumerate() {
            planes[plane] = record.coding();
            tables[plane] = record.table().map(|id| &pool.get(id).encode);
        }
        let spec = BlockSpec {
            layout: segment.layout,
            elements: elements.len() / segment.layout.width.bytes(),
            states_per_lane: segment.states_per_lane,
            planes,
        };
        grow(&mut self.scratch, encode_scratch_bytes(&spec));
        grow(&mut self.words, encode_scratch_words(&spec));
        grow(&mut self.out, max_block_bytes(&spec));
        let Self { scratch, words, out } = self;
        let length = encode_block(&spec, &tables, elements, scratch, words, out);
        out[..length].to_vec()
    }
}

fn grow<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
}
