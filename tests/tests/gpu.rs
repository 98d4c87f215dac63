//! A GPU decodes to the original bytes, and a machine without one decodes on the CPU and says so.
//!
//! Without a GPU, the tests that need one are skipped, or fail where `WCODEC_REQUIRE_GPU` is set.

use std::sync::Arc;

use wcodec::gpu::{Decoder, DeviceTensor};
use wcodec::{Base, Checkpoint, EncodeOptions, Error, ErrorKind, encode_safetensors_bytes};
use wcodec_tests::{
    Pattern, REQUIRE_GPU, Random, SmoothTable, TestTensor, find_gpu, golden_tensors, require_gpu,
    safetensors_file,
};

/// Every dtype with every pattern, odd shapes, and tensors of many blocks.
fn mixed_tensors() -> Vec<TestTensor> {
    let mut tensors = golden_tensors();
    let random = &mut Random::new(51);
    for dtype in ["BF16", "F32", "I8", "F8_E4M3"] {
        let dtype = wcodec::safetensors::Dtype::from(dtype);
        let name = format!("{dtype}.many-blocks");
        tensors.push(TestTensor::new(name, dtype, &[300_007], Pattern::Gaussian, random));
    }
    let positions = SmoothTable::sinusoidal_positions(700, 130);
    tensors.extend([positions.as_i8(), positions.as_f16(), positions.as_f32()]);
    tensors.push(SmoothTable::gabor_bank(1024, 16).as_i8());
    tensors
}

fn encode(tensors: &[TestTensor], block_elements: usize, states_per_lane: usize) -> Checkpoint {
    let file = safetensors_file(tensors).unwrap();
    let options = EncodeOptions { block_elements, states_per_lane, ..EncodeOptions::default() };
    Checkpoint::from_bytes(encode_safetensors_bytes(&file, &options).unwrap().0).unwrap()
}

#[track_caller]
fn assert_are(decoded: &[DeviceTensor], expected: &[TestTensor]) {
    assert_eq!(decoded.len(), expected.len());
    for (decoded, expected) in decoded.iter().zip(expected) {
        assert_eq!(decoded.name(), expected.name);
        assert_eq!((decoded.dtype(), decoded.shape()), (&expected.dtype, &*expected.shape));
        // `assert_eq!` would print all of them.
        let bytes = decoded.to_host().unwrap();
        assert!(bytes.as_bytes() == expected.bytes, "{} differs", expected.name);
    }
}

fn assert_decodes_exactly(decoder: &Decoder) {
    let tensors = mixed_tensors();
    for (block_elements, states_per_lane) in [(1024, 1), (1024, 2), (16 << 10, 1), (64 << 10, 2)] {
        let checkpoint = encode(&tensors, block_elements, states_per_lane);
        let decoded = decoder.decode_all(&checkpoint).unwrap();
        assert_are(&decoded, &tensors);
        let on_device = |tensor: &DeviceTensor| tensor.device_pointer().is_some();
        assert!(decoded.iter().all(|tensor| on_device(tensor) == decoder.device().is_some()));
        // Some by name, in another order.
        let some: Vec<TestTensor> = tensors.iter().rev().step_by(7).cloned().collect();
        let names: Vec<&str> = some.iter().map(|tensor| &*tensor.name).collect();
        assert_are(&decoder.decode(&checkpoint, &names).unwrap(), &some);
    }
}

/// Everything against a base, by each kind of reference and none, with copies among the tensors.
fn assert_decodes_against_a_base(decoder: &Decoder) {
    let base = mixed_tensors();
    let mut tuned = base.clone();
    for (number, tensor) in tuned.iter_mut().enumerate() {
        let changed = tensor.bytes.iter_mut().skip(number % 3).step_by(2 + number % 5);
        match number % 4 {
            0 => {}
            1 => changed.for_each(|byte| *byte = byte.wrapping_add(1)),
            2 => changed.step_by(9).for_each(|byte| *byte ^= 0x10),
            _ => tensor.bytes.reverse(),
        }
    }
    let copies: Vec<TestTensor> = tuned
        .iter()
        .step_by(5)
        .map(|tensor| TestTensor { name: format!("{}.copy", tensor.name), ..tensor.clone() })
        .collect();
    tuned.extend(copies);
    let base = Arc::new(Base::from_bytes(safetensors_file(&base).unwrap()).unwrap());
    let file = safetensors_file(&tuned).unwrap();
    for (block_elements, states_per_lane) in [(1024, 1), (64 << 10, 2)] {
        let options = EncodeOptions {
            block_elements,
            states_per_lane,
            base: Some(Arc::clone(&base)),
            ..EncodeOptions::default()
        };
        let encoded = encode_safetensors_bytes(&file, &options).unwrap().0;
        let without = Checkpoint::from_bytes(encoded.clone()).unwrap();
        assert!(matches!(decoder.decode_all(&without), Err(Error::MissingBase { .. })));
        let checkpoint = without.with_base(Arc::clone(&base)).unwrap();
        assert_are(&decoder.decode_all(&checkpoint).unwrap(), &tuned);
    }
}

#[test]
fn gpu_and_cpu_decode_against_a_base() {
    if let Some(gpu) = find_gpu().unwrap() {
        assert_decodes_against_a_base(&gpu);
    }
    assert_decodes_against_a_base(&Decoder::cpu());
}

#[test]
fn a_gpu_decodes_every_tensor_exactly() {
    if let Some(gpu) = find_gpu().unwrap() {
        assert!(gpu.describe().starts_with("cuda:0 ("), "{gpu:?}");
        assert_decodes_exactly(&gpu);
    }
}

#[test]
fn without_a_gpu_the_cpu_decodes_and_says_why() {
    let decoder = Decoder::auto();
    match Decoder::new(0) {
        Ok(gpu) => assert_eq!(decoder.describe(), gpu.describe()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Gpu);
            assert!(decoder.device().is_none());
            assert_eq!(decoder.describe(), format!("the CPU ({error})"));
            assert_decodes_exactly(&decoder);
        }
    }
}

#[test]
fn a_gpu_that_is_required_and_missing_is_an_error() {
    let missing = || Err(Error::Gpu { action: "be used".into(), detail: "no driver".into() });
    let error = require_gpu::<Decoder>(true, missing()).unwrap_err();
    assert!(error.contains(REQUIRE_GPU) && error.contains("no driver"), "{error}");
    assert!(require_gpu::<Decoder>(false, missing()).unwrap().is_none());
    for required in [false, true] {
        assert_eq!(require_gpu(required, Ok("a GPU")), Ok(Some("a GPU")));
    }
}
