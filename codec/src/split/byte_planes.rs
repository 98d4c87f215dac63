//! Elements of 1, 2, 4 or 8 bytes as that many byte planes.

use super::{ElementLayout, Width};

/// Cuts little-endian `elements` into planes: `planes[p * count..][i]` is byte `p` of element `i`.
///
/// `planes` has as many bytes as `elements`; the count of elements is that divided by the width.
pub fn split_planes(layout: ElementLayout, elements: &[u8], planes: &mut [u8]) {
    assert_eq!(elements.len(), planes.len(), "planes of another size than their elements");
    match layout.width {
        Width::One => split::<1>(elements, planes, |v| v.rotate_left_in(8, layout.rotated)),
        Width::Two => split::<2>(elements, planes, |v| v.rotate_left_in(16, layout.rotated)),
        Width::Four => split::<4>(elements, planes, |v| v.rotate_left_in(32, layout.rotated)),
        Width::Eight => split::<8>(elements, planes, |v| v.rotate_left_in(64, layout.rotated)),
    }
}

/// Puts planes, as [`split_planes`] makes them, together again.
pub fn merge_planes(layout: ElementLayout, planes: &[u8], elements: &mut [u8]) {
    assert_eq!(elements.len(), planes.len(), "planes of another size than their elements");
    match layout.width {
        Width::One => merge::<1>(planes, elements, |v| v.rotate_right_in(8, layout.rotated)),
        Width::Two => merge::<2>(planes, elements, |v| v.rotate_right_in(16, layout.rotated)),
        Width::Four => merge::<4>(planes, elements, |v| v.rotate_right_in(32, layout.rotated)),
        Width::Eight => merge::<8>(planes, elements, |v| v.rotate_right_in(64, layout.rotated)),
    }
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

#[inline(always)]
fn split<const W: usize>(elements: &[u8], planes: &mut [u8], rotate: impl Fn(u64) -> u64) {
    let elements = elements.as_chunks::<W>().0;
    if elements.is_empty() {
        return;
    }
    let mut rows = planes.chunks_exact_mut(elements.len());
    let mut rows: [&mut [u8]; W] = core::array::from_fn(|_| rows.next().unwrap_or_default());
    for (i, element) in elements.iter().enumerate() {
        let mut wide = [0; 8];
        wide[..W].copy_from_slice(element);
        let bytes = rotate(u64::from_le_bytes(wide)).to_le_bytes();
        for (row, byte) in rows.iter_mut().zip(bytes) {
            row[i] = byte;
        }
    }
}

#[inline(always)]
fn merge<const W: usize>(planes: &[u8], elements: &mut [u8], rotate: impl Fn(u64) -> u64) {
    let elements = elements.as_chunks_mut::<W>().0;
    if elements.is_empty() {
        return;
    }
    let mut rows = planes.chunks_exact(elements.len());
    let rows: [&[u8]; W] = core::array::from_fn(|_| rows.next().unwrap_or_default());
    for (i, element) in elements.iter_mut().enumerate() {
        let mut wide = [0; 8];
        for (byte, row) in wide.iter_mut().zip(rows) {
            *byte = row[i];
        }
        element.copy_from_slice(&rotate(u64::from_le_bytes(wide)).to_le_bytes()[..W]);
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
