//! The kernels as PTX, and what a device makes of them.

use std::collections::BTreeMap;
use std::ffi::c_void;

use codec::constants::LANES;
use codec::device::{THREADS, shared_layout};
use cuda_driver::cust::module::Module;
use cuda_driver::cust::stream::Stream;
use cuda_driver::raw::{
    CUfunction, CUfunction_attribute_enum, CUresult, cuFuncGetAttribute, cuFuncSetAttribute,
    cuLaunchKernel, cuOccupancyMaxActiveBlocksPerMultiprocessor,
};

use super::device::{DeviceInfo, driver, gpu};
use super::work::{Kernel, Tables};
use crate::error::{Error, Result};

/// The kernels, for compute capability 8.0 and later; the driver compiles them for its device.
const PTX: &str = include_str!(env!("WCODEC_KERNELS_PTX"));

/// Warps of a thread block that has the tables of all classes, at most; fewer where there is not
/// enough work for all multiprocessors.
const MAX_WARPS_BY_CLASS: u32 = 16;

/// Warps of a thread block in which each has a table: so many have room on every device.
const WARPS_WITH_TABLES: u32 = 4;

/// What of a device says how many thread blocks of a kernel are best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Capacity {
    /// Streaming multiprocessors.
    multiprocessors: u32,
    /// Bytes that the memory moves while a multiprocessor's clock ticks once, for each of them.
    memory_bytes_per_cycle: f64,
}

impl Capacity {
    pub(super) fn of(info: &DeviceInfo) -> Self {
        let cycles = u64::from(info.multiprocessors) * info.clock_hz.max(1);
        Self {
            multiprocessors: info.multiprocessors,
            memory_bytes_per_cycle: info.memory_bytes_per_second as f64 / cycles as f64,
        }
    }

    /// Whether the kernels wait for instructions rather than for memory: an H200 has 18.8 bytes, an
    /// H100 12.8.
    fn has_fast_memory(self) -> bool {
        self.memory_bytes_per_cycle > 16.0
    }
}

/// Thread blocks of a multiprocessor, even where more fit, for so many tasks.
///
/// Warps hide each other's latency, and the more a lane decodes in a step, the fewer of them keep the
/// memory busy; those beyond that only spread the accesses over more pages. A lane with one state
/// hides less of it by itself, so that with few tasks more warps are better, unless the last of them
/// would have less to do than those of fewer. Measured, see `docs/kernels.md`.
fn max_blocks_per_multiprocessor(kernel: &Kernel, tasks: usize, device: Capacity) -> u32 {
    match (kernel.tables, kernel.step_bytes) {
        (Tables::ByClass(_), _) => 2,
        (Tables::OfWarp | Tables::None, _) => 4,
        (Tables::OfGroup, _) if kernel.has_symbols_of_bytes() => 6,
        (Tables::OfGroup, _) if kernel.has_pairs_of_words() => 2,
        (Tables::OfGroup, ..=3) => 4,
        (Tables::OfGroup, _) if device.has_fast_memory() => 4,
        (Tables::OfGroup, 4..=7) if kernel.has_one_state() => {
            three_or_four(tasks, device.multiprocessors)
        }
        (Tables::OfGroup, _) => 3,
    }
}

/// Four thread blocks where each of their warps gets few tasks and the last round of them leaves fewer
/// warps idle than with three.
fn three_or_four(tasks: usize, multiprocessors: u32) -> u32 {
    const FEW_TASKS_PER_WARP: usize = 5;
    let warps = |blocks: u32| (blocks * (THREADS / LANES as u32) * multiprocessors) as usize;
    let busy = |blocks: u32| {
        let rounds = tasks.div_ceil(warps(blocks));
        tasks as f64 / (rounds * warps(blocks)) as f64
    };
    if tasks < FEW_TASKS_PER_WARP * warps(4) && busy(4) >= busy(3) { 4 } else { 3 }
}

/// The loaded kernels.
pub(super) struct Kernels {
    module: Module,
}

/// A kernel of a loaded module. Looking one up by name takes the driver's lock, so it is done once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function(CUfunction);

// SAFETY: the driver takes the handle on any thread.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Function {
    /// Queues the kernel on `stream`, with so many thread blocks and threads of each. `arguments` point
    /// to one argument each.
    ///
    /// # Safety
    ///
    /// The module is loaded, in the current context; the arguments are those of the kernel's signature;
    /// what they point to on the device stays until the stream has passed this point.
    pub(super) unsafe fn launch(
        self,
        (grid, threads, shared_bytes): (u32, u32, u32),
        stream: &Stream,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        // SAFETY: the caller's promise; the arguments are copied before this returns.
        let launched = unsafe {
            cuLaunchKernel(
                self.0,
                grid,
                1,
                1,
                threads,
                1,
                1,
                shared_bytes,
                stream.as_inner(),
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        driver(launched, "launch a kernel")
    }
}

/// How many thread blocks of a kernel a multiprocessor has room for, and their shared memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) function: Function,
    pub(super) warps: u32,
    pub(super) blocks_per_multiprocessor: u32,
    pub(super) shared_bytes: u32,
}

/// Geometries by kernel and warps of a thread block, found once.
pub(super) type Geometries = BTreeMap<(Kernel, u32), Geometry>;

/// Warps of a kernel's thread block, for so many tasks on a device of so many multiprocessors.
pub(super) fn warps_for(kernel: &Kernel, tasks: usize, multiprocessors: u32) -> u32 {
    match kernel.tables {
        Tables::ByClass(_) => {
            (tasks.div_ceil(multiprocessors.max(1) as usize) as u32).clamp(1, MAX_WARPS_BY_CLASS)
        }
        Tables::OfWarp => WARPS_WITH_TABLES,
        Tables::OfGroup | Tables::None => THREADS / LANES as u32,
    }
}

impl Geometry {
    /// Thread blocks of a launch of so many tasks: as many as run at once, if there is work for them.
    pub(super) fn grid(&self, kernel: &Kernel, tasks: usize, device: Capacity) -> u32 {
        let most = max_blocks_per_multiprocessor(kernel, tasks, device);
        let resident = device.multiprocessors * self.blocks_per_multiprocessor.min(most);
        resident.min((tasks as u32).div_ceil(self.warps)).max(1)
    }
}

impl Kernels {
    /// Loads the kernels into the current context.
    pub(super) fn load() -> Result<Self> {
        let module = Module::from_ptx(PTX, &[]).map_err(gpu("load the kernels"))?;
        Ok(Self { module })
    }

    /// The kernel with this name, for as long as these are loaded.
    pub(super) fn function(&self, name: &str) -> Result<Function> {
        let function = self.module.get_function(name);
        let function = function.map_err(gpu(&format!("find the kernel {name}")))?;
        Ok(Function(function.to_raw()))
    }

    /// Lets a kernel use its shared memory, and asks how often it fits with thread blocks of so many
    /// warps.
    pub(super) fn geometry(&self, kernel: &Kernel, warps: u32) -> Result<Geometry> {
        let handle = self.function(&kernel.name())?;
        let function = handle.0;
        let shared_bytes = shared_layout::bytes(warps, kernel.warp, kernel.table_bytes(warps));
        let attribute = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let mut allowed = 0;
        // SAFETY: `function` belongs to a module that `self` keeps loaded in the current context; one
        // integer is written, to `allowed`.
        let mut set = unsafe { cuFuncGetAttribute(&mut allowed, attribute, function) };
        // Raised alone: the function may be launched with more by a kernel of other tables.
        if set == CUresult::CUDA_SUCCESS && allowed < shared_bytes as i32 {
            // SAFETY: as above.
            set = unsafe { cuFuncSetAttribute(function, attribute, shared_bytes as i32) };
        }
        let mut blocks = 0;
        // SAFETY: as above; one integer is written, to `blocks`.
        let asked = unsafe {
            cuOccupancyMaxActiveBlocksPerMultiprocessor(
                &mut blocks,
                function,
                (warps * LANES as u32) as i32,
                shared_bytes as usize,
            )
        };
        if [set, asked] != [CUresult::CUDA_SUCCESS; 2] || blocks < 1 {
            return Err(Error::Gpu {
                action: format!("run the kernel {}", kernel.name()),
                detail: format!("{set:?}, {asked:?}, {blocks} thread blocks fit"),
            });
        }
        Ok(Geometry {
            function: handle,
            warps,
            blocks_per_multiprocessor: blocks as u32,
            shared_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::gpu::DeviceInfo;

    use super::{Capacity, PTX, THREADS, three_or_four};

    #[test]
    fn a_fourth_block_runs_only_where_it_fills_the_last_round() {
        /// Of an H100: 24 warps each are 3168, 32 are 4224.
        const MULTIPROCESSORS: u32 = 132;
        let blocks = |tasks| three_or_four(tasks, MULTIPROCESSORS);
        // Two rounds of 4224 all but full, three of 3168 not.
        assert_eq!(blocks(8192), 4);
        // Two rounds of 3168 all but full, two of 4224 not.
        assert_eq!(blocks(6242), 3);
        // Both full: latency counts.
        assert_eq!(blocks(4 * 3168), 4);
        // Enough rounds for three to do.
        assert_eq!(blocks(5 * 4224), 3);
    }

    #[test]
    fn launch_bounds_have_come_into_the_ptx_and_allow_the_threads_of_a_launch() {
        let bounds: Vec<_> =
            PTX.lines().filter_map(|line| line.strip_prefix(".maxntid ")).collect();
        assert_eq!(bounds.len(), PTX.matches(".minnctapersm").count());
        assert!(!bounds.is_empty());
        assert!(bounds.iter().all(|bound| *bound == format!("{THREADS}, 1, 1")), "{bounds:?}");
    }

    #[test]
    fn memory_is_fast_by_what_it_moves_in_a_cycle() {
        let device = |name: &str, memory_bytes_per_second| DeviceInfo {
            ordinal: 0,
            name: name.into(),
            compute_capability: (9, 0),
            memory_bytes: 80 << 30,
            multiprocessors: 132,
            clock_hz: 1_980_000_000,
            memory_bytes_per_second,
            driver: (13, 0),
        };
        let is_fast = |info| Capacity::of(&info).has_fast_memory();
        assert!(!is_fast(device("H100", 2 * 2_619_000_000 * 640)));
        assert!(is_fast(device("H200", 2 * 3_201_000_000 * 768)));
        // A driver that does not say.
        assert!(!is_fast(device("unknown", 0)));
    }
}
