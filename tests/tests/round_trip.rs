//! What is encoded comes back bit for bit: any dtype, shape, content and option.

use std::fs;

use proptest::prelude::*;
use wcodec::safetensors::Dtype;
use wcodec::{Checkpoint, EncodeOptions, RestoreOptions, Tensor, encode_safetensors_bytes};
use wcodec_tests::{Pattern, Random, TestTensor, all_dtypes, safetensors_file};

fn options(block_elements: usize, states_per_lane: usize) -> EncodeOptions {
    EncodeOptions { block_elements, states_per_lane, ..EncodeOptions::default() }
}

/// Encodes `tensors` and compares everything that can be read of the result with them.
fn assert_comes_back(tensors: &[TestTensor], options: &EncodeOptions, random: &mut Random) {
    let file = safetensors_file(tensors).unwrap();
    let (encoded, report) = encode_safetensors_bytes(&file, options).unwrap();
    assert_eq!(report.encoded_bytes, encoded.len() as u64);
    assert_eq!(report.original_bytes, file.len() as u64);
    let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
    assert_eq!(checkpoint.tensors().len(), tensors.len());
    for (expected, report) in tensors.iter().zip(&report.tensors) {
        let tensor = checkpoint.tensor(&expected.name).unwrap();
        assert_eq!((tensor.name(), tensor.shape()), (&*expected.name, &*expected.shape));
        assert_eq!(tensor.dtype(), expected.dtype);
        assert_eq!(tensor.encoded_bytes(), report.encoded_bytes);
        assert_decodes(&tensor, &expected.bytes);
        assert_ranges_decode(&tensor, &expected.bytes, random);
    }
    // `assert_eq!` would print megabytes.
    assert!(checkpoint.restore_bytes().unwrap() == file);
    assert_eq!(checkpoint.verify(None).unwrap().tensors, tensors.len());
}

fn assert_decodes(tensor: &Tensor<'_>, bytes: &[u8]) {
    let decoded = tensor.decode().unwrap();
    assert_eq!(decoded.dtype(), &tensor.dtype());
    assert!(decoded.as_bytes() == bytes, "{} {}", tensor.name(), tensor.dtype());
    let mut out = vec![0xA5; bytes.len()];
    tensor.decode_into(&mut out).unwrap();
    assert!(out == bytes, "{} {}", tensor.name(), tensor.dtype());
}

/// The whole, both ends, and ranges at random.
fn assert_ranges_decode(tensor: &Tensor<'_>, bytes: &[u8], random: &mut Random) {
    let width = tensor.element_bytes();
    let count = bytes.len() as u64 / width;
    let mut ranges = vec![0..count, 0..0, count..count, 0..count.min(1)];
    for _ in 0..4 {
        let start = random.below(count + 1);
        ranges.push(start..start + random.below(count - start + 1));
    }
    for range in ranges {
        let expected = &bytes[(range.start * width) as usize..(range.end * width) as usize];
        let decoded = tensor.decode_range(range.clone()).unwrap();
        assert!(decoded.as_bytes() == expected, "{} {range:?}", tensor.name());
    }
}

fn dtypes() -> impl Strategy<Value = Dtype> {
    proptest::sample::select(all_dtypes())
}

fn shapes() -> impl Strategy<Value = Vec<u64>> {
    prop_oneof![
        1 => Just(vec![]),
        1 => Just(vec![1]),
        1 => prop_oneof![Just(vec![0]), Just(vec![0, 3]), Just(vec![5, 0, 2])],
        4 => (1..6000u64).prop_map(|count| vec![count]),
        3 => (1..90u64, 1..90u64).prop_map(|(rows, columns)| vec![rows, columns]),
        2 => proptest::collection::vec(1..8u64, 3..6),
    ]
}

fn patterns() -> impl Strategy<Value = Pattern> {
    proptest::sample::select(&Pattern::ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_checkpoints_come_back(
        tensors in proptest::collection::vec((dtypes(), shapes(), patterns()), 0..5),
        block_kibi in 1..=128usize,
        states_per_lane in 1..=2usize,
        seed: u64,
    ) {
        let mut random = Random::new(seed);
        let tensors: Vec<TestTensor> = tensors
            .into_iter()
            .enumerate()
            .map(|(number, (dtype, shape, pattern))| {
                TestTensor::new(format!("t.{number}"), dtype, &shape, pattern, &mut random)
            })
            .collect();
        assert_comes_back(&tensors, &options(block_kibi << 10, states_per_lane), &mut random);
    }
}

#[test]
fn every_dtype_with_every_pattern_comes_back() {
    let mut random = Random::new(11);
    for states_per_lane in [1, 2] {
        for dtype in all_dtypes() {
            let tensors: Vec<TestTensor> = Pattern::ALL
                .into_iter()
                .map(|pattern| {
                    let name = format!("{pattern:?}");
                    TestTensor::new(name, dtype.clone(), &[3, 1361], pattern, &mut random)
                })
                .collect();
            assert_comes_back(&tensors, &options(1024, states_per_lane), &mut random);
        }
    }
}

#[test]
fn lengths_on_block_boundaries_come_back() {
    let mut random = Random::new(12);
    for dtype in [Dtype::I8, Dtype::F8E4M3, Dtype::BF16, Dtype::F32, Dtype::F64] {
        for block in [1024u64, 3072, 4096] {
            let lengths = [block - 1, block, block + 1, 2 * block - 1, 2 * block + 1, 1009, 16_411];
            let tensors: Vec<TestTensor> = lengths
                .into_iter()
                .enumerate()
                .map(|(number, length)| {
                    let pattern = [Pattern::Gaussian, Pattern::Counting][number % 2];
                    let name = format!("{number}.{length}");
                    TestTensor::new(name, dtype.clone(), &[length], pattern, &mut random)
                })
                .collect();
            for states_per_lane in [1, 2] {
                let options = options(block as usize, states_per_lane);
                assert_comes_back(&tensors, &options, &mut random);
            }
        }
    }
}

#[test]
fn tensors_of_many_chunks_come_back_through_files() {
    const ELEMENTS: u64 = 3_000_017;
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(13);
    for dtype in [Dtype::I8, Dtype::BF16, Dtype::F32, Dtype::F64] {
        let name = dtype.name();
        let tensor =
            TestTensor::new("w", dtype.clone(), &[ELEMENTS], Pattern::Gaussian, &mut random);
        let input = folder.path().join(format!("{name}.safetensors"));
        let encoded = folder.path().join(format!("{name}.wcodec"));
        let restored = folder.path().join(format!("{name}.restored"));
        fs::write(&input, safetensors_file(std::slice::from_ref(&tensor)).unwrap()).unwrap();
        let report =
            wcodec::encode_safetensors(&input, &encoded, &EncodeOptions::default()).unwrap();
        assert!(report.compression_ratio() > 1.05, "{name}: {}", report.compression_ratio());
        assert_eq!(fs::metadata(&encoded).unwrap().len(), report.encoded_bytes);
        let checkpoint = Checkpoint::open(&encoded).unwrap();
        assert!(checkpoint.verify_against(&input, None).unwrap().chunks > 1);
        let opened = checkpoint.tensor("w").unwrap();
        assert!(opened.decode().unwrap().as_bytes() == tensor.bytes, "{name}");
        assert_ranges_decode(&opened, &tensor.bytes, &mut random);
        checkpoint.restore(&restored, &RestoreOptions::default()).unwrap();
        assert!(fs::read(&restored).unwrap() == fs::read(&input).unwrap(), "{name}");
    }
}

#[test]
fn the_largest_blocks_come_back_with_pairs_and_their_escapes() {
    // Pair numbers take 16 bits in an escape; blocks of the largest size use them all.
    const BLOCK: usize = 131_072;
    let mut random = Random::new(14);
    for dtype in [Dtype::BF16, Dtype::F32] {
        let shape = [2 * BLOCK as u64 + 77];
        let name = dtype.name().to_owned();
        let mut tensor = TestTensor::new(name, dtype, &shape, Pattern::Gaussian, &mut random);
        let width = tensor.bytes.len() / shape[0] as usize;
        // Elements that are no weights' at a block's first and last pair.
        for outlier in [0, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK + 76] {
            tensor.bytes[outlier * width..][..width].fill(0x7E);
        }
        for states_per_lane in [1, 2] {
            let options = options(BLOCK, states_per_lane);
            assert_comes_back(std::slice::from_ref(&tensor), &options, &mut random);
            let file = safetensors_file(std::slice::from_ref(&tensor)).unwrap();
            let (encoded, _) = encode_safetensors_bytes(&file, &options).unwrap();
            let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
            let plans = checkpoint.tensor(&tensor.name).unwrap().plans();
            assert!(plans.iter().any(|(_, plan)| plan.ends_with("pairs")), "{plans:?}");
        }
    }
}

#[test]
fn more_different_blocks_than_a_tensor_may_have_plans_come_back() {
    // Every block is another constant, and so has a plan of its own.
    const BLOCKS: u64 = 65_536 + 100;
    let bytes: Vec<u8> = (0..BLOCKS * 1024)
        .flat_map(|element| ((element / 1024) as u32).wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let tensor =
        TestTensor { name: "t".into(), dtype: Dtype::U32, shape: vec![BLOCKS, 1024], bytes };
    let file = safetensors_file(std::slice::from_ref(&tensor)).unwrap();
    let (encoded, report) = encode_safetensors_bytes(&file, &options(1024, 1)).unwrap();
    assert!(report.compression_ratio() > 100.0);
    let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
    assert!(checkpoint.restore_bytes().unwrap() == file);
}

#[test]
fn the_demo_checkpoint_comes_back() {
    let (encoded, _) =
        encode_safetensors_bytes(wcodec::DEMO_CHECKPOINT, &EncodeOptions::default()).unwrap();
    let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
    assert!(checkpoint.restore_bytes().unwrap() == wcodec::DEMO_CHECKPOINT);
}

#[test]
fn an_original_with_an_unusual_header_comes_back() {
    // Spaces, member order, an unknown member and tensors out of order are all the original's own.
    let json = br#"{ "b" : {"shape":[2],"data_offsets":[4,6], "dtype":"U8", "extra":null},
        "a":{"dtype":"F32","shape":[],"data_offsets":[0,4]} ,"__metadata__":{"k":"v"}}   "#;
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json);
    file.extend_from_slice(&[1, 2, 3, 4, 5, 6]);
    let (encoded, _) = encode_safetensors_bytes(&file, &EncodeOptions::default()).unwrap();
    let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
    let names: Vec<&str> = checkpoint.tensors().map(|tensor| tensor.name()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(checkpoint.restore_bytes().unwrap() == file);
}
