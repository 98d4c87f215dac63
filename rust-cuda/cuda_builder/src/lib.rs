//! Compiles a crate of kernels to PTX.
//!
//! The setters of [`CudaBuilder`] are those of Rust-CUDA's builder; underneath is rustc's target
//! `nvptx64-nvidia-cuda`, which needs a rustc with the source of `core` and nothing else. See
//! [`find_toolchain`] for where one is looked for.
//!
//! [`kernel_sources`] tells whether PTX that was built earlier still belongs to the sources.
//!
//! ```no_run
//! use cuda_builder::{Arch, CudaBuilder};
//!
//! let output = CudaBuilder::new("gpu-kernels").arch(Arch::Sm80).copy_to("kernels.ptx").build()?;
//! println!("{} by {}", output.ptx_path.display(), output.toolchain.version);
//! # Ok::<(), cuda_builder::BuildError>(())
//! ```

#![forbid(unsafe_code)]

mod arch;
mod builder;
mod cargo;
mod error;
pub mod kernel_sources;
mod ptx;
mod toolchain;

pub use arch::Arch;
pub use builder::{BuildOutput, CudaBuilder};
pub use error::{BuildError, Rejected};
pub use kernel_sources::source_hash;
pub use toolchain::{RUSTC_VARIABLE, Toolchain, Version, find_toolchain};
