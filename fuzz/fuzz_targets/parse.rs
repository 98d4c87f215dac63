//! Any bytes, as each of the things that a reader takes: an error or an answer, within the limit on
//! memory.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use wcodec::safetensors::{TensorData, build, parse};
use wcodec::{Checkpoint, Decoder, EncodeOptions, encode_safetensors_bytes};
use wcodec_fuzz::{
    Choices, LIMIT_BYTES, LimitedAllocator, compute_on_this_thread, read_everything,
};
use wcodec_tests::Parts;

#[global_allocator]
static ALLOCATOR: LimitedAllocator = LimitedAllocator::new(LIMIT_BYTES);

fuzz_target!(init: compute_on_this_thread(), |bytes: &[u8]| {
    let mut choices = Choices(bytes);
    match choices.below(4) {
        0 => safetensors(choices.0),
        1 => wcodec_file(choices.0),
        2 => index(choices),
        _ => {
            let _ = Decoder::new().decode_layer(choices.0, 8, 8);
        }
    }
});

/// A header that is taken has to describe the file: what is built from it is taken again, and the
/// file encodes and decodes.
fn safetensors(file: &[u8]) {
    let Ok(header) = parse(file, Path::new("fuzzed")) else { return };
    let mut covered = header.data_start;
    for tensor in &header.tensors {
        assert_eq!(tensor.start, covered);
        covered = tensor.end;
        assert_eq!(tensor.bytes(file).map(|bytes| bytes.len() as u64), Some(tensor.byte_len()));
    }
    assert_eq!(covered, file.len() as u64);
    let tensors: Vec<TensorData<'_>> = header
        .tensors
        .iter()
        .map(|entry| TensorData {
            name: &entry.name,
            dtype: entry.dtype.clone(),
            shape: &entry.shape,
            bytes: entry.bytes(file).expect("within the file"),
        })
        .collect();
    build(&tensors, &[]).expect("a valid file");
    let (encoded, _) =
        encode_safetensors_bytes(file, &EncodeOptions::default()).expect("a valid file");
    let restored =
        Checkpoint::from_bytes(encoded).and_then(|checkpoint| checkpoint.restore_bytes());
    assert!(restored.expect("what was just encoded") == file);
}

fn wcodec_file(file: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::from_bytes(file.to_vec()) {
        read_everything(&checkpoint);
    }
}

/// The bytes as an index and a payload, with the right checksums around them: otherwise no made up
/// index would get past the first check.
fn index(mut choices: Choices<'_>) {
    let payload = choices.below(256);
    let payload = choices.slice(payload).to_vec();
    let parts = Parts { payload, index: choices.0.to_vec() };
    wcodec_file(&parts.aligned_file(64));
}
