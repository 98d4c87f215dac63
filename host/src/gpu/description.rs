//! What the kernels of a decode read beside the payload, as one run of bytes that a single copy brings
//! to the device. Nothing here talks to a device.

use std::ops::Range;

use codec::device::{
    BlockTask, KernelClasses, KernelTable, PlaneSpecs, RectangleTask, ReferenceTask, TaskGroup,
    TileTask, status,
};

use super::work::{Kernel, Work};

/// Sections begin at multiples of this: a line of the device's cache.
const SECTION_ALIGNMENT: usize = 128;

/// Types whose bytes can be copied to a device as they are.
///
/// # Safety
///
/// The type is `repr(C)` and has no padding, so that all of its bytes are initialised.
unsafe trait DeviceData: Copy {}

/// Implements [`DeviceData`] for structs whose fields add up to their size.
macro_rules! device_data {
    ($($type:ty: $bytes:expr;)*) => { $(
        const _: () = assert!(size_of::<$type>() == $bytes);
        // SAFETY: `repr(C)`, and its fields take all of its bytes, as asserted above.
        unsafe impl DeviceData for $type {}
    )* };
}

device_data! {
    BlockTask: 2 * 8 + 4 * 4 + 8;
    TaskGroup: 3 * 4;
    KernelClasses: 6 * 8 + 4 * 4;
    TileTask: 3 * 8 + 6 * 4;
    ReferenceTask: 2 * 8 + 2 * 4;
    RectangleTask: 2 * 8 + 4 * 4;
    u8: 1;
    KernelTable: 4 * 4096 + 4 * 256;
    PlaneSpecs: 8 + 8 + 4 * 8 + 2 * 4;
    u32: 4;
}

/// The bytes of `values`.
fn bytes_of<T: DeviceData>(values: &[T]) -> &[u8] {
    // SAFETY: all bytes of the values are initialised, as the trait promises, and they live as long
    // as the slice.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) }
}

/// Where the parts of a description lie, counted from its start.
#[derive(Debug, Clone)]
pub(super) struct Sections {
    pub(super) tasks: usize,
    pub(super) tables: usize,
    pub(super) specs: usize,
    /// A status word for each block.
    pub(super) status: Range<usize>,
    pub(super) classes: usize,
    pub(super) launches: Vec<LaunchSections>,
    /// Task counters of all launches.
    pub(super) counters: Range<usize>,
    pub(super) tile_tasks: usize,
    pub(super) references: usize,
    pub(super) copies: usize,
    modes: usize,
    class_lists: usize,
    length: usize,
}

/// Those of one launch.
#[derive(Debug, Clone)]
pub(super) struct LaunchSections {
    pub(super) kernel: Kernel,
    pub(super) tasks: usize,
    pub(super) groups: usize,
    pub(super) group_count: u32,
    /// A counter for each group.
    pub(super) counters: usize,
    pub(super) has_tiles: bool,
}

/// The work of a decode and its place in a run of bytes.
pub(super) struct Description {
    work: Work,
    sections: Sections,
}

/// Hands out places one after the other.
struct Places(usize);

impl Places {
    fn take(&mut self, bytes: usize) -> usize {
        let at = self.0.next_multiple_of(SECTION_ALIGNMENT);
        self.0 = at + bytes;
        at
    }

    fn of<T: DeviceData>(&mut self, values: &[T]) -> usize {
        self.take(size_of_val(values))
    }
}

impl Description {
    pub(super) fn new(work: Work) -> Self {
        let mut places = Places(0);
        let launches = work.launches.iter().map(|launch| LaunchSections {
            kernel: launch.kernel,
            tasks: launch.tasks,
            groups: places.of(&launch.groups),
            group_count: launch.groups.len() as u32,
            counters: 0,
            has_tiles: launch.has_tiles,
        });
        let mut launches: Vec<LaunchSections> = launches.collect();
        let words: usize = launches.iter().map(|launch| launch.group_count as usize).sum();
        let start = places.take(words * size_of::<u32>());
        let counters = start..places.0;
        let mut at = start;
        for launch in &mut launches {
            launch.counters = at;
            at += launch.group_count as usize * size_of::<u32>();
        }
        let status = places.take(work.blocks.len() * size_of::<u32>());
        let status = status..places.0;
        let sections = Sections {
            launches,
            counters,
            status,
            tasks: places.of(&work.tasks),
            tables: places.take(work.tables.len() * size_of::<KernelTable>()),
            specs: places.of(&work.specs),
            classes: places.of(&work.classes.records),
            tile_tasks: places.of(&work.tiles.tasks),
            references: places.of(&work.references),
            copies: places.of(&work.copies),
            modes: places.of(&work.tiles.modes),
            class_lists: places.of(&work.classes.lists),
            length: places.0,
        };
        Self { work, sections }
    }

    /// Bytes that it takes.
    pub(super) fn byte_len(&self) -> usize {
        self.sections.length
    }

    /// Bytes of device memory that it needs for coded elements of tiles.
    pub(super) fn coded_bytes(&self) -> u64 {
        self.work.tiles.coded_bytes
    }

    pub(super) fn sections(&self) -> &Sections {
        &self.sections
    }

    pub(super) fn tile_task_count(&self) -> u32 {
        self.work.tiles.tasks.len() as u32
    }

    pub(super) fn reference_count(&self) -> u32 {
        self.work.references.len() as u32
    }

    pub(super) fn copy_count(&self) -> u32 {
        self.work.copies.len() as u32
    }

    /// Writes it to `out`, which has [`Description::byte_len`] bytes, for device memory at `address`, with
    /// coded elements at `coded`. Returns the tensor and block of each status word.
    pub(super) fn write(
        mut self,
        address: u64,
        coded: u64,
        out: &mut [u8],
    ) -> (Sections, Vec<(usize, usize)>) {
        let Sections { modes, class_lists, .. } = self.sections;
        self.work.place(coded, address + modes as u64);
        self.work.classes.place(address + class_lists as u64);
        let (work, sections) = (&self.work, &self.sections);
        let mut put = |at: usize, bytes: &[u8]| out[at..][..bytes.len()].copy_from_slice(bytes);
        for (launch, places) in work.launches.iter().zip(&sections.launches) {
            put(places.groups, bytes_of(&launch.groups));
        }
        put(sections.tasks, bytes_of(&work.tasks));
        for (number, table) in work.tables.iter().enumerate() {
            let at = sections.tables + number * size_of::<KernelTable>();
            put(at, bytes_of(std::slice::from_ref(&**table)));
        }
        put(sections.specs, bytes_of(&work.specs));
        put(sections.classes, bytes_of(&work.classes.records));
        put(sections.tile_tasks, bytes_of(&work.tiles.tasks));
        put(sections.references, bytes_of(&work.references));
        put(sections.copies, bytes_of(&work.copies));
        put(modes, bytes_of(&work.tiles.modes));
        put(class_lists, bytes_of(&work.classes.lists));
        out[sections.counters.clone()].fill(0);
        let not_decoded = status::NOT_DECODED.to_le_bytes();
        out[sections.status.clone()]
            .chunks_exact_mut(4)
            .for_each(|word| word.copy_from_slice(&not_decoded));
        (self.sections, self.work.blocks)
    }
}
