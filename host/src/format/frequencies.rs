//! Frequency tables as bytes: each frequency plus one in Elias gamma code, first symbol first,
//! bits from the most significant bit of each byte on, the last byte filled up with zeros.
//!
//! Elias, "Universal codeword sets and representations of the integers" (1975): the number of
//! binary digits minus one in zeros, then the digits. A symbol that does not occur costs one bit.

use codec::constants::ALPHABET;
use codec::rans::Frequencies;

pub(crate) fn encode_frequencies(frequencies: &Frequencies) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ALPHABET);
    // Bits not yet in `bytes`, the newest lowest; always fewer than eight between two values.
    let (mut bits, mut count) = (0u64, 0);
    for &frequency in frequencies.as_array() {
        let value = u64::from(frequency) + 1;
        let length = 2 * value.ilog2() + 1;
        bits = bits << length | value;
        count += length;
        while count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        bytes.push((bits << (8 - count)) as u8);
    }
    bytes
}

/// The table in `bytes`, or what is wrong with them.
pub(crate) fn decode_frequencies(bytes: &[u8]) -> Result<Frequencies, String> {
    let mut at = 0;
    let mut bit = || {
        let byte = bytes.get(at / 8).ok_or("it ends before its last symbol")?;
        let bit = byte >> (7 - at % 8) & 1;
        at += 1;
        Ok::<_, String>(u32::from(bit))
    };
    let mut frequencies = [0u16; ALPHABET];
    for frequency in &mut frequencies {
        let mut digits = 0;
        while bit()? == 0 {
            digits += 1;
            if digits > 12 {
                return Err("a frequency has more than 12 bits".into());
            }
        }
        let mut value = 1;
        for _ in 0..digits {
            value = value << 1 | bit()?;
        }
        // At most 2^13 - 2, so it fits; whether the sum is right is checked below.
        *frequency = (value - 1) as u16;
    }
    let spare_bits = at.next_multiple_of(8) - at;
    let spare_are_zero = bytes.last().is_none_or(|last| last.trailing_zeros() >= spare_bits as u32);
    if bytes.len() != at.div_ceil(8) || !spare_are_zero {
        return Err("it goes on after its last symbol".into());
    }
    Frequencies::new(frequencies).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::rans::normalize;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tables_come_back_and_nothing_longer_or_shorter_is_taken(
            counts in proptest::collection::vec(prop_oneof![2 => Just(0u64), 1 => 1..100_000u64], ALPHABET)
        ) {
            let mut counts: [u64; ALPHABET] = counts.try_into().unwrap();
            counts[3] += 1;
            counts[200] += 1;
            let frequencies = normalize(&counts).unwrap();
            let bytes = encode_frequencies(&frequencies);
            prop_assert_eq!(decode_frequencies(&bytes), Ok(frequencies));
            prop_assert!(decode_frequencies(&bytes[..bytes.len() - 1]).is_err());
            prop_assert!(decode_frequencies(&[&bytes[..], &[0]].concat()).is_err());
        }

        #[test]
        fn any_bytes_give_a_table_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(frequencies) = decode_frequencies(&bytes) {
                prop_assert_eq!(encode_frequencies(&frequencies), bytes);
            }
        }
    }
}
