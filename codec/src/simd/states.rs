//! The states of a stream, and how they take their steps.

use core::sync::atomic::{Ordering, compiler_fence};

use super::lanes::Lanes;
use crate::block::DecodeTables;
use crate::constants::{LANES, TABLE_SIZE};
use crate::rans::{TableEntry, carried_by, carried_step};

/// Steps whose symbols share a 32-bit number in each lane.
pub(super) const QUARTER_STEPS: usize = 4;

/// The states of a stream, in the form that steps take.
///
/// # Safety
///
/// All functions may be called only on a processor that has the instructions of `L`.
pub(super) trait StreamStates<L>: Copy {
    /// Whether four steps are so many instructions that a loop is not to have them several times: a processor
    /// keeps only so many decoded.
    const LONG: bool = false;

    /// `states` in this form, for streams with these `tables`; of use is the first for one state per lane,
    /// and both for two.
    unsafe fn new(states: [L; 2], tables: &DecodeTables) -> Self;

    /// What [`StreamStates::new`] was given, as it is by now.
    unsafe fn into_lanes(self) -> [L; 2];

    /// Four steps of each stream: their symbols, the first step's in the lowest byte of each lane. Moves
    /// `words` on by what was taken.
    ///
    /// # Safety
    ///
    /// [`QUARTER_STEPS`] times [`super::lanes::STEP_WORD_BYTES`] can be read at each of `words`.
    unsafe fn four_steps<const B: usize>(
        states: &mut [Self; B],
        tables: [&DecodeTables; B],
        words: &mut [*const u8; B],
    ) -> [L; B];

    /// The same for the last quarter of streams whose states carry the last symbols, and which has
    /// only the steps before these: the symbols of those and, in the bytes after them, the carried.
    ///
    /// # Safety
    ///
    /// As for [`StreamStates::four_steps`].
    unsafe fn last_steps<const B: usize>(
        states: &mut [Self; B],
        tables: [&DecodeTables; B],
        words: &mut [*const u8; B],
    ) -> [L; B];
}

/// States that take their steps in turn, `S` for each lane.
#[derive(Clone, Copy)]
pub(super) struct InTurn<L, const S: usize>([L; 2]);

/// Two states for each lane that take their steps in turn, each while the entries for the other's next step
/// are looked up. So neither a step nor a look-up waits for what was begun just before it: a processor has
/// room for few instructions that wait.
#[derive(Clone, Copy)]
pub(super) struct Pipelined<L> {
    states: [L; 2],
    /// Those that the first state selects.
    entries: L,
}

impl<L: Lanes, const S: usize> StreamStates<L> for InTurn<L, S> {
    #[inline(always)]
    unsafe fn new(states: [L; 2], _tables: &DecodeTables) -> Self {
        Self(states)
    }

    #[inline(always)]
    unsafe fn into_lanes(self) -> [L; 2] {
        self.0
    }

    #[inline(always)]
    unsafe fn four_steps<const B: usize>(
        states: &mut [Self; B],
        tables: [&DecodeTables; B],
        words: &mut [*const u8; B],
    ) -> [L; B] {
        // SAFETY: the caller's promise. Each step takes at most STEP_WORD_BYTES, so that as many are
        // left of the window for each of the four.
        unsafe {
            let mut symbols = [L::from_array(&[0; LANES]); B];
            step_each::<L, S, B, 0>(states, tables, 0, words, &mut symbols);
            step_each::<L, S, B, 1>(states, tables, S - 1, words, &mut symbols);
            step_each::<L, S, B, 2>(states, tables, 0, words, &mut symbols);
            step_each::<L, S, B, 3>(states, tables, S - 1, words, &mut symbols);
            symbols
        }
    }

    #[inline(always)]
    unsafe fn last_steps<const B: usize>(
        states: &mut [Self; B],
        tables: [&DecodeTables; B],
        words: &mut [*const u8; B],
    ) -> [L; B] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut symbols = [L::from_array(&[0; LANES]); B];
            if S == 1 {
                step_each::<L, S, B, 0>(states, tables, 0, words, &mut symbols);
                step_each::<L, S, B, 1>(states, tables, 0, words, &mut symbols);
            }
            for (symbols, states) in symbols.iter_mut().zip(states) {
                *symbols = add_carried::<L, S>(*symbols, states.0);
            }
            symbols
        }
    }
}

impl<L: Lanes> StreamStates<L> for Pipelined<L> {
    const LONG: bool = L::LONG_STEPS;

    #[inline(always)]
    unsafe fn new(states: [L; 2], tables: &DecodeTables) -> Self {
        // SAFETY: the caller's promise.
        Self { states, entries: unsafe { states[0].look_up(tables.table.entries()) } }
    }

    #[inline(always)]
    unsafe fn into_lanes(self) -> [L; 2] {
        self.states
    }

    #[inline(always)]
    unsafe fn four_steps<const B: usize>(
        states: &mut [Self; B],
        tables: [&DecodeTables; B],
        words: &mut [*const u8; B],
    ) -> [L; B] {
        // SAFETY: the caller's promise. Each step takes at most STEP_WORD_BYTES, so that as many are
        // left of the window for each of the four.
        unsafe {
            let mut symbols = [L::from_array(&[0; LANES]); B];
            for b in 0..B {
                let table = tables[b].table.entries();
                let Self { states: [first, second], entries: of_first } = &mut states[b];
                let (words, symbols) = (&mut words[b], &mut symbols[b]);
                let of_second =
                    step_beside::<L, 0>(first, *of_first, words, symbols, (*second, table));
                *of_first = step_beside::<L, 1>(second, of_second, words, symbols, (*first, table));
                let of_second =
                    step_beside::<L, 2>(first, *of_first, words, symbols, (*second, table));
                *of_first = step_beside::<L, 3>(second, of_second, words, symbols, (*first, table));
            }
            symbols
        }
    }

    #[inline(always)]
    unsafe fn last_steps<const B: usize>(
        states: &mut [Self; B],
        _tables: [&DecodeTables; B],
        _words: &mut [*const u8; B],
    ) -> [L; B] {
        // SAFETY: the caller's promise. All four symbols of the quarter are carried.
        states
            .each_ref()
            .map(|states| unsafe { add_carried::<L, 2>(L::from_array(&[0; LANES]), states.states) })
    }
}

/// [`Lanes::step_beside`], which moves `words` on by what it takes and returns the entries of `others`.
///
/// # Safety
///
/// [`STEP_WORD_BYTES`] can be read at `words`; see also [`Stream::new`].
#[inline(always)]
unsafe fn step_beside<L: Lanes, const AT: u32>(
    states: &mut L,
    entries: L,
    words: &mut *const u8,
    symbols: &mut L,
    others: (L, &[TableEntry; TABLE_SIZE]),
) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        let (taken, of_others) = states.step_beside::<AT>(entries, *words, symbols, others);
        *words = words.add(taken);
        of_others
    }
}

/// The symbols of a last quarter's steps, and above them those that the `S` states of each lane carry.
///
/// # Safety
///
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn add_carried<L: Lanes, const S: usize>(symbols: L, states: [L; 2]) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        // As numbers: states whose address another function is given have to be in memory all the time.
        let mut symbols = symbols.to_array();
        add_carried_to::<S>(&mut symbols, &states.map(|states| states.to_array()));
        L::from_array(&symbols)
    }
}

#[inline(never)]
fn add_carried_to<const S: usize>(symbols: &mut [u32; LANES], states: &[[u32; LANES]; 2]) {
    for (lane, symbols) in symbols.iter_mut().enumerate() {
        for (number, states) in states[..S].iter().enumerate() {
            for (byte, symbol) in carried_by(states[lane]).to_le_bytes().into_iter().enumerate() {
                let place = QUARTER_STEPS - 2 * S + carried_step(S, number, byte);
                *symbols |= u32::from(symbol) << (8 * place);
            }
        }
    }
}

/// A step of each stream with its state `number`.
///
/// # Safety
///
/// [`STEP_WORD_BYTES`] can be read at each of `words`; see also [`Stream::new`].
#[inline(always)]
unsafe fn step_each<L: Lanes, const S: usize, const B: usize, const AT: u32>(
    states: &mut [InTurn<L, S>; B],
    tables: [&DecodeTables; B],
    number: usize,
    words: &mut [*const u8; B],
    symbols: &mut [L; B],
) {
    for b in 0..B {
        let states = &mut states[b].0[number];
        // SAFETY: the caller's promise.
        unsafe {
            let entries = states.look_up(tables[b].table.entries());
            words[b] = words[b].add(states.step::<AT>(entries, words[b], &mut symbols[b]));
        }
    }
    keep_in_turn();
}

/// Left alone, the compiler puts all steps of one stream before those of the next, so far apart
/// that the processor waits for each. It moves none past this.
#[inline(always)]
pub(super) fn keep_in_turn() {
    compiler_fence(Ordering::SeqCst);
}
