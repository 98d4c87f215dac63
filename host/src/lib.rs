//! wcodec stores neural-network checkpoints losslessly in less space.
//!
//! ```
//! # fn main() -> wcodec::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let (input, output) = (folder.path().join("m.safetensors"), folder.path().join("m.wcodec"));
//! # std::fs::write(&input, wcodec::DEMO_CHECKPOINT).unwrap();
//! let report = wcodec::encode_safetensors(&input, &output, &wcodec::EncodeOptions::default())?;
//! println!("{:.3} times smaller", report.compression_ratio());
//!
//! let checkpoint = wcodec::Checkpoint::open(&output)?;
//! for tensor in checkpoint.tensors() {
//!     println!("{} {} {:?}", tensor.name(), tensor.dtype(), tensor.shape());
//! }
//! let decoded = checkpoint.tensor("fp32.embeddings.LayerNorm.weight")?.decode()?;
//! let values: &[f32] = decoded.as_slice()?;
//! # assert!(!values.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! What decodes is byte for byte what was encoded, or there is an [`Error`].

pub mod gpu;
pub mod output;
pub mod safetensors;

mod base;
mod decode;
mod directory;
mod encode;
mod error;
mod format;
mod hash;
mod layer;
mod load;
mod mapped;
mod processors;
mod progress;
mod simd;
mod spares;

pub use base::Base;
pub use decode::{
    Checkpoint, Decoded, Element, Explanation, LostRange, RestoreOptions, SalvageReport, Tensor,
    ToolGain, VerifyReport,
};
pub use directory::{
    DirectoryFile, DirectoryReport, encode_directory, restore_directory, verify_directory,
    verify_directory_against,
};
pub use encode::{
    EncodeOptions, EncodeReport, Profile, TensorReport, encode_safetensors,
    encode_safetensors_bytes, encode_safetensors_bytes_into,
};
pub use error::{Error, ErrorKind, Result};
pub use gpu::{
    Device, DeviceBuffer, DeviceTensor, Layer, LayerStream, LayerTensor, ResidentCheckpoint, Stream,
};
pub use hash::hex;
pub use layer::{Decoder, EncodeStats, Encoder, EncoderOptions, TileShape};
pub use load::{
    Cancel, LoadLayout, LoadOptions, LoadReport, LoadedCheckpoint, Shard, StageTimes,
    TENSOR_ALIGNMENT, TensorLayout,
};
pub use mapped::guard_mapped_files;
pub use progress::Progress;
pub use simd::simd_level;

/// A small checkpoint of real weights, for demonstrations and tests: a `.safetensors` file with
/// one or more tensors of each common dtype, cut from MiniLM and SmolLM2 (Apache-2.0).
pub const DEMO_CHECKPOINT: &[u8] = include_bytes!("../fixtures/minilm-cut.safetensors");
