//! How long the kernels take on their own, for benchmarks.

use cuda_driver::Gate;
use cuda_driver::cust::context::CurrentContext;
use cuda_driver::cust::event::{Event, EventFlags};
use cuda_driver::cust::memory::DeviceBuffer;
use cuda_driver::cust::stream::{Stream, StreamFlags};

use super::decoder::Decoder;
use super::device::gpu;
use super::memory::download;
use super::work::{Request, Work};
use crate::decode::Checkpoint;
use crate::error::{Error, Result, quoted};
use crate::load::BLOCK_ALIGNMENT;

/// Alignment of outputs, and what they are filled with before a run, so that a byte that no
/// kernel writes shows.
const OUTPUT_ALIGNMENT: u64 = 256;
const POISON: u8 = 0xA5;

/// Kernel times of decoding a whole checkpoint whose payload lies in device memory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KernelTimes {
    /// Milliseconds of each run, by CUDA events around all of its launches, which are queued before
    /// the first of the events happens.
    pub milliseconds: Vec<f32>,
    /// Decoded bytes of a run.
    pub decoded_bytes: u64,
    /// Bytes of the blocks that a run reads.
    pub payload_bytes: u64,
    /// Kernel launches of a run.
    pub launches: usize,
}

impl Decoder {
    /// Decodes everything `runs` times on the GPU and compares the last result with `original`,
    /// the tensors' bytes of the original file.
    ///
    /// # Errors
    ///
    /// When this decoder is on the CPU, the device fails or has too little memory, or a byte
    /// differs.
    pub fn time_kernels(
        &self,
        checkpoint: &Checkpoint,
        original: &[u8],
        runs: usize,
    ) -> Result<KernelTimes> {
        let engine = self.engine().ok_or_else(|| Error::InvalidArgument {
            what: "timing of kernels".into(),
            detail: format!("it needs a GPU, and this decoder uses {}", self.describe()),
        })?;
        engine.make_current()?;
        let payload = DeviceBuffer::from_slice(checkpoint.payload_or_zero());
        let payload = payload.map_err(gpu("hold the payload"))?;
        let tensors = &checkpoint.index.tensors;
        let mut outs = Vec::with_capacity(tensors.len());
        let mut total = 0;
        for tensor in tensors {
            outs.push(total);
            total += tensor.bytes.next_multiple_of(OUTPUT_ALIGNMENT);
        }
        let output = vec![POISON; total.max(1) as usize];
        let output = DeviceBuffer::from_slice(&output).map_err(gpu("hold the tensors"))?;
        let mut bases = Vec::new();
        let mut requests = Vec::with_capacity(tensors.len());
        for (tensor, out) in checkpoint.tensors().map(|tensor| tensor.stored()).zip(&outs) {
            let record = tensor.record();
            let blocks = 0..record.blocks.len();
            requests.push(Request {
                tensor: tensor.number(),
                blocks: blocks.clone(),
                payload: payload.as_device_ptr().as_raw() + record.payload_offset,
                out: output.as_device_ptr().as_raw() + out,
                base: bases.len() as u64,
            });
            bases.extend_from_slice(tensor.base_of_blocks(blocks)?);
            bases.resize(bases.len().next_multiple_of(BLOCK_ALIGNMENT as usize), 0);
        }
        bases.resize(bases.len().max(1), 0);
        let bases = DeviceBuffer::from_slice(&bases).map_err(gpu("hold the base"))?;
        requests.iter_mut().for_each(|request| request.base += bases.as_device_ptr().as_raw());
        // The copies above may be under way, on the default stream, which this one does not wait for.
        CurrentContext::synchronize().map_err(gpu("hold the payload"))?;
        let stream = Stream::new(StreamFlags::NON_BLOCKING, None).map_err(gpu("make a stream"))?;
        let work = Work::new(&checkpoint.index, &requests, &checkpoint.kernel_tables)?;
        let work = engine.prepare(work, &stream)?;
        let event = || Event::new(EventFlags::DEFAULT).map_err(gpu("make an event"));
        let (start, stop) = (event()?, event()?);
        let mut milliseconds = Vec::with_capacity(runs);
        for _ in 0..runs {
            let gate = Gate::close(&stream).map_err(gpu("hold a stream"))?;
            start.record(&stream).map_err(gpu("record an event"))?;
            // SAFETY: payload and output live until the stream has been waited for.
            unsafe { engine.launch(work.plan(), &stream)? };
            stop.record(&stream).map_err(gpu("record an event"))?;
            gate.open();
            stop.synchronize().map_err(gpu("decode"))?;
            let elapsed = stop.elapsed_time_f32(&start).map_err(gpu("tell the time"))?;
            milliseconds.push(elapsed);
            // SAFETY: the work does as well.
            unsafe { engine.rewind(work.plan(), &stream)? };
        }
        stream.synchronize().map_err(gpu("decode"))?;
        engine.check(&work, &checkpoint.index)?;
        let mut rest = original;
        for (tensor, out) in tensors.iter().zip(&outs) {
            let (expected, later) = rest.split_at((tensor.bytes as usize).min(rest.len()));
            rest = later;
            let mut decoded = vec![0; tensor.bytes as usize];
            download(engine, &output, *out as usize, &mut decoded)?;
            if decoded != expected {
                return Err(Error::Mismatch {
                    left: format!("tensor {} as the GPU decodes it", quoted(&tensor.name)),
                    right: "the original".into(),
                    detail: "the bytes differ".into(),
                });
            }
        }
        Ok(KernelTimes {
            milliseconds,
            decoded_bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
            payload_bytes: checkpoint.payload_or_zero().len() as u64,
            launches: work.plan().launch_count(),
        })
    }
}
