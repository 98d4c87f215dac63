//! Mints the golden files: `cargo run -p wcodec-tests --example mint_golden`.
//!
//! A golden file is minted once for a version of the format and never again; the tests then prove
//! that later releases still read it. Only while the version is not frozen (see `docs/FORMAT.md`)
//! may its files be minted anew, with `-- --replace`. The program prints the SHA-256 that
//! `tests/golden.rs` records.

use std::path::Path;

use sha2::{Digest, Sha256};
use wcodec::output::AtomicFile;
use wcodec::{EncodeOptions, Result, encode_safetensors_bytes, hex};
use wcodec_tests::{GOLDEN_FILES, GoldenFile, golden_tensors, safetensors_file};

fn main() -> Result<()> {
    let replace = std::env::args().nth(1).is_some_and(|argument| argument == "--replace");
    let original = safetensors_file(&golden_tensors())?;
    println!("original: {} bytes, SHA-256 {}", original.len(), hex(&Sha256::digest(&original)));
    for GoldenFile { name, states_per_lane } in GOLDEN_FILES {
        let options =
            EncodeOptions { block_elements: 1024, states_per_lane, ..EncodeOptions::default() };
        let (encoded, _) = encode_safetensors_bytes(&original, &options)?;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
        let mut file = AtomicFile::create(&path, replace)?;
        file.append(&encoded)?;
        file.commit()?;
        println!("{name}: {} bytes, SHA-256 {}", encoded.len(), hex(&Sha256::digest(&encoded)));
    }
    Ok(())
}
