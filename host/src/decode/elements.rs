//! Decoded tensors, and typed views of their bytes.

use bytemuck::AnyBitPattern;

use crate::error::{Error, Result};
use crate::safetensors::Dtype;

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that a tensor's elements can be seen as without a copy.
pub trait Element: AnyBitPattern + sealed::Sealed {
    /// Whether elements of `dtype` are values of this type.
    fn holds(dtype: &Dtype) -> bool;
    /// The type's name in messages.
    const NAME: &'static str;
}

macro_rules! elements {
    ($($type:ty: $($dtype:ident)|+;)*) => { $(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            fn holds(dtype: &Dtype) -> bool {
                matches!(dtype, $(Dtype::$dtype)|+)
            }
            const NAME: &'static str = stringify!($type);
        }
    )* };
}

elements! {
    half::bf16: BF16;
    half::f16: F16;
    f32: F32;
    f64: F64;
    i8: I8;
    i16: I16;
    i32: I32;
    i64: I64;
    u8: U8 | Bool | F8E4M3 | F8E5M2;
    u16: U16;
    u32: U32;
    u64: U64;
}

/// The elements of a tensor, or of a part of one.
#[derive(Debug, Clone)]
pub struct Decoded {
    dtype: Dtype,
    /// Eight-byte words, so that a view of any element type is aligned.
    words: Vec<u64>,
    length: usize,
}

impl Decoded {
    /// Zeros to be decoded into. A length that cannot be had is an error, not an abort.
    pub(crate) fn zeroed(dtype: Dtype, length: u64, what: &str) -> Result<Self> {
        let too_large = || Error::InvalidArgument {
            what: what.to_owned(),
            detail: format!("its {length} bytes do not fit into memory; decode ranges of it"),
        };
        let length = usize::try_from(length).map_err(|_| too_large())?;
        let mut words = Vec::new();
        let count = length.div_ceil(size_of::<u64>());
        words.try_reserve_exact(count).map_err(|_| too_large())?;
        words.resize(count, 0);
        Ok(Self { dtype, words, length })
    }

    /// Type of the elements.
    pub fn dtype(&self) -> &Dtype {
        &self.dtype
    }

    /// The elements' bytes, little-endian, row-major.
    pub fn as_bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }

    pub(crate) fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.length]
    }

    /// The elements as values of type `T`, without a copy.
    ///
    /// # Errors
    ///
    /// When the dtype is not `T`'s, or this machine is not little-endian and elements have more
    /// than one byte.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        let mismatch = |detail: String| Error::InvalidArgument {
            what: format!("a view of {} elements as {}", self.dtype, T::NAME),
            detail,
        };
        if !T::holds(&self.dtype) {
            return Err(mismatch("the types differ; take the bytes or another type".into()));
        }
        if cfg!(target_endian = "big") && size_of::<T>() > 1 {
            return Err(mismatch("the bytes are little-endian and this machine is not".into()));
        }
        bytemuck::try_cast_slice(self.as_bytes()).map_err(|error| mismatch(error.to_string()))
    }
}
