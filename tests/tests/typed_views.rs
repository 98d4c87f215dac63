//! Decoded elements as Rust values, compared by bits, and refused as any other type.

use wcodec::safetensors::Dtype;
use wcodec::{
    Checkpoint, Decoded, Element, EncodeOptions, ErrorKind, Result, encode_safetensors_bytes,
};
use wcodec_tests::{Pattern, Random, TestTensor, all_dtypes, safetensors_file};

/// A tensor with random bits, so NaNs too, and what it decodes to.
fn decoded(dtype: &Dtype) -> (TestTensor, Decoded) {
    let random = &mut Random::new(21);
    let tensor = TestTensor::new("t", dtype.clone(), &[5, 401], Pattern::Uniform, random);
    let file = safetensors_file(std::slice::from_ref(&tensor)).unwrap();
    let (encoded, _) = encode_safetensors_bytes(&file, &EncodeOptions::default()).unwrap();
    let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
    let decoded = checkpoint.tensor("t").unwrap().decode().unwrap();
    (tensor, decoded)
}

fn assert_view<T: Element, const BYTES: usize>(dtype: Dtype, to_bytes: impl Fn(&T) -> [u8; BYTES]) {
    let (tensor, decoded) = decoded(&dtype);
    let values: &[T] = decoded.as_slice().unwrap();
    let bytes: Vec<u8> = values.iter().flat_map(to_bytes).collect();
    assert!(bytes == tensor.bytes, "{dtype}");
}

#[test]
fn every_type_shows_the_values_of_its_dtypes() {
    assert_view(Dtype::BF16, |value: &half::bf16| value.to_bits().to_le_bytes());
    assert_view(Dtype::F16, |value: &half::f16| value.to_bits().to_le_bytes());
    assert_view(Dtype::F32, |value: &f32| value.to_bits().to_le_bytes());
    assert_view(Dtype::F64, |value: &f64| value.to_bits().to_le_bytes());
    assert_view(Dtype::I8, |value: &i8| value.to_le_bytes());
    assert_view(Dtype::I16, |value: &i16| value.to_le_bytes());
    assert_view(Dtype::I32, |value: &i32| value.to_le_bytes());
    assert_view(Dtype::I64, |value: &i64| value.to_le_bytes());
    for dtype in [Dtype::U8, Dtype::Bool, Dtype::F8E4M3, Dtype::F8E5M2] {
        assert_view(dtype, |value: &u8| value.to_le_bytes());
    }
    assert_view(Dtype::U16, |value: &u16| value.to_le_bytes());
    assert_view(Dtype::U32, |value: &u32| value.to_le_bytes());
    assert_view(Dtype::U64, |value: &u64| value.to_le_bytes());
}

#[test]
fn no_dtype_is_shown_as_a_type_that_is_not_its_own() {
    let shown = |decoded: &Decoded| {
        [
            decoded.as_slice::<half::bf16>().is_ok(),
            decoded.as_slice::<half::f16>().is_ok(),
            decoded.as_slice::<f32>().is_ok(),
            decoded.as_slice::<f64>().is_ok(),
            decoded.as_slice::<i8>().is_ok(),
            decoded.as_slice::<i16>().is_ok(),
            decoded.as_slice::<i32>().is_ok(),
            decoded.as_slice::<i64>().is_ok(),
            decoded.as_slice::<u8>().is_ok(),
            decoded.as_slice::<u16>().is_ok(),
            decoded.as_slice::<u32>().is_ok(),
            decoded.as_slice::<u64>().is_ok(),
        ]
        .into_iter()
        .filter(|ok| *ok)
        .count()
    };
    for dtype in all_dtypes() {
        let has_type = match &dtype {
            Dtype::F8E4M3Fnuz | Dtype::F8E5M2Fnuz | Dtype::F8E8M0 | Dtype::C64 => 0,
            Dtype::F6E2M3 | Dtype::F6E3M2 | Dtype::F4 | Dtype::Other(_) => 0,
            _ => 1,
        };
        assert_eq!(shown(&decoded(&dtype).1), has_type, "{dtype}");
    }
}

#[test]
fn the_error_of_a_wrong_type_names_both() {
    let (_, decoded) = decoded(&Dtype::BF16);
    let result: Result<&[f32]> = decoded.as_slice();
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        error.to_string(),
        "a view of BF16 elements as f32 is not usable: the types differ; take the bytes or another type"
    );
}
