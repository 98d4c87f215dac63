//! Brings the checked-in PTX of the kernels up to date, or checks that it is.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use cuda_builder::kernel_sources::{CRATE, PTX, RECORD, Record, UPDATE_COMMAND};
use cuda_builder::{Arch, BuildError, CudaBuilder};

const USAGE: &str = "usage: build-kernels [--check]

Compiles the kernels to host/src/gpu/kernels.ptx and records beside it what they were made from.
--check writes neither, and fails where they are not up to date.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => update(),
        ["--check"] => check(),
        ["--help" | "-h"] => Ok(USAGE.to_owned()),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn update() -> Result<String, String> {
    let root = root();
    let (ptx, record) = build(&root).map_err(|error| error.to_string())?;
    write(&root.join(PTX), &ptx)?;
    write(&root.join(RECORD), record.to_string().as_bytes())?;
    Ok(format!("{PTX}: {} bytes, by {}", ptx.len(), record.compiler))
}

fn check() -> Result<String, String> {
    let root = root();
    let (built, record) = build(&root).map_err(|error| error.to_string())?;
    let recorded = Record::read(&root.join(RECORD)).map_err(|error| error.to_string())?;
    let present =
        fs::read(root.join(PTX)).map_err(|error| format!("cannot read {PTX}: {error}"))?;
    if recorded.sources != record.sources {
        return Err(format!("{RECORD} is of other sources: run `{UPDATE_COMMAND}`"));
    }
    if present != built {
        return Err(format!(
            "{PTX}, by {}, differs from what {} makes: run `{UPDATE_COMMAND}`",
            recorded.compiler, record.compiler
        ));
    }
    if recorded.ptx != record.ptx {
        return Err(format!("{RECORD} is of other PTX: run `{UPDATE_COMMAND}`"));
    }
    Ok(format!("{PTX} is up to date: {} bytes, by {}", built.len(), record.compiler))
}

/// Compiles the kernels; what came out, and its record.
fn build(root: &Path) -> Result<(Vec<u8>, Record), BuildError> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let output = CudaBuilder::new(root.join(CRATE))
        .arch(Arch::Sm80)
        .target_dir(target.join("kernels"))
        .build()?;
    let ptx = fs::read(&output.ptx_path).map_err(|source| BuildError::Io {
        action: "read",
        path: output.ptx_path,
        source,
    })?;
    let record = Record::new(root, &ptx, &output.toolchain.description)?;
    Ok((ptx, record))
}

fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    fs::write(path, content).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The repository's, two folders above this package's.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(2).take(1).collect()
}
