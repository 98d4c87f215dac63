//! The index: what the file holds, as it is in memory. What of it is stored, and how, is in
//! [`super::stored`].

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use codec::block::{BlockSpec, PlaneCoding};
use codec::classes::ClassMap;
use codec::reference::Reference;
use codec::split::{ElementLayout, Width};
use codec::tile::{BlockGrid, NumberFormat, NumberKind, TileError, TiledBlock};

/// Everything about a file but its payload.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Index {
    /// Length of the original file.
    pub(crate) original_bytes: u64,
    /// SHA-256 of the original file, where the encoder was to compute it.
    pub(crate) original_sha256: Option<[u8; 32]>,
    /// The file that blocks with a reference need.
    pub(crate) base: Option<BaseRecord>,
    /// The original file up to its tensors' bytes.
    pub(crate) header: Vec<u8>,
    /// Tables that plane records name by position.
    pub(crate) tables: Vec<TableRecord>,
    /// Tensors, in the order of their bytes in the original file.
    pub(crate) tensors: Vec<TensorRecord>,
}

/// A `.safetensors` file that others are stored against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct BaseRecord {
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
}

/// A frequency table.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct TableRecord {
    /// For tables of paired planes: the value of each rank.
    pub(crate) ranks: Option<[u8; 16]>,
    /// The frequencies in Elias gamma code.
    pub(crate) frequencies: Vec<u8>,
}

/// A tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorRecord {
    /// The first four are the original header's.
    pub(crate) name: String,
    /// The dtype as the original header spells it.
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    /// Decoded bytes.
    pub(crate) bytes: u64,
    /// xxh3 (64 bits) of the xxh3 of each block's decoded bytes, little-endian, in order; of a copy, that of
    /// its original.
    pub(crate) xxh3: u64,
    /// Where the first block lies, counted from the start of the payload section: behind the blocks of the
    /// tensors before. 0 without blocks.
    pub(crate) payload_offset: u64,
    /// The earlier tensor that has the same bytes; then there are no blocks of this one. From here on,
    /// everything is stored.
    pub(crate) copy_of: Option<u32>,
    /// Bytes of an element as it is coded: 1, 2, 4 or 8.
    pub(crate) width: u8,
    /// Whether elements are rotated left by one bit.
    pub(crate) rotated: bool,
    pub(crate) states_per_lane: u8,
    /// Elements of each block but the last.
    pub(crate) block_elements: u32,
    /// The classes that plane records name by position.
    pub(crate) classes: Vec<ClassesRecord>,
    /// For a tensor in tiles, the mode of each sub-block, blocks in order.
    pub(crate) tile_modes: Vec<u8>,
    /// For a tensor in tiles, the classes that plane records name by position.
    pub(crate) tile_classes: Vec<TileClassesRecord>,
    /// The plans that block records name by position; all of them have the same tiling.
    pub(crate) plans: Vec<PlanRecord>,
    pub(crate) blocks: Vec<BlockRecord>,
    pub(crate) chunks: Vec<ChunkRecord>,
}

/// How the elements of a block become planes, and how each is coded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub(crate) struct PlanRecord {
    /// What is done to the elements before they are split into planes.
    pub(crate) tiling: TilingRecord,
    /// What is done to them before that.
    pub(crate) reference: ReferenceRecord,
    /// One for each plane, that of the least significant byte first.
    pub(crate) planes: Vec<PlaneRecord>,
}

/// Prediction from neighbouring elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub(crate) enum TilingRecord {
    /// The elements themselves.
    None,
    /// Residuals and coefficients of tiles; see [`codec::tile`].
    Tiles {
        /// Elements of a row.
        columns: u32,
        /// Bytes of a coded element.
        coded_width: u8,
        number: NumberRecord,
    },
}

/// What is taken of elements, given those of the same numbers in the tensor of the same name in the
/// base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub(crate) enum ReferenceRecord {
    /// The elements themselves.
    None,
    Xor,
    Difference,
}

/// What the elements of a tensor in tiles are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub(crate) enum NumberRecord {
    Signed,
    Unsigned,
    Float { mantissa_bits: u8 },
}

/// Which table codes the elements of a tensor in tiles, by [`codec::tile::class`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct TileClassesRecord {
    /// For each class its position in `tables`.
    pub(crate) choice: Vec<u8>,
    /// Positions in the index' list of tables.
    pub(crate) tables: Vec<u32>,
}

/// How a plane is coded, and with which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub(crate) enum PlaneRecord {
    Raw,
    Constant(u8),
    Symbols(u32),
    Pairs(u32),
    NibblePairs(u32),
    /// With the tables of the classes at this position in the tensor's list.
    Classes(u32),
    /// The same for heads, whose exponents count from `base`.
    Heads {
        classes: u32,
        base: u8,
    },
    InHeads,
}

/// Classes of rows and columns, and the tables of their pairs; see [`ClassMap`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ClassesRecord {
    /// Elements of a row.
    pub(crate) columns: u64,
    pub(crate) row_classes: Vec<u8>,
    pub(crate) column_classes: Vec<u8>,
    /// Number of column classes.
    pub(crate) column_class_count: u8,
    /// Positions in `tables`.
    pub(crate) choice: Vec<u8>,
    /// Positions in the index' list of tables.
    pub(crate) tables: Vec<u32>,
}

/// A block: its length and which of the tensor's plans it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct BlockRecord {
    pub(crate) bytes: u32,
    pub(crate) plan: u16,
}

/// A run of blocks with one checksum. Only the number of blocks is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkRecord {
    pub(crate) blocks: u32,
    /// Those of its blocks together.
    pub(crate) bytes: u64,
    /// xxh3 (64 bits) of the chunk's bytes in the payload.
    pub(crate) xxh3: u64,
}

impl Encode for TensorRecord {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.copy_of.encode(encoder)?;
        self.width.encode(encoder)?;
        self.rotated.encode(encoder)?;
        self.states_per_lane.encode(encoder)?;
        self.block_elements.encode(encoder)?;
        self.classes.encode(encoder)?;
        self.tile_modes.encode(encoder)?;
        self.tile_classes.encode(encoder)?;
        self.plans.encode(encoder)?;
        self.blocks.encode(encoder)?;
        self.chunks.encode(encoder)
    }
}

impl<Context> Decode<Context> for TensorRecord {
    /// The record without what `Index::complete` adds.
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Ok(Self {
            name: String::new(),
            dtype: String::new(),
            shape: Vec::new(),
            bytes: 0,
            xxh3: 0,
            payload_offset: 0,
            copy_of: Decode::decode(decoder)?,
            width: Decode::decode(decoder)?,
            rotated: Decode::decode(decoder)?,
            states_per_lane: Decode::decode(decoder)?,
            block_elements: Decode::decode(decoder)?,
            classes: Decode::decode(decoder)?,
            tile_modes: Decode::decode(decoder)?,
            tile_classes: Decode::decode(decoder)?,
            plans: Decode::decode(decoder)?,
            blocks: Decode::decode(decoder)?,
            chunks: Decode::decode(decoder)?,
        })
    }
}

bincode::impl_borrow_decode!(TensorRecord);

impl Encode for ChunkRecord {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.blocks.encode(encoder)
    }
}

impl<Context> Decode<Context> for ChunkRecord {
    /// The record without what `Index::complete` adds.
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Ok(Self { blocks: Decode::decode(decoder)?, bytes: 0, xxh3: 0 })
    }
}

bincode::impl_borrow_decode!(ChunkRecord);

impl PlanRecord {
    /// The plan of elements that are coded as they are.
    pub(crate) fn of_planes(planes: Vec<PlaneRecord>) -> Self {
        Self { tiling: TilingRecord::None, reference: ReferenceRecord::None, planes }
    }

    /// What `inspect` calls it: its planes, that of the least significant byte first.
    pub(crate) fn name(&self) -> String {
        let planes = self.planes.iter().map(|plane| plane.name()).collect::<Vec<_>>().join(", ");
        match self.reference {
            ReferenceRecord::None => planes,
            ReferenceRecord::Xor => format!("xor with base: {planes}"),
            ReferenceRecord::Difference => format!("difference from base: {planes}"),
        }
    }

    /// The layout of what is split into planes, given that of the elements.
    pub(crate) fn coded_layout(&self, elements: ElementLayout) -> Option<ElementLayout> {
        match self.tiling {
            TilingRecord::None => {
                let operation = self.reference.operation();
                let layout = operation.map_or(elements, |by| by.coded_layout(elements));
                let first = self.planes.first().map_or(PlaneCoding::Raw, |plane| plane.coding());
                Some(BlockSpec::layout_for(layout, first))
            }
            TilingRecord::Tiles { coded_width, .. } => {
                let width = Width::from_bytes(usize::from(coded_width))?;
                Some(ElementLayout { width, rotated: false })
            }
        }
    }
}

impl ReferenceRecord {
    /// The operation, if there is one.
    pub(crate) fn operation(self) -> Option<Reference> {
        match self {
            Self::None => None,
            Self::Xor => Some(Reference::Xor),
            Self::Difference => Some(Reference::Difference),
        }
    }
}

impl NumberRecord {
    /// The numbers of elements of this width.
    pub(crate) fn format(self, width: Width) -> Option<NumberFormat> {
        let kind = match self {
            Self::Signed => NumberKind::Signed,
            Self::Unsigned => NumberKind::Unsigned,
            Self::Float { mantissa_bits } => {
                NumberKind::Float { mantissa_bits: u32::from(mantissa_bits) }
            }
        };
        NumberFormat::new(width, kind)
    }
}

impl TensorRecord {
    /// Whether a plan needs the base.
    pub(crate) fn needs_base(&self) -> bool {
        self.plans.iter().any(|plan| plan.reference != ReferenceRecord::None)
    }

    /// A block of the tensor as tiles, if it is coded in tiles.
    pub(crate) fn tiled_block(
        &self,
        number: usize,
        elements: usize,
        plan: &PlanRecord,
    ) -> Result<Option<TiledBlock<'_>>, TileError> {
        let TilingRecord::Tiles { columns, coded_width, number: kind } = plan.tiling else {
            return Ok(None);
        };
        let width = |bytes: u8| Width::from_bytes(usize::from(bytes));
        let (Some(width), Some(coded_width)) = (width(self.width), width(coded_width)) else {
            return Err(TileError::CodedWidth);
        };
        if columns == 0 {
            return Err(TileError::Columns);
        }
        let format = kind.format(width).ok_or(TileError::CodedWidth)?;
        let whole = BlockGrid { elements: self.block_elements, columns };
        let grid = BlockGrid { elements: elements as u32, columns };
        let first = number.saturating_mul(whole.sub_blocks() as usize);
        let modes = self.tile_modes.get(first..).unwrap_or_default();
        let modes = &modes[..modes.len().min(grid.sub_blocks() as usize)];
        TiledBlock::new(grid, format, coded_width, modes).map(Some)
    }
}

impl PlaneRecord {
    /// The coding without its table.
    pub(crate) fn coding(self) -> PlaneCoding {
        match self {
            Self::Raw => PlaneCoding::Raw,
            Self::Constant(value) => PlaneCoding::Constant(value),
            Self::Symbols(_) => PlaneCoding::Symbols,
            Self::Pairs(_) => PlaneCoding::Pairs,
            Self::NibblePairs(_) => PlaneCoding::NibblePairs,
            Self::Classes(_) => PlaneCoding::Classes,
            Self::Heads { base, .. } => PlaneCoding::Heads { base },
            Self::InHeads => PlaneCoding::InHeads,
        }
    }

    /// The only table, by position in the index.
    pub(crate) fn table(self) -> Option<u32> {
        match self {
            Self::Raw | Self::Constant(_) | Self::InHeads => None,
            Self::Classes(_) | Self::Heads { .. } => None,
            Self::Symbols(table) | Self::Pairs(table) | Self::NibblePairs(table) => Some(table),
        }
    }

    /// The classes whose tables it takes, by position in the tensor's list.
    pub(crate) fn classes(self) -> Option<u32> {
        match self {
            Self::Classes(classes) | Self::Heads { classes, .. } => Some(classes),
            _ => None,
        }
    }

    /// What `inspect` calls it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Raw => "raw".into(),
            Self::Constant(value) => format!("constant {value:#04x}"),
            Self::Symbols(_) => "symbols".into(),
            Self::Pairs(_) => "pairs".into(),
            Self::NibblePairs(_) => "nibble pairs".into(),
            Self::Classes(_) => "classes".into(),
            Self::Heads { .. } => "heads by class".into(),
            Self::InHeads => "in heads".into(),
        }
    }
}

impl ClassesRecord {
    /// The classes as the codec takes them.
    pub(crate) fn map(&self) -> ClassMap<'_> {
        ClassMap {
            columns: self.columns,
            row_classes: &self.row_classes,
            column_classes: &self.column_classes,
            column_class_count: usize::from(self.column_class_count),
            choice: &self.choice,
        }
    }
}
