//! Lanes in an array: for every processor, as fast as the compiler makes it.

use super::lanes::{LINE_BYTES, Lanes, NO_RANK, STEP_WORD_BYTES};
use super::states::InTurn;
use crate::constants::{ALPHABET, ESCAPE_SYMBOL, LANES, TABLE_SIZE};
use crate::pair::RankValues;
use crate::rans::{
    DecodeTable, EncodeTable, PackedSymbol, TableEntry, advance, needs_word, slot, take_word,
};
use crate::split::{ElementLayout, Width, merge_rows};

#[derive(Clone, Copy)]
pub(super) struct Array([u32; LANES]);

impl Lanes for Array {
    type SymbolTable = [PackedSymbol; ALPHABET];
    /// Ranks of values, and what symbols are coded as.
    type PairTables = [[u8; ALPHABET]; 2];
    type TwoStates = InTurn<Self, 2>;
    type FourSymbols = Self;

    #[inline(always)]
    unsafe fn apart<R>(task: impl FnOnce() -> R) -> R {
        task()
    }

    #[inline(always)]
    unsafe fn from_array(lanes: &[u32; LANES]) -> Self {
        Self(*lanes)
    }

    #[inline(always)]
    unsafe fn to_array(self) -> [u32; LANES] {
        self.0
    }

    #[inline(always)]
    unsafe fn look_up(self, table: &[TableEntry; TABLE_SIZE]) -> Self {
        // A loop, since the compiler does not always inline what maps arrays.
        let mut entries = [0; LANES];
        for (entry, state) in entries.iter_mut().zip(self.0) {
            *entry = table[slot(state) as usize].0;
        }
        Self(entries)
    }

    #[inline(always)]
    unsafe fn look_up_by_class<const AT: u32>(self, tables: &[DecodeTable], choices: Self) -> Self {
        Self(core::array::from_fn(|lane| {
            tables[byte_at::<AT>(choices, lane)].entry(slot(self.0[lane])).0
        }))
    }

    #[inline(always)]
    unsafe fn step<const AT: u32>(
        &mut self,
        entries: Self,
        words: *const u8,
        symbols: &mut Self,
    ) -> usize {
        // SAFETY: the caller's promise; bytes need no alignment.
        let words = unsafe { &*words.cast::<[[u8; 2]; LANES]>() };
        let mut taken = 0;
        for ((state, symbols), entry) in self.0.iter_mut().zip(&mut symbols.0).zip(entries.0) {
            let entry = TableEntry(entry);
            *symbols |= u32::from(entry.symbol()) << (8 * AT);
            let next = advance(*state, entry);
            // Without a branch: which lanes take a word is as good as random. At most `LANES - 1`
            // words were taken before this lane.
            let refilled = take_word(next, u16::from_le_bytes(words[taken % LANES]));
            let needs = needs_word(next);
            *state = if needs { refilled } else { next };
            taken += usize::from(needs);
        }
        2 * taken
    }

    #[inline(always)]
    unsafe fn at_least<const AT: u32>(self, least: u8) -> u32 {
        let reached = |lane: usize| byte_at::<AT>(self, lane) >= usize::from(least);
        (0..LANES).fold(0, |lanes, lane| lanes | u32::from(reached(lane)) << lane)
    }

    #[inline(always)]
    unsafe fn store_runs_of_2(self, out: &mut [u8; 4 * LANES]) {
        let (first, second) = out.split_at_mut(2 * LANES);
        let runs = first.as_chunks_mut::<2>().0.iter_mut().zip(second.as_chunks_mut::<2>().0);
        for ((first, second), symbols) in runs.zip(self.0) {
            let [a, b, c, d] = symbols.to_le_bytes();
            (*first, *second) = ([a, b], [c, d]);
        }
    }

    #[inline(always)]
    unsafe fn store_runs_of_4(self, out: &mut [u8; 4 * LANES]) {
        for (run, symbols) in out.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            *run = symbols.to_le_bytes();
        }
    }

    #[inline(always)]
    unsafe fn store_runs_of_8(quarters: [Self; 2], out: &mut [u8; 8 * LANES]) {
        store_runs(quarters, out.as_chunks_mut::<4>().0);
    }

    #[inline(always)]
    unsafe fn store_runs_of_16(quarters: [Self; 4], out: &mut [u8; 16 * LANES]) {
        store_runs(quarters, out.as_chunks_mut::<4>().0);
    }

    #[inline(always)]
    unsafe fn load_runs_of_2(runs: &[u8; 4 * LANES]) -> Self {
        let (first, second) = runs.split_at(2 * LANES);
        let (first, second) = (first.as_chunks::<2>().0, second.as_chunks::<2>().0);
        Self(core::array::from_fn(|lane| {
            let ([a, b], [c, d]) = (first[lane], second[lane]);
            u32::from_le_bytes([a, b, c, d])
        }))
    }

    #[inline(always)]
    unsafe fn load_runs_of_4(runs: &[u8; 4 * LANES]) -> Self {
        let [quarter] = load_runs(runs.as_chunks().0);
        quarter
    }

    #[inline(always)]
    unsafe fn load_runs_of_8(runs: &[u8; 8 * LANES]) -> [Self; 2] {
        load_runs(runs.as_chunks().0)
    }

    #[inline(always)]
    unsafe fn load_runs_of_16(runs: &[u8; 16 * LANES]) -> [Self; 4] {
        load_runs(runs.as_chunks().0)
    }

    #[inline(always)]
    unsafe fn symbol_table(symbols: &[PackedSymbol; ALPHABET]) -> Self::SymbolTable {
        *symbols
    }

    #[inline(always)]
    unsafe fn look_up_symbols(_table: &Self::SymbolTable, symbols: Self) -> Self {
        symbols
    }

    #[inline(always)]
    unsafe fn entries<const AT: u32>(table: &Self::SymbolTable, symbols: Self) -> Self {
        Self(core::array::from_fn(|lane| table[byte_at::<AT>(symbols, lane)].0))
    }

    #[inline(always)]
    unsafe fn entries_by_class<const AT: u32>(
        tables: &[EncodeTable],
        choices: Self,
        symbols: Self,
    ) -> Self {
        Self(core::array::from_fn(|lane| {
            tables[byte_at::<AT>(choices, lane)].symbols()[byte_at::<AT>(symbols, lane)].0
        }))
    }

    #[inline(always)]
    unsafe fn put(&mut self, entries: Self, end: *mut u8, rarest: &mut Self) -> usize {
        // SAFETY: the caller's promise; bytes need no alignment.
        let words = unsafe { &mut *end.sub(STEP_WORD_BYTES).cast::<[[u8; 2]; LANES]>() };
        let mut free = LANES;
        for lane in (0..LANES).rev() {
            let (state, rarest) = (&mut self.0[lane], &mut rarest.0[lane]);
            let symbol = PackedSymbol(entries.0[lane]);
            *rarest = symbol.frequency().min(*rarest);
            if *rarest == 0 {
                continue;
            }
            if symbol.gives_word(*state) {
                free -= 1;
                // At most a word for each lane.
                words[free % LANES] = (*state as u16).to_le_bytes();
                *state >>= u16::BITS;
            }
            *state = symbol.put(*state);
        }
        2 * (LANES - free)
    }

    #[inline(always)]
    unsafe fn pair_tables(ranks: &[u8; ALPHABET], coded: &[u8; ALPHABET]) -> Self::PairTables {
        [*ranks, *coded]
    }

    #[inline(always)]
    unsafe fn join_pairs(tables: &Self::PairTables, values: &[u8; 64], symbols: &mut [u8; 32]) {
        let [ranks, coded] = tables;
        for (symbol, pair) in symbols.iter_mut().zip(values.as_chunks::<2>().0) {
            let [first, second] = pair.map(|value| ranks[usize::from(value)]);
            let ranked = first != NO_RANK && second != NO_RANK;
            let joined = if ranked { first | second << 4 } else { ESCAPE_SYMBOL };
            *symbol = coded[usize::from(joined)];
        }
    }

    #[inline(always)]
    unsafe fn expand_pairs(ranks: &RankValues, symbols: &[u8; 32], values: &mut [u8; 64]) {
        for (pair, &symbol) in values.as_chunks_mut::<2>().0.iter_mut().zip(symbols) {
            *pair = [ranks[usize::from(symbol & 15)], ranks[usize::from(symbol >> 4)]];
        }
    }

    #[inline(always)]
    unsafe fn merge_two<const ROTATED: bool>(rows: [&[u8; 64]; 2], elements: &mut [u8; 128]) {
        let layout = ElementLayout { width: Width::Two, rotated: ROTATED };
        merge_rows(layout, &rows.map(|row| &row[..]), elements);
    }

    #[inline(always)]
    unsafe fn merge_four<const ROTATED: bool>(rows: [&[u8; 64]; 4], elements: &mut [u8; 256]) {
        let layout = ElementLayout { width: Width::Four, rotated: ROTATED };
        merge_rows(layout, &rows.map(|row| &row[..]), elements);
    }

    #[inline(always)]
    unsafe fn store_line(bytes: &[u8; LINE_BYTES], line: &mut [u8; LINE_BYTES]) {
        *line = *bytes;
    }
}

/// Byte `AT` of a lane's number.
#[inline(always)]
fn byte_at<const AT: u32>(numbers: Array, lane: usize) -> usize {
    (numbers.0[lane] >> (8 * AT)) as usize % ALPHABET
}

/// Undoes [`store_runs`].
#[inline(always)]
fn load_runs<const QUARTERS: usize>(runs: &[[u8; 4]]) -> [Array; QUARTERS] {
    let runs = runs.as_chunks::<QUARTERS>().0;
    core::array::from_fn(|quarter| {
        Array(core::array::from_fn(|lane| u32::from_le_bytes(runs[lane][quarter])))
    })
}

/// Four symbols from each quarter, lane by lane.
#[inline(always)]
fn store_runs<const QUARTERS: usize>(quarters: [Array; QUARTERS], out: &mut [[u8; 4]]) {
    for (lane, run) in out.as_chunks_mut::<QUARTERS>().0.iter_mut().enumerate() {
        for (four, symbols) in run.iter_mut().zip(quarters) {
            *four = symbols.0[lane].to_le_bytes();
        }
    }
}
