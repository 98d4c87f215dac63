//! Which table codes which element of a plane by class.

use codec::device::KernelClasses;
use cuda_std::global;

/// The choices of one element after the other.
pub(crate) struct Choices {
    classes: KernelClasses,
    /// Where the elements are chosen for by rows and columns: the next one's.
    row: u64,
    column: u32,
    /// Class of the row, times the number of column classes.
    row_choices: u32,
}

/// The class at a position of a list of `count`, or 0 behind its end.
///
/// # Safety
///
/// The list is readable for its length.
#[inline(always)]
pub(crate) unsafe fn class_at(list: u64, count: u64, position: u64) -> u32 {
    if position < count {
        // SAFETY: within the list.
        u32::from(unsafe { global::load_u8((list as *const u8).add(position as usize)) })
    } else {
        0
    }
}

impl Choices {
    /// Choices by `classes`, from nowhere: [`Choices::seek`] comes first.
    #[inline(always)]
    pub(crate) fn new(classes: KernelClasses) -> Self {
        Self { classes, row: 0, column: 0, row_choices: 0 }
    }

    /// Goes to an element, counted like [`codec::device::BlockTask::first`].
    ///
    /// # Safety
    ///
    /// What the classes point to is readable, and holds no class that has no table.
    #[inline(always)]
    pub(crate) unsafe fn seek(&mut self, element: u64) {
        if self.classes.columns == 0 {
            self.row = element;
            return;
        }
        let columns = u64::from(self.classes.columns);
        self.row = element / columns;
        self.column = (element % columns) as u32;
        // SAFETY: the caller's promise.
        unsafe { self.enter_row() };
    }

    #[inline(always)]
    unsafe fn enter_row(&mut self) {
        // SAFETY: the caller's promise.
        let class = unsafe { class_at(self.classes.rows, self.classes.row_count, self.row) };
        self.row_choices = class * self.classes.column_class_count;
    }

    /// The position of the table of what pads streams.
    ///
    /// # Safety
    ///
    /// As for [`Choices::seek`].
    #[inline(always)]
    pub(crate) unsafe fn first(&self) -> u32 {
        // SAFETY: there is a table at least.
        unsafe { global::load_u32(self.classes.tables as *const u32) }
    }

    /// The position of the element's table; then goes on to the next element.
    ///
    /// # Safety
    ///
    /// As for [`Choices::seek`].
    #[inline(always)]
    pub(crate) unsafe fn next(&mut self) -> u32 {
        let KernelClasses { rows, row_count, columns_at, column_count, columns, .. } = self.classes;
        // SAFETY: the caller's promise.
        let choice = unsafe {
            if columns == 0 {
                self.row += 1;
                class_at(rows, row_count, self.row - 1)
            } else {
                let column = u64::from(self.column);
                self.row_choices + class_at(columns_at, u64::from(column_count), column)
            }
        };
        if columns != 0 {
            self.column += 1;
            if self.column == columns {
                (self.row, self.column) = (self.row + 1, 0);
                // SAFETY: the caller's promise.
                unsafe { self.enter_row() };
            }
        }
        // SAFETY: every choice has a table, and they follow that of padding.
        unsafe { global::load_u32((self.classes.tables as *const u32).add(1 + choice as usize)) }
    }
}
