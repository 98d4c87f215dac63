//! Host values as the bytes that go to a device.

use cuda_driver::cust::memory::{CopyDestination, DeviceBuffer};

use codec::device::{
    BlockTask, KernelClasses, KernelTable, PlaneSpecs, ReferenceTask, TaskGroup, TileTask,
};

use super::device::gpu;
use super::engine::Engine;
use crate::error::Result;

/// Types whose bytes can be copied to a device as they are.
///
/// # Safety
///
/// The type is `repr(C)` and has no padding, so that all of its bytes are initialised.
pub(super) unsafe trait DeviceData: Copy {}

/// Implements [`DeviceData`] for structs whose fields add up to their size.
macro_rules! device_data {
    ($($type:ty: $bytes:expr;)*) => { $(
        const _: () = assert!(size_of::<$type>() == $bytes);
        // SAFETY: `repr(C)`, and its fields take all of its bytes, as asserted above.
        unsafe impl DeviceData for $type {}
    )* };
}

device_data! {
    BlockTask: 2 * 8 + 4 * 4 + 8;
    TaskGroup: 3 * 4;
    KernelClasses: 4 * 8 + 4 * 4;
    TileTask: 3 * 8 + 6 * 4;
    ReferenceTask: 2 * 8 + 2 * 4;
    u8: 1;
    KernelTable: 4 * 4096 + 4 * 256;
    PlaneSpecs: 8 + 8 + 4 * 8 + 2 * 4;
    u32: 4;
}

/// A copy of `values` in device memory; one byte where there are none, which no kernel reads.
pub(super) fn upload<T: DeviceData>(values: &[T]) -> Result<DeviceBuffer<u8>> {
    if values.is_empty() {
        return DeviceBuffer::from_slice(&[0]).map_err(gpu("allocate memory"));
    }
    // SAFETY: all bytes of the values are initialised, as the trait promises, and they live as
    // long as the slice.
    let bytes =
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
    DeviceBuffer::from_slice(bytes).map_err(gpu("copy the description of the blocks"))
}

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
