//! Decoding on NVIDIA GPUs.
//!
//! The kernels are part of the binary, as PTX; the driver is opened when it is first needed. A
//! machine without either a driver or a suitable GPU gets an error from [`Decoder::new`] and the
//! CPU from [`Decoder::auto`], and both decode to the same bytes.

mod backend;
mod branches;
mod buffer;
mod classes;
mod copies;
mod decoder;
mod description;
mod device;
mod engine;
mod intervals;
mod kernels;
mod load;
mod memory;
mod output;
mod pipeline;
mod resident;
mod sizes;
mod tables;
mod tensor;
mod tile_work;
mod timing;
mod work;
mod workspace;

pub use backend::Device;
pub use buffer::{DeviceBuffer, Stream};
pub use decoder::Decoder;
pub use device::{DeviceInfo, MIN_COMPUTE_CAPABILITY, devices};
pub use resident::{Layer, LayerStream, LayerTensor, ResidentCheckpoint};
pub use tensor::DeviceTensor;
pub use timing::KernelTimes;

pub(crate) use load::load_to_gpu;
pub(crate) use tables::TableCache;
pub(crate) use tensor::HostMemory;
