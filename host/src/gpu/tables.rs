//! Decode tables as the kernels take them, kept for the next batch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use codec::device::KernelTable;
use codec::rans::DecodeTable;

use crate::error::{Error, Result};
use crate::format::{Index, decode_frequencies};

/// Tables that are kept, of 17 KiB each.
const MOST_TABLES: usize = 2048;

/// A table of an index, and whether its symbols are to be [unrotated](KernelTable::unrotated).
pub(super) type TableKey = (u32, bool);

/// Tables of one index.
#[derive(Default)]
pub(crate) struct TableCache(Mutex<HashMap<TableKey, Arc<KernelTable>>>);

impl TableCache {
    /// The table `key` of a validated index, which is always the same one.
    pub(super) fn get(&self, index: &Index, key: TableKey) -> Result<Arc<KernelTable>> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = lock().get(&key) {
            return Ok(Arc::clone(table));
        }
        // Made without the lock: other threads need other tables.
        let (id, unrotated) = key;
        let record = &index.tables[id as usize];
        let frequencies = decode_frequencies(&record.frequencies)
            .map_err(|detail| Error::Internal { detail: format!("table {id}: {detail}") })?;
        let table = DecodeTable::new(&frequencies);
        let table = KernelTable::new(&table, record.ranks.as_ref());
        let table = Arc::new(if unrotated { table.unrotated() } else { table });
        let mut known = lock();
        if known.len() < MOST_TABLES {
            known.insert(key, Arc::clone(&table));
        }
        Ok(table)
    }
}
