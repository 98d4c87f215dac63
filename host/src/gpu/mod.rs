//! Decoding on NVIDIA GPUs.
//!
//! The kernels are part of the binary, as PTX; the driver is opened when it is first needed. A
//! machine without either a driver or a suitable GPU gets an error from [`Decoder::new`] and the
//! CPU from [`Decoder::auto`], and both decode to the same bytes.

mod classes;
mod decoder;
mod device;
mod engine;
mod kernels;
mod memory;
mod pipeline;
mod tensor;
mod timing;
mod work;

pub use decoder::Decoder;
pub use device::{DeviceInfo, MIN_COMPUTE_CAPABILITY, devices};
pub use tensor::DeviceTensor;
pub use timing::KernelTimes;
