//! How loading went.

use serde::Serialize;

/// What a load took.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LoadReport {
    /// Seconds from the call until all tensors were ready.
    pub seconds: f64,
    /// Bytes read of the file.
    pub file_bytes: u64,
    /// Bytes of the tensors, or parts of them, that were loaded.
    pub tensor_bytes: u64,
    /// Their number.
    pub tensors: usize,
    /// Threads that read, on the CPU those that decoded.
    pub threads: usize,
    /// Pinned host memory that was in use.
    pub pinned_bytes: u64,
    /// Device memory that was in use at most: the tensors, and what bytes go through on their way.
    pub device_bytes: u64,
    /// Whether checksums were compared.
    pub checksums: bool,
    /// Where the time went; stages overlap. Only for a GPU.
    pub stages: Option<StageTimes>,
}

/// Seconds of the stages of a load onto a GPU, which overlap. What a thread does not spend in reading and
/// comparing it mostly waits for: long waits for copies say that the bus is the limit.
#[derive(Debug, Clone, Copy, Serialize)]
#[non_exhaustive]
pub struct StageTimes {
    /// To allocate memory for the tensors, while the first bytes are read.
    pub allocate_seconds: f64,
    /// Until the first thread had its pinned memory; next to nothing where it is still there from the
    /// load before.
    pub setup_seconds: f64,
    /// That a thread spent in reading, on average.
    pub read_seconds: f64,
    /// That a thread spent in comparing checksums, on average.
    pub checksum_seconds: f64,
    /// That a thread waited for copies to the device, on average.
    pub copy_wait_seconds: f64,
    /// That a thread spent in writing down what the kernels have to do, on average.
    pub describe_seconds: f64,
    /// That a thread spent in queueing copies and kernels, on average.
    pub queue_seconds: f64,
    /// That a thread waited for kernels and the copies before them, on average.
    pub decode_wait_seconds: f64,
    /// In which at least one batch was being decoded.
    pub decode_seconds: f64,
}
