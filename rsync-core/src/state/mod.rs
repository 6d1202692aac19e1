//! What is remembered between runs: the port to a store, and the records that the engine keeps in it.
//!
//! A [`StateStore`] is an ordered key-value store with atomic, durable, exclusive commits; it knows nothing of
//! syncs. The formats of keys and values are the engine's ([`codec`]), so every store holds the same bytes and
//! a sync can be moved by copying them.

mod claims;
pub mod codec;
mod copy;
mod doubt;
mod embedded;
mod index;
mod journal;
mod life;
mod memory;
mod migration;
mod notes;
mod records;
mod segment;
mod standing;
mod store;

pub(crate) use claims::{Claims, claim_of};
pub use copy::copy_state;
pub use embedded::EmbeddedStore;
pub(crate) use index::{Acknowledged, Prior};
pub(crate) use journal::Journal;
pub use life::StateMark;
pub(crate) use life::{DefinedColumn, DefinedField, Definition, OpenJob, Postponed};
pub use memory::MemoryStore;
pub(crate) use migration::bring_up;
pub(crate) use records::BoundRecord;
pub(crate) use segment::Remap;
pub use store::{Mutation, StateRead, StateSession, StateStore, Table};
