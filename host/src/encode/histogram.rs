//! Counts of the byte values of each plane of a block.

use codec::constants::ALPHABET;
use codec::split::{ElementLayout, Width};

/// Counts of one plane of one block.
pub(crate) type PlaneCounts = [u32; ALPHABET];

/// Counts of all planes of a block, plane 0 first.
pub(crate) fn count_planes(layout: ElementLayout, elements: &[u8]) -> Vec<PlaneCounts> {
    let rotation = u32::from(layout.rotated);
    match layout.width {
        Width::One => count(elements, |e: [u8; 1]| e[0].rotate_left(rotation).to_le_bytes()),
        Width::Two => {
            count(elements, |e| u16::from_le_bytes(e).rotate_left(rotation).to_le_bytes())
        }
        Width::Four => {
            count(elements, |e| u32::from_le_bytes(e).rotate_left(rotation).to_le_bytes())
        }
        Width::Eight => {
            count(elements, |e| u64::from_le_bytes(e).rotate_left(rotation).to_le_bytes())
        }
    }
}

/// Neighbouring elements often have equal bytes; two sets of counters let the processor start on
/// one before the other's store has landed.
fn count<const W: usize>(elements: &[u8], rotate: impl Fn([u8; W]) -> [u8; W]) -> Vec<PlaneCounts> {
    let mut even = vec![[0u32; ALPHABET]; W];
    let mut odd = even.clone();
    let (pairs, last) = elements.as_chunks::<W>().0.as_chunks::<2>();
    for pair in pairs {
        for (element, counts) in pair.iter().zip([&mut even, &mut odd]) {
            for (plane, byte) in counts.iter_mut().zip(rotate(*element)) {
                plane[usize::from(byte)] += 1;
            }
        }
    }
    for element in last {
        for (plane, byte) in even.iter_mut().zip(rotate(*element)) {
            plane[usize::from(byte)] += 1;
        }
    }
    for (sum, counts) in even.as_flattened_mut().iter_mut().zip(odd.as_flattened()) {
        *sum += counts;
    }
    even
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::split::split_planes;

    #[test]
    fn counts_are_those_of_the_split_planes() {
        for width in [Width::One, Width::Two, Width::Four, Width::Eight] {
            for rotated in [false, true] {
                for count in [0, 1, 2, 999] {
                    let layout = ElementLayout { width, rotated };
                    let elements: Vec<u8> =
                        (0..count * width.bytes()).map(|i| (i * i % 251) as u8).collect();
                    let mut planes = vec![0; elements.len()];
                    split_planes(layout, &elements, &mut planes);
                    let counts = count_planes(layout, &elements);
                    for (plane, counts) in counts.iter().enumerate() {
                        for (value, &found) in counts.iter().enumerate() {
                            let values = &planes[plane * count..][..count];
                            let expected =
                                values.iter().filter(|&&v| usize::from(v) == value).count();
                            assert_eq!(found as usize, expected, "{layout:?} plane {plane}");
                        }
                    }
                }
            }
        }
    }
}
