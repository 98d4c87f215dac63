//! From counts to frequencies that sum to 4096.

use core::fmt;

use super::table::Frequencies;
use crate::constants::{ALPHABET, TABLE_SIZE};

/// Counts that have no table: fewer than two symbols occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormalizeError;

impl fmt::Display for NormalizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table needs at least two symbols that occur")
    }
}

impl core::error::Error for NormalizeError {}

/// The largest sum of counts that [`normalize`] takes without scaling them down.
const MAX_TOTAL: u64 = 1 << 48;
/// Bits of a gain after the binary point.
const GAIN_BITS: u32 = 14;

/// Frequencies for `counts` that cost (nearly) the fewest bits; a symbol that occurs keeps a slot.
///
/// Starts from the proportional share rounded down, but at least 1, and then hands out or takes
/// back single slots where that changes the cost least. The cost of a slot is
/// `count * ln(1 + 1 / f)`, close to `2 * count / (2 * f + 1)`, which is compared in integers so
/// that the result is the same on every machine.
pub fn normalize(counts: &[u64; ALPHABET]) -> Result<Frequencies, NormalizeError> {
    let counts = scaled(counts);
    let total: u64 = counts.iter().sum();
    if counts.iter().filter(|&&count| count > 0).count() < 2 {
        return Err(NormalizeError);
    }
    let mut frequencies = [0u16; ALPHABET];
    let mut sum = 0i64;
    for (frequency, &count) in frequencies.iter_mut().zip(&counts) {
        if count > 0 {
            // Two symbols occur, so that a share is below 4096 even after rounding.
            *frequency = ((count * TABLE_SIZE as u64 / total) as u16).max(1);
            sum += i64::from(*frequency);
        }
    }
    let missing = TABLE_SIZE as i64 - sum;
    move_slots(&counts, &mut frequencies, missing.signum(), missing.unsigned_abs());
    Frequencies::new(frequencies).map_err(|_| NormalizeError)
}

/// Counts small enough that products with frequencies stay in 64 bits; none becomes zero.
fn scaled(counts: &[u64; ALPHABET]) -> [u64; ALPHABET] {
    let mut scaled = *counts;
    let total = |counts: &[u64; ALPHABET]| counts.iter().fold(0u64, |a, &c| a.saturating_add(c));
    while total(&scaled) > MAX_TOTAL {
        for count in scaled.iter_mut().filter(|count| **count > 1) {
            *count /= 2;
        }
    }
    scaled
}

/// Changes frequencies by `change` (1 or -1) `times` times, always the one where the gain is largest
/// or the loss smallest.
fn move_slots(
    counts: &[u64; ALPHABET],
    frequencies: &mut [u16; ALPHABET],
    change: i64,
    times: u64,
) {
    // The gain of a slot, or less than nothing where none can move, negated for a loss.
    let gain = |count: u64, frequency: u16| {
        let frequency = i64::from(frequency);
        let can_move = count > 0 && (1..TABLE_SIZE as i64).contains(&(frequency + change));
        let gain = (count << GAIN_BITS) as i64 / (2 * frequency + change).max(1);
        if can_move { change * gain } else { i64::MIN }
    };
    let mut ranking = Ranking::new(|s| gain(counts[s], frequencies[s]));
    for _ in 0..times {
        // With two or more symbols and a sum that is off, some frequency can always move.
        let symbol = ranking.best();
        frequencies[symbol] = frequencies[symbol].wrapping_add_signed(change as i16);
        ranking.set(symbol, gain(counts[symbol], frequencies[symbol]));
    }
}

/// The symbols by their gain, as a tournament: node `n` holds the better of nodes `2n` and `2n + 1`,
/// and the symbols themselves are the last nodes.
struct Ranking {
    gains: [i64; ALPHABET],
    nodes: [u8; 2 * ALPHABET],
}

impl Ranking {
    fn new(gain: impl Fn(usize) -> i64) -> Self {
        let mut ranking =
            Self { gains: core::array::from_fn(gain), nodes: core::array::from_fn(|n| n as u8) };
        for node in (1..ALPHABET).rev() {
            ranking.play(node);
        }
        ranking
    }

    /// The symbol with the largest gain, the first of several.
    fn best(&self) -> usize {
        usize::from(self.nodes[1])
    }

    fn set(&mut self, symbol: usize, gain: i64) {
        self.gains[symbol] = gain;
        let mut node = symbol + ALPHABET;
        while node > 1 {
            node /= 2;
            self.play(node);
        }
    }

    fn play(&mut self, node: usize) {
        let [first, second] = [self.nodes[2 * node], self.nodes[2 * node + 1]];
        let second_wins = self.gains[usize::from(second)] > self.gains[usize::from(first)];
        self.nodes[node] = if second_wins { second } else { first };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_symbol_has_no_table() {
        let mut counts = [0; ALPHABET];
        assert_eq!(normalize(&counts), Err(NormalizeError));
        counts[17] = 1000;
        assert_eq!(normalize(&counts), Err(NormalizeError));
    }

    #[test]
    fn the_rarest_symbol_keeps_its_slot_beside_an_overwhelming_one() {
        let mut counts = [0; ALPHABET];
        counts[4] = u64::MAX / 2;
        counts[5] = 1;
        let table = normalize(&counts).unwrap();
        assert_eq!((table.as_array()[4], table.as_array()[5]), (4095, 1));
    }

    #[test]
    fn a_uniform_alphabet_gets_equal_shares() {
        let table = normalize(&[1; ALPHABET]).unwrap();
        assert!(table.as_array().iter().all(|&f| f == 16));
    }

    proptest! {
        #[test]
        fn symbols_that_occur_and_only_they_have_slots(
            counts in proptest::collection::vec(prop_oneof![3 => Just(0u64), 1 => 1..10u64, 1 => any::<u64>()], ALPHABET)
        ) {
            let counts: [u64; ALPHABET] = counts.try_into().unwrap();
            match normalize(&counts) {
                Ok(table) => {
                    for (count, frequency) in counts.iter().zip(table.as_array()) {
                        prop_assert_eq!(*count > 0, *frequency > 0);
                    }
                }
                Err(NormalizeError) => {
                    prop_assert!(counts.iter().filter(|&&c| c > 0).count() < 2);
                }
            }
        }
    }
}
