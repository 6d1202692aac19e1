//! A strict local Customer.io workspace.
//!
//! Serves the Track API, version 2 and the calls of version 1 for people and segments, the region probe, and of the App
//! API what reads people, segments, activities and exports and what makes segments. A write is checked and accepted at once but applied after a delay, as by the real service:
//! [`CustomerIoSim::drain`] applies what is queued. What is not settled by public evidence is a switch in [`Quirks`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use rsync_testkit::sim::customerio::{CustomerIoSim, PersonSeed};
//!
//! let sim = CustomerIoSim::builder()
//!     .with_person(PersonSeed::with_id("a-1").email("ada@example.com").attribute("plan", "pro"))
//!     .start()
//!     .await?;
//! // Point a client at `sim.base_url()` with `sim.site_id()` and `sim.api_key()`, then look at what it did:
//! sim.drain();
//! let ada = sim.person_by_email("Ada@example.com").ok_or("not stored")?;
//! assert_eq!(ada.attributes["plan"], "pro");
//! assert_eq!(sim.stats().write_requests(), 0);
//! # Ok(())
//! # }
//! ```

mod activity;
mod app;
mod apply;
mod attributes;
mod builder;
mod check;
mod handle;
mod identifier;
mod inspect;
mod limits;
mod lint;
mod objects;
mod operation;
mod people;
mod queue;
mod quirks;
mod reply;
mod routes;
mod seed;
mod segments;
mod stats;
mod track_segments;
mod track_v1;
mod track_v2;
mod workspace;

pub use activity::{Activity, ActivityKind};
pub use builder::CustomerIoSimBuilder;
pub use handle::{CustomerIoSim, Object, Person, Relationship, SegmentMembers};
pub use lint::{Lint, LintKind};
pub use people::{Device, Event};
pub use quirks::{
    AppUnauthorizedBody, BatchOrder, BigIntegers, EmptyStrings, ErrorParts, IdentifierConflict, InvalidEmails,
    KnownEmailNewId, NestedValues, PartialStatus, Quirks, UnknownKeys, UnknownPerson,
};
pub use seed::{PersonSeed, RateLimits, Region, Seed, SegmentSeed, TopicSeed, WorkspaceMode};
pub use segments::SegmentKind;
pub use stats::CustomerIoStats;
