//! Which kernel decodes which block: the work of a decode as the kernels take it. Nothing here
//! talks to a device, so that tests run the same work through the emulator.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use codec::device::staging::WarpMemory;
use codec::device::{
    BlockTask, KernelTable, PlaneSpecs, RectangleTask, ReferenceTask, TaskGroup, arrangement,
    plane_kind, shared_layout,
};
use codec::reference::packed;
use codec::split::{ElementLayout, Width};
use codec::tile::TiledBlock;

use super::classes::ClassWork;
use super::tables::{TableCache, TableKey};
use super::tile_work::TileWork;
use crate::decode::layout_of;
use crate::error::{Error, Result};
use crate::format::{Index, PlanRecord, PlaneRecord, TensorRecord, TilingRecord};

/// Blocks of a tensor that are to be decoded.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The tensor's number in the index.
    pub(crate) tensor: usize,
    /// Its blocks.
    pub(crate) blocks: Range<usize>,
    /// Device address of the first of the blocks.
    pub(crate) payload: u64,
    /// Device address of the first decoded byte.
    pub(crate) out: u64,
    /// Device address of the base's bytes of the same elements; not looked at where none are needed.
    pub(crate) base: u64,
}

/// A kernel and how it is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kernel {
    coding: Coding,
    /// Bytes of an element.
    width: u8,
    rotated: bool,
    states_per_lane: u8,
    /// Shared memory of each warp.
    pub(crate) warp: WarpMemory,
    /// What it has in shared memory beside that.
    pub(crate) tables: Tables,
    /// Bytes that a lane decodes in a step of each of its states; 0 where that depends on the plan.
    pub(crate) step_bytes: u32,
}

/// What a kernel can decode: the coding of the highest plane, with all others raw, or anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Coding {
    Any,
    Classes,
    Symbols,
    Pairs,
    Nibbles,
}

/// The tables that a kernel has in shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tables {
    /// That of the group.
    OfGroup,
    /// So many, of the classes that a group's `table` names.
    ByClass(u32),
    /// One for each warp: the general kernel brings its tables itself.
    OfWarp,
    /// None: the general kernel, for plans whose planes have none or choose among several.
    None,
}

impl Kernel {
    /// The general kernel for elements of so many bytes, with room for a plane's table or not.
    pub(crate) fn general(width: usize, has_table: bool) -> Self {
        Self {
            coding: Coding::Any,
            width: width as u8,
            rotated: false,
            states_per_lane: 0,
            warp: WarpMemory::GENERAL,
            tables: if has_table { Tables::OfWarp } else { Tables::None },
            step_bytes: 0,
        }
    }

    /// Whether each symbol is an element of one byte.
    pub(crate) fn has_symbols_of_bytes(&self) -> bool {
        self.coding == Coding::Symbols && self.width == 1
    }

    /// Whether each symbol is two elements of four bytes.
    pub(crate) fn has_pairs_of_words(&self) -> bool {
        self.coding == Coding::Pairs && self.width == 4
    }

    /// Whether it decodes any plan.
    pub(crate) fn is_general(&self) -> bool {
        self.coding == Coding::Any
    }

    /// Whether a lane has only one state.
    pub(crate) fn has_one_state(&self) -> bool {
        self.states_per_lane == 1
    }

    /// The name of its entry.
    pub(crate) fn name(&self) -> String {
        let (width, states) = (self.width, self.states_per_lane);
        let rotated = if self.rotated { "_rotated" } else { "" };
        let coding = match self.coding {
            Coding::Any => return format!("decode_{width}_general"),
            Coding::Classes => "classes",
            Coding::Symbols => "symbols",
            Coding::Pairs => "pairs",
            Coding::Nibbles => "nibbles",
        };
        format!("decode_{width}_{coding}{rotated}_{states}")
    }

    /// The kernel that can take this one's work, where a device has too little shared memory for it.
    pub(crate) fn fallback(&self) -> Option<Self> {
        matches!(self.tables, Tables::ByClass(_)).then(|| Self::general(1, false))
    }

    /// Bytes of shared memory for the tables of so many warps.
    pub(crate) fn table_bytes(&self, warps: u32) -> u32 {
        match self.tables {
            Tables::OfGroup => shared_layout::TABLE_BYTES,
            Tables::ByClass(tables) => tables * shared_layout::ENTRIES_BYTES,
            Tables::OfWarp => warps * shared_layout::TABLE_BYTES,
            Tables::None => 0,
        }
    }
}

/// One launch: a kernel and its tasks, grouped by table.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) kernel: Kernel,
    /// The groups' `first_task` counts from the start of all tasks.
    pub(crate) groups: Vec<TaskGroup>,
    pub(crate) tasks: usize,
    /// Whether tiles are made of some of what it decodes.
    pub(crate) has_tiles: bool,
}

/// Everything that the kernels of a decode read, but the payload.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    pub(crate) launches: Vec<Launch>,
    pub(crate) tasks: Vec<BlockTask>,
    pub(crate) tables: Vec<Arc<KernelTable>>,
    pub(crate) specs: Vec<PlaneSpecs>,
    /// For each status word: tensor and block.
    pub(crate) blocks: Vec<(usize, usize)>,
    /// What the tiles of the blocks take that are coded in tiles.
    pub(crate) tiles: TileWork,
    /// What is to be done to the elements of blocks with a reference, after everything else.
    pub(crate) references: Vec<ReferenceTask>,
    /// What planes by class take.
    pub(crate) classes: ClassWork,
    /// What is copied to its place when everything else is done.
    pub(crate) copies: Vec<RectangleTask>,
}

/// Bytes of a task: eight runs of each of the thread block's threads.
const REFERENCE_TASK_BYTES: u64 = 32 << 10;

/// Tasks of one kernel with one table.
type Bucket = BTreeMap<(Kernel, u32), Vec<BlockTask>>;

impl Work {
    /// The work of `requests`, which name blocks of a validated index.
    pub(crate) fn new(index: &Index, requests: &[Request], known: &TableCache) -> Result<Self> {
        let mut builder = Builder { index, known, work: Self::default(), tables: BTreeMap::new() };
        let mut buckets = Bucket::new();
        for request in requests {
            builder.add(request, &mut buckets)?;
        }
        let mut work = builder.work;
        for ((kernel, table), tasks) in buckets {
            let group =
                TaskGroup { first_task: work.tasks.len() as u32, tasks: tasks.len() as u32, table };
            let has_tiles = tasks.iter().any(|task| work.tiles.has(task.status));
            match work.launches.last_mut() {
                Some(launch) if launch.kernel == kernel => {
                    launch.groups.push(group);
                    launch.tasks += tasks.len();
                    launch.has_tiles |= has_tiles;
                }
                _ => {
                    let (groups, tasks) = (vec![group], tasks.len());
                    work.launches.push(Launch { kernel, groups, tasks, has_tiles });
                }
            }
            work.tasks.extend(tasks);
        }
        work.tiles.spread();
        Ok(work)
    }

    /// Puts the addresses of the device's memory for coded elements and modes into all tasks.
    pub(crate) fn place(&mut self, coded: u64, modes: u64) {
        for task in &mut self.tasks {
            if self.tiles.has(task.status) {
                task.out += coded;
            }
        }
        for task in &mut self.tiles.tasks {
            task.coded += coded;
            task.modes += modes;
        }
    }
}

/// What the blocks of a plan share.
struct PreparedPlan {
    /// The position of its specs.
    specs: u32,
    bucket: (Kernel, u32),
    /// The kernels' number of each plane's table, or of its classes.
    tables: Vec<Option<u32>>,
}

struct Builder<'a> {
    index: &'a Index,
    known: &'a TableCache,
    work: Work,
    /// Tables of the index that have a position among the kernels' tables.
    tables: BTreeMap<TableKey, u32>,
}

impl Builder<'_> {
    fn add(&mut self, request: &Request, buckets: &mut Bucket) -> Result<()> {
        let record = &self.index.tensors[request.tensor];
        let invalid =
            || Error::Internal { detail: format!("tensor {} was not validated", record.name) };
        let layout = layout_of(record).ok_or_else(invalid)?;
        // Of the plans that the blocks follow, by number.
        let mut plans: BTreeMap<usize, PreparedPlan> = BTreeMap::new();
        let width = u64::from(record.width);
        let elements = record.bytes / width;
        let mut block_at = request.payload;
        for number in request.blocks.clone() {
            let block = record.blocks[number];
            let first = number as u64 * u64::from(record.block_elements);
            let count = u64::from(record.block_elements).min(elements - first);
            let skipped = request.blocks.start as u64 * u64::from(record.block_elements) * width;
            let plan = usize::from(block.plan);
            if let Entry::Vacant(new) = plans.entry(plan) {
                let prepared = self.prepare_plan(record, plan, request.blocks.len());
                new.insert(prepared?.ok_or_else(invalid)?);
            }
            let prepared = &plans[&plan];
            let status = self.work.blocks.len() as u32;
            let out = request.out + first * width - skipped;
            let tiles = record.tiled_block(number, count as usize, &record.plans[plan]);
            let tiles = tiles.map_err(|_| invalid())?;
            let first_in_tensor = first;
            let first_of_request =
                first - request.blocks.start as u64 * u64::from(record.block_elements);
            let elements_at = out;
            let (out, first) = match &tiles {
                Some(tiles) => {
                    let position = first_of_request as usize;
                    self.fill_choices(
                        record,
                        &record.plans[plan],
                        &prepared.tables,
                        tiles,
                        position,
                    );
                    (self.work.tiles.add(tiles, out, status), first_of_request)
                }
                None => (out, first_in_tensor),
            };
            let task = BlockTask {
                block: block_at,
                out,
                block_bytes: block.bytes,
                elements: count as u32,
                specs: prepared.specs,
                status,
                first,
            };
            let base = request.base + first_in_tensor * width - skipped;
            self.add_reference(layout, &record.plans[plan], base, (elements_at, count * width));
            self.work.blocks.push((request.tensor, number));
            buckets.entry(prepared.bucket).or_default().push(task);
            block_at += u64::from(block.bytes);
        }
        // Kernels without streams still copy a table, which must exist.
        if self.work.tables.is_empty() {
            self.work.tables.push(Arc::new(EMPTY_TABLE));
        }
        Ok(())
    }

    /// What the blocks share that follow the plan with this number; `blocks` of the tensor are to be
    /// decoded. `None` for a plan that does not fit its tensor.
    fn prepare_plan(
        &mut self,
        record: &TensorRecord,
        plan: usize,
        blocks: usize,
    ) -> Result<Option<PreparedPlan>> {
        let plan = &record.plans[plan];
        let layout = layout_of(record).and_then(|layout| plan.coded_layout(layout));
        let Some(layout) = layout else { return Ok(None) };
        let by_class = self.class_tables(record, plan);
        let unrotated = takes_unrotated_symbols(layout, plan);
        let tables = self.plan_tables(record, plan, blocks, (by_class.is_some(), unrotated))?;
        let specs = self.work.specs.len() as u32;
        self.work.specs.push(plane_specs(record, layout, plan, &tables));
        let table = tables.iter().rev().flatten().next().copied().unwrap_or(0);
        let kernel = kernel_for(layout, record.states_per_lane, plan, by_class);
        // The general kernel looks its tables up itself, so its tasks need no grouping.
        let table = if kernel.is_general() { 0 } else { table };
        Ok(Some(PreparedPlan { specs, bucket: (kernel, table), tables }))
    }

    /// The tables of a plan that a kernel by class can decode, with the classes that it has.
    fn class_tables(&self, record: &TensorRecord, plan: &PlanRecord) -> Option<u32> {
        match (&plan.planes[..], plan.tiling) {
            ([PlaneRecord::Classes(classes)], TilingRecord::None) => {
                self.work.classes.tables_by_class(&record.classes[*classes as usize])
            }
            _ => None,
        }
    }

    /// Adds what is to be done to a block of so many bytes at `out`, if its plan has a reference.
    fn add_reference(
        &mut self,
        layout: ElementLayout,
        plan: &PlanRecord,
        base: u64,
        (out, bytes): (u64, u64),
    ) {
        let Some(operation) = plan.reference.operation() else { return };
        let operation = packed(operation, layout);
        let piece = |start: u64| ReferenceTask {
            base: base + start,
            out: out + start,
            bytes: (bytes - start).min(REFERENCE_TASK_BYTES) as u32,
            operation,
        };
        let starts = (0..bytes).step_by(REFERENCE_TASK_BYTES as usize);
        self.work.references.extend(starts.map(piece));
    }

    /// The kernels' number of each plane's table, or of its classes; `blocks` of the tensor are to be
    /// decoded, by a kernel by class or another, by unrotated tables or as they are.
    fn plan_tables(
        &mut self,
        tensor: &TensorRecord,
        plan: &PlanRecord,
        blocks: usize,
        (by_class, unrotated): (bool, bool),
    ) -> Result<Vec<Option<u32>>> {
        let number = |record: &PlaneRecord| match (record.table(), record.classes()) {
            (Some(id), _) => self.table((id, unrotated)).map(Some),
            (None, None) => Ok(None),
            (None, Some(classes)) => {
                let classes = classes as usize;
                let tiled = plan.tiling != TilingRecord::None;
                let ids = if tiled {
                    &tensor.tile_classes[classes].tables
                } else {
                    &tensor.classes[classes].tables
                };
                let tables = ids.iter().map(|&id| self.table((id, unrotated)));
                let tables = tables.collect::<Result<Vec<_>>>()?;
                Ok(Some(if tiled {
                    let elements = blocks * tensor.block_elements as usize;
                    self.work.classes.add_elements(elements, &tables)
                } else {
                    let record = &tensor.classes[classes];
                    self.work.classes.add_rows_and_columns(record, &tables, by_class)
                }))
            }
        };
        plan.planes.iter().map(number).collect()
    }

    /// Says which tables a block of tiles takes, whose first element has the number `first` in the
    /// lists of its plan.
    fn fill_choices(
        &mut self,
        tensor: &TensorRecord,
        plan: &PlanRecord,
        numbers: &[Option<u32>],
        block: &TiledBlock<'_>,
        first: usize,
    ) {
        for (record, number) in plan.planes.iter().zip(numbers) {
            if let (Some(classes), Some(number)) = (record.classes(), number) {
                let classes = &tensor.tile_classes[classes as usize];
                self.work.classes.fill(*number, first, block, classes);
            }
        }
    }

    fn table(&mut self, key: TableKey) -> Result<u32> {
        if let Some(&number) = self.tables.get(&key) {
            return Ok(number);
        }
        self.work.tables.push(self.known.get(self.index, key)?);
        let number = self.work.tables.len() as u32 - 1;
        self.tables.insert(key, number);
        Ok(number)
    }
}

const EMPTY_TABLE: KernelTable =
    KernelTable { entries: [0; codec::constants::TABLE_SIZE], expanded: [0; 256] };

fn plane_specs(
    record: &TensorRecord,
    layout: ElementLayout,
    plan: &PlanRecord,
    tables: &[Option<u32>],
) -> PlaneSpecs {
    let mut specs = PlaneSpecs {
        kinds: [plane_kind::RAW; 8],
        constants: [0; 8],
        tables: [0; 8],
        arrangement: arrangement_of(layout, plan),
        states_per_lane: u32::from(record.states_per_lane),
    };
    for (plane, (record, table)) in plan.planes.iter().zip(tables).enumerate() {
        specs.kinds[plane] = match record {
            PlaneRecord::Raw => plane_kind::RAW,
            PlaneRecord::Constant(value) => {
                specs.constants[plane] = *value;
                plane_kind::CONSTANT
            }
            PlaneRecord::Symbols(_) => plane_kind::SYMBOLS,
            PlaneRecord::Pairs(_) => plane_kind::PAIRS,
            PlaneRecord::NibblePairs(_) => plane_kind::NIBBLE_PAIRS,
            PlaneRecord::Classes(_) => plane_kind::CLASSES,
            PlaneRecord::Heads { base, .. } => {
                specs.constants[plane] = *base;
                plane_kind::HEADS
            }
            PlaneRecord::InHeads => plane_kind::IN_HEADS,
        };
        specs.tables[plane] = table.unwrap_or(0);
    }
    specs
}

fn arrangement_of(layout: ElementLayout, plan: &PlanRecord) -> u32 {
    match plan.planes.last() {
        Some(PlaneRecord::Heads { .. }) => arrangement::HEAD_FIRST,
        _ if layout.rotated => arrangement::ROTATED,
        _ => arrangement::PLAIN,
    }
}

/// Whether the table is unrotated: where symbols are the high bytes of rotated elements of two bytes, whose
/// kernel gives each of their bytes one bit from the other.
fn takes_unrotated_symbols(layout: ElementLayout, plan: &PlanRecord) -> bool {
    use PlaneRecord::{Raw, Symbols};
    layout.rotated && matches!(plan.planes[..], [Raw, Symbols(_)])
}

/// The kernel for a plan: a fast one where there is one, otherwise the general one of the width. One by
/// class has `by_class` tables.
pub(crate) fn kernel_for(
    layout: ElementLayout,
    states_per_lane: u8,
    plan: &PlanRecord,
    by_class: Option<u32>,
) -> Kernel {
    if let Some(tables) = by_class {
        return Kernel {
            coding: Coding::Classes,
            width: 1,
            rotated: false,
            states_per_lane,
            warp: WarpMemory::new(1, 1, 0),
            tables: Tables::ByClass(tables),
            step_bytes: u32::from(states_per_lane),
        };
    }
    let (width, plan) = (layout.width.bytes(), &plan.planes);
    let lower_are_raw = plan[..width - 1].iter().all(|record| *record == PlaneRecord::Raw);
    let fast = match (layout.width, layout.rotated, plan[width - 1]) {
        (Width::One, _, PlaneRecord::NibblePairs(_)) => Some((Coding::Nibbles, 1)),
        (Width::One, false, PlaneRecord::Symbols(_)) => Some((Coding::Symbols, 0)),
        (Width::One, false, PlaneRecord::Pairs(_)) => Some((Coding::Pairs, 0)),
        (Width::Two, true, PlaneRecord::Pairs(_)) => Some((Coding::Pairs, 1)),
        (Width::Two, true, PlaneRecord::Symbols(_)) => Some((Coding::Symbols, 1)),
        (Width::Four, true, PlaneRecord::Pairs(_)) => Some((Coding::Pairs, 3)),
        _ => None,
    };
    match fast.filter(|_| lower_are_raw) {
        Some((coding, raw_planes)) => {
            let per_symbol = if coding == Coding::Symbols { 1 } else { 2 };
            Kernel {
                coding,
                width: width as u8,
                rotated: layout.rotated,
                states_per_lane,
                warp: WarpMemory::new(width as u32, per_symbol, raw_planes),
                tables: Tables::OfGroup,
                step_bytes: width as u32 * per_symbol * u32::from(states_per_lane),
            }
        }
        None => {
            let has_table = |plane: &PlaneRecord| plane.table().is_some();
            Kernel::general(width, plan.iter().any(has_table))
        }
    }
}

#[cfg(test)]
mod tests {
    use codec::rans::TableEntry;

    use super::*;
    use crate::safetensors::{Dtype, TensorData, build};
    use crate::{Checkpoint, EncodeOptions, encode_safetensors_bytes};

    /// The work of decoding a tensor of so many bytes, values from `least` on.
    fn work_of(dtype: Dtype, least: u8) -> Work {
        // Sums of two numbers below 16: too many values for two to a symbol.
        let bytes: Vec<u8> = (0..20_000u32)
            .map(|number| {
                let mixed = (number ^ 0x5A5A).wrapping_mul(0x9E37_79B9);
                (mixed ^ mixed >> 15).wrapping_mul(0x85EB_CA6B)
            })
            .map(|random| least + (random >> 28) as u8 + (random >> 20 & 15) as u8)
            .collect();
        let tensor = TensorData { name: "w", dtype, shape: &[bytes.len() as u64], bytes: &bytes };
        let options = EncodeOptions { pair_tolerance: 0.0, ..EncodeOptions::default() };
        let file = build(&[tensor], &[]).unwrap();
        let (encoded, _) = encode_safetensors_bytes(&file, &options).unwrap();
        let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
        let blocks = checkpoint.index.tensors[0].blocks.len();
        let request = Request { tensor: 0, blocks: 0..blocks, payload: 0, out: 0, base: 0 };
        Work::new(&checkpoint.index, &[request], &TableCache::default()).unwrap()
    }

    #[test]
    fn symbols_that_are_elements_take_the_kernel_of_bytes_whatever_their_dtype() {
        // Bytes that rotation changes: of 0x60 to 0x7E it makes 0xC0 to 0xFC.
        for dtype in [Dtype::F8E4M3, Dtype::U8] {
            let work = work_of(dtype.clone(), 0x60);
            let [launch] = &work.launches[..] else { panic!("{:?}", work.launches) };
            assert_eq!(launch.kernel.name(), "decode_1_symbols_2");
            assert_eq!(work.specs[0].arrangement, arrangement::PLAIN);
            let [table] = &work.tables[..] else { panic!("{} tables", work.tables.len()) };
            let symbols = table.entries.map(|entry| TableEntry(entry).symbol());
            // What the sample did not have gets a slot too.
            let own = symbols.iter().filter(|symbol| (0x60..=0x7E).contains(*symbol)).count();
            assert!(own > symbols.len() * 9 / 10, "{dtype:?}: {own}");
        }
    }
}
