//! Persistent thread blocks that share a launch's tasks.
//!
//! Tasks are grouped by table. A thread block takes a task for each of its warps from a group with tasks
//! left, and copies the group's table to shared memory. Each warp decodes its task, and then takes one
//! after the other from the group's counter; when the group is exhausted the thread block goes on to the
//! next one with tasks left. So one launch serves any number of tensors and tables, and no
//! multiprocessor waits for another.

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
    in_hand: InHand,
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
            in_hand: InHand(start.offset(shared_layout::in_hand(warps, memory))),
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
            copy_to_shared(table.cast(), layout.entries, shared_layout::TABLE_BYTES, all_threads());
        }
    };
    // SAFETY: the caller's promise.
    unsafe { share(work, layout.in_hand, load, &|_, task| decode(task, layout)) };
}

/// The same for kernels that look their tables up themselves: there is room for a table for each warp
/// where the group's would be.
///
/// # Safety
///
/// As for [`for_each_task`].
#[inline(always)]
pub unsafe fn for_each_task_with_own_tables(work: Work, decoder: &impl Decode) {
    let shared = SharedLayout::new(WarpMemory::GENERAL);
    // SAFETY: the caller's promise.
    unsafe { share(work, shared.in_hand, |_| (), &WithOwnTables { decoder, shared }) };
}

/// How blocks are decoded. A trait, since a closure as long as the general kernels would become a function,
/// of which the assembler doesn't know that all lanes call it together: it then makes sure of that before
/// every collective.
pub trait Decode {
    /// Decodes a block and returns its status, the same in all lanes.
    ///
    /// # Safety
    ///
    /// The task is one of the launch's, and the shared memory that of the kernel.
    unsafe fn decode(&self, task: BlockTask, shared: SharedLayout) -> u32;
}

/// The same for a task of a group.
trait DecodeInGroup {
    unsafe fn decode(&self, group: TaskGroup, task: BlockTask) -> u32;
}

impl<F: Fn(TaskGroup, BlockTask) -> u32> DecodeInGroup for F {
    #[inline(always)]
    unsafe fn decode(&self, group: TaskGroup, task: BlockTask) -> u32 {
        self(group, task)
    }
}

/// Of a kernel whose groups have nothing in common.
struct WithOwnTables<'a, D> {
    decoder: &'a D,
    shared: SharedLayout,
}

impl<D: Decode> DecodeInGroup for WithOwnTables<'_, D> {
    #[inline(always)]
    unsafe fn decode(&self, _: TaskGroup, task: BlockTask) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { self.decoder.decode(task, self.shared) }
    }
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
                copy_to_shared(table.cast(), target, shared_layout::ENTRIES_BYTES, all_threads());
            }
            number += 1;
        }
    };
    let decode = |group: TaskGroup, task: BlockTask| decode(task, layout, classes_of(group));
    // SAFETY: the caller's promise.
    unsafe { share(work, layout.in_hand, load, &decode) };
}

/// What a thread block has in hand: a group, of which it has taken a task for each warp. It lies in shared
/// memory, as words, so that it takes no registers while blocks are decoded.
#[derive(Clone, Copy)]
struct InHand(SharedAddress);

/// A word of [`InHand`].
#[derive(Clone, Copy)]
enum Word {
    /// Where the thread block starts in the list of groups.
    Start,
    /// How many groups come before this one from there on.
    Position,
    /// The group's number, and what its record has.
    Group,
    FirstTask,
    Tasks,
    Table,
    /// The first warp's task, from the group's first.
    Taken,
}

impl InHand {
    #[inline(always)]
    fn get(self, word: Word) -> u32 {
        // SAFETY: the words are reserved, and the barriers of `share` keep those who write them apart from
        // those who read them.
        unsafe { self.0.offset(4 * word as u32).load_u32() }
    }

    #[inline(always)]
    fn set(self, word: Word, value: u32) {
        // SAFETY: as above.
        unsafe { self.0.offset(4 * word as u32).store_u32(value) };
    }

    /// The record of the group.
    #[inline(always)]
    fn record(self) -> TaskGroup {
        TaskGroup {
            first_task: self.get(Word::FirstTask),
            tasks: self.get(Word::Tasks),
            table: self.get(Word::Table),
        }
    }
}

/// Takes group after group and task after task: `load` starts to bring what a group's tasks have in
/// common to shared memory.
#[inline(always)]
unsafe fn share(
    work: Work,
    in_hand: InHand,
    load: impl Fn(TaskGroup),
    decoder: &impl DecodeInGroup,
) {
    if thread::thread_idx_x() == 0 {
        // Thread blocks start at groups spread over the list, so that they do not all want the first.
        let start = u64::from(thread::block_idx_x()) * u64::from(work.group_count)
            / u64::from(thread::grid_dim_x());
        in_hand.set(Word::Start, start as u32);
        in_hand.set(Word::Position, 0);
    }
    loop {
        if thread::thread_idx_x() < WARP {
            warp::sync_warp(ALL_LANES);
            // SAFETY: the caller's promise.
            unsafe { take_group(work, in_hand) };
        }
        thread::sync_threads();
        if in_hand.get(Word::Position) >= work.group_count {
            return;
        }
        load(in_hand.record());
        async_copy::commit();
        async_copy::wait::<0>();
        thread::sync_threads();
        // SAFETY: the caller's promise.
        unsafe { decode_group(work, in_hand, decoder) };
        // The next group and its table must not replace these while a warp is still decoding.
        thread::sync_threads();
    }
}

/// Takes a task for each warp of the next group with tasks left, from the position in hand on, and has
/// that group in hand; with a position behind all groups when there is none. One warp does this.
///
/// The first group is asked at once, since all of them begin with tasks left; later on the warp looks
/// at 32 counters at a time.
#[inline(always)]
unsafe fn take_group(work: Work, in_hand: InHand) {
    let start = in_hand.get(Word::Start);
    let mut position = in_hand.get(Word::Position);
    let wrap = |position: u32| {
        let number = start + position;
        if number >= work.group_count { number - work.group_count } else { number }
    };
    loop {
        if position > 0 {
            // SAFETY: the caller's promise.
            position = unsafe { next_open(work, wrap, position) };
        }
        if position >= work.group_count {
            break;
        }
        let group = wrap(position);
        // SAFETY: the caller's promise; `group` is below `group_count`.
        let (taken, record) = unsafe {
            (take(work, group, thread::block_dim_x() / WARP), *work.groups.add(group as usize))
        };
        let taken = warp::warp_shuffle_idx(ALL_LANES, taken, 0);
        if taken < record.tasks {
            if warp::lane_id() == 0 {
                in_hand.set(Word::Group, group);
                in_hand.set(Word::FirstTask, record.first_task);
                in_hand.set(Word::Tasks, record.tasks);
                in_hand.set(Word::Table, record.table);
                in_hand.set(Word::Taken, taken);
            }
            break;
        }
        position += 1;
    }
    if warp::lane_id() == 0 {
        in_hand.set(Word::Position, position);
    }
}

/// The first position from `position` on whose group seems to have tasks left, or one behind the last.
#[inline(always)]
unsafe fn next_open(work: Work, wrap: impl Fn(u32) -> u32, position: u32) -> u32 {
    let mut base = position;
    while base < work.group_count {
        let position = base + warp::lane_id();
        let open = position < work.group_count && {
            let group = wrap(position) as usize;
            // SAFETY: `group` is below `group_count`. A count that is stale only makes this
            // thread block ask the group in vain.
            unsafe {
                global::load_u32_volatile(work.counters.add(group))
                    < (*work.groups.add(group)).tasks
            }
        };
        let ballot = warp::warp_vote_ballot(ALL_LANES, open);
        if ballot != 0 {
            return base + ballot.trailing_zeros();
        }
        base += WARP;
    }
    base
}

/// Takes `count` tasks of a group for the warp, and tells its first lane the number of the first of them.
#[inline(always)]
unsafe fn take(work: Work, group: u32, count: u32) -> u32 {
    if warp::lane_id() != 0 {
        return 0;
    }
    // SAFETY: the caller's promise; `group` is below `group_count`.
    unsafe { global::atomic_add_u32(work.counters.add(group as usize), count) }
}

/// Decodes the warp's task of those taken, and then as many of the group in hand as the warp gets.
#[inline(always)]
unsafe fn decode_group(work: Work, in_hand: InHand, decoder: &impl DecodeInGroup) {
    let mut own = in_hand.get(Word::Taken) + thread::thread_idx_x() / WARP;
    loop {
        // The same in all lanes, which the assembler can see from this alone: it then counts the loops
        // over a block once for the warp, and does not unroll them for lanes that part.
        let number = warp::warp_shuffle_idx(ALL_LANES, own, 0);
        let record = in_hand.record();
        if number >= record.tasks {
            return;
        }
        // SAFETY: the host made `first_task + tasks` a position within the list.
        let task = unsafe { *work.tasks.add((record.first_task + number) as usize) };
        // SAFETY: the caller's promise.
        let status = unsafe { decoder.decode(record, task) };
        if warp::lane_id() == 0 {
            // SAFETY: the host made `status` a position within the list.
            unsafe { global::store_u32(work.status.add(task.status as usize), status) };
        }
        // Taking a task ahead of time would hide the counter's latency, and leave the last tasks
        // to warps that are still busy: measured, that costs more than it saves.
        //
        // SAFETY: the caller's promise.
        own = unsafe { take(work, in_hand.get(Word::Group), 1) };
    }
}

/// This thread's number in its thread block, and how many there are.
#[inline(always)]
fn all_threads() -> (u32, u32) {
    (thread::thread_idx_x(), thread::block_dim_x())
}

/// Starts to copy `bytes` bytes, a multiple of 16, to shared memory, by `threads` threads together, of which
/// this is number `thread`.
///
/// # Safety
///
/// The bytes are readable, and there is room for them, which nobody else uses until the copy has been
/// waited for; both begin at a multiple of 16.
#[inline(always)]
pub unsafe fn copy_to_shared(
    source: *const u8,
    target: SharedAddress,
    bytes: u32,
    (thread, threads): (u32, u32),
) {
    let mut at = thread * 16;
    while at < bytes {
        // SAFETY: within what is copied and its room in shared memory.
        unsafe { async_copy::copy_16_partial(target.offset(at), source.add(at as usize), 16) };
        at += threads * 16;
    }
}
