//! Any tensors, encoded with any options, decode to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wcodec::{Checkpoint, EncodeOptions, Profile, encode_safetensors_bytes};
use wcodec_fuzz::{
    Choices, LIMIT_BYTES, LimitedAllocator, compute_on_this_thread, read_everything,
};
use wcodec_tests::{Pattern, Random, TestTensor, all_dtypes, safetensors_file};

#[global_allocator]
static ALLOCATOR: LimitedAllocator = LimitedAllocator::new(LIMIT_BYTES);

/// Tensors of a file, and bytes of a tensor.
const MOST_TENSORS: usize = 3;
const MOST_BYTES: usize = 4096;

fuzz_target!(init: compute_on_this_thread(), |bytes: &[u8]| {
    let mut choices = Choices(bytes);
    let options = options(&mut choices);
    let count = choices.below(MOST_TENSORS + 1);
    let tensors: Vec<TestTensor> = (0..count).map(|number| tensor(number, &mut choices)).collect();
    let original = safetensors_file(&tensors).expect("a valid file");
    let (encoded, report) = encode_safetensors_bytes(&original, &options).expect("a valid file");
    assert_eq!(report.encoded_bytes, encoded.len() as u64);
    let checkpoint = Checkpoint::from_bytes(encoded).expect("what was just encoded");
    assert_eq!(checkpoint.tensors().len(), tensors.len());
    let restored = read_everything(&checkpoint).expect("what was just encoded");
    assert!(restored == original, "other bytes");
});

fn options(choices: &mut Choices<'_>) -> EncodeOptions {
    let bits = choices.byte();
    let profile = if bits & 1 == 0 { Profile::Fast } else { Profile::Max };
    EncodeOptions {
        states_per_lane: 1 + usize::from(bits >> 1 & 1),
        sha256: bits >> 2 & 1 == 0,
        section_alignment: if bits >> 3 & 1 == 0 { 64 } else { 256 },
        block_elements: 1024 << (bits >> 4 & 3),
        ..EncodeOptions::of(profile)
    }
}

/// A tensor of some pattern, or of the fuzzer's own bytes, which are repeated to fill it.
fn tensor(number: usize, choices: &mut Choices<'_>) -> TestTensor {
    let dtypes = all_dtypes();
    let dtype = dtypes[choices.below(dtypes.len())].clone();
    let width = dtype.bits().unwrap_or(8).div_ceil(8) as usize;
    let length = choices.below(MOST_BYTES / width / 4);
    let kind = choices.below(2 * Pattern::ALL.len());
    let pattern = Pattern::ALL.get(kind).copied().unwrap_or(Pattern::Zero);
    let random = &mut Random::new(choices.number());
    let mut tensor = TestTensor::new(number.to_string(), dtype, &[length as u64], pattern, random);
    if kind >= Pattern::ALL.len() {
        let own = choices.below(1024);
        let own = choices.slice(own);
        if !own.is_empty() {
            tensor.bytes.iter_mut().zip(own.iter().cycle()).for_each(|(to, from)| *to = *from);
        }
    }
    tensor
}
