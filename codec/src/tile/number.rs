//! Elements as integers in the order of the numbers that they stand for, and back.

use crate::split::Width;

/// What the bits of an element mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberKind {
    /// Two's complement.
    Signed,
    /// Unsigned.
    Unsigned,
    /// A sign, an exponent, and so many bits of mantissa, as in IEEE 754.
    Float {
        /// Bits of the mantissa without the implied one.
        mantissa_bits: u32,
    },
}

/// The numbers of a tensor: integers or floats of 1, 2 or 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberFormat {
    width: Width,
    kind: NumberKind,
}

impl NumberFormat {
    /// Numbers of this width and kind; `None` for elements of 8 bytes and for floats without room
    /// for a sign and an exponent.
    pub const fn new(width: Width, kind: NumberKind) -> Option<Self> {
        let fits = match kind {
            NumberKind::Float { mantissa_bits } => mantissa_bits + 2 <= 8 * width.bytes() as u32,
            NumberKind::Signed | NumberKind::Unsigned => true,
        };
        if fits && width.bytes() <= 4 { Some(Self { width, kind }) } else { None }
    }

    /// The format as one number, for kernels.
    pub const fn packed(self) -> u32 {
        let (kind, mantissa_bits) = match self.kind {
            NumberKind::Signed => (0, 0),
            NumberKind::Unsigned => (1, 0),
            NumberKind::Float { mantissa_bits } => (2, mantissa_bits),
        };
        self.width.bytes() as u32 | kind << 8 | mantissa_bits << 16
    }

    /// The format that [`Self::packed`] made this number of.
    #[inline(always)]
    pub const fn from_packed(packed: u32) -> Self {
        let width = match packed & 0xFF {
            1 => Width::One,
            2 => Width::Two,
            _ => Width::Four,
        };
        let kind = match packed >> 8 & 0xFF {
            0 => NumberKind::Signed,
            1 => NumberKind::Unsigned,
            _ => NumberKind::Float { mantissa_bits: packed >> 16 },
        };
        Self { width, kind }
    }

    /// Bytes of an element.
    #[inline(always)]
    pub const fn width(self) -> Width {
        self.width
    }

    /// What the bits mean.
    #[inline(always)]
    pub const fn kind(self) -> NumberKind {
        self.kind
    }

    #[inline(always)]
    const fn bits(self) -> u32 {
        8 * self.width.bytes() as u32
    }

    /// The low bits of `value`, extended by their sign.
    #[inline(always)]
    const fn extended(self, value: u32) -> i32 {
        let unused = u32::BITS - self.bits();
        ((value << unused) as i32) >> unused
    }

    /// The integer of an element: these increase with the numbers. -0 is -1, +0 is 0.
    #[inline(always)]
    pub const fn to_ordered(self, bits: u32) -> i32 {
        match self.kind {
            NumberKind::Signed => self.extended(bits),
            NumberKind::Unsigned => self.extended(bits ^ 1 << (self.bits() - 1)),
            NumberKind::Float { .. } => {
                let signed = self.extended(bits);
                if signed < 0 { signed ^ self.largest() } else { signed }
            }
        }
    }

    /// The element of an integer, of which only as many low bits count as the element has.
    #[inline(always)]
    pub const fn from_ordered(self, ordered: i32) -> u32 {
        let mask = u32::MAX >> (u32::BITS - self.bits());
        let bits = match self.kind {
            NumberKind::Signed => ordered,
            NumberKind::Unsigned => ordered ^ 1 << (self.bits() - 1),
            NumberKind::Float { .. } => {
                let signed = self.extended(ordered as u32);
                if signed < 0 { signed ^ self.largest() } else { signed }
            }
        };
        bits as u32 & mask
    }

    /// The integer whose low bits, as many as an element has, are those of `value`.
    #[inline(always)]
    pub const fn wrapped(self, value: i32) -> i32 {
        self.extended(value as u32)
    }

    /// The largest of the integers.
    #[inline(always)]
    pub(super) const fn largest(self) -> i32 {
        (u32::MAX >> (u32::BITS + 1 - self.bits())) as i32
    }

    /// What is stored of an element that was predicted: the difference, modulo the element's bits,
    /// with the sign in the lowest bit, so that small differences have zeros in their high bytes.
    #[inline(always)]
    pub const fn residual(self, ordered: i32, predicted: i32) -> u32 {
        let mask = u32::MAX >> (u32::BITS - self.bits());
        fold(self.extended(ordered.wrapping_sub(predicted) as u32)) & mask
    }

    /// Undoes [`Self::residual`].
    #[inline(always)]
    pub const fn undo_residual(self, residual: u32, predicted: i32) -> i32 {
        self.extended(predicted.wrapping_add(unfold(residual)) as u32)
    }
}

/// Puts the sign into the lowest bit: 0, -1, 1, -2 become 0, 1, 2, 3.
#[inline(always)]
pub const fn fold(value: i32) -> u32 {
    (value << 1 ^ value >> 31) as u32
}

/// Undoes [`fold`].
#[inline(always)]
pub const fn unfold(folded: u32) -> i32 {
    (folded >> 1) as i32 ^ -((folded & 1) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const F16: NumberKind = NumberKind::Float { mantissa_bits: 10 };

    #[test]
    fn every_small_element_comes_back() {
        for width in [Width::One, Width::Two] {
            let float = NumberKind::Float { mantissa_bits: 4 * width.bytes() as u32 - 1 };
            for kind in [NumberKind::Signed, NumberKind::Unsigned, float] {
                let format = NumberFormat::new(width, kind).expect("narrow enough");
                assert_eq!(NumberFormat::from_packed(format.packed()), format);
                for bits in 0..1 << (8 * width.bytes()) {
                    let ordered = format.to_ordered(bits);
                    assert_eq!(format.from_ordered(ordered), bits, "{format:?}");
                    for predicted in [0, 1, -1, 100, i32::MAX, i32::MIN] {
                        let residual = format.residual(ordered, predicted);
                        assert_eq!(format.undo_residual(residual, predicted), ordered);
                        assert!(residual < 1 << (8 * width.bytes()));
                    }
                }
            }
        }
    }

    #[test]
    fn integers_increase_with_the_numbers() {
        let format = NumberFormat::new(Width::Two, F16).expect("narrow enough");
        // -infinity, -1, -smallest, -0, 0, smallest, 1, infinity
        let rising = [0xFC00, 0xBC00, 0x8001, 0x8000, 0, 1, 0x3C00, 0x7C00];
        assert!(rising.map(|bits| format.to_ordered(bits)).is_sorted());
        assert_eq!((format.to_ordered(0x8000), format.to_ordered(0)), (-1, 0));
        let unsigned = NumberFormat::new(Width::One, NumberKind::Unsigned).expect("narrow enough");
        assert_eq!([0, 128, 255].map(|bits| unsigned.to_ordered(bits)), [-128, 0, 127]);
    }

    #[test]
    fn small_differences_have_small_residuals() {
        let format = NumberFormat::new(Width::Four, NumberKind::Signed).expect("narrow enough");
        assert_eq!([0, -1, 1, -2].map(|difference| format.residual(difference, 0)), [0, 1, 2, 3]);
        // Modulo 2^32: the distance from the largest to the smallest is 1.
        assert_eq!(format.residual(i32::MIN, i32::MAX), 2);
        assert_eq!(format.undo_residual(2, i32::MAX), i32::MIN);
    }

    #[test]
    fn formats_that_cannot_be_are_refused() {
        assert_eq!(NumberFormat::new(Width::Eight, NumberKind::Signed), None);
        assert_eq!(NumberFormat::new(Width::One, F16), None);
    }
}
