//! A selection of tensors in device memory.

use std::sync::Arc;
use std::time::Instant;

use super::engine::Engine;
use super::output::allocate;
use super::pipeline::{Target, Transfer};
use super::tensor::{Allocation, DeviceMemory, DeviceTensor};
use crate::decode::Checkpoint;
use crate::error::Result;
use crate::load::{LoadOptions, LoadReport, Selected, Selection, StageTimes};

/// Decodes everything that is selected into one allocation. What is said of each tensor is put down
/// while they are on their way.
pub(crate) fn load_to_gpu(
    engine: &Arc<Engine>,
    checkpoint: &Checkpoint,
    selection: &Selection<'_>,
    options: &LoadOptions,
) -> Result<(Vec<DeviceTensor>, LoadReport)> {
    engine.make_current()?;
    let transfer = Transfer::new(engine, checkpoint, &selection.parts(), options)?;
    let start = Instant::now();
    let buffer = allocate(selection.total, "the decoded tensors")?;
    let allocate_seconds = start.elapsed().as_secs_f64();
    let target = Target::Decoded(buffer.as_device_ptr().as_raw());
    let output_bytes = buffer.len() as u64;
    let allocation = Arc::new(Allocation { buffer, engine: Arc::clone(engine) });
    let place = |tensor: &Selected<'_>| {
        let allocation = Arc::clone(&allocation);
        let memory = DeviceMemory::Device { allocation, offset: tensor.part.out };
        DeviceTensor::new(tensor, memory)
    };
    let mut tensors = Vec::new();
    let describe = || tensors = selection.tensors.iter().map(place).collect();
    // SAFETY: the allocation is new and has room for all parts; it outlives the transfer, and nobody
    // is handed a tensor of it before. Every byte of a tensor is written by the kernels, whose status
    // words are checked before this returns; the gaps between are never read.
    let transferred = unsafe { transfer.run_and(target, describe)? };
    let threads = transferred.threads as f64;
    let report = LoadReport {
        seconds: 0.0,
        file_bytes: transferred.file_bytes,
        tensor_bytes: selection.tensor_bytes(),
        tensors: selection.tensors.len(),
        threads: transferred.threads,
        pinned_bytes: transferred.pinned_bytes,
        device_bytes: output_bytes + transferred.device_bytes,
        checksums: options.checksums,
        stages: Some(StageTimes {
            allocate_seconds,
            setup_seconds: transferred.setup_seconds,
            read_seconds: transferred.read_seconds / threads,
            checksum_seconds: transferred.checksum_seconds / threads,
            copy_wait_seconds: transferred.copy_wait_seconds / threads,
            decode_seconds: transferred.decode_seconds,
        }),
    };
    Ok((tensors, report))
}
