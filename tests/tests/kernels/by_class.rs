//! Tables by class, as planes of all plans share them, and how a launch is told of them.

use codec::block::{BlockSpec, PlaneClasses, PlaneCoding};
use codec::classes::ClassMap;
use codec::constants::ALPHABET;
use codec::device::KernelClasses;
use codec::rans::{DecodeTable, EncodeTable, Frequencies, MixedTables, normalize};

/// Where the blocks begin in their tensor: neither at a row's start nor in the first.
pub(crate) const FIRST_ELEMENT: u64 = 1008;
/// Elements of a row: of elements of one byte whole runs of a lane, as the kernels by class take them.
fn columns(spec: &BlockSpec) -> u64 {
    if spec.planes().len() == 1 { 48 } else { 37 }
}

const ROW_CLASSES: [u8; 40] = {
    let mut classes = [0; 40];
    let mut row = 0;
    while row < 40 {
        classes[row] = (row * row % 3) as u8;
        row += 1;
    }
    classes
};
const COLUMN_CLASSES: [u8; 5] = [0, 1, 1, 0, 1];
const COLUMN_CLASS_COUNT: usize = 2;
const CHOICE: [u8; 6] = [1, 0, 1, 2, 2, 0];

/// Three tables in which every symbol has a slot, and which of them each element takes.
pub(crate) struct ByClass {
    pub(crate) decode: Vec<DecodeTable>,
    encode: Vec<EncodeTable>,
}

impl ByClass {
    pub(crate) fn new() -> Self {
        let tables: Vec<Frequencies> = [120u64, 40, 200]
            .map(|center| {
                let count = |symbol: u64| 1 + 4000 / (1 + symbol.abs_diff(center).pow(2));
                let counts: [u64; ALPHABET] = std::array::from_fn(|symbol| count(symbol as u64));
                normalize(&counts).expect("every symbol occurs")
            })
            .into();
        Self {
            decode: tables.iter().map(DecodeTable::new).collect(),
            encode: tables.iter().map(EncodeTable::new).collect(),
        }
    }

    /// The table of each element of a block.
    pub(crate) fn choice(spec: &BlockSpec) -> Vec<u8> {
        let map = ClassMap {
            columns: columns(spec),
            row_classes: &ROW_CLASSES,
            column_classes: &COLUMN_CLASSES,
            column_class_count: COLUMN_CLASS_COUNT,
            choice: &CHOICE,
        };
        let mut choice = vec![0; spec.elements];
        map.fill(FIRST_ELEMENT, &mut choice);
        choice
    }

    /// Gives `decode` the classes of each plane.
    pub(crate) fn with_decode<R>(
        &self,
        spec: &BlockSpec,
        decode: impl FnOnce(&PlaneClasses<'_, DecodeTable>) -> R,
    ) -> R {
        let choice = Self::choice(spec);
        decode(&of_planes(spec, MixedTables { tables: &self.decode, choice: &choice }))
    }

    /// Gives `encode` the classes of each plane.
    pub(crate) fn with_encode<R>(
        &self,
        spec: &BlockSpec,
        encode: impl FnOnce(&PlaneClasses<'_, EncodeTable>) -> R,
    ) -> R {
        let choice = Self::choice(spec);
        encode(&of_planes(spec, MixedTables { tables: &self.encode, choice: &choice }))
    }
}

/// Whether a plane is coded by class.
pub(crate) fn is_by_class(coding: PlaneCoding) -> bool {
    matches!(coding, PlaneCoding::Classes | PlaneCoding::Heads { .. })
}

fn of_planes<'a, T>(spec: &BlockSpec, classes: MixedTables<'a, T>) -> PlaneClasses<'a, T> {
    std::array::from_fn(|plane| {
        spec.planes().get(plane).filter(|&&coding| is_by_class(coding)).map(|_| classes)
    })
}

/// What a launch reads of the classes: once by rows and columns, once element by element.
pub(crate) struct ClassLists {
    by_element: Vec<u8>,
    rows: Vec<u8>,
    columns: Vec<u8>,
    tables: Vec<u32>,
    /// What a kernel by class takes: the different tables, and the choices of all columns.
    table_list: Vec<u32>,
    choices: Vec<u128>,
    column_count: u32,
}

impl ClassLists {
    /// Of tables that follow the kernels' table `first_table`, for blocks of up to `elements`.
    pub(crate) fn new(spec: &BlockSpec, first_table: u32, by_element: bool) -> Self {
        let choices: &[u8] = if by_element { &[0, 1, 2] } else { &CHOICE };
        let tables = std::iter::once(&0).chain(choices);
        let mut list = vec![0xEE; FIRST_ELEMENT as usize];
        list.extend(ByClass::choice(spec));
        Self {
            by_element: if by_element { list } else { Vec::new() },
            rows: ROW_CLASSES.to_vec(),
            columns: COLUMN_CLASSES.to_vec(),
            tables: tables.map(|&choice| first_table + u32::from(choice)).collect(),
            table_list: (0..3).map(|table| first_table + table).collect(),
            choices: choices_of_columns(columns(spec) as usize),
            column_count: columns(spec) as u32,
        }
    }

    pub(crate) fn bytes(&self) -> [&[u8]; 3] {
        [&self.by_element, &self.rows, &self.columns]
    }

    pub(crate) fn tables(&self) -> [&[u32]; 2] {
        [&self.tables, &self.table_list]
    }

    pub(crate) fn choices(&self) -> &[u128] {
        &self.choices
    }

    pub(crate) fn record(&self) -> KernelClasses {
        let address = |list: &[u8]| list.as_ptr().expose_provenance() as u64;
        let by_element = !self.by_element.is_empty();
        let rows = if by_element { &self.by_element } else { &self.rows };
        KernelClasses {
            rows: address(rows),
            columns_at: address(&self.columns),
            tables: self.tables.as_ptr().expose_provenance() as u64,
            row_count: rows.len() as u64,
            column_count: self.columns.len() as u32,
            columns: if by_element { 0 } else { self.column_count },
            column_class_count: COLUMN_CLASS_COUNT as u32,
            table_count: self.table_list.len() as u32,
            table_list: self.table_list.as_ptr().expose_provenance() as u64,
            choices: self.choices.as_ptr().expose_provenance() as u64,
        }
    }
}

/// The choice of each column of each row class, at multiples of 16.
fn choices_of_columns(columns: usize) -> Vec<u128> {
    let class = |column: usize| usize::from(COLUMN_CLASSES.get(column).copied().unwrap_or(0));
    let rows = CHOICE.chunks_exact(COLUMN_CLASS_COUNT);
    let bytes = rows.flat_map(|choice| (0..columns).map(move |column| choice[class(column)]));
    let bytes: Vec<u8> = bytes.collect();
    let whole = bytes.as_chunks::<16>().0;
    whole.iter().map(|sixteen| u128::from_le_bytes(*sixteen)).collect()
}
