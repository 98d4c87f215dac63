//! Throughput of decoding on the GPU beside that on the CPU, dtype by dtype.
//!
//! For each dtype, `cpu-all-threads` decodes into host memory, `gpu-to-device` decodes from host
//! memory into device memory (checksums, copies and allocation included), and `gpu-kernel` is the
//! kernels' share of that, by CUDA events. `WCODEC_BENCH_MIB` sets the size of each tensor, 64 MiB
//! where it is not set. Without a GPU only the CPU is measured, or, where `WCODEC_REQUIRE_GPU` is
//! set, nothing.

mod weights;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use wcodec::gpu::Decoder;
use wcodec::safetensors::Dtype;
use wcodec_tests::find_gpu;

use weights::{NAME, Weights, tensor_bytes};

const DEFAULT_MIB: usize = 64;

/// Launches before the timed ones of a sample.
const WARM_UPS: usize = 2;

const DTYPES: [Dtype; 4] = [Dtype::BF16, Dtype::F32, Dtype::I8, Dtype::F8E4M3];

fn decode(criterion: &mut Criterion, gpu: Option<&Decoder>) {
    for dtype in DTYPES {
        let weights = Weights::new(dtype, tensor_bytes(DEFAULT_MIB));
        let mut group = criterion.benchmark_group(format!("decode/{}", weights.dtype.name()));
        group.throughput(Throughput::Bytes(weights.tensor_bytes));
        let mut out = vec![0; weights.tensor_bytes as usize];
        group.bench_function("cpu-all-threads", |bencher| {
            bencher.iter(|| weights.decode(black_box(&mut out)));
        });
        if let Some(gpu) = gpu {
            decode_on_gpu(&mut group, gpu, &weights);
        }
        group.finish();
    }
}

fn decode_on_gpu(group: &mut BenchmarkGroup<'_, WallTime>, gpu: &Decoder, weights: &Weights) {
    let original = &weights.file[weights.file.len() - weights.tensor_bytes as usize..];
    let to_device = || gpu.decode(&weights.checkpoint, &[NAME]).expect("the GPU decodes");
    let decoded = to_device()[0].to_host().expect("the tensor can be copied back");
    assert!(decoded.as_bytes() == original, "{} does not come back exactly", weights.dtype);
    group.bench_function("gpu-to-device", |bencher| bencher.iter(to_device));
    // Compares the bytes in every sample, outside of what is timed.
    group.bench_function("gpu-kernel", |bencher| {
        bencher.iter_custom(|launches| {
            let runs = WARM_UPS + launches as usize;
            let times = gpu.time_kernels(&weights.checkpoint, original, runs);
            let milliseconds = times.expect("the GPU decodes").milliseconds;
            let seconds: f64 = milliseconds[WARM_UPS..].iter().map(|&ms| f64::from(ms) / 1e3).sum();
            Duration::from_secs_f64(seconds)
        });
    });
}

fn main() -> ExitCode {
    let gpu = match find_gpu() {
        Ok(gpu) => gpu,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(gpu) = &gpu {
        println!("GPU: {}", gpu.describe());
    }
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    decode(&mut criterion, gpu.as_ref());
    criterion.final_summary();
    ExitCode::SUCCESS
}
