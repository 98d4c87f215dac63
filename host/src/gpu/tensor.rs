//! Tensors in device memory.

use std::sync::Arc;

use cuda_driver::cust::memory::DeviceBuffer;

use super::engine::Engine;
use super::memory::download;
use crate::decode::{Decoded, Tensor};
use crate::error::{Result, quoted};
use crate::safetensors::Dtype;

/// A decoded tensor. On a GPU its bytes are complete when the call that returned it returns, so
/// that work on any stream may use them.
pub struct DeviceTensor {
    name: String,
    dtype: Dtype,
    shape: Vec<u64>,
    bytes: u64,
    memory: DeviceMemory,
}

/// Where the bytes are.
pub(super) enum DeviceMemory {
    Host(Decoded),
    Device { allocation: Arc<Allocation>, offset: u64 },
}

/// Device memory and the engine in whose context it lies.
pub(super) struct Allocation {
    // Before the engine, so that it is freed while the context exists.
    pub(super) buffer: DeviceBuffer<u8>,
    pub(super) engine: Arc<Engine>,
}

impl Drop for Allocation {
    /// Memory is freed in the current context, on whatever thread this happens.
    fn drop(&mut self) {
        // Without it the memory stays until the context is gone.
        let _ = self.engine.make_current();
    }
}

impl std::fmt::Debug for DeviceTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceTensor")
            .field("name", &self.name)
            .field("dtype", &self.dtype)
            .field("shape", &self.shape)
            .field("device_pointer", &self.device_pointer())
            .finish_non_exhaustive()
    }
}

impl DeviceTensor {
    pub(super) fn new(tensor: &Tensor<'_>, memory: DeviceMemory) -> Self {
        Self {
            name: tensor.name().to_owned(),
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            bytes: tensor.byte_len(),
            memory,
        }
    }

    /// The tensor's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type of the elements.
    pub fn dtype(&self) -> &Dtype {
        &self.dtype
    }

    /// Dimensions, the slowest first; none for a scalar.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Bytes of the elements.
    pub fn byte_len(&self) -> u64 {
        self.bytes
    }

    /// Address of the first element in device memory, a multiple of 256; `None` on the CPU. The
    /// memory is freed with the last tensor that was decoded by the same call.
    pub fn device_pointer(&self) -> Option<u64> {
        match &self.memory {
            DeviceMemory::Host(_) => None,
            DeviceMemory::Device { allocation, offset } => {
                Some(allocation.buffer.as_device_ptr().as_raw() + offset)
            }
        }
    }

    /// A copy of the elements in host memory.
    ///
    /// # Errors
    ///
    /// When the tensor does not fit into host memory, or the device fails.
    pub fn to_host(&self) -> Result<Decoded> {
        match &self.memory {
            DeviceMemory::Host(decoded) => Ok(decoded.clone()),
            DeviceMemory::Device { allocation, offset } => {
                let what = format!("tensor {}", quoted(&self.name));
                let mut decoded = Decoded::zeroed(self.dtype.clone(), self.bytes, &what)?;
                let Allocation { buffer, engine } = &**allocation;
                download(engine, buffer, *offset as usize, decoded.as_bytes_mut())?;
                Ok(decoded)
            }
        }
    }
}
