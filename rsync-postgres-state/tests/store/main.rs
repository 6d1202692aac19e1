//! The store against a real PostgreSQL, beyond what the suite asks of every store.

mod lease;
mod moving;
mod server;

use rsync_core::Secret;
use rsync_core::ids::SyncId;
use rsync_core::state::{Mutation, StateSession, Table};
use rsync_postgres_state::{Builder, PostgresStore};
use rsync_testkit::postgres::{Cluster, Database};

fn database() -> Database {
    Cluster::shared().and_then(|cluster| cluster.database()).unwrap_or_else(|e| panic!("{e}"))
}

fn builder(database: &Database) -> Builder {
    PostgresStore::builder().connection(Secret::new(format!("{}?sslmode=disable", database.url())))
}

fn store(database: &Database) -> PostgresStore {
    builder(database).build().unwrap()
}

fn sync(name: &str) -> SyncId {
    SyncId::new(name).unwrap()
}

fn put(value: &[u8]) -> Vec<Mutation> {
    // `Mutation` may grow, so it is made by the variants that are there.
    vec![Mutation::Put { table: Table::Meta, key: b"k".to_vec(), value: value.to_vec() }]
}

async fn value(session: &dyn StateSession) -> Option<Vec<u8>> {
    session.get(Table::Meta, b"k").await.unwrap()
}
