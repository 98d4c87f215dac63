//! Loading, and what has been loaded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::host;
use super::options::LoadOptions;
use super::report::LoadReport;
use super::selection::{Selected, Selection};
use crate::decode::{Checkpoint, Destination};
use crate::error::{Error, Result};
use crate::gpu::{Device, DeviceTensor, load_to_gpu};
use crate::safetensors::Dtype;

/// Tensors that are ready for use, all in one allocation.
pub struct LoadedCheckpoint {
    path: PathBuf,
    tensors: Vec<DeviceTensor>,
    /// Made when a name is first asked for.
    by_name: OnceLock<HashMap<String, usize>>,
    report: LoadReport,
}

impl std::fmt::Debug for LoadedCheckpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedCheckpoint")
            .field("path", &self.path)
            .field("tensors", &self.tensors.len())
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl LoadedCheckpoint {
    fn new(path: &Path, tensors: Vec<DeviceTensor>, report: LoadReport) -> Self {
        Self { path: path.to_owned(), tensors, by_name: OnceLock::new(), report }
    }

    /// What was loaded, in the order of the file.
    pub fn tensors(&self) -> &[DeviceTensor] {
        &self.tensors
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    ///
    /// When it was not loaded; the error suggests similar names.
    pub fn tensor(&self, name: &str) -> Result<&DeviceTensor> {
        let names = || self.tensors.iter().map(DeviceTensor::name);
        let numbered = || names().enumerate().map(|(number, name)| (name.to_owned(), number));
        let number = self.by_name.get_or_init(|| numbered().collect()).get(name);
        let number = number.ok_or_else(|| Error::tensor_not_found(&self.path, name, names()))?;
        Ok(&self.tensors[*number])
    }

    /// How loading went.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// The tensors by themselves; the last one that is dropped frees the memory of all.
    pub fn into_tensors(self) -> Vec<DeviceTensor> {
        self.tensors
    }
}

/// Where tensors lie in memory that the caller owns; see [`Checkpoint::load_into`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadLayout {
    /// Bytes of everything.
    pub total_bytes: u64,
    /// The tensors, in the order of the file.
    pub tensors: Vec<TensorLayout>,
}

/// A tensor of a [`LoadLayout`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorLayout {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Dimensions of what is loaded of it, the slowest first.
    pub shape: Vec<u64>,
    /// Its first byte, a multiple of [`TENSOR_ALIGNMENT`](crate::TENSOR_ALIGNMENT).
    pub offset: u64,
    /// Its bytes.
    pub bytes: u64,
}

impl TensorLayout {
    fn of(selected: &Selected<'_>) -> Self {
        Self {
            name: selected.tensor.name().to_owned(),
            dtype: selected.tensor.dtype(),
            shape: selected.shape.to_vec(),
            offset: selected.part.out,
            bytes: selected.byte_len(),
        }
    }
}

impl Checkpoint {
    /// Decodes tensors, or parts of them, into memory of `device`, all into one allocation.
    ///
    /// For a GPU, threads read the file into pinned memory and compare its checksums, while earlier
    /// bytes are copied and decoded. On the CPU the mapped file is decoded by the current rayon pool.
    ///
    /// ```
    /// # fn main() -> wcodec::Result<()> {
    /// # let options = wcodec::EncodeOptions::default();
    /// # let (encoded, _) = wcodec::encode_safetensors_bytes(wcodec::DEMO_CHECKPOINT, &options)?;
    /// # let checkpoint = wcodec::Checkpoint::from_bytes(encoded)?;
    /// use wcodec::{Device, LoadOptions};
    /// let options = LoadOptions { tensors: vec!["fp32.*".into()], ..LoadOptions::default() };
    /// let loaded = checkpoint.load(&Device::auto(), &options)?;
    /// let tensor = loaded.tensor("fp32.embeddings.LayerNorm.weight")?;
    /// println!("{:?} at {:?}", tensor.shape(), tensor.device_pointer());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When a name fits no tensor, the file is damaged or cannot be read, there is too little memory,
    /// the device fails, or it is cancelled. All memory is free again then.
    pub fn load(&self, device: &Device, options: &LoadOptions) -> Result<LoadedCheckpoint> {
        let start = Instant::now();
        let selection = Selection::new(self, options)?;
        let mut loaded = load_selection(self, device, &selection, options)?;
        loaded.report.seconds = start.elapsed().as_secs_f64();
        Ok(loaded)
    }

    /// Loads a shard onto each of several devices, all at the same time: by the rules of the options'
    /// shard, whose rank and count are those of the devices. They share the pinned memory of the
    /// options, and the threads.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::load`]; the first of all devices' errors.
    pub fn load_sharded(
        &self,
        devices: &[Device],
        options: &LoadOptions,
    ) -> Result<Vec<LoadedCheckpoint>> {
        let Some(rules) = &options.shard else {
            return Err(Error::InvalidArgument {
                what: "loading onto several devices".into(),
                detail: "the options have no shard that says along which dimensions".into(),
            });
        };
        let of_rank = |rank: usize| LoadOptions {
            shard: Some(rules.with_rank(rank, devices.len())),
            pinned_bytes: options.pinned_bytes / devices.len(),
            threads: options.threads_of_each(devices.len()),
            ..options.clone()
        };
        std::thread::scope(|scope| {
            let loads: Vec<_> = devices
                .iter()
                .enumerate()
                .map(|(rank, device)| {
                    let options = of_rank(rank);
                    scope.spawn(move || self.load(device, &options))
                })
                .collect();
            let panicked = |_| Error::Internal { detail: "a thread that loads panicked".into() };
            loads.into_iter().map(|load| load.join().map_err(panicked)?).collect()
        })
    }

    /// Where [`Checkpoint::load_into`] puts what.
    ///
    /// # Errors
    ///
    /// When a name fits no tensor, or a shard is impossible.
    pub fn load_layout(&self, options: &LoadOptions) -> Result<LoadLayout> {
        let selection = Selection::new(self, options)?;
        let tensors = selection.tensors.iter().map(TensorLayout::of).collect();
        Ok(LoadLayout { total_bytes: selection.total, tensors })
    }

    /// Decodes tensors into memory that the caller owns, by the layout of [`Checkpoint::load_layout`]
    /// with the same options. Gaps between tensors stay as they are.
    ///
    /// # Errors
    ///
    /// When `out` has another length than the layout, and as [`Checkpoint::load`]; what `out` holds
    /// then is unspecified.
    pub fn load_into(&self, out: &mut [u8], options: &LoadOptions) -> Result<LoadReport> {
        let start = Instant::now();
        let selection = Selection::new(self, options)?;
        if out.len() as u64 != selection.total {
            return Err(Error::InvalidArgument {
                what: format!("an output of {} bytes", out.len()),
                detail: format!("the layout has {} bytes; give exactly as many", selection.total),
            });
        }
        let report = host::decode(self, &selection, options, out, Destination::Memory)?;
        Ok(LoadReport { seconds: start.elapsed().as_secs_f64(), ..report })
    }
}

/// Loads what is selected of `checkpoint`.
pub(crate) fn load_selection(
    checkpoint: &Checkpoint,
    device: &Device,
    selection: &Selection<'_>,
    options: &LoadOptions,
) -> Result<LoadedCheckpoint> {
    let (tensors, report) = match device.engine() {
        Some(engine) => load_to_gpu(engine, checkpoint, selection, options)?,
        None => host::load(checkpoint, selection, options)?,
    };
    Ok(LoadedCheckpoint::new(checkpoint.path(), tensors, report))
}

/// A tensor on the CPU for each that is selected.
pub(super) fn on_host(
    selection: &Selection<'_>,
    memory: crate::gpu::HostMemory,
) -> Vec<DeviceTensor> {
    let memory = Arc::new(memory);
    let place = |tensor: &Selected<'_>| DeviceTensor::on_host(tensor, Arc::clone(&memory));
    selection.tensors.iter().map(place).collect()
}
