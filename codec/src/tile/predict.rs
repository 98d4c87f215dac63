//! Prediction of an element from its neighbours in the tile.
//!
//! A prediction is a sum of neighbours, each a number of quarters. Integers are summed as they are.
//! Floats are summed as fixed-point numbers with the exponent of the largest of them, 32 bits below
//! its mantissa, and the sum is rounded to the nearest float: where a smooth function passes zero,
//! the order of floats has a cliff that a line through them would run into. All of it is integer
//! arithmetic, so that CPU and GPU agree whatever their floating-point units do.

use super::mode::{Mode, Term};
use super::number::{NumberFormat, NumberKind};

/// Bits of a sum below the mantissa of the largest neighbour; those of the largest sum fit above.
const GUARD_BITS: u32 = 32;
/// Neighbours are counted in quarters.
const QUARTER_BITS: u32 = 2;

/// The predicted element, as an ordered integer ([`NumberFormat::to_ordered`]), for the element at
/// `row` and `column` of a tile. `neighbour(up, left)` gives the one so many rows above and so many
/// columns left of it; only neighbours inside the tile are asked for.
#[inline(always)]
pub fn predict(
    format: NumberFormat,
    mode: Mode,
    row: u32,
    column: u32,
    neighbour: impl Fn(u32, u32) -> i32,
) -> i32 {
    let terms = mode.at(row, column).terms();
    let value = |term: Term| neighbour(u32::from(term.up), u32::from(term.left));
    match format.kind() {
        NumberKind::Float { mantissa_bits } => sum_of_floats(format, mantissa_bits, terms, value),
        NumberKind::Signed | NumberKind::Unsigned => {
            let mut sum = 0;
            let mut number = 0;
            while number < terms.len() {
                let term = terms[number];
                sum += i64::from(term.quarters) * i64::from(value(term));
                number += 1;
            }
            (sum >> QUARTER_BITS) as i32
        }
    }
}

/// The parts of a float's magnitude: the exponent, of which 1 is the smallest, and the mantissa
/// with the implied one.
#[inline(always)]
fn parts(ordered: i32, mantissa_bits: u32) -> (u32, u32) {
    let magnitude = if ordered < 0 { !ordered } else { ordered } as u32;
    let exponent = magnitude >> mantissa_bits;
    let mantissa = magnitude & ((1 << mantissa_bits) - 1);
    if exponent == 0 { (1, mantissa) } else { (exponent, mantissa | 1 << mantissa_bits) }
}

#[inline(always)]
fn sum_of_floats(
    format: NumberFormat,
    mantissa_bits: u32,
    terms: &[Term],
    value: impl Fn(Term) -> i32,
) -> i32 {
    let mut largest = 1;
    let mut number = 0;
    while number < terms.len() {
        let (exponent, _) = parts(value(terms[number]), mantissa_bits);
        largest = if exponent > largest { exponent } else { largest };
        number += 1;
    }
    let mut sum = 0;
    number = 0;
    while number < terms.len() {
        let ordered = value(terms[number]);
        let (exponent, mantissa) = parts(ordered, mantissa_bits);
        let below = largest - exponent;
        let below = if below > 63 { 63 } else { below };
        let aligned = (i64::from(mantissa) << GUARD_BITS) >> below;
        let quarters = i64::from(terms[number].quarters);
        sum += if ordered < 0 { -quarters } else { quarters } * aligned;
        number += 1;
    }
    nearest_float(format, mantissa_bits, sum, largest)
}

/// The float nearest to a sum with this exponent, as an ordered integer; too large ones become the
/// largest, and halves are rounded away from zero.
#[inline(always)]
fn nearest_float(format: NumberFormat, mantissa_bits: u32, sum: i64, exponent: u32) -> i32 {
    let size = sum.unsigned_abs();
    if size == 0 {
        return 0;
    }
    // How many bits to drop, so that a mantissa with its implied one is left.
    let mut dropped = (63 - size.leading_zeros()) as i32 - mantissa_bits as i32;
    let mut exponent = exponent as i32 + dropped - (GUARD_BITS + QUARTER_BITS) as i32;
    if exponent < 1 {
        dropped += 1 - exponent;
        exponent = 1;
    }
    let mantissa = match dropped {
        ..=0 => size << -dropped,
        1..=63 => (size + (1 << (dropped - 1))) >> dropped,
        _ => 0,
    };
    // The implied one, and a carry from rounding, add to the exponent as they should.
    let magnitude = (((exponent - 1) as u64) << mantissa_bits) + mantissa;
    let most = format.largest() as u64;
    let magnitude = if magnitude > most { most } else { magnitude } as i32;
    if sum < 0 { !magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::Width;

    const FLOAT: NumberKind = NumberKind::Float { mantissa_bits: 23 };

    fn single() -> NumberFormat {
        NumberFormat::new(Width::Four, FLOAT).expect("narrow enough")
    }

    /// A prediction of FP32 elements from their neighbours.
    fn predicted(mode: Mode, neighbour: impl Fn(u32, u32) -> f32) -> f32 {
        let format = single();
        let ordered = predict(format, mode, 8, 8, |up, left| {
            format.to_ordered(neighbour(up, left).to_bits())
        });
        f32::from_bits(format.from_ordered(ordered))
    }

    #[test]
    fn planes_and_parabolas_are_predicted_exactly() {
        let plane = |up: u32, left: u32| 3.0 - 0.5 * up as f32 + 0.25 * left as f32;
        for mode in [Mode::Planar, Mode::PlanarTop, Mode::PlanarLeft, Mode::PlanarLinear] {
            assert_eq!(predicted(mode, plane), 3.0, "{mode:?}");
        }
        for mode in [Mode::TopLinear, Mode::LeftLinear, Mode::SkipLinear, Mode::PlanarSkip] {
            assert_eq!(predicted(mode, plane), 3.0, "{mode:?}");
        }
        let parabola = |up: u32, left: u32| 1.5 - ((up + left) * (up + left)) as f32;
        assert_eq!(predicted(Mode::TopQuadratic, parabola), 1.5);
        assert_eq!(predicted(Mode::LeftQuadratic, parabola), 1.5);
        // Through zero, where the exponents of neighbours differ most.
        assert_eq!(predicted(Mode::TopLinear, |up, _| 0.125 - 0.125 * up as f32), 0.125);
    }

    #[test]
    fn sums_agree_with_doubles() {
        let mut state = 1_u32;
        for _ in 0..100_000 {
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Exponents within 20 of each other: a double holds such sums exactly.
                f32::from_bits(state & 0x807F_FFFF | (100 + (state >> 25) % 20) << 23)
            };
            let (first, second) = (next(), next());
            let found = predicted(Mode::LeftSlowSine, |_, left| [first, second][left as usize - 1]);
            let expected = (1.75 * f64::from(first) - f64::from(second)) as f32;
            let apart = i64::from(single().to_ordered(found.to_bits()))
                - i64::from(single().to_ordered(expected.to_bits()));
            // Halves are rounded to even there.
            assert!(apart.abs() <= 1, "{first} {second}: {found} and {expected}");
        }
    }

    #[test]
    fn extremes_give_some_float() {
        let format = NumberFormat::new(Width::Two, NumberKind::Float { mantissa_bits: 10 })
            .expect("narrow enough");
        let largest = format.largest();
        let ordered = predict(format, Mode::TopLinear, 5, 5, |up, _| match up {
            1 => largest,
            _ => !largest,
        });
        assert_eq!(ordered, largest);
        // The smallest float, less a larger one of the other sign.
        let ordered = predict(format, Mode::TopLinear, 5, 5, |up, _| if up == 1 { 1 } else { 5 });
        assert_eq!(ordered, !3);
        assert_eq!(predict(format, Mode::Average, 5, 5, |_, _| 0), 0);
    }

    #[test]
    fn integers_are_summed_as_they_are() {
        let format = NumberFormat::new(Width::One, NumberKind::Signed).expect("narrow enough");
        let at = |up: u32, left: u32| 100 - 3 * up as i32 - 7 * left as i32;
        assert_eq!(predict(format, Mode::Planar, 3, 3, at), 100);
        assert_eq!(predict(format, Mode::Average, 3, 3, at), 95);
        assert_eq!(predict(format, Mode::Left, 3, 0, at), 0);
    }
}
