//! Decoding of checkpoints on a GPU, or on the CPU where there is none.

use std::ops::Range;
use std::sync::Arc;

use super::backend::Device;
use super::device::DeviceInfo;
use super::engine::Engine;
use super::memory::download;
use super::output::decode_parts;
use super::tensor::DeviceTensor;
use crate::decode::{Checkpoint, Tensor};
use crate::error::{Error, Result};
use crate::load::{LoadOptions, Part, Rows, Selection, TENSOR_ALIGNMENT, load_selection};

/// Decodes checkpoints on one device.
pub struct Decoder {
    device: Device,
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
        Ok(Self { device: Device::cuda(ordinal)? })
    }

    /// A decoder on the CPU.
    pub fn cpu() -> Self {
        Self { device: Device::cpu() }
    }

    /// A decoder on the first GPU, or on the CPU where that cannot be used;
    /// [`Decoder::describe`] says which, and why.
    pub fn auto() -> Self {
        Self { device: Device::auto() }
    }

    /// What decodes: the GPU's name, or the CPU and the reason for it.
    pub fn describe(&self) -> String {
        self.device.describe()
    }

    /// The GPU, if it is one that decodes.
    pub fn device(&self) -> Option<&DeviceInfo> {
        self.device.info()
    }

    pub(super) fn engine(&self) -> Option<&Arc<Engine>> {
        self.device.engine()
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
        let Some(first) = tensors.first() else { return Ok(Vec::new()) };
        let checkpoint = first.checkpoint();
        checkpoint.require_base()?;
        let selection = Selection::whole(tensors);
        let loaded = load_selection(checkpoint, &self.device, &selection, &LoadOptions::default())?;
        Ok(loaded.into_tensors())
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
            let start = (blocks.start * tensor.block_bytes()) as u64;
            let rows = Rows::run(tensor.byte_len(), start..start + *bytes as u64);
            parts.push(Part { tensor: *tensor, rows, out: total });
            total += (*bytes as u64).next_multiple_of(TENSOR_ALIGNMENT);
        }
        let Some((first, _, _)) = runs.first() else { return Ok(()) };
        let options = LoadOptions::default();
        let allocation = decode_parts(engine, first.checkpoint(), &parts, total, &options)?;
        for (part, (_, _, bytes)) in parts.iter().zip(runs) {
            let (now, later) = out.split_at_mut(*bytes);
            download(engine, &allocation, part.out as usize, now)?;
            out = later;
        }
        Ok(())
    }
}
