//! A strict local HubSpot CRM.
//!
//! Serves contacts, companies, deals, tickets, products and custom objects in the API versions v3, 2026-03 and
//! 2026-09: batch and single record endpoints, merges and GDPR deletion, search, associations with their labels, lists
//! and their members, communication preferences, property definitions and groups, schemas of custom objects, account
//! information and OAuth token refresh. What is not settled by public evidence is a switch in [`Quirks`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use rsync_testkit::sim::hubspot::{HubSpotSim, PropertySeed};
//!
//! let sim = HubSpotSim::builder()
//!     .with_property("contacts", PropertySeed::unique_text("external_id"))
//!     .with_record("contacts", [("email", "ada@example.com"), ("external_id", "a-1")])
//!     .start()
//!     .await?;
//! // Point a client at `sim.base_url()` with the bearer token `sim.token()`, then look at what it did:
//! let ada = sim.record_by("contacts", "external_id", "a-1").ok_or("not stored")?;
//! assert_eq!(ada.properties["email"], "ada@example.com");
//! assert_eq!(sim.stats().write_requests, 0);
//! # Ok(())
//! # }
//! ```

mod account;
mod association;
mod batch;
mod builder;
mod consent;
mod definition;
mod groups;
mod handle;
mod handle_relations;
mod in_flight;
mod inspect;
mod instant;
mod limits;
mod lists;
mod merge;
mod object_type;
mod portal;
mod property_endpoints;
mod quirks;
mod record_body;
mod records;
mod reply;
mod routes;
mod schemas;
mod search;
mod seed;
mod single;
mod standard;
mod stats;
mod value;
mod wire;
mod write;

pub use association::AssociationCategory;
pub use builder::HubSpotSimBuilder;
pub use consent::SubscriptionStatus;
pub use handle::{HubSpotSim, Record};
pub use handle_relations::{Association, List};
pub use lists::ListProcessing;
pub use quirks::{
    ConcurrentWrites, DateEcho, DatedPartialStatus, EmailDefinition, EmailUpsert, MergeSurvivor, MergedIds,
    MissingInputs, MissingScopesBody, MixedIdProperties, NumberSpelling, OuterWhitespace, OwnAlias, Quirks,
    RequiredProperties, Resubscription, ResultOrder, SearchPolicyName, TraceIdEcho, UniqueValues, UnknownGroups,
    UpsertConflict, ValueTypes,
};
pub use seed::{
    AssociationLabelSeed, CustomObjectSeed, DEFAULT_TOKEN, ListSeed, OauthClientSeed, PropertySeed, RateLimits, Seed,
    SubscriptionSeed, Tier, TokenSeed, all_scopes,
};
pub use stats::HubSpotStats;
