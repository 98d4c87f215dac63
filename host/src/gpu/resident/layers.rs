//! Layer after layer, each decoded while the one before is used.

use cuda_driver::cust::stream::{Stream as CustStream, StreamFlags};

use super::super::branches::Mark;
use super::super::buffer::{DeviceBuffer, Memory, Stream};
use super::super::device::gpu;
use super::super::engine::PreparedWork;
use super::{Resident, ResidentCheckpoint};
use crate::error::{Error, Result};
use crate::load::TENSOR_ALIGNMENT;
use crate::safetensors::Dtype;

/// Decodes the layers of a [`ResidentCheckpoint`] in turn, over and over, into two buffers of the size
/// of the largest: while one is used, the next is being decoded to the other, on a stream of its own.
///
/// ```
/// # fn main() -> wcodec::Result<()> {
/// # let options = wcodec::EncodeOptions::default();
/// # let (encoded, _) = wcodec::encode_safetensors_bytes(wcodec::DEMO_CHECKPOINT, &options)?;
/// # let checkpoint = wcodec::Checkpoint::from_bytes(encoded)?;
/// use wcodec::{Device, LoadOptions, ResidentCheckpoint};
/// let device = Device::auto();
/// let resident = ResidentCheckpoint::load(checkpoint, &device, &LoadOptions::default())?;
/// let stream = device.stream()?;
/// let names = vec![vec!["fp32.embeddings.LayerNorm.weight"]];
/// let mut layers = resident.layers(&names)?;
/// for _ in 0..names.len() {
///     let layer = layers.advance(&stream)?;
///     // Queue on `stream` what uses the layer's tensors.
///     println!("{:?}", layer.tensors()[0].device_pointer());
/// }
/// stream.synchronize()?;
/// # Ok(())
/// # }
/// ```
pub struct LayerStream<'a> {
    resident: &'a ResidentCheckpoint,
    layers: Vec<PlannedLayer>,
    gpu: Option<Decoding>,
    buffers: [DeviceBuffer; 2],
    /// The layer that comes next.
    next: usize,
    /// Whether it has been decoded, or that has been queued.
    is_ahead: bool,
}

/// A layer and where it goes.
struct PlannedLayer {
    tensors: Vec<LayerTensor>,
    buffer: usize,
    /// Only for a GPU.
    work: Option<PreparedWork>,
}

/// A tensor of the current layer.
#[derive(Debug, Clone)]
pub struct LayerTensor {
    name: String,
    dtype: Dtype,
    shape: Vec<u64>,
    bytes: u64,
    /// In the layer's buffer.
    offset: u64,
    device_pointer: Option<u64>,
}

/// A layer that is decoded when the stream that it was asked for gets there. Valid until the next.
#[derive(Debug)]
pub struct Layer<'s> {
    number: usize,
    tensors: &'s [LayerTensor],
    buffer: &'s DeviceBuffer,
}

/// What a GPU takes to decode ahead.
struct Decoding {
    stream: CustStream,
    /// All uses of layers so far.
    used: Mark,
    /// For each buffer, that its layer has been decoded.
    decoded: [Mark; 2],
}

impl std::fmt::Debug for LayerStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerStream")
            .field("layers", &self.layers.len())
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Drop for LayerStream<'_> {
    /// What has been queued ends before its buffers are freed.
    fn drop(&mut self) {
        if let (Some(gpu), Some(resident)) = (&self.gpu, &self.resident.gpu) {
            // A device that is lost does nothing any more.
            let _ = resident
                .engine
                .make_current()
                .and_then(|()| gpu.stream.synchronize().map_err(super::gpu("finish its work")));
        }
    }
}

impl<'a> LayerStream<'a> {
    pub(super) fn new<N: AsRef<str>>(
        resident: &'a ResidentCheckpoint,
        names: &[Vec<N>],
    ) -> Result<Self> {
        if names.is_empty() {
            return Err(Error::InvalidArgument {
                what: "a sequence of no layers".into(),
                detail: "name the tensors of at least one".into(),
            });
        }
        let mut largest = 0;
        let mut layers = Vec::with_capacity(names.len());
        for (number, names) in names.iter().enumerate() {
            let mut offset = 0;
            let mut tensors = Vec::with_capacity(names.len());
            for name in names {
                let tensor = resident.checkpoint.tensor(name.as_ref())?;
                tensors.push(LayerTensor {
                    name: tensor.name().to_owned(),
                    dtype: tensor.dtype(),
                    shape: tensor.shape().to_vec(),
                    bytes: tensor.byte_len(),
                    offset,
                    device_pointer: None,
                });
                offset += tensor.byte_len().next_multiple_of(TENSOR_ALIGNMENT);
            }
            largest = largest.max(offset);
            layers.push(PlannedLayer { tensors, buffer: number % 2, work: None });
        }
        let second = if layers.len() > 1 { largest } else { 0 };
        let device = &resident.device;
        let buffers = [device.allocate(largest)?, device.allocate(second)?];
        let mut stream = Self { resident, layers, gpu: None, buffers, next: 0, is_ahead: false };
        if let Some(gpu) = &resident.gpu {
            stream.prepare(gpu)?;
        }
        Ok(stream)
    }

    fn prepare(&mut self, resident: &Resident) -> Result<()> {
        resident.engine.make_current()?;
        let stream = CustStream::new(StreamFlags::NON_BLOCKING, None);
        let stream = stream.map_err(gpu("make a stream"))?;
        for layer in &mut self.layers {
            let start = self.buffers[layer.buffer].device_pointer().unwrap_or(0);
            let mut outs = Vec::with_capacity(layer.tensors.len());
            for tensor in &mut layer.tensors {
                tensor.device_pointer = Some(start + tensor.offset);
                outs.push((self.resident.checkpoint.tensor(&tensor.name)?, start + tensor.offset));
            }
            layer.work = Some(resident.prepare(&self.resident.checkpoint, &outs, &stream)?);
        }
        let decoded = [Mark::new()?, Mark::new()?];
        self.gpu = Some(Decoding { stream, used: Mark::new()?, decoded });
        Ok(())
    }

    /// Bytes of device memory that this takes beside the [`ResidentCheckpoint`]: two layers, and what
    /// tells the kernels where blocks go.
    pub fn device_bytes(&self) -> u64 {
        if self.gpu.is_none() {
            return 0;
        }
        let works = self.layers.iter().filter_map(|layer| layer.work.as_ref());
        let buffers: u64 = self.buffers.iter().map(DeviceBuffer::byte_len).sum();
        buffers + works.map(PreparedWork::device_bytes).sum::<u64>()
    }

    /// The next layer, after the last one the first again. What is queued on `stream` after this call
    /// finds it decoded; what was queued before may still use the layer before, and has to be all that
    /// does.
    ///
    /// # Errors
    ///
    /// When the stream is of another device, or the device fails.
    pub fn advance(&mut self, stream: &Stream) -> Result<Layer<'_>> {
        let number = self.next;
        let after = (number + 1) % self.layers.len();
        let resident = self.resident;
        match &resident.gpu {
            None => self.decode_on_host(number)?,
            Some(gpu) => self.advance_on_gpu(gpu, number, after, stream)?,
        }
        self.next = after;
        let layer = &self.layers[number];
        Ok(Layer { number, tensors: &layer.tensors, buffer: &self.buffers[layer.buffer] })
    }

    fn decode_on_host(&mut self, number: usize) -> Result<()> {
        let layer = &self.layers[number];
        let Memory::Host(memory) = self.buffers[layer.buffer].memory_mut() else { return Ok(()) };
        for LayerTensor { name, offset, bytes, .. } in &layer.tensors {
            let out = &mut memory.bytes_mut()[*offset as usize..][..*bytes as usize];
            self.resident.checkpoint.tensor(name)?.decode_into(out)?;
        }
        Ok(())
    }

    fn advance_on_gpu(
        &mut self,
        resident: &Resident,
        number: usize,
        after: usize,
        stream: &Stream,
    ) -> Result<()> {
        let Some(gpu) = &self.gpu else { return Ok(()) };
        let stream = stream.on(&resident.engine)?;
        resident.engine.make_current()?;
        gpu.used.set(stream)?;
        gpu.used.hold(&gpu.stream)?;
        if !self.is_ahead {
            self.decode_ahead(resident, number)?;
        }
        gpu.decoded[self.layers[number].buffer].hold(stream)?;
        // With an odd number of layers, the last and the first share a buffer.
        self.is_ahead = self.layers[after].buffer != self.layers[number].buffer;
        if self.is_ahead {
            self.decode_ahead(resident, after)?;
        }
        Ok(())
    }

    /// Queues the decoding of a layer.
    fn decode_ahead(&self, resident: &Resident, number: usize) -> Result<()> {
        let layer = &self.layers[number];
        let (Some(gpu), Some(work)) = (&self.gpu, &layer.work) else { return Ok(()) };
        // SAFETY: the buffer stays as long as this, which waits for the stream before; its last use is
        // over when the stream gets there.
        unsafe { resident.launch(work, &gpu.stream)? };
        gpu.decoded[layer.buffer].set(&gpu.stream)
    }
}

impl Layer<'_> {
    /// Its number, counted from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Its tensors, in the order in which they were named.
    pub fn tensors(&self) -> &[LayerTensor] {
        self.tensors
    }

    /// The bytes of one of its tensors on the CPU; `None` on a GPU.
    pub fn bytes_of(&self, tensor: &LayerTensor) -> Option<&[u8]> {
        self.buffer.as_bytes()?.get(tensor.offset as usize..)?.get(..tensor.bytes as usize)
    }

    /// A copy of the bytes of one of its tensors, when all work of the device is done.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn to_host(&self, tensor: &LayerTensor) -> Result<Vec<u8>> {
        let mut bytes = self.buffer.to_host()?;
        bytes.drain(..tensor.offset as usize);
        bytes.truncate(tensor.bytes as usize);
        Ok(bytes)
    }
}

impl LayerTensor {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type of its elements.
    pub fn dtype(&self) -> &Dtype {
        &self.dtype
    }

    /// Dimensions, the slowest first.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Bytes of its elements.
    pub fn byte_len(&self) -> u64 {
        self.bytes
    }

    /// Its first element's address in device memory, a multiple of 256; `None` on the CPU.
    pub fn device_pointer(&self) -> Option<u64> {
        self.device_pointer
    }
}
