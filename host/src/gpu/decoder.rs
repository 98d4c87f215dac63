//! Decoding of checkpoints on a GPU, or on the CPU where there is none.

use std::ops::Range;
use std::sync::Arc;

use super::device::DeviceInfo;
use super::engine::Engine;
use super::memory::download;
use super::pipeline::{Part, decode_parts};
use super::tensor::{Allocation, DeviceMemory, DeviceTensor};
use crate::decode::{Checkpoint, Tensor};
use crate::error::{Error, Result};

/// Output addresses of tensors are multiples of this.
const TENSOR_ALIGNMENT: u64 = 256;

/// Decodes checkpoints on one device.
pub struct Decoder {
    backend: Backend,
}

enum Backend {
    Cpu { reason: String },
    Gpu(Arc<Engine>),
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Decoder").field(&self.describe()).finish()
    }
}

impl Decoder {
    /// A decoder on the GPU with the number `ordinal`.
    ///
    /// # Errors
    ///
    /// When there is no driver or no such GPU, or it is older than compute capability 8.0.
    pub fn new(ordinal: u32) -> Result<Self> {
        Ok(Self { backend: Backend::Gpu(Arc::new(Engine::new(ordinal)?)) })
    }

    /// A decoder on the CPU.
    pub fn cpu() -> Self {
        Self { backend: Backend::Cpu { reason: "asked for".into() } }
    }

    /// A decoder on the first GPU, or on the CPU where that cannot be used;
    /// [`Decoder::describe`] says which, and why.
    pub fn auto() -> Self {
        match Self::new(0) {
            Ok(decoder) => decoder,
            Err(error) => Self { backend: Backend::Cpu { reason: error.to_string() } },
        }
    }

    /// What decodes: the GPU's name, or the CPU and the reason for it.
    pub fn describe(&self) -> String {
        match &self.backend {
            Backend::Cpu { reason } => format!("the CPU ({reason})"),
            Backend::Gpu(engine) => format!("cuda:{} ({})", engine.info.ordinal, engine.info.name),
        }
    }

    /// The GPU, if it is one that decodes.
    pub fn device(&self) -> Option<&DeviceInfo> {
        match &self.backend {
            Backend::Cpu { .. } => None,
            Backend::Gpu(engine) => Some(&engine.info),
        }
    }

    pub(super) fn engine(&self) -> Option<&Engine> {
        match &self.backend {
            Backend::Cpu { .. } => None,
            Backend::Gpu(engine) => Some(engine),
        }
    }

    /// Decodes all tensors of a checkpoint, in file order.
    ///
    /// # Errors
    ///
    /// When the file is damaged, or the device has too little memory or fails.
    pub fn decode_all(&self, checkpoint: &Checkpoint) -> Result<Vec<DeviceTensor>> {
        self.decode_tensors(checkpoint.tensors().collect())
    }

    /// Decodes the tensors called `names`, in that order.
    ///
    /// # Errors
    ///
    /// As [`Decoder::decode_all`], and when there is no tensor of a name.
    pub fn decode(&self, checkpoint: &Checkpoint, names: &[&str]) -> Result<Vec<DeviceTensor>> {
        let tensors = names.iter().map(|name| checkpoint.tensor(name)).collect::<Result<_>>()?;
        self.decode_tensors(tensors)
    }

    /// Every chunk's checksum is compared on the way, and every block's final states; the
    /// checksum of the decoded bytes only on the CPU.
    fn decode_tensors(&self, tensors: Vec<Tensor<'_>>) -> Result<Vec<DeviceTensor>> {
        let engine = match &self.backend {
            Backend::Gpu(engine) => engine,
            Backend::Cpu { .. } => {
                let decode = |tensor: &Tensor<'_>| {
                    Ok(DeviceTensor::new(tensor, DeviceMemory::Host(tensor.decode()?)))
                };
                return tensors.iter().map(decode).collect();
            }
        };
        let mut parts = Vec::with_capacity(tensors.len());
        let mut total = 0;
        for tensor in &tensors {
            let stored = tensor.stored();
            let blocks = 0..stored.record().blocks.len();
            parts.push(Part { tensor: stored, blocks, out: total });
            total += tensor.byte_len().next_multiple_of(TENSOR_ALIGNMENT);
        }
        let buffer = decode_parts(engine, &parts, total)?;
        let allocation = Arc::new(Allocation { buffer, engine: Arc::clone(engine) });
        let place = |(tensor, part): (&Tensor<'_>, &Part<'_>)| {
            let memory =
                DeviceMemory::Device { allocation: Arc::clone(&allocation), offset: part.out };
            DeviceTensor::new(tensor, memory)
        };
        Ok(tensors.iter().zip(&parts).map(place).collect())
    }

    /// Decodes runs of blocks, each of so many bytes, one after the other into host memory.
    pub(crate) fn decode_to_host(
        &self,
        runs: &[(Tensor<'_>, Range<usize>, usize)],
        mut out: &mut [u8],
    ) -> Result<()> {
        let engine = self.engine().ok_or_else(|| Error::Internal {
            detail: "the CPU was asked to decode as a GPU".into(),
        })?;
        let mut parts = Vec::with_capacity(runs.len());
        let mut total = 0;
        for (tensor, blocks, bytes) in runs {
            parts.push(Part { tensor: *tensor, blocks: blocks.clone(), out: total });
            total += (*bytes as u64).next_multiple_of(TENSOR_ALIGNMENT);
        }
        let allocation = decode_parts(engine, &parts, total)?;
        for (part, (_, _, bytes)) in parts.iter().zip(runs) {
            let (now, later) = out.split_at_mut(*bytes);
            download(engine, &allocation, part.out as usize, now)?;
            out = later;
        }
        Ok(())
    }
}
