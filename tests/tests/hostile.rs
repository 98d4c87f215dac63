//! Files whose checksums are right and whose content is not, as only somebody writes them who means
//! harm: an error, or exactly the original; never a panic, never other bytes.
//!
//! The files are forged after `docs/FORMAT.md`, without any help of the library.

use std::sync::Arc;

use rayon::prelude::*;
use twox_hash::XxHash3_64;
use wcodec::safetensors::Dtype;
use wcodec::{Base, Checkpoint, EncodeOptions, Profile, encode_safetensors_bytes};
use wcodec_tests::{Parts, Pattern, Random, SmoothTable, TestTensor, safetensors_file};

const FOOTER_BYTES: usize = 64;

/// The original file of `tensors`, and the parts of its `.wcodec` file.
fn encode(
    tensors: &[TestTensor],
    block_elements: usize,
    states_per_lane: usize,
) -> (Vec<u8>, Parts) {
    let original = safetensors_file(tensors).unwrap();
    let options = EncodeOptions { block_elements, states_per_lane, ..EncodeOptions::default() };
    let (encoded, _) = encode_safetensors_bytes(&original, &options).unwrap();
    (original, Parts::of(&encoded))
}

/// Reads all that can be read; what works must give the original.
fn assert_harmless(forged: &Parts, original: &[u8], what: impl Fn() -> String) {
    if let Ok(checkpoint) = Checkpoint::from_bytes(forged.file()) {
        assert_reads_harmlessly(&checkpoint, original, what);
    }
}

fn assert_reads_harmlessly(checkpoint: &Checkpoint, original: &[u8], what: impl Fn() -> String) {
    for tensor in checkpoint.tensors() {
        let count = tensor.byte_len() / tensor.element_bytes();
        // The whole as well as a part: each is refused or decodes, neither may panic.
        let (_, _) = (tensor.decode(), tensor.decode_range(count / 2..count));
        let _ = (tensor.plans(), tensor.encoded_bytes());
    }
    let restored = checkpoint.restore_bytes();
    assert_eq!(restored.is_ok(), checkpoint.verify(None).is_ok(), "{}", what());
    if let Ok(restored) = restored {
        assert!(restored == original, "{}", what());
    }
}

#[test]
fn parts_put_together_again_are_a_good_file() {
    let tensor = TestTensor::new("t", Dtype::F32, &[500], Pattern::Gaussian, &mut Random::new(1));
    let (original, parts) = encode(&[tensor], 1024, 1);
    let checkpoint = Checkpoint::from_bytes(parts.file()).unwrap();
    assert!(checkpoint.restore_bytes().unwrap() == original);
}

#[test]
fn a_changed_index_with_right_checksums_is_harmless() {
    let random = &mut Random::new(51);
    let tensors = [
        TestTensor::new("a", Dtype::BF16, &[1500], Pattern::Gaussian, random),
        TestTensor::new("b", Dtype::U8, &[0], Pattern::Zero, random),
        TestTensor::new("c", Dtype::F32, &[300], Pattern::Zero, random),
        TestTensor::new("d", Dtype::I8, &[700], Pattern::Gaussian, random),
    ];
    let (original, parts) = encode(&tensors, 1024, 1);
    assert_changed_indexes_are_harmless(&original, &parts);
}

/// Modes, row lengths and number formats come from the index too.
#[test]
fn a_changed_index_of_tiles_with_right_checksums_is_harmless() {
    let tensor = SmoothTable::rotary_cosines(130, 20).as_i8();
    let original = safetensors_file(&[tensor]).unwrap();
    let options = EncodeOptions { block_elements: 2048, ..EncodeOptions::of(Profile::Max) };
    let (encoded, _) = encode_safetensors_bytes(&original, &options).unwrap();
    let checkpoint = Checkpoint::from_bytes(encoded.clone()).unwrap();
    assert!(checkpoint.tensors().all(|tensor| !tensor.tile_modes().is_empty()));
    assert_changed_indexes_are_harmless(&original, &Parts::of(&encoded));
}

/// References, the base's name, and which tensor is a copy of which come from the index too.
#[test]
fn a_changed_index_of_a_file_with_a_base_is_harmless() {
    let random = &mut Random::new(52);
    let base = [
        TestTensor::new("a", Dtype::BF16, &[1500], Pattern::Gaussian, random),
        TestTensor::new("b", Dtype::I8, &[1100], Pattern::Gaussian, random),
        TestTensor::new("c", Dtype::F32, &[90], Pattern::Gaussian, random),
    ];
    let mut tuned = base.to_vec();
    tuned[0].bytes.iter_mut().step_by(7).for_each(|byte| *byte = byte.wrapping_add(1));
    tuned[2].bytes[5] ^= 0x10;
    tuned.push(TestTensor { name: "d".into(), ..tuned[0].clone() });
    tuned.push(TestTensor { name: "e".into(), ..tuned[1].clone() });
    let base = Arc::new(Base::from_bytes(safetensors_file(&base).unwrap()).unwrap());
    let original = safetensors_file(&tuned).unwrap();
    let options = EncodeOptions {
        block_elements: 1024,
        base: Some(Arc::clone(&base)),
        ..EncodeOptions::default()
    };
    let (encoded, _) = encode_safetensors_bytes(&original, &options).unwrap();
    let checkpoint = Checkpoint::from_bytes(encoded.clone()).unwrap();
    assert_eq!(checkpoint.tensor("d").unwrap().copy_of(), Some("a"));
    assert_eq!(checkpoint.tensor("e").unwrap().copy_of(), Some("b"));
    assert!(checkpoint.tensor("a").unwrap().plans().iter().any(|(_, plan)| plan.contains("base")));
    assert_changed_indexes(&Parts::of(&encoded), |forged, what| {
        let Ok(checkpoint) = Checkpoint::from_bytes(forged.file()) else { return };
        for tensor in checkpoint.tensors() {
            // Without the base, as others open it; each is refused or decodes, neither may panic.
            let (_, _) = (tensor.decode(), tensor.copy_of());
        }
        if let Ok(checkpoint) = checkpoint.with_base(Arc::clone(&base)) {
            assert_reads_harmlessly(&checkpoint, &original, || what.clone());
        }
    });
}

#[test]
fn checksums_are_as_many_as_there_are_tensors_and_chunks() {
    let random = &mut Random::new(54);
    let tensors = ["a", "b"]
        .map(|name| TestTensor::new(name, Dtype::BF16, &[1300], Pattern::Gaussian, random));
    let (_, parts) = encode(&tensors, 1024, 1);
    assert_eq!(parts.index[..8], 4u64.to_le_bytes());
    let (checksums, records) = parts.index[8..].split_at(32);
    for (count, place) in [(0, 0), (3, 24), (5, 40), (5, 32)] {
        let checksums = &[checksums, &[7; 8]].concat()[..place];
        let count = u64::to_le_bytes(count);
        let index = [&count[..], checksums, records].concat();
        let forged = Parts { index, ..parts.clone() };
        let error = Checkpoint::from_bytes(forged.file()).unwrap_err();
        assert_eq!(error.kind(), wcodec::ErrorKind::Corrupt, "{error}");
        if count == (place as u64 / 8).to_le_bytes() {
            assert!(error.to_string().contains("another number of checksums"), "{error}");
        }
    }
    for count in [1 << 20, u64::MAX, u64::MAX / 8, 1 << 61] {
        let mut forged = parts.clone();
        forged.index[..8].copy_from_slice(&count.to_le_bytes());
        let error = Checkpoint::from_bytes(forged.file()).unwrap_err().to_string();
        assert!(error.contains("ends within its checksums"), "{error}");
    }
}

#[test]
fn copies_name_earlier_tensors_that_are_none() {
    let random = &mut Random::new(53);
    let first = TestTensor::new("a", Dtype::U8, &[1300], Pattern::Gaussian, random);
    let named = |name: &str| TestTensor { name: name.into(), ..first.clone() };
    let (_, parts) = encode(&[first.clone(), named("b"), named("c")], 1024, 1);
    // The number of the tensor that it is a copy of, and what its elements and blocks are.
    let copy = [&[1][..], &0u32.to_le_bytes(), &[1, 0, 1], &1024u32.to_le_bytes()].concat();
    let places: Vec<usize> = (0..parts.index.len() - copy.len())
        .filter(|&at| parts.index[at..].starts_with(&copy))
        .collect();
    assert_eq!(places.len(), 2, "two are copies of the first");
    for (place, number) in [(0, 1u32), (0, 2), (1, 1), (1, 2), (1, 3), (1, u32::MAX)] {
        let mut forged = parts.clone();
        forged.index[places[place] + 1..][..4].copy_from_slice(&number.to_le_bytes());
        let error = Checkpoint::from_bytes(forged.file()).unwrap_err().to_string();
        assert!(error.contains("copy of no earlier tensor"), "{error}");
    }
}

/// Single bits, absurd numbers, and ends.
fn assert_changed_indexes_are_harmless(original: &[u8], parts: &Parts) {
    assert_changed_indexes(parts, |forged, what| {
        assert_harmless(forged, original, || what.clone())
    });
}

fn assert_changed_indexes(parts: &Parts, check: impl Fn(&Parts, String) + Sync) {
    (0..8 * parts.index.len()).into_par_iter().for_each(|bit| {
        let mut forged = parts.clone();
        forged.index[bit / 8] ^= 1 << (bit % 8);
        check(&forged, format!("bit {} of byte {}", bit % 8, bit / 8));
    });
    // Absurd numbers in every place: counts, lengths, offsets, table and plan numbers.
    (0..parts.index.len() - 8).into_par_iter().for_each(|at| {
        for number in [0, u64::MAX, 1 << 63, 1 << 40, u64::from(u32::MAX)] {
            let mut forged = parts.clone();
            forged.index[at..at + 8].copy_from_slice(&number.to_le_bytes());
            check(&forged, format!("{number:#x} at {at}"));
        }
    });
    (0..parts.index.len()).into_par_iter().for_each(|length| {
        let mut forged = parts.clone();
        forged.index.truncate(length);
        check(&forged, format!("cut to {length} bytes"));
    });
}

/// The bits of a payload that are tried: all of the first block's header and states and of the end,
/// a few thousand of the others.
fn bits_to_try(payload: &[u8]) -> impl ParallelIterator<Item = usize> {
    const BEGINNING: usize = 8 * 200;
    const END: usize = 8 * 64;
    let bits = 8 * payload.len();
    let step = (bits / 5000).max(1) | 1;
    let between = (BEGINNING..bits - END).into_par_iter().step_by(step);
    (0..BEGINNING).into_par_iter().chain(between).chain(bits - END..bits)
}

/// The payload is one chunk, so that its checksum can be found in the index and made right.
fn assert_changed_blocks_are_harmless(tensor: &TestTensor, coding: &str) {
    for states_per_lane in [1, 2] {
        let (original, parts) = encode(std::slice::from_ref(tensor), 8192, states_per_lane);
        let checkpoint = Checkpoint::from_bytes(parts.file()).unwrap();
        let plans = checkpoint.tensor("t").unwrap().plans();
        assert!(plans[0].1.ends_with(coding), "no {coding} in {plans:?}");
        let checksum = XxHash3_64::oneshot(&parts.payload);
        bits_to_try(&parts.payload).for_each(|bit| {
            let mut forged = parts.clone();
            forged.payload[bit / 8] ^= 1 << (bit % 8);
            let right = XxHash3_64::oneshot(&forged.payload);
            assert!(forged.replace_in_index(checksum, right), "{checksum:#x} is not there once");
            let what = || format!("{coding}: bit {} of byte {}", bit % 8, bit / 8);
            assert_harmless(&forged, &original, what);
        });
    }
}

fn gaussian(dtype: Dtype) -> TestTensor {
    TestTensor::new("t", dtype, &[8192 + 1111], Pattern::Gaussian, &mut Random::new(52))
}

#[test]
fn changed_blocks_of_pairs_with_right_checksums_are_harmless() {
    let mut tensor = gaussian(Dtype::BF16);
    // Magnitudes beyond those of weights become escapes.
    for (element, exponent) in [(0, 0x7E), (4001, 0x01), (8191, 0x71), (8192, 0x11)] {
        tensor.bytes[2 * element + 1] = exponent;
    }
    assert_changed_blocks_are_harmless(&tensor, "raw, pairs");
}

#[test]
fn changed_blocks_of_nibble_pairs_with_right_checksums_are_harmless() {
    assert_changed_blocks_are_harmless(&gaussian(Dtype::I8), "nibble pairs");
}

#[test]
fn changed_blocks_of_symbols_with_right_checksums_are_harmless() {
    assert_changed_blocks_are_harmless(&gaussian(Dtype::F16), "symbols");
    assert_changed_blocks_are_harmless(&gaussian(Dtype::F64), "symbols");
}

#[test]
fn an_index_that_inflates_without_end_is_refused() {
    let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; 1 << 24], 9);
    let claimed = [bomb.len() as u64 * 60, 1 << 24, 1 << 31, u64::MAX];
    for inflated in claimed {
        let parts = Parts { payload: Vec::new(), index: bomb.clone() };
        let mut file = parts.file();
        let footer = file.len() - FOOTER_BYTES;
        file[footer + 24..][..8].copy_from_slice(&inflated.to_le_bytes());
        let checksum = XxHash3_64::oneshot(&file[footer..][..48]);
        file[footer + 48..][..8].copy_from_slice(&checksum.to_le_bytes());
        let error = Checkpoint::from_bytes(file).unwrap_err();
        assert_eq!(error.kind(), wcodec::ErrorKind::Corrupt, "{error}");
    }
}
