//! A selection of tensors in device memory.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;

use super::engine::Engine;
use super::output::allocate;
use super::pipeline::{Target, Transfer};
use super::tensor::{Allocation, DeviceMemory, DeviceTensor};
use crate::decode::Checkpoint;
use crate::error::Result;
use crate::load::{LoadOptions, LoadReport, Selected, Selection, StageTimes};

/// Decodes everything that is selected into one allocation. That is made, and what is said of each
/// tensor is put down, while the first bytes are on their way.
pub(crate) fn load_to_gpu(
    engine: &Arc<Engine>,
    checkpoint: &Checkpoint,
    selection: &Selection<'_>,
    options: &LoadOptions,
) -> Result<(Vec<DeviceTensor>, LoadReport)> {
    engine.make_current()?;
    let transfer = Transfer::new(engine, checkpoint, &selection.parts(), options)?;
    let mut allocate_seconds = 0.0;
    let allocation = OnceCell::new();
    let make_room = || {
        let start = Instant::now();
        let buffer = allocate(selection.total, "the decoded tensors")?;
        allocate_seconds = start.elapsed().as_secs_f64();
        let allocation =
            allocation.get_or_init(|| Arc::new(Allocation { buffer, engine: Arc::clone(engine) }));
        Ok(allocation.buffer.as_device_ptr().as_raw())
    };
    let place = |tensor: &Selected<'_>, allocation: &Arc<Allocation>| {
        let allocation = Arc::clone(allocation);
        let memory = DeviceMemory::Device { allocation, offset: tensor.part.out };
        DeviceTensor::new(tensor, memory)
    };
    let mut tensors = Vec::new();
    let describe = || {
        if let Some(allocation) = allocation.get() {
            tensors = selection.tensors.iter().map(|tensor| place(tensor, allocation)).collect();
        }
    };
    // SAFETY: the allocation is new and has room for all parts; it outlives the transfer, and nobody
    // is handed a tensor of it before. Every byte of a tensor is written by the kernels, whose status
    // words are checked before this returns; the gaps between are never read.
    let transferred = unsafe { transfer.run_and(Target::Decoded, make_room, describe)? };
    let output_bytes = allocation.get().map_or(0, |allocation| allocation.buffer.len() as u64);
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
            describe_seconds: transferred.describe_seconds / threads,
            queue_seconds: transferred.queue_seconds / threads,
            decode_wait_seconds: transferred.decode_wait_seconds / threads,
            decode_seconds: transferred.decode_seconds,
        }),
    };
    Ok((tensors, report))
}
