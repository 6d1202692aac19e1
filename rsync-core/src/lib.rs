#![doc = include_str!("../README.md")]

// First, for its macro.
#[macro_use]
#[doc(hidden)]
pub mod defects;

mod batch;
mod cancel;
pub mod capability;
pub mod clock;
pub mod destination;
pub mod error;
pub mod event;
pub mod exit;
pub mod guard;
pub mod identity;
pub mod ids;
mod limit;
pub mod mapping;
pub mod memory;
mod model;
pub mod outcome;
pub mod pipeline;
pub mod plan;
pub mod policy;
pub mod record;
pub mod report;
pub mod retry;
pub mod run;
mod secret;
pub mod source;
pub mod state;

pub use arrow;
pub use cancel::Cancel;
pub use capability::Capability;
pub use destination::{Destination, Target};
pub use error::{Error, Kind, Result, Retry};
pub use event::{Event, Observer, Owner};
pub use exit::{Exit, Exits, Scope};
pub use guard::Guard;
pub use identity::HashKey;
pub use limit::Limiter;
pub use mapping::{FieldMap, FieldRule, Mapping, NullRule};
pub use model::Model;
pub use pipeline::Pipeline;
pub use plan::Plan;
pub use policy::{CreateOnly, UpdateOnly, Upsert, UpsertPolicy};
pub use record::FieldType;
pub use report::{Report, RunStatus};
pub use run::Failure;
pub use secret::Secret;
pub use source::Source;
pub use state::{EmbeddedStore, MemoryStore};
