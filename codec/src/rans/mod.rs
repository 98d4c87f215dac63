//! Range asymmetric numeral systems (rANS), after J. Duda, "Asymmetric numeral systems: entropy
//! coding combining speed of Huffman coding with compression rate of arithmetic coding" (2013),
//! interleaved over 32 lanes that share one sequence of 16-bit words.
//!
//! A *stream* is the initial states followed by the words. A *step* decodes one symbol in each of
//! the 32 lanes; with two states per lane, even steps use the first and odd steps the second. In
//! each step, the lanes whose state fell below the lower bound take one word each, in lane order.

mod decode;
mod encode;
mod mixed;
mod normalize;
mod ordinal;
mod step;
mod table;

pub use decode::{StreamError, decode_stream};
pub(crate) use encode::first_states;
pub use encode::{EncodeTable, EncodedStream, PackedSymbol, encode_stream, max_words};
pub use mixed::{
    MixedTables, decode_mixed_stream, encode_mixed_stream, is_escaped_head, max_mixed_words,
};
pub use normalize::{NormalizeError, normalize};
pub use ordinal::{BUCKET_BITS, OrdinalTable};
pub use step::{
    SLOT_SHIFT, STATE_FACTOR, advance, advance_parts, byte_of, carried_by, carried_step, drop_byte,
    first_state, is_first_state, needs_word, put_byte, slot, take_word,
};
pub use table::{DecodeTable, Frequencies, FrequencyError, TableEntry};

use crate::constants::LANES;

/// How the symbols of a stream are dealt to lanes and steps.
///
/// Symbols are numbered in the order of the elements they stand for. A *group* is
/// `32 * symbols_per_run` consecutive symbols; in a group each lane holds a run of
/// `symbols_per_run` consecutive ones, and the group takes `symbols_per_run` steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamShape {
    /// Symbols of the stream, without padding.
    pub symbols: usize,
    /// Symbols of one lane in one group: 1, 2, 4, 8 or 16.
    pub symbols_per_run: usize,
    /// States per lane: 1 or 2.
    pub states_per_lane: usize,
    /// Whether the encoder's first states carry the symbols of the last steps, two each. Groups are
    /// whole then, and runs are of at least twice as many symbols as a lane has states.
    pub carries_symbols: bool,
}

impl StreamShape {
    /// Symbols of one group.
    #[inline(always)]
    pub const fn group_symbols(&self) -> usize {
        LANES * self.symbols_per_run
    }

    /// Groups, the last of which may be padded.
    #[inline(always)]
    pub const fn groups(&self) -> usize {
        self.symbols.div_ceil(self.group_symbols())
    }

    /// Steps of the whole stream, padding included.
    #[inline(always)]
    pub const fn steps(&self) -> usize {
        self.groups() * self.symbols_per_run
    }

    /// Steps of each run, the last ones, whose symbols are carried if the run is one of the last group:
    /// in each lane, the first of these belongs to its first state's low byte, and so on by turns.
    #[inline(always)]
    pub const fn carried_steps(&self) -> usize {
        if self.carries_symbols { size_of::<u16>() * self.states_per_lane } else { 0 }
    }

    /// Where the symbol is that byte `byte` of state `state` of lane `lane` carries, with
    /// [`StreamShape::carries_symbols`].
    #[inline(always)]
    pub(crate) const fn carried_symbol(&self, state: usize, lane: usize, byte: usize) -> usize {
        let step = carried_step(self.states_per_lane, state, byte);
        let step = self.symbols_per_run - self.carried_steps() + step;
        self.symbols - self.group_symbols() + lane * self.symbols_per_run + step
    }

    /// Bytes that the encoder's first states can carry, two each.
    #[inline(always)]
    pub const fn carried_bytes(&self) -> usize {
        self.states_per_lane * LANES * size_of::<u16>()
    }

    /// Bytes of the initial states.
    #[inline(always)]
    pub const fn state_bytes(&self) -> usize {
        self.states_per_lane * LANES * size_of::<u32>()
    }
}
