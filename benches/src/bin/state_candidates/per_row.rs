//! One record a row in redb, updated when a row is sent and again when it is acknowledged.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::blobs::{RedbOptions, begin, open_redb};
use crate::workload::{Batch, FIELDS, IN_DOUBT, REMOTE, Result, Row, SYNCED, Store};

const VALUE: usize = 9 + FIELDS * 8 + REMOTE;
const ROWS: TableDefinition<'_, [u8; 16], [u8; VALUE]> = TableDefinition::new("rows");

/// Rows in the order of their key hashes.
#[derive(Debug)]
pub(crate) struct PerRow {
    db: Database,
    options: RedbOptions,
    commits: u64,
}

fn encode(row: &Row, status: u8) -> [u8; VALUE] {
    let mut value = [0; VALUE];
    value[0] = status;
    value[1..9].copy_from_slice(&row.hash.to_le_bytes());
    for (to, field) in value[9..].chunks_exact_mut(8).zip(row.fields) {
        to.copy_from_slice(&field.to_le_bytes());
    }
    if status == SYNCED {
        value[9 + FIELDS * 8..].copy_from_slice(&row.remote);
    }
    value
}

fn word(value: &[u8], at: usize) -> u64 {
    value[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl PerRow {
    pub(crate) fn open(path: &Path, options: RedbOptions) -> Result<Self> {
        let db = open_redb(path, options)?;
        let transaction = begin(&db, options)?;
        transaction.open_table(ROWS)?;
        transaction.commit()?;
        Ok(Self { db, options, commits: 0 })
    }

    /// Looks keys up one by one: the row hash, if the key is known.
    pub(crate) fn get(&self, keys: &[u128], found: &mut Vec<Option<u64>>) -> Result<()> {
        let table = self.db.begin_read()?.open_table(ROWS)?;
        found.clear();
        for key in keys {
            let entry = ReadableTable::get(&table, key.to_be_bytes())?;
            found.push(entry.map(|value| word(&value.value(), 1)));
        }
        Ok(())
    }

    /// Adds settled rows in key order, in one transaction.
    pub(crate) fn fill(&self, rows: impl Iterator<Item = Row>) -> Result<()> {
        let transaction = begin(&self.db, self.options)?;
        {
            let mut table = transaction.open_table(ROWS)?;
            let mut cursor = table.upper_bound_mut(std::ops::Bound::<[u8; 16]>::Unbounded)?;
            for row in rows {
                cursor.insert_before(row.key.to_be_bytes(), encode(&row, SYNCED))?;
            }
            cursor.close()?;
        }
        Ok(transaction.commit()?)
    }
}

impl Store for PerRow {
    fn commit(&mut self, acked: &[Batch], sent: &[Batch]) -> Result<()> {
        let transaction = begin(&self.db, self.options)?;
        {
            let mut table = transaction.open_table(ROWS)?;
            for (batches, status) in [(acked, SYNCED), (sent, IN_DOUBT)] {
                for row in batches.iter().flat_map(|batch| &batch.rows) {
                    table.insert(row.key.to_be_bytes(), encode(row, status))?;
                }
            }
        }
        transaction.commit()?;
        self.commits += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    fn commits(&self) -> u64 {
        self.commits
    }

    fn keys(&self, each: &mut dyn FnMut(u128, u64)) -> Result<()> {
        let table = self.db.begin_read()?.open_table(ROWS)?;
        for entry in ReadableTable::iter(&table)? {
            let (key, value) = entry?;
            each(u128::from_be_bytes(key.value()), word(&value.value(), 1));
        }
        Ok(())
    }

    fn rows(&self, each: &mut dyn FnMut(&Row)) -> Result<()> {
        let table = self.db.begin_read()?.open_table(ROWS)?;
        for entry in ReadableTable::iter(&table)? {
            let (key, value) = entry?;
            let (key, value) = (u128::from_be_bytes(key.value()), value.value());
            let fields = std::array::from_fn(|field| word(&value, 9 + field * 8));
            let remote = value.last_chunk().copied().unwrap_or_default();
            each(&Row { key, hash: word(&value, 1), fields, remote });
        }
        Ok(())
    }
}
