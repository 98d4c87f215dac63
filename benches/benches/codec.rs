//! Throughput of encoding and decoding on the CPU, dtype by dtype and level by level of vector
//! instructions.
//!
//! A process has one level, so this one starts itself once for each; `WCODEC_SIMD` chooses one.
//! `WCODEC_BENCH_MIB` sets the size of each tensor, 16 MiB where it is not set.

mod weights;

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use rayon::{ThreadPool, ThreadPoolBuilder};
use wcodec::safetensors::Dtype;
use wcodec::{EncodeOptions, encode_safetensors_bytes, simd_level};

use weights::{Weights, tensor_bytes};

const DEFAULT_MIB: usize = 16;

/// The dtypes that weights are mostly stored in.
const DTYPES: [Dtype; 7] =
    [Dtype::BF16, Dtype::F16, Dtype::F32, Dtype::F64, Dtype::F8E4M3, Dtype::I8, Dtype::F4];

fn encode(weights: &Weights) -> usize {
    let encoded = encode_safetensors_bytes(black_box(&weights.file), &EncodeOptions::default());
    encoded.expect("encoding worked before").0.len()
}

/// Chooses a level, see [`simd_level`].
const LEVEL_VARIABLE: &str = "WCODEC_SIMD";
const LEVELS: [&str; 3] = ["avx512", "avx2", "portable"];

/// Pools of one thread and of one thread per processor, with their names.
fn pools() -> Vec<(String, ThreadPool)> {
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build();
    let single = pool(1).expect("a thread can be started");
    let all = pool(0).expect("threads can be started");
    let count = all.current_num_threads();
    let mut pools = vec![("1-thread".to_owned(), single)];
    if count > 1 {
        pools.push((format!("{count}-threads"), all));
    }
    pools
}

fn codec(criterion: &mut Criterion, level: &str) {
    let pools = pools();
    for dtype in DTYPES {
        let weights = Weights::new(dtype, tensor_bytes(DEFAULT_MIB));
        let dtype = weights.dtype.name();
        let mut out = vec![0; weights.tensor_bytes as usize];
        for (threads, pool) in &pools {
            let name = format!("{level}-{threads}");
            let mut group = criterion.benchmark_group("encode");
            group.throughput(Throughput::Bytes(weights.tensor_bytes));
            group.bench_function(BenchmarkId::new(dtype, &name), |bencher| {
                pool.install(|| bencher.iter(|| encode(&weights)));
            });
            group.finish();
            let mut group = criterion.benchmark_group("decode");
            group.throughput(Throughput::Bytes(weights.tensor_bytes));
            group.bench_function(BenchmarkId::new(dtype, &name), |bencher| {
                pool.install(|| bencher.iter(|| weights.decode(black_box(&mut out))));
            });
            group.finish();
        }
    }
}

/// Runs this program once for each level, with the same arguments.
fn run_each_level() -> std::io::Result<ExitCode> {
    let program = std::env::current_exe()?;
    for level in LEVELS {
        let mut child = Command::new(&program);
        child.args(std::env::args_os().skip(1)).env(LEVEL_VARIABLE, level);
        if !child.status()?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    if std::env::var_os(LEVEL_VARIABLE).is_none() {
        return run_each_level().unwrap_or_else(|error| {
            eprintln!("the benchmark cannot start itself once more: {error}");
            ExitCode::FAILURE
        });
    }
    let level = match simd_level() {
        Ok(level) => level,
        Err(error) => {
            println!("not measured: {error}");
            return ExitCode::SUCCESS;
        }
    };
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    codec(&mut criterion, level);
    criterion.final_summary();
    ExitCode::SUCCESS
}
