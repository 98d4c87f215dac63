//! The scalar steps of one lane: all that a GPU thread and the reference decoder have in common.

use super::table::TableEntry;
use crate::constants::{PROBABILITY_BITS, STATE_LOWER_BOUND, WORD_BITS};

/// The entry of the decode table that a state selects: its low [`PROBABILITY_BITS`] bits.
#[inline(always)]
pub const fn slot(state: u32) -> u32 {
    state & ((1 << PROBABILITY_BITS) - 1)
}

/// The state after the symbol of `entry` has been taken out of it, before a refill.
///
/// `entry` must be the one that [`slot`] selects. No value of `state` overflows: the quotient has
/// 20 bits, the frequency 12, and the offset is below the frequency.
#[inline(always)]
pub const fn advance(state: u32, entry: TableEntry) -> u32 {
    advance_parts(state >> PROBABILITY_BITS, entry.frequency(), entry.offset())
}

/// [`advance`] for a state whose part above the slot is `quotient`, and the entry's parts.
#[inline(always)]
pub const fn advance_parts(quotient: u32, frequency: u32, offset: u32) -> u32 {
    frequency * quotient + offset
}

/// A state's product with this has its quotient in the high half, and in the low half its slot,
/// above [`SLOT_SHIFT`] zeros.
pub const STATE_FACTOR: u32 = 1 << SLOT_SHIFT;
/// See [`STATE_FACTOR`].
pub const SLOT_SHIFT: u32 = u32::BITS - PROBABILITY_BITS;

/// Whether the state lies below the lower bound and must take a word.
#[inline(always)]
pub const fn needs_word(state: u32) -> bool {
    state < STATE_LOWER_BOUND
}

/// The state after taking in `word`.
#[inline(always)]
pub const fn take_word(state: u32, word: u16) -> u32 {
    (state << WORD_BITS) | word as u32
}

/// Eight bits that lie in a state as they are: what it would take a symbol of 256 equal ones to say.
#[inline(always)]
pub const fn byte_of(state: u32) -> u8 {
    state as u8
}

/// The state after [`byte_of`] has been taken out of it, before a refill.
#[inline(always)]
pub const fn drop_byte(state: u32) -> u32 {
    state >> 8
}

/// The inverse of [`byte_of`] and [`drop_byte`]; `state` is below 2^24.
#[inline(always)]
pub const fn put_byte(state: u32, byte: u8) -> u32 {
    state << 8 | byte as u32
}

/// The state in which an encoder begins: the lower bound, plus two bytes that it carries for free,
/// since a state has as many bits whatever its value.
#[inline(always)]
pub const fn first_state(carried: u16) -> u32 {
    STATE_LOWER_BOUND | carried as u32
}

/// Whether a decoder may end in this state: one in which an encoder begins, and where nothing is
/// carried, the lower bound itself.
#[inline(always)]
pub const fn is_first_state(state: u32, carries: bool) -> bool {
    if carries { state >> WORD_BITS == 1 } else { state == STATE_LOWER_BOUND }
}

/// The two bytes that a final state carries.
#[inline(always)]
pub const fn carried_by(state: u32) -> u16 {
    state as u16
}

/// Which of the symbols that a lane's states carry byte `byte` of its state `state` is, in the order
/// of the steps that they stand for.
#[inline(always)]
pub const fn carried_step(states_per_lane: usize, state: usize, byte: usize) -> usize {
    byte * states_per_lane + state
}
