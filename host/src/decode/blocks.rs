//! Decoding of blocks by record: tables looked up, errors given their place.

use codec::block::{BlockSpec, DecodeTables, PlaneCoding, decode_block, decode_scratch_bytes};
use codec::constants::MAX_WIDTH;
use codec::rans::DecodeTable;
use codec::split::{ElementLayout, Width};

use crate::error::{Error, Result};
use crate::format::{Index, PlaneRecord, TensorRecord, decode_frequencies};

/// Decode tables that a thread keeps; neighbouring blocks mostly share theirs.
const CACHED_TABLES: usize = 16;

/// One thread's tables and buffers.
#[derive(Default)]
pub(crate) struct BlockDecoder {
    /// The newest last.
    tables: Vec<(u32, Box<DecodeTables>)>,
    scratch: Vec<u8>,
}

/// A block of a tensor, as [`BlockDecoder::decode`] needs it.
pub(crate) struct BlockInput<'a> {
    pub(crate) tensor: &'a TensorRecord,
    /// The block's number in the tensor.
    pub(crate) number: usize,
    pub(crate) plan: &'a [PlaneRecord],
    pub(crate) bytes: &'a [u8],
}

impl BlockDecoder {
    /// Decodes a block of a validated index into `out`, whose length says how many elements it has.
    pub(crate) fn decode(
        &mut self,
        index: &Index,
        input: &BlockInput<'_>,
        out: &mut [u8],
    ) -> Result<()> {
        let corrupt = |detail: String| Error::Corrupt {
            what: format!("tensor {}", crate::error::quoted(&input.tensor.name)),
            location: format!("block {}", input.number),
            detail,
        };
        let layout = layout_of(input.tensor).ok_or_else(|| corrupt("impossible width".into()))?;
        let mut planes = [PlaneCoding::Raw; MAX_WIDTH];
        for (plane, record) in planes.iter_mut().zip(input.plan) {
            *plane = record.coding();
        }
        for id in input.plan.iter().filter_map(|record| record.table()) {
            self.prepare(index, id).map_err(corrupt)?;
        }
        let tables = std::array::from_fn(|plane| {
            let id = input.plan.get(plane)?.table()?;
            self.tables.iter().find(|(known, _)| *known == id).map(|(_, tables)| &**tables)
        });
        let spec = BlockSpec {
            layout,
            elements: out.len() / layout.width.bytes(),
            states_per_lane: usize::from(input.tensor.states_per_lane),
            planes,
        };
        let needed = decode_scratch_bytes(&spec);
        if self.scratch.len() < needed {
            self.scratch.resize(needed, 0);
        }
        decode_block(&spec, &tables, input.bytes, &mut self.scratch, out)
            .map_err(|error| corrupt(error.to_string()))
    }

    /// Makes a table the newest of the cache. A plan names at most [`MAX_WIDTH`] of them, so that
    /// none of one plan's tables pushes out another.
    fn prepare(&mut self, index: &Index, id: u32) -> Result<(), String> {
        if let Some(at) = self.tables.iter().position(|(known, _)| *known == id) {
            let tables = self.tables.remove(at);
            self.tables.push(tables);
            return Ok(());
        }
        let record = index.tables.get(id as usize).ok_or("it names a table that is not there")?;
        let frequencies = decode_frequencies(&record.frequencies)?;
        let ranks = record.ranks.unwrap_or_default();
        if self.tables.len() < CACHED_TABLES {
            let tables = DecodeTables { table: DecodeTable::new(&frequencies), ranks };
            self.tables.push((id, Box::new(tables)));
        } else {
            let (_, mut tables) = self.tables.remove(0);
            tables.table.rebuild(&frequencies);
            tables.ranks = ranks;
            self.tables.push((id, tables));
        }
        Ok(())
    }
}

const _: () = assert!(CACHED_TABLES >= MAX_WIDTH);

/// The layout that a record describes; `None` for a width that does not exist.
pub(crate) fn layout_of(tensor: &TensorRecord) -> Option<ElementLayout> {
    let width = Width::from_bytes(usize::from(tensor.width))?;
    Some(ElementLayout { width, rotated: tensor.rotated })
}
