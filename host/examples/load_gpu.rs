//! Loads a checkpoint onto the first GPU, or into memory where there is none:
//!
//! ```text
//! load_gpu model.safetensors.wcodec [PATTERN...]
//! ```
//!
//! Without a file it encodes the small checkpoint that is built in, and loads that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wcodec::{Checkpoint, Device, EncodeOptions, LoadOptions, Progress, Result, Shard};

/// Counts what is ready; a program would draw a bar.
#[derive(Default)]
struct Counter {
    ready: AtomicU64,
}

impl Progress for Counter {
    fn start(&self, total: u64) {
        println!("{total} bytes to load");
    }

    fn advance(&self, bytes: u64) {
        self.ready.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let checkpoint = match arguments.next() {
        Some(path) => Checkpoint::open(path)?,
        None => demo()?,
    };
    let tensors: Vec<String> = arguments.collect();

    // Everything, or what the patterns name, into one allocation.
    let device = Device::auto();
    let counter = Arc::new(Counter::default());
    let options = LoadOptions {
        tensors,
        progress: Some(Arc::clone(&counter) as _),
        ..LoadOptions::default()
    };
    let loaded = checkpoint.load(&device, &options)?;
    assert_eq!(counter.ready.load(Ordering::Relaxed), loaded.report().tensor_bytes);
    for tensor in loaded.tensors().iter().take(5) {
        // A kernel, cuBLAS or another library takes the pointer; on the CPU, `as_bytes` has the bytes.
        let place = tensor.device_pointer().map_or("host memory".into(), |at| format!("{at:#x}"));
        println!("{} {} {:?} at {place}", tensor.name(), tensor.dtype(), tensor.shape());
    }
    let report = loaded.report();
    println!(
        "{} bytes of {} tensors on {} in {:.3} s: {:.2} GB/s, of the file {:.2} GB/s",
        report.tensor_bytes,
        report.tensors,
        device.describe(),
        report.seconds,
        report.tensor_bytes as f64 / report.seconds / 1e9,
        report.file_bytes as f64 / report.seconds / 1e9,
    );
    drop(loaded);

    // For tensor parallelism, each device takes a slice of every tensor and reads only what it needs of
    // the file. With one device for both, the slices joined are the whole again.
    let rules = Shard::new(0, 2).along("*", 0);
    let options = LoadOptions { shard: Some(rules), ..LoadOptions::default() };
    let halves = checkpoint.load_sharded(&[device.clone(), device], &options)?;
    if let Some(tensor) = checkpoint.tensors().find(|tensor| !tensor.shape().is_empty()) {
        let mut joined = Vec::new();
        for half in &halves {
            joined.extend_from_slice(half.tensor(tensor.name())?.to_host()?.as_bytes());
        }
        assert_eq!(joined, tensor.decode()?.as_bytes());
    }
    println!("two halves, loaded at the same time, make up the whole");
    Ok(())
}

fn demo() -> Result<Checkpoint> {
    let options = EncodeOptions::default();
    let (encoded, _) = wcodec::encode_safetensors_bytes(wcodec::DEMO_CHECKPOINT, &options)?;
    Checkpoint::from_bytes(encoded)
}
