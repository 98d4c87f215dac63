//! Damage anywhere in a file is an error: never a panic, never other bytes.

use rayon::prelude::*;
use wcodec::Checkpoint;

fn small_file() -> Vec<u8> {
    let encoded = wcodec_tests::small_file().unwrap();
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
    assert!(checkpoint.restore_bytes().unwrap() == wcodec_tests::small_original().unwrap());
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
fn every_flipped_bit_is_refused_with_the_sha256_and_without() {
    let file = small_file();
    let without = |file: Vec<u8>| {
        let checkpoint = Checkpoint::from_bytes(file).map(Checkpoint::without_sha256);
        checkpoint.and_then(|checkpoint| checkpoint.verify(None)).is_err()
    };
    (0..8 * file.len()).into_par_iter().for_each(|bit| {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(without(damaged.clone()), "bit {} of byte {}, without", bit % 8, bit / 8);
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
