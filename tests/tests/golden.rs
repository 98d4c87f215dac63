//! Files of earlier releases still decode. `golden/` holds files minted once for a version of the
//! format by `examples/mint_golden.rs`.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wcodec::{Checkpoint, hex};
use wcodec_tests::{GOLDEN_FILES, GoldenFile, golden_tensors, safetensors_file};

/// SHA-256 of the original that all golden files hold.
const ORIGINAL_SHA256: &str = "91604c692fa0ff32d4268c669cf1049112d68d345593039eb35185e8bec5e551";

fn open(golden: &GoldenFile) -> Checkpoint {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    Checkpoint::open(folder.join(golden.name)).unwrap()
}

#[test]
fn golden_files_decode_to_the_recorded_sha256() {
    for golden in &GOLDEN_FILES {
        let checkpoint = open(golden);
        assert_eq!(hex(&checkpoint.original_sha256().unwrap()), ORIGINAL_SHA256, "{}", golden.name);
        let restored = checkpoint.restore_bytes().unwrap();
        assert_eq!(hex(&Sha256::digest(&restored)), ORIGINAL_SHA256, "{}", golden.name);
        checkpoint.verify(None).unwrap();
    }
}

#[test]
fn golden_files_hold_every_tensor_with_its_values() {
    let tensors = golden_tensors();
    let original = safetensors_file(&tensors).unwrap();
    let found = hex(&Sha256::digest(&original));
    assert_eq!(found, ORIGINAL_SHA256, "the generator of the golden tensors has changed");
    for golden in &GOLDEN_FILES {
        let checkpoint = open(golden);
        assert_eq!(checkpoint.tensors().len(), tensors.len());
        for (tensor, expected) in checkpoint.tensors().zip(&tensors) {
            let what = format!("{} of {}", expected.name, golden.name);
            assert_eq!(tensor.name(), expected.name, "{what}");
            assert_eq!(tensor.dtype(), expected.dtype, "{what}");
            assert_eq!(tensor.shape(), expected.shape, "{what}");
            assert!(tensor.decode().unwrap().as_bytes() == expected.bytes, "{what}");
        }
    }
}

#[test]
fn golden_files_hold_every_kind_of_plane() {
    for golden in &GOLDEN_FILES {
        let checkpoint = open(golden);
        let plans: Vec<String> = checkpoint
            .tensors()
            .flat_map(|tensor| tensor.plans().into_iter().map(|(_, plan)| plan))
            .collect();
        let plans = plans.join(", ");
        for kind in ["raw", "constant", "symbols", ", pairs", "nibble pairs"] {
            assert!(plans.contains(kind), "no {kind} in {}", golden.name);
        }
    }
}
