//! A strict local Salesforce.
//!
//! Serves accounts, contacts, leads, opportunities, cases and custom objects in the API versions v60 to v68: the token
//! endpoint, descriptions, limits, single records, sObject Collections, composite requests, queries and the ingest
//! jobs of Bulk API 2.0. What is not settled by public evidence is a switch in [`Quirks`]. Not simulated are the other
//! composite resources (`graph`, `tree`), bulk queries and Bulk API 1.0: they answer 404 and are counted as unknown.
//!
//! Jobs need no thread: whatever the clock says is due has been done before anybody looks, a request or a test. On a
//! clock of the test, advance it between polls.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use rsync_testkit::sim::salesforce::{FieldSeed, SalesforceSim};
//!
//! let sim = SalesforceSim::builder()
//!     .with_field("Contact", FieldSeed::external_id("Ext__c"))
//!     .with_record("Contact", [("LastName", "Lovelace"), ("Email", "Ada@example.com"), ("Ext__c", "c-1")])
//!     .start()
//!     .await?;
//! // Point a client at `sim.base_url()`, let it sign in as `sim.username()` with `sim.client_id()` and
//! // `sim.private_key_pem()`, then look at what it did:
//! let ada = sim.record_by("Contact", "Ext__c", "c-1").ok_or("not stored")?;
//! assert_eq!(ada.fields["Email"], "ada@example.com");
//! assert_eq!(sim.stats().write_requests, 0);
//! # Ok(())
//! # }
//! ```

mod builder;
mod bulk;
mod collections;
mod composite;
mod decimal;
mod describe;
mod field;
mod handle;
mod id;
mod inspect;
mod keys;
mod lifecycle;
mod limits;
mod locks;
mod oauth;
mod object;
mod org;
mod query;
mod quirks;
mod record_body;
mod records;
mod reply;
mod routes;
mod rules;
mod seed;
mod session;
mod single;
mod soql;
mod standard;
mod stats;
mod value;
mod write;

pub use builder::SalesforceSimBuilder;
pub use bulk::{BulkJob, BulkSettings, JobFault, JobTrouble};
pub use handle::{Record, SalesforceSim};
pub use quirks::{
    AllFailedStatus, BadAssertion, CreatedFlag, EmbeddedLineEnds, EmptyResults, EmptyText, ErrorDescription,
    ExtraDecimals, FailedIds, MalformedValues, NotFoundBody, OuterWhitespace, Quirks, RepeatedClose, RepeatedUpload,
    RowLocks, SessionRefusal, SessionTimer, SingleUpsertUpdate, UnknownClient, UpdateOnlyMiss,
};
pub use rules::{AssignmentRule, DuplicateRule, Refused, ValidationRule};
pub use seed::{FieldSeed, ObjectSeed, RowFault, Seed};
pub use stats::SalesforceStats;
