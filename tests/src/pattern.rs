//! What tensors may be filled with.

use std::f64::consts::FRAC_1_PI;

use wcodec::safetensors::Dtype;

use crate::Random;

/// A kind of content. For integers and packed dtypes, the upper half of the bits stands for the
/// exponent that the descriptions speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Random bits.
    Uniform,
    /// Nearly Gaussian numbers, scaled as weights of the dtype are.
    Gaussian,
    /// Exponents that each occur half as often as the next, of any sign and mantissa.
    HeavyTailed,
    /// NaNs of all payloads.
    NotANumber,
    /// Positive and negative infinities.
    Infinite,
    /// Subnormal numbers and zeros of both signs.
    Subnormal,
    /// Zeros.
    Zero,
    /// One random element, over and over.
    Constant,
    /// All 256 byte values in turn, with a period of 256 bytes.
    AllBytes,
    /// Bytes that count up with a period of 251, so that blocks never repeat.
    Counting,
    /// One byte value with an occasional other one, 4095 to 1.
    RareSymbol,
}

impl Pattern {
    /// Every pattern.
    pub const ALL: [Self; 11] = [
        Self::Uniform,
        Self::Gaussian,
        Self::HeavyTailed,
        Self::NotANumber,
        Self::Infinite,
        Self::Subnormal,
        Self::Zero,
        Self::Constant,
        Self::AllBytes,
        Self::Counting,
        Self::RareSymbol,
    ];

    /// `length` bytes of elements of `dtype`, little-endian.
    pub fn fill(self, dtype: &Dtype, length: usize, random: &mut Random) -> Vec<u8> {
        let fields = Fields::of(dtype);
        let constant = random.bits();
        let width = (fields.bits / 8) as usize;
        let mut bytes = Vec::with_capacity(length + width);
        while bytes.len() < length {
            let at = bytes.len();
            let element = match self {
                Self::Uniform => random.bits(),
                Self::Gaussian => fields.gaussian(dtype, random),
                Self::HeavyTailed => fields.heavy_tailed(random),
                Self::NotANumber => fields.with_exponent(u64::MAX, random.bits() | 1),
                Self::Infinite => fields.with_exponent(u64::MAX, random.bits() & fields.sign()),
                Self::Subnormal => fields.with_exponent(0, random.bits()),
                Self::Zero => 0,
                Self::Constant => constant,
                Self::AllBytes => byte_by_byte(width, |i| ((at + i) % 256) as u8),
                Self::Counting => byte_by_byte(width, |i| ((at + i) % 251) as u8),
                Self::RareSymbol => {
                    byte_by_byte(width, |_| if random.below(4096) == 0 { 0x91 } else { 0x3C })
                }
            };
            bytes.extend_from_slice(&element.to_le_bytes()[..width]);
        }
        bytes.truncate(length);
        bytes
    }
}

fn byte_by_byte(width: usize, mut byte: impl FnMut(usize) -> u8) -> u64 {
    (0..width).fold(0, |element, i| element | u64::from(byte(i)) << (8 * i))
}

/// Where sign, exponent and mantissa lie: the sign is the top bit, the mantissa the lowest ones.
#[derive(Debug, Clone, Copy)]
struct Fields {
    bits: u32,
    exponent_bits: u32,
}

impl Fields {
    /// Packed and unknown dtypes count as integers of 8 bits, a complex number as two floats.
    fn of(dtype: &Dtype) -> Self {
        let (bits, exponent_bits) = match dtype {
            Dtype::F8E4M3 | Dtype::F8E4M3Fnuz => (8, 4),
            Dtype::F8E5M2 | Dtype::F8E5M2Fnuz => (8, 5),
            Dtype::F16 => (16, 5),
            Dtype::BF16 => (16, 8),
            Dtype::F32 | Dtype::C64 => (32, 8),
            Dtype::F64 => (64, 11),
            Dtype::I16 | Dtype::U16 => (16, 7),
            Dtype::I32 | Dtype::U32 => (32, 15),
            Dtype::I64 | Dtype::U64 => (64, 31),
            _ => (8, 3),
        };
        Self { bits, exponent_bits }
    }

    fn mantissa_bits(self) -> u32 {
        self.bits - 1 - self.exponent_bits
    }

    fn sign(self) -> u64 {
        1 << (self.bits - 1)
    }

    /// `element` with its exponent field replaced by the low bits of `exponent`.
    fn with_exponent(self, exponent: u64, element: u64) -> u64 {
        let mask = ((1 << self.exponent_bits) - 1) << self.mantissa_bits();
        element & !mask | exponent << self.mantissa_bits() & mask
    }

    fn heavy_tailed(self, random: &mut Random) -> u64 {
        let middle = 1 << (self.exponent_bits - 1);
        let steps = u64::from(random.bits().leading_zeros());
        self.with_exponent(middle - steps.min(middle), random.bits())
    }

    /// A Gaussian number as this dtype holds it: floats are truncated, integers wrap around.
    fn gaussian(self, dtype: &Dtype, random: &mut Random) -> u64 {
        let number = random.gaussian();
        match dtype {
            // Nearly 0.02, but without a period in its digits, which would show in the mantissas.
            Dtype::F64 => (f64::from(number) * (FRAC_1_PI / 16.0)).to_bits(),
            // Scaled by the largest magnitude, as quantisers do.
            Dtype::F8E4M3 | Dtype::F8E4M3Fnuz => self.narrowed(number * 100.0),
            Dtype::F8E5M2 | Dtype::F8E5M2Fnuz => self.narrowed(number * 10_000.0),
            Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::C64 => self.narrowed(number * 0.02),
            Dtype::Bool => u64::from(number > 0.0),
            Dtype::F4 => {
                let nibble = |number: f32| (number * 3.0) as i64 as u64 & 0xF;
                nibble(number) | nibble(random.gaussian()) << 4
            }
            _ => (number * 30.0) as i64 as u64,
        }
    }

    /// The float with these fields that is nearest to `number` on the side of zero; what is too
    /// small is zero and what is too large has the largest exponent.
    fn narrowed(self, number: f32) -> u64 {
        const WIDE_MANTISSA_BITS: u32 = 23;
        const WIDE_BIAS: i64 = 127;
        let bits = u64::from(number.to_bits());
        let bias = (1 << (self.exponent_bits - 1)) - 1;
        let exponent = (bits >> WIDE_MANTISSA_BITS & 0xFF) as i64 - WIDE_BIAS + bias;
        let sign = if number.is_sign_negative() { self.sign() } else { 0 };
        if exponent <= 0 {
            return sign;
        }
        let exponent = exponent.min((1 << self.exponent_bits) - 1) as u64;
        let mantissa = bits & ((1 << WIDE_MANTISSA_BITS) - 1);
        let mantissa = mantissa >> (WIDE_MANTISSA_BITS - self.mantissa_bits());
        sign | exponent << self.mantissa_bits() | mantissa
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(pattern: Pattern) -> Vec<f32> {
        let bytes = pattern.fill(&Dtype::F32, 4000, &mut Random::new(9));
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn float_patterns_are_what_they_are_called() {
        assert!(floats(Pattern::NotANumber).iter().all(|x| x.is_nan()));
        assert!(floats(Pattern::Infinite).iter().all(|x| x.is_infinite()));
        assert!(floats(Pattern::Subnormal).iter().all(|x| x.is_subnormal() || *x == 0.0));
        let gaussian = floats(Pattern::Gaussian);
        let variance = gaussian.iter().map(|x| x * x).sum::<f32>() / gaussian.len() as f32;
        assert!((variance.sqrt() - 0.02).abs() < 0.002, "{variance}");
    }

    #[test]
    fn narrowing_truncates_towards_zero() {
        let bfloat = Fields::of(&Dtype::BF16);
        assert_eq!(bfloat.narrowed(-1.5), 0xBFC0);
        let half = Fields::of(&Dtype::F16);
        assert_eq!((half.narrowed(1.0), half.narrowed(1e-9)), (0x3C00, 0));
        assert_eq!(Fields::of(&Dtype::F8E4M3).narrowed(1.0), 0x38);
        assert_eq!(Fields::of(&Dtype::F32).narrowed(0.1), u64::from(0.1f32.to_bits()));
    }

    #[test]
    fn lengths_are_exact_for_every_dtype() {
        for dtype in crate::all_dtypes() {
            for pattern in Pattern::ALL {
                for length in [0, 1, 13] {
                    let bytes = pattern.fill(&dtype, length, &mut Random::new(1));
                    assert_eq!(bytes.len(), length, "{dtype} {pattern:?}");
                }
            }
        }
    }
}
