//! What a level has to provide: one step of all 32 lanes, and the order of their symbols.

use super::states::StreamStates;
use crate::block::DecodeTables;
use crate::constants::{ALPHABET, LANES, TABLE_SIZE};
use crate::pair::RankValues;
use crate::rans::{DecodeTable, EncodeTable, PackedSymbol, TableEntry};

/// Bytes of words that one step takes at most.
pub(super) const STEP_WORD_BYTES: usize = LANES * size_of::<u16>();

/// Stands for a value without a rank.
pub(super) const NO_RANK: u8 = 0xFF;

/// Numbers of 32 bits from one decode table to the next.
pub(super) const DECODE_TABLE_STRIDE: usize = size_of::<DecodeTable>() / size_of::<u32>();
/// The same for encode tables.
pub(super) const ENCODE_TABLE_STRIDE: usize = size_of::<EncodeTable>() / size_of::<u32>();

const _: () = {
    assert!(DECODE_TABLE_STRIDE == TABLE_SIZE);
    assert!(size_of::<EncodeTable>().is_multiple_of(size_of::<u32>()));
};

/// Bytes of a line of the cache.
pub(super) const LINE_BYTES: usize = 64;

/// All of `bytes` as an array.
#[inline(always)]
pub(super) fn all_of<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    bytes.try_into().expect("a unit has as many bytes as its quarters have symbols")
}

/// The same to be written.
#[inline(always)]
pub(super) fn all_of_mut<const N: usize>(bytes: &mut [u8]) -> &mut [u8; N] {
    bytes.try_into().expect("a unit has as many bytes as its quarters have symbols")
}

/// A 32-bit number in each lane: the states of a stream, or four symbols of each lane.
///
/// # Safety
///
/// All functions may be called only on a processor that has the type's instructions; what else a
/// function asks for is with it.
pub(super) trait Lanes: Copy {
    /// A table of symbols in the form that a level looks them up in.
    type SymbolTable;
    /// What a level finds out about four symbols of each lane at a time.
    type FourSymbols: Copy;
    /// What joins values to pairs.
    type PairTables;
    /// The states of a stream that has two for each lane.
    type TwoStates: StreamStates<Self>;

    /// Whether [`Lanes::step_beside`] is many instructions; see [`StreamStates::LONG`].
    const LONG_STEPS: bool = false;

    /// Runs `task` in a function of its own, with what is inlined into it compiled for these instructions.
    /// What a compiler makes of a loop, and which of its numbers it keeps in registers, otherwise depends on
    /// everything else in a function.
    unsafe fn apart<R>(task: impl FnOnce() -> R) -> R;

    /// Asks for the tables that steps look things up in, which nothing leads a processor to before they do.
    /// The checksum of the block before may have taken their place in the cache.
    fn fetch(_tables: &DecodeTables) {}

    /// The numbers of `lanes`.
    unsafe fn from_array(lanes: &[u32; LANES]) -> Self;

    /// The numbers, lane by lane.
    unsafe fn to_array(self) -> [u32; LANES];

    /// The entries that these states select of `table`.
    unsafe fn look_up(self, table: &[TableEntry; TABLE_SIZE]) -> Self;

    /// The entries that these states select, each of the table that byte `AT` of its lane's
    /// `choices` names.
    ///
    /// # Safety
    ///
    /// Each of these bytes is the position of a table.
    unsafe fn look_up_by_class<const AT: u32>(self, tables: &[DecodeTable], choices: Self) -> Self;

    /// One step with these states and the `entries` that they select, after
    /// [`crate::rans::advance`] and its neighbours: puts each lane's symbol into byte `AT` of
    /// `symbols`, which is zero, and returns how many bytes of words were taken.
    ///
    /// # Safety
    ///
    /// [`STEP_WORD_BYTES`] can be read at `words`.
    unsafe fn step<const AT: u32>(
        &mut self,
        entries: Self,
        words: *const u8,
        symbols: &mut Self,
    ) -> usize;

    /// [`Lanes::step`], and beside it [`Lanes::look_up`] of `others`: a processor does one while the other
    /// waits.
    ///
    /// # Safety
    ///
    /// As for [`Lanes::step`].
    #[inline(always)]
    unsafe fn step_beside<const AT: u32>(
        &mut self,
        entries: Self,
        words: *const u8,
        symbols: &mut Self,
        (others, table): (Self, &[TableEntry; TABLE_SIZE]),
    ) -> (usize, Self) {
        // SAFETY: the caller's promise.
        unsafe {
            let of_others = others.look_up(table);
            (self.step::<AT>(entries, words, symbols), of_others)
        }
    }

    /// A bit for each lane, the lowest for the first: whether byte `AT` of these numbers is `least`
    /// or more.
    unsafe fn at_least<const AT: u32>(self, least: u8) -> u32;

    /// Writes two groups of runs of two symbols: bytes 0 and 1 of each lane, then bytes 2 and 3.
    unsafe fn store_runs_of_2(self, out: &mut [u8; 4 * LANES]);

    /// Writes a group of runs of four symbols.
    unsafe fn store_runs_of_4(self, out: &mut [u8; 4 * LANES]);

    /// Writes a group of runs of eight symbols, four from each of `quarters`.
    unsafe fn store_runs_of_8(quarters: [Self; 2], out: &mut [u8; 8 * LANES]);

    /// Writes a group of runs of 16 symbols, four from each of `quarters`.
    unsafe fn store_runs_of_16(quarters: [Self; 4], out: &mut [u8; 16 * LANES]);

    /// Undoes [`Lanes::store_runs_of_2`].
    unsafe fn load_runs_of_2(runs: &[u8; 4 * LANES]) -> Self;

    /// Undoes [`Lanes::store_runs_of_4`].
    unsafe fn load_runs_of_4(runs: &[u8; 4 * LANES]) -> Self;

    /// Undoes [`Lanes::store_runs_of_8`].
    unsafe fn load_runs_of_8(runs: &[u8; 8 * LANES]) -> [Self; 2];

    /// Undoes [`Lanes::store_runs_of_16`].
    unsafe fn load_runs_of_16(runs: &[u8; 16 * LANES]) -> [Self; 4];

    /// `symbols` in the form that [`Lanes::look_up_symbols`] takes.
    unsafe fn symbol_table(symbols: &[PackedSymbol; ALPHABET]) -> Self::SymbolTable;

    /// Looks up the four bytes of each lane of `symbols`, or does what that needs.
    unsafe fn look_up_symbols(table: &Self::SymbolTable, symbols: Self) -> Self::FourSymbols;

    /// The entries of byte `AT` of each lane of the symbols that were looked up.
    unsafe fn entries<const AT: u32>(table: &Self::SymbolTable, symbols: Self::FourSymbols)
    -> Self;

    /// The entries of byte `AT` of each lane's `symbols`, each of the table that byte `AT` of its
    /// lane's `choices` names.
    ///
    /// # Safety
    ///
    /// Each of these bytes is the position of a table.
    unsafe fn entries_by_class<const AT: u32>(
        tables: &[EncodeTable],
        choices: Self,
        symbols: Self,
    ) -> Self;

    /// One step backwards: puts the symbols with these `entries` into the states, after
    /// [`crate::rans::encode_stream`]. The words that lanes give off are written so that they end
    /// at `end`; returns how many bytes they have. `rarest` is lowered to the symbols' frequencies.
    ///
    /// # Safety
    ///
    /// [`STEP_WORD_BYTES`] can be written before `end`.
    unsafe fn put(&mut self, entries: Self, end: *mut u8, rarest: &mut Self) -> usize;

    /// `ranks` has [`NO_RANK`] for values without a rank, which at most 16 have, and `coded` is what
    /// each symbol is coded as, an escape where it has no slot.
    unsafe fn pair_tables(ranks: &[u8; ALPHABET], coded: &[u8; ALPHABET]) -> Self::PairTables;

    /// The symbols of 32 pairs of values.
    unsafe fn join_pairs(tables: &Self::PairTables, values: &[u8; 64], symbols: &mut [u8; 32]);

    /// Both values of each of 32 pairs: [`crate::pair::expand`], but with the values of rank 15
    /// for escapes, which are replaced later.
    unsafe fn expand_pairs(ranks: &RankValues, symbols: &[u8; 32], values: &mut [u8; 64]);

    /// Elements of two bytes, `ROTATED` or not, from the low and the high one of each, as
    /// [`crate::split::merge_rows`] makes them.
    unsafe fn merge_two<const ROTATED: bool>(rows: [&[u8; 64]; 2], elements: &mut [u8; 128]);

    /// The same of elements of four bytes.
    unsafe fn merge_four<const ROTATED: bool>(rows: [&[u8; 64]; 4], elements: &mut [u8; 256]);

    /// Writes a line past the cache, into memory. Other processors see it after a fence.
    ///
    /// # Safety
    ///
    /// `line` is one: it begins at a multiple of its size.
    unsafe fn store_line(bytes: &[u8; LINE_BYTES], line: &mut [u8; LINE_BYTES]);
}
