//! Local simulators of remote services.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`server`] | the loopback HTTP(S) server every simulator runs on |
//! | [`fault`] | fault plans: which request fails, and how |
//! | [`journal`] | what was requested, never what it carried |
//! | [`salesforce`] | the Salesforce simulator |
//! | [`hubspot`] | the HubSpot CRM simulator |
//! | [`customerio`] | the Customer.io simulator |

pub mod customerio;
mod error;
pub mod fault;
pub mod hubspot;
mod in_flight;
mod inspection;
pub mod journal;
pub(crate) mod rng;
pub mod salesforce;
pub mod server;
mod tls;

pub use error::SimError;
