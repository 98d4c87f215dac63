//! What the index says of tensors, as their blocks come.

use std::collections::HashMap;
use std::hash::Hasher;

use super::layout::element_layout;
use super::options::EncodeOptions;
use super::window::EncodedBlock;
use crate::format::{BlockRecord, ChunkRecord, MAX_PLANS, PlanRecord, PlaneRecord, TensorRecord};
use crate::hash::{Xxh3, of_blocks, xxh3};
use crate::safetensors::TensorEntry;

/// A chunk whose blocks are not all there yet.
#[derive(Default)]
pub(super) struct OpenChunk {
    hash: Xxh3,
    pub(super) bytes: u64,
    pub(super) blocks: u32,
}

impl OpenChunk {
    pub(super) fn add(&mut self, block: &[u8]) {
        self.hash.write(block);
        self.bytes += block.len() as u64;
        self.blocks += 1;
    }

    pub(super) fn close(self) -> ChunkRecord {
        let Self { hash, bytes, blocks } = self;
        ChunkRecord { blocks, bytes, xxh3: hash.finish() }
    }
}

/// The chunk of a single block: the same as an [`OpenChunk`] of it, sooner.
pub(super) fn chunk_of(block: &[u8]) -> ChunkRecord {
    ChunkRecord { blocks: 1, bytes: block.len() as u64, xxh3: xxh3(block) }
}

/// A tensor's plans so far.
#[derive(Default)]
pub(super) struct TensorPlans {
    plans: Vec<PlanRecord>,
    /// Positions in `plans`.
    numbers: HashMap<PlanRecord, u16>,
}

impl TensorPlans {
    /// The plan that a block is to follow, with its number: the one that was made for it, or raw
    /// planes where the tensor has no room for another plan.
    pub(super) fn admit(&mut self, plan: PlanRecord) -> (u16, PlanRecord) {
        let Self { plans, numbers } = self;
        // The last number is kept for the plan of raw planes.
        let full = plans.len() >= MAX_PLANS - 1;
        let plan = if full && !numbers.contains_key(&plan) {
            PlanRecord { planes: vec![PlaneRecord::Raw; plan.planes.len()], ..plan }
        } else {
            plan
        };
        let number = *numbers.entry(plan.clone()).or_insert_with(|| {
            plans.push(plan.clone());
            // At most MAX_PLANS, so the last number fits.
            (plans.len() - 1) as u16
        });
        (number, plan)
    }
}

/// A tensor's record, as far as its blocks have been written.
pub(super) struct TensorBuilder {
    pub(super) record: TensorRecord,
    /// xxh3 of each block's elements.
    checksums: Vec<u64>,
}

impl TensorBuilder {
    pub(super) fn new(entry: &TensorEntry, file: &[u8], options: &EncodeOptions) -> Self {
        let layout = element_layout(&entry.dtype);
        let bytes = entry.bytes(file).unwrap_or_default();
        Self {
            record: TensorRecord {
                name: entry.name.clone(),
                dtype: entry.dtype.name().to_owned(),
                shape: entry.shape.clone(),
                bytes: bytes.len() as u64,
                copy_of: None,
                // Known when all blocks are.
                xxh3: 0,
                width: layout.width.bytes() as u8,
                rotated: layout.rotated,
                states_per_lane: options.states_per_lane as u8,
                block_elements: options.block_elements as u32,
                payload_offset: 0,
                classes: Vec::new(),
                tile_modes: Vec::new(),
                tile_classes: Vec::new(),
                plans: Vec::new(),
                blocks: Vec::new(),
                chunks: Vec::new(),
            },
            checksums: Vec::new(),
        }
    }

    /// Notes a block; `payload` is where it will be written.
    pub(super) fn add_block(&mut self, block: &EncodedBlock, payload: u64) {
        if self.record.blocks.is_empty() {
            self.record.payload_offset = payload;
        }
        let bytes = block.piece.bytes().len() as u32;
        self.record.blocks.push(BlockRecord { bytes, plan: block.plan });
        self.checksums.push(block.checksum);
    }

    pub(super) fn finish(mut self, plans: TensorPlans) -> TensorRecord {
        self.record.xxh3 = of_blocks(&self.checksums);
        self.record.plans = plans.plans;
        self.record
    }

    pub(super) fn add_chunk(&mut self, chunk: ChunkRecord) {
        self.record.chunks.push(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_of_one_block_is_the_same_at_once() {
        for length in [0, 1, 16, 240, 241, 5000] {
            let block: Vec<u8> = (0..length as u32).map(|place| (place * place) as u8).collect();
            let mut open = OpenChunk::default();
            open.add(&block);
            assert_eq!(open.close(), chunk_of(&block));
        }
    }
}
