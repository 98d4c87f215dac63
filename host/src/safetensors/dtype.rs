//! Element types of `.safetensors` tensors.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// The type of a tensor's elements, as the header names it.
///
/// Parsing never fails: a name that is not known here becomes [`Dtype::Other`], whose tensors are
/// plain bytes of unknown element size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Booleans, one byte each.
    Bool,
    /// Unsigned 8-bit integers.
    U8,
    /// Signed 8-bit integers.
    I8,
    /// 8-bit floats: 4 exponent bits, 3 mantissa bits.
    F8E4M3,
    /// 8-bit floats: 5 exponent bits, 2 mantissa bits.
    F8E5M2,
    /// [`Dtype::F8E4M3`] without infinities and without a negative zero.
    F8E4M3Fnuz,
    /// [`Dtype::F8E5M2`] without infinities and without a negative zero.
    F8E5M2Fnuz,
    /// 8-bit powers of two: 8 exponent bits, the scales of microscaling formats.
    F8E8M0,
    /// 6-bit floats: 2 exponent bits, 3 mantissa bits; four elements in three bytes.
    F6E2M3,
    /// 6-bit floats: 3 exponent bits, 2 mantissa bits; four elements in three bytes.
    F6E3M2,
    /// 4-bit floats: 2 exponent bits, 1 mantissa bit; two elements in a byte.
    F4,
    /// Unsigned 16-bit integers.
    U16,
    /// Signed 16-bit integers.
    I16,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of IEEE 754 binary32.
    BF16,
    /// Unsigned 32-bit integers.
    U32,
    /// Signed 32-bit integers.
    I32,
    /// IEEE 754 binary32.
    F32,
    /// Unsigned 64-bit integers.
    U64,
    /// Signed 64-bit integers.
    I64,
    /// IEEE 754 binary64.
    F64,
    /// Complex numbers of two binary32 parts.
    C64,
    /// A type that this release does not know, by its name.
    Other(String),
}

impl Dtype {
    /// Every type this release knows, so all but [`Dtype::Other`].
    pub const KNOWN: [Self; 22] = [
        Self::Bool,
        Self::U8,
        Self::I8,
        Self::F8E4M3,
        Self::F8E5M2,
        Self::F8E4M3Fnuz,
        Self::F8E5M2Fnuz,
        Self::F8E8M0,
        Self::F6E2M3,
        Self::F6E3M2,
        Self::F4,
        Self::U16,
        Self::I16,
        Self::F16,
        Self::BF16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::U64,
        Self::I64,
        Self::F64,
        Self::C64,
    ];

    /// The name in a `.safetensors` header.
    pub fn name(&self) -> &str {
        self.name_and_bits().0
    }

    /// Bits per element; fewer than 8 where several elements share a byte; `None` for an unknown
    /// type.
    pub fn bits(&self) -> Option<u32> {
        self.name_and_bits().1
    }

    fn name_and_bits(&self) -> (&str, Option<u32>) {
        match self {
            Self::Bool => ("BOOL", Some(8)),
            Self::U8 => ("U8", Some(8)),
            Self::I8 => ("I8", Some(8)),
            Self::F8E4M3 => ("F8_E4M3", Some(8)),
            Self::F8E5M2 => ("F8_E5M2", Some(8)),
            Self::F8E4M3Fnuz => ("F8_E4M3FNUZ", Some(8)),
            Self::F8E5M2Fnuz => ("F8_E5M2FNUZ", Some(8)),
            Self::F8E8M0 => ("F8_E8M0", Some(8)),
            Self::F6E2M3 => ("F6_E2M3", Some(6)),
            Self::F6E3M2 => ("F6_E3M2", Some(6)),
            Self::F4 => ("F4", Some(4)),
            Self::U16 => ("U16", Some(16)),
            Self::I16 => ("I16", Some(16)),
            Self::F16 => ("F16", Some(16)),
            Self::BF16 => ("BF16", Some(16)),
            Self::U32 => ("U32", Some(32)),
            Self::I32 => ("I32", Some(32)),
            Self::F32 => ("F32", Some(32)),
            Self::U64 => ("U64", Some(64)),
            Self::I64 => ("I64", Some(64)),
            Self::F64 => ("F64", Some(64)),
            Self::C64 => ("C64", Some(64)),
            Self::Other(name) => (name, None),
        }
    }
}

impl From<&str> for Dtype {
    fn from(name: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|dtype| dtype.name() == name)
            .unwrap_or_else(|| Self::Other(name.to_owned()))
    }
}

impl FromStr for Dtype {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(Self::from(name))
    }
}

/// The name, escaped where it is unknown and holds control characters.
impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.name().escape_debug().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_parses_to_its_type() {
        for dtype in Dtype::KNOWN {
            assert_eq!(Dtype::from(dtype.name()), dtype);
            assert_eq!(dtype.name().parse(), Ok(dtype.clone()));
            assert!(dtype.bits().is_some(), "{dtype}");
        }
    }

    #[test]
    fn bits_of_packed_and_whole_types() {
        assert_eq!(Dtype::F4.bits(), Some(4));
        assert_eq!(Dtype::F6E3M2.bits(), Some(6));
        assert_eq!(Dtype::Bool.bits(), Some(8));
        assert_eq!(Dtype::BF16.bits(), Some(16));
        assert_eq!(Dtype::C64.bits(), Some(64));
    }

    #[test]
    fn unknown_names_are_kept_and_shown_escaped() {
        let dtype = Dtype::from("F7\u{1b}");
        assert_eq!(dtype, Dtype::Other("F7\u{1b}".into()));
        assert_eq!(dtype.bits(), None);
        assert_eq!(dtype.name(), "F7\u{1b}");
        assert_eq!(dtype.to_string(), "F7\\u{1b}");
    }

    #[test]
    fn display_honours_width_for_tables() {
        assert_eq!(format!("{:>8}|{:<5}|", Dtype::F8E4M3, Dtype::I8), " F8_E4M3|I8   |");
    }
}
