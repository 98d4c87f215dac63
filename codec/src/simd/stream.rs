//! One stream, decoded unit by unit.

use core::mem::MaybeUninit;
use core::sync::atomic::{Ordering, compiler_fence};

use super::lanes::{Lanes, STEP_WORD_BYTES, all_of_mut};
use crate::block::DecodeTables;
use crate::constants::{LANE_RUN_BYTES, LANES, TABLE_SIZE};
use crate::rans::{
    StreamShape, TableEntry, advance, carried_by, carried_step, is_first_state, needs_word, slot,
    take_word,
};

/// Steps whose symbols share a 32-bit number in each lane.
pub(super) const QUARTER_STEPS: usize = 4;
/// Bytes of words that four steps take at most.
const WINDOW: usize = QUARTER_STEPS * STEP_WORD_BYTES;
/// Symbols of a run that are elements of one byte.
const BYTES_RUN: usize = LANE_RUN_BYTES;
/// Symbols of a run that are pairs of such elements' nibbles.
const NIBBLES_RUN: usize = BYTES_RUN / 2;
/// The most symbols of a group.
pub(super) const MAX_GROUP_SYMBOLS: usize = BYTES_RUN * LANES;

/// The states of a stream, in the form that steps take.
///
/// # Safety
///
/// All functions may be called only on a processor that has the instructions of `L`.
pub(super) trait StreamStates<L>: Copy {
    /// Whether [`StreamStates::four_steps`] can look rotated elements up as they are to be in the output.
    const TURNS: bool = false;

    /// `states` in this form, for streams with these `tables`; of use is the first for one state per lane,
    /// and both for two.
    unsafe fn new(states: [L; 2], tables: &DecodeTables) -> Self;

    /// What [`StreamStates::new`] was given, as it is by now.
    unsafe fn into_lanes(self) -> [L; 2];

    /// Four steps of each stream: their symbols, the first step's in the lowest byte of each lane, and
    /// rotated right by one bit with `TURNED`, which [`StreamStates::TURNS`] allows. Moves `words` on by what
    /// was taken.
    ///
    /// # Safety
    ///
    /// [`WINDOW`] bytes can be read at each of `words`.
    unsafe fn four_steps<const B: usize, const TURNED: bool>(
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

/// A stream that is being decoded.
pub(super) struct Stream<'a, L> {
    run: usize,
    states_per_lane: usize,
    carries_symbols: bool,
    tables: &'a DecodeTables,
    words: &'a [u8],
    at: Position<L>,
}

/// How far a stream has been decoded.
#[derive(Clone, Copy)]
struct Position<L> {
    states: [L; 2],
    /// Bytes of words taken; more than there are when the stream is corrupt.
    taken: usize,
}

impl<'a, L: Lanes> Stream<'a, L> {
    /// Starts with the initial states `states`, `shape.state_bytes()` of them as bytes; `None`
    /// when one of them lies below the lower bound.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `L`.
    #[inline(always)]
    pub(super) unsafe fn new(
        shape: StreamShape,
        tables: &'a DecodeTables,
        states: &[u8],
        words: &'a [u8],
    ) -> Option<Self> {
        let mut lanes = [[0; LANES]; 2];
        for (state, bytes) in lanes.as_flattened_mut().iter_mut().zip(states.as_chunks().0) {
            *state = u32::from_le_bytes(*bytes);
            if needs_word(*state) {
                return None;
            }
        }
        // SAFETY: the caller's promise.
        let states = lanes.map(|lanes| unsafe { L::from_array(&lanes) });
        let StreamShape { symbols_per_run: run, states_per_lane, carries_symbols, .. } = shape;
        let at = Position { states, taken: 0 };
        Some(Self { run, states_per_lane, carries_symbols, tables, words, at })
    }

    /// Symbols of one group.
    #[inline(always)]
    pub(super) fn group_symbols(&self) -> usize {
        LANES * self.run
    }

    /// A stream's last group of runs of two, where its number is odd: half a quarter.
    #[inline(never)]
    unsafe fn decode_two_steps(&mut self, out: &mut [u8]) {
        // SAFETY: the caller's promise.
        let mut states = self.at.states.map(|states| unsafe { states.to_array() });
        for step in 0..2 {
            for (state, run) in
                states[step % self.states_per_lane].iter_mut().zip(out.as_chunks_mut::<2>().0)
            {
                let entry = self.tables.table.entry(slot(*state));
                run[step] = entry.symbol();
                *state = advance(*state, entry);
                if needs_word(*state) {
                    let word = self.words.get(self.at.taken..).and_then(<[u8]>::first_chunk);
                    *state = take_word(*state, word.map_or(0, |word| u16::from_le_bytes(*word)));
                    self.at.taken += 2;
                }
            }
        }
        // SAFETY: the caller's promise.
        self.at.states = states.map(|states| unsafe { L::from_array(&states) });
    }

    /// Whether all words were taken and all states are ones in which an encoder begins; what they
    /// carry goes to `carried`, which is empty or has two bytes for each state.
    ///
    /// # Safety
    ///
    /// See [`Stream::new`].
    pub(super) unsafe fn finish(&self, carried: &mut [u8]) -> bool {
        // SAFETY: the caller's promise.
        let states = self.at.states.map(|states| unsafe { states.to_array() });
        let states = &states.as_flattened()[..self.states_per_lane * LANES];
        for (bytes, &state) in carried.as_chunks_mut().0.iter_mut().zip(states) {
            *bytes = carried_by(state).to_le_bytes();
        }
        let carries = self.carries_symbols || !carried.is_empty();
        self.at.taken == self.words.len()
            && states.iter().all(|&state| is_first_state(state, carries))
    }
}

/// Decodes the next groups of `B` streams of the same shape, step by step in turn: a step waits for
/// the one before of its stream, and meanwhile the processor works on the others.
///
/// Each of `outs` has room for the same whole number of groups. Calls `each_unit` for each stream whenever
/// a unit of its symbols is in the output: with the number of the stream, that of the unit's first symbol in
/// the output, and the unit. What it does overlaps with the steps that follow.
///
/// # Safety
///
/// See [`Stream::new`].
#[inline(always)]
pub(super) unsafe fn decode<L: Lanes, const B: usize>(
    streams: [&mut Stream<'_, L>; B],
    outs: [&mut [u8]; B],
    each_unit: impl FnMut(usize, usize, &mut [u8]),
) {
    // SAFETY: the caller's promise.
    unsafe {
        match (streams[0].run, streams[0].states_per_lane) {
            (2, 1) => decode_runs::<L, InTurn<L, 1>, B, 2>(streams, outs, each_unit),
            (2, _) => decode_runs::<L, L::TwoStates, B, 2>(streams, outs, each_unit),
            (4, 1) => decode_runs::<L, InTurn<L, 1>, B, 4>(streams, outs, each_unit),
            (4, _) => decode_runs::<L, L::TwoStates, B, 4>(streams, outs, each_unit),
            (8, 1) => decode_runs::<L, InTurn<L, 1>, B, 8>(streams, outs, each_unit),
            (8, _) => decode_runs::<L, L::TwoStates, B, 8>(streams, outs, each_unit),
            _ => unreachable!("runs of 16 symbols are for `decode_bytes`"),
        }
    }
}

/// [`decode`] for runs of eight symbols, whose units are groups.
///
/// # Safety
///
/// See [`Stream::new`].
#[inline(always)]
pub(super) unsafe fn decode_nibbles<L: Lanes, const B: usize>(
    streams: [&mut Stream<'_, L>; B],
    outs: [&mut [u8]; B],
    each_group: impl FnMut(usize, usize, &mut [u8]),
) {
    assert_eq!(streams[0].run, NIBBLES_RUN, "symbols that are not pairs of nibbles");
    // SAFETY: the caller's promise.
    unsafe {
        match streams[0].states_per_lane {
            1 => decode_runs::<L, InTurn<L, 1>, B, NIBBLES_RUN>(streams, outs, each_group),
            _ => decode_runs::<L, L::TwoStates, B, NIBBLES_RUN>(streams, outs, each_group),
        }
    }
}

/// [`decode`] for runs of 16 symbols, which are elements themselves: rotated back where `rotated`.
/// Streams whose states carry symbols are decoded as a whole.
///
/// # Safety
///
/// See [`Stream::new`].
#[inline(always)]
pub(super) unsafe fn decode_bytes<L: Lanes, const B: usize>(
    streams: [&mut Stream<'_, L>; B],
    outs: [&mut [u8]; B],
    rotated: bool,
) {
    assert_eq!(streams[0].run, BYTES_RUN, "symbols that are not elements");
    // SAFETY: the caller's promise.
    unsafe {
        match streams[0].states_per_lane {
            1 => decode_runs_of_bytes::<L, InTurn<L, 1>, B>(streams, outs, rotated),
            _ => decode_runs_of_bytes::<L, L::TwoStates, B>(streams, outs, rotated),
        }
    }
}

/// [`decode_bytes`] for states of the form `T`.
#[inline(always)]
unsafe fn decode_runs_of_bytes<L: Lanes, T: StreamStates<L>, const B: usize>(
    streams: [&mut Stream<'_, L>; B],
    outs: [&mut [u8]; B],
    rotated: bool,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if rotated && T::TURNS {
            decode_groups_of_bytes::<L, T, B, true>(streams, outs, rotated);
        } else {
            decode_groups_of_bytes::<L, T, B, false>(streams, outs, rotated);
        }
    }
}

/// [`decode_bytes`] for states of the form `T`, with symbols looked up rotated back where `TURNED`.
#[inline(always)]
unsafe fn decode_groups_of_bytes<
    L: Lanes,
    T: StreamStates<L>,
    const B: usize,
    const TURNED: bool,
>(
    mut streams: [&mut Stream<'_, L>; B],
    mut outs: [&mut [u8]; B],
    rotated: bool,
) {
    const UNIT: usize = LANES * BYTES_RUN;
    // SAFETY: the caller's promise.
    let mut states =
        streams.each_ref().map(|stream| unsafe { T::new(stream.at.states, stream.tables) });
    let mut taken = streams.each_ref().map(|stream| stream.at.taken);
    let mut padded = [const { MaybeUninit::uninit() }; B];
    let length = outs[0].len();
    for start in (0..length).step_by(UNIT) {
        let carried = streams[0].carries_symbols && start + UNIT == length;
        // SAFETY: the caller's promise.
        unsafe {
            let mut next = |carried| {
                let (states, taken, padded) = (&mut states, &mut taken, &mut padded);
                decode_quarter::<L, T, B, TURNED>(&streams, states, taken, padded, carried)
            };
            let (first, second, third) = (next(false), next(false), next(false));
            let fourth = next(carried);
            for (b, out) in outs.iter_mut().enumerate() {
                let mut quarters = [first[b], second[b], third[b], fourth[b]];
                if rotated && !TURNED {
                    for symbols in &mut quarters {
                        *symbols = symbols.unrotate();
                    }
                } else if rotated && carried {
                    // Those that states carry have not been looked up.
                    quarters[3] = quarters[3].unrotate();
                }
                L::store_runs_of_16(quarters, all_of_mut(&mut out[start..start + UNIT]));
            }
        }
    }
    for ((stream, states), taken) in streams.iter_mut().zip(states).zip(taken) {
        // SAFETY: the caller's promise.
        stream.at = Position { states: unsafe { states.into_lanes() }, taken };
    }
}

/// [`decode`] for runs of `RUN` symbols and states of the form `T`, calling `each_unit` for every unit.
#[inline(always)]
unsafe fn decode_runs<L: Lanes, T: StreamStates<L>, const B: usize, const RUN: usize>(
    mut streams: [&mut Stream<'_, L>; B],
    mut outs: [&mut [u8]; B],
    mut each_unit: impl FnMut(usize, usize, &mut [u8]),
) {
    let unit = LANES * RUN.max(QUARTER_STEPS);
    // Copies, so that states stay in registers.
    // SAFETY: the caller's promise.
    let mut states =
        streams.each_ref().map(|stream| unsafe { T::new(stream.at.states, stream.tables) });
    let mut taken = streams.each_ref().map(|stream| stream.at.taken);
    let mut padded = [const { MaybeUninit::uninit() }; B];
    for start in (0..outs[0].len() - outs[0].len() % unit).step_by(unit) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut next = || {
                let (states, taken, padded) = (&mut states, &mut taken, &mut padded);
                decode_quarter::<L, T, B, false>(&streams, states, taken, padded, false)
            };
            let first = next();
            let second = if RUN > 4 { next() } else { first };
            for (b, out) in outs.iter_mut().enumerate() {
                let out = &mut out[start..start + unit];
                match RUN {
                    2 => first[b].store_runs_of_2(all_of_mut(out)),
                    4 => first[b].store_runs_of_4(all_of_mut(out)),
                    _ => L::store_runs_of_8([first[b], second[b]], all_of_mut(out)),
                }
                each_unit(b, start, out);
            }
        }
    }
    for (((stream, states), taken), out) in streams.iter_mut().zip(states).zip(taken).zip(outs) {
        // SAFETY: the caller's promise.
        stream.at = Position { states: unsafe { states.into_lanes() }, taken };
        let rest = out.len() % unit;
        if RUN == 2 && rest > 0 {
            let start = out.len() - rest;
            // SAFETY: the caller's promise.
            unsafe { stream.decode_two_steps(&mut out[start..]) };
        }
    }
}

/// Four steps of each stream, or with `carried` what [`StreamStates::last_steps`] does.
#[inline(always)]
unsafe fn decode_quarter<L: Lanes, T: StreamStates<L>, const B: usize, const TURNED: bool>(
    streams: &[&mut Stream<'_, L>; B],
    states: &mut [T; B],
    taken: &mut [usize; B],
    padded: &mut [MaybeUninit<[u8; WINDOW]>; B],
    carried: bool,
) -> [L; B] {
    let windows: [*const u8; B] =
        core::array::from_fn(|b| streams[b].window(taken[b], &mut padded[b]).as_ptr());
    let mut words = windows;
    let tables = streams.each_ref().map(|stream| stream.tables);
    // SAFETY: the caller's promise; each window has as many bytes as four steps take at most, and
    // `words` stays in it.
    unsafe {
        let symbols = if carried {
            T::last_steps(states, tables, &mut words)
        } else {
            T::four_steps::<B, TURNED>(states, tables, &mut words)
        };
        for b in 0..B {
            taken[b] += words[b].offset_from_unsigned(windows[b]);
        }
        symbols
    }
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
    unsafe fn four_steps<const B: usize, const TURNED: bool>(
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
    unsafe fn four_steps<const B: usize, const TURNED: bool>(
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
#[inline(never)]
pub(super) unsafe fn add_carried<L: Lanes, const S: usize>(symbols: L, states: [L; 2]) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        let (mut symbols, states) = (symbols.to_array(), states.map(|states| states.to_array()));
        for (lane, symbols) in symbols.iter_mut().enumerate() {
            for (number, states) in states[..S].iter().enumerate() {
                for (byte, symbol) in carried_by(states[lane]).to_le_bytes().into_iter().enumerate()
                {
                    let place = QUARTER_STEPS - 2 * S + carried_step(S, number, byte);
                    *symbols |= u32::from(symbol) << (8 * place);
                }
            }
        }
        L::from_array(&symbols)
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

impl<L> Stream<'_, L> {
    /// The next words, followed by zeros where there are not enough.
    #[inline(always)]
    fn window<'s>(
        &'s self,
        taken: usize,
        padded: &'s mut MaybeUninit<[u8; WINDOW]>,
    ) -> &'s [u8; WINDOW] {
        let rest = self.words.get(taken..).unwrap_or_default();
        match rest.first_chunk() {
            Some(window) => window,
            None => pad(rest, padded),
        }
    }
}

#[cold]
fn pad<'a>(rest: &[u8], padded: &'a mut MaybeUninit<[u8; WINDOW]>) -> &'a [u8; WINDOW] {
    let padded = padded.write([0; WINDOW]);
    padded[..rest.len()].copy_from_slice(rest);
    padded
}
