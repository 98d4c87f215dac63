//! `wcodec gpu`, and the choice of a device.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use wcodec::gpu::{Decoder, DeviceInfo, MIN_COMPUTE_CAPABILITY, devices};
use wcodec::{Error, Result};

use super::answer::{Answer, shown};
use super::arguments::DeviceChoice;
use super::table::printable;

/// Lists the devices; to have none is an answer too.
pub(super) fn run() -> Result<Answer> {
    let (devices, reason) = match devices() {
        Ok(devices) => (devices, None),
        Err(error @ Error::Gpu { .. }) => (Vec::new(), Some(error.to_string())),
        Err(error) => return Err(error),
    };
    let mut text: String = devices.iter().map(line).collect();
    if let Some(reason) = &reason {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "No GPU to decode on: {}", printable(reason));
    }
    let json = json!({
        "command": "gpu",
        "devices": devices.iter().map(keys).collect::<Vec<_>>(),
        "reason": reason,
    });
    Ok(Answer { text, json })
}

fn line(device: &DeviceInfo) -> String {
    let (major, minor) = device.compute_capability;
    let (driver_major, driver_minor) = device.driver;
    let (least_major, least_minor) = MIN_COMPUTE_CAPABILITY;
    let support = if device.is_supported() {
        String::new()
    } else {
        format!("; too old, the kernels need {least_major}.{least_minor}")
    };
    format!(
        "cuda:{}: {}, compute capability {major}.{minor}, {:.1} GiB, {} multiprocessors, \
         driver for CUDA {driver_major}.{driver_minor}{support}\n",
        device.ordinal,
        printable(&device.name),
        device.memory_bytes as f64 / (1u64 << 30) as f64,
        device.multiprocessors,
    )
}

fn keys(device: &DeviceInfo) -> Value {
    json!({
        "ordinal": device.ordinal,
        "name": device.name,
        "compute_capability": device.compute_capability,
        "memory_bytes": device.memory_bytes,
        "multiprocessors": device.multiprocessors,
        "clock_hz": device.clock_hz,
        "memory_bytes_per_second": device.memory_bytes_per_second,
        "driver": device.driver,
        "supported": device.is_supported(),
    })
}

/// The decoder for a choice; `None` is the CPU's ordinary way.
pub(super) fn decoder(choice: DeviceChoice) -> Result<Option<Arc<Decoder>>> {
    Ok(match choice {
        DeviceChoice::Cpu => None,
        DeviceChoice::Cuda(ordinal) => Some(Arc::new(Decoder::new(ordinal)?)),
        DeviceChoice::Auto => Some(Arc::new(Decoder::auto())),
    })
}

/// What the answers call a decoder.
pub(super) fn described(decoder: Option<&Arc<Decoder>>) -> String {
    decoder.map_or_else(|| "the CPU".to_owned(), |decoder| decoder.describe())
}

/// Directories are decoded on the CPU.
pub(super) fn refuse_directory(choice: DeviceChoice, input: &Path) -> Result<()> {
    match choice {
        DeviceChoice::Cpu | DeviceChoice::Auto => Ok(()),
        DeviceChoice::Cuda(ordinal) => Err(Error::InvalidArgument {
            what: format!("--device cuda:{ordinal} for the directory {}", shown(input)),
            detail: "directories are decoded on the CPU; name one of its files".into(),
        }),
    }
}
