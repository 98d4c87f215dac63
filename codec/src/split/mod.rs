//! Field splits: which bits of an element go into which plane.
//!
//! An element of `width` bytes has `width` byte planes; plane 0 holds the least significant byte.
//! Floating-point elements are first rotated left by one bit, so that the sign becomes the lowest
//! bit and the exponent starts at the top: all of an exponent of 8 bits is then in the last plane.
//! Elements of one byte may also be split into nibbles.

mod byte_planes;
mod heads;
mod nibbles;
mod packed;

pub use byte_planes::{merge_planes, merge_rows, replace_top_byte, split_planes};
pub use heads::{
    exponent_nibble, exponent_of, head_first_16, head_first_32, head_last_16, head_last_32,
    head_symbol_16, head_symbol_32, merge_heads, split_heads,
};
pub use nibbles::{merge_nibbles, split_nibbles};
pub use packed::{heads_last, merge_four_nibbles, unrotate_bytes, unrotate_halves};

/// Bytes of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// INT8, FP8, packed 4-bit values, BOOL, and whatever is unknown.
    One,
    /// BF16, F16 and 16-bit integers.
    Two,
    /// F32 and 32-bit integers.
    Four,
    /// F64 and 64-bit integers.
    Eight,
}

impl Width {
    /// The width of so many bytes, `None` for anything but 1, 2, 4 and 8.
    pub const fn from_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            4 => Some(Self::Four),
            8 => Some(Self::Eight),
            _ => None,
        }
    }

    /// Bytes of an element, and number of its byte planes.
    #[inline(always)]
    pub const fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// How the bits of an element lie before it is cut into planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementLayout {
    /// Bytes of an element.
    pub width: Width,
    /// Whether elements are rotated left by one bit: floating-point dtypes are.
    pub rotated: bool,
}

impl ElementLayout {
    /// That of bytes, as they are.
    pub const BYTES: Self = Self { width: Width::One, rotated: false };
}
