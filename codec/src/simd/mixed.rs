//! Streams with several tables, after [`crate::rans::encode_mixed_stream`] and
//! [`crate::rans::decode_mixed_stream`]. Steps in which a head announces a tail byte are rare; they
//! go lane by lane for that byte alone.

use core::marker::PhantomData;

use super::encode::Vectors;
use super::lanes::{Lanes, STEP_WORD_BYTES, all_of, all_of_mut};
use super::states::QUARTER_STEPS;
use crate::block::{
    BlockError, BlockSpec, BlockTables, MixedDecoder, PlaneClasses, decode_block_by,
};
use crate::constants::{ESCAPED_HEAD, LANES};
use crate::rans::{
    DecodeTable, EncodeTable, EncodedStream, MixedTables, StreamError, StreamShape, byte_of,
    carried_by, decode_mixed_stream, drop_byte, first_states, is_first_state, max_mixed_words,
    needs_word, put_byte, take_word,
};

/// [`crate::block::decode_block`] by way of `L`.
///
/// # Safety
///
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn decode_block<L: Lanes>(
    spec: &BlockSpec,
    tables: (&BlockTables<'_>, &PlaneClasses<'_, DecodeTable>),
    block: &[u8],
    scratch: &mut [u8],
    out: &mut [u8],
) -> Result<(), BlockError> {
    decode_block_by(Vectors::<L>(PhantomData), spec, tables, block, scratch, out)
}

impl<L: Lanes> MixedDecoder for Vectors<L> {
    #[inline(always)]
    fn decode_mixed_stream(
        self,
        shape: StreamShape,
        tables: MixedTables<'_, DecodeTable>,
        states: &[u8],
        words: &[u8],
        symbols: &mut [u8],
        mut tails: Option<&mut [u8]>,
        carried: &mut [u8],
    ) -> Result<(), StreamError> {
        let now = tails.as_deref_mut();
        // SAFETY: see `Vectors`.
        if unsafe { decode::<L>(shape, tables, states, words, symbols, now, carried) } {
            return Ok(());
        }
        decode_mixed_stream(shape, tables, states, words, symbols, tails, carried)
    }
}

/// The most symbols of a unit: of as many groups as fill the four bytes of each lane's number.
const MAX_UNIT: usize = MAX_QUARTERS * QUARTER_STEPS * LANES;
/// Quarters of a unit at most.
const MAX_QUARTERS: usize = 4;

/// Where the symbols of a stream's units lie.
#[derive(Clone, Copy)]
struct Units {
    shape: StreamShape,
    /// Symbols of a unit.
    symbols: usize,
}

impl Units {
    fn new(shape: StreamShape) -> Self {
        Self { shape, symbols: LANES * shape.symbols_per_run.max(QUARTER_STEPS) }
    }

    fn count(self) -> usize {
        self.shape.symbols.div_ceil(self.symbols)
    }

    fn quarters(self) -> usize {
        self.symbols / (QUARTER_STEPS * LANES)
    }

    /// Steps of the unit with the first symbol `first`: fewer than it has room for where the last
    /// group but one of runs of two is the last.
    fn steps(self, first: usize) -> usize {
        let groups = (self.shape.symbols - first).div_ceil(self.shape.group_symbols());
        let run = self.shape.symbols_per_run;
        (groups * run).min(self.symbols / LANES)
    }

    /// The unit's symbol in lane 0 of a step; the run's length further on is that of lane 1.
    fn position(self, step: usize) -> usize {
        let run = self.shape.symbols_per_run;
        step / run * self.shape.group_symbols() + step % run
    }

    /// The numbers of a unit's quarters of steps.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn load<L: Lanes>(self, unit: &[u8]) -> [L; MAX_QUARTERS] {
        // SAFETY: the caller's promise.
        unsafe {
            let none = L::from_array(&[0; LANES]);
            match self.shape.symbols_per_run {
                2 => [L::load_runs_of_2(all_of(unit)), none, none, none],
                4 => [L::load_runs_of_4(all_of(unit)), none, none, none],
                8 => {
                    let [first, second] = L::load_runs_of_8(all_of(unit));
                    [first, second, none, none]
                }
                _ => L::load_runs_of_16(all_of(unit)),
            }
        }
    }

    /// The inverse of [`Units::load`].
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn store<L: Lanes>(self, quarters: [L; MAX_QUARTERS], unit: &mut [u8]) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.shape.symbols_per_run {
                2 => quarters[0].store_runs_of_2(all_of_mut(unit)),
                4 => quarters[0].store_runs_of_4(all_of_mut(unit)),
                8 => L::store_runs_of_8([quarters[0], quarters[1]], all_of_mut(unit)),
                _ => L::store_runs_of_16(quarters, all_of_mut(unit)),
            }
        }
    }
}

/// Panics where a choice is no table, which a reader or planner has excluded.
fn check_choices<T>(tables: MixedTables<'_, T>) {
    let most = tables.choice.iter().copied().max().unwrap_or(0);
    assert!(usize::from(most) < tables.tables.len(), "a choice of a table that is not there");
}

/// [`crate::rans::encode_mixed_stream`] by way of `L`, for runs of two symbols or more.
///
/// # Safety
///
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn encode<'a, L: Lanes>(
    shape: StreamShape,
    tables: MixedTables<'_, EncodeTable>,
    symbols: &[u8],
    tails: Option<&[u8]>,
    carried: &[u8],
    buffer: &'a mut [u16],
) -> EncodedStream<'a> {
    assert!(buffer.len() >= max_mixed_words(shape, tails.is_some()), "word buffer too small");
    assert!(tails.is_none_or(|tails| tails.len() >= symbols.len()), "tails of another shape");
    check_choices(tables);
    let states = first_states(shape, symbols, carried, buffer);
    // SAFETY: the caller's promise; the buffer has room for all words.
    unsafe {
        let end: *mut u8 = buffer.as_mut_ptr_range().end.cast();
        let states = states.map(|lanes| L::from_array(&lanes));
        let rarest = L::from_array(&[u32::MAX; LANES]);
        let units = Units::new(shape);
        let mut encoder = Encoder { units, states, tables: tables.tables, tails, end, rarest };
        let (mut symbol_room, mut choice_room) = ([0; MAX_UNIT], [0; MAX_UNIT]);
        let padding = tables.tables[0].padding();
        for number in (0..units.count()).rev() {
            let first = number * units.symbols;
            let symbols = fill_up(&symbols[first..], units, padding, &mut symbol_room);
            let choices = tables.choice.get(first..).unwrap_or_default();
            let choices = fill_up(choices, units, 0, &mut choice_room);
            encoder.put_unit(first, units.load(symbols), units.load(choices));
        }
        assert!(!encoder.rarest.to_array().contains(&0), "a symbol without a slot in its table");
        let start = encoder.end.cast_const().cast::<u16>();
        let states = encoder.states.map(|states| states.to_array());
        let words = &buffer[start.offset_from_unsigned(buffer.as_ptr())..];
        EncodedStream { states, words }
    }
}

/// The first unit of `bytes`, which `room` holds filled up where there are fewer.
fn fill_up<'a>(bytes: &'a [u8], units: Units, with: u8, room: &'a mut [u8; MAX_UNIT]) -> &'a [u8] {
    if let Some(unit) = bytes.get(..units.symbols) {
        return unit;
    }
    let room = &mut room[..units.symbols];
    room.fill(with);
    room[..bytes.len()].copy_from_slice(bytes);
    room
}

/// A stream that is being encoded, from its end.
struct Encoder<'a, L> {
    units: Units,
    states: [L; 2],
    tables: &'a [EncodeTable],
    tails: Option<&'a [u8]>,
    /// Where the words given off so far begin.
    end: *mut u8,
    /// The lowest frequency of the symbols of each lane.
    rarest: L,
}

impl<L: Lanes> Encoder<'_, L> {
    /// # Safety
    ///
    /// The processor has the instructions of `L`, choices are positions of tables, and before `end`
    /// there is room for the words of this unit.
    #[inline(always)]
    unsafe fn put_unit(
        &mut self,
        first: usize,
        symbols: [L; MAX_QUARTERS],
        choices: [L; MAX_QUARTERS],
    ) {
        let steps = self.units.steps(first);
        for quarter in (0..self.units.quarters()).rev() {
            let (symbols, choices) = (symbols[quarter], choices[quarter]);
            let step = quarter * QUARTER_STEPS;
            // SAFETY: the caller's promise.
            unsafe {
                if steps > step + 2 {
                    self.put_step::<3>(first, step + 3, symbols, choices);
                    self.put_step::<2>(first, step + 2, symbols, choices);
                }
                self.put_step::<1>(first, step + 1, symbols, choices);
                self.put_step::<0>(first, step, symbols, choices);
            }
        }
    }

    /// # Safety
    ///
    /// See [`Encoder::put_unit`].
    #[inline(always)]
    unsafe fn put_step<const AT: u32>(
        &mut self,
        first: usize,
        step: usize,
        symbols: L,
        choices: L,
    ) {
        let number = step % self.units.shape.states_per_lane;
        // SAFETY: the caller's promise; each step moves `end` by what it wrote.
        unsafe {
            if let Some(tails) = self.tails {
                let escaped = symbols.at_least::<AT>(ESCAPED_HEAD);
                if escaped != 0 {
                    let first = first + self.units.position(step);
                    self.put_tails(escaped, number, tails.get(first..).unwrap_or_default());
                }
            }
            let entries = L::entries_by_class::<AT>(self.tables, choices, symbols);
            self.end = self.end.sub(self.states[number].put(entries, self.end, &mut self.rarest));
        }
    }

    /// Puts the tail bytes of the lanes `escaped` in; `tails` begins with that of lane 0.
    ///
    /// # Safety
    ///
    /// See [`Encoder::put_unit`].
    #[inline(never)]
    unsafe fn put_tails(&mut self, escaped: u32, number: usize, tails: &[u8]) {
        // SAFETY: the caller's promise.
        let mut states = unsafe { self.states[number].to_array() };
        for (lane, state) in states.iter_mut().enumerate().rev() {
            // What pads the last group has no tail bytes.
            let tail = tails.get(lane * self.units.shape.symbols_per_run);
            let (1, Some(&tail)) = (escaped >> lane & 1, tail) else { continue };
            if *state >> 24 != 0 {
                // SAFETY: the caller's promise: there is room for a word of every tail byte.
                unsafe {
                    self.end = self.end.sub(size_of::<u16>());
                    self.end.cast::<[u8; 2]>().write((*state as u16).to_le_bytes());
                }
                *state >>= u16::BITS;
            }
            *state = put_byte(*state, tail);
        }
        // SAFETY: the caller's promise.
        self.states[number] = unsafe { L::from_array(&states) };
    }
}

/// [`crate::rans::decode_mixed_stream`] by way of `L`, for runs of two symbols or more, and whether
/// the stream is what an encoder writes; if not, the reference says what is wrong.
///
/// # Safety
///
/// The processor has the instructions of `L`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "those of the reference")]
pub(super) unsafe fn decode<L: Lanes>(
    shape: StreamShape,
    tables: MixedTables<'_, DecodeTable>,
    states: &[u8],
    words: &[u8],
    symbols: &mut [u8],
    tails: Option<&mut [u8]>,
    carried: &mut [u8],
) -> bool {
    check_choices(tables);
    let mut lanes = [[0; LANES]; 2];
    for (state, bytes) in lanes.as_flattened_mut().iter_mut().zip(states.as_chunks().0) {
        *state = u32::from_le_bytes(*bytes);
        if needs_word(*state) {
            return false;
        }
    }
    let units = Units::new(shape);
    // SAFETY: the caller's promise; choices were checked, and those that fill up are 0.
    let states = unsafe {
        let states = lanes.map(|lanes| L::from_array(&lanes));
        let mut decoder = Decoder { units, states, tables: tables.tables, tails, words, taken: 0 };
        let (mut choice_room, mut symbol_room) = ([0; MAX_UNIT], [0; MAX_UNIT]);
        for number in 0..units.count() {
            let first = number * units.symbols;
            let choices = tables.choice.get(first..).unwrap_or_default();
            let choices = fill_up(choices, units, 0, &mut choice_room);
            let quarters = decoder.take_unit(first, units.load(choices));
            let rest = &mut symbols[first..];
            if let Some(unit) = rest.get_mut(..units.symbols) {
                units.store(quarters, unit);
            } else {
                units.store(quarters, &mut symbol_room[..units.symbols]);
                rest.copy_from_slice(&symbol_room[..rest.len()]);
            }
        }
        if decoder.taken != words.len() {
            return false;
        }
        decoder.states.map(|states| states.to_array())
    };
    let states = &states.as_flattened()[..shape.states_per_lane * LANES];
    for (bytes, &state) in carried.as_chunks_mut().0.iter_mut().zip(states) {
        *bytes = carried_by(state).to_le_bytes();
    }
    states.iter().all(|&state| is_first_state(state, !carried.is_empty()))
}

/// A stream that is being decoded.
struct Decoder<'a, L> {
    units: Units,
    states: [L; 2],
    tables: &'a [DecodeTable],
    tails: Option<&'a mut [u8]>,
    words: &'a [u8],
    /// Bytes of words taken; more than there are when the stream is corrupt.
    taken: usize,
}

impl<L: Lanes> Decoder<'_, L> {
    /// # Safety
    ///
    /// The processor has the instructions of `L`, and choices are positions of tables.
    #[inline(always)]
    unsafe fn take_unit(&mut self, first: usize, choices: [L; MAX_QUARTERS]) -> [L; MAX_QUARTERS] {
        let steps = self.units.steps(first);
        // SAFETY: the caller's promise.
        unsafe {
            let mut quarters = [L::from_array(&[0; LANES]); MAX_QUARTERS];
            for quarter in 0..self.units.quarters() {
                let (symbols, choices) = (&mut quarters[quarter], choices[quarter]);
                let step = quarter * QUARTER_STEPS;
                self.take_step::<0>(first, step, symbols, choices);
                self.take_step::<1>(first, step + 1, symbols, choices);
                if steps > step + 2 {
                    self.take_step::<2>(first, step + 2, symbols, choices);
                    self.take_step::<3>(first, step + 3, symbols, choices);
                }
            }
            quarters
        }
    }

    /// # Safety
    ///
    /// See [`Decoder::take_unit`].
    #[inline(always)]
    unsafe fn take_step<const AT: u32>(
        &mut self,
        first: usize,
        step: usize,
        symbols: &mut L,
        choices: L,
    ) {
        let number = step % self.units.shape.states_per_lane;
        let rest = self.words.get(self.taken..).unwrap_or_default();
        let mut padded = [0; STEP_WORD_BYTES];
        let words = rest.first_chunk().unwrap_or_else(|| {
            padded[..rest.len()].copy_from_slice(rest);
            &padded
        });
        // SAFETY: the caller's promise; there are as many bytes as a step reads.
        unsafe {
            let states = &mut self.states[number];
            let entries = states.look_up_by_class::<AT>(self.tables, choices);
            self.taken += states.step::<AT>(entries, words.as_ptr(), symbols);
            if self.tails.is_some() {
                let escaped = symbols.at_least::<AT>(ESCAPED_HEAD);
                if escaped != 0 {
                    self.take_tails(escaped, number, first + self.units.position(step));
                }
            }
        }
    }

    /// Takes the tail bytes of the lanes `escaped`; `first` is the symbol in lane 0.
    ///
    /// # Safety
    ///
    /// See [`Decoder::take_unit`].
    #[inline(never)]
    unsafe fn take_tails(&mut self, escaped: u32, number: usize, first: usize) {
        let Some(tails) = self.tails.as_mut().and_then(|tails| tails.get_mut(first..)) else {
            return;
        };
        // SAFETY: the caller's promise.
        let mut states = unsafe { self.states[number].to_array() };
        for (lane, state) in states.iter_mut().enumerate() {
            // What pads the last group has no tail bytes.
            let tail = tails.get_mut(lane * self.units.shape.symbols_per_run);
            let (1, Some(tail)) = (escaped >> lane & 1, tail) else { continue };
            *tail = byte_of(*state);
            *state = drop_byte(*state);
            if needs_word(*state) {
                let word = self.words.get(self.taken..).and_then(<[u8]>::first_chunk);
                *state = take_word(*state, word.map_or(0, |word| u16::from_le_bytes(*word)));
                self.taken += size_of::<u16>();
            }
        }
        // SAFETY: the caller's promise.
        self.states[number] = unsafe { L::from_array(&states) };
    }
}
