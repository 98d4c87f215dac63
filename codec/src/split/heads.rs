//! Floating-point elements with an exponent of 8 bits as a *head* of 12 bits, which says nearly all
//! that modelling can know of them, and the rest of the mantissa.
//!
//! The bits of an element are put into the order exponent (8), first three mantissa bits, sign, rest
//! of the mantissa (4 bits of a BF16, 20 of an F32). Its planes are the bytes of that. A *head
//! symbol* stands for the first 12 bits: its high nibble for the exponent, counted from a base, its
//! low nibble for mantissa bits and sign.

use super::{ElementLayout, Width, merge_planes, split_planes};
use crate::constants::{ESCAPED_HEAD, HEAD_EXPONENTS};

/// The bits of a BF16, head first.
#[inline(always)]
pub const fn head_first_16(bits: u16) -> u16 {
    (bits << 1 & 0xFFE0) | (bits >> 11 & 0x10) | (bits & 0x0F)
}

/// The inverse of [`head_first_16`].
#[inline(always)]
pub const fn head_last_16(bits: u16) -> u16 {
    (bits & 0xFFE0) >> 1 | (bits & 0x10) << 11 | (bits & 0x0F)
}

/// The bits of an F32, head first.
#[inline(always)]
pub const fn head_first_32(bits: u32) -> u32 {
    (bits << 1 & 0xFFE0_0000) | (bits >> 11 & 0x0010_0000) | (bits & 0x000F_FFFF)
}

/// The inverse of [`head_first_32`].
#[inline(always)]
pub const fn head_last_32(bits: u32) -> u32 {
    (bits & 0xFFE0_0000) >> 1 | (bits & 0x0010_0000) << 11 | (bits & 0x000F_FFFF)
}

/// The high nibble of the head symbol of an exponent; none for one that has to be escaped.
#[inline(always)]
pub const fn exponent_nibble(exponent: u8, base: u8) -> Option<u8> {
    let above = exponent.wrapping_sub(base);
    if above < HEAD_EXPONENTS { Some(above << 4) } else { None }
}

/// The exponent of a head symbol that is not escaped.
#[inline(always)]
pub const fn exponent_of(head: u8, base: u8) -> u8 {
    base.wrapping_add(head >> 4)
}

/// The head symbol of a BF16.
#[inline(always)]
pub const fn head_symbol_16(bits: u16, base: u8) -> u8 {
    let head_first = head_first_16(bits);
    let nibble = match exponent_nibble((head_first >> 8) as u8, base) {
        Some(nibble) => nibble,
        None => ESCAPED_HEAD,
    };
    nibble | (head_first >> 4 & 15) as u8
}

/// The head symbol of an F32: that of its upper half.
#[inline(always)]
pub const fn head_symbol_32(bits: u32, base: u8) -> u8 {
    head_symbol_16((bits >> 16) as u16, base)
}

/// The layout whose planes are the bytes of elements that lie head first.
const fn plain(width: Width) -> ElementLayout {
    ElementLayout { width, rotated: false }
}

/// Cuts little-endian elements of two or four bytes, head first, into planes, as
/// [`super::split_planes`] does others. `arranged` is room for as many bytes. Other widths panic.
pub fn split_heads(width: Width, elements: &[u8], arranged: &mut [u8], planes: &mut [u8]) {
    arranged.copy_from_slice(elements);
    match width {
        Width::Two => arranged.as_chunks_mut::<2>().0.iter_mut().for_each(|element| {
            *element = head_first_16(u16::from_le_bytes(*element)).to_le_bytes();
        }),
        Width::Four => arranged.as_chunks_mut::<4>().0.iter_mut().for_each(|element| {
            *element = head_first_32(u32::from_le_bytes(*element)).to_le_bytes();
        }),
        _ => panic!("elements of {} bytes have no head", width.bytes()),
    }
    split_planes(plain(width), arranged, planes);
}

/// The inverse of [`split_heads`].
pub fn merge_heads(width: Width, planes: &[u8], elements: &mut [u8]) {
    merge_planes(plain(width), planes, elements);
    match width {
        Width::Two => elements.as_chunks_mut::<2>().0.iter_mut().for_each(|element| {
            *element = head_last_16(u16::from_le_bytes(*element)).to_le_bytes();
        }),
        Width::Four => elements.as_chunks_mut::<4>().0.iter_mut().for_each(|element| {
            *element = head_last_32(u32::from_le_bytes(*element)).to_le_bytes();
        }),
        _ => panic!("elements of {} bytes have no head", width.bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn every_pattern_of_16_bits_comes_back_in_its_order() {
        for bits in 0..=u16::MAX {
            let head_first = head_first_16(bits);
            assert_eq!(head_last_16(head_first), bits);
            assert_eq!(head_first >> 8, bits >> 7 & 0xFF, "the exponent is on top");
            assert_eq!(head_first >> 5 & 7, bits >> 4 & 7, "then three bits of the mantissa");
            assert_eq!(head_first >> 4 & 1, bits >> 15, "then the sign");
            // The same fields of an F32 lie 16 bits higher.
            let wide = u32::from(bits) << 16 | 0xABCD;
            assert_eq!(head_last_32(head_first_32(wide)), wide);
            assert_eq!(head_first_32(wide) >> 16, u32::from(head_first));
        }
    }

    #[test]
    fn planes_come_back() {
        for (width, bytes) in [(Width::Two, 2), (Width::Four, 4)] {
            let elements: Vec<u8> =
                (0..1000 * bytes).map(|i: usize| ((i * i) >> 3) as u8).collect();
            let (mut arranged, mut planes) = (vec![0; elements.len()], vec![0; elements.len()]);
            split_heads(width, &elements, &mut arranged, &mut planes);
            let mut back = vec![0xEE; elements.len()];
            merge_heads(width, &planes, &mut back);
            assert!(back == elements);
        }
    }

    #[test]
    fn exponents_within_the_window_have_a_nibble() {
        for base in [0u8, 100, 250] {
            for exponent in 0..=255u8 {
                match exponent_nibble(exponent, base) {
                    Some(nibble) => assert_eq!(exponent_of(nibble | 9, base), exponent),
                    None => assert!(exponent.wrapping_sub(base) >= HEAD_EXPONENTS),
                }
            }
        }
    }
}
