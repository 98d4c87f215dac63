//! Gaussian weights of the common dtypes, the same bytes on every machine and in every run.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};
use rayon::prelude::*;
use wcodec::safetensors::Dtype;

/// Bytes of weights that one generator makes.
const PIECE_BYTES: usize = 1 << 20;

/// Type of the weights. INT4 is two numbers to a byte, which checkpoints store as U8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightType {
    BF16,
    F16,
    F32,
    I8,
    Int4,
    F8E4M3,
}

impl WeightType {
    const ALL: [Self; 6] = [Self::BF16, Self::F16, Self::F32, Self::I8, Self::Int4, Self::F8E4M3];

    fn name(self) -> &'static str {
        match self {
            Self::BF16 => "BF16",
            Self::F16 => "F16",
            Self::F32 => "F32",
            Self::I8 => "I8",
            Self::Int4 => "INT4",
            Self::F8E4M3 => "F8_E4M3",
        }
    }

    /// Bits of one weight.
    fn bits(self) -> usize {
        match self {
            Self::F32 => 32,
            Self::BF16 | Self::F16 => 16,
            Self::I8 | Self::F8E4M3 => 8,
            Self::Int4 => 4,
        }
    }

    /// The dtype that a checkpoint says such a tensor has.
    pub(crate) fn dtype(self) -> Dtype {
        match self {
            Self::BF16 => Dtype::BF16,
            Self::F16 => Dtype::F16,
            Self::F32 => Dtype::F32,
            Self::I8 => Dtype::I8,
            Self::Int4 => Dtype::U8,
            Self::F8E4M3 => Dtype::F8E4M3,
        }
    }
}

impl WeightType {
    /// The type of weights that a checkpoint has as this dtype; bytes of which nothing else is known are taken
    /// for INT4.
    pub(crate) fn of(dtype: &Dtype) -> Self {
        Self::ALL.into_iter().find(|weights| weights.dtype() == *dtype).unwrap_or(Self::Int4)
    }
}

impl fmt::Display for WeightType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for WeightType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|weights| weights.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is no dtype to make weights of; these are: {names}")
        })
    }
}

/// `elements` weights, little-endian, with a standard deviation of 0.02 (floats), 32 (INT8), 64
/// (FP8) or 2.3 (INT4).
pub(crate) fn gaussian(weights: WeightType, elements: usize) -> Vec<u8> {
    let mut data = vec![0; elements * weights.bits() / 8];
    data.par_chunks_mut(PIECE_BYTES).enumerate().for_each(|(number, piece)| {
        let mut normal = Normal::new(number as u64);
        fill(weights, piece, || normal.next());
    });
    data
}

fn fill(weights: WeightType, piece: &mut [u8], mut normal: impl FnMut() -> f32) {
    match weights {
        WeightType::F32 => fill_with(piece, || (normal() * 0.02).to_le_bytes()),
        WeightType::BF16 => fill_with(piece, || bf16::from_f32(normal() * 0.02).to_le_bytes()),
        WeightType::F16 => fill_with(piece, || f16::from_f32(normal() * 0.02).to_le_bytes()),
        WeightType::I8 => {
            fill_with(piece, || [(normal() * 32.0).round().clamp(-127.0, 127.0) as i8 as u8])
        }
        WeightType::Int4 => {
            let mut nibble = || ((normal() * 2.3).round().clamp(-8.0, 7.0) + 8.0) as u8;
            fill_with(piece, || [nibble() | nibble() << 4]);
        }
        WeightType::F8E4M3 => fill_with(piece, || [e4m3(normal() * 64.0)]),
    }
}

fn fill_with<const BYTES: usize>(piece: &mut [u8], mut element: impl FnMut() -> [u8; BYTES]) {
    piece.as_chunks_mut().0.iter_mut().for_each(|bytes| *bytes = element());
}

/// E4M3 by way of F16: sign, exponent bias 7, three bits of mantissa (truncated), zero below.
fn e4m3(value: f32) -> u8 {
    let bits = f16::from_f32(value).to_bits();
    let exponent = i32::from(bits >> 10 & 31) - 15 + 7;
    let sign = (bits >> 8 & 0x80) as u8;
    match exponent {
        ..=0 => sign,
        _ => sign | (exponent.min(15) as u8) << 3 | (bits >> 7 & 7) as u8,
    }
}

/// Normal deviates by Box and Muller's method from a xorshift generator (Marsaglia, 2003).
struct Normal {
    state: u64,
    spare: Option<f32>,
}

impl Normal {
    fn new(seed: u64) -> Self {
        let state = 0x9E37_79B9_7F4A_7C15 ^ (seed + 1).wrapping_mul(0xD134_2543_DE82_EF95);
        Self { state, spare: None }
    }

    fn uniform(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let bits = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        (bits as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn next(&mut self) -> f32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some((radius * sine) as f32);
        (radius * cosine) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_the_bits_that_a_checkpoint_says() {
        for weights in WeightType::ALL {
            let packed = if weights == WeightType::Int4 { 2 } else { 1 };
            assert_eq!(weights.dtype().bits(), Some(packed * weights.bits() as u32), "{weights}");
            assert_eq!(weights.to_string().parse(), Ok(weights));
        }
        assert!("BF17".parse::<WeightType>().unwrap_err().contains("F8_E4M3"));
    }

    #[test]
    fn weights_are_gaussian_and_reproducible() {
        let bytes = gaussian(WeightType::F32, 1 << 19);
        assert!(bytes == gaussian(WeightType::F32, 1 << 19));
        let (numbers, rest) = bytes.as_chunks::<4>();
        assert_eq!((numbers.len(), rest.len()), (1 << 19, 0));
        let squares: f64 =
            numbers.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes)).powi(2)).sum();
        let deviation = (squares / numbers.len() as f64).sqrt();
        assert!((deviation - 0.02).abs() < 1e-4, "{deviation}");
        // Two pieces, made by different generators.
        assert!(bytes[..PIECE_BYTES] != bytes[PIECE_BYTES..]);
    }
}
