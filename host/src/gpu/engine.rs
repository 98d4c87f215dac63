//! Launching of the decode kernels.

use cuda_driver::cust::context::{Context, CurrentContext};
use cuda_driver::cust::device::Device;
use cuda_driver::cust::launch;
use cuda_driver::cust::memory::{CopyDestination, DeviceBuffer};
use cuda_driver::cust::stream::Stream;

use codec::constants::LANES;
use codec::device::{status, tile_layout};

use super::device::{DeviceInfo, MIN_COMPUTE_CAPABILITY, devices, gpu};
use super::kernels::{Geometries, Kernels, THREADS};
use super::memory::upload;
use super::work::{Kernel, Work};
use crate::error::{Error, Result, quoted};
use crate::format::Index;

/// A device with its kernels loaded.
pub(crate) struct Engine {
    // Declared before the context, so that they are dropped while it exists.
    kernels: Kernels,
    geometries: std::sync::Mutex<Geometries>,
    context: Context,
    pub(crate) info: DeviceInfo,
}

/// The work of a decode, in device memory and ready to be launched any number of times.
pub(crate) struct PreparedWork {
    launches: Vec<PreparedLaunch>,
    tasks: DeviceBuffer<u8>,
    tables: DeviceBuffer<u8>,
    specs: DeviceBuffer<u8>,
    status: DeviceBuffer<u32>,
    /// For each status word: tensor and block.
    blocks: Vec<(usize, usize)>,
    tiles: Option<PreparedTiles>,
    references: Option<PreparedReferences>,
    classes: DeviceBuffer<u8>,
    /// Only for the kernels: what the classes point to.
    _class_lists: DeviceBuffer<u8>,
}

/// Tiles to reconstruct after everything else.
struct PreparedTiles {
    tasks: DeviceBuffer<u8>,
    task_count: u32,
    grid: u32,
    /// Only for the kernels: what their tasks point to.
    _modes: DeviceBuffer<u8>,
    _coded: DeviceBuffer<u8>,
}

/// References to undo when all else is done.
struct PreparedReferences {
    tasks: DeviceBuffer<u8>,
    task_count: u32,
    grid: u32,
}

/// The kernel that undoes references.
const REFERENCE_KERNEL: &str = "undo_references";
/// Thread blocks of it for each multiprocessor: all that one has room for.
const REFERENCE_BLOCKS_PER_MULTIPROCESSOR: u32 = 8;

/// The kernel that reconstructs tiles.
const TILE_KERNEL: &str = "reconstruct_tiles";
/// Thread blocks of it for each multiprocessor: as many warps as the other kernels get.
const TILE_BLOCKS_PER_MULTIPROCESSOR: u32 = 4;

struct PreparedLaunch {
    kernel: Kernel,
    groups: DeviceBuffer<u8>,
    group_count: u32,
    counters: DeviceBuffer<u32>,
    grid: u32,
    shared_bytes: u32,
}

impl Drop for Engine {
    /// The kernels are unloaded from the current context, on whatever thread this happens.
    fn drop(&mut self) {
        // Without it nothing can be unloaded, and the context takes the kernels with it.
        let _ = self.make_current();
    }
}

impl PreparedWork {
    /// Kernel launches that it takes.
    pub(crate) fn launch_count(&self) -> usize {
        let after = [self.tiles.is_some(), self.references.is_some()];
        self.launches.len() + after.into_iter().filter(|&is_there| is_there).count()
    }
}

impl Engine {
    /// Opens the device with the number `ordinal` and loads the kernels.
    pub(crate) fn new(ordinal: u32) -> Result<Self> {
        let all = devices()?;
        let Some(info) = all.into_iter().find(|device| device.ordinal == ordinal) else {
            return Err(Error::Gpu {
                action: format!("be used as cuda:{ordinal}"),
                detail: "there is no device with this number".into(),
            });
        };
        if !info.is_supported() {
            let (major, minor) = info.compute_capability;
            let (least_major, least_minor) = MIN_COMPUTE_CAPABILITY;
            return Err(Error::Gpu {
                action: "run the kernels".into(),
                detail: format!(
                    "{} has compute capability {major}.{minor}, and they need {least_major}.{least_minor}",
                    info.name
                ),
            });
        }
        let device = Device::get_device(ordinal).map_err(gpu("be found"))?;
        let context = Context::new(device).map_err(gpu("make a context"))?;
        let kernels = Kernels::load()?;
        Ok(Self { kernels, geometries: Default::default(), context, info })
    }

    /// Makes the device's context that of the calling thread.
    pub(crate) fn make_current(&self) -> Result<()> {
        CurrentContext::set_current(&self.context).map_err(gpu("make its context current"))
    }

    /// Copies the description of a decode to the device.
    pub(crate) fn prepare(&self, mut work: Work) -> Result<PreparedWork> {
        self.make_current()?;
        let tiles = self.prepare_tiles(&mut work)?;
        let references = self.prepare_references(&work)?;
        let class_lists = upload(&work.classes.lists)?;
        work.classes.place(class_lists.as_device_ptr().as_raw());
        let mut launches = Vec::with_capacity(work.launches.len());
        for launch in work.launches {
            let geometry = {
                let mut known = self.geometries.lock().unwrap_or_else(|error| error.into_inner());
                match known.get(&launch.kernel.name) {
                    Some(geometry) => *geometry,
                    None => {
                        let geometry = self.kernels.geometry(&launch.kernel)?;
                        known.insert(launch.kernel.name.clone(), geometry);
                        geometry
                    }
                }
            };
            let resident = self.info.multiprocessors * geometry.blocks_per_multiprocessor;
            let warps = THREADS / LANES as u32;
            launches.push(PreparedLaunch {
                groups: upload(&launch.groups)?,
                group_count: launch.groups.len() as u32,
                counters: DeviceBuffer::zeroed(launch.groups.len())
                    .map_err(gpu("allocate memory"))?,
                grid: resident.min((launch.tasks as u32).div_ceil(warps)).max(1),
                shared_bytes: geometry.shared_bytes,
                kernel: launch.kernel,
            });
        }
        let statuses = vec![status::NOT_DECODED; work.blocks.len().max(1)];
        Ok(PreparedWork {
            launches,
            tasks: upload(&work.tasks)?,
            tables: upload(&work.tables)?,
            specs: upload(&work.specs)?,
            status: DeviceBuffer::from_slice(&statuses).map_err(gpu("allocate memory"))?,
            blocks: work.blocks,
            tiles,
            references,
            classes: upload(&work.classes.records)?,
            _class_lists: class_lists,
        })
    }

    /// Allocates what blocks in tiles need, if there are any, and completes their tasks.
    fn prepare_tiles(&self, work: &mut Work) -> Result<Option<PreparedTiles>> {
        if work.tiles.tasks.is_empty() {
            return Ok(None);
        }
        // SAFETY: the kernels write every coded element before the tiles' kernel reads it; of a block
        // that they report as damaged any value will do.
        let coded = unsafe { DeviceBuffer::uninitialized(work.tiles.coded_bytes as usize) };
        let coded: DeviceBuffer<u8> = coded.map_err(gpu("allocate memory for coded elements"))?;
        let modes = upload(&work.tiles.modes)?;
        work.place(coded.as_device_ptr().as_raw(), modes.as_device_ptr().as_raw());
        let task_count = work.tiles.tasks.len() as u32;
        let resident = self.info.multiprocessors * TILE_BLOCKS_PER_MULTIPROCESSOR;
        Ok(Some(PreparedTiles {
            tasks: upload(&work.tiles.tasks)?,
            task_count,
            grid: resident.min(task_count.div_ceil(THREADS / LANES as u32)).max(1),
            _modes: modes,
            _coded: coded,
        }))
    }

    fn prepare_references(&self, work: &Work) -> Result<Option<PreparedReferences>> {
        if work.references.is_empty() {
            return Ok(None);
        }
        let task_count = work.references.len() as u32;
        let resident = self.info.multiprocessors * REFERENCE_BLOCKS_PER_MULTIPROCESSOR;
        let tasks = upload(&work.references)?;
        Ok(Some(PreparedReferences { tasks, task_count, grid: resident.min(task_count) }))
    }

    /// Queues the kernels of `work` on `stream`.
    ///
    /// # Safety
    ///
    /// The addresses that the work was made with are valid until the stream has passed this point.
    pub(crate) unsafe fn launch(&self, work: &mut PreparedWork, stream: &Stream) -> Result<()> {
        self.make_current()?;
        for prepared in &mut work.launches {
            let function = self.kernels.function(&prepared.kernel.name)?;
            let groups = prepared.groups.as_device_ptr().as_raw();
            let counters = prepared.counters.as_device_ptr().as_raw();
            let (tasks, tables) =
                (work.tasks.as_device_ptr().as_raw(), work.tables.as_device_ptr().as_raw());
            let status = work.status.as_device_ptr().as_raw();
            let specs = work.specs.as_device_ptr().as_raw();
            let classes = work.classes.as_device_ptr().as_raw();
            let (grid, shared, count) =
                (prepared.grid, prepared.shared_bytes, prepared.group_count);
            let launched = if prepared.kernel.general {
                // SAFETY: the buffers belong to `work`, and the caller keeps it and what its tasks
                // point to; the arguments are those of the kernel's signature.
                unsafe {
                    launch!(function<<<grid, THREADS, shared, stream>>>(
                        groups, count, counters, tasks, tables, status, specs, classes
                    ))
                }
            } else {
                // SAFETY: as above.
                unsafe {
                    launch!(function<<<grid, THREADS, shared, stream>>>(
                        groups, count, counters, tasks, tables, status
                    ))
                }
            };
            launched.map_err(gpu(&format!("launch {}", prepared.kernel.name)))?;
        }
        if let Some(tiles) = &work.tiles {
            let function = self.kernels.function(TILE_KERNEL)?;
            let (tasks, count) = (tiles.tasks.as_device_ptr().as_raw(), tiles.task_count);
            let shared = tile_layout::bytes(THREADS / LANES as u32);
            // SAFETY: the buffers belong to `work`, and the caller keeps it and what its tasks point
            // to; the arguments are those of the kernel's signature.
            let launched =
                unsafe { launch!(function<<<tiles.grid, THREADS, shared, stream>>>(tasks, count)) };
            launched.map_err(gpu(&format!("launch {TILE_KERNEL}")))?;
        }
        if let Some(references) = &work.references {
            let function = self.kernels.function(REFERENCE_KERNEL)?;
            let (tasks, count) = (references.tasks.as_device_ptr().as_raw(), references.task_count);
            let grid = references.grid;
            // SAFETY: the tasks belong to `work`, and the caller keeps what they point to; the
            // arguments are those of the kernel's signature.
            let launched = unsafe { launch!(function<<<grid, THREADS, 0, stream>>>(tasks, count)) };
            launched.map_err(gpu(&format!("launch {REFERENCE_KERNEL}")))?;
        }
        Ok(())
    }

    /// Makes `work` ready to be launched once more: the counters start at zero again.
    pub(crate) fn rewind(&self, work: &mut PreparedWork, stream: &Stream) -> Result<()> {
        self.make_current()?;
        for prepared in &mut work.launches {
            let (address, words) =
                (prepared.counters.as_device_ptr().as_raw(), prepared.counters.len());
            // SAFETY: the buffer has so many words and lives as long as `work`.
            let result =
                unsafe { cuda_driver::raw::cuMemsetD32Async(address, 0, words, stream.as_inner()) };
            if result != cuda_driver::raw::CUresult::CUDA_SUCCESS {
                return Err(Error::Gpu {
                    action: "clear its counters".into(),
                    detail: format!("{result:?}"),
                });
            }
        }
        Ok(())
    }

    /// Reads the status words, once the stream is done: an error names the first bad block.
    pub(crate) fn check(&self, work: &PreparedWork, index: &Index) -> Result<()> {
        self.make_current()?;
        let mut statuses = vec![0; work.status.len()];
        work.status.copy_to(&mut statuses).map_err(gpu("copy the status words"))?;
        for (&(tensor, block), &found) in work.blocks.iter().zip(&statuses) {
            if found != 0 {
                return Err(Error::Corrupt {
                    what: format!("tensor {}", quoted(&index.tensors[tensor].name)),
                    location: format!("block {block}"),
                    detail: describe(found),
                });
            }
        }
        Ok(())
    }
}

fn describe(found: u32) -> String {
    let names = [
        (status::LENGTH, "its parts do not fill it"),
        (status::INITIAL_STATE, "a lane begins below the lower bound"),
        (status::FINAL_STATE, "a lane does not end in the state that the encoder began with"),
        (status::WORDS, "its symbols take another number of words"),
        (status::ESCAPES, "its escapes differ from what its symbols announce"),
        (status::NOT_DECODED, "no kernel has decoded it"),
    ];
    let found: Vec<_> =
        names.iter().filter(|(bit, _)| found & bit != 0).map(|(_, name)| *name).collect();
    found.join(", and ")
}
