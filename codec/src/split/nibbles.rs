//! Elements of one byte as a high nibble, two of which make a symbol, and a raw low nibble.

use super::ElementLayout;

/// Splits bytes two by two: symbol `i` is `high(2i) | high(2i + 1) << 4`, raw byte `i` is
/// `low(2i) | low(2i + 1) << 4`. An odd last byte is joined by zeros.
///
/// `symbols` and `raw` have half as many bytes as `elements`, rounded up.
#[inline(always)]
pub fn split_nibbles(layout: ElementLayout, elements: &[u8], symbols: &mut [u8], raw: &mut [u8]) {
    if layout.rotated {
        split(elements, symbols, raw, |byte| byte.rotate_left(1));
    } else {
        split(elements, symbols, raw, |byte| byte);
    }
}

#[inline(always)]
fn split(elements: &[u8], symbols: &mut [u8], raw: &mut [u8], rotate: impl Fn(u8) -> u8) {
    let (pairs, last) = elements.as_chunks::<2>();
    for ((pair, symbol), raw) in pairs.iter().zip(&mut *symbols).zip(&mut *raw) {
        let [first, second] = pair.map(&rotate);
        *symbol = first >> 4 | second & 0xF0;
        *raw = first & 0x0F | second << 4;
    }
    if let [last] = last {
        let last_byte = rotate(*last);
        (symbols[pairs.len()], raw[pairs.len()]) = (last_byte >> 4, last_byte & 0x0F);
    }
}

/// The inverse of [`split_nibbles`].
#[inline(always)]
pub fn merge_nibbles(layout: ElementLayout, symbols: &[u8], raw: &[u8], elements: &mut [u8]) {
    if layout.rotated {
        merge(symbols, raw, elements, |byte| byte.rotate_right(1));
    } else {
        merge(symbols, raw, elements, |byte| byte);
    }
}

#[inline(always)]
fn merge(symbols: &[u8], raw: &[u8], elements: &mut [u8], unrotate: impl Fn(u8) -> u8) {
    let first = |symbol: u8, raw: u8| unrotate(symbol << 4 | raw & 0x0F);
    let second = |symbol: u8, raw: u8| unrotate(symbol & 0xF0 | raw >> 4);
    let (pairs, last) = elements.as_chunks_mut::<2>();
    for ((pair, &symbol), &raw) in pairs.iter_mut().zip(symbols).zip(raw) {
        *pair = [first(symbol, raw), second(symbol, raw)];
    }
    if let [last] = last {
        let at = pairs.len();
        *last = first(symbols[at], raw[at]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Width;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn all_pairs_of_bytes_come_back_at_even_and_odd_lengths() {
        for rotated in [false, true] {
            let layout = ElementLayout { width: Width::One, rotated };
            for length in [0, 1, 2, 255, 256, 131_071, 131_072] {
                let elements: Vec<u8> =
                    (0..length).map(|i: u32| ((i / 2) >> (8 * (i & 1))) as u8).collect();
                let half = elements.len().div_ceil(2);
                let (mut symbols, mut raw) = (vec![0; half], vec![0; half]);
                split_nibbles(layout, &elements, &mut symbols, &mut raw);
                let mut back = vec![0xEE; elements.len()];
                merge_nibbles(layout, &symbols, &raw, &mut back);
                assert!(back == elements, "rotated {rotated}, length {length}");
            }
        }
    }

    #[test]
    fn the_symbol_holds_the_high_nibbles_in_element_order() {
        let layout = ElementLayout { width: Width::One, rotated: false };
        let (mut symbols, mut raw) = ([0; 2], [0; 2]);
        split_nibbles(layout, &[0xAB, 0xCD, 0xEF], &mut symbols, &mut raw);
        assert_eq!((symbols, raw), ([0xCA, 0x0E], [0xDB, 0x0F]));
    }
}
