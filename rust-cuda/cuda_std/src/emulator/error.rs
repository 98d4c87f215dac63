//! What can go wrong in a launch.

use std::fmt;

use crate::warp::WARP_SIZE;

/// A thread of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadPosition {
    /// Its thread block's number in the grid.
    pub block: u32,
    /// Its number in the thread block.
    pub thread: u32,
}

impl fmt::Display for ThreadPosition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (warp, lane) = (self.thread / WARP_SIZE, self.thread % WARP_SIZE);
        write!(formatter, "block {}, thread {} (warp {warp}, lane {lane})", self.block, self.thread)
    }
}

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It loads.
    Read,
    /// It stores, or loads and stores.
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Access::Read => "read",
            Access::Write => "write",
        })
    }
}

/// An address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The memory of the whole device.
    Global,
    /// The dynamic shared memory of a thread block.
    Shared,
}

impl fmt::Display for Space {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Space::Global => "global",
            Space::Shared => "shared",
        })
    }
}

/// Something that lanes do together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collective {
    /// [`crate::warp::warp_vote_ballot`].
    Ballot {
        /// The lanes that take part.
        mask: u32,
    },
    /// [`crate::warp::warp_shuffle_idx`].
    Shuffle {
        /// The lanes that take part.
        mask: u32,
    },
    /// [`crate::warp::sync_warp`].
    SyncWarp {
        /// The lanes that take part.
        mask: u32,
    },
    /// [`crate::thread::sync_threads`].
    SyncThreads,
}

impl Collective {
    /// The lanes of the caller's warp that take part.
    pub(crate) fn mask(self) -> u32 {
        match self {
            Self::Ballot { mask } | Self::Shuffle { mask } | Self::SyncWarp { mask } => mask,
            Self::SyncThreads => u32::MAX,
        }
    }
}

impl fmt::Display for Collective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ballot { mask } => write!(formatter, "warp_vote_ballot with mask {mask:#010x}"),
            Self::Shuffle { mask } => write!(formatter, "warp_shuffle_idx with mask {mask:#010x}"),
            Self::SyncWarp { mask } => write!(formatter, "sync_warp with mask {mask:#010x}"),
            Self::SyncThreads => formatter.write_str("sync_threads"),
        }
    }
}

/// Lanes of a warp that are at the same point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lanes {
    /// The warp's number in its thread block.
    pub warp: u32,
    /// Bit `i` for lane `i`.
    pub lanes: u32,
    /// What they have come to; `None` when they have ended, or do not exist.
    pub waiting_at: Option<Collective>,
}

impl fmt::Display for Lanes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "lanes {:#010x} of warp {} ", self.lanes, self.warp)?;
        match self.waiting_at {
            Some(collective) => write!(formatter, "are at {collective}"),
            None => formatter.write_str("have ended"),
        }
    }
}

/// Why a launch failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmulationError {
    /// The grid has no threads, or too many in a thread block.
    #[error(
        "cannot launch {blocks} thread blocks of {threads_per_block} threads: \
         take at least 1 thread block, and 1 to 1024 threads in each"
    )]
    Grid {
        /// Thread blocks.
        blocks: u32,
        /// Threads of each.
        threads_per_block: u32,
    },
    /// A kernel launched another one.
    #[error("a kernel cannot launch another one: call `launch` from outside of kernels")]
    Nested,
    /// The host has no memory for a thread's stack.
    #[error("{thread}: cannot allocate a stack: {message}")]
    Stack {
        /// The thread.
        thread: ThreadPosition,
        /// What the host said.
        message: String,
    },
    /// An access lies outside of what the kernel may access so.
    #[error("{thread}: {access} of {bytes} bytes at {address:#x} is outside the {space} memory")]
    OutOfRange {
        /// The thread that accesses.
        thread: ThreadPosition,
        /// The address space.
        space: Space,
        /// What it does.
        access: Access,
        /// Where.
        address: usize,
        /// How many bytes.
        bytes: usize,
    },
    /// An access is at an address that is no multiple of its size.
    #[error(
        "{thread}: {access} of {bytes} bytes of {space} memory at {address:#x}, \
         which is no multiple of {bytes}"
    )]
    Misaligned {
        /// The thread that accesses.
        thread: ThreadPosition,
        /// The address space.
        space: Space,
        /// What it does.
        access: Access,
        /// Where.
        address: usize,
        /// How many bytes.
        bytes: usize,
    },
    /// An asynchronous copy is to take more bytes than it writes.
    #[error("{thread}: an asynchronous copy of {bytes} bytes: it takes at most 16")]
    CopySize {
        /// The thread that copies.
        thread: ThreadPosition,
        /// The bytes.
        bytes: u32,
    },
    /// A lane calls a collective that it takes no part in.
    #[error("{thread}: calls {collective}, which does not name its own lane")]
    ForeignMask {
        /// The lane's thread.
        thread: ThreadPosition,
        /// What it calls.
        collective: Collective,
    },
    /// A lane asks for the value of one that takes no part in the shuffle.
    #[error("{thread}: {collective} takes the value of lane {source_lane}, which takes no part")]
    ShuffleSource {
        /// The asking lane's thread.
        thread: ThreadPosition,
        /// The shuffle.
        collective: Collective,
        /// The lane asked.
        source_lane: u32,
    },
    /// Lanes wait for others that never come.
    #[error("block {block}: {waiting}, but {missing}, so that nobody can go on")]
    Divergence {
        /// The thread block.
        block: u32,
        /// Those who wait.
        waiting: Lanes,
        /// Those who should come.
        missing: Lanes,
    },
    /// A thread panicked.
    #[error("{thread}: panicked: {message}")]
    Panic {
        /// The thread.
        thread: ThreadPosition,
        /// The panic's message.
        message: String,
    },
}
