//! A window of segments: counted, planned and encoded together, so that many small tensors keep
//! all threads busy and a huge one takes bounded memory.

use codec::block::{
    BlockSpec, PlaneCoding, encode_scratch_bytes, encode_scratch_words, max_block_bytes,
};
use codec::constants::MAX_WIDTH;
use codec::split::ElementLayout;
use rayon::prelude::*;

use super::histogram::estimate_planes;
use super::plan::{Segment, plan_segment};
use super::profile::Profile;
use super::tables::TablePool;
use crate::error::Result;
use crate::format::PlanRecord;
use crate::hash::xxh3;
use crate::simd::level;
use crate::spares::Spares;

/// Blocks for each thread that are encoded between two looks at what is to be written.
const BATCH_BLOCKS: usize = 8;

/// A run of blocks of one tensor, to be encoded.
pub(crate) struct SegmentInput<'a> {
    /// Position of the tensor in the file.
    pub(crate) tensor: usize,
    pub(crate) layout: ElementLayout,
    pub(crate) states_per_lane: usize,
    pub(crate) profile: Profile,
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

/// What encoding keeps from one window to the next.
#[derive(Default)]
pub(crate) struct Workshop {
    /// The tables of the file.
    pub(crate) pool: TablePool,
    rooms: Spares<Vec<u8>>,
    encoders: Spares<BlockEncoder>,
    /// Memory of blocks that have been written.
    outputs: Spares<Vec<u8>>,
}

/// A block and how it is to be coded.
pub(crate) struct PlannedBlock<'a> {
    tensor: usize,
    layout: ElementLayout,
    states_per_lane: usize,
    elements: &'a [u8],
    number: u16,
    plan: PlanRecord,
}

impl Workshop {
    /// Plans all blocks of `segments`. New tables go to the pool.
    ///
    /// `admit` is given the number of a tensor and the plan of each of its blocks in turn, and says
    /// which plan the block is to follow, and the plan's number in the tensor.
    pub(crate) fn plan<'a>(
        &mut self,
        segments: Vec<SegmentInput<'a>>,
        mut admit: impl FnMut(usize, PlanRecord) -> (u16, PlanRecord),
    ) -> Vec<PlannedBlock<'a>> {
        let Self { pool, rooms, .. } = self;
        let rooms = &*rooms;
        let counted: Vec<(usize, Segment<'_, '_>)> = segments
            .into_par_iter()
            .map(|input| {
                let SegmentInput { tensor, layout, states_per_lane, profile, blocks } = input;
                let counts =
                    blocks.par_iter().map(|block| estimate_planes(layout, block, profile.stride()));
                let counts = counts.collect();
                (tensor, Segment { layout, states_per_lane, profile, blocks, counts, rooms })
            })
            .collect();
        let mut planned = Vec::new();
        for (tensor, segment) in counted {
            let plans = plan_segment(pool, &segment);
            let Segment { layout, states_per_lane, blocks, .. } = segment;
            for (elements, plan) in blocks.into_iter().zip(plans) {
                let (number, plan) = admit(tensor, plan);
                planned.push(PlannedBlock {
                    tensor,
                    layout,
                    states_per_lane,
                    elements,
                    number,
                    plan,
                });
            }
        }
        planned
    }

    /// Encodes blocks and gives them to `write` in order, some at a time: while they are being
    /// written, the next ones are being encoded.
    pub(crate) fn encode(
        &self,
        blocks: &[PlannedBlock<'_>],
        mut write: impl FnMut(&EncodedBlock) -> Result<()> + Send,
    ) -> Result<()> {
        let mut ready = Vec::new();
        for batch in blocks.chunks(BATCH_BLOCKS * rayon::current_num_threads()) {
            let (next, written) =
                rayon::join(|| self.encode_batch(batch), || self.write(ready, &mut write));
            written?;
            ready = next;
        }
        self.write(ready, &mut write)
    }

    fn encode_batch(&self, blocks: &[PlannedBlock<'_>]) -> Vec<EncodedBlock> {
        let encode = |block: &PlannedBlock<'_>| {
            let mut bytes = self.outputs.take();
            self.encoders.lend(|encoder| encoder.encode(&self.pool, block, &mut bytes));
            let checksum = xxh3(block.elements);
            EncodedBlock { tensor: block.tensor, plan: block.number, bytes, checksum }
        };
        blocks.par_iter().map(encode).collect()
    }

    fn write(
        &self,
        blocks: Vec<EncodedBlock>,
        write: &mut impl FnMut(&EncodedBlock) -> Result<()>,
    ) -> Result<()> {
        for block in blocks {
            write(&block)?;
            self.outputs.give_back(block.bytes);
        }
        Ok(())
    }
}

/// One thread's buffers.
#[derive(Default)]
struct BlockEncoder {
    scratch: Vec<u8>,
    words: Vec<u16>,
    out: Vec<u8>,
}

impl BlockEncoder {
    /// Encodes a block into `bytes`, whatever these held before.
    fn encode(&mut self, pool: &TablePool, block: &PlannedBlock<'_>, bytes: &mut Vec<u8>) {
        let mut planes = [PlaneCoding::Raw; MAX_WIDTH];
        let mut tables = [None; MAX_WIDTH];
        for (plane, record) in block.plan.planes.iter().enumerate() {
            planes[plane] = record.coding();
            tables[plane] = record.table().map(|id| &pool.get(id).encode);
        }
        let spec = BlockSpec {
            layout: block.layout,
            elements: block.elements.len() / block.layout.width.bytes(),
            states_per_lane: block.states_per_lane,
            planes,
        };
        grow(&mut self.scratch, encode_scratch_bytes(&spec));
        grow(&mut self.words, encode_scratch_words(&spec));
        grow(&mut self.out, max_block_bytes(&spec));
        let Self { scratch, words, out } = self;
        let length = level().encode_block(&spec, &tables, block.elements, scratch, words, out);
        bytes.clear();
        bytes.extend_from_slice(&out[..length]);
    }
}

fn grow<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
}
