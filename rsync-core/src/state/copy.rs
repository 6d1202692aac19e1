//! Moving a sync from one store to another.

use crate::error::{Error, Kind, Result};
use crate::state::store::{Mutation, StateRead, StateSession, Table};

/// Records that are read at a time.
const PAGE: usize = 64;
/// Size at which a commit is closed.
const COMMIT_BYTES: usize = 8 << 20;

/// The record that the engine reads first.
const FORMAT: &[u8] = b"format";
/// What stands in its place during a copy: no record of the engine's, so nobody takes half a state for a whole one.
const UNFINISHED: &[u8] = b"unfinished copy";

/// Copies the state of a sync into another store, and returns the number of records.
///
/// Both sessions must be of a sync of the same name, since a state is bound to its name. `to` must be empty. A copy that
/// was cut short leaves a state that runs refuse as damaged, and that another copy replaces.
///
/// `from` keeps its records. Remove them once the sync runs with the new store: two copies that both run drift apart.
///
/// ```
/// # async fn example() -> rsync_core::Result<()> {
/// use rsync_core::ids::SyncId;
/// use rsync_core::state::{MemoryStore, StateStore, copy_state};
///
/// let (old, new) = (MemoryStore::new(), MemoryStore::new());
/// let sync = SyncId::new("customers")?;
/// let records = copy_state(&*old.acquire(&sync).await?, &*new.acquire(&sync).await?).await?;
/// # assert_eq!(records, 0);
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example()).unwrap();
/// ```
///
/// # Errors
///
/// [`Kind::StateMismatch`] if `to` holds a state, [`Kind::StateCorrupt`] if `from` holds an unfinished copy, and the
/// errors of the two stores.
pub async fn copy_state(from: &dyn StateSession, to: &dyn StateSession) -> Result<u64> {
    let format = from.get(Table::Meta, FORMAT).await?;
    if format.as_deref() == Some(UNFINISHED) {
        return Err(Error::new(Kind::StateCorrupt, "copy the state", "the state is itself an unfinished copy")
            .with_remedy("copy from the original"));
    }
    make_room(to).await?;
    to.commit(vec![put(Table::Meta, FORMAT.to_vec(), UNFINISHED.to_vec())]).await?;
    let mut writer = Writer { to, mutations: Vec::new(), bytes: 0, records: 0 };
    for table in Table::ALL {
        let mut pages = Pages::new(from, table);
        while let Some(page) = pages.next().await? {
            for (key, value) in page {
                if (table, key.as_slice()) != (Table::Meta, FORMAT) {
                    writer.write(table, key, value).await?;
                }
            }
        }
    }
    // Only now is it a state.
    match format {
        Some(format) => writer.write(Table::Meta, FORMAT.to_vec(), format).await?,
        None => writer.mutations.push(Mutation::Delete { table: Table::Meta, key: FORMAT.to_vec() }),
    }
    to.commit(writer.mutations).await?;
    Ok(writer.records)
}

/// Whether two states hold the same records.
pub(super) async fn is_same(one: &dyn StateRead, other: &dyn StateRead) -> Result<bool> {
    for table in Table::ALL {
        let (mut ours, mut theirs) = (Pages::new(one, table), Pages::new(other, table));
        loop {
            match (ours.next().await?, theirs.next().await?) {
                (None, None) => break,
                (ours, theirs) if ours == theirs => {}
                _ => return Ok(false),
            }
        }
    }
    Ok(true)
}

fn put(table: Table, key: Vec<u8>, value: Vec<u8>) -> Mutation {
    Mutation::Put { table, key, value }
}

/// Refuses what is a state, removes what a copy that was cut short has left.
async fn make_room(to: &dyn StateSession) -> Result<()> {
    let is_unfinished = to.get(Table::Meta, FORMAT).await?.as_deref() == Some(UNFINISHED);
    for table in Table::ALL {
        let mut pages = Pages::new(to, table);
        while let Some(page) = pages.next().await? {
            if !is_unfinished && !page.is_empty() {
                return Err(Error::new(Kind::StateMismatch, "copy the state", "the target holds a state already")
                    .with_context("table", table.as_str())
                    .with_remedy("copy into a store that has never seen this sync"));
            }
            let keys =
                page.into_iter().map(|(key, _)| key).filter(|key| (table, key.as_slice()) != (Table::Meta, FORMAT));
            to.commit(keys.map(|key| Mutation::Delete { table, key }).collect()).await?;
        }
    }
    Ok(())
}

struct Writer<'s> {
    to: &'s dyn StateSession,
    mutations: Vec<Mutation>,
    bytes: usize,
    records: u64,
}

impl Writer<'_> {
    async fn write(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        self.bytes += key.len() + value.len();
        self.records += 1;
        self.mutations.push(put(table, key, value));
        if self.bytes >= COMMIT_BYTES {
            self.bytes = 0;
            self.to.commit(std::mem::take(&mut self.mutations)).await?;
        }
        Ok(())
    }
}

/// A table, page by page.
struct Pages<'s> {
    read: &'s dyn StateRead,
    table: Table,
    /// None after the last page.
    from: Option<Vec<u8>>,
}

impl<'s> Pages<'s> {
    fn new(read: &'s dyn StateRead, table: Table) -> Self {
        Self { read, table, from: Some(Vec::new()) }
    }

    async fn next(&mut self) -> Result<Option<Vec<(Vec<u8>, Vec<u8>)>>> {
        let Some(from) = self.from.take() else { return Ok(None) };
        let page = self.read.scan(self.table, &from, PAGE).await?;
        if let Some((last, _)) = page.last().filter(|_| page.len() == PAGE) {
            let mut next = last.clone();
            next.push(0);
            self.from = Some(next);
        }
        Ok(Some(page))
    }
}
