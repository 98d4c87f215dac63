//! What a level has to provide: one step of all 32 lanes, and the order of their symbols.

use crate::constants::{ALPHABET, LANES, TABLE_SIZE};
use crate::pair::RankValues;
use crate::rans::{PackedSymbol, TableEntry};

/// Bytes of words that one step takes at most.
pub(super) const STEP_WORD_BYTES: usize = LANES * size_of::<u16>();

/// Stands for a value without a rank.
pub(super) const NO_RANK: u8 = 0xFF;

/// A 32-bit number in each lane: the states of a stream, or four symbols of each lane.
///
/// # Safety
///
/// All functions may be called only on a processor that has the type's instructions; what else a
/// function asks for is with it.
pub(super) trait Lanes: Copy {
    /// The numbers of `lanes`.
    unsafe fn from_array(lanes: &[u32; LANES]) -> Self;

    /// The numbers, lane by lane.
    unsafe fn to_array(self) -> [u32; LANES];

    /// One step with these states, after [`crate::rans::advance`] and its neighbours: puts each
    /// lane's symbol into byte `AT` of `symbols`, which is zero, and returns how many bytes of
    /// words were taken.
    ///
    /// # Safety
    ///
    /// [`STEP_WORD_BYTES`] can be read at `words`.
    unsafe fn step<const AT: u32>(
        &mut self,
        table: &[TableEntry; TABLE_SIZE],
        words: *const u8,
        symbols: &mut Self,
    ) -> usize;

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

    /// One step backwards: puts byte `AT` of each lane's `symbols` into these states, after
    /// [`crate::rans::encode_stream`]. The words that lanes give off are written so that they end
    /// at `end`; returns how many bytes they have. `rarest` is lowered to the symbols' frequencies.
    ///
    /// # Safety
    ///
    /// [`STEP_WORD_BYTES`] can be written before `end`.
    unsafe fn put<const AT: u32>(
        &mut self,
        table: &[PackedSymbol; ALPHABET],
        symbols: Self,
        end: *mut u8,
        rarest: &mut Self,
    ) -> usize;

    /// The symbols of 32 pairs of values: `ranks` has [`NO_RANK`] for values without a rank, and
    /// `coded` is what each symbol is coded as, an escape where it has no slot.
    unsafe fn join_pairs(
        ranks: &[u8; ALPHABET],
        coded: &[u8; ALPHABET],
        values: &[u8; 64],
        symbols: &mut [u8; 32],
    );

    /// Both values of each of 32 pairs: [`crate::pair::expand`], but with the values of rank 15
    /// for escapes, which are replaced later.
    unsafe fn expand_pairs(ranks: &RankValues, symbols: &[u8; 32], values: &mut [u8; 64]);
}
