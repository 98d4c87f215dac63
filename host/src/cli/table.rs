//! Tables and numbers as people read them.

/// How a column's cells are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows of text cells under headings; columns are as wide as their widest cell.
pub(super) struct Table {
    alignments: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings and no rows yet.
    pub(super) fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            alignments: columns.iter().map(|&(_, align)| align).collect(),
            rows: vec![columns.iter().map(|&(heading, _)| heading.to_owned()).collect()],
        }
    }

    /// Adds a row with one cell per column; control characters are escaped, so that names from a
    /// file leave the terminal as it is.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }

    /// The table, a line per row.
    pub(super) fn render(&self) -> String {
        let widths: Vec<usize> = (0..self.alignments.len()).map(|n| self.width(n)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.alignments);
            let padded = cells.map(|((cell, &width), align)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

/// `text` with its control characters escaped.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A whole number with thousands separators.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Original bytes over encoded bytes; none where nothing is stored.
pub(super) fn ratio(original: u64, encoded: u64) -> Option<f64> {
    (encoded > 0).then(|| original as f64 / encoded as f64)
}

/// [`ratio`] with four decimals, "-" for none.
pub(super) fn ratio_text(original: u64, encoded: u64) -> String {
    ratio(original, encoded).map_or("-".to_owned(), |ratio| format!("{ratio:.4}"))
}

/// Seconds and throughput, such as "in 0.52 s (1,234 MB/s)".
pub(super) fn speed(bytes: u64, seconds: f64) -> String {
    // A clock may not have moved at all over a few bytes.
    let megabytes_per_second = bytes as f64 / seconds.max(1e-9) / 1e6;
    format!("in {seconds:.2} s ({} MB/s)", grouped(megabytes_per_second.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three_digits() {
        let numbers = [0, 999, 1000, 12_345, 999_999, 1_000_000];
        let texts = numbers.map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "12,345", "999,999", "1,000,000"]);
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn ratios_have_four_decimals() {
        assert_eq!(ratio_text(3, 2), "1.5000");
        assert_eq!(ratio_text(0, 2), "0.0000");
        assert_eq!(ratio_text(2, 0), "-");
    }

    #[test]
    fn columns_line_up_and_names_are_escaped() {
        let mut table = Table::new(&[("Name", Align::Left), ("Bytes", Align::Right)]);
        table.row(["a\u{1b}[2J".to_owned(), "1".to_owned()]);
        table.row(["bé".to_owned(), "1,000,000".to_owned()]);
        let expected = "\
Name            Bytes
a\\u{1b}[2J          1
bé          1,000,000
";
        assert_eq!(table.render(), expected);
    }
}
