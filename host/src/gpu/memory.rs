//! Copies between host and device that are done when they return.

use cuda_driver::cust::memory::{CopyDestination, DeviceBuffer};

use super::device::gpu;
use super::engine::Engine;
use crate::error::Result;

/// Copies bytes of device memory, from `offset` on, to the host.
pub(super) fn download(
    engine: &Engine,
    memory: &DeviceBuffer<u8>,
    offset: usize,
    out: &mut [u8],
) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    engine.make_current()?;
    let part = memory.index(offset..offset + out.len());
    part.copy_to(out).map_err(gpu("copy decoded bytes"))
}
