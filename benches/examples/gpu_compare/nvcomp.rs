//! nvCOMP's batched ANS on the data that wcodec is measured on.

mod library;

use std::error::Error;
use std::path::Path;

use cuda_driver::Gate;
use cuda_driver::cust::context::{Context, CurrentContext};
use cuda_driver::cust::device::Device;
use cuda_driver::cust::error::CudaResult;
use cuda_driver::cust::event::{Event, EventFlags};
use cuda_driver::cust::memory::{CopyDestination, DeviceBuffer};
use cuda_driver::cust::stream::{Stream, StreamFlags};

use crate::table::{Line, RUNS, WARM_UPS};
use crate::weights::WeightType;
pub(crate) use library::DataType;
use library::{CompressOptions, DecompressOptions, Library, Status};

const CHUNK_BYTES: [usize; 3] = [1 << 16, 1 << 18, 1 << 20];
const STATES_PER_LANE: [u8; 2] = [1, 2];
/// Alignment of compressed chunks, and of memory as the driver allocates it. nvCOMP asks for 16.
const ALIGNMENT: usize = 256;
/// What the output is filled with before a decode, so that a byte that is not written shows.
const POISON: u8 = 0xA5;
/// Bytes that are compared at a time.
const COMPARED_BYTES: usize = 1 << 28;

type Failure = Box<dyn Error>;

/// The types that nvCOMP may be told that such weights are.
fn data_types(weights: WeightType) -> &'static [DataType] {
    match weights {
        WeightType::BF16 | WeightType::F16 => &[DataType::Float16],
        WeightType::F32 => &[DataType::Float32, DataType::Char],
        WeightType::I8 | WeightType::Int4 => &[DataType::Char],
        WeightType::F8E4M3 => &[DataType::Float8E4M3, DataType::Char],
    }
}

/// nvCOMP on one GPU.
pub(crate) struct Nvcomp {
    library: Library,
    stream: Stream,
    start: Event,
    stop: Event,
    // The last one, so that stream and events are dropped while it exists.
    context: Context,
}

/// How data are compressed.
#[derive(Debug, Clone, Copy)]
struct Layout {
    data_type: DataType,
    chunk_bytes: usize,
    states_per_lane: u8,
}

/// Chunks in device memory: all bytes, and address and size of each.
struct Chunks {
    memory: DeviceBuffer<u8>,
    addresses: DeviceBuffer<u64>,
    sizes: DeviceBuffer<usize>,
}

/// Data in device memory, compressed.
struct Compressed {
    layout: Layout,
    compressed: Chunks,
    /// Where the original was, and the decoded bytes go.
    decoded: Chunks,
    bytes: u64,
}

impl Chunks {
    /// Chunks of so many bytes, every `stride` bytes of `memory`.
    fn new(memory: DeviceBuffer<u8>, stride: usize, sizes: &[usize]) -> CudaResult<Self> {
        let start = memory.as_device_ptr().as_raw();
        let addresses: Vec<u64> =
            (0..sizes.len()).map(|number| start + (number * stride) as u64).collect();
        Ok(Self {
            memory,
            addresses: DeviceBuffer::from_slice(&addresses)?,
            sizes: DeviceBuffer::from_slice(sizes)?,
        })
    }

    fn count(&self) -> usize {
        self.sizes.len()
    }
}

impl Nvcomp {
    /// Loads the library at `path` for the GPU with the number `ordinal`, whose driver has been
    /// started.
    pub(crate) fn open(path: &Path, ordinal: u32) -> Result<Self, Failure> {
        let library = Library::open(path)?;
        // The device's primary context, which the CUDA runtime inside nvCOMP uses too.
        let context = Context::new(Device::get_device(ordinal)?)?;
        Ok(Self {
            library,
            stream: Stream::new(StreamFlags::DEFAULT, None)?,
            start: Event::new(EventFlags::DEFAULT)?,
            stop: Event::new(EventFlags::DEFAULT)?,
            context,
        })
    }

    /// The library's version.
    pub(crate) fn version(&self) -> Result<String, Failure> {
        Ok(self.library.version()?)
    }

    /// Measures `data` with every data type, chunk size, number of states and with and without
    /// validation, and passes the name and result of each on. A name is
    /// `NAME nvCOMP TYPE:CHUNK_KIBI_BYTES:STATES`, with `:skip` where validation is skipped.
    pub(crate) fn measure(
        &self,
        name: &str,
        weights: WeightType,
        data: &[u8],
        mut report: impl FnMut(&str, Result<Line, Failure>),
    ) {
        for &data_type in data_types(weights) {
            for chunk_bytes in CHUNK_BYTES {
                for states_per_lane in STATES_PER_LANE {
                    let layout = Layout { data_type, chunk_bytes, states_per_lane };
                    let kibi = chunk_bytes >> 10;
                    let name = format!("{name} nvCOMP {data_type}:{kibi}:{states_per_lane}");
                    match self.compress(data, layout) {
                        Ok(mut compressed) => {
                            for (suffix, skip) in [("", false), (":skip", true)] {
                                let name = format!("{name}{suffix}");
                                report(&name, self.line(&name, &mut compressed, data, skip));
                            }
                        }
                        Err(error) => report(&name, Err(error)),
                    }
                }
            }
        }
    }

    fn line(
        &self,
        name: &str,
        compressed: &mut Compressed,
        original: &[u8],
        skip_validate: bool,
    ) -> Result<Line, Failure> {
        let milliseconds = self.decompress(compressed, skip_validate)?;
        compare(&compressed.decoded.memory, original)?;
        Ok(Line::new(name.to_owned(), compressed.bytes, original.len() as u64, &milliseconds))
    }

    fn compress(&self, data: &[u8], layout: Layout) -> Result<Compressed, Failure> {
        CurrentContext::set_current(&self.context)?;
        let options = CompressOptions::new(layout.data_type, layout.states_per_lane);
        let sizes: Vec<usize> = data.chunks(layout.chunk_bytes).map(<[u8]>::len).collect();
        let input = Chunks::new(DeviceBuffer::from_slice(data)?, layout.chunk_bytes, &sizes)?;
        let stride = self.max_output(layout, options)?.next_multiple_of(ALIGNMENT);
        let memory = DeviceBuffer::zeroed(stride * sizes.len())?;
        let output = Chunks::new(memory, stride, &vec![0; sizes.len()])?;
        let workspace = self.compress_workspace(layout, options, &input)?;
        let statuses = DeviceBuffer::<Status>::zeroed(sizes.len())?;
        // SAFETY: as the header demands, all arrays have an entry for each chunk, chunks and
        // workspace are aligned to 256 bytes, and each output has the room that nvCOMP asked for.
        // The buffers live until the stream has been waited for.
        let status = unsafe {
            (self.library.compress)(
                input.addresses.as_device_ptr().as_ptr(),
                input.sizes.as_device_ptr().as_ptr(),
                layout.chunk_bytes,
                sizes.len(),
                workspace.as_device_ptr().as_mut_ptr().cast(),
                workspace.len(),
                output.addresses.as_device_ptr().as_ptr(),
                output.sizes.as_device_ptr().as_mut_ptr(),
                options,
                statuses.as_device_ptr().as_mut_ptr(),
                self.stream.as_inner(),
            )
        };
        // Before an early return, which would free the buffers.
        self.stream.synchronize()?;
        self.library.check(status, "compress")?;
        self.check_chunks(&statuses, "compress")?;
        let bytes = output.sizes.as_host_vec()?.iter().map(|&bytes| bytes as u64).sum();
        Ok(Compressed { layout, compressed: output, decoded: input, bytes })
    }

    /// Milliseconds of each timed run, by CUDA events around the call, all queued before the first
    /// happens.
    fn decompress(&self, data: &mut Compressed, skip_validate: bool) -> Result<Vec<f32>, Failure> {
        CurrentContext::set_current(&self.context)?;
        data.decoded.memory.set_8(POISON)?;
        let Layout { data_type, states_per_lane, .. } = data.layout;
        let options = DecompressOptions::new(data_type, states_per_lane, skip_validate);
        let workspace = self.decompress_workspace(data.layout, options, &data.decoded)?;
        let found = DeviceBuffer::<usize>::zeroed(data.decoded.count())?;
        let statuses = DeviceBuffer::<Status>::zeroed(data.decoded.count())?;
        CurrentContext::synchronize()?;
        let mut milliseconds = Vec::with_capacity(WARM_UPS + RUNS);
        for _ in 0..WARM_UPS + RUNS {
            let gate = Gate::close(&self.stream)?;
            self.start.record(&self.stream)?;
            // SAFETY: as the header demands, all arrays have an entry for each chunk, chunks and
            // workspace are aligned to 256 bytes, the compressed chunks are those that nvCOMP made,
            // and each output has room for the original. The buffers live until the stream has
            // been waited for.
            let status = unsafe {
                (self.library.decompress)(
                    data.compressed.addresses.as_device_ptr().as_ptr(),
                    data.compressed.sizes.as_device_ptr().as_ptr(),
                    data.decoded.sizes.as_device_ptr().as_ptr(),
                    found.as_device_ptr().as_mut_ptr(),
                    data.decoded.count(),
                    workspace.as_device_ptr().as_mut_ptr().cast(),
                    workspace.len(),
                    data.decoded.addresses.as_device_ptr().as_ptr(),
                    options,
                    statuses.as_device_ptr().as_mut_ptr(),
                    self.stream.as_inner(),
                )
            };
            let recorded = self.stop.record(&self.stream);
            gate.open();
            // Before an early return, which would free the buffers.
            self.stream.synchronize()?;
            recorded?;
            self.library.check(status, "decompress")?;
            milliseconds.push(self.stop.elapsed_time_f32(&self.start)?);
        }
        self.check_chunks(&statuses, "decompress")?;
        Ok(milliseconds.split_off(WARM_UPS))
    }

    /// The most bytes that a chunk is compressed to.
    fn max_output(&self, layout: Layout, options: CompressOptions) -> Result<usize, String> {
        let mut bytes = 0;
        // SAFETY: the function writes the size and nothing else.
        let status = unsafe {
            (self.library.max_output_chunk_size)(layout.chunk_bytes, options, &mut bytes)
        };
        self.library.check(status, "tell the largest size of a compressed chunk")?;
        Ok(bytes)
    }

    fn compress_workspace(
        &self,
        layout: Layout,
        options: CompressOptions,
        chunks: &Chunks,
    ) -> Result<DeviceBuffer<u8>, Failure> {
        let (mut bytes, total) = (0, chunks.memory.len());
        // SAFETY: the function writes the size and nothing else; the stream is of this context.
        let status = unsafe {
            (self.library.compress_temp_size)(
                chunks.count(),
                layout.chunk_bytes,
                options,
                &mut bytes,
                total,
                self.stream.as_inner(),
            )
        };
        self.library.check(status, "tell the workspace that it needs to compress")?;
        Ok(DeviceBuffer::zeroed(bytes.max(1))?)
    }

    fn decompress_workspace(
        &self,
        layout: Layout,
        options: DecompressOptions,
        chunks: &Chunks,
    ) -> Result<DeviceBuffer<u8>, Failure> {
        let (mut bytes, total) = (0, chunks.memory.len());
        // SAFETY: the function writes the size and nothing else; the stream is of this context.
        let status = unsafe {
            (self.library.decompress_temp_size)(
                chunks.count(),
                layout.chunk_bytes,
                options,
                &mut bytes,
                total,
                self.stream.as_inner(),
            )
        };
        self.library.check(status, "tell the workspace that it needs to decompress")?;
        Ok(DeviceBuffer::zeroed(bytes.max(1))?)
    }

    /// An error that names the first chunk with a status that is one.
    fn check_chunks(&self, statuses: &DeviceBuffer<Status>, action: &str) -> Result<(), Failure> {
        for (number, status) in statuses.as_host_vec()?.into_iter().enumerate() {
            self.library.check(status, &format!("{action} chunk {number}"))?;
        }
        Ok(())
    }
}

/// An error where device memory does not hold `original`.
fn compare(memory: &DeviceBuffer<u8>, original: &[u8]) -> Result<(), Failure> {
    let mut decoded = vec![0; COMPARED_BYTES.min(original.len())];
    for (number, expected) in original.chunks(COMPARED_BYTES).enumerate() {
        let start = number * COMPARED_BYTES;
        let decoded = &mut decoded[..expected.len()];
        memory.index(start..start + expected.len()).copy_to(decoded)?;
        if decoded != expected {
            let same = decoded.iter().zip(expected).take_while(|(left, right)| left == right);
            let at = start + same.count();
            return Err(format!("the decoded bytes differ from byte {at} on").into());
        }
    }
    Ok(())
}
