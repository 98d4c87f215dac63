//! One stream, decoded unit by unit.

use super::lanes::{Lanes, STEP_WORD_BYTES, all_of_mut};
use super::prefetch::{self, ELEMENTS_AHEAD};
use super::states::{InTurn, QUARTER_STEPS, StreamStates};
use crate::block::DecodeTables;
use crate::constants::{LANE_RUN_BYTES, LANES};
use crate::rans::{StreamShape, advance, carried_by, is_first_state, needs_word, slot, take_word};

/// Symbols of a run that are elements of one byte.
const BYTES_RUN: usize = LANE_RUN_BYTES;
/// Symbols of a run that are pairs of such elements' nibbles.
const NIBBLES_RUN: usize = BYTES_RUN / 2;
/// The most symbols of a group.
pub(super) const MAX_GROUP_SYMBOLS: usize = BYTES_RUN * LANES;
/// Bytes of words that a unit takes at most, if it is a group of so many.
const MAX_UNIT_WORD_BYTES: usize = BYTES_RUN * STEP_WORD_BYTES;

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

/// [`decode`] for runs of 16 symbols, which are elements themselves. Streams whose states carry symbols are
/// decoded as a whole.
///
/// # Safety
///
/// See [`Stream::new`].
#[inline(always)]
pub(super) unsafe fn decode_bytes<L: Lanes, const B: usize>(
    streams: [&mut Stream<'_, L>; B],
    outs: [&mut [u8]; B],
) {
    assert_eq!(streams[0].run, BYTES_RUN, "symbols that are not elements");
    // SAFETY: the caller's promise.
    unsafe {
        match streams[0].states_per_lane {
            1 => decode_runs_of_bytes::<L, InTurn<L, 1>, B>(streams, outs),
            _ => decode_runs_of_bytes::<L, L::TwoStates, B>(streams, outs),
        }
    }
}

/// [`decode`] for runs of `RUN` symbols and states of the form `T`.
#[inline(always)]
unsafe fn decode_runs<L: Lanes, T: StreamStates<L>, const B: usize, const RUN: usize>(
    mut streams: [&mut Stream<'_, L>; B],
    mut outs: [&mut [u8]; B],
    mut each_unit: impl FnMut(usize, usize, &mut [u8]),
) {
    // SAFETY: the caller's promise.
    unsafe {
        L::apart(
            #[inline(always)]
            || {
                let (streams, outs) = (&mut streams, &mut outs);
                let mut done =
                    decode_units::<L, T, B, RUN, false>(streams, outs, 0, &mut each_unit);
                if done < outs[0].len() {
                    done = decode_units::<L, T, B, RUN, true>(streams, outs, done, &mut each_unit);
                }
                if done < outs[0].len() {
                    for (stream, out) in streams.iter_mut().zip(outs) {
                        stream.decode_two_steps(&mut out[done..]);
                    }
                }
            },
        );
    }
}

/// [`decode_bytes`] for states of the form `T`.
#[inline(always)]
unsafe fn decode_runs_of_bytes<L: Lanes, T: StreamStates<L>, const B: usize>(
    mut streams: [&mut Stream<'_, L>; B],
    mut outs: [&mut [u8]; B],
) {
    // Outside of what is compiled apart, which keeps its loops' registers free.
    streams.iter().for_each(|stream| L::fetch(stream.tables));
    // SAFETY: the caller's promise.
    unsafe {
        L::apart(
            #[inline(always)]
            || {
                let (streams, outs) = (&mut streams, &mut outs);
                let done = decode_groups_of_bytes::<L, T, B, false>(streams, outs, 0);
                if done < outs[0].len() {
                    decode_groups_of_bytes::<L, T, B, true>(streams, outs, done);
                }
            },
        );
    }
}

/// Units of [`decode_runs`] from symbol `begin` on, as long as there are as many words as each may take, or
/// with `ENDS` all that are left. Returns the number of the symbol after them.
#[inline(always)]
unsafe fn decode_units<
    L: Lanes,
    T: StreamStates<L>,
    const B: usize,
    const RUN: usize,
    const ENDS: bool,
>(
    streams: &mut [&mut Stream<'_, L>; B],
    outs: &mut [&mut [u8]; B],
    begin: usize,
    each_unit: &mut impl FnMut(usize, usize, &mut [u8]),
) -> usize {
    let steps = RUN.max(QUARTER_STEPS);
    let unit = LANES * steps;
    // SAFETY: the caller's promise.
    let mut front = unsafe { Front::<T, B>::of(streams) };
    let mut padded = [Padded::NEW; B];
    let mut start = begin;
    while start + unit <= outs[0].len()
        && let Some(mut words) = front.words::<ENDS>(steps, &mut padded)
    {
        // SAFETY: the caller's promise; there are as many words as these steps take at most.
        unsafe {
            let (first, second);
            if T::LONG && RUN > 4 {
                let mut quarters = [[L::from_array(&[0; LANES]); B]; 2];
                for quarter in &mut quarters {
                    *quarter = front.quarter::<L>(&mut words, false);
                }
                [first, second] = quarters;
            } else {
                first = front.quarter::<L>(&mut words, false);
                second = if RUN > 4 { front.quarter::<L>(&mut words, false) } else { first };
            }
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
        front.count(&words);
        start += unit;
    }
    // SAFETY: the caller's promise.
    unsafe { front.leave(streams) };
    start
}

/// The same of [`decode_runs_of_bytes`].
#[inline(always)]
unsafe fn decode_groups_of_bytes<L: Lanes, T: StreamStates<L>, const B: usize, const ENDS: bool>(
    streams: &mut [&mut Stream<'_, L>; B],
    outs: &mut [&mut [u8]; B],
    begin: usize,
) -> usize {
    const UNIT: usize = LANES * BYTES_RUN;
    // SAFETY: the caller's promise.
    let mut front = unsafe { Front::<T, B>::of(streams) };
    let mut padded = [Padded::NEW; B];
    let carries = streams[0].carries_symbols;
    // The last group, if states carry of it, is one of the ends.
    let end = if carries && !ENDS { outs[0].len().saturating_sub(UNIT) } else { outs[0].len() };
    let mut start = begin;
    while start < end
        && let Some(mut words) = front.words::<ENDS>(BYTES_RUN, &mut padded)
    {
        // A loop of fewer instructions gains nothing by it.
        if T::LONG {
            for out in &*outs {
                let ahead = start + ELEMENTS_AHEAD..start + ELEMENTS_AHEAD + UNIT;
                prefetch::for_writing(out.get(ahead).unwrap_or_default());
            }
        }
        // SAFETY: the caller's promise; there are as many words as these steps take at most.
        unsafe {
            let mut quarters = [[L::from_array(&[0; LANES]); 4]; B];
            if T::LONG || ENDS {
                for number in 0..4 {
                    let carried = ENDS && carries && number == 3 && start + UNIT == end;
                    let symbols = front.quarter::<L>(&mut words, carried);
                    for (quarters, symbols) in quarters.iter_mut().zip(symbols) {
                        quarters[number] = symbols;
                    }
                }
            } else {
                let first = front.quarter::<L>(&mut words, false);
                let second = front.quarter::<L>(&mut words, false);
                let third = front.quarter::<L>(&mut words, false);
                let fourth = front.quarter::<L>(&mut words, false);
                for (b, quarters) in quarters.iter_mut().enumerate() {
                    *quarters = [first[b], second[b], third[b], fourth[b]];
                }
            }
            for (b, out) in outs.iter_mut().enumerate() {
                L::store_runs_of_16(quarters[b], all_of_mut(&mut out[start..start + UNIT]));
            }
        }
        front.count(&words);
        start += UNIT;
    }
    // SAFETY: the caller's promise.
    unsafe { front.leave(streams) };
    start
}

/// How far streams have been decoded, in copies, so that they stay in registers.
struct Front<'a, T, const B: usize> {
    tables: [&'a DecodeTables; B],
    words: [&'a [u8]; B],
    states: [T; B],
    /// See [`Position::taken`].
    taken: [usize; B],
}

impl<'a, T, const B: usize> Front<'a, T, B> {
    /// # Safety
    ///
    /// See [`Stream::new`].
    #[inline(always)]
    unsafe fn of<L: Lanes>(streams: &[&mut Stream<'a, L>; B]) -> Self
    where
        T: StreamStates<L>,
    {
        // SAFETY: the caller's promise.
        let states =
            |stream: &&mut Stream<'a, L>| unsafe { T::new(stream.at.states, stream.tables) };
        Self {
            tables: streams.each_ref().map(|stream| stream.tables),
            words: streams.each_ref().map(|stream| stream.words),
            states: streams.each_ref().map(states),
            taken: streams.each_ref().map(|stream| stream.at.taken),
        }
    }

    /// The next words of each stream, as many as so many steps may take: nothing where a stream has fewer, or
    /// with `ENDS` zeros in the place of those that it does not have.
    #[inline(always)]
    fn words<const ENDS: bool>(&self, steps: usize, padded: &mut [Padded; B]) -> Option<Words<B>> {
        let bytes = steps * STEP_WORD_BYTES;
        let mut begins = [core::ptr::null(); B];
        for (b, begin) in begins.iter_mut().enumerate() {
            let rest = self.words[b].get(self.taken[b]..).unwrap_or_default();
            *begin = match rest.len() >= bytes {
                true => rest.as_ptr(),
                false if ENDS => padded[b].fill(rest, bytes).as_ptr(),
                false => return None,
            };
        }
        Some(Words { begins, next: begins })
    }

    /// Adds what has been taken.
    #[inline(always)]
    fn count(&mut self, words: &Words<B>) {
        for (b, taken) in self.taken.iter_mut().enumerate() {
            *taken += words.next[b].addr() - words.begins[b].addr();
        }
    }

    /// [`StreamStates::four_steps`], or where `carried` [`StreamStates::last_steps`].
    ///
    /// # Safety
    ///
    /// As for these; see also [`Stream::new`].
    #[inline(always)]
    unsafe fn quarter<L: Lanes>(&mut self, words: &mut Words<B>, carried: bool) -> [L; B]
    where
        T: StreamStates<L>,
    {
        // SAFETY: the caller's promise.
        unsafe {
            match carried {
                false => T::four_steps(&mut self.states, self.tables, &mut words.next),
                true => T::last_steps(&mut self.states, self.tables, &mut words.next),
            }
        }
    }

    /// Says how far the streams have been decoded now.
    ///
    /// # Safety
    ///
    /// See [`Stream::new`].
    #[inline(always)]
    unsafe fn leave<L: Lanes>(self, streams: &mut [&mut Stream<'a, L>; B])
    where
        T: StreamStates<L>,
    {
        for (b, stream) in streams.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let states = unsafe { self.states[b].into_lanes() };
            stream.at = Position { states, taken: self.taken[b] };
        }
    }
}

/// Words that can be read, of each of several streams.
struct Words<const B: usize> {
    begins: [*const u8; B],
    /// The first that have not been taken.
    next: [*const u8; B],
}

/// The last words of a stream, and zeros.
struct Padded([u8; MAX_UNIT_WORD_BYTES]);

impl Padded {
    const NEW: Self = Self([0; MAX_UNIT_WORD_BYTES]);

    /// `rest` and zeros, `bytes` in all.
    #[cold]
    fn fill(&mut self, rest: &[u8], bytes: usize) -> &[u8] {
        let (words, zeros) = self.0[..bytes].split_at_mut(rest.len());
        words.copy_from_slice(rest);
        zeros.fill(0);
        &self.0[..bytes]
    }
}
