//! Reversible transforms of eight integers: the type II cosine transform (DCT-II) and the type IV
//! sine transform, the asymmetric one of video codecs (ADST), orthonormal and rounded.
//!
//! Each is a network of plane rotations. A rotation is three lifting steps, each of which adds a
//! rounded multiple of one number to the other: taking the same multiple away again undoes it
//! exactly, whatever the rounding, and also where sums wrap around. Networks: Plonka and Tasche,
//! "Invertible integer DCT algorithms" (2003); lifting: Daubechies and Sweldens, "Factoring wavelet
//! transforms into lifting steps" (1998); the ADST's use: Han, Saxena, Melkote and Rose, "Jointly
//! optimized spatial prediction and block transform for video and image coding" (2012).
//!
//! Signs of coefficients are those that the networks give them. Of 8x8 integers from -128 to 127 no
//! coefficient exceeds 16 bits, and the DC coefficient is eight times the mean.

/// Bits after the binary point of a rotation's factors.
const FACTOR_BITS: u32 = 15;

/// A transform of eight numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// DCT-II.
    Cosine,
    /// The sine transform of type IV.
    Sine,
}

/// Eight integers in place, wherever they are.
pub trait Eight {
    /// The number at `index`, which is below 8.
    fn get(&self, index: u32) -> i32;
    /// Replaces the number at `index`, which is below 8.
    fn set(&mut self, index: u32, value: i32);
}

impl Eight for [i32; 8] {
    #[inline(always)]
    fn get(&self, index: u32) -> i32 {
        self[index as usize]
    }

    #[inline(always)]
    fn set(&mut self, index: u32, value: i32) {
        self[index as usize] = value;
    }
}

/// A rotation of the plane of two numbers: by `sine` = sin(angle) and `tangent` = tan(angle / 2).
#[derive(Debug, Clone, Copy)]
struct Rotation {
    first: u8,
    second: u8,
    tangent: i16,
    sine: i16,
}

/// tan(angle / 2) and sin(angle), in units of 2^-15.
type Angle = (i16, i16);

const PI_4: Angle = (13573, 23170);
const PI_8: Angle = (6518, 12540);
const PI_16: Angle = (3227, 6393);
const PI_16_3: Angle = (9940, 18205);
const PI_32: Angle = (1610, 3212);
const PI_32_3: Angle = (4861, 9512);
const PI_32_5: Angle = (8208, 15447);
const PI_32_7: Angle = (11725, 20788);

/// By the angle.
const fn turn(first: u8, second: u8, angle: Angle) -> Rotation {
    Rotation { first, second, tangent: angle.0, sine: angle.1 }
}

/// By the angle, backwards.
const fn back(first: u8, second: u8, angle: Angle) -> Rotation {
    Rotation { first, second, tangent: -angle.0, sine: -angle.1 }
}

/// Sums and differences of mirrored numbers; of those a DCT-II of four (even coefficients) and a
/// DCT-IV of four (odd ones).
const COSINE: [Rotation; 13] = [
    back(0, 7, PI_4),
    back(1, 6, PI_4),
    back(2, 5, PI_4),
    back(3, 4, PI_4),
    back(0, 3, PI_4),
    back(1, 2, PI_4),
    back(0, 1, PI_4),
    back(3, 2, PI_8),
    back(7, 4, PI_16),
    back(6, 5, PI_16_3),
    back(7, 6, PI_4),
    turn(4, 5, PI_4),
    back(6, 5, PI_4),
];

/// Where the network leaves each coefficient.
const COSINE_PLACES: [u8; 8] = [0, 7, 3, 6, 1, 5, 2, 4];

/// Rotations of mirrored numbers, two DCT-II of four, and sums and differences of their results.
const SINE: [Rotation; 15] = [
    back(7, 0, PI_32),
    back(6, 1, PI_32_3),
    back(5, 2, PI_32_5),
    back(4, 3, PI_32_7),
    back(7, 4, PI_4),
    back(6, 5, PI_4),
    back(7, 6, PI_4),
    back(4, 5, PI_8),
    turn(0, 3, PI_4),
    turn(1, 2, PI_4),
    turn(0, 1, PI_4),
    turn(3, 2, PI_8),
    back(4, 2, PI_4),
    back(6, 1, PI_4),
    back(5, 3, PI_4),
];

/// Where the network leaves each coefficient.
const SINE_PLACES: [u8; 8] = [7, 4, 2, 6, 1, 3, 5, 0];

impl Rotation {
    #[inline(always)]
    fn apply(self, numbers: &mut impl Eight) {
        let (first, second) = (u32::from(self.first), u32::from(self.second));
        let (mut a, mut b) = (numbers.get(first), numbers.get(second));
        a = a.wrapping_sub(multiple(b, self.tangent));
        b = b.wrapping_add(multiple(a, self.sine));
        a = a.wrapping_sub(multiple(b, self.tangent));
        numbers.set(first, a);
        numbers.set(second, b);
    }

    #[inline(always)]
    fn undo(self, numbers: &mut impl Eight) {
        let (first, second) = (u32::from(self.first), u32::from(self.second));
        let (mut a, mut b) = (numbers.get(first), numbers.get(second));
        a = a.wrapping_add(multiple(b, self.tangent));
        b = b.wrapping_sub(multiple(a, self.sine));
        a = a.wrapping_add(multiple(b, self.tangent));
        numbers.set(first, a);
        numbers.set(second, b);
    }
}

/// `value` times a factor, rounded.
#[inline(always)]
fn multiple(value: i32, factor: i16) -> i32 {
    value.wrapping_mul(i32::from(factor)).wrapping_add(1 << (FACTOR_BITS - 1)) >> FACTOR_BITS
}

impl Transform {
    #[inline(always)]
    fn rotations(self) -> &'static [Rotation] {
        match self {
            Self::Cosine => &COSINE,
            Self::Sine => &SINE,
        }
    }

    /// Where [`Self::forward`] leaves the coefficient with this number, which is below 8, and where
    /// [`Self::inverse`] expects it.
    #[inline(always)]
    pub const fn place(self, coefficient: u32) -> u32 {
        match self {
            Self::Cosine => COSINE_PLACES[coefficient as usize % 8] as u32,
            Self::Sine => SINE_PLACES[coefficient as usize % 8] as u32,
        }
    }

    /// Replaces eight numbers by their coefficients, at their [`Self::place`]s.
    #[inline(always)]
    pub fn forward(self, numbers: &mut impl Eight) {
        let rotations = self.rotations();
        let mut number = 0;
        while number < rotations.len() {
            rotations[number].apply(numbers);
            number += 1;
        }
    }

    /// [`Self::forward`] of eight times eight numbers side by side: those with the same place in the
    /// inner arrays belong together. A processor's vectors take all at the same time.
    #[inline(always)]
    pub fn forward_each(self, numbers: &mut [[i32; 8]; 8]) {
        for rotation in self.rotations() {
            let (first, second) = (usize::from(rotation.first), usize::from(rotation.second));
            let (mut a, mut b) = (numbers[first], numbers[second]);
            for (a, b) in a.iter_mut().zip(&mut b) {
                *a = a.wrapping_sub(multiple(*b, rotation.tangent));
                *b = b.wrapping_add(multiple(*a, rotation.sine));
                *a = a.wrapping_sub(multiple(*b, rotation.tangent));
            }
            (numbers[first], numbers[second]) = (a, b);
        }
    }

    /// Undoes [`Self::forward`].
    #[inline(always)]
    pub fn inverse(self, numbers: &mut impl Eight) {
        let rotations = self.rotations();
        let mut number = rotations.len();
        while number > 0 {
            number -= 1;
            rotations[number].undo(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;
    use std::vec::Vec;

    const ALL: [Transform; 2] = [Transform::Cosine, Transform::Sine];

    /// The definition, up to the sign.
    fn coefficient(transform: Transform, numbers: [i32; 8], which: usize) -> f64 {
        let basis = |n: usize| match transform {
            Transform::Cosine => {
                let scale = if which == 0 { 0.5f64.sqrt() } else { 1.0 };
                scale * (PI * ((2 * n + 1) * which) as f64 / 16.0).cos()
            }
            Transform::Sine => (PI * ((2 * n + 1) * (2 * which + 1)) as f64 / 32.0).sin(),
        };
        numbers.iter().enumerate().map(|(n, &x)| 0.5 * f64::from(x) * basis(n)).sum()
    }

    #[test]
    fn eight_at_a_time_are_what_each_is_by_itself() {
        for transform in ALL {
            let mut numbers: [[i32; 8]; 8] = core::array::from_fn(|place| {
                core::array::from_fn(|line| (place * 37 + line * line * 11) as i32 % 256 - 128)
            });
            let before = numbers;
            transform.forward_each(&mut numbers);
            for line in 0..8 {
                let mut one = before.map(|numbers| numbers[line]);
                transform.forward(&mut one);
                assert_eq!(one, numbers.map(|numbers| numbers[line]));
            }
        }
    }

    #[test]
    fn factors_are_those_of_the_angles() {
        let angles = [
            (PI_4, 4.0),
            (PI_8, 8.0),
            (PI_16, 16.0),
            (PI_16_3, 16.0 / 3.0),
            (PI_32, 32.0),
            (PI_32_3, 32.0 / 3.0),
            (PI_32_5, 32.0 / 5.0),
            (PI_32_7, 32.0 / 7.0),
        ];
        for (found, divisor) in angles {
            let angle = PI / divisor;
            let scaled = |factor: f64| (factor * f64::from(1 << FACTOR_BITS)).round() as i16;
            assert_eq!(found, (scaled((angle / 2.0).tan()), scaled(angle.sin())));
        }
    }

    #[test]
    fn coefficients_are_those_of_the_definition() {
        for transform in ALL {
            for unit in 0..8 {
                let mut numbers = [0; 8];
                numbers[unit] = 10_000;
                numbers[unit / 2] -= 3_000;
                let original = numbers;
                transform.forward(&mut numbers);
                for which in 0..8 {
                    let found = f64::from(numbers[transform.place(which) as usize]);
                    let expected = coefficient(transform, original, which as usize);
                    let apart = found.abs() - expected.abs();
                    assert!(apart.abs() < 4.0, "{transform:?} {unit} {which}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn places_are_a_permutation() {
        for transform in ALL {
            let mut places: Vec<u32> = (0..8).map(|number| transform.place(number)).collect();
            places.sort_unstable();
            assert!(places.into_iter().eq(0..8), "{transform:?}");
        }
    }

    #[test]
    fn the_inverse_is_exact_for_any_numbers() {
        let mut state = 7_u32;
        for round in 0..100_000_u32 {
            let numbers = std::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // From all 32 bits down to one.
                state as i32 >> (round % 32)
            });
            for transform in ALL {
                let mut there: [i32; 8] = numbers;
                transform.forward(&mut there);
                transform.inverse(&mut there);
                assert_eq!(there, numbers, "{transform:?}");
            }
        }
    }
}
