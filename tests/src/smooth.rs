//! Tensors that are computed rather than trained: what tiles are for.

use std::f64::consts::{PI, TAU};

use half::f16;
use wcodec::safetensors::Dtype;

use crate::{Random, TestTensor};

/// Numbers from -1 to 1 in rows and columns, or filters of them.
#[derive(Debug, Clone, PartialEq)]
pub struct SmoothTable {
    /// Its name.
    pub name: String,
    /// Dimensions, the slowest first.
    pub shape: Vec<u64>,
    /// As many as the shape says, row-major.
    pub values: Vec<f64>,
}

impl SmoothTable {
    fn of_rows(name: &str, rows: usize, columns: usize, value: impl Fn(f64, usize) -> f64) -> Self {
        let row = |row: usize| (0..columns).map(move |column| (row, column));
        let values = (0..rows).flat_map(row).map(|(row, column)| value(row as f64, column));
        Self {
            name: name.to_owned(),
            shape: vec![rows as u64, columns as u64],
            values: values.collect(),
        }
    }

    /// Sinusoidal positions as in "Attention is all you need" (Vaswani et al., 2017): sines in even
    /// columns, cosines in odd ones.
    pub fn sinusoidal_positions(rows: usize, columns: usize) -> Self {
        Self::of_rows("sinusoidal_positions", rows, columns, |row, column| {
            let exponent = (column / 2 * 2) as f64 / columns as f64;
            let angle = row / 10_000f64.powf(exponent);
            if column % 2 == 0 { angle.sin() } else { angle.cos() }
        })
    }

    /// Cosines of rotary positions (Su et al., "RoFormer", 2021), each frequency in two columns half
    /// a row apart.
    pub fn rotary_cosines(rows: usize, columns: usize) -> Self {
        Self::of_rows("rotary_cosines", rows, columns, |row, column| {
            rotary_angle(row, column, columns).cos()
        })
    }

    /// The sines to these cosines.
    pub fn rotary_sines(rows: usize, columns: usize) -> Self {
        Self::of_rows("rotary_sines", rows, columns, |row, column| {
            rotary_angle(row, column, columns).sin()
        })
    }

    /// Gabor filters of `side` x `side`: cosines of eight orientations, of frequencies from one wave
    /// in eight pixels to two in five, and of any phase, under a wide bell.
    pub fn gabor_bank(filters: usize, side: usize) -> Self {
        let mut random = Random::new(filters as u64);
        let mut uniform = || random.bits() as f64 / 2f64.powi(64);
        let middle = (side - 1) as f64 / 2.0;
        let mut values = Vec::with_capacity(filters * side * side);
        for filter in 0..filters {
            let angle = PI * (filter % 8) as f64 / 8.0;
            let frequency = 0.125 + 0.275 * uniform();
            let (phase, width) = (TAU * uniform(), side as f64 * (0.25 + 0.15 * uniform()));
            for (row, column) in
                (0..side).flat_map(|row| (0..side).map(move |column| (row, column)))
            {
                let (y, x) = (row as f64 - middle, column as f64 - middle);
                let along = x * angle.cos() + y * angle.sin();
                let bell = (-(x * x + y * y) / (2.0 * width * width)).exp();
                values.push(bell * (TAU * frequency * along + phase).cos());
            }
        }
        let shape = vec![filters as u64, side as u64, side as u64];
        Self { name: "gabor_bank".to_owned(), shape, values }
    }

    /// The table as INT8, with 127 for 1.
    pub fn as_i8(&self) -> TestTensor {
        let bytes = self.values.iter().map(|value| (127.0 * value).round() as i8 as u8).collect();
        self.tensor(Dtype::I8, bytes)
    }

    /// The table as FP16, rounded to the nearest.
    pub fn as_f16(&self) -> TestTensor {
        let bytes = self.values.iter().flat_map(|&value| f16::from_f64(value).to_le_bytes());
        self.tensor(Dtype::F16, bytes.collect())
    }

    /// The table as FP32.
    pub fn as_f32(&self) -> TestTensor {
        let bytes = self.values.iter().flat_map(|&value| (value as f32).to_le_bytes());
        self.tensor(Dtype::F32, bytes.collect())
    }

    fn tensor(&self, dtype: Dtype, bytes: Vec<u8>) -> TestTensor {
        let name = format!("{}.{dtype}", self.name);
        TestTensor { name, dtype, shape: self.shape.clone(), bytes }
    }
}

fn rotary_angle(row: f64, column: usize, columns: usize) -> f64 {
    let exponent = 2.0 * (column % (columns / 2)) as f64 / columns as f64;
    row / 10_000f64.powf(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_what_they_are_called() {
        let positions = SmoothTable::sinusoidal_positions(3, 8);
        assert_eq!(positions.values[..4], [0.0, 1.0, 0.0, 1.0]);
        assert_eq!((positions.values[8], positions.values[9]), (1f64.sin(), 1f64.cos()));
        let (cosines, sines) = (SmoothTable::rotary_cosines(9, 6), SmoothTable::rotary_sines(9, 6));
        let unit = cosines.values.iter().zip(&sines.values).map(|(c, s)| c * c + s * s);
        assert!(unit.into_iter().all(|sum| (sum - 1.0).abs() < 1e-12));
        assert_eq!(cosines.values[6..9], cosines.values[9..12]);
        let bank = SmoothTable::gabor_bank(5, 7);
        assert_eq!((bank.values.len(), bank.as_f16().bytes.len()), (245, 490));
        assert!(bank.values.iter().all(|value| value.abs() <= 1.0));
    }
}
