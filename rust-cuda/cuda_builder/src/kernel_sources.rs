//! Whether checked-in PTX belongs to the kernels' sources: their hash, and the record of it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::error::BuildError;

/// The crate of the kernels, relative to the repository's root.
pub const CRATE: &str = "gpu-kernels";

/// The checked-in PTX, relative to the repository's root.
pub const PTX: &str = "host/src/gpu/kernels.ptx";

/// The record beside it, relative to the repository's root.
pub const RECORD: &str = "host/src/gpu/kernels.sha256";

/// How to bring both up to date, for messages.
pub const UPDATE_COMMAND: &str = "cargo run -p cuda_builder --bin build-kernels";

/// The crates that the PTX is made of, relative to the repository's root.
const CRATES: [&str; 4] = [CRATE, "codec", "rust-cuda/cuda_std", "rust-cuda/cuda_std_macros"];

/// Only hosts compile these.
const NOT_IN_PTX: [&str; 2] = ["codec/src/simd", "rust-cuda/cuda_std/src/emulator"];

/// The files and folders whose change may change the PTX, below the repository's `root`.
pub fn source_roots(root: &Path) -> Vec<PathBuf> {
    CRATES
        .iter()
        .flat_map(|folder| [root.join(folder).join("Cargo.toml"), root.join(folder).join("src")])
        .collect()
}

/// SHA-256, in hexadecimal, over path, length and content of every source file of the kernels
/// below the repository's `root`, in the order of their paths. Line endings are as they are.
///
/// # Errors
///
/// [`BuildError::Io`] when a file or folder cannot be read.
pub fn source_hash(root: &Path) -> Result<String, BuildError> {
    let mut files = Vec::new();
    for source_root in source_roots(root) {
        for entry in WalkDir::new(&source_root) {
            let entry =
                entry.map_err(|error| BuildError::io("read", &source_root)(error.into()))?;
            if entry.file_type().is_file() {
                files.push((path_in_repository(root, entry.path()), entry.into_path()));
            }
        }
    }
    files.retain(|(name, _)| !NOT_IN_PTX.iter().any(|folder| Path::new(name).starts_with(folder)));
    files.sort_unstable();
    let mut hash = Sha256::new();
    for (name, path) in files {
        let content = fs::read(&path).map_err(BuildError::io("read", &path))?;
        for part in [name.as_bytes(), &content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// The same on every system: relative, with slashes.
fn path_in_repository(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> =
        relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What lies beside checked-in PTX: which sources it was made from, and what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// [`source_hash`] of the sources.
    pub sources: String,
    /// SHA-256 of the PTX, in hexadecimal.
    pub ptx: String,
    /// What the compiler printed as its version.
    pub compiler: String,
}

impl Record {
    /// Describes `ptx`, made from the sources below `root` by `compiler`.
    ///
    /// # Errors
    ///
    /// As [`source_hash`].
    pub fn new(root: &Path, ptx: &[u8], compiler: &str) -> Result<Self, BuildError> {
        Ok(Self {
            sources: source_hash(root)?,
            ptx: hexadecimal(&Sha256::digest(ptx)),
            compiler: compiler.to_owned(),
        })
    }

    /// Reads the record at `path`.
    ///
    /// # Errors
    ///
    /// [`BuildError::Io`] when there is none, [`BuildError::Record`] when a line is missing.
    pub fn read(path: &Path) -> Result<Self, BuildError> {
        let text = fs::read_to_string(path).map_err(BuildError::io("read", path))?;
        let line = |key: &str, expected| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
                .map(|value| value.trim_end().to_owned())
                .ok_or_else(|| BuildError::Record { path: path.to_owned(), expected })
        };
        Ok(Self {
            sources: line("sources", "sources: SHA-256")?,
            ptx: line("ptx", "ptx: SHA-256")?,
            compiler: line("compiler", "compiler: VERSION")?,
        })
    }

    /// Whether this describes `ptx` and the sources below `root`.
    ///
    /// # Errors
    ///
    /// As [`source_hash`].
    pub fn describes(&self, root: &Path, ptx: &[u8]) -> Result<bool, BuildError> {
        Ok(*self == Self::new(root, ptx, &self.compiler)?)
    }
}

/// The text of the file.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sources, ptx, compiler } = self;
        write!(f, "sources: {sources}\nptx: {ptx}\ncompiler: {compiler}\n")
    }
}
