//! The builder.

use std::path::{Path, PathBuf, absolute};
use std::{env, fs};

use sha2::{Digest, Sha256};

use crate::arch::Arch;
use crate::cargo;
use crate::error::BuildError;
use crate::ptx::{with_launch_bounds, without_paths};
use crate::toolchain::{Toolchain, find_toolchain};

/// Compiles one crate of kernels to PTX.
#[derive(Debug, Clone)]
pub struct CudaBuilder {
    crate_path: PathBuf,
    arch: Arch,
    features: Vec<String>,
    target_dir: Option<PathBuf>,
    copy_to: Option<PathBuf>,
}

/// What a build made.
#[derive(Debug, Clone)]
pub struct BuildOutput {
    /// The PTX: the place given to [`CudaBuilder::copy_to`], or one in the target folder.
    pub ptx_path: PathBuf,
    /// What compiled it.
    pub toolchain: Toolchain,
}

impl CudaBuilder {
    /// For the crate in the folder `crate_path`, with a library of kernels.
    pub fn new(crate_path: impl AsRef<Path>) -> Self {
        Self {
            crate_path: crate_path.as_ref().to_owned(),
            arch: Arch::default(),
            features: Vec::new(),
            target_dir: None,
            copy_to: None,
        }
    }

    /// The lowest compute capability to compile for; 8.0 unless set.
    #[must_use]
    pub fn arch(mut self, arch: Arch) -> Self {
        self.arch = arch;
        self
    }

    /// Features of the crate to enable, beside its default ones.
    #[must_use]
    pub fn features<I: IntoIterator<Item: Into<String>>>(mut self, features: I) -> Self {
        self.features = features.into_iter().map(Into::into).collect();
        self
    }

    /// Where to build. Unless set: in a build script's own folder, else in the crate's `target`.
    #[must_use]
    pub fn target_dir(mut self, target_dir: impl AsRef<Path>) -> Self {
        self.target_dir = Some(target_dir.as_ref().to_owned());
        self
    }

    /// Where to write the PTX.
    #[must_use]
    pub fn copy_to(mut self, path: impl AsRef<Path>) -> Self {
        self.copy_to = Some(path.as_ref().to_owned());
        self
    }

    /// Finds a toolchain and compiles.
    ///
    /// The PTX has no comments and no paths, so that the same sources and toolchain give the same
    /// file on every machine. A file that holds it already is not written again.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoToolchain`]; [`BuildError::Compile`] with what the compiler said;
    /// [`BuildError::NoLibrary`]; [`BuildError::Io`] for files that cannot be read or written.
    pub fn build(self) -> Result<BuildOutput, BuildError> {
        let toolchain = find_toolchain()?;
        let target_dir = self.own_target_dir(&toolchain)?;
        let assembly = self.compile(&toolchain, &target_dir)?;
        let text = fs::read_to_string(&assembly).map_err(BuildError::io("read", &assembly))?;
        let ptx_path = self.copy_to.unwrap_or_else(|| assembly.with_extension("clean.ptx"));
        write_if_different(&ptx_path, &without_paths(&with_launch_bounds(&text)))?;
        Ok(BuildOutput { ptx_path, toolchain })
    }

    /// A folder for this compiler and these settings alone: cargo gives the files of all of them
    /// the same name, and would take one for the other.
    fn own_target_dir(&self, toolchain: &Toolchain) -> Result<PathBuf, BuildError> {
        let target_dir = self.target_dir.clone().unwrap_or_else(|| {
            env::var_os("OUT_DIR").map_or_else(
                || self.crate_path.join("target"),
                |folder| Path::new(&folder).join("kernels"),
            )
        });
        let settings = format!("{}\n{:?}\n{:?}", toolchain.description, self.arch, self.features);
        let key: String =
            Sha256::digest(settings).iter().take(4).map(|b| format!("{b:02x}")).collect();
        let own = target_dir.join(format!("{}-{key}", self.arch.target_cpu()));
        absolute(&own).map_err(BuildError::io("find", &own))
    }

    /// Runs cargo; the path of the compiler's assembly.
    fn compile(&self, toolchain: &Toolchain, target_dir: &Path) -> Result<PathBuf, BuildError> {
        let crate_path =
            absolute(&self.crate_path).map_err(BuildError::io("find", &self.crate_path))?;
        if !crate_path.join("Cargo.toml").is_file() {
            return Err(BuildError::NoLibrary { crate_path });
        }
        let mut command =
            cargo::command(toolchain, &crate_path, self.arch, &self.features, target_dir);
        let output = command.output().map_err(BuildError::io("run", &toolchain.cargo))?;
        if !output.status.success() {
            return Err(BuildError::Compile {
                crate_path,
                command: format!("{}, {}", toolchain.cargo.display(), toolchain.description),
                output: String::from_utf8_lossy(&output.stderr).into_owned(),
            });
        }
        let messages = String::from_utf8_lossy(&output.stdout);
        cargo::reported_ptx(&messages, &crate_path.join("Cargo.toml"), target_dir)
            .ok_or(BuildError::NoLibrary { crate_path })
    }
}

/// An unchanged file keeps its time, so that what depends on it is not built again.
fn write_if_different(path: &Path, text: &str) -> Result<(), BuildError> {
    if fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    fs::write(path, text).map_err(BuildError::io("write", path))
}
