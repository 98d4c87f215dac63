//! A window of segments: counted and planned together, so that many small tensors keep all threads busy
//! and a huge one takes bounded memory; and the encoding of what was planned.

use std::ops::Range;
use std::sync::Arc;

use codec::block::{
    BlockSpec, PlaneClasses, PlaneCoding, encode_scratch_bytes, encode_scratch_words,
    max_block_bytes,
};
use codec::constants::MAX_WIDTH;
use codec::rans::{EncodeTable, MixedTables};
use codec::split::ElementLayout;
use rayon::prelude::*;

use super::classes::{SymbolKind, TensorClasses};
use super::histogram::{PlaneCounts, count_head_first, estimate_planes};
use super::lot::{CountedLot, Lot};
use super::profile::Profile;
use super::reference::{Referred, refer_block};
use super::tables::{TablePool, Tables};
use super::tiles::TensorTiling;
use crate::format::{PlanRecord, PlaneRecord, ReferenceRecord};
use crate::hash::xxh3;
use crate::output::{Piece, Rooms, SMALL_PIECE_BYTES};
use crate::simd::level;
use crate::spares::Spares;

/// A run of blocks of one tensor, to be encoded.
pub(crate) struct SegmentInput<'a> {
    /// Position of the tensor in the file.
    pub(crate) tensor: usize,
    pub(crate) layout: ElementLayout,
    pub(crate) states_per_lane: usize,
    pub(crate) profile: Profile,
    pub(crate) pair_tolerance: f64,
    /// The tensor's classes, if it is coded by class.
    pub(crate) classes: Option<&'a TensorClasses>,
    /// The tensor's tiles, if it is coded in tiles.
    pub(crate) tiling: Option<&'a TensorTiling>,
    /// The base's bytes of the same elements, if the tensor is stored against a base.
    pub(crate) base: Option<&'a [u8]>,
    /// Number in the tensor of the segment's first element.
    pub(crate) first_element: u64,
    /// Elements of each block, little-endian.
    pub(crate) blocks: Vec<&'a [u8]>,
}

impl SegmentInput<'_> {
    /// Number in the tensor of a block's first element.
    pub(super) fn first_element_of(&self, block: usize) -> u64 {
        // All blocks but a tensor's last have as many elements.
        let block_elements = self.blocks[0].len() / self.layout.width.bytes();
        self.first_element + (block * block_elements) as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.len()).sum()
    }

    /// What occurs in each block.
    pub(super) fn count_all(&self) -> Vec<Referred> {
        let reference = ReferenceRecord::None;
        if let Some(base) = self.base {
            return self.refer_all(base);
        }
        let Some(tiling) = self.tiling else {
            let count =
                |block: &&[u8]| Referred { reference, coded: None, counts: self.count(block) };
            return self.blocks.par_iter().map(count).collect();
        };
        let count = |(number, block): (usize, &&[u8])| {
            // All blocks before it are of the same length.
            let before = number * self.blocks[0].len() / self.layout.width.bytes();
            let coded = tiling.coded(self.first_element + before as u64, block);
            let counts = estimate_planes(tiling.layout(), &coded, self.profile.stride());
            Referred { reference, coded: Some(coded), counts }
        };
        self.blocks.par_iter().enumerate().map(count).collect()
    }

    fn refer_all(&self, base: &[u8]) -> Vec<Referred> {
        let block_bytes = self.blocks.first().map_or(1, |block| block.len());
        let blocks = self.blocks.par_iter().zip(base.par_chunks(block_bytes));
        let stride = self.profile.stride();
        blocks.map(|(block, base)| refer_block(self.layout, block, base, stride)).collect()
    }

    fn count(&self, block: &[u8]) -> Vec<PlaneCounts> {
        match self.classes.map(|classes| classes.symbols) {
            Some(SymbolKind::Head { .. }) if self.layout.width.bytes() == 4 => {
                count_head_first(block)
            }
            _ => estimate_planes(self.layout, block, self.profile.stride()),
        }
    }
}

/// A block, encoded.
pub(crate) struct EncodedBlock {
    pub(crate) tensor: usize,
    /// Number of its plan in the tensor.
    pub(crate) plan: u16,
    pub(crate) piece: Piece,
    pub(crate) original_bytes: usize,
    /// xxh3 of its elements.
    pub(crate) checksum: u64,
    /// Whether it is the last of its segment.
    pub(crate) ends_segment: bool,
}

/// What planning keeps from one window to the next.
#[derive(Default)]
pub(crate) struct Planner {
    /// The tables of the file.
    pub(crate) pool: TablePool,
    rooms: Spares<Vec<u8>>,
}

/// What encoding keeps from one window to the next.
#[derive(Default)]
pub(crate) struct Workshop {
    encoders: Spares<BlockEncoder>,
    /// Memory for encoded blocks.
    pub(crate) rooms: Rooms,
}

/// A window whose blocks have plans.
struct PlannedWindow<'a> {
    blocks: Vec<PlannedBlock<'a>>,
    /// All tables that the plans name.
    tables: Tables,
}

/// Some blocks of a window, one after the other.
pub(crate) struct PlannedBlocks<'a> {
    window: Arc<PlannedWindow<'a>>,
    numbers: Range<usize>,
}

impl<'a> PlannedWindow<'a> {
    /// Its blocks, a few at a time where they are small, which is what one thread encodes.
    fn into_parts(self) -> impl Iterator<Item = PlannedBlocks<'a>> {
        /// What is worth handing to another thread.
        const PART_BYTES: usize = 32 << 10;
        let (window, mut start) = (Arc::new(self), 0);
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let blocks = window.blocks[start..].iter().take_while(|block| {
                let is_taken = bytes < PART_BYTES;
                bytes += block.elements.len();
                is_taken
            });
            let numbers = start..start + blocks.count();
            start = numbers.end;
            (!numbers.is_empty()).then(|| PlannedBlocks { window: Arc::clone(&window), numbers })
        })
    }
}

impl PlannedBlocks<'_> {
    /// What they are before they are encoded.
    pub(crate) fn original_bytes(&self) -> usize {
        self.window.blocks[self.numbers.clone()].iter().map(|block| block.elements.len()).sum()
    }
}

/// A block and how it is to be coded.
pub(crate) struct PlannedBlock<'a> {
    tensor: usize,
    layout: ElementLayout,
    states_per_lane: usize,
    classes: Option<&'a TensorClasses>,
    tiling: Option<&'a TensorTiling>,
    /// Number in the tensor of the block's first element.
    first_element: u64,
    elements: &'a [u8],
    /// What is split into planes in place of the elements, where that is something else.
    coded: Option<Vec<u8>>,
    number: u16,
    plan: PlanRecord,
    /// Whether it is the last of its segment.
    ends_segment: bool,
}

impl Planner {
    /// Plans all blocks of `lots`, and returns them, a few at a time. New tables go to the pool.
    ///
    /// `admit` is given the number of a tensor and the plan of each of its blocks in turn, and says
    /// which plan the block is to follow, and the plan's number in the tensor.
    pub(crate) fn plan<'a>(
        &mut self,
        lots: Vec<Lot<'a>>,
        mut admit: impl FnMut(usize, PlanRecord) -> (u16, PlanRecord),
    ) -> impl Iterator<Item = PlannedBlocks<'a>> {
        let Self { pool, rooms } = self;
        let counted: Vec<CountedLot<'a>> = lots.into_par_iter().map(Lot::count).collect();
        let mut planned = Vec::new();
        for mut lot in counted {
            let plans = lot.plan(pool, rooms);
            let coded = lot.blocks.into_iter().map(|referred| referred.coded);
            // Of one segment after the other.
            let mut planned_lot = coded.zip(plans);
            for segment in lot.segments {
                let SegmentInput { tensor, layout, states_per_lane, classes, tiling, .. } = segment;
                let mut first_element = segment.first_element;
                for (elements, (coded, plan)) in segment.blocks.into_iter().zip(&mut planned_lot) {
                    let (number, plan) = admit(tensor, plan);
                    planned.push(PlannedBlock {
                        tensor,
                        layout: plan.coded_layout(layout).expect("tiles have a width"),
                        states_per_lane,
                        classes,
                        tiling,
                        first_element,
                        elements,
                        coded,
                        number,
                        plan,
                        ends_segment: false,
                    });
                    first_element += (elements.len() / layout.width.bytes()) as u64;
                }
                if let Some(last) = planned.last_mut() {
                    last.ends_segment = true;
                }
            }
        }
        PlannedWindow { blocks: planned, tables: pool.so_far() }.into_parts()
    }
}

impl Workshop {
    /// Encodes some blocks of a window, one after the other.
    pub(crate) fn encode(&self, blocks: &PlannedBlocks<'_>) -> Vec<EncodedBlock> {
        let PlannedBlocks { window, numbers } = blocks;
        let blocks = window.blocks[numbers.clone()].iter();
        blocks.map(|block| self.encode_block(&window.tables, block)).collect()
    }

    fn encode_block(&self, tables: &Tables, block: &PlannedBlock<'_>) -> EncodedBlock {
        let encode = |encoder: &mut BlockEncoder| encoder.encode(tables, block, &self.rooms);
        EncodedBlock {
            tensor: block.tensor,
            plan: block.number,
            piece: self.encoders.lend(encode),
            original_bytes: block.elements.len(),
            checksum: xxh3(block.elements),
            ends_segment: block.ends_segment,
        }
    }
}

impl PlannedBlock<'_> {
    /// What is split into planes.
    fn split_elements(&self) -> &[u8] {
        self.coded.as_deref().unwrap_or(self.elements)
    }

    /// The tables of a plane by class, none for others. Which of them each element takes goes to
    /// `choice`.
    fn fill_choice(&self, record: PlaneRecord, choice: &mut [u8]) -> &[u32] {
        let Some(number) = record.classes() else { return &[] };
        if let Some(tiling) = self.tiling {
            let Some(classes) = tiling.classes(record) else { return &[] };
            tiling.block(self.first_element, choice.len()).fill_choice(&classes.choice, choice);
            return &classes.tables;
        }
        let records = self.classes.map(TensorClasses::records).into_iter().flatten();
        let Some(classes) = records.into_iter().nth(number as usize) else { return &[] };
        classes.map().fill(self.first_element, choice);
        &classes.tables
    }
}

/// One thread's buffers.
#[derive(Default)]
struct BlockEncoder {
    scratch: Vec<u8>,
    words: Vec<u16>,
    /// Which table each element of a block by class takes, plane by plane.
    choice: Vec<u8>,
    /// The tables of each plane by class, one plane's after the other's.
    by_class: Vec<EncodeTable>,
    /// A small block, before it is known how small.
    small: Vec<u8>,
}

impl BlockEncoder {
    /// Encodes a block, into memory from `rooms` unless it is small.
    fn encode(&mut self, tables: &Tables, block: &PlannedBlock<'_>, rooms: &Rooms) -> Piece {
        let mut planes = [PlaneCoding::Raw; MAX_WIDTH];
        let mut of_planes = [None; MAX_WIDTH];
        for (plane, record) in block.plan.planes.iter().enumerate() {
            planes[plane] = record.coding();
            of_planes[plane] = record.table().map(|id| &tables.get(id).encode);
        }
        let spec = BlockSpec {
            layout: block.layout,
            elements: block.split_elements().len() / block.layout.width.bytes(),
            states_per_lane: block.states_per_lane,
            planes,
        };
        grow(&mut self.scratch, encode_scratch_bytes(&spec));
        grow(&mut self.words, encode_scratch_words(&spec));
        let Self { scratch, words, choice, by_class, small } = self;
        grow(choice, if spec.has_classes() { spec.decoded_bytes() } else { 0 });
        let mut lengths = [0; MAX_WIDTH];
        by_class.clear();
        let by_class_only = |(_, record): &(usize, &PlaneRecord)| record.classes().is_some();
        for (plane, record) in block.plan.planes.iter().enumerate().filter(by_class_only) {
            let choice = &mut choice[plane * spec.elements..][..spec.elements];
            let ids = block.fill_choice(*record, choice);
            by_class.extend(ids.iter().map(|&id| tables.get(id).encode.table.clone()));
            lengths[plane] = ids.len();
        }
        let mut rest = &by_class[..];
        let classes: PlaneClasses<'_, EncodeTable> = std::array::from_fn(|plane| {
            let tables = rest.split_off(..lengths[plane])?;
            block.plan.planes.get(plane)?.classes()?;
            let choice = &choice[plane * spec.elements..][..spec.elements];
            Some(MixedTables { tables, choice })
        });
        let elements = block.split_elements();
        let mut encode = |out: &mut [u8]| {
            level().encode_block(&spec, &of_planes, &classes, elements, scratch, words, out)
        };
        match max_block_bytes(&spec) {
            most @ ..=SMALL_PIECE_BYTES => {
                grow(small, most);
                let length = encode(small);
                Piece::of(&small[..length])
            }
            most => {
                let mut room = rooms.take(most);
                let length = encode(&mut room);
                Piece::new(room, length)
            }
        }
    }
}

/// Makes a buffer, whose contents are of no account, large enough.
fn grow<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) {
    if buffer.len() < length {
        // New zeros take no memory until they are written to.
        *buffer = vec![T::default(); length];
    }
}
