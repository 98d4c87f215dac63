//! Totals per dtype.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::table::{Align, Table, grouped, ratio, ratio_text};

#[derive(Debug, Clone, Copy, Default)]
struct Total {
    tensors: u64,
    original_bytes: u64,
    encoded_bytes: u64,
}

impl Total {
    fn add(&mut self, original_bytes: u64, encoded_bytes: u64) {
        self.tensors += 1;
        self.original_bytes += original_bytes;
        self.encoded_bytes += encoded_bytes;
    }
}

/// Sums over the tensors of a file, dtype by dtype.
#[derive(Debug, Clone, Default)]
pub(super) struct DtypeTotals {
    by_name: BTreeMap<String, Total>,
    all: Total,
}

impl DtypeTotals {
    /// Counts a tensor.
    pub(super) fn add(&mut self, dtype: &str, original_bytes: u64, encoded_bytes: u64) {
        self.by_name.entry(dtype.to_owned()).or_default().add(original_bytes, encoded_bytes);
        self.all.add(original_bytes, encoded_bytes);
    }

    /// A line per dtype, one for what is no tensor (header, index, padding), and the whole file.
    pub(super) fn table(&self, original_bytes: u64, encoded_bytes: u64) -> String {
        let mut table = Table::new(&[
            ("Dtype", Align::Left),
            ("Tensors", Align::Right),
            ("Original bytes", Align::Right),
            ("Encoded bytes", Align::Right),
            ("Ratio", Align::Right),
        ]);
        for (dtype, total) in &self.by_name {
            table.row(cells(dtype, grouped(total.tensors), total));
        }
        // Tensors cannot hold more bytes than their file does.
        let rest = Total {
            tensors: 0,
            original_bytes: original_bytes.saturating_sub(self.all.original_bytes),
            encoded_bytes: encoded_bytes.saturating_sub(self.all.encoded_bytes),
        };
        let whole = Total { tensors: self.all.tensors, original_bytes, encoded_bytes };
        table.row(cells("(header, index)", String::new(), &rest));
        table.row(cells("Total", grouped(whole.tensors), &whole));
        table.render()
    }

    /// An array with an object per dtype.
    pub(super) fn json(&self) -> Value {
        let object = |(dtype, total): (&String, &Total)| {
            json!({
                "dtype": dtype,
                "tensors": total.tensors,
                "original_bytes": total.original_bytes,
                "encoded_bytes": total.encoded_bytes,
                "ratio": ratio(total.original_bytes, total.encoded_bytes),
            })
        };
        self.by_name.iter().map(object).collect()
    }
}

fn cells(name: &str, tensors: String, total: &Total) -> [String; 5] {
    [
        name.to_owned(),
        tensors,
        grouped(total.original_bytes),
        grouped(total.encoded_bytes),
        ratio_text(total.original_bytes, total.encoded_bytes),
    ]
}
