//! Which table codes an element, where a tensor has several: by the classes of its row and column.
//!
//! Weights of one row, or one column, tend to be of one scale, so that rows and columns fall into
//! classes, and each pair of classes has a table that suits it.

/// The classes of a tensor's rows and columns. Its elements are taken as a matrix of rows of
/// `columns` elements, the last of which may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassMap<'a> {
    /// Elements of a row; not 0.
    pub columns: u64,
    /// The class of each row. Where there are no more, it is 0.
    pub row_classes: &'a [u8],
    /// The class of each column. Where there are no more, it is 0.
    pub column_classes: &'a [u8],
    /// Number of column classes; not 0.
    pub column_class_count: usize,
    /// The table of row class `r` and column class `c`, at `r * column_class_count + c`.
    pub choice: &'a [u8],
}

impl ClassMap<'_> {
    /// Writes the table of each of the elements from `first` on, row-major, to `out`.
    ///
    /// Panics where a class has no table: a reader has checked that each has.
    pub fn fill(&self, first: u64, out: &mut [u8]) {
        let mut row = first / self.columns;
        let mut column = first % self.columns;
        let mut rest = out;
        while !rest.is_empty() {
            let left = usize::try_from(self.columns - column).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at_mut(left.min(rest.len()));
            self.fill_row(row, column, now);
            (row, column, rest) = (row + 1, 0, later);
        }
    }

    fn fill_row(&self, row: u64, column: u64, out: &mut [u8]) {
        let class = at(self.row_classes, row);
        let choice = &self.choice[class * self.column_class_count..][..self.column_class_count];
        for (number, table) in out.iter_mut().enumerate() {
            *table = choice[at(self.column_classes, column + number as u64)];
        }
    }
}

/// The class at a position of a list, or 0 behind its end.
fn at(classes: &[u8], position: u64) -> usize {
    let class = usize::try_from(position).ok().and_then(|position| classes.get(position));
    usize::from(class.copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_stretch_is_the_same_part_of_the_whole() {
        let map = ClassMap {
            columns: 5,
            row_classes: &[0, 1, 0, 2],
            column_classes: &[1, 0, 1],
            column_class_count: 2,
            choice: &[10, 11, 20, 21, 30, 31],
        };
        let mut whole = [0; 23];
        map.fill(0, &mut whole);
        assert_eq!(whole[..5], [11, 10, 11, 10, 10]);
        assert_eq!(whole[5..10], [21, 20, 21, 20, 20]);
        assert_eq!(whole[15..23], [31, 30, 31, 30, 30, 11, 10, 11]);
        for first in 0..23 {
            for length in 0..=23 - first {
                let mut part = [0; 23];
                map.fill(first as u64, &mut part[..length]);
                assert_eq!(part[..length], whole[first..first + length]);
            }
        }
    }
}
