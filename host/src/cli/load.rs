//! `wcodec load`.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use wcodec::{
    Checkpoint, Device, Error, LoadOptions, LoadReport, LoadedCheckpoint, Progress,
    ResidentCheckpoint, Result, Shard,
};

use super::answer::{Answer, shown};
use super::arguments::{Common, DeviceChoice, Load};
use super::table::{Align, Table, grouped, printable};
use super::{base, progress};

/// One time that the file was loaded.
struct Run {
    /// To open the file: its header, index and footer.
    open_seconds: f64,
    report: LoadReport,
}

pub(super) fn run(arguments: &Load, common: &Common) -> Result<Answer> {
    let start = Instant::now();
    let device = device(arguments.device)?;
    let device_seconds = start.elapsed().as_secs_f64();
    if arguments.resident {
        return keep(arguments, common, &device, device_seconds);
    }
    let mut runs = Vec::with_capacity(usize::from(arguments.repeat));
    for _ in 0..arguments.repeat {
        let run = load_once(arguments, common, &device)?;
        runs.push(run);
    }
    Ok(answer(arguments, &device, device_seconds, &runs))
}

fn device(choice: DeviceChoice) -> Result<Device> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::cpu()),
        DeviceChoice::Cuda(ordinal) => Device::cuda(ordinal),
        DeviceChoice::Auto => Ok(Device::auto()),
    }
}

fn options(arguments: &Load, common: &Common, progress: Option<Arc<dyn Progress>>) -> LoadOptions {
    let along = |shard: Shard| {
        arguments.along.iter().fold(shard, |shard, rule| shard.along(&rule.pattern, rule.dimension))
    };
    LoadOptions {
        tensors: arguments.tensors.clone(),
        shard: arguments.shard.map(|of| along(Shard::new(of.rank, of.count))),
        pinned_bytes: arguments.pinned_mib << 20,
        threads: common.threads.into(),
        checksums: !arguments.no_checksums,
        direct_io: arguments.direct,
        progress,
        ..LoadOptions::default()
    }
}

fn open(arguments: &Load) -> Result<(Checkpoint, f64)> {
    if arguments.cold {
        forget(&arguments.file)?;
    }
    let start = Instant::now();
    let checkpoint = base::attach(Checkpoint::open(&arguments.file)?, arguments.base.as_deref())?;
    Ok((checkpoint, start.elapsed().as_secs_f64()))
}

fn load_once(arguments: &Load, common: &Common, device: &Device) -> Result<Run> {
    let (checkpoint, open_seconds) = open(arguments)?;
    let options = options(arguments, common, progress::bar("Loading", common));
    let loaded = checkpoint.load(device, &options)?;
    let report = loaded.report().clone();
    if arguments.compare {
        compare(&checkpoint, &loaded, &options)?;
    }
    Ok(Run { open_seconds, report })
}

/// Compares everything with what the CPU decodes.
fn compare(
    checkpoint: &Checkpoint,
    loaded: &LoadedCheckpoint,
    options: &LoadOptions,
) -> Result<()> {
    let expected =
        checkpoint.load(&Device::cpu(), &LoadOptions { progress: None, ..options.clone() })?;
    for (found, expected) in loaded.tensors().iter().zip(expected.tensors()) {
        if Some(found.to_host()?.as_bytes()) != expected.as_bytes() {
            return Err(Error::Mismatch {
                left: format!("tensor {} as it was loaded", found.name()),
                right: "what the CPU decodes".into(),
                detail: "the bytes differ".into(),
            });
        }
    }
    Ok(())
}

/// Lets the system forget what it has read of a file, so that it is read from the disk again.
#[cfg(target_os = "linux")]
fn forget(path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::io("empty the page cache of", path, error);
    let file = std::fs::File::open(path).map_err(failed)?;
    // Pages that are not on the disk yet would stay.
    file.sync_all().map_err(failed)?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
        .map_err(|error| failed(error.into()))
}

#[cfg(not(target_os = "linux"))]
fn forget(path: &Path) -> Result<()> {
    Err(Error::InvalidArgument {
        what: format!("--cold for {}", shown(path)),
        detail: "only Linux forgets what it has read when asked to".into(),
    })
}

/// Loads the file as it is, to stay compressed.
fn keep(arguments: &Load, common: &Common, device: &Device, device_seconds: f64) -> Result<Answer> {
    let (checkpoint, open_seconds) = open(arguments)?;
    let options = options(arguments, common, progress::bar("Loading", common));
    let tensor_bytes: u64 =
        checkpoint.load_layout(&options)?.tensors.iter().map(|tensor| tensor.bytes).sum();
    let start = Instant::now();
    let resident = ResidentCheckpoint::load(checkpoint, device, &options)?;
    let seconds = start.elapsed().as_secs_f64();
    // On the CPU they stay in the file.
    let tried = if device.info().is_some() { "every tensor tried" } else { "none tried yet" };
    let text = format!(
        "Keeping {} compressed on {}\n{} bytes of device memory for {} bytes of tensors, {tried}, in \
         {seconds:.3} s (file opened in {open_seconds:.3} s, device in {device_seconds:.3} s)\n",
        printable(&shown(&arguments.file)),
        device.describe(),
        grouped(resident.device_bytes()),
        grouped(tensor_bytes),
    );
    let json = json!({
        "command": "load",
        "file": shown(&arguments.file),
        "device": device.describe(),
        "device_seconds": device_seconds,
        "open_seconds": open_seconds,
        "seconds": seconds,
        "compressed_bytes": resident.compressed_bytes(),
        "device_bytes": resident.device_bytes(),
        "tensor_bytes": tensor_bytes,
        "host_peak_bytes": host_peak_bytes(),
    });
    Ok(Answer { text, json })
}

fn answer(arguments: &Load, device: &Device, device_seconds: f64, runs: &[Run]) -> Answer {
    let mut table = Table::new(&[
        ("Load", Align::Right),
        ("Ready s", Align::Right),
        ("Tensors GB/s", Align::Right),
        ("File GB/s", Align::Right),
        ("Open s", Align::Right),
        ("Allocate s", Align::Right),
        ("Setup s", Align::Right),
        ("Read s", Align::Right),
        ("Checksum s", Align::Right),
        ("Copy wait s", Align::Right),
        ("Decode s", Align::Right),
    ]);
    for (number, run) in runs.iter().enumerate() {
        table.row(row(number, run));
    }
    let last = runs.last().map(|run| &run.report);
    let text = format!(
        "Loaded {} onto {}, which was ready in {device_seconds:.3} s\n{}{}",
        printable(&shown(&arguments.file)),
        device.describe(),
        table.render(),
        last.map(memory_text).unwrap_or_default(),
    );
    let json = json!({
        "command": "load",
        "file": shown(&arguments.file),
        "device": device.describe(),
        "device_seconds": device_seconds,
        "runs": runs.iter().map(keys).collect::<Vec<_>>(),
        "compared": arguments.compare,
        "host_peak_bytes": host_peak_bytes(),
    });
    Answer { text, json }
}

fn row(number: usize, run: &Run) -> [String; 11] {
    let Run { open_seconds, report } = run;
    let rate = |bytes: u64| format!("{:.2}", bytes as f64 / report.seconds.max(1e-9) / 1e9);
    let stage = |seconds: fn(&wcodec::StageTimes) -> f64| {
        report.stages.as_ref().map_or("-".into(), |stages| format!("{:.4}", seconds(stages)))
    };
    [
        (number + 1).to_string(),
        format!("{:.4}", report.seconds),
        rate(report.tensor_bytes),
        rate(report.file_bytes),
        format!("{open_seconds:.4}"),
        stage(|stages| stages.allocate_seconds),
        stage(|stages| stages.setup_seconds),
        stage(|stages| stages.read_seconds),
        stage(|stages| stages.checksum_seconds),
        stage(|stages| stages.copy_wait_seconds),
        stage(|stages| stages.decode_seconds),
    ]
}

fn memory_text(report: &LoadReport) -> String {
    let checksums = if report.checksums {
        "checksums compared"
    } else {
        "checksums NOT compared, as was asked for"
    };
    let host = host_peak_bytes().map_or("unknown".into(), grouped);
    format!(
        "{} bytes of {} tensors from {} bytes of the file, {} threads, {checksums}\nPeak bytes of memory: device {}, \
         pinned {}, host altogether {host}\n",
        grouped(report.tensor_bytes),
        grouped(report.tensors as u64),
        grouped(report.file_bytes),
        report.threads,
        grouped(report.device_bytes),
        grouped(report.pinned_bytes),
    )
}

fn keys(run: &Run) -> Value {
    let mut value = json!(run.report);
    value["open_seconds"] = run.open_seconds.into();
    value
}

/// The most memory that this process has had, where the system says.
fn host_peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
