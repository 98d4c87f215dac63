//! `wcodec bench`: what a user wants to know before trusting a codec with a model.

use std::path::Path;
use std::time::Instant;

use half::bf16;
use memmap2::MmapMut;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};
use wcodec::gpu::Decoder;
use wcodec::safetensors::{Dtype, TensorData, build, parse};
use wcodec::{Checkpoint, EncodeOptions, Error, Result, encode_safetensors_bytes_into};

use super::answer::{Answer, shown};
use super::arguments::Bench;
use super::table::{Align, Table, grouped, ratio, ratio_text};

/// Rows and columns of the matrices.
const SIDES: [u64; 5] = [256, 512, 1024, 2048, 4096];
/// Standard deviations of the weights: what trained ones have, and what fills eight bits.
const BF16_DEVIATION: f32 = 0.02;
const I8_DEVIATION: f32 = 32.0;
/// Models whose decode time is estimated, in parameters of two bytes.
const MODELS: [(&str, f64); 3] = [("7B", 7e9), ("13B", 13e9), ("70B", 70e9)];
const MODEL_ELEMENT_BYTES: f64 = 2.0;

pub(super) fn run(arguments: &Bench) -> Result<Answer> {
    let runs = usize::from(arguments.runs);
    let decoder = Decoder::auto();
    let options = EncodeOptions::of(arguments.profile.into());
    let mut results = Vec::new();
    for path in &arguments.files {
        let file = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
        results.push(measure(shown(path), &file, path, &options, (runs, &decoder))?);
    }
    if arguments.files.is_empty() {
        for dtype in [Dtype::I8, Dtype::BF16] {
            for side in SIDES {
                let file = matrix(&dtype, side)?;
                let name = format!("{dtype} {side} x {side}");
                results.push(measure(
                    name,
                    &file,
                    Path::new("<memory>"),
                    &options,
                    (runs, &decoder),
                )?);
            }
        }
    }
    Ok(answer(&results, runs, &decoder))
}

/// Seconds of several runs.
struct Times {
    median: f64,
    least: f64,
    most: f64,
}

impl Times {
    fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |position: usize| seconds.get(position).copied().unwrap_or(f64::NAN);
        Self {
            median: at(seconds.len() / 2),
            least: at(0),
            most: at(seconds.len().saturating_sub(1)),
        }
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "least": self.least, "most": self.most })
    }

    /// Milliseconds, and how far the runs lie from their median.
    fn text(&self) -> String {
        let spread = ((self.most - self.median).max(self.median - self.least)) / self.median;
        format!("{:.3} ms ±{:.0} %", 1e3 * self.median, 100.0 * spread)
    }
}

/// What was measured of one file.
struct Measured {
    name: String,
    original: u64,
    encoded: u64,
    encode: Times,
    decode: Times,
    /// Of kernels alone, from and to device memory.
    gpu: Option<Times>,
}

fn measure(
    name: String,
    file: &[u8],
    path: &Path,
    options: &EncodeOptions,
    (runs, decoder): (usize, &Decoder),
) -> Result<Measured> {
    let data = &file[parse(file, path)?.data_start as usize..];
    let mut encode = Vec::with_capacity(runs);
    let mut encoded = vec![0xA5; file.len()];
    for _ in 0..runs {
        let start = Instant::now();
        encode_safetensors_bytes_into(file, options, &mut encoded)?;
        encode.push(start.elapsed().as_secs_f64());
    }
    let encoded_bytes = encoded.len() as u64;
    let checkpoint = Checkpoint::from_bytes(encoded)?;
    let mut out = output(data.len())?;
    let out = &mut out[..data.len()];
    let mut decode = Vec::with_capacity(runs);
    for _ in 0..runs {
        // So that bytes which a run leaves alone differ.
        out.fill(0xA5);
        let start = Instant::now();
        checkpoint.decode_all_into(out)?;
        decode.push(start.elapsed().as_secs_f64());
        if out != data {
            return Err(Error::Internal { detail: format!("{name} decodes to other bytes") });
        }
    }
    let gpu = match decoder.device() {
        Some(_) => {
            let times = decoder.time_kernels(&checkpoint, data, runs)?;
            Some(Times::of(times.milliseconds.iter().map(|&ms| f64::from(ms) / 1e3).collect()))
        }
        None => None,
    };
    let (encode, decode) = (Times::of(encode), Times::of(decode));
    Ok(Measured { name, original: file.len() as u64, encoded: encoded_bytes, encode, decode, gpu })
}

/// Memory to decode into: what loading decodes into, in large pages where the system has them.
fn output(bytes: usize) -> Result<MmapMut> {
    let out = MmapMut::map_anon(bytes.max(1))
        .map_err(|error| Error::io("have memory for", Path::new("<memory>"), error))?;
    #[cfg(target_os = "linux")]
    let _ = out.advise(memmap2::Advice::HugePage);
    Ok(out)
}

/// A `.safetensors` file with a square matrix of Gaussian weights.
fn matrix(dtype: &Dtype, side: u64) -> Result<Vec<u8>> {
    let mut random = SmallRng::seed_from_u64(side);
    let mut normal = || -> f32 { StandardNormal.sample(&mut random) };
    let count = side * side;
    let bytes: Vec<u8> = match dtype {
        Dtype::BF16 => (0..count)
            .flat_map(|_| bf16::from_f32(normal() * BF16_DEVIATION).to_le_bytes())
            .collect(),
        _ => (0..count).map(|_| (normal() * I8_DEVIATION).round() as i8 as u8).collect(),
    };
    let tensor =
        TensorData { name: "weight", dtype: dtype.clone(), shape: &[side, side], bytes: &bytes };
    build(&[tensor], &[])
}

fn answer(results: &[Measured], runs: usize, decoder: &Decoder) -> Answer {
    let simd = wcodec::simd_level().unwrap_or("portable");
    let threads = rayon::current_num_threads();
    let estimates = results.last().map(estimates).unwrap_or_default();
    let text = format!(
        "{}\nMedian of {runs} runs in memory and the farthest of them, {threads} threads, SIMD level \
         {simd}; GB/s of decoded bytes.\nGPU: {}, kernels alone.\n\n{}",
        table(results),
        decoder.describe(),
        estimate_table(&estimates),
    );
    let json = json!({
        "command": "bench",
        "device": decoder.describe(),
        "simd": simd,
        "threads": threads,
        "runs": runs,
        "results": results.iter().map(Measured::json).collect::<Vec<_>>(),
        "estimates": estimates.iter().map(Estimate::json).collect::<Vec<_>>(),
    });
    Answer { text, json }
}

impl Measured {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "original_bytes": self.original,
            "encoded_bytes": self.encoded,
            "ratio": ratio(self.original, self.encoded),
            "encode_seconds": self.encode.json(),
            "decode_seconds": self.decode.json(),
            "gpu_seconds": self.gpu.as_ref().map(Times::json),
            // Anything else is an error.
            "exact": true,
        })
    }

    fn speed(&self, times: &Times) -> f64 {
        self.original as f64 / times.median / 1e9
    }
}

fn table(results: &[Measured]) -> String {
    let mut table = Table::new(&[
        ("Weights", Align::Left),
        ("Bytes", Align::Right),
        ("Ratio", Align::Right),
        ("Encode", Align::Right),
        ("GB/s", Align::Right),
        ("Decode", Align::Right),
        ("GB/s", Align::Right),
        ("GPU GB/s", Align::Right),
        ("Status", Align::Left),
    ]);
    for result in results {
        table.row([
            result.name.clone(),
            grouped(result.original),
            ratio_text(result.original, result.encoded),
            result.encode.text(),
            format!("{:.2}", result.speed(&result.encode)),
            result.decode.text(),
            format!("{:.2}", result.speed(&result.decode)),
            result.gpu.as_ref().map_or("-".into(), |gpu| format!("{:.0}", result.speed(gpu))),
            "exact".into(),
        ]);
    }
    table.render()
}

/// How long a model would take at the speed that was measured.
struct Estimate {
    model: &'static str,
    parameters: f64,
    bytes: f64,
    cpu_seconds: f64,
    gpu_seconds: Option<f64>,
}

fn estimates(result: &Measured) -> Vec<Estimate> {
    let estimate = |(model, parameters): (&'static str, f64)| {
        let bytes = parameters * MODEL_ELEMENT_BYTES;
        let seconds = |times: &Times| bytes / result.original as f64 * times.median;
        let gpu_seconds = result.gpu.as_ref().map(seconds);
        Estimate { model, parameters, bytes, cpu_seconds: seconds(&result.decode), gpu_seconds }
    };
    MODELS.map(estimate).into()
}

impl Estimate {
    fn json(&self) -> Value {
        json!({
            "parameters": self.parameters,
            "bytes": self.bytes,
            "cpu_seconds": self.cpu_seconds,
            "gpu_seconds": self.gpu_seconds,
        })
    }
}

fn estimate_table(estimates: &[Estimate]) -> String {
    let mut table = Table::new(&[
        ("Estimate", Align::Left),
        ("BF16 GB", Align::Right),
        ("Decode on the CPU", Align::Right),
        ("on the GPU", Align::Right),
    ]);
    for estimate in estimates {
        table.row([
            estimate.model.to_owned(),
            format!("{:.0}", estimate.bytes / 1e9),
            format!("{:.2} s", estimate.cpu_seconds),
            estimate.gpu_seconds.map_or("-".into(), |seconds| format!("{:.1} ms", 1e3 * seconds)),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_the_farthest_run() {
        let times = Times::of(vec![0.004, 0.001, 0.002]);
        assert_eq!((times.median, times.least, times.most), (0.002, 0.001, 0.004));
        assert_eq!(times.text(), "2.000 ms ±100 %");
    }

    #[test]
    fn estimates_scale_with_bytes() {
        let times = |median| Times { median, least: median, most: median };
        let result = Measured {
            name: String::new(),
            original: 1_000_000,
            encoded: 1,
            encode: times(1.0),
            decode: times(0.001),
            gpu: None,
        };
        let seven = &estimates(&result)[0];
        assert!((seven.cpu_seconds - 14.0).abs() < 1e-9 && seven.gpu_seconds.is_none());
    }
}
