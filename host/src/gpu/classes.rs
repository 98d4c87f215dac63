//! Which table codes which element, as the kernels take it.

use codec::device::{CLASS_RUN, KernelClasses};
use codec::tile::TiledBlock;

use crate::format::{ClassesRecord, TileClassesRecord};

/// What the kernels load at once.
const LIST_ALIGNMENT: usize = 16;
/// The most bytes of choices, one for each column of each row class, that a kernel by class gets: what
/// fits into the second-level cache beside everything else.
const MAX_CHOICE_BYTES: u64 = 1 << 18;
/// The same for all tensors of a decode, so that a file with many small tensors cannot ask for much.
const MAX_LIST_BYTES: usize = 1 << 23;
/// The most tables of such a kernel: an H100's multiprocessor has room for them and the rings.
const MAX_TABLES: usize = 12;

/// The classes of a decode, and the lists that they point to. All addresses count from the start of
/// the lists until [`ClassWork::place`].
#[derive(Debug, Clone, Default)]
pub(crate) struct ClassWork {
    pub(crate) records: Vec<KernelClasses>,
    /// The lists, each at a multiple of 16.
    pub(crate) lists: Vec<u8>,
}

impl ClassWork {
    /// The tables that a kernel by class needs in shared memory for this record, if it can be used at
    /// all: rows are whole runs of a lane, and neither tables nor choices are too many.
    pub(crate) fn tables_by_class(&self, record: &ClassesRecord) -> Option<u32> {
        let row_classes = (record.choice.len() / usize::from(record.column_class_count)) as u64;
        let fits = record.columns.is_multiple_of(u64::from(CLASS_RUN))
            && record.columns.saturating_mul(row_classes) <= MAX_CHOICE_BYTES
            && record.tables.len() <= MAX_TABLES
            && self.lists.len() <= MAX_LIST_BYTES;
        fits.then_some(record.tables.len() as u32)
    }

    /// Adds classes of rows and columns and returns their position; `tables` are the kernels'
    /// numbers of the record's tables.
    /// With what a kernel by class takes, if `by_class` says so.
    pub(crate) fn add_rows_and_columns(
        &mut self,
        record: &ClassesRecord,
        tables: &[u32],
        by_class: bool,
    ) -> u32 {
        let (table_list, choices) = if by_class {
            let list: Vec<u8> = tables.iter().copied().flat_map(u32::to_le_bytes).collect();
            (self.add_list(&list), self.add_list(&choices_of_columns(record)))
        } else {
            (0, 0)
        };
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
            table_count: record.tables.len() as u32,
            table_list,
            choices,
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
            table_count: 0,
            table_list: 0,
            choices: 0,
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
            record.table_list += lists;
            record.choices += lists;
        }
    }

    fn add(&mut self, record: KernelClasses) -> u32 {
        self.records.push(record);
        self.records.len() as u32 - 1
    }

    fn add_list(&mut self, bytes: &[u8]) -> u64 {
        let at = self.lists.len();
        self.lists.extend_from_slice(bytes);
        self.lists.resize(self.lists.len().next_multiple_of(LIST_ALIGNMENT), 0);
        at as u64
    }

    /// The table of padding, which is the first, and those of all choices.
    fn add_tables(&mut self, tables: &[u32], choices: impl Iterator<Item = u8>) -> u64 {
        let chosen = std::iter::once(0).chain(choices).map(|choice| tables[usize::from(choice)]);
        let bytes: Vec<u8> = chosen.flat_map(u32::to_le_bytes).collect();
        self.add_list(&bytes)
    }
}

/// Which of the record's tables each column takes, row class after row class.
fn choices_of_columns(record: &ClassesRecord) -> Vec<u8> {
    let of_classes = record.choice.chunks_exact(usize::from(record.column_class_count));
    of_classes
        .flat_map(|choice| {
            (0..record.columns as usize).map(|column| {
                let class = record.column_classes.get(column).copied().unwrap_or(0);
                choice[usize::from(class)]
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(columns: u64) -> ClassesRecord {
        ClassesRecord {
            columns,
            row_classes: vec![0, 1, 1],
            column_classes: vec![1, 0, 1],
            column_class_count: 2,
            choice: vec![2, 0, 1, 2],
            tables: vec![7, 8, 9],
        }
    }

    #[test]
    fn kernels_by_class_find_every_choice_where_they_look() {
        let record = record(16);
        let mut work = ClassWork::default();
        // So that nothing begins at 0.
        work.add_list(&[1, 2, 3]);
        let position = work.add_rows_and_columns(&record, &[70, 80, 90], true);
        work.place(1 << 20);
        let placed = work.records[position as usize];
        let list =
            |address: u64, bytes: usize| &work.lists[address as usize - (1 << 20)..][..bytes];
        assert_eq!((placed.table_count, placed.choices % 16), (3, 0));
        let tables: Vec<u8> = [70u32, 80, 90].into_iter().flat_map(u32::to_le_bytes).collect();
        assert_eq!(list(placed.table_list, 12), tables);
        let [first, second] = [0, 1].map(|class| list(placed.choices + 16 * class, 16));
        assert_eq!(first[..4], [0, 2, 0, 2]);
        assert_eq!(second[..4], [2, 1, 2, 1]);
        assert!(first[4..].iter().all(|&choice| choice == 2));
    }

    #[test]
    fn rows_that_are_no_runs_and_too_many_choices_take_the_general_kernel() {
        let work = ClassWork::default();
        assert_eq!(work.tables_by_class(&record(16)), Some(3));
        assert_eq!(work.tables_by_class(&record(24)), None);
        assert_eq!(work.tables_by_class(&record(MAX_CHOICE_BYTES / 2)), Some(3));
        assert_eq!(work.tables_by_class(&record(MAX_CHOICE_BYTES / 2 + 16)), None);
        let many = ClassesRecord { tables: vec![0; MAX_TABLES + 1], ..record(16) };
        assert_eq!(work.tables_by_class(&many), None);
        let full = ClassWork { lists: vec![0; MAX_LIST_BYTES + 1], ..ClassWork::default() };
        assert_eq!(full.tables_by_class(&record(16)), None);
    }
}
