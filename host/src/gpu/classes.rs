//! Which table codes which element, as the general kernel takes it.

use codec::device::KernelClasses;
use codec::tile::TiledBlock;

use crate::format::{ClassesRecord, TileClassesRecord};

/// The classes of a decode, and the lists that they point to. All addresses count from the start of
/// the lists until [`ClassWork::place`].
#[derive(Debug, Clone, Default)]
pub(crate) struct ClassWork {
    pub(crate) records: Vec<KernelClasses>,
    /// The lists, each at a multiple of 4.
    pub(crate) lists: Vec<u8>,
}

impl ClassWork {
    /// Adds classes of rows and columns and returns their position; `tables` are the kernels'
    /// numbers of the record's tables.
    pub(crate) fn add_rows_and_columns(&mut self, record: &ClassesRecord, tables: &[u32]) -> u32 {
        let rows = self.add_list(&record.row_classes);
        let columns_at = self.add_list(&record.column_classes);
        let tables = self.add_tables(tables, record.choice.iter().copied());
        self.add(KernelClasses {
            rows,
            columns_at,
            tables,
            row_count: record.row_classes.len() as u64,
            column_count: record.column_classes.len() as u32,
            columns: record.columns as u32,
            column_class_count: u32::from(record.column_class_count),
            padding: 0,
        })
    }

    /// Adds room for choices element by element, for so many blocks of tiles, and returns their
    /// position; [`ClassWork::fill`] says what they are.
    pub(crate) fn add_elements(&mut self, elements: usize, tables: &[u32]) -> u32 {
        let rows = self.add_list(&vec![0; elements]);
        let choices = (0..tables.len()).map(|choice| choice as u8);
        let tables = self.add_tables(tables, choices);
        self.add(KernelClasses {
            rows,
            columns_at: 0,
            tables,
            row_count: elements as u64,
            column_count: 0,
            columns: 0,
            column_class_count: 0,
            padding: 0,
        })
    }

    /// The choices of a block of tiles, whose first element has the number `first` in its list.
    pub(crate) fn fill(
        &mut self,
        position: u32,
        first: usize,
        block: &TiledBlock<'_>,
        record: &TileClassesRecord,
    ) {
        let at = self.records[position as usize].rows as usize + first;
        let elements = block.grid().elements as usize;
        block.fill_choice(&record.choice, &mut self.lists[at..][..elements]);
    }

    /// Makes addresses of offsets, for lists that lie at `lists`.
    pub(crate) fn place(&mut self, lists: u64) {
        for record in &mut self.records {
            record.rows += lists;
            record.columns_at += lists;
            record.tables += lists;
        }
    }

    fn add(&mut self, record: KernelClasses) -> u32 {
        self.records.push(record);
        self.records.len() as u32 - 1
    }

    fn add_list(&mut self, bytes: &[u8]) -> u64 {
        let at = self.lists.len();
        self.lists.extend_from_slice(bytes);
        self.lists.resize(self.lists.len().next_multiple_of(size_of::<u32>()), 0);
        at as u64
    }

    /// The table of padding, which is the first, and those of all choices.
    fn add_tables(&mut self, tables: &[u32], choices: impl Iterator<Item = u8>) -> u64 {
        let chosen = std::iter::once(0).chain(choices).map(|choice| tables[usize::from(choice)]);
        let bytes: Vec<u8> = chosen.flat_map(u32::to_le_bytes).collect();
        self.add_list(&bytes)
    }
}
