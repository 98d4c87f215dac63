//! Persistent thread blocks that share a launch's tasks.
//!
//! Tasks are grouped by table. A thread block takes a group whose tasks are not all taken, copies
//! its table to shared memory, and each warp takes one task after the other from the group's
//! counter; when the group is exhausted the thread block goes on to the next one with work left.
//! So one launch serves any number of tensors and tables, and no multiprocessor waits for another.

use codec::device::staging::WarpMemory;
use codec::device::{BlockTask, KernelClasses, KernelTable, TaskGroup, shared_layout};
use cuda_std::shared::SharedAddress;
use cuda_std::{async_copy, global, thread, warp};

/// Threads of a warp.
pub const WARP: u32 = 32;
/// All lanes of a warp.
pub const ALL_LANES: u32 = u32::MAX;

/// Shared memory of a thread block, laid out as [`shared_layout`] says.
#[derive(Clone, Copy)]
pub struct SharedLayout {
    /// This warp's ring of words.
    pub words: SharedAddress,
    /// This warp's rings of raw planes.
    pub raw: SharedAddress,
    /// The entries of the decode table, or of several.
    pub entries: SharedAddress,
    /// The values of each symbol, u32 each.
    pub expanded: SharedAddress,
    group: SharedAddress,
}

impl SharedLayout {
    /// The layout with so much for each warp.
    #[inline(always)]
    fn new(memory: WarpMemory) -> Self {
        let base = SharedAddress::base();
        let start = SharedAddress(base.0.next_multiple_of(shared_layout::ALIGNMENT));
        let (warp, warps) = (thread::thread_idx_x() / WARP, thread::block_dim_x() / WARP);
        let entries = start.offset(shared_layout::table(warps, memory));
        Self {
            words: start.offset(warp * memory.words),
            raw: start.offset(shared_layout::raw(warps, memory) + warp * memory.raw),
            entries,
            expanded: entries.offset(shared_layout::EXPANDED),
            group: start.offset(shared_layout::group(warps, memory)),
        }
    }
}

/// The work of a launch, as kernels get it.
#[derive(Clone, Copy)]
pub struct Work {
    /// Groups of tasks.
    pub groups: *const TaskGroup,
    /// Number of groups.
    pub group_count: u32,
    /// For each group, how many of its tasks have been taken; zeros at launch.
    pub counters: *mut u32,
    /// All tasks.
    pub tasks: *const BlockTask,
    /// All tables.
    pub tables: *const KernelTable,
    /// A status word for each task, at its `status` position.
    pub status: *mut u32,
}

/// Runs `decode` for every task. It gets the task and the shared memory, in which each warp has
/// `memory` for itself and all have their group's table, and returns the task's status, the same in
/// all lanes.
///
/// # Safety
///
/// The pointers of `work` are valid for the numbers that they come with, the dynamic shared memory
/// has [`shared_layout::bytes`], and all threads of the thread block call this together.
#[inline(always)]
pub unsafe fn for_each_task(
    work: Work,
    memory: WarpMemory,
    decode: impl Fn(BlockTask, SharedLayout) -> u32,
) {
    let layout = SharedLayout::new(memory);
    let load = |group: TaskGroup| {
        // SAFETY: the caller's promise.
        unsafe {
            let table = work.tables.add(group.table as usize);
            copy_to_shared(table.cast(), layout.entries, shared_layout::TABLE_BYTES);
        }
        async_copy::commit();
        async_copy::wait::<0>();
    };
    // SAFETY: the caller's promise.
    unsafe { share(work, layout, load, |_, task| decode(task, layout)) };
}

/// The same without tables in shared memory.
///
/// # Safety
///
/// As for [`for_each_task`].
#[inline(always)]
pub unsafe fn for_each_task_without_table(work: Work, decode: impl Fn(BlockTask) -> u32) {
    let layout = SharedLayout::new(WarpMemory::NONE);
    // SAFETY: the caller's promise.
    unsafe { share(work, layout, |_| (), |_, task| decode(task)) };
}

/// The same for groups whose `table` is a position in `classes`, with the entries of all their tables
/// in shared memory.
///
/// # Safety
///
/// As for [`for_each_task`]; the lists of the classes are readable.
#[inline(always)]
pub unsafe fn for_each_task_by_class(
    work: Work,
    classes: *const KernelClasses,
    memory: WarpMemory,
    decode: impl Fn(BlockTask, SharedLayout, KernelClasses) -> u32,
) {
    let layout = SharedLayout::new(memory);
    // SAFETY: the caller's promise.
    let classes_of = |group: TaskGroup| unsafe { *classes.add(group.table as usize) };
    let load = |group: TaskGroup| {
        let classes = classes_of(group);
        let list = classes.table_list as *const u32;
        let mut number = 0;
        while number < classes.table_count {
            let target = layout.entries.offset(number * shared_layout::ENTRIES_BYTES);
            // SAFETY: the caller's promise; a table begins with its entries.
            unsafe {
                let table = work.tables.add(global::load_u32(list.add(number as usize)) as usize);
                copy_to_shared(table.cast(), target, shared_layout::ENTRIES_BYTES);
            }
            number += 1;
        }
        async_copy::commit();
        async_copy::wait::<0>();
    };
    let decode = |group, task| decode(task, layout, classes_of(group));
    // SAFETY: the caller's promise.
    unsafe { share(work, layout, load, decode) };
}

/// Takes group after group and task after task: `load` brings what a group's tasks have in common to
/// shared memory.
#[inline(always)]
unsafe fn share(
    work: Work,
    layout: SharedLayout,
    load: impl Fn(TaskGroup),
    decode: impl Fn(TaskGroup, BlockTask) -> u32,
) {
    // Thread blocks start at groups spread over the list, so that they do not all want the first.
    let start = u64::from(thread::block_idx_x()) * u64::from(work.group_count)
        / u64::from(thread::grid_dim_x());
    let mut looked_at = 0;
    while looked_at < work.group_count {
        // SAFETY: the caller's promise.
        let (skipped, group) = unsafe { next_group(work, layout, start as u32, looked_at) };
        looked_at += skipped;
        if looked_at >= work.group_count {
            break;
        }
        // SAFETY: the caller's promise; `group` is below `group_count`.
        unsafe {
            let group_record = *work.groups.add(group as usize);
            load(group_record);
            thread::sync_threads();
            take_tasks(work, group, group_record, |task| decode(group_record, task));
            // The next group's table must not replace this one's while a warp is still decoding.
            thread::sync_threads();
        }
        looked_at += 1;
    }
}

/// How many groups to skip from the `looked_at`th after `start` on until one with tasks left, and
/// that one's number. The first warp looks at 32 of them at a time.
#[inline(always)]
unsafe fn next_group(work: Work, layout: SharedLayout, start: u32, looked_at: u32) -> (u32, u32) {
    let lane = warp::lane_id();
    let wrap = |position: u32| {
        let number = start + position;
        if number >= work.group_count { number - work.group_count } else { number }
    };
    if thread::thread_idx_x() < WARP {
        let mut base = looked_at;
        loop {
            let position = base + lane;
            let open = position < work.group_count && {
                let group = wrap(position) as usize;
                // SAFETY: `group` is below `group_count`. A count that is stale only makes this
                // thread block look into a group in vain.
                unsafe {
                    global::load_u32_volatile(work.counters.add(group))
                        < (*work.groups.add(group)).tasks
                }
            };
            let ballot = warp::warp_vote_ballot(ALL_LANES, open);
            if ballot != 0 {
                base += ballot.trailing_zeros();
                break;
            }
            base += WARP;
            if base >= work.group_count {
                base = work.group_count;
                break;
            }
        }
        if lane == 0 {
            // SAFETY: this word is reserved for it.
            unsafe { layout.group.store_u32(base) };
        }
    }
    thread::sync_threads();
    // SAFETY: written above; all threads are past the barrier.
    let base = unsafe { layout.group.load_u32() };
    // Nobody writes the word again before the barriers of `share`; when there is nothing
    // left, nobody writes it at all.
    (base - looked_at, wrap(base.min(work.group_count - 1)))
}

/// Starts to copy `bytes` bytes, a multiple of 16, to shared memory, by all threads together.
#[inline(always)]
unsafe fn copy_to_shared(source: *const u8, target: SharedAddress, bytes: u32) {
    let mut at = thread::thread_idx_x() * 16;
    while at < bytes {
        // SAFETY: within what is copied and its room in shared memory.
        unsafe { async_copy::copy_16_partial(target.offset(at), source.add(at as usize), 16) };
        at += thread::block_dim_x() * 16;
    }
}

#[inline(always)]
unsafe fn take_tasks(work: Work, group: u32, record: TaskGroup, decode: impl Fn(BlockTask) -> u32) {
    // SAFETY: `group` is below `group_count`.
    let counter = unsafe { work.counters.add(group as usize) };
    loop {
        // Taking a task ahead of time would hide the counter's latency, and leave the last tasks
        // to warps that are still busy: measured, that costs more than it saves.
        let mut taken = 0;
        if warp::lane_id() == 0 {
            // SAFETY: the caller's promise.
            taken = unsafe { global::atomic_add_u32(counter, 1) };
        }
        let taken = warp::warp_shuffle_idx(ALL_LANES, taken, 0);
        if taken >= record.tasks {
            return;
        }
        // SAFETY: the host made `first_task + tasks` a position within the list.
        let task = unsafe { *work.tasks.add((record.first_task + taken) as usize) };
        let status = decode(task);
        if warp::lane_id() == 0 {
            // SAFETY: the host made `status` a position within the list.
            unsafe { global::store_u32(work.status.add(task.status as usize), status) };
        }
    }
}
