//! Elements stored against those of another checkpoint, the *base*: what is coded in place of an
//! element is what is left of it once the element of the same number in the base is known.
//!
//! A fine-tune leaves most elements as they are, and moves the others a little. The exclusive or is
//! zero for the first; so is the difference, which is also small for the second. Differences are
//! those of *ordered* integers: floating-point bits mapped so that a larger number is a larger
//! integer, as by M. Herf ("Radix Tricks", 2001), and folded so that small ones of either sign have
//! zeros in their upper bytes. Every step is a bijection modulo 2^w, whatever the bits mean.

use crate::split::{ElementLayout, Width};

/// What is coded of an element in place of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reference {
    /// Its bits, where they differ from the base's. They lie in planes as the element's would.
    Xor,
    /// The folded difference of the ordered integers. It is not rotated: its sign is its lowest bit.
    Difference,
}

impl Reference {
    /// The layout of coded elements, given that of the elements.
    #[inline(always)]
    pub const fn coded_layout(self, elements: ElementLayout) -> ElementLayout {
        match self {
            Self::Xor => elements,
            Self::Difference => ElementLayout { width: elements.width, rotated: false },
        }
    }
}

macro_rules! differences {
    ($unsigned:ty, $signed:ty, $ordered:ident, $from_ordered:ident, $difference:ident, $sum:ident) => {
        /// Floating-point bits as an integer that grows with the number.
        #[inline(always)]
        const fn $ordered(bits: $unsigned) -> $unsigned {
            const SIGN: $unsigned = 1 << (<$unsigned>::BITS - 1);
            // All bits of negative numbers turn around, of others the sign only.
            bits ^ (((bits as $signed) >> (<$unsigned>::BITS - 1)) as $unsigned | SIGN)
        }

        /// The inverse of the ordering.
        #[inline(always)]
        const fn $from_ordered(ordered: $unsigned) -> $unsigned {
            const SIGN: $unsigned = 1 << (<$unsigned>::BITS - 1);
            ordered ^ (((!ordered as $signed) >> (<$unsigned>::BITS - 1)) as $unsigned | SIGN)
        }

        /// The folded difference of an element and the base's; `float` says whether they are
        /// floating-point numbers.
        #[inline(always)]
        pub const fn $difference(bits: $unsigned, base: $unsigned, float: bool) -> $unsigned {
            let difference = if float {
                $ordered(bits).wrapping_sub($ordered(base))
            } else {
                bits.wrapping_sub(base)
            };
            difference << 1 ^ ((difference as $signed) >> (<$unsigned>::BITS - 1)) as $unsigned
        }

        /// The element with this folded difference from the base's.
        #[inline(always)]
        pub const fn $sum(folded: $unsigned, base: $unsigned, float: bool) -> $unsigned {
            let difference = folded >> 1 ^ (folded & 1).wrapping_neg();
            if float {
                $from_ordered($ordered(base).wrapping_add(difference))
            } else {
                base.wrapping_add(difference)
            }
        }
    };
}

differences!(u8, i8, ordered_8, from_ordered_8, difference_8, sum_8);
differences!(u16, i16, ordered_16, from_ordered_16, difference_16, sum_16);
differences!(u32, i32, ordered_32, from_ordered_32, difference_32, sum_32);
differences!(u64, i64, ordered_64, from_ordered_64, difference_64, sum_64);

/// Writes the coded elements of `elements` to `coded`. All three have as many bytes, little-endian
/// elements; `layout.rotated` says that they are floating-point numbers.
pub fn refer(
    reference: Reference,
    layout: ElementLayout,
    elements: &[u8],
    base: &[u8],
    coded: &mut [u8],
) {
    coded.copy_from_slice(elements);
    let float = layout.rotated;
    match (reference, layout.width) {
        (Reference::Xor, _) => xor(coded, base),
        (_, Width::One) => each(coded, base, |[x], [b]| [difference_8(x, b, float)]),
        (_, Width::Two) => each(coded, base, |x, b| {
            difference_16(u16::from_le_bytes(x), u16::from_le_bytes(b), float).to_le_bytes()
        }),
        (_, Width::Four) => each(coded, base, |x, b| {
            difference_32(u32::from_le_bytes(x), u32::from_le_bytes(b), float).to_le_bytes()
        }),
        (_, Width::Eight) => each(coded, base, |x, b| {
            difference_64(u64::from_le_bytes(x), u64::from_le_bytes(b), float).to_le_bytes()
        }),
    }
}

/// The inverse of [`refer`]: makes elements of the coded elements in `elements`.
pub fn restore(reference: Reference, layout: ElementLayout, elements: &mut [u8], base: &[u8]) {
    let float = layout.rotated;
    match (reference, layout.width) {
        (Reference::Xor, _) => xor(elements, base),
        (_, Width::One) => each(elements, base, |[x], [b]| [sum_8(x, b, float)]),
        (_, Width::Two) => each(elements, base, |x, b| {
            sum_16(u16::from_le_bytes(x), u16::from_le_bytes(b), float).to_le_bytes()
        }),
        (_, Width::Four) => each(elements, base, |x, b| {
            sum_32(u32::from_le_bytes(x), u32::from_le_bytes(b), float).to_le_bytes()
        }),
        (_, Width::Eight) => each(elements, base, |x, b| {
            sum_64(u64::from_le_bytes(x), u64::from_le_bytes(b), float).to_le_bytes()
        }),
    }
}

#[inline(always)]
fn xor(elements: &mut [u8], base: &[u8]) {
    each(elements, base, |[x], [b]| [x ^ b]);
}

#[inline(always)]
fn each<const W: usize>(
    elements: &mut [u8],
    base: &[u8],
    step: impl Fn([u8; W], [u8; W]) -> [u8; W],
) {
    let pairs = elements.as_chunks_mut().0.iter_mut().zip(base.as_chunks().0);
    pairs.for_each(|(element, base)| *element = step(*element, *base));
}

/// An operation and the layout of its elements as one number, for the kernel.
pub const fn packed(reference: Reference, layout: ElementLayout) -> u32 {
    let difference = matches!(reference, Reference::Difference);
    layout.width.bytes() as u32 | (layout.rotated as u32) << 8 | (difference as u32) << 9
}

/// The inverse of [`packed`]; what names no width is taken as bytes.
#[inline(always)]
pub const fn unpacked(packed: u32) -> (Reference, ElementLayout) {
    let width = match Width::from_bytes((packed & 0xFF) as usize) {
        Some(width) => width,
        None => Width::One,
    };
    let reference = if packed & 1 << 9 != 0 { Reference::Difference } else { Reference::Xor };
    (reference, ElementLayout { width, rotated: packed & 1 << 8 != 0 })
}

/// The elements of 16 bytes, as four 32-bit registers, lowest bits first. What kernels use.
#[inline(always)]
pub const fn restore_run(
    reference: Reference,
    layout: ElementLayout,
    coded: [u32; 4],
    base: [u32; 4],
) -> [u32; 4] {
    let mut run = [0; 4];
    let mut at = 0;
    match (reference, layout.width) {
        (Reference::Difference, Width::Eight) => {
            while at < 4 {
                let coded = coded[at] as u64 | (coded[at + 1] as u64) << 32;
                let base = base[at] as u64 | (base[at + 1] as u64) << 32;
                let sum = sum_64(coded, base, layout.rotated);
                (run[at], run[at + 1]) = (sum as u32, (sum >> 32) as u32);
                at += 2;
            }
        }
        _ => {
            while at < 4 {
                run[at] = restore_word(reference, layout, coded[at], base[at]);
                at += 1;
            }
        }
    }
    run
}

/// The elements within a 32-bit register, element 0 in its lowest bits; `width` is that of the
/// elements, at most four bytes.
#[inline(always)]
const fn restore_word(reference: Reference, layout: ElementLayout, coded: u32, base: u32) -> u32 {
    let float = layout.rotated;
    match (reference, layout.width) {
        (Reference::Xor, _) => coded ^ base,
        (_, Width::One) => {
            let mut word = 0;
            let mut shift = 0;
            while shift < 32 {
                let sum = sum_8((coded >> shift) as u8, (base >> shift) as u8, float);
                word |= (sum as u32) << shift;
                shift += 8;
            }
            word
        }
        (_, Width::Two) => {
            let low = sum_16(coded as u16, base as u16, float);
            let high = sum_16((coded >> 16) as u16, (base >> 16) as u16, float);
            low as u32 | (high as u32) << 16
        }
        (_, _) => sum_32(coded, base, float),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const WIDTHS: [Width; 4] = [Width::One, Width::Two, Width::Four, Width::Eight];

    #[test]
    fn every_pair_of_bytes_comes_back_and_differs_from_others() {
        for float in [false, true] {
            for base in 0..=u8::MAX {
                let mut seen = [false; 256];
                for bits in 0..=u8::MAX {
                    let folded = difference_8(bits, base, float);
                    assert_eq!(sum_8(folded, base, float), bits);
                    assert!(!std::mem::replace(&mut seen[usize::from(folded)], true));
                }
            }
        }
    }

    /// The fold by itself (base 0 of integers) and the order are bijections of all 16 bits, and so is
    /// what is made of them for every base. These bases are where carries and signs turn.
    #[test]
    fn all_16_bits_come_back_with_every_kind_of_base() {
        let edges = (0..16).flat_map(|bit| [1u16 << bit, (1 << bit) - 1, !(1 << bit)]);
        for base in edges.chain([0xFFFF, 0x8000, 0x3F80, 0xBF80, 0x7FC0]) {
            for float in [false, true] {
                for bits in 0..=u16::MAX {
                    let folded = difference_16(bits, base, float);
                    assert_eq!(sum_16(folded, base, float), bits);
                }
            }
        }
    }

    #[test]
    fn ordered_16_bit_floats_grow_with_their_numbers() {
        let number = |bits: u16| f32::from_bits(u32::from(bits) << 16);
        let mut bits: Vec<u16> = (0..=u16::MAX).filter(|&bits| !number(bits).is_nan()).collect();
        bits.sort_by_key(|&bits| ordered_16(bits));
        assert!(bits.windows(2).all(|pair| number(pair[0]) <= number(pair[1])));
        for bits in 0..=u16::MAX {
            assert_eq!(from_ordered_16(ordered_16(bits)), bits);
        }
    }

    #[test]
    fn neighbours_differ_by_little() {
        for (a, b) in [(1.0f32, 1.000_000_1f32), (-1.0, -1.000_000_1), (0.0, -0.0)] {
            let folded = difference_32(a.to_bits(), b.to_bits(), true);
            assert!((1..=2).contains(&folded), "{a} {b}: {folded}");
        }
        assert_eq!(difference_32(7, 7, false), 0);
        assert_eq!((difference_8(6, 7, false), difference_8(8, 7, false)), (1, 2));
        assert_eq!(difference_16(0, u16::MAX, false), 2, "integers wrap around");
    }

    fn arbitrary(seed: u64, length: usize) -> Vec<u8> {
        let step = |i: u64| (i ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (0..length as u64).map(|i| (step(step(i) >> 7) >> 40) as u8).collect()
    }

    #[test]
    fn blocks_of_every_width_come_back_and_runs_agree_with_them() {
        for width in WIDTHS {
            for rotated in [false, true] {
                for reference in [Reference::Xor, Reference::Difference] {
                    for seed in 0..40 {
                        let layout = ElementLayout { width, rotated };
                        let (elements, base) = (arbitrary(seed, 2048), arbitrary(!seed, 2048));
                        let mut coded = vec![0; elements.len()];
                        refer(reference, layout, &elements, &base, &mut coded);
                        let mut back = coded.clone();
                        restore(reference, layout, &mut back, &base);
                        assert!(back == elements, "{reference:?} {layout:?}");
                        assert!(by_runs(reference, layout, &coded, &base) == elements);
                        refer(reference, layout, &elements, &elements, &mut coded);
                        assert!(
                            coded.iter().all(|&byte| byte == 0),
                            "equal elements leave nothing"
                        );
                    }
                }
            }
        }
    }

    fn by_runs(reference: Reference, layout: ElementLayout, coded: &[u8], base: &[u8]) -> Vec<u8> {
        let (reference, layout) = unpacked(packed(reference, layout));
        let words = |bytes: &[u8; 16]| {
            std::array::from_fn(|at| u32::from_le_bytes(bytes.as_chunks().0[at]))
        };
        let runs = coded.as_chunks().0.iter().zip(base.as_chunks().0);
        runs.flat_map(|(coded, base)| restore_run(reference, layout, words(coded), words(base)))
            .flat_map(u32::to_le_bytes)
            .collect()
    }
}
