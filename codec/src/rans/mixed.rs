//! Streams whose symbols take turns with several tables: the reference loops.
//!
//! Which table a symbol is coded with is known before the symbol is: it follows from where its
//! element lies in the tensor. A *head* symbol may announce a *tail byte*, eight bits that the same
//! lane takes out of the same state right after, each value as likely as any other.

use super::StreamShape;
use super::decode::{Lanes, StreamError, Words};
use super::encode::{EncodeTable, EncodedStream, first_states};
use super::step::{advance, byte_of, drop_byte, needs_word, put_byte, slot, take_word};
use super::table::DecodeTable;
use crate::constants::{ESCAPED_HEAD, LANES};

/// The tables of a mixed stream, and which of them each symbol takes.
pub struct MixedTables<'a, T> {
    /// At most 256 tables.
    pub tables: &'a [T],
    /// The position in `tables` of each symbol's.
    pub choice: &'a [u8],
}

// Derived, they would ask the same of the tables.
impl<T> Clone for MixedTables<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for MixedTables<'_, T> {}

impl<'a, T> MixedTables<'a, T> {
    /// The table of a symbol; that of the first where there is no such symbol.
    #[inline(always)]
    fn of(&self, symbol: usize) -> &'a T {
        &self.tables[usize::from(self.choice.get(symbol).copied().unwrap_or(0))]
    }
}

/// Whether a head symbol is followed by a tail byte.
#[inline(always)]
pub const fn is_escaped_head(symbol: u8) -> bool {
    symbol >= ESCAPED_HEAD
}

/// Decodes a stream of `shape` into `symbols`, one byte each.
///
/// With `tails` (as long as `symbols`), symbols are heads, and the tail byte of each that is
/// escaped is written there; other places stay as they are. Everything else is as for
/// [`super::decode_stream`].
pub fn decode_mixed_stream(
    shape: StreamShape,
    tables: MixedTables<'_, DecodeTable>,
    states: &[u8],
    words: &[u8],
    symbols: &mut [u8],
    tails: Option<&mut [u8]>,
    carried: &mut [u8],
) -> Result<(), StreamError> {
    assert!(!shape.carries_symbols, "symbols of several tables are not carried");
    assert_eq!(states.len(), shape.state_bytes(), "initial states of another shape");
    assert_eq!(symbols.len(), shape.symbols, "output of another shape");
    assert!(carried.is_empty() || carried.len() == shape.carried_bytes(), "carried bytes");
    match shape.states_per_lane {
        1 => Lanes::<1>::read(states)?.decode_mixed(shape, tables, words, symbols, tails, carried),
        2 => Lanes::<2>::read(states)?.decode_mixed(shape, tables, words, symbols, tails, carried),
        other => panic!("{other} states per lane; a stream has 1 or 2"),
    }
}

impl<const S: usize> Lanes<S> {
    fn decode_mixed(
        mut self,
        shape: StreamShape,
        tables: MixedTables<'_, DecodeTable>,
        words: &[u8],
        symbols: &mut [u8],
        mut tails: Option<&mut [u8]>,
        carried: &mut [u8],
    ) -> Result<(), StreamError> {
        let mut words = Words { words: words.as_chunks::<2>().0, taken: 0 };
        let run = shape.symbols_per_run;
        for step in 0..shape.steps() {
            let first = step / run * shape.group_symbols() + step % run;
            let states = &mut self.0[step % S];
            let mut escaped = 0u32;
            for (lane, state) in states.iter_mut().enumerate() {
                let number = first + lane * run;
                let entry = tables.of(number).entry(slot(*state));
                *state = words.refill(advance(*state, entry))?;
                // What pads the last group has no tail bytes.
                let Some(symbol) = symbols.get_mut(number) else { continue };
                *symbol = entry.symbol();
                escaped |= u32::from(tails.is_some() && is_escaped_head(entry.symbol())) << lane;
            }
            let Some(tails) = &mut tails else { continue };
            for lane in (0..LANES).filter(|lane| escaped >> lane & 1 == 1) {
                let state = &mut states[lane];
                let tail = byte_of(*state);
                *state = words.refill(drop_byte(*state))?;
                tails[first + lane * run] = tail;
            }
        }
        self.finish(shape, &words, carried)
    }
}

impl Words<'_> {
    #[inline(always)]
    fn refill(&mut self, state: u32) -> Result<u32, StreamError> {
        if needs_word(state) { Ok(take_word(state, self.next()?)) } else { Ok(state) }
    }
}

/// The most words that a mixed stream of `shape` can have: with tail bytes, two per symbol.
pub const fn max_mixed_words(shape: StreamShape, with_tails: bool) -> usize {
    super::max_words(shape) * if with_tails { 2 } else { 1 }
}

/// Encodes `symbols`, each with a slot in its table, and with `tails` the tail bytes of escaped
/// heads. The padding of the last group is the cheapest symbol of the first table.
///
/// `buffer` has room for [`max_mixed_words`]. Everything else is as for [`super::encode_stream`].
pub fn encode_mixed_stream<'a>(
    shape: StreamShape,
    tables: MixedTables<'_, EncodeTable>,
    symbols: &[u8],
    tails: Option<&[u8]>,
    carried: &[u8],
    buffer: &'a mut [u16],
) -> EncodedStream<'a> {
    assert!(!shape.carries_symbols, "symbols of several tables are not carried");
    assert!(buffer.len() >= max_mixed_words(shape, tails.is_some()), "word buffer too small");
    let mut states = first_states(shape, symbols, carried, buffer);
    let mut at = buffer.len();
    let mut give_word = |state: u32| {
        at -= 1;
        buffer[at] = (state as u16).to_le();
        state >> u16::BITS
    };
    let run = shape.symbols_per_run;
    for step in (0..shape.steps()).rev() {
        let first = step / run * shape.group_symbols() + step % run;
        let states = &mut states[step % shape.states_per_lane];
        for (lane, state) in states.iter_mut().enumerate().rev() {
            let number = first + lane * run;
            let escaped = symbols.get(number).is_some_and(|&symbol| is_escaped_head(symbol));
            if let (Some(tails), true) = (tails, escaped) {
                if *state >> 24 != 0 {
                    *state = give_word(*state);
                }
                *state = put_byte(*state, tails[number]);
            }
        }
        for (lane, state) in states.iter_mut().enumerate().rev() {
            let number = first + lane * run;
            let table = tables.of(number);
            let symbol = symbols.get(number).copied().unwrap_or(table.padding());
            let symbol = table.symbols()[usize::from(symbol)];
            assert!(symbol.frequency() > 0, "a symbol without a slot in its table");
            if symbol.gives_word(*state) {
                *state = give_word(*state);
            }
            *state = symbol.put(*state);
        }
    }
    EncodedStream { states, words: &buffer[at..] }
}
