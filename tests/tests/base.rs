//! Checkpoints stored against a base, and equal tensors stored once.

use std::sync::Arc;

use wcodec::safetensors::Dtype;
use wcodec::{
    Base, Checkpoint, EncodeOptions, Error, ErrorKind, Profile, Result, encode_safetensors_bytes,
};
use wcodec_tests::{Pattern, Random, TestTensor, all_dtypes, golden_tensors, safetensors_file};

/// What a fine-tune may do to a tensor: nothing, change some bytes, all a little, or everything.
fn tuned(tensors: &[TestTensor]) -> Vec<TestTensor> {
    let random = &mut Random::new(77);
    let mut tuned = tensors.to_vec();
    for (number, tensor) in tuned.iter_mut().enumerate() {
        for byte in &mut tensor.bytes {
            match number % 4 {
                0 => {}
                1 if random.below(50) == 0 => *byte ^= 1 << random.below(8),
                1 => {}
                2 => *byte = byte.wrapping_add(random.below(3) as u8),
                _ => *byte = random.bits() as u8,
            }
        }
    }
    tuned
}

fn tensors() -> Vec<TestTensor> {
    let mut tensors = golden_tensors();
    let random = &mut Random::new(5);
    for dtype in all_dtypes() {
        for (number, length) in [2048, 5003, 4096].into_iter().enumerate() {
            let name = format!("{dtype}.{number}");
            let dtype = dtype.clone();
            tensors.push(TestTensor::new(name, dtype, &[length], Pattern::Gaussian, random));
        }
    }
    tensors
}

fn base(tensors: &[TestTensor]) -> Arc<Base> {
    Arc::new(Base::from_bytes(safetensors_file(tensors).unwrap()).unwrap())
}

fn against(file: &[u8], base: &Arc<Base>, options: EncodeOptions) -> Vec<u8> {
    let options = EncodeOptions { base: Some(Arc::clone(base)), ..options };
    encode_safetensors_bytes(file, &options).unwrap().0
}

fn open(encoded: &[u8]) -> Checkpoint {
    Checkpoint::from_bytes(encoded.to_vec()).unwrap()
}

#[track_caller]
fn error_of<T>(result: Result<T>) -> Error {
    result.err().expect("it works, and should not")
}

#[test]
fn every_dtype_comes_back_whole_and_in_parts() {
    let originals = tensors();
    let tuned = tuned(&originals);
    let file = safetensors_file(&tuned).unwrap();
    let base = base(&originals);
    for profile in [Profile::Fast, Profile::Max] {
        for states_per_lane in [1, 2] {
            let options = EncodeOptions::of(profile);
            let options = EncodeOptions { block_elements: 1024, states_per_lane, ..options };
            let encoded = against(&file, &base, options);
            let checkpoint = open(&encoded).with_base(Arc::clone(&base)).unwrap();
            assert_eq!(checkpoint.base_sha256(), Some(base.sha256()));
            assert!(checkpoint.restore_bytes().unwrap() == file);
            checkpoint.verify(None).unwrap();
            for tensor in &tuned {
                let found = checkpoint.tensor(&tensor.name).unwrap();
                assert!(found.decode().unwrap().as_bytes() == tensor.bytes, "{}", tensor.name);
                let count = found.byte_len() / found.element_bytes();
                let (start, end) = (count / 3, count - count / 5);
                let part = found.decode_range(start..end).unwrap();
                let width = found.element_bytes() as usize;
                let expected = &tensor.bytes[start as usize * width..end as usize * width];
                assert!(part.as_bytes() == expected, "{}", tensor.name);
            }
        }
    }
}

/// The form that a change takes least in is chosen.
#[test]
fn small_changes_are_differences_and_equal_blocks_take_nothing() {
    let random = &mut Random::new(6);
    let tensor = TestTensor::new("w", Dtype::F32, &[9000], Pattern::Gaussian, random);
    let mut moved = tensor.clone();
    // The second half, each element to one of its neighbours; carries reach every bit.
    for element in moved.bytes.as_chunks_mut().0[4096..].iter_mut() {
        let step = random.below(200) as u32;
        *element = u32::from_le_bytes(*element).wrapping_add(step).to_le_bytes();
    }
    let base = base(&[tensor]);
    let file = safetensors_file(&[moved]).unwrap();
    let options = EncodeOptions { block_elements: 4096, ..EncodeOptions::default() };
    let encoded = against(&file, &base, options);
    let checkpoint = open(&encoded);
    let plans = checkpoint.tensor("w").unwrap().plans();
    let blocks = |start: &str| -> usize {
        plans.iter().filter(|(_, plan)| plan.starts_with(start)).map(|(count, _)| count).sum()
    };
    assert_eq!((blocks("xor with base: constant"), blocks("difference from base")), (1, 2));
    assert!(encoded.len() < 15_000, "{} bytes", encoded.len());
}

#[test]
fn wrong_and_missing_bases_are_errors_that_name_the_right_one() {
    let originals = tensors();
    let file = safetensors_file(&tuned(&originals)).unwrap();
    let right = base(&originals);
    let encoded = against(&file, &right, EncodeOptions::default());
    let wanted = wcodec::hex(&right.sha256());

    let error = error_of(open(&encoded).restore_bytes());
    assert!(matches!(error, Error::MissingBase { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains(&wanted), "{error}");
    assert!(matches!(error_of(open(&encoded).verify(None)), Error::MissingBase { .. }));

    // One byte of the last tensor.
    let mut bytes = safetensors_file(&originals).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let wrong = Arc::new(Base::from_bytes(bytes).unwrap());
    let error = error_of(open(&encoded).with_base(wrong));
    assert!(matches!(error, Error::WrongBase { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.to_string().contains(&wanted), "{error}");
}

#[test]
fn tensors_that_need_no_base_decode_without_it() {
    let random = &mut Random::new(8);
    let mut tensor = |name: &str, length: u64| {
        TestTensor::new(name, Dtype::BF16, &[length], Pattern::Gaussian, random)
    };
    let (shared, own, resized) = (tensor("shared", 9000), tensor("own", 9000), tensor("r", 4000));
    let base = base(&[shared.clone(), tensor("r", 4001)]);
    let file = safetensors_file(&[shared, own.clone(), resized.clone()]).unwrap();
    let checkpoint = open(&against(&file, &base, EncodeOptions::default()));
    for alone in [&own, &resized] {
        let found = checkpoint.tensor(&alone.name).unwrap();
        assert!(found.decode().unwrap().as_bytes() == alone.bytes);
    }
    let shared = checkpoint.tensor("shared").unwrap();
    assert!(matches!(error_of(shared.decode()), Error::MissingBase { .. }));
    assert!(matches!(error_of(shared.decode_range(5..6)), Error::MissingBase { .. }));
}

#[test]
fn an_unrelated_base_costs_nothing_and_is_not_needed() {
    let shape = &[40_000][..];
    let one = |seed| {
        let random = &mut Random::new(seed);
        TestTensor::new("w", Dtype::BF16, shape, Pattern::Gaussian, random)
    };
    let file = safetensors_file(&[one(1)]).unwrap();
    let unrelated = base(&[one(2)]);
    for profile in [Profile::Fast, Profile::Max] {
        let alone = encode_safetensors_bytes(&file, &EncodeOptions::of(profile)).unwrap().0;
        let encoded = against(&file, &unrelated, EncodeOptions::of(profile));
        assert!(encoded == alone);
        assert!(open(&encoded).base_sha256().is_none());
        // Any base will do for a file that needs none.
        let checkpoint = open(&encoded).with_base(Arc::clone(&unrelated)).unwrap();
        assert!(checkpoint.restore_bytes().unwrap() == file);
    }
}

#[test]
fn a_base_that_is_stored_against_another_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let originals = tensors();
    let file = safetensors_file(&tuned(&originals)).unwrap();
    let encoded = against(&file, &base(&originals), EncodeOptions::default());
    let path = folder.path().join("tuned.wcodec");
    std::fs::write(&path, encoded).unwrap();
    assert!(matches!(error_of(Base::open(&path)), Error::MissingBase { .. }));
}

#[test]
fn equal_tensors_are_stored_once_and_decode_like_others() {
    let random = &mut Random::new(12);
    let first = TestTensor::new("a.embedding", Dtype::BF16, &[300, 64], Pattern::Gaussian, random);
    let renamed = |name: &str, shape: &[u64]| TestTensor {
        name: name.into(),
        shape: shape.to_vec(),
        ..first.clone()
    };
    let mut other = renamed("b.other", &[300, 64]);
    other.bytes[10_000] ^= 0x40;
    let tensors =
        [first.clone(), other, renamed("c.head", &[300, 64]), renamed("d.flat", &[19_200])];
    let file = safetensors_file(&tensors).unwrap();
    for profile in [Profile::Fast, Profile::Max] {
        let options = EncodeOptions { block_elements: 1024, ..EncodeOptions::of(profile) };
        let checkpoint = open(&encode_safetensors_bytes(&file, &options).unwrap().0);
        assert!(checkpoint.restore_bytes().unwrap() == file);
        let mut whole = vec![0; checkpoint.tensor_bytes() as usize];
        checkpoint.decode_all_into(&mut whole).unwrap();
        assert!(whole == file[file.len() - whole.len()..]);
        let original = |name: &str| checkpoint.tensor(name).unwrap().copy_of();
        assert_eq!(original("a.embedding"), None);
        assert_eq!(original("b.other"), None);
        for name in ["c.head", "d.flat"] {
            assert_eq!(original(name), Some("a.embedding"));
            let copy = checkpoint.tensor(name).unwrap();
            assert_eq!((copy.encoded_bytes(), copy.plans().len()), (0, 0));
            assert!(copy.decode().unwrap().as_bytes() == first.bytes);
            let part = copy.decode_range(1000..5000).unwrap();
            assert!(part.as_bytes() == &first.bytes[2000..10_000]);
        }
    }
}
