//! What is done to the elements of a sub-block.

use super::transform::Transform;

/// What is done to the elements of a sub-block. The numbers are those of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Mode {
    /// Nothing: the prediction is zero.
    None = 0,
    /// The left neighbour.
    Left = 1,
    /// The upper neighbour.
    Top = 2,
    /// The mean of the left and the upper neighbour.
    Average = 3,
    /// A plane through the left, upper and upper left neighbour.
    Planar = 4,
    /// A line through the two left neighbours.
    LeftLinear = 5,
    /// A line through the two upper neighbours.
    TopLinear = 6,
    /// A parabola through the three left neighbours.
    LeftQuadratic = 7,
    /// A parabola through the three upper neighbours.
    TopQuadratic = 8,
    /// The upper neighbour and half of the way between the first and third: [`Self::TopLinear`]
    /// where rounding matters more than curvature.
    TopSmooth = 9,
    /// A plane, with a line along the columns.
    PlanarTop = 10,
    /// A plane, with a line along the rows.
    PlanarLeft = 11,
    /// A plane with lines both ways.
    PlanarLinear = 12,
    /// The second left neighbour, where columns of two kinds alternate.
    Skip = 13,
    /// A line through the second and fourth left neighbours.
    SkipLinear = 14,
    /// A plane through the upper, second left, and second upper left neighbour.
    PlanarSkip = 15,
    /// A sine of 0.51 radians a column.
    LeftSlowSine = 16,
    /// A sine of 0.51 radians a row.
    TopSlowSine = 17,
    /// A sine of 0.72 radians a column.
    LeftSine = 18,
    /// A sine of 0.72 radians a row.
    TopSine = 19,
    /// A sine of 1.05 radians a column.
    LeftFastSine = 20,
    /// A sine of 1.05 radians a row.
    TopFastSine = 21,
    /// Type II cosine transform of columns and rows.
    Cosine = 22,
    /// Type IV sine transform of columns and rows.
    Sine = 23,
    /// Type II cosine transform of columns, type IV sine transform of rows.
    CosineSine = 24,
    /// Type IV sine transform of columns, type II cosine transform of rows.
    SineCosine = 25,
}

/// A neighbour of an element, and what it counts in its prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    /// How many rows above the element.
    pub(super) up: u8,
    /// How many columns left of the element.
    pub(super) left: u8,
    /// How often a quarter of it is added.
    pub(super) quarters: i8,
}

const fn term(up: u8, left: u8, quarters: i8) -> Term {
    Term { up, left, quarters }
}

/// Two neighbours of a sine: its next value is twice the cosine of the step times the last one,
/// less the one before.
const fn left_sine(quarters: i8) -> [Term; 2] {
    [term(0, 1, quarters), term(0, 2, -4)]
}

const fn top_sine(quarters: i8) -> [Term; 2] {
    [term(1, 0, quarters), term(2, 0, -4)]
}

const LEFT_SLOW_SINE: &[Term] = &left_sine(7);
const LEFT_SINE: &[Term] = &left_sine(6);
const LEFT_FAST_SINE: &[Term] = &left_sine(4);
const TOP_SLOW_SINE: &[Term] = &top_sine(7);
const TOP_SINE: &[Term] = &top_sine(6);
const TOP_FAST_SINE: &[Term] = &top_sine(4);

impl Mode {
    /// All modes, in the order of their numbers.
    pub const ALL: [Self; 26] = [
        Self::None,
        Self::Left,
        Self::Top,
        Self::Average,
        Self::Planar,
        Self::LeftLinear,
        Self::TopLinear,
        Self::LeftQuadratic,
        Self::TopQuadratic,
        Self::TopSmooth,
        Self::PlanarTop,
        Self::PlanarLeft,
        Self::PlanarLinear,
        Self::Skip,
        Self::SkipLinear,
        Self::PlanarSkip,
        Self::LeftSlowSine,
        Self::TopSlowSine,
        Self::LeftSine,
        Self::TopSine,
        Self::LeftFastSine,
        Self::TopFastSine,
        Self::Cosine,
        Self::Sine,
        Self::CosineSine,
        Self::SineCosine,
    ];

    /// The mode with this number.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Option<Self> {
        if (number as usize) < Self::ALL.len() { Some(Self::ALL[number as usize]) } else { None }
    }

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Left => "left",
            Self::Top => "top",
            Self::Average => "average",
            Self::Planar => "planar",
            Self::LeftLinear => "left linear",
            Self::TopLinear => "top linear",
            Self::LeftQuadratic => "left quadratic",
            Self::TopQuadratic => "top quadratic",
            Self::TopSmooth => "top smooth",
            Self::PlanarTop => "planar top",
            Self::PlanarLeft => "planar left",
            Self::PlanarLinear => "planar linear",
            Self::Skip => "skip",
            Self::SkipLinear => "skip linear",
            Self::PlanarSkip => "planar skip",
            Self::LeftSlowSine => "left slow sine",
            Self::TopSlowSine => "top slow sine",
            Self::LeftSine => "left sine",
            Self::TopSine => "top sine",
            Self::LeftFastSine => "left fast sine",
            Self::TopFastSine => "top fast sine",
            Self::Cosine => "DCT",
            Self::Sine => "ADST",
            Self::CosineSine => "DCT and ADST",
            Self::SineCosine => "ADST and DCT",
        }
    }

    /// The transform along columns and that along rows, if it is not a prediction.
    #[inline(always)]
    pub const fn transforms(self) -> Option<(Transform, Transform)> {
        match self {
            Self::Cosine => Some((Transform::Cosine, Transform::Cosine)),
            Self::Sine => Some((Transform::Sine, Transform::Sine)),
            Self::CosineSine => Some((Transform::Cosine, Transform::Sine)),
            Self::SineCosine => Some((Transform::Sine, Transform::Cosine)),
            _ => None,
        }
    }

    /// The neighbours that a prediction is made of.
    #[inline(always)]
    pub(super) const fn terms(self) -> &'static [Term] {
        match self {
            Self::None | Self::Cosine | Self::Sine | Self::CosineSine | Self::SineCosine => &[],
            Self::Left => const { &[term(0, 1, 4)] },
            Self::Top => const { &[term(1, 0, 4)] },
            Self::Average => const { &[term(0, 1, 2), term(1, 0, 2)] },
            Self::Planar => const { &[term(0, 1, 4), term(1, 0, 4), term(1, 1, -4)] },
            Self::LeftLinear => const { &[term(0, 1, 8), term(0, 2, -4)] },
            Self::TopLinear => const { &[term(1, 0, 8), term(2, 0, -4)] },
            Self::LeftQuadratic => const { &[term(0, 1, 12), term(0, 2, -12), term(0, 3, 4)] },
            Self::TopQuadratic => const { &[term(1, 0, 12), term(2, 0, -12), term(3, 0, 4)] },
            Self::TopSmooth => const { &[term(1, 0, 6), term(3, 0, -2)] },
            Self::PlanarTop => {
                const { &[term(0, 1, 4), term(1, 0, 8), term(1, 1, -8), term(2, 0, -4), term(2, 1, 4)] }
            }
            Self::PlanarLeft => {
                const { &[term(1, 0, 4), term(0, 1, 8), term(1, 1, -8), term(0, 2, -4), term(1, 2, 4)] }
            }
            Self::PlanarLinear => {
                const {
                    &[
                        term(0, 1, 8),
                        term(0, 2, -4),
                        term(1, 0, 8),
                        term(1, 1, -16),
                        term(1, 2, 8),
                        term(2, 0, -4),
                        term(2, 1, 8),
                        term(2, 2, -4),
                    ]
                }
            }
            Self::Skip => const { &[term(0, 2, 4)] },
            Self::SkipLinear => const { &[term(0, 2, 8), term(0, 4, -4)] },
            Self::PlanarSkip => const { &[term(1, 0, 4), term(0, 2, 4), term(1, 2, -4)] },
            Self::LeftSlowSine => LEFT_SLOW_SINE,
            Self::TopSlowSine => TOP_SLOW_SINE,
            Self::LeftSine => LEFT_SINE,
            Self::TopSine => TOP_SINE,
            Self::LeftFastSine => LEFT_FAST_SINE,
            Self::TopFastSine => TOP_FAST_SINE,
        }
    }

    /// How many rows up and columns left the farthest neighbours are.
    #[inline(always)]
    pub const fn reach(self) -> (u32, u32) {
        match self {
            Self::None | Self::Cosine | Self::Sine | Self::CosineSine | Self::SineCosine => (0, 0),
            Self::Left => (0, 1),
            Self::Top => (1, 0),
            Self::Average | Self::Planar => (1, 1),
            Self::LeftLinear | Self::LeftSlowSine | Self::LeftSine | Self::LeftFastSine => (0, 2),
            Self::TopLinear | Self::TopSlowSine | Self::TopSine | Self::TopFastSine => (2, 0),
            Self::LeftQuadratic => (0, 3),
            Self::TopQuadratic | Self::TopSmooth => (3, 0),
            Self::PlanarTop => (2, 1),
            Self::PlanarLeft | Self::PlanarSkip => (1, 2),
            Self::PlanarLinear => (2, 2),
            Self::Skip => (0, 2),
            Self::SkipLinear => (0, 4),
        }
    }

    /// The prediction to take where a neighbour is missing, for want of rows if `rows` are; it has
    /// fewer neighbours or nearer ones.
    #[inline(always)]
    const fn narrower(self, rows: bool) -> Self {
        match self {
            Self::LeftLinear | Self::LeftSlowSine | Self::LeftSine | Self::LeftFastSine => {
                Self::Left
            }
            Self::TopLinear | Self::TopSlowSine | Self::TopSine | Self::TopFastSine => Self::Top,
            Self::LeftQuadratic => Self::LeftLinear,
            Self::TopQuadratic | Self::TopSmooth => Self::TopLinear,
            Self::Average if rows => Self::Left,
            Self::Average => Self::Top,
            Self::Planar | Self::PlanarTop if rows => Self::LeftLinear,
            Self::PlanarLeft if rows => Self::LeftQuadratic,
            Self::Planar | Self::PlanarLeft => Self::TopLinear,
            Self::PlanarTop => Self::TopQuadratic,
            Self::PlanarLinear => Self::Planar,
            Self::SkipLinear => Self::Skip,
            Self::PlanarSkip if rows => Self::SkipLinear,
            Self::PlanarSkip => Self::TopLinear,
            _ => Self::None,
        }
    }

    /// The prediction for the element at `row` and `column` of a tile: this one, or the first of
    /// those that stand in for it whose neighbours are all in the tile.
    #[inline(always)]
    pub(super) const fn at(self, row: u32, column: u32) -> Self {
        let mut mode = self;
        loop {
            let (up, left) = mode.reach();
            if up <= row && left <= column {
                return mode;
            }
            mode = mode.narrower(up > row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_modes() {
        for (number, mode) in Mode::ALL.into_iter().enumerate() {
            assert_eq!(mode as usize, number);
            assert_eq!(Mode::from_number(number as u8), Some(mode));
        }
        assert_eq!(Mode::from_number(Mode::ALL.len() as u8), None);
    }

    #[test]
    fn reach_is_that_of_the_terms() {
        for mode in Mode::ALL {
            let up = mode.terms().iter().map(|term| u32::from(term.up)).max().unwrap_or(0);
            let left = mode.terms().iter().map(|term| u32::from(term.left)).max().unwrap_or(0);
            assert_eq!((up, left), mode.reach(), "{mode:?}");
        }
    }

    #[test]
    fn no_neighbour_is_outside_the_tile() {
        for mode in Mode::ALL {
            for (row, column) in (0..16).flat_map(|row| (0..16).map(move |column| (row, column))) {
                for term in mode.at(row, column).terms() {
                    assert!(
                        u32::from(term.up) <= row && u32::from(term.left) <= column,
                        "{mode:?}"
                    );
                    assert!(term.up + term.left > 0, "{mode:?} predicts an element from itself");
                }
            }
        }
    }

    #[test]
    fn the_edges_take_what_there_is() {
        assert_eq!(Mode::TopQuadratic.at(0, 5), Mode::None);
        assert_eq!(Mode::TopQuadratic.at(1, 5), Mode::Top);
        assert_eq!(Mode::Planar.at(0, 1), Mode::Left);
        assert_eq!(Mode::PlanarLinear.at(5, 0), Mode::TopLinear);
        assert_eq!(Mode::PlanarSkip.at(3, 1), Mode::TopLinear);
        assert_eq!(Mode::PlanarSkip.at(0, 3), Mode::Skip);
    }
}
