//! Device memory for what is decoded.

use cuda_driver::cust::memory::{DeviceBuffer, mem_get_info};

use super::engine::Engine;
use super::pipeline::{Target, Transfer};
use crate::decode::Checkpoint;
use crate::error::{Error, Result};
use crate::load::{LoadOptions, Part};

/// So many bytes of device memory of the current context, at least one, with anything in them.
pub(super) fn allocate(bytes: u64, what: &str) -> Result<DeviceBuffer<u8>> {
    let length = usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
    // SAFETY: whoever asks for it writes it before anything reads it.
    let buffer = unsafe { DeviceBuffer::<u8>::uninitialized(length) };
    buffer.map_err(|error| {
        let free = mem_get_info()
            .map_or_else(|_| String::new(), |(free, _)| format!(", {free} bytes are free"));
        Error::Gpu {
            action: format!("allocate {length} bytes for {what}"),
            detail: format!("{error}{free}"),
        }
    })
}

/// Decodes `parts`, all of one checkpoint, into new device memory of `total` bytes.
pub(super) fn decode_parts(
    engine: &Engine,
    checkpoint: &Checkpoint,
    parts: &[Part<'_>],
    total: u64,
    options: &LoadOptions,
) -> Result<DeviceBuffer<u8>> {
    engine.make_current()?;
    let transfer = Transfer::new(engine, checkpoint, parts, options)?;
    let output = allocate(total, "the decoded tensors")?;
    // SAFETY: the output is new and has room for all parts: every byte of a tensor is written by the
    // kernels, whose status words are checked before this returns; the gaps between are never read.
    unsafe { transfer.run(Target::Decoded, output.as_device_ptr().as_raw())? };
    Ok(output)
}
