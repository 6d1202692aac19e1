//! A state store that can fail, and shows every commit to the oracle.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use rsync_core::ids::SyncId;
use rsync_core::state::{Mutation, StateRead, StateSession, StateStore, Table};
use rsync_core::{Error, Kind, MemoryStore, Result};

use super::fault::FaultKind;
use super::world::Shared;

#[derive(Clone, Debug)]
pub(super) struct SimulatedStore {
    pub(super) shared: Shared,
    pub(super) durable: MemoryStore,
}

#[derive(Debug)]
struct Session {
    shared: Shared,
    durable: Box<dyn StateSession>,
    broken: AtomicBool,
}

fn failed(what: &'static str) -> Error {
    Error::new(Kind::StateStore, "use the state", what)
}

#[async_trait]
impl StateStore for SimulatedStore {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    async fn acquire(&self, sync: &SyncId) -> Result<Box<dyn StateSession>> {
        if self.shared.lock().fires(FaultKind::StateOpenFails, 20) {
            return Err(failed("the disk does not answer"));
        }
        let durable = self.durable.acquire(sync).await?;
        Ok(Box::new(Session { shared: self.shared.clone(), durable, broken: AtomicBool::new(false) }))
    }
}

#[async_trait]
impl StateRead for Session {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.durable.get(table, key).await
    }

    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.durable.scan(table, from, limit).await
    }
}

#[async_trait]
impl StateSession for Session {
    async fn commit(&self, mutations: Vec<Mutation>) -> Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(failed("an earlier commit failed"));
        }
        self.shared.step().await;
        let fail = |kind, percent| {
            let mut world = self.shared.lock();
            let fails = world.fires(kind, percent);
            if fails {
                world.state_failed = true;
                self.broken.store(true, Ordering::Relaxed);
            }
            fails
        };
        if fail(FaultKind::CommitFailsBefore, 5) {
            return Err(failed("the disk is full"));
        }
        {
            let mut guard = self.shared.lock();
            let world = &mut *guard;
            for mutation in &mutations {
                match mutation {
                    // Runs carry the wall clock, which may jump.
                    Mutation::Put { table, key, value } if *table != Table::Runs => world.note((table, key, value)),
                    Mutation::Delete { table, key } => world.note((table, key)),
                    _ => {}
                }
            }
            let keys = world.keys;
            let (oracle, truth) = world.judge();
            oracle.committed(&mutations, &truth, keys);
        }
        self.durable.commit(mutations).await?;
        self.shared.step().await;
        if fail(FaultKind::CommitFailsAfter, 5) {
            return Err(failed("the disk did not say whether it is written"));
        }
        Ok(())
    }
}
