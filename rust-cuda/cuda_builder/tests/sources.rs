//! The hash of the kernels' sources, and the record beside the PTX.

use std::fs;
use std::path::Path;

use cuda_builder::kernel_sources::{Record, source_roots};
use cuda_builder::{BuildError, source_hash};
use tempfile::TempDir;

const LIBRARY: &str = "codec/src/lib.rs";
const EMULATOR: &str = "rust-cuda/cuda_std/src/emulator/mod.rs";

fn repository() -> TempDir {
    let root = TempDir::new().expect("a temporary folder");
    for source_root in source_roots(root.path()) {
        match source_root.extension() {
            Some(_) => write(&source_root, "[package]\n"),
            None => write(&source_root.join("lib.rs"), "//! A library.\n"),
        }
    }
    write(&root.path().join(EMULATOR), "//! For hosts.\n");
    root
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(path, text).expect("a file");
}

fn hash(root: &TempDir) -> String {
    source_hash(root.path()).expect("readable sources")
}

#[test]
fn one_changed_byte_changes_the_hash_and_changing_it_back_restores_it() {
    let root = repository();
    let before = hash(&root);
    assert_eq!(before.len(), 64);
    write(&root.path().join(LIBRARY), "//! a library.\n");
    assert_ne!(hash(&root), before);
    write(&root.path().join(LIBRARY), "//! A library.\n");
    assert_eq!(hash(&root), before);
}

#[test]
fn line_endings_manifests_names_and_new_files_count() {
    let root = repository();
    let mut seen = vec![hash(&root)];
    write(&root.path().join(LIBRARY), "//! A library.\r\n");
    seen.push(hash(&root));
    write(&root.path().join("gpu-kernels/Cargo.toml"), "[package]\n\n");
    seen.push(hash(&root));
    write(&root.path().join("codec/src/new.rs"), "");
    seen.push(hash(&root));
    fs::rename(root.path().join("codec/src/new.rs"), root.path().join("codec/src/now.rs"))
        .expect("a new name");
    seen.push(hash(&root));
    for (at, one) in seen.iter().enumerate() {
        assert!(!seen[..at].contains(one), "step {at} did not change the hash");
    }
}

#[test]
fn the_emulator_does_not_count() {
    let root = repository();
    let before = hash(&root);
    write(&root.path().join(EMULATOR), "//! Changed.\n");
    assert_eq!(hash(&root), before);
}

#[test]
fn a_missing_crate_is_an_error_that_names_it() {
    let root = repository();
    fs::remove_dir_all(root.path().join("codec")).expect("removed");
    let error = source_hash(root.path()).expect_err("no codec");
    assert!(matches!(error, BuildError::Io { .. }));
    assert!(error.to_string().contains("codec"), "{error}");
}

#[test]
fn a_record_survives_its_file_and_tells_what_changed() {
    let root = repository();
    let record = Record::new(root.path(), b".version 8.0\n", "rustc 1.96.0").expect("a record");
    let path = root.path().join("kernels.sha256");
    write(&path, &record.to_string());
    let read = Record::read(&path).expect("the same record");
    assert_eq!(read, record);
    assert!(read.describes(root.path(), b".version 8.0\n").expect("readable sources"));
    assert!(!read.describes(root.path(), b".version 8.1\n").expect("readable sources"));
    write(&root.path().join(LIBRARY), "");
    assert!(!read.describes(root.path(), b".version 8.0\n").expect("readable sources"));
}

#[test]
fn a_record_without_a_line_is_an_error_that_names_the_line() {
    let root = repository();
    let path = root.path().join("kernels.sha256");
    write(&path, "sources: 00\ncompiler: rustc 1.96.0\n");
    let error = Record::read(&path).expect_err("no hash of the PTX");
    assert!(error.to_string().contains("ptx: SHA-256"), "{error}");
}
