//! A small generator of random numbers whose results are the same everywhere and for ever.

/// SplitMix64, after Steele, Lea and Flood, "Fast splittable pseudorandom number generators"
/// (2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator whose numbers depend on `seed` only.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The upper half of a product is unbiased enough for test data.
        ((u128::from(self.bits()) * u128::from(limit)) >> 64) as u64
    }

    /// A nearly Gaussian number with mean 0 and variance 1: the sum of eight uniform ones.
    ///
    /// Takes only additions and one product, which are the same on every machine; logarithms are
    /// not.
    pub fn gaussian(&mut self) -> f32 {
        /// One over the standard deviation of the sum of eight numbers from 0 to 65535.
        const SCALE: f32 = 1.0 / 53_509.6;
        const MEAN: i32 = 4 * 65_535;
        let words = [self.bits(), self.bits()];
        let sum: i32 = words
            .iter()
            .flat_map(|word| (0..4).map(move |i| (word >> (16 * i)) as u16 as i32))
            .sum();
        (sum - MEAN) as f32 * SCALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_published_ones() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn gaussian_numbers_have_mean_0_and_variance_1() {
        let mut random = Random::new(3);
        let numbers: Vec<f64> = (0..100_000).map(|_| f64::from(random.gaussian())).collect();
        let mean = numbers.iter().sum::<f64>() / 1e5;
        let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }

    #[test]
    fn numbers_below_a_limit_reach_both_ends() {
        let mut random = Random::new(5);
        let mut seen = [0; 3];
        (0..300).for_each(|_| seen[random.below(3) as usize] += 1);
        assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
    }
}
