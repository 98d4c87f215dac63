//! What `Tensor::explain` says of tensors whose answer is known.

use wcodec::safetensors::Dtype;
use wcodec::{Checkpoint, EncodeOptions, Explanation, Profile, encode_safetensors_bytes};
use wcodec_tests::{Pattern, Random, TestTensor, safetensors_file};

const SHAPE: [u64; 2] = [256, 512];

fn i8_tensor(name: &str, value: impl FnMut(usize) -> u8) -> TestTensor {
    let random = &mut Random::new(1);
    let mut tensor = TestTensor::new(name, Dtype::I8, &SHAPE, Pattern::Zero, random);
    tensor.bytes = (0..tensor.bytes.len()).map(value).collect();
    tensor
}

fn explanations(tensors: &[TestTensor]) -> (Checkpoint, Vec<Explanation>) {
    let file = safetensors_file(tensors).unwrap();
    let options = EncodeOptions::of(Profile::Max);
    let (encoded, _) = encode_safetensors_bytes(&file, &options).unwrap();
    let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
    let explained = checkpoint.tensors().map(|tensor| tensor.explain().unwrap()).collect();
    (checkpoint, explained)
}

/// What the only tool of a tensor saves of its order-0 bytes.
fn share(explanation: &Explanation, tool: &str) -> f64 {
    let names: Vec<&String> = explanation.tools.keys().collect();
    assert_eq!(names, [tool]);
    let gain = explanation.tools[tool];
    gain.saved_bytes() / gain.order0_bytes
}

#[test]
fn each_tool_is_named_with_what_it_saves() {
    let random = &mut Random::new(2);
    let mut noise = |scale: u64| (random.bits() % scale + random.bits() % scale) as u8;
    let by_column = i8_tensor("by column", |place| noise(4 + place as u64 % 8 * 12));
    let smooth = i8_tensor("smooth", |place| {
        let (row, column) = ((place / 512) as f64, (place % 512) as f64);
        (100.0 * (row / 23.0).sin() * (column / 31.0).cos()) as i8 as u8
    });
    let copy = TestTensor { name: "twin of smooth".into(), ..smooth.clone() };
    let random = &mut Random::new(3);
    let uniform = TestTensor::new("uniform", Dtype::U8, &SHAPE, Pattern::Uniform, random);
    let (checkpoint, found) = explanations(&[by_column, smooth, copy, uniform]);
    assert!(share(&found[0], "classes") > 0.05, "{:?}", found[0]);
    assert!(share(&found[1], "tiles") > 0.2, "{:?}", found[1]);
    assert_eq!(checkpoint.tensor("twin of smooth").unwrap().copy_of(), Some("smooth"));
    assert_eq!(share(&found[2], "copy"), 1.0);
    assert!(share(&found[3], "raw").abs() < 0.01, "{:?}", found[3]);
    assert!((7.9..=8.0).contains(&found[3].order0_bits[0]), "{:?}", found[3]);
    assert_eq!(found[3].stored_bits, [8.0]);
}

#[test]
fn planes_and_the_rest_add_up_to_the_tensors_bytes() {
    let random = &mut Random::new(4);
    let tensor = |dtype: Dtype, shape: &[u64], random: &mut Random| {
        TestTensor::new(dtype.name(), dtype.clone(), shape, Pattern::Gaussian, random)
    };
    let tensors = [
        tensor(Dtype::BF16, &[300, 500], random),
        tensor(Dtype::F32, &[400, 400], random),
        tensor(Dtype::F16, &[70_001], random),
        tensor(Dtype::U8, &[3], random),
        tensor(Dtype::I64, &[0], random),
    ];
    let (checkpoint, found) = explanations(&tensors);
    for (tensor, explanation) in checkpoint.tensors().zip(found) {
        let elements = tensor.byte_len() / tensor.element_bytes();
        let bits = explanation.stored_bits.iter().sum::<f64>() + explanation.other_bits;
        let expected = 8.0 * tensor.encoded_bytes() as f64;
        assert!((bits * elements as f64 - expected).abs() < 1e-3, "{}", tensor.name());
        assert_eq!(explanation.order0_bits.len() as u64, tensor.element_bytes());
        let stored: u64 = explanation.tools.values().map(|gain| gain.stored_bytes).sum();
        assert_eq!(stored, tensor.encoded_bytes());
    }
}
