//! Chooses the PTX of the kernels to embed: the checked-in one while it belongs to the sources,
//! else one that is built here, with a toolchain for kernels.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use cuda_builder::kernel_sources::{CRATE, PTX, RECORD, Record, UPDATE_COMMAND, source_roots};
use cuda_builder::{Arch, BuildError, CudaBuilder, RUSTC_VARIABLE};

fn main() -> ExitCode {
    // The repository's root is the folder above this package's. Asked for now and not when this is
    // compiled: worktrees that share a target folder share this program.
    let manifest = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into());
    let root: PathBuf = Path::new(&manifest).ancestors().skip(1).take(1).collect();
    watch(&root);
    match kernels_ptx(&root) {
        Ok(ptx) => {
            println!("cargo:rustc-env=WCODEC_KERNELS_PTX={}", ptx.display());
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn watch(root: &Path) {
    println!("cargo:rerun-if-env-changed={RUSTC_VARIABLE}");
    for path in source_roots(root).into_iter().chain([root.join(PTX), root.join(RECORD)]) {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

fn kernels_ptx(root: &Path) -> Result<PathBuf, String> {
    let checked_in = root.join(PTX);
    let stale = match is_current(root, &checked_in) {
        Ok(true) => return Ok(checked_in),
        Ok(false) => format!("{PTX} does not belong to the kernels' sources"),
        Err(error) => error.to_string(),
    };
    let built = Path::new(&env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?).join("kernels.ptx");
    CudaBuilder::new(root.join(CRATE)).arch(Arch::Sm80).copy_to(&built).build().map_err(
        |error| {
            format!(
                "{stale}, and cannot be built here: {error}\nThen `{UPDATE_COMMAND}` updates it."
            )
        },
    )?;
    Ok(built)
}

fn is_current(root: &Path, ptx: &Path) -> Result<bool, BuildError> {
    let record = Record::read(&root.join(RECORD))?;
    let content = fs::read(ptx).map_err(|source| BuildError::Io {
        action: "read",
        path: ptx.to_owned(),
        source,
    })?;
    record.describes(root, &content)
}
