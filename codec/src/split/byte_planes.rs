//! Elements of 1, 2, 4 or 8 bytes as that many byte planes.

use super::{ElementLayout, Width};
use crate::constants::MAX_WIDTH;

/// Cuts little-endian `elements` into planes: `planes[p * count..][i]` is byte `p` of element `i`.
///
/// `planes` has as many bytes as `elements`; the count of elements is that divided by the width.
#[inline(always)]
pub fn split_planes(layout: ElementLayout, elements: &[u8], planes: &mut [u8]) {
    assert_eq!(elements.len(), planes.len(), "planes of another size than their elements");
    if layout.rotated {
        split_planes_as::<true>(layout.width, elements, planes);
    } else {
        split_planes_as::<false>(layout.width, elements, planes);
    }
}

#[inline(always)]
fn split_planes_as<const ROTATED: bool>(width: Width, elements: &[u8], planes: &mut [u8]) {
    let count = elements.len() / width.bytes();
    match width {
        Width::One => {
            let rotate = |byte: u8| if ROTATED { byte.rotate_left(1) } else { byte };
            planes.iter_mut().zip(elements).for_each(|(plane, &byte)| *plane = rotate(byte));
        }
        Width::Two => {
            let (low, high) = planes.split_at_mut(count);
            for ((element, low), high) in elements.as_chunks().0.iter().zip(low).zip(high) {
                let bits = u16::from_le_bytes(*element);
                let bits = if ROTATED { bits.rotate_left(1) } else { bits };
                (*low, *high) = (bits as u8, (bits >> 8) as u8);
            }
        }
        Width::Four => {
            let (low, high) = planes.split_at_mut(2 * count);
            let ((a, b), (c, d)) = (low.split_at_mut(count), high.split_at_mut(count));
            let rows = a.iter_mut().zip(b).zip(c.iter_mut().zip(d));
            for (element, ((a, b), (c, d))) in elements.as_chunks().0.iter().zip(rows) {
                let bits = u32::from_le_bytes(*element);
                let bits = if ROTATED { bits.rotate_left(1) } else { bits };
                (*a, *b) = (bits as u8, (bits >> 8) as u8);
                (*c, *d) = ((bits >> 16) as u8, (bits >> 24) as u8);
            }
        }
        Width::Eight => {
            for (number, element) in elements.as_chunks().0.iter().enumerate() {
                let bits = u64::from_le_bytes(*element);
                let bits = if ROTATED { bits.rotate_left(1) } else { bits };
                for (plane, byte) in bits.to_le_bytes().into_iter().enumerate() {
                    planes[plane * count + number] = byte;
                }
            }
        }
    }
}

/// Puts planes, as [`split_planes`] makes them, together again.
pub fn merge_planes(layout: ElementLayout, planes: &[u8], elements: &mut [u8]) {
    assert_eq!(elements.len(), planes.len(), "planes of another size than their elements");
    let count = elements.len() / layout.width.bytes();
    let mut rows: [&[u8]; MAX_WIDTH] = [&[]; MAX_WIDTH];
    for (plane, row) in rows.iter_mut().enumerate().take(layout.width.bytes()) {
        *row = &planes[plane * count..][..count];
    }
    merge_rows(layout, &rows[..layout.width.bytes()], elements);
}

/// The same where each plane is a slice of its own: as many as the elements have bytes, each with
/// a byte for every element. Other numbers panic.
#[inline(always)]
pub fn merge_rows(layout: ElementLayout, rows: &[&[u8]], elements: &mut [u8]) {
    if layout.rotated {
        merge_rows_as::<true>(layout.width, rows, elements);
    } else {
        merge_rows_as::<false>(layout.width, rows, elements);
    }
}

#[inline(always)]
fn merge_rows_as<const ROTATED: bool>(width: Width, rows: &[&[u8]], elements: &mut [u8]) {
    match (width, rows) {
        (Width::One, [row]) => {
            let unrotate = |byte: u8| if ROTATED { byte.rotate_right(1) } else { byte };
            assert_eq!(row.len(), elements.len(), "planes of another size than their elements");
            elements.iter_mut().zip(*row).for_each(|(element, &byte)| *element = unrotate(byte));
        }
        (Width::Two, [low, high]) => {
            let elements = elements.as_chunks_mut::<2>().0;
            let (low, high) = (&low[..elements.len()], &high[..elements.len()]);
            for ((element, &low), &high) in elements.iter_mut().zip(low).zip(high) {
                let bits = u16::from(low) | u16::from(high) << 8;
                *element = (if ROTATED { bits.rotate_right(1) } else { bits }).to_le_bytes();
            }
        }
        (Width::Four, [a, b, c, d]) => {
            let elements = elements.as_chunks_mut::<4>().0;
            let [a, b, c, d] = [a, b, c, d].map(|row| &row[..elements.len()]);
            for ((((element, &a), &b), &c), &d) in elements.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                let bits = u32::from_le_bytes([a, b, c, d]);
                *element = (if ROTATED { bits.rotate_right(1) } else { bits }).to_le_bytes();
            }
        }
        (Width::Eight, rows) => {
            assert_eq!(rows.len(), 8, "another number of planes than an element has bytes");
            for (number, element) in elements.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let bits = u64::from_le_bytes(core::array::from_fn(|plane| rows[plane][number]));
                *element = (if ROTATED { bits.rotate_right(1) } else { bits }).to_le_bytes();
            }
        }
        _ => panic!("another number of planes than an element has bytes"),
    }
}

/// Gives the little-endian `element` another byte in its last plane.
#[inline(always)]
pub fn replace_top_byte(layout: ElementLayout, element: &mut [u8], value: u8) {
    let bits = 8 * element.len() as u32;
    let mut wide = [0; 8];
    wide[..element.len()].copy_from_slice(element);
    let rotated = u64::from_le_bytes(wide).rotate_left_in(bits, layout.rotated);
    let mut bytes = rotated.to_le_bytes();
    bytes[element.len() - 1] = value;
    // What a rotation left above the element does not count.
    bytes[element.len()..].fill(0);
    let merged = u64::from_le_bytes(bytes).rotate_right_in(bits, layout.rotated);
    element.copy_from_slice(&merged.to_le_bytes()[..element.len()]);
}

/// Rotation by one bit within the low `bits` bits of a `u64`.
trait RotateWithin {
    fn rotate_left_in(self, bits: u32, rotated: bool) -> u64;
    fn rotate_right_in(self, bits: u32, rotated: bool) -> u64;
}

impl RotateWithin for u64 {
    #[inline(always)]
    fn rotate_left_in(self, bits: u32, rotated: bool) -> u64 {
        if rotated { self << 1 | self >> (bits - 1) } else { self }
    }

    #[inline(always)]
    fn rotate_right_in(self, bits: u32, rotated: bool) -> u64 {
        if rotated { self >> 1 | (self & 1) << (bits - 1) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const WIDTHS: [Width; 4] = [Width::One, Width::Two, Width::Four, Width::Eight];

    #[test]
    fn every_layout_comes_back() {
        for width in WIDTHS {
            for rotated in [false, true] {
                for count in [0, 1, 2, 31, 32, 33, 1000] {
                    let layout = ElementLayout { width, rotated };
                    let elements: Vec<u8> =
                        (0..count * width.bytes()).map(|i| (i * 37 % 251) as u8).collect();
                    let mut planes = vec![0; elements.len()];
                    split_planes(layout, &elements, &mut planes);
                    let mut back = vec![0xEE; elements.len()];
                    merge_planes(layout, &planes, &mut back);
                    assert!(back == elements, "{layout:?} with {count} elements");
                }
            }
        }
    }

    #[test]
    fn the_top_byte_is_that_of_the_last_plane() {
        for width in WIDTHS {
            for rotated in [false, true] {
                let layout = ElementLayout { width, rotated };
                let elements: Vec<u8> =
                    (0..5 * width.bytes()).map(|i| (i * 91 % 256) as u8).collect();
                let mut planes = vec![0; elements.len()];
                split_planes(layout, &elements, &mut planes);
                planes[(width.bytes() - 1) * 5 + 3] = 0xC3;
                let mut expected = vec![0; elements.len()];
                merge_planes(layout, &planes, &mut expected);
                let mut found = elements;
                replace_top_byte(layout, &mut found[3 * width.bytes()..][..width.bytes()], 0xC3);
                assert!(found == expected, "{layout:?}");
            }
        }
    }

    #[test]
    fn rotation_puts_the_exponent_into_the_last_plane() {
        let layout = ElementLayout { width: Width::Four, rotated: true };
        let elements = [(-1.5f32).to_le_bytes(), 0.15625f32.to_le_bytes()].concat();
        let mut planes = [0; 8];
        split_planes(layout, &elements, &mut planes);
        assert_eq!(planes[6..], [127, 124]);
        // The sign is the lowest bit of the lowest plane.
        assert_eq!((planes[0] & 1, planes[1] & 1), (1, 0));
    }
}
