//! Damage anywhere in a file is an error: never a panic, never other bytes.

use rayon::prelude::*;
use wcodec::safetensors::{TensorData, build, parse};
use wcodec::{Checkpoint, DEMO_CHECKPOINT, EncodeOptions, encode_safetensors_bytes};

/// Elements that are kept of each tensor of the demonstration checkpoint.
const KEPT_BYTES: usize = 1024;

/// Real weights of every common dtype, cut so small that every bit of the file can be tried.
fn small_original() -> Vec<u8> {
    let header = parse(DEMO_CHECKPOINT, "demo".as_ref()).unwrap();
    let mut seen = Vec::new();
    let mut tensors = Vec::new();
    for entry in &header.tensors {
        if seen.contains(&&entry.dtype) {
            continue;
        }
        seen.push(&entry.dtype);
        let bytes = entry.bytes(DEMO_CHECKPOINT).unwrap();
        let bytes = &bytes[..bytes.len().min(KEPT_BYTES)];
        let width = u64::from(entry.dtype.bits().unwrap()).div_ceil(8);
        tensors.push((entry, [bytes.len() as u64 / width], bytes));
    }
    let tensors: Vec<TensorData<'_>> = tensors
        .iter()
        .map(|(entry, shape, bytes)| TensorData {
            name: &entry.name,
            dtype: entry.dtype.clone(),
            shape,
            bytes,
        })
        .collect();
    build(&tensors, &[]).unwrap()
}

fn small_file() -> Vec<u8> {
    let (encoded, _) =
        encode_safetensors_bytes(&small_original(), &EncodeOptions::default()).unwrap();
    assert!(encoded.len() < 20_000, "{} bytes take too long", encoded.len());
    encoded
}

/// Whether a file is refused, when it is opened or at the latest when it is verified.
fn is_refused(file: Vec<u8>) -> bool {
    Checkpoint::from_bytes(file).and_then(|checkpoint| checkpoint.verify(None)).is_err()
}

#[test]
fn the_file_itself_is_good_and_holds_every_kind_of_plane() {
    let checkpoint = Checkpoint::from_bytes(small_file()).unwrap();
    checkpoint.verify(None).unwrap();
    assert!(checkpoint.restore_bytes().unwrap() == small_original());
    let plans: Vec<String> = checkpoint
        .tensors()
        .flat_map(|tensor| tensor.plans().into_iter().map(|(_, plan)| plan))
        .collect();
    let plans = plans.join(", ");
    for kind in ["raw", "constant", "symbols", "pairs"] {
        assert!(plans.contains(kind), "no {kind} in {plans}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let file = small_file();
    (0..file.len()).into_par_iter().for_each(|length| {
        assert!(is_refused(file[..length].to_vec()), "cut to {length} bytes");
    });
}

#[test]
fn bytes_after_the_end_are_refused() {
    let file = small_file();
    for extra in [vec![0], vec![0; 4096], file[file.len() - 64..].to_vec(), file.clone()] {
        assert!(is_refused([&file[..], &extra].concat()), "{} bytes more", extra.len());
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let file = small_file();
    (0..8 * file.len()).into_par_iter().for_each(|bit| {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(is_refused(damaged), "bit {} of byte {}", bit % 8, bit / 8);
    });
}

#[test]
fn every_overwritten_run_of_bytes_is_refused() {
    let file = small_file();
    for value in [0x00, 0xFF] {
        (0..file.len() - 16).into_par_iter().step_by(7).for_each(|start| {
            let mut damaged = file.clone();
            damaged[start..start + 16].fill(value);
            assert!(damaged == file || is_refused(damaged), "{value:#x} at {start}");
        });
    }
}
