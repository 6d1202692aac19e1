//! What the state knows of the records behind keys: their ids, and who made them. Kept out of the index, since only
//! exits ask for it, and only for the keys that left.

use std::collections::HashSet;

use super::index::Acknowledged;
use super::segment::{Pending, read_block};
use super::store::StateRead;
use crate::error::Result;
use crate::ids::{KeyHash, RemoteId};
use crate::state::codec::{Standing, Status};

/// The record behind a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BoundRecord {
    /// Its id, where the destination told it.
    pub(crate) id: Option<RemoteId>,
    /// Whether this sync made it.
    pub(crate) created: bool,
}

/// A record while entries of its key are read, newest first.
#[derive(Clone, Default)]
struct Gathered {
    id: String,
    created: bool,
    /// The status of the newest entry.
    newest: Option<Status>,
    /// Older entries speak of another record.
    closed: bool,
}

impl Gathered {
    fn take(&mut self, status: Status, anew: bool, id: &str, created: bool) {
        let newest = *self.newest.get_or_insert(status);
        if self.closed {
            return;
        }
        self.closed = anew || newest.voids(status);
        if newest.voids(status) {
            return;
        }
        if self.id.is_empty() {
            id.clone_into(&mut self.id);
        }
        self.created |= created;
    }
}

impl Acknowledged {
    /// The records behind the keys at `positions`, which ascend. Reads only the blocks that hold one of them.
    pub(crate) async fn records(&self, read: &dyn StateRead, positions: &[usize]) -> Result<Vec<BoundRecord>> {
        let keys: Vec<u128> = positions.iter().map(|position| self.key(*position)).collect();
        let mut gathered = vec![Gathered::default(); keys.len()];
        let pending = self.pending(read).await?;
        for entry in pending.entries() {
            if let Ok(slot) = keys.binary_search(&entry.key) {
                gathered[slot].take(entry.status, entry.anew, entry.id, entry.created);
            }
        }
        for ((meta, _), firsts) in self.segments.iter().zip(&self.first_keys).rev() {
            let mut open = None;
            for (key, gathered) in keys.iter().zip(&mut gathered).filter(|(_, gathered)| !gathered.closed) {
                let Some(number) = firsts.partition_point(|first| first <= key).checked_sub(1) else { continue };
                if !matches!(&open, Some((n, _, _)) if *n == number) {
                    let (block, images) = read_block(read, meta.id, number as u32).await?;
                    open = Some((number, block, images));
                }
                let Some((_, block, images)) = &open else { continue };
                if let Ok(row) = block.keys.binary_search(key) {
                    let Standing { status, anew, created, .. } = block.status[row];
                    gathered.take(status, anew, images.ids.get(row), created);
                }
            }
        }
        let bound =
            |Gathered { id, created, .. }| BoundRecord { id: (!id.is_empty()).then(|| RemoteId::new(id)), created };
        Ok(gathered.into_iter().map(bound).collect())
    }

    /// Positions, ascending, of keys of which any entry names one of `ids`; an entry that is no longer in force
    /// counts too. Reads the whole state.
    pub(crate) async fn naming(&self, read: &dyn StateRead, ids: &HashSet<RemoteId>) -> Result<Vec<usize>> {
        let wanted: HashSet<&str> = ids.iter().map(RemoteId::as_str).collect();
        let mut keys: Vec<u128> = self
            .pending(read)
            .await?
            .entries()
            .filter(|entry| wanted.contains(entry.id))
            .map(|entry| entry.key)
            .collect();
        for (meta, _) in &self.segments {
            for number in 0..meta.blocks() {
                let (block, images) = read_block(read, meta.id, number).await?;
                let named = block.keys.iter().enumerate().filter(|(row, _)| wanted.contains(images.ids.get(*row)));
                keys.extend(named.map(|(_, key)| *key));
            }
        }
        let mut positions: Vec<usize> = keys.into_iter().filter_map(|key| self.find(KeyHash(key))).collect();
        positions.sort_unstable();
        positions.dedup();
        Ok(positions)
    }

    /// The batches that are in no segment yet, read once more; without their images.
    async fn pending(&self, read: &dyn StateRead) -> Result<Pending> {
        Ok(self.load_pending(read, &[]).await?.0)
    }
}
