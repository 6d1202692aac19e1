//! The store.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::Result;
use rsync_core::clock::Clock;
use rsync_core::ids::SyncId;
use rsync_core::state::{StateSession, StateStore};
use rsync_postgres::{Address, Tls};
use tokio::task::JoinHandle;

use crate::config::Builder;
use crate::schema::Schema;
use crate::session;

/// State in a schema of a PostgreSQL database, for any number of processes on any number of machines. Clones share it.
///
/// See the [crate's documentation](crate) for how a sync is held.
#[derive(Clone)]
pub struct PostgresStore(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) address: Address,
    pub(crate) tls: Tls,
    pub(crate) schema: Schema,
    pub(crate) lease: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    /// Sessions that were dropped and may not have released their sync yet.
    farewells: Mutex<HashMap<SyncId, JoinHandle<()>>>,
}

impl Inner {
    /// The last farewell of a session of this sync, if nobody has waited for it yet.
    fn farewell(&self, sync: &SyncId) -> Option<JoinHandle<()>> {
        self.farewells.lock().unwrap_or_else(PoisonError::into_inner).remove(sync)
    }

    pub(crate) fn put_farewell(&self, sync: SyncId, farewell: JoinHandle<()>) {
        self.farewells.lock().unwrap_or_else(PoisonError::into_inner).insert(sync, farewell);
    }
}

impl PostgresStore {
    /// Starts to put a store together.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(address: Address, tls: Tls, schema: Schema, lease: Duration, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { address, tls, schema, lease, clock, farewells: Mutex::default() }))
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("server", &self.0.address.server)
            .field("database", &self.0.address.database)
            .field("user", &self.0.address.user)
            .field("schema", &self.0.schema.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl StateStore for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    async fn acquire(&self, sync: &SyncId) -> Result<Box<dyn StateSession>> {
        if let Some(farewell) = self.0.farewell(sync) {
            // A farewell that failed leaves the sync to its lease.
            let _ = farewell.await;
        }
        let session = session::open(Arc::clone(&self.0), sync).await.map_err(|e| e.with_context("sync", sync))?;
        Ok(Box::new(session))
    }
}
