//! The reference decoder: the 32 lanes one after the other, every read checked.

use core::fmt;
use core::ops::Range;

use super::StreamShape;
use super::step::{advance, carried_by, is_first_state, needs_word, slot, take_word};
use super::table::DecodeTable;
use crate::constants::{LANE_RUN_BYTES, LANES, STATE_LOWER_BOUND};

/// What is wrong with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamError {
    /// A lane needed a word after the last one.
    WordsExhausted {
        /// Words of the stream.
        words: usize,
    },
    /// The last step left words over.
    WordsLeftOver {
        /// Words of the stream.
        words: usize,
        /// Words that the steps took.
        taken: usize,
    },
    /// A lane did not end in a state in which an encoder begins.
    FinalState {
        /// The lane, counted over all states: `state * 32 + lane`.
        lane: usize,
        /// The state that it ended in.
        state: u32,
    },
    /// An initial state lies below the lower bound, which no encoder writes.
    InitialState {
        /// The lane, counted over all states: `state * 32 + lane`.
        lane: usize,
        /// The state as read.
        state: u32,
    },
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WordsExhausted { words } => {
                write!(f, "the stream's {words} words end before its symbols do")
            }
            Self::WordsLeftOver { words, taken } => {
                write!(f, "the symbols take {taken} of the stream's {words} words")
            }
            Self::FinalState { lane, state } => {
                write!(f, "lane {lane} ends in state {state:#x}, in which no encoder begins")
            }
            Self::InitialState { lane, state } => {
                write!(f, "lane {lane} begins in state {state:#x}, below {STATE_LOWER_BOUND:#x}")
            }
        }
    }
}

impl core::error::Error for StreamError {}

/// Decodes a stream of `shape` into `out`, one byte per symbol.
///
/// `states` holds the initial states and `words` the words, both as little-endian bytes;
/// `states` has `shape.state_bytes()` bytes and `out` has `shape.symbols`. `carried` receives the
/// bytes that the encoder's first states carry, and is empty or has `shape.carried_bytes()`; symbols
/// that they carry go to `out`.
/// Other lengths panic. After an error the contents of `out` and `carried` are unspecified.
pub fn decode_stream(
    shape: StreamShape,
    table: &DecodeTable,
    states: &[u8],
    words: &[u8],
    out: &mut [u8],
    carried: &mut [u8],
) -> Result<(), StreamError> {
    assert_eq!(states.len(), shape.state_bytes(), "initial states of another shape");
    assert_eq!(out.len(), shape.symbols, "output of another shape");
    assert!(carried.is_empty() || carried.len() == shape.carried_bytes(), "carried bytes");
    match shape.states_per_lane {
        1 => Lanes::<1>::read(states)?.decode(shape, table, words, out, carried),
        2 => Lanes::<2>::read(states)?.decode(shape, table, words, out, carried),
        other => panic!("{other} states per lane; a stream has 1 or 2"),
    }
}

/// The states of all lanes, `S` per lane.
pub(super) struct Lanes<const S: usize>(pub(super) [[u32; LANES]; S]);

impl<const S: usize> Lanes<S> {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, StreamError> {
        let mut states = [[0; LANES]; S];
        for (lane, (state, bytes)) in
            states.as_flattened_mut().iter_mut().zip(bytes.as_chunks::<4>().0).enumerate()
        {
            *state = u32::from_le_bytes(*bytes);
            if needs_word(*state) {
                return Err(StreamError::InitialState { lane, state: *state });
            }
        }
        Ok(Self(states))
    }

    fn decode(
        mut self,
        shape: StreamShape,
        table: &DecodeTable,
        words: &[u8],
        out: &mut [u8],
        carried: &mut [u8],
    ) -> Result<(), StreamError> {
        let mut words = Words { words: words.as_chunks::<2>().0, taken: 0 };
        let run = shape.symbols_per_run;
        let mut padded = [0; LANES * LANE_RUN_BYTES];
        for group in 0..shape.groups() {
            let start = group * shape.group_symbols();
            let last = group + 1 == shape.groups();
            let steps =
                group * run..(group + 1) * run - if last { shape.carried_steps() } else { 0 };
            match out.get_mut(start..start + shape.group_symbols()) {
                Some(whole) => self.decode_group(run, steps, table, &mut words, whole)?,
                None => {
                    let padded = &mut padded[..shape.group_symbols()];
                    self.decode_group(run, steps, table, &mut words, padded)?;
                    let rest = &mut out[start..];
                    rest.copy_from_slice(&padded[..rest.len()]);
                }
            }
        }
        if shape.carries_symbols {
            for (number, states) in self.0.iter().enumerate() {
                for (lane, &state) in states.iter().enumerate() {
                    for (byte, symbol) in carried_by(state).to_le_bytes().into_iter().enumerate() {
                        out[shape.carried_symbol(number, lane, byte)] = symbol;
                    }
                }
            }
        }
        self.finish(shape, &words, carried)
    }

    /// One group, or its first steps: those with the numbers `steps`, of runs of `run`.
    #[inline(always)]
    fn decode_group(
        &mut self,
        run: usize,
        steps: Range<usize>,
        table: &DecodeTable,
        words: &mut Words<'_>,
        out: &mut [u8],
    ) -> Result<(), StreamError> {
        for (step, number) in steps.enumerate() {
            let states = &mut self.0[number % S];
            for (state, run) in states.iter_mut().zip(out.chunks_exact_mut(run)) {
                let entry = table.entry(slot(*state));
                run[step] = entry.symbol();
                *state = advance(*state, entry);
                if needs_word(*state) {
                    *state = take_word(*state, words.next()?);
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(
        &self,
        shape: StreamShape,
        words: &Words<'_>,
        carried: &mut [u8],
    ) -> Result<(), StreamError> {
        if words.taken != words.words.len() {
            return Err(StreamError::WordsLeftOver {
                words: words.words.len(),
                taken: words.taken,
            });
        }
        let states = self.0.as_flattened();
        let carries = shape.carries_symbols || !carried.is_empty();
        let wrong = |&state: &u32| !is_first_state(state, carries);
        if let Some(lane) = states.iter().position(wrong) {
            return Err(StreamError::FinalState { lane, state: states[lane] });
        }
        for (bytes, &state) in carried.as_chunks_mut::<2>().0.iter_mut().zip(states) {
            *bytes = carried_by(state).to_le_bytes();
        }
        Ok(())
    }
}

/// The words of a stream, and how many have been taken.
pub(super) struct Words<'a> {
    pub(super) words: &'a [[u8; 2]],
    pub(super) taken: usize,
}

impl Words<'_> {
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<u16, StreamError> {
        let word = self
            .words
            .get(self.taken)
            .ok_or(StreamError::WordsExhausted { words: self.words.len() })?;
        self.taken += 1;
        Ok(u16::from_le_bytes(*word))
    }
}
