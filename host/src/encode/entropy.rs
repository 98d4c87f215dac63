//! Entropy of counted symbols.

use std::sync::LazyLock;

use super::histogram::PlaneCounts;
use crate::simd::level;

/// Numbers whose product with their logarithm is looked up: a small block has no others.
const TABULATED: usize = 1024;

static PRODUCTS: LazyLock<[f64; TABULATED]> =
    LazyLock::new(|| std::array::from_fn(|number| product(number as u64)));

/// `number * log2(number)`, 0 for 0.
fn product(number: u64) -> f64 {
    (number as f64) * (number.max(1) as f64).log2()
}

/// Bits of symbols with these counts by their own entropy.
pub(crate) fn entropy_bits<C: Copy + Into<u64>, const N: usize>(counts: &[C; N]) -> f64 {
    let products = &*PRODUCTS;
    let product_of =
        |count: u64| products.get(count as usize).copied().unwrap_or_else(|| product(count));
    let (mut total, mut sum) = (0, 0.0);
    for &count in counts {
        total += count.into();
        sum += product_of(count.into());
    }
    product_of(total) - sum
}

/// The same to within a hundred-thousandth of the number of symbols, several times as fast.
pub(crate) fn about_entropy_bits(counts: &PlaneCounts) -> f64 {
    level().run(
        #[inline(always)]
        || {
            let mut sums = [0f32; SUMS];
            let mut totals = [0u32; SUMS];
            for counts in counts.as_chunks::<SUMS>().0 {
                for ((sum, total), &count) in sums.iter_mut().zip(&mut totals).zip(counts) {
                    *total += count;
                    *sum += about_product(count);
                }
            }
            let sum: f64 = sums.into_iter().map(f64::from).sum();
            product(totals.into_iter().map(u64::from).sum()) - sum
        },
    )
}

/// Sums that are added up side by side, which a processor does at the same time.
const SUMS: usize = 16;

/// About `number * log2(number)`, 0 for 0.
#[inline(always)]
fn about_product(number: u32) -> f32 {
    // As a signed number, which vectors have an instruction for.
    let number = number as i32 as f32;
    number * about_log2(number.max(1.0))
}

/// log2 of a positive normal number to within two millionths, exact for powers of two: of use where a
/// compiler makes vectors of the loop that it is in.
#[inline(always)]
pub(crate) fn about_log2(number: f32) -> f32 {
    // What log2(1 + t) differs from t by on 0 to 1, divided by t (1 - t): the least squares of six
    // coefficients at the zeros of a Chebyshev polynomial.
    const COEFFICIENTS: [f32; 6] =
        [0.442_693_14, -0.278_461_13, 0.199_131_97, -0.139_574_16, 0.074_853_7, -0.020_077_66];
    const MANTISSA_BITS: u32 = f32::MANTISSA_DIGITS - 1;
    const ONE: u32 = 1f32.to_bits();
    let bits = number.to_bits();
    let exponent = (bits >> MANTISSA_BITS) as i32 - (ONE >> MANTISSA_BITS) as i32;
    let t = f32::from_bits(bits & ((1 << MANTISSA_BITS) - 1) | ONE) - 1.0;
    let polynomial = COEFFICIENTS.iter().rev().fold(0.0, |sum, &c| sum * t + c);
    exponent as f32 + t + t * (1.0 - t) * polynomial
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::constants::ALPHABET;

    #[test]
    fn the_fast_logarithm_is_close_to_the_exact_one() {
        for number in (1..1 << 22).step_by(7).chain((0..32).map(|shift| 1u32 << shift)) {
            let (found, exact) = (about_log2(number as f32), f64::from(number).log2());
            // A number of 24 bits that is up to 32 has an error of its own.
            assert!((f64::from(found) - exact).abs() <= 4e-6, "{number}: {found} {exact}");
            assert!(!number.is_power_of_two() || f64::from(found) == exact);
        }
    }

    #[test]
    fn the_fast_entropy_is_close_to_the_exact_one() {
        let mut state = 1u32;
        for shift in 0..24 {
            let mut counts = [0u32; ALPHABET];
            for count in &mut counts {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *count = state >> 8 >> shift.min(state % 24);
                *count %= 1 << 21;
            }
            let total = counts.iter().map(|&count| f64::from(count)).sum::<f64>();
            let difference = about_entropy_bits(&counts) - entropy_bits(&counts);
            assert!(difference.abs() <= 1e-5 * total, "{shift}: {difference} of {total}");
        }
        let mut one = [0; ALPHABET];
        assert_eq!(about_entropy_bits(&one), 0.0);
        one[9] = 1 << 20;
        assert_eq!(about_entropy_bits(&one), 0.0);
    }

    #[test]
    fn entropy_is_that_of_known_distributions() {
        assert_eq!(entropy_bits(&[0u32; ALPHABET]), 0.0);
        assert_eq!(entropy_bits(&[4u32; ALPHABET]), 4.0 * 8.0 * 256.0);
        let mut counts = [0u64; ALPHABET];
        counts[7] = 1 << 40;
        assert_eq!(entropy_bits(&counts), 0.0);
        counts[9] = 1 << 40;
        assert_eq!(entropy_bits(&counts), (1u64 << 41) as f64);
    }
}
