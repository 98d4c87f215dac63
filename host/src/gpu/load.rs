//! A selection of tensors in device memory.

use std::sync::Arc;

use rayon::prelude::*;

use super::engine::Engine;
use super::output::decode_parts;
use super::tensor::{Allocation, DeviceMemory, DeviceTensor};
use crate::decode::Checkpoint;
use crate::error::Result;
use crate::load::{LoadOptions, LoadReport, Selection, StageTimes};

/// Decodes everything that is selected into one allocation.
pub(crate) fn load_to_gpu(
    engine: &Arc<Engine>,
    checkpoint: &Checkpoint,
    selection: &Selection<'_>,
    options: &LoadOptions,
) -> Result<(Vec<DeviceTensor>, LoadReport)> {
    let parts = selection.parts();
    let total = selection.total;
    let (buffer, transferred) = decode_parts(engine, checkpoint, &parts, total, options)?;
    let report = LoadReport {
        seconds: 0.0,
        file_bytes: transferred.file_bytes,
        tensor_bytes: selection.tensor_bytes(),
        tensors: selection.tensors.len(),
        threads: transferred.threads,
        pinned_bytes: transferred.pinned_bytes,
        device_bytes: buffer.len() as u64 + transferred.device_bytes,
        checksums: options.checksums,
        stages: Some(StageTimes {
            allocate_seconds: transferred.allocate_seconds,
            setup_seconds: transferred.setup_seconds,
            read_seconds: transferred.read_seconds / transferred.threads as f64,
            checksum_seconds: transferred.checksum_seconds / transferred.threads as f64,
            copy_seconds: transferred.copy_seconds,
            decode_seconds: transferred.decode_seconds,
        }),
    };
    let allocation = Arc::new(Allocation { buffer, engine: Arc::clone(engine) });
    let place = |tensor: &crate::load::Selected<'_>| {
        let allocation = Arc::clone(&allocation);
        let memory = DeviceMemory::Device { allocation, offset: tensor.part.out };
        DeviceTensor::new(tensor, memory)
    };
    Ok((selection.tensors.par_iter().with_min_len(256).map(place).collect(), report))
}
