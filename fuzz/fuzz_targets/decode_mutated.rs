//! Real files, changed: an error, or exactly the original.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use twox_hash::XxHash3_64;
use wcodec::safetensors::Dtype;
use wcodec::{Checkpoint, EncodeOptions, encode_safetensors_bytes};
use wcodec_fuzz::{
    Choices, LIMIT_BYTES, LimitedAllocator, compute_on_this_thread, read_everything,
};
use wcodec_tests::{Parts, Pattern, Random, TestTensor, safetensors_file};

#[global_allocator]
static ALLOCATOR: LimitedAllocator = LimitedAllocator::new(LIMIT_BYTES);

struct Subject {
    original: Vec<u8>,
    file: Vec<u8>,
    parts: Parts,
}

/// Small files that together have every dtype's layout, one and two states, several blocks.
fn subjects() -> &'static [Subject] {
    static SUBJECTS: OnceLock<Vec<Subject>> = OnceLock::new();
    SUBJECTS.get_or_init(|| {
        let lists: [&[(Dtype, u64, Pattern)]; 6] = [
            &[(Dtype::BF16, 1200, Pattern::Gaussian), (Dtype::U8, 0, Pattern::Zero)],
            &[(Dtype::F32, 500, Pattern::Gaussian), (Dtype::F32, 300, Pattern::Zero)],
            &[(Dtype::I8, 1500, Pattern::Gaussian), (Dtype::F4, 200, Pattern::Gaussian)],
            &[(Dtype::F16, 700, Pattern::Gaussian), (Dtype::F8E4M3, 300, Pattern::Gaussian)],
            &[(Dtype::F64, 300, Pattern::Gaussian), (Dtype::I64, 100, Pattern::HeavyTailed)],
            &[(Dtype::Bool, 600, Pattern::RareSymbol), (Dtype::U16, 200, Pattern::Uniform)],
        ];
        let both = lists.iter().flat_map(|list| [(*list, 1), (*list, 2)]);
        both.map(|(list, states)| subject(list, states)).collect()
    })
}

fn subject(list: &[(Dtype, u64, Pattern)], states_per_lane: usize) -> Subject {
    let random = &mut Random::new(list.len() as u64 + list[0].1);
    let tensors: Vec<TestTensor> = list
        .iter()
        .map(|(dtype, length, pattern)| {
            TestTensor::new(dtype.name(), dtype.clone(), &[*length], *pattern, random)
        })
        .collect();
    // One of the two has repeated names, which are told apart here.
    let tensors: Vec<TestTensor> = tensors
        .into_iter()
        .enumerate()
        .map(|(number, tensor)| TestTensor { name: format!("{number}.{}", tensor.name), ..tensor })
        .collect();
    let original = safetensors_file(&tensors).expect("a valid file");
    let options = EncodeOptions {
        block_elements: 1024,
        states_per_lane,
        section_alignment: 64,
        ..EncodeOptions::default()
    };
    let (file, _) = encode_safetensors_bytes(&original, &options).expect("a valid file");
    let parts = Parts::of(&file);
    Subject { original, file, parts }
}

fuzz_target!(init: compute_on_this_thread(), |bytes: &[u8]| {
    let mut choices = Choices(bytes);
    let subjects = subjects();
    let subject = &subjects[choices.below(subjects.len())];
    match choices.below(3) {
        0 => damaged_file(subject, choices),
        1 => forged_payload(subject, choices),
        _ => forged_index(subject, choices),
    }
});

/// Accidents.
fn damaged_file(subject: &Subject, mut choices: Choices<'_>) {
    let mut file = subject.file.clone();
    choices.mutate(&mut file);
    let is_changed = file != subject.file;
    let Ok(checkpoint) = Checkpoint::from_bytes(file) else {
        assert!(is_changed, "the file itself is refused");
        return;
    };
    match read_everything(&checkpoint) {
        Some(restored) => assert!(restored == subject.original, "other bytes"),
        None => assert!(is_changed, "the file itself is refused"),
    }
}

/// Malice: the chunk's checksum is right, where there is only one chunk.
fn forged_payload(subject: &Subject, mut choices: Choices<'_>) {
    let mut parts = subject.parts.clone();
    choices.mutate(&mut parts.payload);
    parts.payload.resize(subject.parts.payload.len(), 0);
    // The checksum of each tensor's only chunk; tensors follow one another.
    let checkpoint = Checkpoint::from_bytes(subject.file.clone()).expect("a good file");
    let mut start = 0;
    for tensor in checkpoint.tensors() {
        let range = start..start + tensor.encoded_bytes() as usize;
        start = range.end;
        let old = XxHash3_64::oneshot(&subject.parts.payload[range.clone()]);
        parts.replace_in_index(old, XxHash3_64::oneshot(&parts.payload[range]));
    }
    let Ok(checkpoint) = Checkpoint::from_bytes(parts.aligned_file(64)) else { return };
    if let Some(restored) = read_everything(&checkpoint) {
        assert!(restored == subject.original, "other bytes");
    }
}

/// Malice with the index: it may describe another good file, so nothing is said of the bytes but
/// that all ways to read them agree.
fn forged_index(subject: &Subject, mut choices: Choices<'_>) {
    let mut parts = subject.parts.clone();
    choices.mutate(&mut parts.index);
    if let Ok(checkpoint) = Checkpoint::from_bytes(parts.aligned_file(64)) {
        read_everything(&checkpoint);
    }
}
