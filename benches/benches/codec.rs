//! Throughput of encoding and decoding on the CPU, dtype by dtype.
//!
//! `WCODEC_BENCH_MIB` sets the size of each tensor, 16 MiB where it is not set.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use rayon::{ThreadPool, ThreadPoolBuilder};
use wcodec::safetensors::Dtype;
use wcodec::{Checkpoint, EncodeOptions, encode_safetensors_bytes};
use wcodec_tests::{Pattern, Random, TestTensor, safetensors_file};

const DEFAULT_MIB: usize = 16;

/// The dtypes that weights are mostly stored in.
const DTYPES: [Dtype; 7] =
    [Dtype::BF16, Dtype::F16, Dtype::F32, Dtype::F64, Dtype::F8E4M3, Dtype::I8, Dtype::F4];

/// A tensor of Gaussian weights in both forms.
struct Weights {
    dtype: Dtype,
    file: Vec<u8>,
    tensor_bytes: u64,
    checkpoint: Checkpoint,
}

impl Weights {
    /// Encodes the weights, and stops the benchmark where they don't come back exactly.
    fn new(dtype: Dtype, bytes: usize) -> Self {
        let elements = bytes as u64 * 8 / u64::from(dtype.bits().unwrap_or(8));
        let shape = if dtype == Dtype::F4 { [elements / 2] } else { [elements] };
        let random = &mut Random::new(7);
        let tensor = TestTensor::new("weight", dtype.clone(), &shape, Pattern::Gaussian, random);
        let file = safetensors_file(std::slice::from_ref(&tensor)).expect("the file is valid");
        let (encoded, report) =
            encode_safetensors_bytes(&file, &EncodeOptions::default()).expect("encoding works");
        let checkpoint = Checkpoint::from_bytes(encoded).expect("the encoded file opens");
        let decoded = checkpoint.tensor("weight").and_then(|tensor| tensor.decode());
        let decoded = decoded.expect("decoding works");
        assert!(decoded.as_bytes() == tensor.bytes, "{dtype} does not come back exactly");
        println!("{dtype}: {:.4} of the original size", 1.0 / report.compression_ratio());
        Self { dtype, file, tensor_bytes: tensor.bytes.len() as u64, checkpoint }
    }

    fn encode(&self) -> usize {
        let encoded = encode_safetensors_bytes(black_box(&self.file), &EncodeOptions::default());
        encoded.expect("encoding worked before").0.len()
    }

    fn decode(&self, out: &mut [u8]) {
        let tensor = self.checkpoint.tensor("weight").expect("it is there");
        tensor.decode_into(black_box(out)).expect("decoding worked before");
    }
}

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

fn tensor_bytes() -> usize {
    let mebibytes = match std::env::var("WCODEC_BENCH_MIB") {
        Ok(text) => text.parse().expect("WCODEC_BENCH_MIB is a number of MiB"),
        Err(_) => DEFAULT_MIB,
    };
    mebibytes << 20
}

fn codec(criterion: &mut Criterion) {
    let pools = pools();
    for dtype in DTYPES {
        let weights = Weights::new(dtype, tensor_bytes());
        let dtype = weights.dtype.name();
        let mut out = vec![0; weights.tensor_bytes as usize];
        for (name, pool) in &pools {
            let mut group = criterion.benchmark_group("encode");
            group.throughput(Throughput::Bytes(weights.tensor_bytes));
            group.bench_function(BenchmarkId::new(dtype, name), |bencher| {
                pool.install(|| bencher.iter(|| weights.encode()));
            });
            group.finish();
            let mut group = criterion.benchmark_group("decode");
            group.throughput(Throughput::Bytes(weights.tensor_bytes));
            group.bench_function(BenchmarkId::new(dtype, name), |bencher| {
                pool.install(|| bencher.iter(|| weights.decode(&mut out)));
            });
            group.finish();
        }
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    codec(&mut criterion);
    criterion.final_summary();
}
