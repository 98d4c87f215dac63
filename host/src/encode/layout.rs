//! How the elements of each dtype are coded.

use codec::split::{ElementLayout, Width};

use crate::safetensors::Dtype;

/// The layout of a dtype's elements. Packed and unknown dtypes are bytes.
pub(crate) fn element_layout(dtype: &Dtype) -> ElementLayout {
    use Width::{Eight, Four, One, Two};
    let (width, rotated) = match dtype {
        Dtype::F8E4M3 | Dtype::F8E5M2 => (One, true),
        Dtype::F16 | Dtype::BF16 => (Two, true),
        Dtype::F32 => (Four, true),
        Dtype::F64 => (Eight, true),
        Dtype::I16 | Dtype::U16 => (Two, false),
        Dtype::I32 | Dtype::U32 => (Four, false),
        Dtype::I64 | Dtype::U64 => (Eight, false),
        // A complex number is two F32 side by side.
        Dtype::C64 => (Four, true),
        _ => (One, false),
    };
    ElementLayout { width, rotated }
}
