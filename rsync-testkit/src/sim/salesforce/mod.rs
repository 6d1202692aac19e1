//! A strict local Salesforce.
//!
//! Serves accounts, contacts, leads, opportunities, cases and custom objects in the API versions v60 to v68: the token
//! endpoint, descriptions, limits, single records, sObject Collections and queries. What is not settled by public
//! evidence is a switch in [`Quirks`].
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
mod collections;
mod decimal;
mod describe;
mod field;
mod handle;
mod id;
mod inspect;
mod keys;
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
mod seed;
mod session;
mod single;
mod soql;
mod standard;
mod stats;
mod value;
mod write;

pub use builder::SalesforceSimBuilder;
pub use handle::{Record, SalesforceSim};
pub use quirks::{
    AllFailedStatus, BadAssertion, CreatedFlag, EmptyText, ErrorDescription, ExtraDecimals, FailedIds, MalformedValues,
    NotFoundBody, OuterWhitespace, Quirks, RowLocks, SessionTimer, SingleUpsertUpdate, UnknownClient, UpdateOnlyMiss,
};
pub use seed::{FieldSeed, ObjectSeed, RowFault, Seed};
pub use stats::SalesforceStats;
