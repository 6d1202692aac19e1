//! The port to a state store.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::ids::SyncId;

/// The tables of a sync's state. Keys are compared as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Table {
    /// Format, binding, counters, the list of segments: few small records.
    Meta,
    /// One record a batch, written before it is sent.
    Intents,
    /// One record a batch, written after its rows have their outcomes.
    Acks,
    /// Sorted blocks of key and row hashes.
    Keys,
    /// Blocks of field hashes and record ids, parallel to [`Table::Keys`].
    Images,
    /// One record a run.
    Runs,
    /// Jobs that are running at a destination.
    Jobs,
    /// Rows that the model cannot give back and the destination has not acknowledged, encrypted.
    Outbox,
}

impl Table {
    /// All tables.
    pub const ALL: [Table; 8] =
        [Table::Meta, Table::Intents, Table::Acks, Table::Keys, Table::Images, Table::Runs, Table::Jobs, Table::Outbox];

    /// A stable lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Intents => "intents",
            Table::Acks => "acks",
            Table::Keys => "keys",
            Table::Images => "images",
            Table::Runs => "runs",
            Table::Jobs => "jobs",
            Table::Outbox => "outbox",
        }
    }
}

/// One change inside a commit.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// Sets the value of a key.
    Put {
        /// The table.
        table: Table,
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// Removes a key; no error if it is not there.
    Delete {
        /// The table.
        table: Table,
        /// The key.
        key: Vec<u8>,
    },
}

impl Debug for Mutation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mutation::Put { table, value, .. } => write!(f, "Put({}, {} bytes)", table.as_str(), value.len()),
            Mutation::Delete { table, .. } => write!(f, "Delete({})", table.as_str()),
        }
    }
}

/// Reading access to the state of one sync.
#[async_trait]
pub trait StateRead: Debug + Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// [`Kind::StateStore`](crate::error::Kind::StateStore) or
    /// [`Kind::StateCorrupt`](crate::error::Kind::StateCorrupt).
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// The records of `table` from the key `from` on, in key order: `limit` of them, fewer only where the table ends.
    ///
    /// # Errors
    ///
    /// As [`StateRead::get`].
    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;
}

/// Exclusive access to the state of one sync. Dropping it releases the hold.
#[async_trait]
pub trait StateSession: StateRead + 'static {
    /// Applies all `mutations` in order, or none of them, and returns when they are durable.
    ///
    /// # Errors
    ///
    /// [`Kind::StateStore`](crate::error::Kind::StateStore); the session must not be used for another commit
    /// afterwards. A session that lost its hold on the sync fails here and changes nothing.
    async fn commit(&self, mutations: Vec<Mutation>) -> Result<()>;
}

/// A place that keeps the state of syncs.
#[async_trait]
pub trait StateStore: Debug + Send + Sync + 'static {
    /// A stable lower-case name of the kind of store.
    fn kind(&self) -> &'static str;

    /// Takes hold of the state of `sync`. A sync that was never seen has empty tables.
    ///
    /// # Errors
    ///
    /// [`Kind::AlreadyRunning`](crate::error::Kind::AlreadyRunning) if somebody else holds it,
    /// [`Kind::StateCorrupt`](crate::error::Kind::StateCorrupt) if what is stored is no state.
    async fn acquire(&self, sync: &SyncId) -> Result<Box<dyn StateSession>>;
}
