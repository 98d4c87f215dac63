//! A small crate of kernels, from source to PTX.
//!
//! Needs a toolchain for kernels. Without one these tests say so and do nothing, unless
//! `WCODEC_REQUIRE_KERNEL_TOOLCHAIN` is set: then they fail.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use cuda_builder::{Arch, BuildError, CudaBuilder, RUSTC_VARIABLE, find_toolchain};
use tempfile::TempDir;

const MANIFEST: &str = r#"
[package]
name = "tiny-kernels"
version = "0.1.0"
edition = "2024"
[lib]
crate-type = ["cdylib"]
[features]
doubled = []
[workspace]
"#;

const SOURCE: &str = r#"
#![no_std]
#![feature(abi_ptx)]

/// # Safety
/// `values` holds one value.
#[unsafe(no_mangle)]
pub unsafe extern "ptx-kernel" fn scale(values: *mut u32, index: usize) {
    let factors = [3, 5, 7];
    let factor = if cfg!(feature = "doubled") { 2 * factors[index] } else { factors[index] };
    // SAFETY: the caller's promise.
    unsafe { *values = (*values).wrapping_mul(factor) };
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
"#;

fn tiny_kernels(source: &str) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("Cargo.toml"), MANIFEST).expect("a manifest");
    fs::create_dir(folder.path().join("src")).expect("a folder");
    fs::write(folder.path().join("src/lib.rs"), source).expect("a source file");
    folder
}

fn toolchain_is_there() -> bool {
    match find_toolchain() {
        Ok(toolchain) => {
            println!("with {}", toolchain.description);
            true
        }
        Err(error) => {
            let required = env::var_os("WCODEC_REQUIRE_KERNEL_TOOLCHAIN").is_some();
            assert!(!required, "{error}");
            eprintln!("not run: {error}");
            false
        }
    }
}

fn build(folder: &Path, features: &[&str]) -> Result<String, BuildError> {
    let output = CudaBuilder::new(folder)
        .arch(Arch::Sm80)
        .features(features.iter().copied())
        .copy_to(folder.join("tiny.ptx"))
        .build()?;
    assert_eq!(output.ptx_path, folder.join("tiny.ptx"));
    Ok(fs::read_to_string(&output.ptx_path).expect("PTX"))
}

#[test]
fn a_crate_becomes_ptx_that_is_the_same_everywhere_and_follows_features_and_edits() {
    if !toolchain_is_there() {
        return;
    }
    let (first, second) = (tiny_kernels(SOURCE), tiny_kernels(SOURCE));
    let ptx = build(first.path(), &[]).expect("PTX");
    for part in [".version 8.0", ".target sm_80", ".visible .entry scale("] {
        assert!(ptx.contains(part), "{part:?} is not in {ptx}");
    }
    assert!(!ptx.contains('/'), "a comment or path in {ptx}");
    assert_eq!(build(second.path(), &[]).expect("PTX"), ptx, "from another folder");

    let doubled = build(first.path(), &["doubled"]).expect("PTX");
    assert_ne!(doubled, ptx);
    assert_eq!(build(first.path(), &[]).expect("PTX"), ptx, "after a build with other features");

    fs::write(first.path().join("src/lib.rs"), SOURCE.replace("scale", "stretch"))
        .expect("an edit");
    assert!(build(first.path(), &[]).expect("PTX").contains(".entry stretch("));
}

#[test]
fn what_the_compiler_says_is_in_the_error() {
    if !toolchain_is_there() {
        return;
    }
    let folder = tiny_kernels(&SOURCE.replace("wrapping_mul", "wrapping_mull"));
    let error = build(folder.path(), &[]).expect_err("no such function");
    assert!(matches!(error, BuildError::Compile { .. }));
    assert!(error.to_string().contains("wrapping_mull"), "{error}");
}

#[test]
fn a_folder_without_a_crate_is_an_error() {
    if !toolchain_is_there() {
        return;
    }
    let folder = TempDir::new().expect("a temporary folder");
    let error = build(folder.path(), &[]).expect_err("no crate");
    assert!(matches!(error, BuildError::NoLibrary { .. }));
}

#[test]
fn a_named_compiler_that_does_not_run_is_an_error_that_says_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_build-kernels"))
        .arg("--check")
        .env(RUSTC_VARIABLE, "/nonexistent/rustc")
        .output()
        .expect("the program runs");
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    for part in ["WCODEC_KERNEL_RUSTC=/nonexistent/rustc", "apt-get install rustc-web rust-web-src"]
    {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
}

#[test]
fn unknown_arguments_give_the_usage() {
    let output = Command::new(env!("CARGO_BIN_EXE_build-kernels"))
        .arg("--chekc")
        .output()
        .expect("the program runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage: build-kernels [--check]"));
}
