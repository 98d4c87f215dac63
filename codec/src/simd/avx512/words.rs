//! Streams with two states per lane, whose 64 states take a step at once without a gather.
//!
//! The low and the high halves of a state's 32 lanes fill a register of 16-bit words each. Two
//! registers' slots then fit a register of bytes, of which an instruction looks up all 64 in 128
//! bytes: [`OrdinalTable`] has the tables. A gather of 16 entries takes longer than all of them.

use core::arch::x86_64::*;

use super::super::states::{StreamStates, add_carried, keep_in_turn};
use super::{Registers, translate};
use crate::block::DecodeTables;
use crate::constants::{PROBABILITY_BITS, TABLE_SIZE, WORD_BITS};
use crate::rans::{BUCKET_BITS, OrdinalTable};

/// The bytes that are the high ones of words.
const HIGH_BYTES: __mmask64 = 0xAAAA_AAAA_AAAA_AAAA;

/// The states of a stream with two per lane.
#[derive(Clone, Copy)]
pub(in super::super) struct States<const QUARTERS: bool>([Halves; 2]);

/// A state of each lane.
#[derive(Clone, Copy)]
struct Halves {
    low: __m512i,
    high: __m512i,
}

impl<const QUARTERS: bool> StreamStates<Registers<QUARTERS>> for States<QUARTERS> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg")]
    unsafe fn new(states: [Registers<QUARTERS>; 2], _tables: &DecodeTables) -> Self {
        Self(states.map(|Registers([first, second])| {
            let (even, odd) = (words(&const { every_other(0) }), words(&const { every_other(1) }));
            Halves {
                low: _mm512_permutex2var_epi16(first, even, second),
                high: _mm512_permutex2var_epi16(first, odd, second),
            }
        }))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg")]
    unsafe fn into_lanes(self) -> [Registers<QUARTERS>; 2] {
        self.0.map(|Halves { low, high }| alternate_words(low, high))
    }

    #[inline(always)]
    unsafe fn four_steps<const B: usize>(
        states: &mut [Self; B],
        tables: [&DecodeTables; B],
        words: &mut [*const u8; B],
    ) -> [Registers<QUARTERS>; B] {
        // SAFETY: the caller's promise.
        unsafe {
            if tables.iter().all(|tables| tables.ordinals.small) {
                four_steps_each::<QUARTERS, B, true>(states, tables, words)
            } else {
                four_steps_each::<QUARTERS, B, false>(states, tables, words)
            }
        }
    }

    #[inline(always)]
    unsafe fn last_steps<const B: usize>(
        states: &mut [Self; B],
        _tables: [&DecodeTables; B],
        _words: &mut [*const u8; B],
    ) -> [Registers<QUARTERS>; B] {
        // SAFETY: the caller's promise. All four symbols of the quarter are carried.
        states.each_ref().map(|states| unsafe {
            let none = Registers([_mm512_setzero_si512(); 2]);
            add_carried::<Registers<QUARTERS>, 2>(none, states.into_lanes())
        })
    }
}

/// Two steps of each stream with either state. With `SMALL`, all tables are
/// [`OrdinalTable::small`].
///
/// # Safety
///
/// See [`StreamStates::four_steps`].
#[inline(always)]
unsafe fn four_steps_each<const QUARTERS: bool, const B: usize, const SMALL: bool>(
    states: &mut [States<QUARTERS>; B],
    tables: [&DecodeTables; B],
    words: &mut [*const u8; B],
) -> [Registers<QUARTERS>; B] {
    // SAFETY: the caller's promise; each call takes at most half of the bytes.
    unsafe {
        let first = two_steps_each::<QUARTERS, B, SMALL>(states, tables, words);
        let second = two_steps_each::<QUARTERS, B, SMALL>(states, tables, words);
        let mut symbols = [Registers([_mm512_setzero_si512(); 2]); B];
        for b in 0..B {
            symbols[b] = alternate_words(first[b], second[b]);
        }
        symbols
    }
}

/// A step of each stream with either state: the symbols, of each lane the first's and the second's.
///
/// # Safety
///
/// What two steps take can be read at each of `words`; see also [`StreamStates`].
#[inline(always)]
unsafe fn two_steps_each<const QUARTERS: bool, const B: usize, const SMALL: bool>(
    states: &mut [States<QUARTERS>; B],
    tables: [&DecodeTables; B],
    words: &mut [*const u8; B],
) -> [__m512i; B] {
    // SAFETY: the caller's promise.
    let mut symbols = [unsafe { _mm512_setzero_si512() }; B];
    for b in 0..B {
        let [first, second] = states[b].0;
        // SAFETY: the caller's promise.
        symbols[b] = unsafe { ordinals::<QUARTERS>(&tables[b].ordinals, first.low, second.low) };
    }
    keep_in_turn();
    // SAFETY: the caller's promise.
    unsafe {
        if SMALL {
            small_steps_each(states, tables, symbols, words);
        } else {
            steps_each(states, tables, symbols, words);
        }
    }
    for b in 0..B {
        // SAFETY: the caller's promise.
        symbols[b] = unsafe { translate::<QUARTERS>(&tables[b].ordinals.symbols, symbols[b]) };
    }
    symbols
}

/// Both states' steps of each stream, whose slots have these ordinals.
///
/// # Safety
///
/// See [`two_steps_each`].
#[inline(always)]
unsafe fn steps_each<const QUARTERS: bool, const B: usize>(
    states: &mut [States<QUARTERS>; B],
    tables: [&DecodeTables; B],
    ordinals: [__m512i; B],
    words: &mut [*const u8; B],
) {
    for b in 0..B {
        let [first, second] = states[b].0;
        // SAFETY: the caller's promise; both steps of a stream take at most what can be read.
        states[b] = unsafe {
            let [first_entries, second_entries] =
                entries::<QUARTERS>(&tables[b].ordinals, ordinals[b], first.low, second.low);
            let first = step(first, first_entries, &mut words[b]);
            States([first, step(second, second_entries, &mut words[b])])
        };
        keep_in_turn();
    }
}

/// [`steps_each`] for tables that are [`OrdinalTable::small`], all streams' first states before all second
/// ones: a processor looks for an instruction that need not wait among few of those to come, fewer than
/// two steps have. (Numbers that aren't small take so many registers that they would not stay in them.)
///
/// # Safety
///
/// See [`two_steps_each`].
#[inline(always)]
unsafe fn small_steps_each<const QUARTERS: bool, const B: usize>(
    states: &mut [States<QUARTERS>; B],
    tables: [&DecodeTables; B],
    ordinals: [__m512i; B],
    words: &mut [*const u8; B],
) {
    // SAFETY: the caller's promise.
    let none = unsafe { Entries::none() };
    let (mut first, mut second) = ([none; B], [none; B]);
    for b in 0..B {
        let (table, States([one, two])) = (&tables[b].ordinals, states[b]);
        // SAFETY: the caller's promise.
        [first[b], second[b]] =
            unsafe { small_entries::<QUARTERS>(table, ordinals[b], one.low, two.low) };
    }
    // Both steps of a stream take at most what can be read.
    for b in 0..B {
        let States([one, _]) = &mut states[b];
        // SAFETY: the caller's promise.
        *one = unsafe { step(*one, first[b], &mut words[b]) };
    }
    keep_in_turn();
    for b in 0..B {
        let States([_, two]) = &mut states[b];
        // SAFETY: the caller's promise.
        *two = unsafe { step(*two, second[b], &mut words[b]) };
    }
    keep_in_turn();
}

/// What a step needs to know of the slots of a state.
#[derive(Clone, Copy)]
struct Entries {
    frequencies: __m512i,
    offsets: __m512i,
}

impl Entries {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn none() -> Self {
        Self { frequencies: _mm512_setzero_si512(), offsets: _mm512_setzero_si512() }
    }
}

/// The entries of the slots that the low halves `first` and `second` of two states select, whose
/// ordinals are one after the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg")]
fn entries<const QUARTERS: bool>(
    table: &OrdinalTable,
    ordinals: __m512i,
    first: __m512i,
    second: __m512i,
) -> [Entries; 2] {
    let high = translate::<QUARTERS>(&table.high, ordinals);
    let begin_low = translate::<QUARTERS>(&table.first_low, ordinals);
    let low = translate::<QUARTERS>(&table.frequency_low, ordinals);
    let frequency_high = _mm512_and_si512(_mm512_srli_epi16::<4>(high), _mm512_set1_epi8(0xF));
    // The difference is rid of what is above a slot, in the states as in `high`.
    let slot = _mm512_set1_epi16(TABLE_SIZE as i16 - 1);
    [
        Entries {
            frequencies: join_low::<QUARTERS>(low, frequency_high),
            offsets: _mm512_and_si512(
                _mm512_sub_epi16(first, join_low::<QUARTERS>(begin_low, high)),
                slot,
            ),
        },
        Entries {
            frequencies: join_high(low, frequency_high),
            offsets: _mm512_and_si512(_mm512_sub_epi16(second, join_high(begin_low, high)), slot),
        },
    ]
}

/// [`entries`] of a table that is [`OrdinalTable::small`]: bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg")]
fn small_entries<const QUARTERS: bool>(
    table: &OrdinalTable,
    ordinals: __m512i,
    first: __m512i,
    second: __m512i,
) -> [Entries; 2] {
    let low = _mm512_set1_epi16(0xFF);
    let frequencies = translate::<QUARTERS>(&table.frequency_low, ordinals);
    let offsets = _mm512_sub_epi8(
        join_low::<QUARTERS>(first, second),
        translate::<QUARTERS>(&table.first_low, ordinals),
    );
    [
        Entries {
            frequencies: _mm512_and_si512(frequencies, low),
            offsets: _mm512_and_si512(offsets, low),
        },
        Entries {
            frequencies: _mm512_srli_epi16::<8>(frequencies),
            offsets: _mm512_srli_epi16::<8>(offsets),
        },
    ]
}

/// The ordinals of the slots that the low halves of two states select, one after the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg")]
fn ordinals<const QUARTERS: bool>(
    table: &OrdinalTable,
    first: __m512i,
    second: __m512i,
) -> __m512i {
    let buckets = if QUARTERS {
        // Eight bits of each word from the slot's fifth on, for bytes at even places from one register and at
        // odd ones from the other: an operation less.
        const { assert!(BUCKET_BITS == 4) };
        let windows = _mm512_set1_epi64(0x3434_2424_1414_0404);
        let of_first = _mm512_multishift_epi64_epi8(windows, first);
        _mm512_mask_multishift_epi64_epi8(of_first, HIGH_BYTES, windows, second)
    } else {
        const AFTER_BUCKET: u32 = u8::BITS - BUCKET_BITS;
        _mm512_mask_mov_epi8(
            _mm512_srli_epi16::<BUCKET_BITS>(first),
            HIGH_BYTES,
            _mm512_slli_epi16::<AFTER_BUCKET>(second),
        )
    };
    // For each of a bucket's slots, the bits up to it: of the first eight, and of the last.
    let up_to_first = _mm512_set4_epi32(-1, -1, 0xFF7F_3F1F_u32 as i32, 0x0F07_0301);
    let up_to_last = _mm512_set4_epi32(0xFF7F_3F1F_u32 as i32, 0x0F07_0301, 0, 0);
    let at = _mm512_and_si512(
        join_low::<QUARTERS>(first, second),
        _mm512_set1_epi8((1 << BUCKET_BITS) - 1),
    );
    let count = |begins, up_to| {
        let up_to = _mm512_shuffle_epi8(up_to, at);
        _mm512_popcnt_epi8(_mm512_and_si512(translate::<QUARTERS>(begins, buckets), up_to))
    };
    let [first_begins, last_begins] = &table.begins;
    let begun = _mm512_add_epi8(
        translate::<QUARTERS>(&table.begun, buckets),
        count(first_begins, up_to_first),
    );
    _mm512_add_epi8(begun, count(last_begins, up_to_last))
}

/// [`crate::rans::advance`] and a refill of each lane.
///
/// # Safety
///
/// What a step takes can be read at `words`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg")]
unsafe fn step(state: Halves, entries: Entries, words: &mut *const u8) -> Halves {
    let Entries { frequencies, offsets } = entries;
    // The quotient's low 16 bits, and the rest.
    const ABOVE_SLOT: i32 = (WORD_BITS - PROBABILITY_BITS) as i32;
    let quotients = _mm512_shldi_epi16::<ABOVE_SLOT>(state.high, state.low);
    let tops = _mm512_srli_epi16::<PROBABILITY_BITS>(state.high);
    let product = _mm512_mullo_epi16(frequencies, quotients);
    let low = _mm512_add_epi16(product, offsets);
    let high = _mm512_add_epi16(
        _mm512_mulhi_epu16(frequencies, quotients),
        _mm512_mullo_epi16(frequencies, tops),
    );
    // The sum has wrapped where it lacks the product's highest bit, which an offset does not have.
    let carry = _mm512_srli_epi16::<15>(_mm512_andnot_si512(low, product));
    let high = _mm512_add_epi16(high, carry);
    let takers = _mm512_testn_epi16_mask(high, high);
    // SAFETY: the caller's promise.
    let next = unsafe { _mm512_loadu_si512(words.cast()) };
    // SAFETY: each taker takes two of the bytes that can be read.
    *words = unsafe { words.add(2 * takers.count_ones() as usize) };
    Halves {
        low: _mm512_mask_expand_epi16(low, takers, next),
        high: _mm512_mask_mov_epi16(high, takers, low),
    }
}

/// The words whose low bytes are those of `a`'s words, and whose high bytes are those of `b`'s.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg")]
fn join_low<const QUARTERS: bool>(a: __m512i, b: __m512i) -> __m512i {
    if QUARTERS {
        let low = _mm512_set4_epi32(0x0E0E_0C0C, 0x0A0A_0808, 0x0606_0404, 0x0202_0000);
        _mm512_mask_shuffle_epi8(a, HIGH_BYTES, b, low)
    } else {
        _mm512_mask_mov_epi8(a, HIGH_BYTES, _mm512_slli_epi16::<8>(b))
    }
}

/// The same with the high bytes of `a`'s and `b`'s words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg")]
fn join_high(a: __m512i, b: __m512i) -> __m512i {
    _mm512_mask_mov_epi8(_mm512_srli_epi16::<8>(a), HIGH_BYTES, b)
}

/// Lanes whose low words are those of `a`, and whose high words are those of `b`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg")]
fn alternate_words<const QUARTERS: bool>(a: __m512i, b: __m512i) -> Registers<QUARTERS> {
    let (low, high) = (words(&const { in_turn(0) }), words(&const { in_turn(16) }));
    Registers([_mm512_permutex2var_epi16(a, low, b), _mm512_permutex2var_epi16(a, high, b)])
}

/// Where the words of two registers are, those from `first` on of either in turn.
const fn in_turn(first: u16) -> [u16; 32] {
    let mut words = [0; 32];
    let mut at = 0;
    while at < 16 {
        words[2 * at] = first + at as u16;
        words[2 * at + 1] = 32 + first + at as u16;
        at += 1;
    }
    words
}

/// Where every other word of two registers is, from `first` on.
const fn every_other(first: u16) -> [u16; 32] {
    let mut words = [0; 32];
    let mut at = 0;
    while at < 32 {
        words[at] = first + 2 * at as u16;
        at += 1;
    }
    words
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512bitalg")]
fn words(words: &[u16; 32]) -> __m512i {
    // SAFETY: a register has 64 bytes.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}
