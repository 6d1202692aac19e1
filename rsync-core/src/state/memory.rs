//! State without a disk.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::ids::SyncId;
use crate::state::store::{Mutation, StateRead, StateSession, StateStore, Table};

type Records = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

#[derive(Default)]
struct Slot {
    records: Mutex<Records>,
    held: AtomicBool,
}

/// State that lives as long as the value: for tests, dry runs and examples. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<HashMap<SyncId, Arc<Slot>>>>);

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}

struct MemorySession(Arc<Slot>);

impl fmt::Debug for MemorySession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemorySession")
    }
}

impl Drop for MemorySession {
    fn drop(&mut self) {
        self.0.held.store(false, Ordering::Release);
    }
}

impl MemorySession {
    fn with<R>(&self, f: impl FnOnce(&mut Records) -> R) -> R {
        f(&mut self.0.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn acquire(&self, sync: &SyncId) -> Result<Box<dyn StateSession>> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(sync.clone()).or_default())
        };
        if slot.held.swap(true, Ordering::AcqRel) {
            return Err(Error::new(
                Kind::AlreadyRunning,
                "take hold of the state",
                "another run of this sync holds it",
            )
            .with_context("sync", sync)
            .with_remedy("wait until it ends; a plan that was neither applied nor dropped also holds it"));
        }
        Ok(Box::new(MemorySession(slot)))
    }
}

#[async_trait]
impl StateRead for MemorySession {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.with(|records| records.get(&(table, key.to_vec())).cloned()))
    }

    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(self.with(|records| {
            records
                .range((table, from.to_vec())..)
                .take_while(|((t, _), _)| *t == table)
                .take(limit.max(1))
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect()
        }))
    }
}

#[async_trait]
impl StateSession for MemorySession {
    async fn commit(&self, mutations: Vec<Mutation>) -> Result<()> {
        self.with(|records| {
            for mutation in mutations {
                match mutation {
                    Mutation::Put { table, key, value } => records.insert((table, key), value),
                    Mutation::Delete { table, key } => records.remove(&(table, key)),
                };
            }
        });
        Ok(())
    }
}
