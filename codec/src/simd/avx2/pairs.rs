//! Values joined to pairs.

use core::arch::x86_64::*;

use crate::constants::{ALPHABET, ESCAPE_SYMBOL, RANKS};
use crate::simd::lanes::NO_RANK;

/// Tables of 256 bytes are beyond AVX2's means. But only 16 values have a rank, and whether symbols have a
/// slot is a bit of each.
pub(in crate::simd) struct PairTables {
    /// The value of each rank.
    values: [u8; RANKS],
    /// The rank and [`RANKED`]; 0 for a rank without a value.
    ranks: [u8; RANKS],
    /// A bit for each symbol, the lowest first.
    has_slot: [[u8; 16]; 2],
}

/// Set with the rank of a value that has one.
const RANKED: u8 = 0x80;

impl PairTables {
    pub(super) fn new(ranks: &[u8; ALPHABET], coded: &[u8; ALPHABET]) -> Self {
        let mut tables = Self { values: [0; RANKS], ranks: [0; RANKS], has_slot: [[0; 16]; 2] };
        for (value, &rank) in (0..=u8::MAX).zip(ranks).filter(|(_, rank)| **rank != NO_RANK) {
            let at = usize::from(rank) % RANKS;
            (tables.values[at], tables.ranks[at]) = (value, RANKED | rank);
        }
        for (symbol, _) in coded.iter().enumerate().filter(|(at, coded)| *at == **coded as usize) {
            tables.has_slot[symbol / 128][symbol / 8 % 16] |= 1 << (symbol % 8);
        }
        tables
    }

    /// The symbols of 16 pairs of values, as numbers of 16 bits, whether they have a slot or not.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn join(&self, values: __m256i) -> __m256i {
        let mut ranks = _mm256_setzero_si256();
        for (&value, &rank) in self.values.iter().zip(&self.ranks) {
            let equal = _mm256_cmpeq_epi8(values, _mm256_set1_epi8(value as i8));
            ranks = _mm256_or_si256(ranks, _mm256_and_si256(equal, _mm256_set1_epi8(rank as i8)));
        }
        let both_ranked = _mm256_set1_epi16((u16::from(RANKED) * 0x0101) as i16);
        let ranked = _mm256_cmpeq_epi16(_mm256_and_si256(ranks, both_ranked), both_ranked);
        let first = _mm256_and_si256(ranks, _mm256_set1_epi16(0x0F));
        let second = _mm256_srli_epi16::<4>(_mm256_and_si256(ranks, _mm256_set1_epi16(0x0F00)));
        let joined = _mm256_or_si256(first, second);
        _mm256_blendv_epi8(_mm256_set1_epi16(ESCAPE_SYMBOL.into()), joined, ranked)
    }

    /// 32 symbols, or escapes in the place of those without a slot.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn with_slots(&self, symbols: __m256i) -> __m256i {
        let [low, high] = self.has_slot.map(|bits| {
            // SAFETY: there are 16 bytes.
            _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bits.as_ptr().cast()) })
        });
        let bit = _mm256_broadcastsi128_si256(_mm_set_epi8(
            -128, 64, 32, 16, 8, 4, 2, 1, -128, 64, 32, 16, 8, 4, 2, 1,
        ));
        let number = _mm256_and_si256(_mm256_srli_epi16::<3>(symbols), _mm256_set1_epi8(0x0F));
        let (low, high) = (_mm256_shuffle_epi8(low, number), _mm256_shuffle_epi8(high, number));
        // The highest bit of a symbol says which half of the bits it is in.
        let bits = _mm256_blendv_epi8(low, high, symbols);
        let bit = _mm256_shuffle_epi8(bit, _mm256_and_si256(symbols, _mm256_set1_epi8(7)));
        let has_none = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), _mm256_setzero_si256());
        _mm256_blendv_epi8(symbols, _mm256_set1_epi8(ESCAPE_SYMBOL as i8), has_none)
    }
}
