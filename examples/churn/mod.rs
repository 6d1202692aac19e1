//! The churn example: customers of a telephone company, synced to any of the services that this workspace knows.

pub mod customerio;
pub mod hubspot;
pub mod salesforce;
mod service;
mod source;
mod sync;

pub use service::Service;
pub use source::{csv, postgres};
pub use sync::{Fields, MONEY, blank_clears, builder, mapping};
