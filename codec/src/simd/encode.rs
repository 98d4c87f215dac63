//! The encoder for the processor's vectors: pairs joined and streams encoded, blocks put together as
//! the reference does.

use core::marker::PhantomData;

use super::lanes::{Lanes, NO_RANK, all_of};
use super::mixed;
use super::states::QUARTER_STEPS;
use crate::block::{
    BlockSpec, EncodeTables, Parts, PlaneClasses, PlaneCoding, encode_block_by, join_pairs,
    symbols_by,
};
use crate::constants::{ALPHABET, ESCAPE_SYMBOL, LANES};
use crate::rans::{EncodeTable, EncodedStream, MixedTables, StreamShape, first_states};
use crate::split::ElementLayout;

/// The parts by way of `L`. A value of this type is made only on a processor that has the
/// instructions of `L`.
pub(super) struct Vectors<L>(pub(super) PhantomData<L>);

impl<L> Clone for Vectors<L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Vectors<L> {}

/// [`crate::block::encode_classed_block`] by way of `L`.
///
/// # Safety
///
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn encode_block<L: Lanes>(
    spec: &BlockSpec,
    tables: (&EncodeTables<'_>, &PlaneClasses<'_, EncodeTable>),
    elements: &[u8],
    scratch: &mut [u8],
    words: &mut [u16],
    out: &mut [u8],
) -> usize {
    encode_block_by(Vectors::<L>(PhantomData), spec, tables, elements, scratch, words, out)
}

/// [`symbols_by`] way of `L`.
///
/// # Safety
///
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn symbols<'a, L: Lanes>(
    layout: ElementLayout,
    coded: (usize, PlaneCoding),
    ranks: &[Option<u8>; ALPHABET],
    elements: &[u8],
    planes: &mut [u8],
    symbols: &'a mut [u8],
) -> &'a [u8] {
    symbols_by(Vectors::<L>(PhantomData), layout, coded, ranks, elements, planes, symbols)
}

impl<L: Lanes> Parts for Vectors<L> {
    #[inline(always)]
    fn join_pairs(
        self,
        ranks: &[Option<u8>; ALPHABET],
        has_slot: &[bool; ALPHABET],
        values: &[u8],
        symbols: &mut [u8],
    ) {
        let (rank_values, slots) = (ranks, has_slot);
        let ranks = ranks.map(|rank| rank.unwrap_or(NO_RANK));
        let coded: [u8; ALPHABET] = core::array::from_fn(|symbol| match has_slot[symbol] {
            true => symbol as u8,
            false => ESCAPE_SYMBOL,
        });
        // SAFETY: see `Vectors`.
        let tables = unsafe { L::pair_tables(&ranks, &coded) };
        let (whole, last_values) = values.as_chunks();
        // The last 63 values have as many symbols as 64, so that symbols do not say where to stop.
        let (symbols, last_symbols) = symbols.split_at_mut(whole.len() * 32);
        for (values, symbols) in whole.iter().zip(symbols.as_chunks_mut().0) {
            // SAFETY: see `Vectors`.
            unsafe { L::join_pairs(&tables, values, symbols) };
        }
        join_pairs(rank_values, slots, last_values, last_symbols);
    }

    #[inline(always)]
    fn encode_stream<'a>(
        self,
        shape: StreamShape,
        table: &EncodeTable,
        symbols: &[u8],
        carried: &[u8],
        buffer: &'a mut [u16],
    ) -> EncodedStream<'a> {
        let states = first_states(shape, symbols, carried, buffer);
        // SAFETY: see `Vectors`; the buffer has room for a word of every symbol.
        unsafe {
            let states = states.map(|lanes| L::from_array(&lanes));
            let end = buffer.as_mut_ptr_range().end.cast();
            let rarest = L::from_array(&[u32::MAX; LANES]);
            let mut encoder = Encoder {
                states,
                table: L::symbol_table(table.symbols()),
                padding: table.padding(),
                end,
                rarest,
            };
            match (shape.symbols_per_run, shape.states_per_lane) {
                (2, 1) => encoder.encode::<2, 1>(symbols),
                (2, _) => encoder.encode::<2, 2>(symbols),
                (4, 1) => encoder.encode::<4, 1>(symbols),
                (4, _) => encoder.encode::<4, 2>(symbols),
                (8, 1) => encoder.encode::<8, 1>(symbols),
                (8, _) => encoder.encode::<8, 2>(symbols),
                (_, 1) => encoder.encode_bytes::<1>(symbols, shape.carried_steps()),
                (_, _) => encoder.encode_bytes::<2>(symbols, shape.carried_steps()),
            }
            let least = encoder.rarest.to_array();
            assert!(!least.contains(&0), "a symbol without a slot in the table");
            let start = encoder.end.cast_const().cast::<u16>();
            let states = encoder.states.map(|states| states.to_array());
            let first = start.offset_from_unsigned(buffer.as_ptr());
            EncodedStream { states, words: &buffer[first..] }
        }
    }

    #[inline(always)]
    fn encode_mixed_stream<'a>(
        self,
        shape: StreamShape,
        tables: MixedTables<'_, EncodeTable>,
        symbols: &[u8],
        tails: Option<&[u8]>,
        carried: &[u8],
        buffer: &'a mut [u16],
    ) -> EncodedStream<'a> {
        // SAFETY: see `Vectors`.
        unsafe { mixed::encode::<L>(shape, tables, symbols, tails, carried, buffer) }
    }
}

/// A stream that is being encoded, from its end.
struct Encoder<L: Lanes> {
    states: [L; 2],
    table: L::SymbolTable,
    /// What fills up the last group.
    padding: u8,
    /// Where the words given off so far begin.
    end: *mut u8,
    /// The lowest frequency of the symbols of each lane.
    rarest: L,
}

impl<L: Lanes> Encoder<L> {
    /// Puts all symbols in, the last group filled up.
    ///
    /// # Safety
    ///
    /// Before `end` there is room for a word of every symbol, those that fill up included.
    #[inline(always)]
    unsafe fn encode<const RUN: usize, const S: usize>(&mut self, symbols: &[u8]) {
        let unit = LANES * RUN.max(QUARTER_STEPS);
        let whole = symbols.len() - symbols.len() % unit;
        let rest = &symbols[whole..];
        // SAFETY: the caller's promise.
        unsafe {
            if !rest.is_empty() {
                let mut padded = [self.padding; 16 * LANES];
                padded[..rest.len()].copy_from_slice(rest);
                if RUN == 2 && rest.len() <= RUN * LANES {
                    // The last group of runs of two, where their number is odd.
                    self.put_half_quarter::<S>(L::load_runs_of_2(all_of(&padded[..4 * LANES])));
                } else {
                    self.put_unit::<RUN, S>(&padded[..unit]);
                }
            }
            for symbols in symbols[..whole].rchunks_exact(unit) {
                self.put_unit::<RUN, S>(symbols);
            }
        }
    }

    /// The same for runs of 16, but for the last `carried` steps.
    ///
    /// # Safety
    ///
    /// See [`Encoder::encode`].
    #[inline(always)]
    unsafe fn encode_bytes<const S: usize>(&mut self, symbols: &[u8], carried: usize) {
        const UNIT: usize = 16 * LANES;
        let carrying = if carried > 0 { UNIT } else { 0 };
        let (before, last) = symbols.split_at(symbols.len() - carrying);
        // SAFETY: the caller's promise.
        unsafe {
            if carried > 0 {
                let [first, second, third, fourth] = L::load_runs_of_16(all_of(last));
                if carried < QUARTER_STEPS {
                    self.put_half_quarter::<S>(fourth);
                }
                self.put_quarter::<S>(third);
                self.put_quarter::<S>(second);
                self.put_quarter::<S>(first);
            }
            self.encode::<16, S>(before);
        }
    }

    /// # Safety
    ///
    /// See [`Encoder::encode`].
    #[inline(always)]
    unsafe fn put_unit<const RUN: usize, const S: usize>(&mut self, symbols: &[u8]) {
        // SAFETY: the caller's promise.
        unsafe {
            match RUN {
                2 => self.put_quarter::<S>(L::load_runs_of_2(all_of(symbols))),
                4 => self.put_quarter::<S>(L::load_runs_of_4(all_of(symbols))),
                8 => {
                    let [first, second] = L::load_runs_of_8(all_of(symbols));
                    self.put_quarter::<S>(second);
                    self.put_quarter::<S>(first);
                }
                _ => {
                    let [first, second, third, fourth] = L::load_runs_of_16(all_of(symbols));
                    self.put_quarter::<S>(fourth);
                    self.put_quarter::<S>(third);
                    self.put_quarter::<S>(second);
                    self.put_quarter::<S>(first);
                }
            }
        }
    }

    /// # Safety
    ///
    /// See [`Encoder::encode`].
    #[inline(always)]
    unsafe fn put_quarter<const S: usize>(&mut self, symbols: L) {
        // In a variable of its own, so that states stay in registers.
        let mut states = self.states;
        // SAFETY: the caller's promise.
        unsafe {
            let symbols = L::look_up_symbols(&self.table, symbols);
            self.put_step::<3>(&mut states[S - 1], symbols);
            self.put_step::<2>(&mut states[0], symbols);
            self.put_step::<1>(&mut states[S - 1], symbols);
            self.put_step::<0>(&mut states[0], symbols);
        }
        self.states = states;
    }

    /// Puts byte `AT` of each lane of the symbols that were looked up in.
    ///
    /// # Safety
    ///
    /// See [`Encoder::encode`].
    #[inline(always)]
    unsafe fn put_step<const AT: u32>(&mut self, states: &mut L, symbols: L::FourSymbols) {
        // SAFETY: the caller's promise; each step moves `end` by what it wrote.
        unsafe {
            let entries = L::entries::<AT>(&self.table, symbols);
            self.end = self.end.sub(states.put(entries, self.end, &mut self.rarest));
        }
    }

    /// The first two of four symbols.
    ///
    /// # Safety
    ///
    /// See [`Encoder::encode`].
    unsafe fn put_half_quarter<const S: usize>(&mut self, symbols: L) {
        // SAFETY: the caller's promise.
        unsafe {
            let symbols = L::look_up_symbols(&self.table, symbols);
            let mut states = self.states;
            self.put_step::<1>(&mut states[S - 1], symbols);
            self.put_step::<0>(&mut states[0], symbols);
            self.states = states;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::portable::Array;
    use super::super::{Level, lanes::STEP_WORD_BYTES};
    use super::*;
    use crate::constants::{PROBABILITY_BITS, STATE_LOWER_BOUND, TABLE_SIZE};
    use crate::rans::Frequencies;

    /// The states before and after a step in which every lane puts symbol 0, and the words.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `L`.
    unsafe fn put<L: Lanes>(
        table: &EncodeTable,
        states: &[u32; LANES],
    ) -> ([u32; LANES], [u8; STEP_WORD_BYTES], usize) {
        let mut words = [0; STEP_WORD_BYTES];
        // SAFETY: the caller's promise; there is room for all words before the end.
        unsafe {
            let mut lanes = L::from_array(states);
            let mut rarest = L::from_array(&[u32::MAX; LANES]);
            let symbols = L::from_array(&[0; LANES]);
            let end = words.as_mut_ptr_range().end;
            let table = L::symbol_table(table.symbols());
            let entries = L::entries::<0>(&table, L::look_up_symbols(&table, symbols));
            let written = lanes.put(entries, end, &mut rarest);
            words[..STEP_WORD_BYTES - written].fill(0);
            (lanes.to_array(), words, written)
        }
    }

    /// States around every multiple that matters of `frequency`, at both ends of the range.
    fn edge_states(frequency: u32) -> [u32; LANES] {
        let limit = u64::from(frequency) << (u32::BITS - PROBABILITY_BITS);
        let top = (limit - 1) as u32;
        core::array::from_fn(|lane| {
            let step = lane as u32 / 4;
            let state = match lane % 4 {
                0 => top - step,
                1 => STATE_LOWER_BOUND + step,
                2 => (top / frequency - step) * frequency,
                _ => limit.wrapping_add(u64::from(step)).min(u32::MAX.into()) as u32,
            };
            state.max(STATE_LOWER_BOUND)
        })
    }

    #[test]
    fn quotients_are_exact_for_every_frequency_at_the_edges() {
        for frequency in 1..TABLE_SIZE as u32 {
            let mut frequencies = [0; ALPHABET];
            frequencies[0] = frequency as u16;
            frequencies[1] = (TABLE_SIZE as u32 - frequency) as u16;
            let table = EncodeTable::new(&Frequencies::new(frequencies).unwrap());
            let states = edge_states(frequency);
            // SAFETY: arrays take no special instructions.
            let expected = unsafe { put::<Array>(&table, &states) };
            for (lane, &state) in states.iter().enumerate() {
                let word = if table.symbols()[0].gives_word(state) { 16 } else { 0 };
                assert_eq!(expected.0[lane], table.symbols()[0].put(state >> word));
            }
            #[cfg(target_arch = "x86_64")]
            if Level::avx2().is_some() {
                // SAFETY: the processor has AVX2.
                let found = unsafe { put::<super::super::avx2::Registers>(&table, &states) };
                assert_eq!(found, expected, "AVX2, frequency {frequency}");
            }
            #[cfg(target_arch = "x86_64")]
            if Level::avx512().is_some() {
                // SAFETY: the processor has these parts of AVX-512.
                let found = unsafe { put::<super::super::avx512::Registers>(&table, &states) };
                assert_eq!(found, expected, "AVX-512, frequency {frequency}");
            }
        }
    }
}
