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
pub mod field_policy;
pub mod guard;
pub mod identity;
pub mod ids;
mod initial_load;
mod limit;
pub mod mapping;
pub mod memory;
pub mod model;
pub mod normalise;
pub mod outcome;
pub mod pipeline;
pub mod plan;
pub mod policy;
pub mod record;
pub mod report;
pub mod retry;
pub mod run;
mod seal;
mod secret;
pub mod source;
pub mod state;
pub mod window;

pub use arrow;
pub use cancel::Cancel;
pub use capability::Capability;
pub use destination::{Destination, Target};
pub use error::{Error, Kind, Result, Retry};
pub use event::{Event, Observer, Owner};
pub use exit::{Exit, Exits, Scope};
pub use field_policy::FieldPolicy;
pub use guard::Guard;
pub use identity::HashKey;
pub use initial_load::InitialLoad;
pub use limit::Limiter;
pub use mapping::{FieldMap, FieldRule, Mapping, NullRule};
pub use model::Model;
pub use normalise::Normaliser;
pub use pipeline::Pipeline;
pub use plan::{Plan, PlanOptions, Resend};
pub use policy::{Append, Audience, CreateOnly, Rebound, UpdateOnly, Upsert, UpsertPolicy};
pub use record::FieldType;
pub use report::{Report, RunStatus};
pub use run::Failure;
pub use secret::Secret;
pub use source::Source;
pub use state::{EmbeddedStore, MemoryStore, StateMark};
pub use window::{DailyWindow, Window};
