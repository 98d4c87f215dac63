//! The devices of this machine.

use cuda_driver::cust::CudaFlags;
use cuda_driver::cust::device::{Device, DeviceAttribute};
use cuda_driver::raw::CUresult;
use serde::Serialize;

use crate::error::{Error, Result};

/// The oldest compute capability that the kernels run on: `cp.async` came with it.
pub const MIN_COMPUTE_CAPABILITY: (u32, u32) = (8, 0);

/// What a GPU is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// Its number, as in `cuda:0`.
    pub ordinal: u32,
    /// The product's name.
    pub name: String,
    /// Compute capability, major and minor.
    pub compute_capability: (u32, u32),
    /// Bytes of device memory.
    pub memory_bytes: u64,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Cycles that a multiprocessor has in a second at most; 0 where the driver does not say.
    pub clock_hz: u64,
    /// Bytes that the device memory moves in a second at most, by its clock and the width of its bus; 0
    /// where the driver does not say.
    pub memory_bytes_per_second: u64,
    /// CUDA version of the driver, major and minor.
    pub driver: (u32, u32),
}

impl DeviceInfo {
    /// Whether the kernels run on it.
    pub fn is_supported(&self) -> bool {
        self.compute_capability >= MIN_COMPUTE_CAPABILITY
    }
}

/// All GPUs of this machine, supported or not.
///
/// # Errors
///
/// When there is no NVIDIA driver, it does not start, or it has no GPU.
pub fn devices() -> Result<Vec<DeviceInfo>> {
    initialize()?;
    let driver = cuda_driver::cust::CudaApiVersion::get().map_err(gpu("tell its version"))?;
    let count = Device::num_devices().map_err(gpu("count its devices"))?;
    if count == 0 {
        return Err(Error::Gpu {
            action: "be used".into(),
            detail: "the driver has no GPU".into(),
        });
    }
    (0..count)
        .map(|ordinal| {
            let device = Device::get_device(ordinal).map_err(gpu("be found"))?;
            let attribute = |attribute| {
                device
                    .get_attribute(attribute)
                    .map(|value| value as u32)
                    .map_err(gpu("tell its properties"))
            };
            // Nothing depends on these but speed.
            let speed = |kind| attribute(kind).map_or(0, u64::from);
            Ok(DeviceInfo {
                ordinal,
                name: device.name().map_err(gpu("tell its name"))?,
                compute_capability: (
                    attribute(DeviceAttribute::ComputeCapabilityMajor)?,
                    attribute(DeviceAttribute::ComputeCapabilityMinor)?,
                ),
                memory_bytes: device.total_memory().map_err(gpu("tell its memory"))? as u64,
                multiprocessors: attribute(DeviceAttribute::MultiprocessorCount)?,
                clock_hz: 1000 * speed(DeviceAttribute::ClockRate),
                memory_bytes_per_second: memory_bytes_per_second(
                    speed(DeviceAttribute::MemoryClockRate),
                    speed(DeviceAttribute::GlobalMemoryBusWidth),
                ),
                driver: (driver.major() as u32, driver.minor() as u32),
            })
        })
        .collect()
}

/// What a memory moves with a clock of so many kHz, both of whose edges count, and a bus of so many
/// bits.
fn memory_bytes_per_second(clock_khz: u64, bus_bits: u64) -> u64 {
    2 * 1000 * clock_khz * (bus_bits / 8)
}

/// Starts the driver, once a process.
pub(super) fn initialize() -> Result<()> {
    cuda_driver::available().map_err(|unavailable| Error::Gpu {
        action: "be used".into(),
        detail: unavailable.to_string(),
    })?;
    cuda_driver::cust::init(CudaFlags::empty()).map_err(gpu("start its driver"))
}

/// Wraps an error of the driver; `action` completes "the GPU cannot".
pub(super) fn gpu<E: std::fmt::Display>(action: &str) -> impl Fn(E) -> Error + '_ {
    move |error| Error::Gpu { action: action.to_owned(), detail: error.to_string() }
}

/// The driver's answer as a result; `action` completes "the GPU cannot".
pub(super) fn driver(answer: CUresult, action: &str) -> Result<()> {
    match answer {
        CUresult::CUDA_SUCCESS => Ok(()),
        failed => Err(Error::Gpu { action: action.to_owned(), detail: format!("{failed:?}") }),
    }
}
