//! The kernels, and the plans that they are for.

use std::fmt;

use codec::block::PlaneCoding::{
    self, Classes, Constant, Heads, InHeads, NibblePairs, Pairs, Raw, Symbols,
};
use codec::constants::MAX_WIDTH;
use codec::device::staging::WarpMemory;
use codec::device::{BlockTask, KernelClasses, KernelTable, PlaneSpecs, TaskGroup, shared_layout};
use codec::split::{ElementLayout, Width};
use gpu_kernels::{by_class, fast, general};

use super::blocks::Plan;

type FastKernel =
    unsafe fn(*const TaskGroup, u32, *mut u32, *const BlockTask, *const KernelTable, *mut u32);

type GeneralKernel = unsafe fn(
    *const TaskGroup,
    u32,
    *mut u32,
    *const BlockTask,
    *const KernelTable,
    *mut u32,
    *const PlaneSpecs,
    *const KernelClasses,
);

/// A kernel's entry point.
#[derive(Clone, Copy)]
pub(crate) enum Kernel {
    Fast(FastKernel),
    General(GeneralKernel),
}

/// A kernel with a plan for it.
pub(crate) struct Subject {
    name: &'static str,
    pub(crate) kernel: Kernel,
    pub(crate) plan: Plan,
    /// Shared memory of a warp.
    pub(crate) memory: WarpMemory,
    /// Shared memory of tables.
    pub(crate) table_bytes: u32,
    /// Whether groups name classes in the place of tables.
    pub(crate) by_class: bool,
}

impl Subject {
    /// Whether its symbols are the high bytes of rotated elements of two bytes, so that its tables are
    /// unrotated.
    pub(crate) fn takes_unrotated_tables(&self) -> bool {
        let is_fast = matches!(self.kernel, Kernel::Fast(_));
        let planes = &self.plan.planes[..self.plan.width()];
        is_fast && self.plan.layout.rotated && matches!(planes, [Raw, Symbols])
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { layout, states_per_lane, planes } = self.plan;
        let planes = &planes[..self.plan.width()];
        let rotated = layout.rotated;
        write!(formatter, "{} ({planes:?}, rotated {rotated}, {states_per_lane})", self.name)
    }
}

fn plan(planes: &[PlaneCoding], rotated: bool, states_per_lane: usize) -> Plan {
    let width = Width::from_bytes(planes.len()).expect("as many planes as elements have bytes");
    let mut all = [Raw; MAX_WIDTH];
    all[..planes.len()].copy_from_slice(planes);
    Plan { layout: ElementLayout { width, rotated }, states_per_lane, planes: all }
}

/// The memory of a warp that decodes these planes, so many of which are staged.
fn memory_of(planes: &[PlaneCoding], staged: u32) -> WarpMemory {
    let last = planes.last().expect("elements have a byte at least");
    let per_symbol = last.elements_per_symbol().expect("the last plane has a stream");
    WarpMemory::new(planes.len() as u32, per_symbol as u32, staged)
}

/// All fast kernels: codings of the planes, planes that are staged, rotation, kernels with one and
/// with two states per lane.
pub(crate) fn fast_subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    macro_rules! both {
        ($planes:expr, $staged:literal, $rotated:literal, $one:ident, $two:ident) => {
            let kernels = [
                (stringify!($one), fast::$one as FastKernel, 1),
                (stringify!($two), fast::$two as FastKernel, 2),
            ];
            subjects.extend(kernels.map(|(name, kernel, states)| Subject {
                name,
                kernel: Kernel::Fast(kernel),
                plan: plan(&$planes, $rotated, states),
                memory: memory_of(&$planes, $staged),
                table_bytes: shared_layout::TABLE_BYTES,
                by_class: false,
            }));
        };
    }
    both!([Raw, Pairs], 1, true, decode_2_pairs_rotated_1, decode_2_pairs_rotated_2);
    both!([Raw, Symbols], 1, true, decode_2_symbols_rotated_1, decode_2_symbols_rotated_2);
    both!([Raw, Raw, Raw, Pairs], 3, true, decode_4_pairs_rotated_1, decode_4_pairs_rotated_2);
    both!([NibblePairs], 1, false, decode_1_nibbles_1, decode_1_nibbles_2);
    both!([NibblePairs], 1, true, decode_1_nibbles_rotated_1, decode_1_nibbles_rotated_2);
    both!([Symbols], 0, false, decode_1_symbols_1, decode_1_symbols_2);
    both!([Pairs], 0, false, decode_1_pairs_1, decode_1_pairs_2);
    subjects
}

/// The kernels by class.
pub(crate) fn subjects_by_class() -> Vec<Subject> {
    let kernels: [(&'static str, GeneralKernel, usize); 2] = [
        ("decode_1_classes_1", by_class::decode_1_classes_1, 1),
        ("decode_1_classes_2", by_class::decode_1_classes_2, 2),
    ];
    let subject = |(name, kernel, states)| Subject {
        name,
        kernel: Kernel::General(kernel),
        plan: plan(&[Classes], false, states),
        memory: WarpMemory::new(1, 1, 0),
        table_bytes: 3 * shared_layout::ENTRIES_BYTES,
        by_class: true,
    };
    kernels.map(subject).into()
}

/// The general kernels with plans of every kind of plane.
pub(crate) fn general_subjects() -> Vec<Subject> {
    let plans: [(&'static str, GeneralKernel, &[PlaneCoding], bool); 23] = [
        ("decode_1_general", general::decode_1_general, &[Symbols], false),
        ("decode_1_general", general::decode_1_general, &[Pairs], false),
        ("decode_1_general", general::decode_1_general, &[NibblePairs], false),
        ("decode_1_general", general::decode_1_general, &[NibblePairs], true),
        ("decode_1_general", general::decode_1_general, &[Raw], false),
        ("decode_2_general", general::decode_2_general, &[Raw, Pairs], false),
        ("decode_2_general", general::decode_2_general, &[Symbols, Pairs], true),
        ("decode_2_general", general::decode_2_general, &[Constant(7), Symbols], false),
        ("decode_2_general", general::decode_2_general, &[Symbols, Raw], true),
        ("decode_2_general", general::decode_2_general, &[Symbols, Symbols], true),
        ("decode_4_general", general::decode_4_general, &[Symbols, Raw, Raw, Pairs], true),
        (
            "decode_4_general",
            general::decode_4_general,
            &[Raw, Symbols, Constant(0x81), Pairs],
            true,
        ),
        ("decode_4_general", general::decode_4_general, &[Symbols; 4], false),
        ("decode_4_general", general::decode_4_general, &[Raw, Raw, Raw, Symbols], true),
        (
            "decode_8_general",
            general::decode_8_general,
            &[Raw, Raw, Symbols, Constant(0), Symbols, Raw, Raw, Symbols],
            true,
        ),
        ("decode_8_general", general::decode_8_general, &[Symbols; 8], false),
        ("decode_1_general", general::decode_1_general, &[Classes], false),
        ("decode_2_general", general::decode_2_general, &[Raw, Classes], true),
        ("decode_2_general", general::decode_2_general, &[Symbols, Classes], false),
        ("decode_2_general", general::decode_2_general, &[InHeads, Heads { base: 113 }], true),
        (
            "decode_4_general",
            general::decode_4_general,
            &[Raw, Raw, InHeads, Heads { base: 113 }],
            true,
        ),
        (
            "decode_4_general",
            general::decode_4_general,
            &[Symbols, Classes, InHeads, Heads { base: 250 }],
            true,
        ),
        (
            "decode_8_general",
            general::decode_8_general,
            &[Raw, Raw, Raw, Raw, Raw, Raw, Classes, Classes],
            true,
        ),
    ];
    let subject = |(name, kernel, planes, rotated), states| Subject {
        name,
        kernel: Kernel::General(kernel),
        plan: plan(planes, rotated, states),
        memory: WarpMemory::GENERAL,
        // A table for each of the most warps that a test has.
        table_bytes: 3 * shared_layout::TABLE_BYTES,
        by_class: false,
    };
    plans.into_iter().flat_map(|plan| [1, 2].map(|states| subject(plan, states))).collect()
}
