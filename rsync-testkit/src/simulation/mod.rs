//! Deterministic simulation of the engine: the real pipeline between a source, a service and a state store that fail,
//! in virtual time, with an oracle that knows the truth.
//!
//! A seed becomes a [`Schedule`]: versions of a model, a subset of the [`FaultKind`]s, and the moments at which the
//! process dies. [`simulate`] plays it and tells the first invariant that broke; [`Campaign`] plays many and makes a
//! failure small.
//!
//! ```
//! use rsync_testkit::simulation::{Campaign, Schedule, simulate};
//!
//! let campaign = Campaign::play((0..5).map(Schedule::of_seed));
//! assert!(campaign.failure.is_none(), "{campaign}");
//!
//! // A failure is one line, and the line repeats it.
//! let line = "SEED=7 faults=[lost_after,crash_at_step] runs=[0,2]";
//! let schedule: Schedule = line.parse()?;
//! assert_eq!(schedule.to_string(), line);
//! assert_eq!(simulate(&schedule).trace, simulate(&schedule).trace);
//! # Ok::<(), String>(())
//! ```

mod campaign;
mod drive;
mod fault;
mod history;
mod keys;
mod oracle;
mod random;
mod run;
mod schedule;
mod service;
mod source;
mod store;
mod world;

pub use campaign::Campaign;
pub use fault::{FaultKind, FaultSet};
pub use oracle::Violation;
pub use run::{Outcome, simulate};
pub use schedule::Schedule;
