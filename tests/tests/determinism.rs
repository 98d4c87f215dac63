//! The same input gives the same file, whatever the number of threads.

use rayon::ThreadPoolBuilder;
use wcodec::safetensors::Dtype;
use wcodec::{Checkpoint, EncodeOptions, encode_safetensors_bytes};
use wcodec_tests::{Pattern, Random, TestTensor, golden_tensors, safetensors_file};

/// The golden tensors and some of several MiB, so that there are several chunks, groups of blocks, and
/// windows, also of one tensor.
fn original() -> Vec<u8> {
    let random = &mut Random::new(31);
    let mut tensors = golden_tensors();
    for (dtype, elements, pattern) in [
        (Dtype::BF16, 1_100_003, Pattern::Gaussian),
        (Dtype::I8, 1_100_003, Pattern::Gaussian),
        (Dtype::F32, 2_300_003, Pattern::HeavyTailed),
    ] {
        tensors.push(TestTensor::new(dtype.to_string(), dtype, &[elements], pattern, random));
    }
    safetensors_file(&tensors).unwrap()
}

fn encode(file: &[u8], threads: usize) -> Vec<u8> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| encode_safetensors_bytes(file, &EncodeOptions::default())).unwrap().0
}

#[test]
fn the_number_of_threads_does_not_show_in_the_file() {
    let file = original();
    let one = encode(&file, 1);
    for threads in [1, 2, 5] {
        assert!(encode(&file, threads) == one, "{threads} threads");
    }
}

#[test]
fn a_file_written_to_disk_is_the_one_made_in_memory() {
    let file = original();
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.safetensors"), folder.path().join("out.wcodec"));
    std::fs::write(&input, &file).unwrap();
    wcodec::encode_safetensors(&input, &output, &EncodeOptions::default()).unwrap();
    assert!(std::fs::read(&output).unwrap() == encode(&file, 2));
    assert!(Checkpoint::open(&output).unwrap().verify_against(&input, None).is_ok());
}
