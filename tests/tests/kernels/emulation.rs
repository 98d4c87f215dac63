//! A launch as the host makes it, run by the emulator.

use codec::block::{BlockSpec, PlaneCoding};
use codec::constants::{ALPHABET, TABLE_SIZE};
use codec::device::{
    BlockTask, KernelClasses, KernelTable, PlaneSpecs, TaskGroup, arrangement, plane_kind,
    shared_layout, status,
};
use cuda_std::emulator::{CopyTiming, EmulationError, GlobalRange, Grid, LaneOrder, launch};

use super::blocks::{Coded, Plan};
use super::by_class::{ClassLists, FIRST_ELEMENT, is_by_class};
use super::subjects::{Kernel, Subject};

/// What hardware leaves open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conditions {
    pub(crate) lane_order: LaneOrder,
    pub(crate) warp_lead: u32,
    pub(crate) copy_timing: CopyTiming,
    /// Thread blocks of the launch, and warps of each.
    pub(crate) blocks: u32,
    pub(crate) warps: u32,
}

/// Device memory: bytes at a multiple of 16.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Quad([u8; 16]);

/// An allocation of its own, so that what lies beside it belongs to nobody.
struct Buffer {
    quads: Vec<Quad>,
    length: usize,
}

impl Buffer {
    fn new(bytes: &[u8]) -> Self {
        let quad = |part: &[u8]| Quad(std::array::from_fn(|at| part.get(at).copied().unwrap_or(0)));
        // One more, so that an empty buffer has an address too.
        let end = [Quad([0; 16])];
        Self { quads: bytes.chunks(16).map(quad).chain(end).collect(), length: bytes.len() }
    }

    fn bytes(&self) -> Vec<u8> {
        self.quads.iter().flat_map(|quad| quad.0).take(self.length).collect()
    }

    fn address(&mut self) -> u64 {
        self.quads.as_mut_ptr().expose_provenance() as u64
    }

    fn range(&self, writable: bool) -> GlobalRange {
        let start = self.quads.as_ptr().addr();
        GlobalRange { addresses: start..start + self.length, writable }
    }
}

/// What became of a block.
pub(crate) struct Decoded {
    pub(crate) status: u32,
    pub(crate) bytes: Vec<u8>,
}

/// The blocks of a launch.
pub(crate) struct Batch<'a> {
    subject: &'a Subject,
    groups: Vec<TaskGroup>,
    tasks: Vec<BlockTask>,
    tables: Vec<KernelTable>,
    specs: Vec<PlaneSpecs>,
    class_lists: Vec<ClassLists>,
    blocks: Vec<Buffer>,
    outputs: Vec<Buffer>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(subject: &'a Subject) -> Self {
        Self {
            subject,
            groups: Vec::new(),
            tasks: Vec::new(),
            tables: Vec::new(),
            specs: Vec::new(),
            class_lists: Vec::new(),
            blocks: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Adds a group of blocks that are to be decoded with the tables of `coded`.
    pub(crate) fn add_group(&mut self, coded: &Coded, blocks: Vec<(BlockSpec, Vec<u8>)>) {
        let table = self.tables.len() as u32;
        self.specs.push(self.plane_specs(coded));
        self.tables.extend(coded.decode.iter().flatten().map(|tables| {
            let paired = self.subject.plan.planes.contains(&PlaneCoding::Pairs);
            let table = KernelTable::new(&tables.table, paired.then_some(&tables.ranks));
            if self.subject.takes_unrotated_tables() { table.unrotated() } else { table }
        }));
        self.add_classes(coded, &blocks);
        // Thread blocks copy a table even for plans without streams.
        if self.tables.is_empty() {
            self.tables.push(KernelTable { entries: [0; TABLE_SIZE], expanded: [0; ALPHABET] });
        }
        let group = TaskGroup {
            first_task: self.tasks.len() as u32,
            tasks: blocks.len() as u32,
            table: if self.subject.by_class {
                self.class_lists.len() as u32 - 1
            } else {
                table.min(self.tables.len() as u32 - 1)
            },
        };
        self.groups.push(group);
        for (spec, bytes) in blocks {
            self.add_task(&spec, &bytes);
        }
    }

    /// Adds the classes of a group that has any, for its longest block; others begin like it.
    fn add_classes(&mut self, coded: &Coded, blocks: &[(BlockSpec, Vec<u8>)]) {
        let Some((longest, _)) = blocks.iter().max_by_key(|(spec, _)| spec.elements) else {
            return;
        };
        if !longest.has_classes() {
            return;
        }
        // Either way of telling, by turns.
        let by_element = self.subject.plan.states_per_lane == 2 && !self.subject.by_class;
        let first_table = self.tables.len() as u32;
        self.class_lists.push(ClassLists::new(longest, first_table, by_element));
        self.tables.extend(coded.by_class.decode.iter().map(|table| {
            let table = KernelTable::new(table, None);
            if self.subject.takes_unrotated_tables() { table.unrotated() } else { table }
        }));
    }

    fn add_task(&mut self, spec: &BlockSpec, bytes: &[u8]) {
        let mut block = Buffer::new(bytes);
        let mut output = Buffer::new(&vec![0xAA; spec.decoded_bytes()]);
        self.tasks.push(BlockTask {
            block: block.address(),
            out: output.address(),
            block_bytes: bytes.len() as u32,
            elements: spec.elements as u32,
            specs: self.specs.len() as u32 - 1,
            status: self.tasks.len() as u32,
            first: FIRST_ELEMENT,
        });
        self.blocks.push(block);
        self.outputs.push(output);
    }

    fn plane_specs(&self, coded: &Coded) -> PlaneSpecs {
        let Plan { layout, states_per_lane, planes } = self.subject.plan;
        let mut specs = PlaneSpecs {
            kinds: [plane_kind::RAW; 8],
            constants: [0; 8],
            tables: [0; 8],
            arrangement: match planes[self.subject.plan.width() - 1] {
                PlaneCoding::Heads { .. } => arrangement::HEAD_FIRST,
                _ if layout.rotated => arrangement::ROTATED,
                _ => arrangement::PLAIN,
            },
            states_per_lane: states_per_lane as u32,
        };
        let mut table = self.tables.len() as u32;
        for (plane, tables) in coded.decode.iter().enumerate() {
            specs.kinds[plane] = match planes[plane] {
                PlaneCoding::Raw => plane_kind::RAW,
                PlaneCoding::Constant(value) => {
                    specs.constants[plane] = value;
                    plane_kind::CONSTANT
                }
                PlaneCoding::Symbols => plane_kind::SYMBOLS,
                PlaneCoding::Pairs => plane_kind::PAIRS,
                PlaneCoding::NibblePairs => plane_kind::NIBBLE_PAIRS,
                PlaneCoding::Classes => plane_kind::CLASSES,
                PlaneCoding::Heads { base } => {
                    specs.constants[plane] = base;
                    plane_kind::HEADS
                }
                PlaneCoding::InHeads => plane_kind::IN_HEADS,
            };
            if is_by_class(planes[plane]) {
                specs.tables[plane] = self.class_lists.len() as u32;
            }
            if tables.is_some() {
                specs.tables[plane] = table;
                table += 1;
            }
        }
        specs
    }

    /// Runs the kernel, and checks that it took every task.
    pub(crate) fn run(mut self, conditions: Conditions) -> Result<Vec<Decoded>, EmulationError> {
        let mut counters = vec![0u32; self.groups.len()];
        let mut found = vec![status::NOT_DECODED; self.tasks.len()];
        let (groups, group_count) = (self.groups.as_ptr(), self.groups.len() as u32);
        let (tasks, tables, specs) =
            (self.tasks.as_ptr(), self.tables.as_ptr(), self.specs.as_ptr());
        let classes: Vec<KernelClasses> = self.class_lists.iter().map(ClassLists::record).collect();
        let classes_at = classes.as_ptr();
        let (counters_at, found_at) = (counters.as_mut_ptr(), found.as_mut_ptr());
        let mut grid = self.grid(conditions, &mut counters, &mut found);
        grid.global.iter_mut().for_each(|global| global.push(GlobalRange::readable(&classes)));
        match self.subject.kernel {
            // SAFETY: all lists live on; the emulator refuses whatever lies outside of them.
            Kernel::Fast(kernel) => launch(&grid, move || unsafe {
                kernel(groups, group_count, counters_at, tasks, tables, found_at);
            })?,
            // SAFETY: as above.
            Kernel::General(kernel) => launch(&grid, move || unsafe {
                kernel(
                    groups,
                    group_count,
                    counters_at,
                    tasks,
                    tables,
                    found_at,
                    specs,
                    classes_at,
                );
            })?,
        }
        for (group, taken) in self.groups.iter().zip(counters) {
            assert!(taken >= group.tasks, "{}: tasks were left", self.subject);
        }
        let outputs = std::mem::take(&mut self.outputs);
        let decoded = found.into_iter().zip(outputs);
        Ok(decoded.map(|(status, out)| Decoded { status, bytes: out.bytes() }).collect())
    }

    fn grid(&self, conditions: Conditions, counters: &mut [u32], found: &mut [u32]) -> Grid {
        let mut global = vec![
            GlobalRange::readable(&self.groups),
            GlobalRange::readable(&self.tasks),
            GlobalRange::readable(&self.tables),
            GlobalRange::readable(&self.specs),
            GlobalRange::writable(counters),
            GlobalRange::writable(found),
        ];
        for lists in &self.class_lists {
            global.extend(lists.bytes().map(GlobalRange::readable));
            global.extend(lists.tables().map(GlobalRange::readable));
            global.push(GlobalRange::readable(lists.choices()));
        }
        global.extend(self.blocks.iter().map(|block| block.range(false)));
        global.extend(self.outputs.iter().map(|output| output.range(true)));
        Grid {
            blocks: conditions.blocks,
            threads_per_block: 32 * conditions.warps,
            shared_bytes: shared_layout::bytes(
                conditions.warps,
                self.subject.memory,
                self.subject.table_bytes,
            ),
            global: Some(global),
            lane_order: conditions.lane_order,
            warp_lead: conditions.warp_lead,
            copy_timing: conditions.copy_timing,
        }
    }
}
