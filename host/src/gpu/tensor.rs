//! Tensors in device memory.

use std::sync::Arc;

use cuda_driver::cust::memory::DeviceBuffer;
use memmap2::MmapMut;

use super::engine::Engine;
use super::memory::download;
use crate::decode::Decoded;
use crate::error::{Error, Result, quoted};
use crate::load::Selected;
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
pub(crate) enum DeviceMemory {
    Host { memory: Arc<HostMemory>, offset: u64 },
    Device { allocation: Arc<Allocation>, offset: u64 },
}

/// Host memory that begins with a page.
pub(crate) struct HostMemory(MmapMut);

impl HostMemory {
    /// So many bytes of zeros, at least one.
    pub(crate) fn zeroed(bytes: u64) -> Result<Self> {
        let too_large = |detail: String| Error::InvalidArgument {
            what: format!("{bytes} bytes of tensors"),
            detail: format!("they do not fit into memory ({detail}); load some of them"),
        };
        let length = usize::try_from(bytes).map_err(|error| too_large(error.to_string()))?;
        let map = MmapMut::map_anon(length.max(1)).map_err(|error| too_large(error.to_string()))?;
        // Large pages take less of a processor's time; without them it works as well.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self(map))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Device memory and the engine in whose context it lies.
pub(crate) struct Allocation {
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
    pub(crate) fn new(tensor: &Selected<'_>, memory: DeviceMemory) -> Self {
        Self {
            name: tensor.tensor.name().to_owned(),
            dtype: tensor.tensor.dtype(),
            shape: tensor.shape.to_vec(),
            bytes: tensor.byte_len(),
            memory,
        }
    }

    /// One that lies in host memory, where its part says.
    pub(crate) fn on_host(tensor: &Selected<'_>, memory: Arc<HostMemory>) -> Self {
        Self::new(tensor, DeviceMemory::Host { memory, offset: tensor.part.out })
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
            DeviceMemory::Host { .. } => None,
            DeviceMemory::Device { allocation, offset } => {
                Some(allocation.buffer.as_device_ptr().as_raw() + offset)
            }
        }
    }

    /// The elements' bytes on the CPU, little-endian, row-major, from a multiple of 256 on; `None` on
    /// a GPU.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.memory {
            DeviceMemory::Host { memory, offset } => {
                Some(&memory.bytes()[*offset as usize..][..self.bytes as usize])
            }
            DeviceMemory::Device { .. } => None,
        }
    }

    /// A copy of the elements in host memory.
    ///
    /// # Errors
    ///
    /// When the tensor does not fit into host memory, or the device fails.
    pub fn to_host(&self) -> Result<Decoded> {
        let what = format!("tensor {}", quoted(&self.name));
        let mut decoded = Decoded::zeroed(self.dtype.clone(), self.bytes, &what)?;
        match &self.memory {
            DeviceMemory::Host { memory, offset } => {
                let bytes = &memory.bytes()[*offset as usize..][..self.bytes as usize];
                decoded.as_bytes_mut().copy_from_slice(bytes);
            }
            DeviceMemory::Device { allocation, offset } => {
                let Allocation { buffer, engine } = &**allocation;
                download(engine, buffer, *offset as usize, decoded.as_bytes_mut())?;
            }
        }
        Ok(decoded)
    }
}
