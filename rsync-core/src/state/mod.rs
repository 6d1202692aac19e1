//! What is remembered between runs: the port to a store, and the records that the engine keeps in it.
//!
//! A [`StateStore`] is an ordered key-value store with atomic, durable, exclusive commits; it knows nothing of
//! syncs. The formats of keys and values are the engine's ([`codec`]), so every store holds the same bytes and
//! a sync can be moved by copying them.

pub mod codec;
mod copy;
mod embedded;
mod index;
mod journal;
mod memory;
mod records;
mod segment;
mod standing;
mod store;

pub use copy::copy_state;
pub use embedded::EmbeddedStore;
pub(crate) use index::{Acknowledged, Prior};
pub(crate) use journal::Journal;
pub use memory::MemoryStore;
pub(crate) use records::BoundRecord;
pub use store::{Mutation, StateRead, StateSession, StateStore, Table};
