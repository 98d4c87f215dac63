//! Weights that stay compressed in device memory and are decoded just before their use.

mod layers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cuda_driver::cust::memory::DeviceBuffer as CustBuffer;
use cuda_driver::cust::stream::{Stream as CustStream, StreamFlags};

pub use layers::{Layer, LayerStream, LayerTensor};

use super::backend::Device;
use super::buffer::{DeviceBuffer, Memory, Stream};
use super::device::gpu;
use super::engine::{Engine, PreparedWork};
use super::output::allocate;
use super::pipeline::{Target, Transfer};
use super::work::{Request, Work};
use crate::decode::{Checkpoint, Tensor};
use crate::error::{Error, Result, quoted};
use crate::load::{LoadOptions, Selection, TENSOR_ALIGNMENT};

/// Tensors that are decoded together when all are tried after loading, in bytes, unless one is larger.
const TRIAL_BYTES: u64 = 64 << 20;
/// Descriptions of tensors to decode that are kept, each some KB for the place that it was decoded to.
const MOST_PREPARED: usize = 4096;

/// A checkpoint whose tensors stay compressed: in device memory, or on the CPU in the mapped file. It
/// takes the compressed size, and each tensor is decoded when it is needed.
///
/// On a GPU every tensor has been decoded once, with all checks, when loading returns; from then on
/// the same bytes decode the same way, without any report. On the CPU each decode checks what it reads.
pub struct ResidentCheckpoint {
    checkpoint: Arc<Checkpoint>,
    device: Device,
    gpu: Option<Resident>,
}

/// What lies on a GPU.
struct Resident {
    // Before the engine, so that everything is freed while the context exists.
    payload: CustBuffer<u8>,
    /// Where the first block of each tensor lies, by the tensor's number.
    places: HashMap<usize, u64>,
    /// What has been decoded before, by tensor and address of the output.
    prepared: Mutex<HashMap<(usize, u64), Arc<PreparedWork>>>,
    engine: Arc<Engine>,
}

impl Drop for Resident {
    /// Memory is freed in the current context, on whatever thread this happens.
    fn drop(&mut self) {
        // Without it the memory stays until the context is gone.
        let _ = self.engine.make_current();
    }
}

impl std::fmt::Debug for ResidentCheckpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResidentCheckpoint")
            .field("checkpoint", &self.checkpoint)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl ResidentCheckpoint {
    /// Brings the compressed tensors that `options` name to the GPU, and decodes each once to see that
    /// it can be. On the CPU only the names are looked up.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::load`], and when the options have a shard or the file is stored against
    /// another: blocks that are needed in part, or with others' bytes, cannot stay as they are.
    pub fn load(
        checkpoint: impl Into<Arc<Checkpoint>>,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Self> {
        let checkpoint = checkpoint.into();
        let refused = |what: &str| {
            Err(Error::InvalidArgument {
                what: format!("keeping {} compressed", checkpoint.path().display()),
                detail: format!("{what}; load it instead"),
            })
        };
        if options.shard.is_some() {
            return refused("a shard would need blocks in part");
        }
        if checkpoint.base_sha256().is_some() {
            return refused("it is stored against another checkpoint");
        }
        let gpu = match device.engine() {
            Some(engine) => Some(Resident::load(engine, &checkpoint, options)?),
            None => {
                Selection::new(&checkpoint, options)?;
                None
            }
        };
        Ok(Self { checkpoint, device: device.clone(), gpu })
    }

    /// The file, with names, dtypes and shapes of its tensors.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Bytes of device memory that the compressed tensors take.
    pub fn compressed_bytes(&self) -> u64 {
        self.gpu.as_ref().map_or(0, |gpu| gpu.payload.len() as u64)
    }

    /// Bytes of device memory that this takes, with what tells the kernels where blocks go; without
    /// the buffers of callers and of [`ResidentCheckpoint::layers`].
    pub fn device_bytes(&self) -> u64 {
        let Some(gpu) = &self.gpu else { return 0 };
        let prepared = gpu.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        self.compressed_bytes() + prepared.values().map(|work| work.device_bytes()).sum::<u64>()
    }

    /// Decodes the tensor `name` to the start of `out`, in the order of `stream`. On a GPU this
    /// returns before it is done; the first time for a tensor and a place it waits for the stream once.
    ///
    /// What uses `out` on other streams has to wait for this one.
    ///
    /// # Errors
    ///
    /// When there is no such tensor, `out` is too small or on another device, or the device fails.
    pub fn decode_into(&self, name: &str, out: &mut DeviceBuffer, stream: &Stream) -> Result<()> {
        let tensor = self.checkpoint.tensor(name)?;
        out.require(tensor.byte_len(), &format!("the elements of {}", quoted(name)))?;
        match (&self.gpu, out.memory_mut()) {
            (None, Memory::Host(memory)) => {
                tensor.decode_into(&mut memory.bytes_mut()[..tensor.byte_len() as usize])
            }
            (Some(gpu), Memory::Device(allocation))
                if Arc::ptr_eq(&allocation.engine, &gpu.engine) =>
            {
                let stream = stream.on(&gpu.engine)?;
                let address = allocation.buffer.as_device_ptr().as_raw();
                let work = gpu.prepared(&self.checkpoint, &tensor, address, stream)?;
                // SAFETY: the output has room for the tensor, and freeing it waits for the device.
                unsafe { gpu.launch(&work, stream) }
            }
            _ => Err(Error::InvalidArgument {
                what: "a buffer of another device".into(),
                detail: "allocate it on the device that the weights are on".into(),
            }),
        }
    }

    /// Decodes layer after layer, each named by its tensors, ahead of their use; see [`LayerStream`].
    ///
    /// # Errors
    ///
    /// When there are no layers or no tensor of a name, or there is too little memory.
    pub fn layers<N: AsRef<str>>(&self, layers: &[Vec<N>]) -> Result<LayerStream<'_>> {
        LayerStream::new(self, layers)
    }
}

impl Resident {
    fn load(engine: &Arc<Engine>, checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Self> {
        let selection = Selection::new(checkpoint, options)?;
        // A copy has no blocks of its own.
        let mut parts = selection.parts();
        parts.sort_by_key(|part| part.tensor.number());
        parts.dedup_by_key(|part| part.tensor.number());
        engine.make_current()?;
        let transfer = Transfer::new(engine, checkpoint, &parts, options)?;
        let payload = allocate(transfer.file_bytes(), "compressed tensors")?;
        let start = payload.as_device_ptr().as_raw();
        // SAFETY: the memory is new, and has room for all that is read of the file.
        unsafe { transfer.run(Target::Payload, start)? };
        let mut places = HashMap::new();
        let mut at = start;
        for piece in transfer.batches().iter().flat_map(|batch| &batch.pieces) {
            // The first piece of a tensor begins with its first block, since all of it is wanted.
            places.entry(piece.part.tensor.number()).or_insert(at);
            at += piece.bytes as u64;
        }
        let resident =
            Self { payload, places, prepared: Mutex::default(), engine: Arc::clone(engine) };
        let tensors: Vec<Tensor<'_>> = parts.iter().map(|part| part.tensor).collect();
        resident.try_all(checkpoint, &tensors)?;
        Ok(resident)
    }

    /// Decodes every tensor and looks at what the kernels report.
    fn try_all(&self, checkpoint: &Checkpoint, tensors: &[Tensor<'_>]) -> Result<()> {
        let place = |tensor: &Tensor<'_>| tensor.byte_len().next_multiple_of(TENSOR_ALIGNMENT);
        let largest = tensors.iter().map(place).max().unwrap_or(0);
        let all: u64 = tensors.iter().map(place).sum();
        let room = largest.max(TRIAL_BYTES.min(all));
        let output = allocate(room, "a trial of all tensors")?;
        let stream = CustStream::new(StreamFlags::NON_BLOCKING, None);
        let stream = stream.map_err(gpu("make a stream"))?;
        let mut rest = tensors;
        while !rest.is_empty() {
            let mut outs = Vec::new();
            let mut used = 0;
            for tensor in rest {
                if used + place(tensor) > room {
                    break;
                }
                outs.push((*tensor, output.as_device_ptr().as_raw() + used));
                used += place(tensor);
            }
            rest = &rest[outs.len()..];
            let work = self.prepare(checkpoint, &outs, &stream)?;
            // SAFETY: the output has room for these tensors, and stays until the stream is done.
            let launched = unsafe { self.engine.launch(work.plan(), &stream) };
            let done = stream.synchronize().map_err(gpu("decode"));
            launched?;
            done?;
            self.engine.check(&work, &checkpoint.index)?;
        }
        Ok(())
    }

    /// The work of decoding tensors to these addresses.
    fn prepare(
        &self,
        checkpoint: &Checkpoint,
        outs: &[(Tensor<'_>, u64)],
        stream: &CustStream,
    ) -> Result<PreparedWork> {
        let mut requests = Vec::with_capacity(outs.len());
        for (tensor, out) in outs {
            let stored = tensor.stored();
            let blocks = 0..stored.record().blocks.len();
            if blocks.is_empty() {
                continue;
            }
            let payload =
                *self.places.get(&stored.number()).ok_or_else(|| Error::InvalidArgument {
                    what: format!("tensor {}", quoted(tensor.name())),
                    detail: "it was not among those that were loaded; name it in the options"
                        .into(),
                })?;
            let tensor = stored.number();
            requests.push(Request { tensor, blocks, payload, out: *out, base: 0 });
        }
        self.engine
            .prepare(Work::new(&checkpoint.index, &requests, &checkpoint.kernel_tables)?, stream)
    }

    fn prepared(
        &self,
        checkpoint: &Checkpoint,
        tensor: &Tensor<'_>,
        out: u64,
        stream: &CustStream,
    ) -> Result<Arc<PreparedWork>> {
        let lock = || self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tensor.number(), out);
        if let Some(work) = lock().get(&key) {
            return Ok(Arc::clone(work));
        }
        let work = Arc::new(self.prepare(checkpoint, &[(*tensor, out)], stream)?);
        let mut prepared = lock();
        if prepared.len() >= MOST_PREPARED {
            // Freeing memory waits for what uses it.
            prepared.clear();
        }
        prepared.insert(key, Arc::clone(&work));
        Ok(work)
    }

    /// Queues prepared work, also for the second time.
    ///
    /// # Safety
    ///
    /// The outputs of the work are valid until the stream has passed this point.
    unsafe fn launch(&self, work: &PreparedWork, stream: &CustStream) -> Result<()> {
        self.engine.make_current()?;
        // SAFETY: what describes the work is freed only when the device is done with it.
        unsafe { self.engine.rewind(work.plan(), stream)? };
        // SAFETY: the payload stays as long as this; the caller promises the rest.
        unsafe { self.engine.launch(work.plan(), stream) }
    }
}
