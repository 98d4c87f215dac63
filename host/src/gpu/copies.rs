//! Copies of rectangles within device memory.

use cuda_driver::cust::stream::Stream;
use cuda_driver::raw::{
    CUDA_MEMCPY2D, CUmemorytype_enum, cuMemcpy2DAsync_v2, cuMemcpyDtoDAsync_v2,
};

use super::device::driver;
use crate::error::Result;
use crate::load::{Rectangle, Rows};

/// Queues the copy of a rectangle of `rows` from decoded bytes at `decoded` to a slice at `slice`.
///
/// # Safety
///
/// Both lie in device memory, that of the rectangle is valid until the stream has passed this point,
/// and nobody else writes there meanwhile.
pub(super) unsafe fn copy_rectangle(
    rectangle: &Rectangle,
    rows: &Rows,
    decoded: u64,
    slice: u64,
    stream: &Stream,
) -> Result<()> {
    let (from, to) = (decoded + rectangle.from, slice + rectangle.to);
    let copied = if rectangle.height == 1 {
        // SAFETY: the caller's promise.
        unsafe { cuMemcpyDtoDAsync_v2(to, from, rectangle.width as usize, stream.as_inner()) }
    } else {
        let copy = CUDA_MEMCPY2D {
            srcXInBytes: 0,
            srcY: 0,
            srcMemoryType: CUmemorytype_enum::CU_MEMORYTYPE_DEVICE,
            srcHost: std::ptr::null(),
            srcDevice: from,
            srcArray: std::ptr::null_mut(),
            srcPitch: rows.pitch as usize,
            dstXInBytes: 0,
            dstY: 0,
            dstMemoryType: CUmemorytype_enum::CU_MEMORYTYPE_DEVICE,
            dstHost: std::ptr::null_mut(),
            dstDevice: to,
            dstArray: std::ptr::null_mut(),
            dstPitch: rows.width as usize,
            WidthInBytes: rectangle.width as usize,
            Height: rectangle.height as usize,
        };
        // SAFETY: as above.
        unsafe { cuMemcpy2DAsync_v2(&copy, stream.as_inner()) }
    };
    driver(copied, "copy parts of tensors")
}
