//! Where packed records are kept: a few tables from a number to bytes, written in durable transactions.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition};

use crate::workload::Result;

/// A table of a [`Blobs`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Name {
    /// Batch number to the hashes of its rows.
    Intents,
    /// Batch number to the outcomes and remote ids of its rows.
    Acks,
    /// Segment and block to sorted keys with row hash and status.
    Keys,
    /// Segment and block to all else that is known of the same rows.
    Images,
    /// Names of files that belong to the state.
    Files,
}

/// The write side of a transaction.
pub(crate) trait Writer {
    fn put(&mut self, table: Name, key: u64, value: &[u8]) -> Result<()>;
    fn remove(&mut self, table: Name, keys: Range<u64>) -> Result<()>;
}

/// A transactional store of packed records.
pub(crate) trait Blobs {
    /// Runs `work` in one durable transaction.
    fn write(&self, work: &mut dyn FnMut(&mut dyn Writer) -> Result<()>) -> Result<()>;
    fn get(&self, table: Name, key: u64) -> Result<Option<Vec<u8>>>;
    fn scan(&self, table: Name, keys: Range<u64>, each: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()>;
}

const TABLES: [TableDefinition<'_, u64, &[u8]>; 5] = [
    TableDefinition::new("intents"),
    TableDefinition::new("acks"),
    TableDefinition::new("keys"),
    TableDefinition::new("images"),
    TableDefinition::new("files"),
];

/// How a redb file is opened and committed to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RedbOptions {
    pub(crate) cache_mib: usize,
    pub(crate) two_phase: bool,
    pub(crate) quick_repair: bool,
}

/// Opens or creates a file with permissions of our own; redb's own `create` would leave them to the umask.
pub(crate) fn open_redb(path: &Path, options: RedbOptions) -> Result<Database> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut open = File::options();
    let file = open.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let mut builder = Builder::new();
    builder.set_cache_size(options.cache_mib << 20);
    Ok(builder.create_with_backend(FileBackend::new(file)?)?)
}

/// Begins a transaction that is on the disk when its commit returns.
pub(crate) fn begin(db: &Database, options: RedbOptions) -> Result<redb::WriteTransaction> {
    let mut transaction = db.begin_write()?;
    transaction.set_durability(redb::Durability::Immediate)?;
    transaction.set_two_phase_commit(options.two_phase);
    transaction.set_quick_repair(options.quick_repair);
    Ok(transaction)
}

/// Packed records in a redb file.
#[derive(Debug)]
pub(crate) struct Redb {
    db: Database,
    options: RedbOptions,
}

impl Redb {
    pub(crate) fn open(path: &Path, options: RedbOptions) -> Result<Self> {
        let db = open_redb(path, options)?;
        let transaction = begin(&db, options)?;
        for table in TABLES {
            transaction.open_table(table)?;
        }
        transaction.commit()?;
        Ok(Self { db, options })
    }

    /// Bytes of the file a table takes, with what its pages leave unused.
    pub(crate) fn allocated(&self, table: Name) -> Result<u64> {
        let stats = self.db.begin_read()?.open_table(TABLES[table as usize])?.stats()?;
        Ok(stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes())
    }

    /// Gives free pages back to the file system.
    pub(crate) fn compact(&mut self) -> Result<bool> {
        Ok(self.db.compact()?)
    }
}

/// Opens tables when they are first written: most transactions need two of them.
struct RedbWriter<'a> {
    transaction: &'a redb::WriteTransaction,
    open: [Option<Table<'a, u64, &'static [u8]>>; TABLES.len()],
}

impl<'a> RedbWriter<'a> {
    fn table(&mut self, name: Name) -> Result<&mut Table<'a, u64, &'static [u8]>> {
        let slot = &mut self.open[name as usize];
        Ok(match slot {
            Some(table) => table,
            None => slot.insert(self.transaction.open_table(TABLES[name as usize])?),
        })
    }
}

impl Writer for RedbWriter<'_> {
    fn put(&mut self, table: Name, key: u64, value: &[u8]) -> Result<()> {
        self.table(table)?.insert(key, value)?;
        Ok(())
    }

    fn remove(&mut self, table: Name, keys: Range<u64>) -> Result<()> {
        Ok(self.table(table)?.retain_in(keys, |_, _| false)?)
    }
}

impl Blobs for Redb {
    fn write(&self, work: &mut dyn FnMut(&mut dyn Writer) -> Result<()>) -> Result<()> {
        let transaction = begin(&self.db, self.options)?;
        work(&mut RedbWriter { transaction: &transaction, open: Default::default() })?;
        Ok(transaction.commit()?)
    }

    fn get(&self, table: Name, key: u64) -> Result<Option<Vec<u8>>> {
        let table = self.db.begin_read()?.open_table(TABLES[table as usize])?;
        Ok(ReadableTable::get(&table, key)?.map(|value| value.value().to_vec()))
    }

    fn scan(&self, table: Name, keys: Range<u64>, each: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let table = self.db.begin_read()?.open_table(TABLES[table as usize])?;
        for entry in ReadableTable::range(&table, keys)? {
            let (key, value) = entry?;
            each(key.value(), value.value())?;
        }
        Ok(())
    }
}
