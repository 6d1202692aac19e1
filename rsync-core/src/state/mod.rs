//! What is remembered between runs: the port to a store, and the records that the engine keeps in it.
//!
//! A [`StateStore`] is an ordered key-value store with atomic, durable, exclusive commits; it knows nothing of
//! syncs. The formats of keys and values are the engine's ([`codec`]), so every store holds the same bytes and
//! a sync can be moved by copying them.

pub mod codec;
mod embedded;
mod index;
mod journal;
mod memory;
mod segment;
mod store;

pub use embedded::EmbeddedStore;
pub(crate) use index::{Acknowledged, Prior};
pub(crate) use journal::Journal;
pub use memory::MemoryStore;
pub use store::{Mutation, StateRead, StateSession, StateStore, Table};
