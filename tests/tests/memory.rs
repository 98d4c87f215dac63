//! Memory stays bounded whatever the file's size. This file holds one test only, so that nothing
//! else runs in its process while it measures.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wcodec::safetensors::Dtype;
use wcodec::{
    Checkpoint, Device, EncodeOptions, LoadOptions, RestoreOptions, Shard, Tensor,
    encode_safetensors,
};
use wcodec_tests::{Pattern, Random, TestTensor};

const FILE_BYTES: u64 = 512 << 20;
const LIMIT_BYTES: u64 = 256 << 20;
/// What loading may take beside the tensors.
const LOADING_BYTES: u64 = 64 << 20;
const THREADS: usize = 2;

/// Memory of this process that no file stands behind, in bytes.
fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Ends the sampling, also when what is measured panics.
struct DoneOnDrop<'a>(&'a AtomicBool);

impl Drop for DoneOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` and returns the most anonymous memory that was seen meanwhile.
fn peak_during(work: impl FnOnce()) -> u64 {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(anonymous_bytes());
                std::thread::sleep(Duration::from_millis(1));
            }
            peak
        });
        let guard = DoneOnDrop(&done);
        work();
        drop(guard);
        sampler.join().unwrap()
    })
}

/// Writes a checkpoint with one huge tensor, the same 16 MiB of weights over and over.
fn write_original(path: &Path) {
    let random = &mut Random::new(61);
    let part = TestTensor::new("w", Dtype::BF16, &[8 << 20], Pattern::Gaussian, random).bytes;
    let elements = FILE_BYTES / 2;
    let header = format!(
        r#"{{"w":{{"dtype":"BF16","shape":[{elements}],"data_offsets":[0,{FILE_BYTES}]}}}}"#
    );
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    (0..FILE_BYTES / part.len() as u64).for_each(|_| file.write_all(&part).unwrap());
    file.flush().unwrap();
}

#[test]
fn a_tensor_larger_than_the_limit_is_encoded_verified_and_restored_within_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (input, output, restored) = (path("in"), path("out"), path("restored"));
    write_original(&input);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().unwrap();
    let peak = |work: &(dyn Fn() + Sync)| pool.install(|| peak_during(work));

    let encoding = peak(&|| {
        encode_safetensors(&input, &output, &EncodeOptions::default()).unwrap();
    });
    let checkpoint = Checkpoint::open(&output).unwrap();
    let verifying = peak(&|| assert_eq!(checkpoint.verify(None).unwrap().tensors, 1));
    let restoring = peak(&|| checkpoint.restore(&restored, &RestoreOptions::default()).unwrap());
    let tensor: Tensor<'_> = checkpoint.tensor("w").unwrap();
    let decoding_a_range = peak(&|| {
        assert_eq!(tensor.decode_range(1 << 24..1 << 25).unwrap().as_bytes().len(), 1 << 25)
    });
    let loading = |shard: Option<Shard>| {
        let options = LoadOptions { shard, ..LoadOptions::default() };
        peak(&|| drop(checkpoint.load(&Device::cpu(), &options).unwrap()))
    };
    let (loading_all, loading_half) =
        (loading(None), loading(Some(Shard::new(1, 2).along("w", 0))));

    assert_eq!(fs::metadata(&restored).unwrap().len(), fs::metadata(&input).unwrap().len());
    // What is loaded is in memory, and little beside it.
    let loaded = |bytes: u64| bytes + LOADING_BYTES;
    for (what, peak, limit) in [
        ("encoding", encoding, LIMIT_BYTES),
        ("verifying", verifying, LIMIT_BYTES),
        ("restoring", restoring, LIMIT_BYTES),
        ("decoding a range", decoding_a_range, LIMIT_BYTES),
        ("loading", loading_all, loaded(FILE_BYTES)),
        ("loading a half", loading_half, loaded(FILE_BYTES / 2)),
    ] {
        println!("{what}: {} MiB", peak >> 20);
        assert!(peak < limit, "{what} takes {} MiB", peak >> 20);
    }
}
