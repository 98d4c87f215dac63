//! Decoding of blocks by record: tables looked up, errors given their place.

use std::hash::Hasher;

use codec::block::{BlockSpec, DecodeTables, PlaneClasses, PlaneCoding, decode_scratch_bytes};
use codec::constants::MAX_WIDTH;
use codec::rans::{DecodeTable, MixedTables};
use codec::reference::restore;
use codec::simd::{BlockInput, PieceBuffers, PieceBytes, prefetch};
use codec::split::{ElementLayout, Width};
use codec::tile::TiledBlock;

use crate::error::{Error, Result};
use crate::format::{
    Index, MAX_CLASS_TABLES, PlanRecord, PlaneRecord, TensorRecord, TilingRecord,
    decode_frequencies,
};
use crate::hash::{Xxh3, xxh3};
use crate::simd::level;

/// Decode tables that a decoder keeps, 16 KiB each; neighbouring blocks mostly share theirs.
const CACHED_TABLES: usize = MAX_WIDTH * MAX_CLASS_TABLES;

/// Blocks that are decoded at a time: while one waits for its tables, the processor works on others.
const TOGETHER: usize = 2;

/// Where decoded elements are to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// In the cache: they are read soon, or the system has just filled these pages with zeros.
    Cache,
    /// In memory that nobody has touched for long, nor reads soon. So little of it that the cache keeps it goes
    /// there.
    Memory,
}

/// How far blocks have been decoded.
enum Done {
    /// Their elements are there, but for what is taken against a base.
    Elements,
    /// Nothing is left to do.
    Checksums,
}

/// One thread's tables and buffers.
pub(crate) struct BlockDecoder {
    /// The newest last.
    tables: Vec<(u32, Box<DecodeTables>)>,
    buffers: Vec<PieceBuffers>,
    /// Of elements on their way past the cache, if there were any.
    made: Vec<PieceBytes>,
    /// Of blocks that the reference decodes.
    scratch: Vec<u8>,
    /// The tables of each plane by class.
    by_class: [JoinedTables; MAX_WIDTH],
    /// For each plane by class, which table each element of a block takes.
    choices: [Vec<u8>; MAX_WIDTH],
    /// The coded elements of a block in tiles.
    coded: Vec<u8>,
}

impl Default for BlockDecoder {
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            buffers: vec![PieceBuffers::default(); TOGETHER],
            made: Vec::new(),
            scratch: Vec::new(),
            by_class: Default::default(),
            choices: Default::default(),
            coded: Vec::new(),
        }
    }
}

/// A block of a tensor, as [`BlockDecoder`] needs it.
pub(crate) struct Block<'a> {
    pub(crate) tensor: &'a TensorRecord,
    /// The block's number in the tensor.
    pub(crate) number: usize,
    pub(crate) plan: &'a PlanRecord,
    pub(crate) bytes: &'a [u8],
    /// The base's bytes of these elements, as many as `out`; of use to plans with a reference only.
    pub(crate) base: &'a [u8],
    /// The elements' bytes; their length says how many there are.
    pub(crate) out: &'a mut [u8],
    /// Receives the xxh3 of what is in `out` then.
    pub(crate) checksum: &'a mut u64,
}

impl BlockDecoder {
    /// Decodes blocks of a validated index, several at a time where they are of the same kind.
    pub(crate) fn decode(
        &mut self,
        index: &Index,
        blocks: &mut [Block<'_>],
        destination: Destination,
    ) -> Result<()> {
        let mut rest = blocks;
        while !rest.is_empty() {
            let states_per_lane = usize::from(rest[0].tensor.states_per_lane);
            rest.iter().skip(TOGETHER).take(TOGETHER).for_each(Block::prefetch);
            let together = level().gains_by_two(states_per_lane) && !rest[0].is_tiled();
            let both = if together {
                self.decode_together::<TOGETHER>(index, rest, destination)?
            } else {
                None
            };
            let (done, decoded) = match both {
                Some(decoded) => (TOGETHER, decoded),
                None if rest[0].is_tiled() => (1, self.decode_tiled(index, &mut rest[0])?),
                None => (1, self.decode_alone(index, &mut rest[0], destination)?),
            };
            let (now, later) = rest.split_at_mut(done);
            if let Done::Elements = decoded {
                for block in now {
                    block.undo_reference()?;
                    *block.checksum = xxh3(block.out);
                }
            }
            rest = later;
        }
        Ok(())
    }

    /// Decodes the first `B` blocks if there are as many, of the same kind, and all of them right. If not, the
    /// outputs are unspecified.
    fn decode_together<const B: usize>(
        &mut self,
        index: &Index,
        blocks: &mut [Block<'_>],
        destination: Destination,
    ) -> Result<Option<Done>> {
        let Some(blocks) = blocks.first_chunk_mut::<B>() else { return Ok(None) };
        let spec = blocks[0].spec()?;
        for block in &*blocks {
            if block.is_tiled() || block.spec()? != spec {
                return Ok(None);
            }
            self.prepare(index, block)?;
        }
        Ok(self.decode_prepared(&spec, blocks, destination))
    }

    /// Decodes `B` blocks with the same description, whose tables are there, if all of them are right. If not,
    /// the outputs are unspecified.
    fn decode_prepared<const B: usize>(
        &mut self,
        spec: &BlockSpec,
        blocks: &mut [Block<'_>; B],
        destination: Destination,
    ) -> Option<Done> {
        // What was taken against a base is made whole where it lies.
        let has_base = blocks.iter().any(|block| block.plan.reference.operation().is_some());
        let past_cache = destination == Destination::Memory
            && level().gains_past_cache(spec.layout)
            && !has_base;
        let inputs = blocks.each_ref().map(|block| block.input(&self.tables));
        let buffers = self.buffers.first_chunk_mut().expect("B is at most TOGETHER");
        let outs = blocks.each_mut().map(|block| &mut *block.out);
        if !past_cache {
            let right = level().decode_blocks(spec, inputs, buffers, outs);
            return right.then_some(Done::Elements);
        }
        self.made.resize_with(TOGETHER, PieceBytes::default);
        let made = self.made.first_chunk_mut().expect("B is at most TOGETHER");
        let mut checksums = [(); B].map(|()| Xxh3::new());
        let hash = |block: usize, bytes: &[u8]| checksums[block].write(bytes);
        let right = level().decode_blocks_past_cache(spec, inputs, (buffers, made), outs, hash);
        for (block, checksum) in blocks.iter_mut().zip(checksums) {
            *block.checksum = checksum.finish();
        }
        right.then_some(Done::Checksums)
    }

    /// Decodes the coded elements of a block in tiles, and makes elements of them.
    fn decode_tiled(&mut self, index: &Index, block: &mut Block<'_>) -> Result<Done> {
        let Some(tiles) = block.tiles()? else {
            return self.decode_alone(index, block, Destination::Cache);
        };
        let mut coded = std::mem::take(&mut self.coded);
        coded.resize(tiles.coded_bytes(), 0);
        let Block { tensor, number, plan, bytes, base, .. } = *block;
        let (out, checksum) = (&mut coded[..], &mut 0);
        let mut inner = Block { tensor, number, plan, bytes, base, out, checksum };
        self.decode_alone(index, &mut inner, Destination::Cache)?;
        level().run(
            #[inline(always)]
            || tiles.reconstruct(&coded, block.out),
        );
        self.coded = coded;
        Ok(Done::Elements)
    }

    fn decode_alone(
        &mut self,
        index: &Index,
        block: &mut Block<'_>,
        destination: Destination,
    ) -> Result<Done> {
        self.prepare(index, block)?;
        let spec = block.spec()?;
        let alone = std::array::from_mut(block);
        if let Some(decoded) = self.decode_prepared(&spec, alone, destination) {
            return Ok(decoded);
        }
        // Something is wrong with the block, and the reference decoder says what; or it is coded by
        // class.
        block.fill_choices(&spec, &mut self.choices)?;
        let ids = block.class_tables();
        for (joined, ids) in self.by_class.iter_mut().zip(ids) {
            joined.hold(&self.tables, ids.unwrap_or_default());
        }
        let classes: PlaneClasses<'_, DecodeTable> = std::array::from_fn(|plane| {
            let (tables, choice) = (&self.by_class[plane].tables[..], &self.choices[plane][..]);
            ids[plane].map(|_| MixedTables { tables, choice })
        });
        self.scratch.resize(decode_scratch_bytes(&spec).max(self.scratch.len()), 0);
        let (input, scratch) = (block.input(&self.tables), &mut self.scratch[..]);
        level()
            .decode_classed_block(&spec, &input.tables, &classes, input.bytes, scratch, block.out)
            .map_err(|error| block.corrupt(error.to_string()))?;
        Ok(Done::Elements)
    }

    /// Makes sure that the tables of a block are there. A plan names at most [`MAX_WIDTH`] of them,
    /// or [`CACHED_TABLES`] with classes, so that none of the tables of blocks that are decoded
    /// together pushes out another.
    fn prepare(&mut self, index: &Index, block: &Block<'_>) -> Result<()> {
        let by_class = block.class_tables().into_iter().flatten().flatten();
        let alone = block.plan.planes.iter().filter_map(|record| record.table());
        for id in alone.chain(by_class.copied()) {
            self.prepare_table(index, id).map_err(|detail| block.corrupt(detail))?;
        }
        Ok(())
    }

    /// Makes a table the newest of the cache.
    fn prepare_table(&mut self, index: &Index, id: u32) -> Result<(), String> {
        if let Some(at) = self.tables.iter().position(|(known, _)| *known == id) {
            let tables = self.tables.remove(at);
            self.tables.push(tables);
            return Ok(());
        }
        let record = index.tables.get(id as usize).ok_or("it names a table that is not there")?;
        let frequencies = decode_frequencies(&record.frequencies)?;
        let ranks = record.ranks.unwrap_or_default();
        if self.tables.len() < CACHED_TABLES {
            self.tables.push((id, Box::new(DecodeTables::new(&frequencies, ranks))));
        } else {
            let (_, mut tables) = self.tables.remove(0);
            tables.rebuild(&frequencies, ranks);
            self.tables.push((id, tables));
        }
        Ok(())
    }
}

const _: () = assert!(CACHED_TABLES >= TOGETHER * MAX_WIDTH);

/// Tables side by side in memory, as a stream with several takes them. The next block mostly takes the
/// same.
#[derive(Default)]
struct JoinedTables {
    ids: Vec<u32>,
    tables: Vec<DecodeTable>,
}

impl JoinedTables {
    /// Makes these the tables with the numbers `ids`, all of which are `known`.
    fn hold(&mut self, known: &[(u32, Box<DecodeTables>)], ids: &[u32]) {
        if self.ids == ids {
            return;
        }
        let find = |id: &u32| known.iter().find(|(known, _)| known == id);
        self.tables.clear();
        self.tables.extend(ids.iter().filter_map(find).map(|(_, tables)| tables.table.clone()));
        ids.clone_into(&mut self.ids);
    }
}

impl<'a> Block<'a> {
    /// What is equal for blocks that are decoded together, if anything is.
    pub(super) fn kind(&self) -> Option<(bool, BlockSpec)> {
        Some((self.is_tiled(), spec_of(self.tensor, self.plan, self.out.len())?))
    }

    fn is_tiled(&self) -> bool {
        self.plan.tiling != TilingRecord::None
    }

    /// Asks for the lines that decoding begins with, which nothing before them leads the processor to: the
    /// first of the raw planes and of the stream, and the footer.
    fn prefetch(&self) {
        const FIRST_BYTES: usize = 1 << 10;
        const LAST_BYTES: usize = 64;
        let elements = self.out.len() / usize::from(self.tensor.width);
        let raw_planes = self.plan.planes.iter().filter(|plane| **plane == PlaneRecord::Raw);
        let first_of = |bytes: &[u8]| prefetch(&bytes[..bytes.len().min(FIRST_BYTES)]);
        first_of(self.bytes);
        // About, since the stream carries some of the raw bytes.
        first_of(self.bytes.get(elements * raw_planes.count()..).unwrap_or_default());
        prefetch(&self.bytes[self.bytes.len().saturating_sub(LAST_BYTES)..]);
    }

    /// The block as tiles, if it is coded in tiles; `out` has its elements.
    fn tiles(&self) -> Result<Option<TiledBlock<'a>>> {
        let elements = self.out.len() / usize::from(self.tensor.width);
        let tiles = self.tensor.tiled_block(self.number, elements, self.plan);
        tiles.map_err(|error| self.corrupt(error.to_string()))
    }

    /// Makes elements of what has been decoded, where that was taken against a base.
    fn undo_reference(&mut self) -> Result<()> {
        let Some(reference) = self.plan.reference.operation() else { return Ok(()) };
        let layout =
            layout_of(self.tensor).ok_or_else(|| self.corrupt("impossible width".into()))?;
        restore(reference, layout, self.out, self.base);
        Ok(())
    }

    /// The tables of each plane that is coded by class.
    fn class_tables(&self) -> [Option<&'a [u32]>; MAX_WIDTH] {
        std::array::from_fn(|plane| {
            let classes = self.plan.planes.get(plane)?.classes()? as usize;
            Some(if self.is_tiled() {
                &self.tensor.tile_classes.get(classes)?.tables[..]
            } else {
                &self.tensor.classes.get(classes)?.tables[..]
            })
        })
    }

    /// For each plane by class, which table each element takes.
    fn fill_choices(&self, spec: &BlockSpec, choices: &mut [Vec<u8>; MAX_WIDTH]) -> Result<()> {
        let first = self.number as u64 * u64::from(self.tensor.block_elements);
        let tiles = self.tensor.tiled_block(self.number, spec.elements, self.plan);
        let tiles = tiles.map_err(|error| self.corrupt(error.to_string()))?;
        for (choice, plane) in choices.iter_mut().zip(&self.plan.planes) {
            let Some(classes) = plane.classes() else { continue };
            choice.resize(spec.elements, 0);
            match tiles {
                Some(tiles) => {
                    let classes = &self.tensor.tile_classes[classes as usize];
                    tiles.fill_choice(&classes.choice, choice);
                }
                None => self.tensor.classes[classes as usize].map().fill(first, choice),
            }
        }
        Ok(())
    }

    /// The block with its tables, which [`BlockDecoder::prepare`] has made.
    fn input<'t>(&self, known: &'t [(u32, Box<DecodeTables>)]) -> BlockInput<'t>
    where
        'a: 't,
    {
        let tables = std::array::from_fn(|plane| {
            let id = self.plan.planes.get(plane)?.table()?;
            known.iter().find(|(known, _)| *known == id).map(|(_, tables)| &**tables)
        });
        BlockInput { tables, bytes: self.bytes }
    }

    fn spec(&self) -> Result<BlockSpec> {
        spec_of(self.tensor, self.plan, self.out.len())
            .ok_or_else(|| self.corrupt("impossible width".into()))
    }

    fn corrupt(&self, detail: String) -> Error {
        Error::Corrupt {
            what: format!("tensor {}", crate::error::quoted(&self.tensor.name)),
            location: format!("block {}", self.number),
            detail,
        }
    }
}

/// What a block with this plan and `coded_bytes` of coded elements is; `None` for a width that does not
/// exist.
pub(super) fn spec_of(
    tensor: &TensorRecord,
    plan: &PlanRecord,
    coded_bytes: usize,
) -> Option<BlockSpec> {
    let layout = plan.coded_layout(layout_of(tensor)?)?;
    let mut planes = [PlaneCoding::Raw; MAX_WIDTH];
    for (plane, record) in planes.iter_mut().zip(&plan.planes) {
        *plane = record.coding();
    }
    Some(BlockSpec {
        layout,
        elements: coded_bytes / layout.width.bytes(),
        states_per_lane: usize::from(tensor.states_per_lane),
        planes,
    })
}

/// The layout that a record describes; `None` for a width that does not exist.
pub(crate) fn layout_of(tensor: &TensorRecord) -> Option<ElementLayout> {
    let width = Width::from_bytes(usize::from(tensor.width))?;
    Some(ElementLayout { width, rotated: tensor.rotated })
}
