//! Decode tables as the kernels take them, kept for the next batch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use codec::device::KernelTable;
use codec::pair::expand_for_kernels;
use codec::rans::DecodeTable;

use crate::error::{Error, Result};
use crate::format::{Index, decode_frequencies};

/// Tables that are kept, of 17 KiB each.
const MOST_TABLES: usize = 2048;

/// Tables of one index, by number.
#[derive(Default)]
pub(crate) struct TableCache(Mutex<HashMap<u32, Arc<KernelTable>>>);

impl TableCache {
    /// The table `id` of a validated index, which is always the same one.
    pub(super) fn get(&self, index: &Index, id: u32) -> Result<Arc<KernelTable>> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = lock().get(&id) {
            return Ok(Arc::clone(table));
        }
        // Made without the lock: other threads need other tables.
        let record = &index.tables[id as usize];
        let frequencies = decode_frequencies(&record.frequencies)
            .map_err(|detail| Error::Internal { detail: format!("table {id}: {detail}") })?;
        let table = DecodeTable::new(&frequencies);
        let table = Arc::new(KernelTable {
            entries: table.entries().map(|entry| entry.0),
            expanded: expand_for_kernels(&record.ranks.unwrap_or_default()),
        });
        let mut known = lock();
        if known.len() < MOST_TABLES {
            known.insert(id, Arc::clone(&table));
        }
        Ok(table)
    }
}
