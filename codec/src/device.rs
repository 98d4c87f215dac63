//! What the host hands to the GPU kernels: plain structures, the same on both sides.

use crate::constants::{ALPHABET, MAX_WIDTH, TABLE_SIZE};
use crate::pair::{RankValues, expand_for_kernels};
use crate::rans::{DecodeTable, TableEntry};
use crate::split::unrotate_bytes;

/// Threads of a thread block whose eight warps share a table; of other kernels the host chooses.
pub const THREADS: u32 = 256;

/// How blocks are staged through shared memory; see the kernels' `ring` module.
pub mod staging {
    use crate::constants::{LANE_RUN_BYTES, LANES};

    /// Bytes that are on their way or used up together: 16 bytes of each lane of half a warp.
    pub const GRANULE_BYTES: u32 = 256;
    /// Bytes of the ring of a raw plane: four units of it.
    pub const RAW_RING_BYTES: u32 = 4 * GRANULE_BYTES;
    /// Bytes of the largest ring.
    pub const MAX_RING_BYTES: u32 = word_ring_bytes(MAX_INTERVAL);

    const MAX_INTERVAL: u32 = 8;

    /// Steps between two looks at the rings, of a kernel whose runs have so many symbols.
    pub const fn interval(run_symbols: u32) -> u32 {
        if run_symbols >= MAX_INTERVAL { MAX_INTERVAL } else { 4 }
    }

    /// Bytes of the ring of words: four times what an interval's steps can take.
    pub const fn word_ring_bytes(interval: u32) -> u32 {
        4 * 2 * LANES as u32 * interval
    }

    /// The shared memory that each warp has for itself.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub struct WarpMemory {
        /// Bytes of its ring of words.
        pub words: u32,
        /// Bytes of its rings of raw planes.
        pub raw: u32,
    }

    impl WarpMemory {
        /// That of the general kernels: words, of intervals of four.
        pub const GENERAL: Self = Self { words: word_ring_bytes(4), raw: 0 };

        /// That of a kernel for elements of so many bytes, of which each symbol stands for
        /// `elements_per_symbol`, with so many raw planes.
        pub const fn new(width: u32, elements_per_symbol: u32, raw_planes: u32) -> Self {
            let run_symbols = LANE_RUN_BYTES as u32 / width / elements_per_symbol;
            let words = word_ring_bytes(interval(run_symbols));
            Self { words, raw: RAW_RING_BYTES * raw_planes }
        }
    }
}

/// The shared memory of a thread block: the rings of words of all warps, their rings of raw planes,
/// a word for the group in hand, and the table, or the entries of several tables. Offsets in bytes,
/// from the first multiple of [`shared_layout::ALIGNMENT`].
pub mod shared_layout {
    use super::staging::{self, WarpMemory};

    /// Rings begin at multiples of their size, so that wrapping an address around is one
    /// instruction.
    pub const ALIGNMENT: u32 = staging::MAX_RING_BYTES;

    /// Where the rings of raw planes lie, after those of words.
    pub const fn raw(warps: u32, warp: WarpMemory) -> u32 {
        warps * warp.words
    }

    /// Where the group in hand lies, after the rings.
    pub const fn in_hand(warps: u32, warp: WarpMemory) -> u32 {
        warps * (warp.words + warp.raw)
    }

    /// Room for the group in hand.
    const IN_HAND_BYTES: u32 = 32;

    /// Where the table lies; its expanded values follow the entries.
    pub const fn table(warps: u32, warp: WarpMemory) -> u32 {
        in_hand(warps, warp) + IN_HAND_BYTES
    }

    /// Where the table's values of each symbol lie, from the table's start.
    pub const EXPANDED: u32 = ENTRIES_BYTES;

    /// Bytes of a table's entries. Of several tables, those of the next follow at once.
    pub const ENTRIES_BYTES: u32 = 4 * crate::constants::TABLE_SIZE as u32;

    /// Bytes of a whole table.
    pub const TABLE_BYTES: u32 = size_of::<super::KernelTable>() as u32;

    /// Bytes of dynamic shared memory to launch with, of which tables take `table_bytes`.
    pub const fn bytes(warps: u32, warp: WarpMemory, table_bytes: u32) -> u32 {
        ALIGNMENT + table(warps, warp) + table_bytes
    }
}

/// A block to decode.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockTask {
    /// Device address of the block; a multiple of 16.
    pub block: u64,
    /// Device address of its decoded bytes; a multiple of 16.
    pub out: u64,
    /// Bytes of the block.
    pub block_bytes: u32,
    /// Elements of the block.
    pub elements: u32,
    /// Which of the launch's [`PlaneSpecs`] the block follows; of use to the general kernel only.
    pub specs: u32,
    /// Where in the launch's list of status words the block's goes.
    pub status: u32,
    /// Where the block's elements begin: in their tensor, or in the list of choices that its
    /// [`KernelClasses`] point to. Of use to planes by class only.
    pub first: u64,
}

/// Which table codes which element of a plane by class. Either by rows and columns, as
/// [`crate::classes::ClassMap`] has it; or, where `columns` is 0, element by element.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelClasses {
    /// Device address of the class of each row, a byte each; or of each element's choice.
    pub rows: u64,
    /// Device address of the class of each column, a byte each.
    pub columns_at: u64,
    /// Device address of positions of tables, a u32 each: that of what pads streams, then those of
    /// row class `r` and column class `c` at `r * column_class_count + c`, or of the choices.
    pub tables: u64,
    /// Number of rows (or elements) with a class; those behind them have class 0.
    pub row_count: u64,
    /// Number of columns with a class; those behind them have class 0.
    pub column_count: u32,
    /// Elements of a row, less than 2^31, or 0.
    pub columns: u32,
    /// Number of column classes.
    pub column_class_count: u32,
    /// For the kernels by class only: number of different tables.
    pub table_count: u32,
    /// Device address of their positions, a u32 each; the first is that of what pads streams.
    pub table_list: u64,
    /// Device address, a multiple of 16, of which of them each column takes: `columns` bytes for each
    /// row class. `columns` is a multiple of [`CLASS_RUN`] then.
    pub choices: u64,
}

/// Elements of a lane's run in the kernels by class, whose rows are whole runs.
pub const CLASS_RUN: u32 = crate::constants::LANE_RUN_BYTES as u32;

/// Tiles of one block to reconstruct from coded elements; see [`crate::tile`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileTask {
    /// Device address of the block's coded elements; a multiple of their width.
    pub coded: u64,
    /// Device address of the block's elements; a multiple of their width.
    pub out: u64,
    /// Device address of the block's modes, a byte for each sub-block.
    pub modes: u64,
    /// Elements of the block.
    pub elements: u32,
    /// Columns of the block, at least 1.
    pub columns: u32,
    /// Number of the first tile.
    pub first_tile: u32,
    /// Number of tiles, all of them in the block.
    pub tiles: u32,
    /// What the elements are, see [`crate::tile::NumberFormat::packed`].
    pub format: u32,
    /// Bytes of a coded element: 1, 2 or 4.
    pub coded_width: u32,
}

/// Decoded elements of one block that are taken against a base; see [`crate::reference`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferenceTask {
    /// Device address of the base's bytes; a multiple of 16.
    pub base: u64,
    /// Device address of what has been decoded, which the elements take the place of; a multiple of 16.
    pub out: u64,
    /// Bytes of both.
    pub bytes: u32,
    /// What is done, see [`crate::reference::packed`].
    pub operation: u32,
}

/// A rectangle of bytes to copy: rows of the same length at fixed distances.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RectangleTask {
    /// Device address of its first byte.
    pub from: u64,
    /// Device address of where that goes.
    pub to: u64,
    /// From the begin of a row to the next one's; of no meaning where there is one row.
    pub from_pitch: u32,
    /// The same where they go.
    pub to_pitch: u32,
    /// Bytes of a row, less than 2^31.
    pub width: u32,
    /// Number of rows, less than 2^31.
    pub rows: u32,
}

/// The shared memory of the kernel that reconstructs tiles, in bytes.
pub mod tile_layout {
    use crate::constants::TILE_SIDE;

    /// Tiles that a warp works on at a time, each with half of its lanes.
    pub const TILES_PER_WARP: u32 = 2;
    /// From a row of a tile to the next: an odd number of words, so that lanes that access a column
    /// access different banks.
    pub const ROW_BYTES: u32 = 4 * (TILE_SIDE as u32 + 1);
    /// Of a tile.
    pub const TILE_BYTES: u32 = ROW_BYTES * TILE_SIDE as u32;

    /// To launch with.
    pub const fn bytes(warps: u32) -> u32 {
        warps * TILES_PER_WARP * TILE_BYTES
    }
}

/// Blocks with one table, which thread blocks share among themselves.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskGroup {
    /// Position of the first task.
    pub first_task: u32,
    /// Number of tasks.
    pub tasks: u32,
    /// Position of the table.
    pub table: u32,
}

/// A decode table as kernels copy it to shared memory.
#[repr(C, align(16))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelTable {
    /// The entries, packed as [`crate::rans::TableEntry`].
    pub entries: [u32; TABLE_SIZE],
    /// What each symbol stands for: for paired planes both values, see
    /// [`crate::pair::expand_for_kernels`], otherwise a byte.
    pub expanded: [u32; ALPHABET],
}

impl KernelTable {
    /// The table of a stream of symbols, or of pairs with these ranks.
    pub fn new(table: &DecodeTable, ranks: Option<&RankValues>) -> Self {
        let expanded = match ranks {
            Some(ranks) => expand_for_kernels(ranks),
            None => core::array::from_fn(|symbol| symbol as u32),
        };
        Self { entries: table.entries().map(|entry| entry.0), expanded }
    }

    /// The same for symbols that are the high bytes of rotated elements: kernels with this table give bytes that
    /// have been rotated back by themselves, and need not undo the rotation of each.
    pub fn unrotated(mut self) -> Self {
        self.entries = self.entries.map(|entry| {
            let entry = TableEntry(entry);
            entry.with_symbol(unrotate_bytes(u32::from(entry.symbol())) as u8).0
        });
        self.expanded = self.expanded.map(unrotate_bytes);
        self
    }
}

/// How the planes of a block are coded, for the kernel that takes any plan.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaneSpecs {
    /// One of [`plane_kind`] for each plane.
    pub kinds: [u8; MAX_WIDTH],
    /// The byte of constant planes, the lowest exponent of heads.
    pub constants: [u8; MAX_WIDTH],
    /// Positions of the tables of planes with streams; of planes by class, that of their
    /// [`KernelClasses`].
    pub tables: [u32; MAX_WIDTH],
    /// One of [`arrangement`].
    pub arrangement: u32,
    /// States per lane.
    pub states_per_lane: u32,
}

/// The values of [`PlaneSpecs::arrangement`]: how the bits of an element lie in its planes.
pub mod arrangement {
    /// As they are.
    pub const PLAIN: u32 = 0;
    /// Rotated by one bit.
    pub const ROTATED: u32 = 1;
    /// Head first; see [`crate::split::head_first_16`].
    pub const HEAD_FIRST: u32 = 2;
}

/// The values of [`PlaneSpecs::kinds`].
pub mod plane_kind {
    /// See [`crate::block::PlaneCoding::Raw`].
    pub const RAW: u8 = 0;
    /// See [`crate::block::PlaneCoding::Constant`].
    pub const CONSTANT: u8 = 1;
    /// See [`crate::block::PlaneCoding::Symbols`].
    pub const SYMBOLS: u8 = 2;
    /// See [`crate::block::PlaneCoding::Pairs`].
    pub const PAIRS: u8 = 3;
    /// See [`crate::block::PlaneCoding::NibblePairs`].
    pub const NIBBLE_PAIRS: u8 = 4;
    /// See [`crate::block::PlaneCoding::Classes`].
    pub const CLASSES: u8 = 5;
    /// See [`crate::block::PlaneCoding::Heads`].
    pub const HEADS: u8 = 6;
    /// See [`crate::block::PlaneCoding::InHeads`].
    pub const IN_HEADS: u8 = 7;
}

/// What a kernel reports of a block: 0, or several of these.
pub mod status {
    /// The block's parts do not fill it exactly.
    pub const LENGTH: u32 = 1;
    /// An initial state lies below the lower bound.
    pub const INITIAL_STATE: u32 = 2;
    /// A lane did not end at the lower bound.
    pub const FINAL_STATE: u32 = 4;
    /// The symbols take another number of words than the block has.
    pub const WORDS: u32 = 8;
    /// The list of escapes is not that of the symbols that announce them.
    pub const ESCAPES: u32 = 16;
    /// What a status word holds until a kernel has written it.
    pub const NOT_DECODED: u32 = 1 << 31;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rans::Frequencies;

    #[test]
    fn unrotated_tables_differ_in_their_symbols_alone() {
        let mut frequencies = [0; ALPHABET];
        frequencies[0x81] = 4000;
        frequencies[0x02] = 96;
        let table = DecodeTable::new(&Frequencies::new(frequencies).unwrap());
        let rotated = KernelTable::new(&table, None);
        let unrotated = rotated.unrotated();
        for (&before, &after) in rotated.entries.iter().zip(&unrotated.entries) {
            let (before, after) = (TableEntry(before), TableEntry(after));
            assert_eq!(after.symbol(), before.symbol().rotate_right(1));
            assert_eq!((after.offset(), after.frequency()), (before.offset(), before.frequency()));
        }
        assert_eq!(TableEntry(unrotated.entries[0]).symbol(), 0x01);
        assert_eq!(TableEntry(unrotated.entries[4095]).symbol(), 0xC0);
        for symbol in 0..=u8::MAX {
            assert_eq!(rotated.expanded[usize::from(symbol)], u32::from(symbol));
            assert_eq!(unrotated.expanded[usize::from(symbol)], u32::from(symbol.rotate_right(1)));
        }
    }
}
