//! Memory of a device, and the order of work on it.

use std::ffi::c_void;
use std::sync::Arc;

use cuda_driver::cust::context::CurrentContext;
use cuda_driver::cust::memory::CopyDestination;
use cuda_driver::cust::stream::{Stream as CustStream, StreamFlags};

use super::backend::Device;
use super::device::gpu;
use super::engine::Engine;
use super::output::allocate;
use super::tensor::{Allocation, HostMemory};
use crate::error::{Error, Result};

/// Memory of a [`Device`], freed when this is dropped.
pub struct DeviceBuffer {
    memory: Memory,
    bytes: u64,
}

pub(super) enum Memory {
    Host(HostMemory),
    Device(Allocation),
}

impl std::fmt::Debug for DeviceBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceBuffer")
            .field("bytes", &self.bytes)
            .field("device_pointer", &self.device_pointer())
            .finish()
    }
}

impl Device {
    /// Memory of so many bytes, all zeros, that begins at a multiple of 256.
    ///
    /// # Errors
    ///
    /// When there is too little memory.
    pub fn allocate(&self, bytes: u64) -> Result<DeviceBuffer> {
        let memory = match self.engine() {
            None => Memory::Host(HostMemory::zeroed(bytes)?),
            Some(engine) => {
                engine.make_current()?;
                let mut buffer = allocate(bytes, "a buffer")?;
                buffer.set_8(0).map_err(gpu("clear a buffer"))?;
                // It is filled on the default stream, which others do not wait for.
                CurrentContext::synchronize().map_err(gpu("clear a buffer"))?;
                Memory::Device(Allocation { buffer, engine: Arc::clone(engine) })
            }
        };
        Ok(DeviceBuffer { memory, bytes })
    }

    /// A stream of its own.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn stream(&self) -> Result<Stream> {
        let Some(engine) = self.engine() else { return Ok(Stream { inner: None }) };
        engine.make_current()?;
        let stream = CustStream::new(StreamFlags::NON_BLOCKING, None);
        let stream = stream.map_err(gpu("make a stream"))?;
        Ok(Stream { inner: Some((stream, Arc::clone(engine))) })
    }
}

impl DeviceBuffer {
    /// Its bytes.
    pub fn byte_len(&self) -> u64 {
        self.bytes
    }

    /// Its address in device memory; `None` on the CPU.
    pub fn device_pointer(&self) -> Option<u64> {
        match &self.memory {
            Memory::Host(_) => None,
            Memory::Device(allocation) => Some(allocation.buffer.as_device_ptr().as_raw()),
        }
    }

    /// Its bytes on the CPU; `None` on a GPU.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.memory {
            Memory::Host(memory) => Some(&memory.bytes()[..self.bytes as usize]),
            Memory::Device(_) => None,
        }
    }

    /// A copy of its bytes, when all work of the device is done.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn to_host(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes as usize];
        match &self.memory {
            Memory::Host(memory) => bytes.copy_from_slice(&memory.bytes()[..self.bytes as usize]),
            Memory::Device(allocation) => {
                allocation.engine.make_current()?;
                CurrentContext::synchronize().map_err(gpu("finish its work"))?;
                super::memory::download(&allocation.engine, &allocation.buffer, 0, &mut bytes)?;
            }
        }
        Ok(bytes)
    }

    /// Copies `bytes` to its start; when this returns it is done.
    ///
    /// # Errors
    ///
    /// When it has fewer bytes, or the device fails.
    pub fn copy_from_host(&mut self, bytes: &[u8]) -> Result<()> {
        self.require(bytes.len() as u64, "the bytes to copy")?;
        match &mut self.memory {
            Memory::Host(memory) => memory.bytes_mut()[..bytes.len()].copy_from_slice(bytes),
            Memory::Device(allocation) if !bytes.is_empty() => {
                allocation.engine.make_current()?;
                let mut part = allocation.buffer.index(..bytes.len());
                part.copy_from(bytes).map_err(gpu("copy bytes to a buffer"))?;
                CurrentContext::synchronize().map_err(gpu("copy bytes to a buffer"))?;
            }
            Memory::Device(_) => {}
        }
        Ok(())
    }

    /// Fails if it has fewer than so many bytes.
    pub(super) fn require(&self, bytes: u64, what: &str) -> Result<()> {
        if self.bytes >= bytes {
            return Ok(());
        }
        Err(Error::InvalidArgument {
            what: format!("a buffer of {} bytes", self.bytes),
            detail: format!("{what} need {bytes}; allocate as many"),
        })
    }

    pub(super) fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }
}

/// Work on a device that is done in order. On the CPU, everything is done at once.
pub struct Stream {
    // Before the engine, so that it ends while the context exists.
    inner: Option<(CustStream, Arc<Engine>)>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stream").field(&self.as_raw()).finish()
    }
}

impl Stream {
    /// The driver's handle (a `CUstream`, and a `cudaStream_t`), to queue work of one's own; `None` on
    /// the CPU. Valid as long as the stream.
    pub fn as_raw(&self) -> Option<*mut c_void> {
        self.inner.as_ref().map(|(stream, _)| stream.as_inner().cast())
    }

    /// Waits until all work so far is done.
    ///
    /// # Errors
    ///
    /// When some of it failed.
    pub fn synchronize(&self) -> Result<()> {
        let Some((stream, engine)) = &self.inner else { return Ok(()) };
        engine.make_current()?;
        stream.synchronize().map_err(gpu("finish its work"))
    }

    /// The stream, which has to be one of this device.
    pub(super) fn on(&self, engine: &Arc<Engine>) -> Result<&CustStream> {
        match &self.inner {
            Some((stream, own)) if Arc::ptr_eq(own, engine) => Ok(stream),
            _ => Err(Error::InvalidArgument {
                what: "a stream of another device".into(),
                detail: "make it with `stream` of the device that the weights are on".into(),
            }),
        }
    }
}
