//! Matrix products whose weights stay compressed in device memory, each layer decoded while the one
//! before is computed:
//!
//! ```text
//! resident_layers [--layers 16] [--hidden 4096] [--intermediate 11008] [--laps 20]
//! ```
//!
//! Each layer is two products, with a matrix of `intermediate` x `hidden` and one the other way round.
//! The same chain is computed with weights that lie there uncompressed; the results are the same bit
//! for bit, and what decoding costs is printed for batches of 1 and of 256. On a machine without a GPU,
//! small layers are computed on the CPU.

mod cublas;

use std::error::Error;
use std::time::Instant;

use half::bf16;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use wcodec::gpu::Decoder;
use wcodec::safetensors::{Dtype, TensorData, build};
use wcodec::{
    Checkpoint, Device, DeviceBuffer, EncodeOptions, LoadOptions, ResidentCheckpoint, Stream,
};

use cublas::Cublas;

type Outcome<T> = Result<T, Box<dyn Error>>;

const BATCHES: [u64; 2] = [1, 256];
/// What trained weights have.
const DEVIATION: f32 = 0.02;
/// Smaller blocks than for a file on a disk: one matrix has to keep all of a GPU busy.
const BLOCK_ELEMENTS: usize = 8 << 10;

/// What is computed, and how often.
struct Settings {
    layers: u64,
    hidden: u64,
    intermediate: u64,
    laps: u32,
}

fn main() -> Outcome<()> {
    let device = Device::auto();
    println!("on {}", device.describe());
    let settings = settings(device.info().is_some())?;
    let original = weights(&settings)?;
    let options = EncodeOptions {
        block_elements: BLOCK_ELEMENTS,
        states_per_lane: 2,
        sha256: false,
        ..EncodeOptions::default()
    };
    let (encoded, _) = wcodec::encode_safetensors_bytes(&original, &options)?;
    let checkpoint = Checkpoint::from_bytes(encoded)?;
    let tensor_bytes = checkpoint.tensor_bytes();

    let plain = checkpoint.load(&device, &LoadOptions::default())?;
    let resident = ResidentCheckpoint::load(checkpoint, &device, &LoadOptions::default())?;
    let stream = device.stream()?;
    if device.info().is_some() {
        decode_rates(&settings, &resident, &device, &stream, &original)?;
    }

    let names: Vec<Vec<String>> = (0..settings.layers).map(layer_names).collect();
    let mut layers = resident.layers(&names)?;
    println!(
        "weights: {tensor_bytes} bytes; compressed with two decoded layers and all else: {} bytes ({:.3})",
        resident.device_bytes() + layers.device_bytes(),
        (resident.device_bytes() + layers.device_bytes()) as f64 / tensor_bytes as f64,
    );
    let product = Product::new(&stream)?;
    for batch in BATCHES {
        let mut chain = Chain::new(&settings, &device, batch)?;
        let mut seconds = [f64::INFINITY; 2];
        let mut results = [Vec::new(), Vec::new()];
        // In turn, so that both meet the same clocks; the first lap is for warming up.
        for lap in 0..=settings.laps {
            let start = Instant::now();
            for names in &names {
                let [up, down] = [plain.tensor(&names[0])?, plain.tensor(&names[1])?];
                let up = Weights { pointer: up.device_pointer(), bytes: up.as_bytes() };
                let down = Weights { pointer: down.device_pointer(), bytes: down.as_bytes() };
                chain.layer(&product, up, down)?;
            }
            stream.synchronize()?;
            let uncompressed = start.elapsed().as_secs_f64();
            results[0] = chain.restart()?;

            let start = Instant::now();
            for _ in &names {
                let layer = layers.advance(&stream)?;
                let [up, down] = [&layer.tensors()[0], &layer.tensors()[1]].map(|tensor| Weights {
                    pointer: tensor.device_pointer(),
                    bytes: layer.bytes_of(tensor),
                });
                chain.layer(&product, up, down)?;
            }
            stream.synchronize()?;
            let compressed = start.elapsed().as_secs_f64();
            results[1] = chain.restart()?;
            if results[0] != results[1] {
                return Err("the results differ".into());
            }
            if lap > 0 {
                seconds[0] = seconds[0].min(uncompressed);
                seconds[1] = seconds[1].min(compressed);
            }
        }
        let each = |seconds: f64| 1e6 * seconds / settings.layers as f64;
        println!(
            "batch {batch:>3}: {:.1} us a layer uncompressed, {:.1} us compressed, {:.2} times as long, results identical",
            each(seconds[0]),
            each(seconds[1]),
            seconds[1] / seconds[0],
        );
    }
    Ok(())
}

fn settings(has_gpu: bool) -> Outcome<Settings> {
    let mut settings = match has_gpu {
        true => Settings { layers: 16, hidden: 4096, intermediate: 11008, laps: 20 },
        false => Settings { layers: 3, hidden: 128, intermediate: 344, laps: 1 },
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return Err(format!("{} has no value", pair[0]).into()) };
        match name.as_str() {
            "--layers" => settings.layers = value.parse()?,
            "--hidden" => settings.hidden = value.parse()?,
            "--intermediate" => settings.intermediate = value.parse()?,
            "--laps" => settings.laps = value.parse()?,
            other => return Err(format!("there is no option {other}").into()),
        }
    }
    Ok(settings)
}

fn layer_names(layer: u64) -> Vec<String> {
    vec![format!("layers.{layer}.up.weight"), format!("layers.{layer}.down.weight")]
}

/// A checkpoint of Gaussian weights.
fn weights(settings: &Settings) -> Outcome<Vec<u8>> {
    let Settings { layers, hidden, intermediate, .. } = *settings;
    let names: Vec<String> = (0..layers).flat_map(layer_names).collect();
    let bytes: Vec<Vec<u8>> = (0..names.len() as u64)
        .into_par_iter()
        .map(|seed| gaussian(seed, hidden * intermediate, DEVIATION))
        .collect();
    let shapes = [[intermediate, hidden], [hidden, intermediate]];
    let tensors = names.iter().zip(&bytes).enumerate().map(|(number, (name, bytes))| TensorData {
        name,
        dtype: Dtype::BF16,
        shape: &shapes[number % 2],
        bytes,
    });
    Ok(build(&tensors.collect::<Vec<_>>(), &[])?)
}

fn gaussian(seed: u64, elements: u64, deviation: f32) -> Vec<u8> {
    let mut random = SmallRng::seed_from_u64(seed);
    let element = |_| {
        let value: f32 = StandardNormal.sample(&mut random);
        bf16::from_f32(deviation * value).to_le_bytes()
    };
    (0..elements).flat_map(element).collect()
}

/// How fast one matrix is decoded: by `decode_into`, call after call, and by the kernels alone.
fn decode_rates(
    settings: &Settings,
    resident: &ResidentCheckpoint,
    device: &Device,
    stream: &Stream,
    original: &[u8],
) -> Outcome<()> {
    let names = layer_names(0);
    let bytes = 2 * settings.hidden * settings.intermediate;
    let mut out = device.allocate(bytes)?;
    let mut best = f64::INFINITY;
    let calls = 50;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..calls {
            resident.decode_into(&names[0], &mut out, stream)?;
        }
        stream.synchronize()?;
        best = best.min(start.elapsed().as_secs_f64() / f64::from(calls));
    }
    let expected = resident.checkpoint().tensor(&names[0])?.decode()?;
    if out.to_host()? != expected.as_bytes() {
        return Err("the matrix was not decoded to its bytes".into());
    }
    // The same matrix as a file of its own.
    let first = &original[original.len() - 2 * settings.layers as usize * bytes as usize..];
    let data = TensorData {
        name: "w",
        dtype: Dtype::BF16,
        shape: &[settings.intermediate, settings.hidden],
        bytes: &first[..bytes as usize],
    };
    let options = EncodeOptions {
        block_elements: BLOCK_ELEMENTS,
        states_per_lane: 2,
        ..EncodeOptions::default()
    };
    let (encoded, _) = wcodec::encode_safetensors_bytes(&build(&[data], &[])?, &options)?;
    let alone = Checkpoint::from_bytes(encoded)?;
    let times = Decoder::new(0)?.time_kernels(&alone, &first[..bytes as usize], 50)?;
    let mut milliseconds = times.milliseconds;
    milliseconds.sort_by(f32::total_cmp);
    let median = f64::from(milliseconds[milliseconds.len() / 2]);
    println!(
        "a matrix of {} x {}: decode_into {:.0} GB/s, the kernel alone {:.0} GB/s (median of 50)",
        settings.intermediate,
        settings.hidden,
        bytes as f64 / best / 1e9,
        bytes as f64 / median / 1e6,
    );
    Ok(())
}

/// A matrix, on a GPU or on the CPU.
#[derive(Clone, Copy)]
struct Weights<'a> {
    pointer: Option<u64>,
    bytes: Option<&'a [u8]>,
}

/// What multiplies.
enum Product {
    Gpu(Cublas),
    Cpu,
}

impl Product {
    fn new(stream: &Stream) -> Outcome<Self> {
        Ok(match stream.as_raw() {
            Some(stream) => Self::Gpu(Cublas::new(stream)?),
            None => Self::Cpu,
        })
    }

    /// `out = input x weights^T`, where the weights have `rows` of `columns`.
    fn run(
        &self,
        (rows, columns, batch): (u64, u64, u64),
        weights: Weights<'_>,
        input: &DeviceBuffer,
        out: &mut DeviceBuffer,
    ) -> Outcome<()> {
        match self {
            Self::Gpu(cublas) => {
                let missing = "the memory is not the GPU's";
                let weights = weights.pointer.ok_or(missing)?;
                let input = input.device_pointer().ok_or(missing)?;
                let out = out.device_pointer().ok_or(missing)?;
                // SAFETY: the chain's buffers have room for the longer side of the matrices times the
                // batch, and weights are of `rows` x `columns`; all are kept until the stream is done.
                unsafe { cublas.multiply((rows, columns, batch), weights, input, out) }
            }
            Self::Cpu => {
                let missing = "the memory is not the CPU's";
                let weights: &[bf16] = bytemuck::cast_slice(weights.bytes.ok_or(missing)?);
                let input: &[bf16] = bytemuck::cast_slice(input.as_bytes().ok_or(missing)?);
                let rows_of_input = input.chunks(columns as usize).take(batch as usize);
                let products = rows_of_input.flat_map(|input| {
                    weights.chunks(columns as usize).map(move |row| {
                        let pairs = row.iter().zip(input);
                        bf16::from_f32(pairs.map(|(w, x)| w.to_f32() * x.to_f32()).sum())
                    })
                });
                let products: Vec<bf16> = products.collect();
                assert_eq!(products.len() as u64, rows * batch);
                Ok(out.copy_from_host(bytemuck::cast_slice(&products))?)
            }
        }
    }
}

/// Activations on their way through the layers.
struct Chain {
    hidden: u64,
    intermediate: u64,
    batch: u64,
    input: Vec<u8>,
    activations: DeviceBuffer,
    between: DeviceBuffer,
}

impl Chain {
    fn new(settings: &Settings, device: &Device, batch: u64) -> Outcome<Self> {
        let Settings { hidden, intermediate, .. } = *settings;
        let input = gaussian(batch, batch * hidden, 1.0);
        let mut activations = device.allocate(2 * batch * hidden)?;
        activations.copy_from_host(&input)?;
        let between = device.allocate(2 * batch * intermediate)?;
        Ok(Self { hidden, intermediate, batch, input, activations, between })
    }

    fn layer(&mut self, product: &Product, up: Weights<'_>, down: Weights<'_>) -> Outcome<()> {
        let (hidden, intermediate, batch) = (self.hidden, self.intermediate, self.batch);
        let sizes = (intermediate, hidden, batch);
        product.run(sizes, up, &self.activations, &mut self.between)?;
        product.run((hidden, intermediate, batch), down, &self.between, &mut self.activations)
    }

    /// The result; the next lap begins with the same input.
    fn restart(&mut self) -> Outcome<Vec<u8>> {
        let result = self.activations.to_host()?;
        self.activations.copy_from_host(&self.input)?;
        Ok(result)
    }
}
