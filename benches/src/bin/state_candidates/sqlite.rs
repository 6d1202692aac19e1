//! The same two designs over SQLite: write-ahead log, synced at every commit.

use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use crate::blobs::{Blobs, Name, Writer};
use crate::workload::{Batch, FIELDS, IN_DOUBT, Result, Row, SYNCED, Store};

const TABLES: [&str; 5] = ["intents", "acks", "keys", "images", "files"];

fn open(path: &Path, cache_mib: usize) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -((cache_mib << 10) as i64))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Packed records in a SQLite file.
#[derive(Debug)]
pub(crate) struct Sqlite(Connection);

impl Sqlite {
    pub(crate) fn open(path: &Path, cache_mib: usize) -> Result<Self> {
        let connection = open(path, cache_mib)?;
        for table in TABLES {
            connection
                .execute_batch(&format!("create table if not exists {table} (id integer primary key, value blob)"))?;
        }
        Ok(Self(connection))
    }
}

struct SqliteWriter<'a>(&'a Connection);

impl Writer for SqliteWriter<'_> {
    fn put(&mut self, table: Name, key: u64, value: &[u8]) -> Result<()> {
        let table = TABLES[table as usize];
        let mut statement = self.0.prepare_cached(&format!("insert or replace into {table} values (?, ?)"))?;
        statement.execute(params![key as i64, value])?;
        Ok(())
    }

    fn remove(&mut self, table: Name, keys: Range<u64>) -> Result<()> {
        let table = TABLES[table as usize];
        let mut statement = self.0.prepare_cached(&format!("delete from {table} where id >= ? and id < ?"))?;
        statement.execute(params![keys.start as i64, keys.end as i64])?;
        Ok(())
    }
}

impl Blobs for Sqlite {
    fn write(&self, work: &mut dyn FnMut(&mut dyn Writer) -> Result<()>) -> Result<()> {
        let transaction = self.0.unchecked_transaction()?;
        work(&mut SqliteWriter(&transaction))?;
        Ok(transaction.commit()?)
    }

    fn get(&self, table: Name, key: u64) -> Result<Option<Vec<u8>>> {
        let table = TABLES[table as usize];
        let mut statement = self.0.prepare_cached(&format!("select value from {table} where id = ?"))?;
        Ok(statement.query_row([key as i64], |row| row.get(0)).optional()?)
    }

    fn scan(&self, table: Name, keys: Range<u64>, each: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let table = TABLES[table as usize];
        let sql = format!("select id, value from {table} where id >= ? and id < ? order by id");
        let mut statement = self.0.prepare_cached(&sql)?;
        let mut rows = statement.query(params![keys.start as i64, keys.end.min(i64::MAX as u64) as i64])?;
        while let Some(row) = rows.next()? {
            each(row.get::<_, i64>(0)? as u64, row.get_ref(1)?.as_blob()?)?;
        }
        Ok(())
    }
}

/// One row of a table a row.
#[derive(Debug)]
pub(crate) struct SqliteRows {
    connection: Connection,
    commits: u64,
}

impl SqliteRows {
    pub(crate) fn open(path: &Path, cache_mib: usize) -> Result<Self> {
        let connection = open(path, cache_mib)?;
        connection.execute_batch(
            "create table if not exists rows (key blob primary key, status integer, hash integer, fields blob, remote blob)
             without rowid",
        )?;
        Ok(Self { connection, commits: 0 })
    }
}

impl Store for SqliteRows {
    fn commit(&mut self, acked: &[Batch], sent: &[Batch]) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut ack = transaction.prepare_cached("update rows set status = ?, remote = ? where key = ?")?;
            for row in acked.iter().flat_map(|batch| &batch.rows) {
                ack.execute(params![SYNCED, row.remote, row.key.to_be_bytes()])?;
            }
            let mut intent = transaction.prepare_cached("insert or replace into rows values (?, ?, ?, ?, null)")?;
            for row in sent.iter().flat_map(|batch| &batch.rows) {
                let fields = row.fields.map(u64::to_le_bytes);
                intent.execute(params![row.key.to_be_bytes(), IN_DOUBT, row.hash as i64, fields.as_flattened()])?;
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
        self.rows(&mut |row| each(row.key, row.hash))
    }

    fn rows(&self, each: &mut dyn FnMut(&Row)) -> Result<()> {
        let mut statement = self.connection.prepare("select key, hash, fields, remote from rows order by key")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let fields: [u8; FIELDS * 8] = row.get(2)?;
            let fields =
                std::array::from_fn(|f| fields[f * 8..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)));
            let (key, hash) = (u128::from_be_bytes(row.get(0)?), row.get::<_, i64>(1)? as u64);
            each(&Row { key, hash, fields, remote: row.get(3)? });
        }
        Ok(())
    }
}
