//! Runs kernels on the host, one lane after the other, with every access checked.
//!
//! Each thread of a launch is a coroutine; all of them share one thread of the host. A lane runs
//! until it calls a collective (ballot, shuffle, a barrier) or ends. A collective completes when all
//! lanes that its mask names have come to the same collective with the same mask; when that can no
//! longer happen, the launch fails and says who waits where, instead of hanging.
//!
//! What else makes a launch fail: an access outside the shared memory, outside the registered
//! ranges of global memory ([`Grid::global`]), or at an address that is no multiple of its size; a
//! shuffle from a lane that takes no part; a panic.
//!
//! Shared memory begins as [`POISON`]. Asynchronous copies move their bytes at the last moment that
//! the hardware may, when they are waited for, or at the first ([`CopyTiming`]); lanes go in
//! ascending or descending order ([`LaneOrder`]), and warps together or one ahead of the others
//! ([`Grid::warp_lead`]). So a missing wait or barrier changes results in at least one of these ways.
//!
//! Not seen: plain dereferences of pointers in a kernel, which are ordinary ones of the host, and
//! loops without collectives that do not end.
//!
//! ```
//! use cuda_std::emulator::{Grid, launch};
//! use cuda_std::{global, kernel, thread};
//!
//! /// # Safety
//! ///
//! /// `out` is writable for as many values as the launch has threads.
//! #[kernel]
//! pub unsafe fn count(out: *mut u32) {
//!     let number = thread::block_idx_x() * thread::block_dim_x() + thread::thread_idx_x();
//!     // SAFETY: the caller's promise.
//!     unsafe { global::store_u32(out.add(number as usize), number) };
//! }
//!
//! let mut out = [0; 64];
//! let address = out.as_mut_ptr();
//! let grid = Grid { blocks: 2, threads_per_block: 32, ..Grid::default() };
//! // SAFETY: `out` has 64 values.
//! launch(&grid, move || unsafe { count(address) })?;
//! assert!(out.iter().enumerate().all(|(at, &value)| at as u32 == value));
//! # Ok::<(), cuda_std::emulator::EmulationError>(())
//! ```

pub(crate) mod context;
mod copies;
mod error;
mod memory;
mod scheduler;

use std::rc::Rc;

pub use error::{Access, Collective, EmulationError, Lanes, Space, ThreadPosition};
pub use memory::{GlobalRange, POISON, SHARED_BASE};

/// Threads that a thread block may have, as on hardware.
pub const MAX_THREADS_PER_BLOCK: u32 = 1024;

/// How a kernel is launched.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Thread blocks, all in flight together.
    pub blocks: u32,
    /// Threads of each thread block.
    pub threads_per_block: u32,
    /// Bytes of dynamic shared memory of each thread block.
    pub shared_bytes: u32,
    /// The global memory that the kernel may access; `None` to leave that unchecked.
    pub global: Option<Vec<GlobalRange>>,
    /// The order in which lanes run between collectives.
    pub lane_order: LaneOrder,
    /// How many collectives of its own a warp may complete while the others of its thread block
    /// wait for their turn; with 0 all warps advance together.
    pub warp_lead: u32,
    /// When asynchronous copies move their bytes.
    pub copy_timing: CopyTiming,
}

impl Default for Grid {
    /// One thread block of one warp, without shared memory; global memory unchecked.
    fn default() -> Self {
        Self {
            blocks: 1,
            threads_per_block: crate::warp::WARP_SIZE,
            shared_bytes: 0,
            global: None,
            lane_order: LaneOrder::Ascending,
            warp_lead: 0,
            copy_timing: CopyTiming::Late,
        }
    }
}

/// The order in which the threads of a thread block run between collectives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneOrder {
    /// Lane 0 first.
    Ascending,
    /// Lane 0 last.
    Descending,
}

/// When asynchronous copies move their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyTiming {
    /// When they are waited for: without a wait, never.
    Late,
    /// When they are issued: over anything that another lane has yet to read.
    Early,
}

/// Calls `kernel` for each thread of `grid`.
///
/// # Errors
///
/// The first thing that goes wrong, as the [module](self) lists them; also a grid without threads
/// or with more than [`MAX_THREADS_PER_BLOCK`] in a thread block, and a launch from within a
/// kernel. Memory is then left as it was at that point.
pub fn launch(grid: &Grid, kernel: impl Fn() + 'static) -> Result<(), EmulationError> {
    if grid.blocks == 0 || !(1..=MAX_THREADS_PER_BLOCK).contains(&grid.threads_per_block) {
        let (blocks, threads_per_block) = (grid.blocks, grid.threads_per_block);
        return Err(EmulationError::Grid { blocks, threads_per_block });
    }
    let active = context::Active::enter(grid)?;
    scheduler::run(&active, Rc::new(kernel))
}
