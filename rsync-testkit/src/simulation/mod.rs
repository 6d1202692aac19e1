//! Deterministic simulation of the engine: the real pipeline between a source, a service and a state store that fail,
//! in virtual time, with an oracle that knows the truth.
//!
//! A seed becomes a [`Schedule`]: versions of a model, a subset of the [`FaultKind`]s, and the moments at which the
//! process dies. [`simulate`] plays it and tells the first invariant that broke; [`Campaign`] plays many and makes a
//! failure small.
//!
//! What a sync can do is a mode of the schedule, and a new one has four places:
//!
//! 1. `mode.rs`: what it is, how often seeds have it, its text in a schedule's line, what it asks of the pipeline's
//!    builder and of the service's capability. It draws from streams of its own, so that old lines stay what they were.
//! 2. The world: `history.rs` if models need another column or other changes over time, `fault.rs` for what can go
//!    wrong and for the [`Situation`]s that it must come into, `world.rs` for what others do at the service.
//! 3. The service: `service.rs` what it answers, `records.rs` what it holds.
//! 4. The oracle: `claims.rs` what the state may claim and when a record is as it should be (`unfinished`),
//!    `oracle.rs` what a call may carry and what a report must say.
//!
//! Then plant a defect in it (`rsync-core/src/defects.rs`) and see it caught.
//!
//! ```
//! use rsync_testkit::simulation::{Campaign, Schedule, simulate};
//!
//! let campaign = Campaign::play((0..5).map(Schedule::of_seed));
//! assert!(campaign.failure.is_none(), "{campaign}");
//!
//! // A failure is one line, and the line repeats it.
//! let line = "SEED=7 mode=[upsert,delete,touched] faults=[lost_after,crash_at_step] runs=[0,2]";
//! let schedule: Schedule = line.parse()?;
//! assert_eq!(schedule.to_string(), line);
//! assert_eq!(simulate(&schedule).trace, simulate(&schedule).trace);
//! # Ok::<(), String>(())
//! ```

mod campaign;
mod claims;
mod drive;
mod fault;
mod history;
mod keys;
mod mode;
mod oracle;
mod random;
mod records;
mod run;
mod schedule;
mod service;
mod source;
mod store;
mod world;

pub use campaign::{Campaign, shrink_with};
pub use fault::{FaultKind, FaultSet, Situation};
pub use oracle::Violation;
pub use run::{Outcome, simulate};
pub use schedule::Schedule;
