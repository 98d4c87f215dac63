//! How much sooner a checkpoint is ready when several devices share it, and whether their slices make
//! up the whole:
//!
//! ```text
//! load_devices MODEL.wcodec --device cuda:0 --device cuda:1 [--along '*=0'] [--repeat 6] [--pinned-mib 256]
//! ```
//!
//! First the first device loads everything, then all devices load a slice each, both from a page cache
//! that holds the file already. The pinned memory is the same for both, and of all devices together.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use wcodec::{
    Checkpoint, Device, DeviceTensor, Error, LoadOptions, LoadedCheckpoint, Result, Shard,
};

/// Compare loading onto one device with loading slices onto several
#[derive(Debug, Parser)]
struct Arguments {
    /// The .wcodec file
    file: PathBuf,
    /// A device, `cpu` or `cuda:N`; to be given for each
    #[arg(long = "device", required = true)]
    devices: Vec<String>,
    /// Which dimension of tensors with names like the pattern is cut; tensors that none fits are whole
    #[arg(long, value_name = "PATTERN=DIMENSION", default_value = "*=0")]
    along: Vec<String>,
    /// How often each is measured
    #[arg(long, default_value_t = 6)]
    repeat: usize,
    /// MiB of pinned memory, of all devices together
    #[arg(long, default_value_t = 256)]
    pinned_mib: usize,
    /// Reading threads, of all devices together; 0 leaves it to the library
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Don't compare the slices with the whole, which takes longer than everything else
    #[arg(long)]
    no_compare: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load_devices: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let devices = arguments.devices.iter().map(|name| device(name)).collect::<Result<Vec<_>>>()?;
    let checkpoint = Checkpoint::open(&arguments.file)?;
    let whole = LoadOptions {
        pinned_bytes: arguments.pinned_mib << 20,
        threads: arguments.threads,
        ..LoadOptions::default()
    };
    let sliced = LoadOptions { shard: Some(shard(&arguments.along)?), ..whole.clone() };

    let one =
        measure("whole", arguments.repeat, || Ok(vec![checkpoint.load(&devices[0], &whole)?]))?;
    let several =
        measure("slices", arguments.repeat, || checkpoint.load_sharded(&devices, &sliced))?;
    println!(
        "{} devices take {:.3} of the time of one (medians {several:.4} s and {one:.4} s)",
        devices.len(),
        several / one
    );
    match host_peak_bytes() {
        Some(bytes) => println!(
            "peak host memory {bytes} bytes, {} beyond the pinned budget",
            bytes.saturating_sub(whole.pinned_bytes as u64)
        ),
        None => println!("peak host memory unknown"),
    }
    if arguments.no_compare {
        return Ok(());
    }

    let joined = checkpoint.load_sharded(&devices, &sliced)?;
    let expected = checkpoint.load(&devices[0], &whole)?;
    let bytes = compare(&expected, &joined)?;
    println!(
        "the slices joined are the whole, {bytes} bytes of {} tensors",
        expected.tensors().len()
    );
    Ok(())
}

fn invalid(what: &str, text: &str, detail: &str) -> Error {
    Error::InvalidArgument { what: format!("{what} {text:?}"), detail: detail.into() }
}

fn device(name: &str) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::cpu());
    }
    let ordinal = name.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok());
    Device::cuda(ordinal.ok_or_else(|| invalid("the device", name, "say cpu or cuda:N"))?)
}

/// The rules; rank and count are those of the devices.
fn shard(rules: &[String]) -> Result<Shard> {
    rules.iter().try_fold(Shard::new(0, 1), |shard, rule| {
        let parts = rule.rsplit_once('=');
        let parts = parts.and_then(|(pattern, at)| Some((pattern, at.parse().ok()?)));
        let (pattern, dimension) =
            parts.ok_or_else(|| invalid("the rule", rule, "say PATTERN=DIMENSION"))?;
        Ok(shard.along(pattern, dimension))
    })
}

/// The median of the seconds until everything is ready, of all times but the first, in which pinned
/// memory is made.
fn measure(
    what: &str,
    repeat: usize,
    load: impl Fn() -> Result<Vec<LoadedCheckpoint>>,
) -> Result<f64> {
    let mut later = Vec::with_capacity(repeat);
    for number in 0..=repeat {
        let start = std::time::Instant::now();
        let loaded = load()?;
        let seconds = start.elapsed().as_secs_f64();
        let bytes: u64 = loaded.iter().map(|loaded| loaded.report().tensor_bytes).sum();
        let each = loaded.iter().map(|loaded| {
            let report = loaded.report();
            let stages = report.stages.map_or(String::new(), |stages| {
                format!(
                    ", reading {:.4}, comparing {:.4}, waiting for copies {:.4}, describing {:.4}, queueing {:.4}, \
                     waiting for kernels {:.4}; allocating {:.4}, decoding {:.4}",
                    stages.read_seconds,
                    stages.checksum_seconds,
                    stages.copy_wait_seconds,
                    stages.describe_seconds,
                    stages.queue_seconds,
                    stages.decode_wait_seconds,
                    stages.allocate_seconds,
                    stages.decode_seconds
                )
            });
            format!("{:.4} s with {} threads{stages}", report.seconds, report.threads)
        });
        println!(
            "{what} {number}: {seconds:.4} s, {:.2} GB/s; {}",
            bytes as f64 / seconds / 1e9,
            each.collect::<Vec<_>>().join("; ")
        );
        if number > 0 {
            later.push(seconds);
        }
    }
    later.sort_by(f64::total_cmp);
    Ok(later.get(later.len() / 2).copied().unwrap_or(f64::NAN))
}

/// Compares the slices of all devices with whole tensors; says how many bytes these have.
fn compare(whole: &LoadedCheckpoint, slices: &[LoadedCheckpoint]) -> Result<u64> {
    let mut bytes = 0;
    for (number, tensor) in whole.tensors().iter().enumerate() {
        let parts: Vec<&DeviceTensor> =
            slices.iter().map(|loaded| &loaded.tensors()[number]).collect();
        if !is_joined(tensor, &parts)? {
            return Err(Error::Mismatch {
                left: format!("the slices of tensor {}", tensor.name()),
                right: "the whole tensor".into(),
                detail: "the bytes differ".into(),
            });
        }
        bytes += tensor.byte_len();
    }
    Ok(bytes)
}

/// Whether the slices, joined along the dimension in which they differ from the whole, are the whole.
fn is_joined(whole: &DeviceTensor, parts: &[&DeviceTensor]) -> Result<bool> {
    let expected = whole.to_host()?;
    let expected = expected.as_bytes();
    let found = parts.iter().map(|part| part.to_host()).collect::<Result<Vec<_>>>()?;
    let is_cut =
        |at: &usize| parts.iter().any(|part| part.shape().get(*at) != whole.shape().get(*at));
    let Some(cut) = (0..whole.shape().len()).find(is_cut) else {
        return Ok(found.iter().all(|part| part.as_bytes() == expected));
    };
    let rows = whole.shape()[..cut].iter().product::<u64>() as usize;
    let sum: usize = found.iter().map(|part| part.as_bytes().len()).sum();
    if sum != expected.len() || rows == 0 {
        return Ok(sum == expected.len());
    }
    let mut at = 0;
    for row in 0..rows {
        for part in &found {
            let bytes = part.as_bytes();
            let width = bytes.len() / rows;
            if expected[at..][..width] != bytes[row * width..][..width] {
                return Ok(false);
            }
            at += width;
        }
    }
    Ok(true)
}

/// The most memory that this process has had, where the system says.
fn host_peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
