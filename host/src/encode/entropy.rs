//! Entropy of counted symbols.

use std::sync::LazyLock;

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

#[cfg(test)]
mod tests {
    use super::*;
    use codec::constants::ALPHABET;

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
