//! Launching of the decode kernels.

use std::ffi::c_void;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use cuda_driver::cust::context::{Context, CurrentContext};
use cuda_driver::cust::device::Device;
use cuda_driver::cust::memory::DeviceBuffer;
use cuda_driver::cust::stream::Stream;
use cuda_driver::raw::cuMemcpyHtoDAsync_v2;

use codec::constants::LANES;
use codec::device::{THREADS, status, tile_layout};

use super::branches::Branches;
use super::description::{Description, LaunchSections};
use super::device::{DeviceInfo, MIN_COMPUTE_CAPABILITY, devices, driver, gpu};
use super::kernels::{Capacity, Function, Geometries, Geometry, Kernels, warps_for};
use super::memory::download;
use super::work::{Kernel, Tables, Work};
use super::workspace::Workspaces;
use crate::error::{Error, Result, quoted};
use crate::format::Index;

/// A device with its kernels loaded.
pub(crate) struct Engine {
    // Declared before the context, so that they are dropped while it exists.
    kernels: Kernels,
    tiles: Function,
    references: Function,
    copies: Function,
    geometries: Mutex<Geometries>,
    branches: Mutex<Branches>,
    /// Pinned memory and streams that no load is using.
    pub(super) workspaces: Workspaces,
    context: Context,
    pub(crate) info: DeviceInfo,
}

/// Kernel launches of a decode, with the addresses of what they read.
pub(crate) struct LaunchPlan {
    launches: Vec<PreparedLaunch>,
    /// The number of the launch with most tasks.
    largest: usize,
    tasks: u64,
    tables: u64,
    specs: u64,
    status: u64,
    classes: u64,
    /// Address and length in words of the counters, which a decode leaves as it ended.
    counters: (u64, usize),
    tiles: Option<SimpleLaunch>,
    references: Option<SimpleLaunch>,
    copies: Option<SimpleLaunch>,
}

/// A launch of a kernel that takes tasks and their number.
#[derive(Debug, Clone, Copy)]
struct SimpleLaunch {
    tasks: u64,
    task_count: u32,
    grid: u32,
}

impl SimpleLaunch {
    /// Queues it on `stream`.
    ///
    /// # Safety
    ///
    /// As for [`Function::launch`]; the kernel takes tasks and their number.
    unsafe fn queue(
        mut self,
        function: Function,
        shared_bytes: u32,
        stream: &Stream,
    ) -> Result<()> {
        let mut arguments = [argument(&mut self.tasks), argument(&mut self.task_count)];
        // SAFETY: the caller's promise.
        unsafe { function.launch((self.grid, THREADS, shared_bytes), stream, &mut arguments) }
    }
}

/// The kernel that undoes references.
const REFERENCE_KERNEL: &str = "undo_references";
/// Thread blocks of it for each multiprocessor: all that one has room for.
const REFERENCE_BLOCKS_PER_MULTIPROCESSOR: u32 = 8;

/// The kernel that copies what is wanted to its place.
const COPY_KERNEL: &str = "copy_rectangles";
/// Thread blocks of it for each multiprocessor: more than enough of them to keep the memory busy.
const COPY_BLOCKS_PER_MULTIPROCESSOR: u32 = 4;

/// The kernel that reconstructs tiles.
const TILE_KERNEL: &str = "reconstruct_tiles";
/// Thread blocks of it for each multiprocessor: as many warps as the other kernels get.
const TILE_BLOCKS_PER_MULTIPROCESSOR: u32 = 4;

struct PreparedLaunch {
    function: Function,
    /// Whether it takes specs and classes, and looks tables up by them.
    has_specs: bool,
    groups: u64,
    group_count: u32,
    counters: u64,
    grid: u32,
    threads: u32,
    shared_bytes: u32,
    /// Whether all tiles are made of what it decodes: their kernel follows it at once then.
    has_all_tiles: bool,
}

/// The work of a decode, in device memory of its own and ready to be launched any number of times.
pub(crate) struct PreparedWork {
    plan: LaunchPlan,
    status: Range<usize>,
    /// For each status word: tensor and block.
    blocks: Vec<(usize, usize)>,
    description: DeviceBuffer<u8>,
    /// Only for the kernels.
    coded: Option<DeviceBuffer<u8>>,
}

impl Drop for Engine {
    /// The kernels are unloaded from the current context, on whatever thread this happens.
    fn drop(&mut self) {
        // Without it nothing can be unloaded, and the context takes the kernels with it.
        let _ = self.make_current();
    }
}

/// Launches in the order in which they are queued, and the number of the one with most tasks. Those whose
/// blocks take longest, of the general kernels, begin first; after them what would find the device full of the
/// largest; and what takes next to no time comes last.
fn in_order(launches: &[LaunchSections]) -> (Vec<&LaunchSections>, usize) {
    let mut ordered: Vec<_> = launches.iter().collect();
    ordered.sort_by_key(|launch| std::cmp::Reverse(launch.tasks));
    let Some((_, others)) = ordered.split_first_mut() else { return (ordered, 0) };
    let rank = |launch: &LaunchSections| match launch.kernel.tables {
        Tables::OfWarp => 0,
        Tables::OfGroup | Tables::ByClass(_) => 1,
        Tables::None => 2,
    };
    // Stable, so that of each rank the largest are the first.
    others.sort_by_key(|launch| rank(launch));
    let largest_at = others.partition_point(|launch| rank(launch) < 2);
    ordered[..=largest_at].rotate_left(1);
    (ordered, largest_at)
}

impl LaunchPlan {
    /// Kernel launches that it takes.
    pub(crate) fn launch_count(&self) -> usize {
        let after = [self.tiles.is_some(), self.references.is_some(), self.copies.is_some()];
        self.launches.len() + after.into_iter().filter(|&is_there| is_there).count()
    }
}

impl PreparedWork {
    pub(crate) fn plan(&self) -> &LaunchPlan {
        &self.plan
    }

    /// Bytes of device memory that it takes.
    pub(crate) fn device_bytes(&self) -> u64 {
        let coded = self.coded.as_ref().map_or(0, |coded| coded.len());
        (self.description.len() + coded) as u64
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
        let (tiles, references) =
            (kernels.function(TILE_KERNEL)?, kernels.function(REFERENCE_KERNEL)?);
        let copies = kernels.function(COPY_KERNEL)?;
        Ok(Self {
            kernels,
            tiles,
            references,
            copies,
            geometries: Default::default(),
            branches: Mutex::new(Branches::new()?),
            workspaces: Workspaces::default(),
            context,
            info,
        })
    }

    /// Makes the device's context that of the calling thread.
    pub(crate) fn make_current(&self) -> Result<()> {
        CurrentContext::set_current(&self.context).map_err(gpu("make its context current"))
    }

    /// The launches of a decode whose description lies at `address` in device memory.
    pub(super) fn plan(&self, described: &Description, address: u64) -> Result<LaunchPlan> {
        let sections = described.sections();
        let at = |offset: usize| address + offset as u64;
        let warps = THREADS / LANES as u32;
        let mut launches = Vec::with_capacity(sections.launches.len());
        let launches_with_tiles =
            sections.launches.iter().filter(|launch| launch.has_tiles).count();
        let (ordered, largest) = in_order(&sections.launches);
        for launch in ordered {
            let (kernel, geometry) = self.geometry(&launch.kernel, launch.tasks)?;
            let grid = geometry.grid(&kernel, launch.tasks, Capacity::of(&self.info));
            launches.push(PreparedLaunch {
                function: geometry.function,
                has_specs: kernel.tables != Tables::OfGroup,
                groups: at(launch.groups),
                group_count: launch.group_count,
                counters: at(launch.counters),
                grid,
                threads: geometry.warps * LANES as u32,
                shared_bytes: geometry.shared_bytes,
                has_all_tiles: launch.has_tiles && launches_with_tiles == 1,
            });
        }
        let simple = |tasks: usize, task_count: u32, resident: u32, per_block: u32| {
            let resident = self.info.multiprocessors * resident;
            (task_count > 0).then(|| SimpleLaunch {
                tasks: at(tasks),
                task_count,
                grid: resident.min(task_count.div_ceil(per_block)),
            })
        };
        let tile_tasks = described.tile_task_count();
        let references = described.reference_count();
        let copies = described.copy_count();
        Ok(LaunchPlan {
            launches,
            largest,
            tasks: at(sections.tasks),
            tables: at(sections.tables),
            specs: at(sections.specs),
            status: at(sections.status.start),
            classes: at(sections.classes),
            counters: (at(sections.counters.start), sections.counters.len() / size_of::<u32>()),
            tiles: simple(sections.tile_tasks, tile_tasks, TILE_BLOCKS_PER_MULTIPROCESSOR, warps),
            references: simple(
                sections.references,
                references,
                REFERENCE_BLOCKS_PER_MULTIPROCESSOR,
                1,
            ),
            copies: simple(sections.copies, copies, COPY_BLOCKS_PER_MULTIPROCESSOR, warps),
        })
    }

    /// How to launch a kernel for so many tasks, or the one that takes its work where it does not fit.
    fn geometry(&self, kernel: &Kernel, tasks: usize) -> Result<(Kernel, Geometry)> {
        let warps = warps_for(kernel, tasks, self.info.multiprocessors);
        let key = (*kernel, warps);
        let mut known = self.geometries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(geometry) = known.get(&key) {
            return Ok((key.0, *geometry));
        }
        match (self.kernels.geometry(kernel, warps), kernel.fallback()) {
            (Ok(geometry), _) => {
                known.insert(key, geometry);
                Ok((key.0, geometry))
            }
            (Err(_), Some(fallback)) => {
                drop(known);
                self.geometry(&fallback, tasks)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Copies the description of a decode to device memory of its own, and waits for `stream` to have
    /// done so.
    pub(crate) fn prepare(&self, work: Work, stream: &Stream) -> Result<PreparedWork> {
        self.make_current()?;
        let described = Description::new(work);
        let allocate = |bytes: usize, what: &str| {
            // SAFETY: the description is copied there before anything reads it, and the kernels
            // write every coded element before the tiles' kernel reads it; of a block that they
            // report as damaged any value will do.
            let buffer = unsafe { DeviceBuffer::<u8>::uninitialized(bytes.max(1)) };
            buffer.map_err(gpu(&format!("allocate {bytes} bytes for {what}")))
        };
        let description = allocate(described.byte_len(), "the description of the blocks")?;
        let coded = match described.coded_bytes() as usize {
            0 => None,
            bytes => Some(allocate(bytes, "coded elements")?),
        };
        let address = description.as_device_ptr().as_raw();
        let coded_at = coded.as_ref().map_or(0, |coded| coded.as_device_ptr().as_raw());
        let plan = self.plan(&described, address)?;
        let mut bytes = vec![0; described.byte_len().max(1)];
        let (sections, blocks) = described.write(address, coded_at, &mut bytes);
        // SAFETY: both have as many bytes, and stay as they are until the stream has been waited for.
        let copied = unsafe {
            cuMemcpyHtoDAsync_v2(address, bytes.as_ptr().cast(), bytes.len(), stream.as_inner())
        };
        driver(copied, "copy the description of the blocks")?;
        stream.synchronize().map_err(gpu("copy the description of the blocks"))?;
        Ok(PreparedWork { plan, status: sections.status, blocks, description, coded })
    }

    /// Queues the kernels of `plan` on `stream`, or beside it where they need not wait for each other:
    /// `stream` goes on when all are done. The device's context is the calling thread's.
    ///
    /// # Safety
    ///
    /// The description of the plan, and the addresses that its work was made with, are valid until
    /// the stream has passed this point; what its tasks write is not otherwise used meanwhile.
    pub(crate) unsafe fn launch(&self, plan: &LaunchPlan, stream: &Stream) -> Result<()> {
        let LaunchPlan { mut tasks, mut tables, mut specs, mut status, mut classes, .. } = *plan;
        let tile_bytes = tile_layout::bytes(THREADS / LANES as u32);
        let queue_tiles = |stream: &Stream| match plan.tiles {
            // SAFETY: the caller's promise.
            Some(launch) => unsafe { launch.queue(self.tiles, tile_bytes, stream) },
            None => Ok(()),
        };
        let mut queue = |prepared: &PreparedLaunch, stream: &Stream| {
            let PreparedLaunch { mut groups, mut group_count, mut counters, .. } = *prepared;
            let mut arguments = [
                argument(&mut groups),
                argument(&mut group_count),
                argument(&mut counters),
                argument(&mut tasks),
                argument(&mut tables),
                argument(&mut status),
                argument(&mut specs),
                argument(&mut classes),
            ];
            let count = if prepared.has_specs { 8 } else { 6 };
            let shape = (prepared.grid, prepared.threads, prepared.shared_bytes);
            // SAFETY: the caller keeps the description and what its tasks point to; the arguments are
            // those of the kernel's signature.
            unsafe { prepared.function.launch(shape, stream, &mut arguments[..count])? };
            if prepared.has_all_tiles { queue_tiles(stream) } else { Ok(()) }
        };
        let branches = self.branches.lock().unwrap_or_else(PoisonError::into_inner);
        branches.run(stream, &plan.launches, plan.largest, &mut queue)?;
        drop(branches);
        if !plan.launches.iter().any(|launch| launch.has_all_tiles) {
            queue_tiles(stream)?;
        }
        for (launch, function) in [(plan.references, self.references), (plan.copies, self.copies)] {
            if let Some(launch) = launch {
                // SAFETY: the caller's promise.
                unsafe { launch.queue(function, 0, stream)? };
            }
        }
        Ok(())
    }

    /// Makes `plan` ready to be launched once more: the counters start at zero again.
    ///
    /// # Safety
    ///
    /// The description of the plan is valid until the stream has passed this point.
    pub(crate) unsafe fn rewind(&self, plan: &LaunchPlan, stream: &Stream) -> Result<()> {
        let (address, words) = plan.counters;
        if words == 0 {
            return Ok(());
        }
        // SAFETY: the description has so many words there, as the caller promises.
        let result =
            unsafe { cuda_driver::raw::cuMemsetD32Async(address, 0, words, stream.as_inner()) };
        driver(result, "clear its counters")
    }

    /// Reads the status words, once the stream is done: an error names the first bad block.
    pub(crate) fn check(&self, work: &PreparedWork, index: &Index) -> Result<()> {
        self.make_current()?;
        let mut statuses = vec![0; work.status.len()];
        download(self, &work.description, work.status.start, &mut statuses)?;
        check_statuses(&statuses, &work.blocks, index)
    }
}

/// An argument of a kernel, as a launch takes it.
fn argument<T>(value: &mut T) -> *mut c_void {
    std::ptr::from_mut(value).cast()
}

/// Looks at status words: an error names the first bad block.
pub(super) fn check_statuses(
    statuses: &[u8],
    blocks: &[(usize, usize)],
    index: &Index,
) -> Result<()> {
    for (&(tensor, block), found) in blocks.iter().zip(statuses.chunks_exact(size_of::<u32>())) {
        let found = u32::from_le_bytes(found.try_into().unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::work::Kernel;

    #[test]
    fn long_blocks_begin_first_and_the_rest_follows_the_largest() {
        let launch = |kernel: Kernel, tasks: usize| LaunchSections {
            kernel,
            tasks,
            groups: 0,
            group_count: 1,
            counters: 0,
            has_tiles: false,
        };
        let (long, short) = (|width| Kernel::general(width, true), Kernel::general(1, false));
        let order = |launches: &[LaunchSections]| {
            let (ordered, largest) = in_order(launches);
            (ordered.iter().map(|launch| launch.tasks).collect::<Vec<_>>(), largest)
        };
        let launches =
            [launch(short, 3), launch(long(2), 5), launch(long(4), 900), launch(long(8), 7)];
        assert_eq!(order(&launches), (vec![7, 5, 900, 3], 2));
        assert_eq!(order(&[launch(long(2), 5), launch(short, 9)]), (vec![5, 9], 1));
        assert_eq!(order(&[launch(short, 2), launch(short, 9)]), (vec![9, 2], 0));
        assert_eq!(order(&launches[..1]), (vec![3], 0));
        assert_eq!(order(&[]), (vec![], 0));
    }
}
