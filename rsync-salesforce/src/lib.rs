#![doc = include_str!("../README.md")]

mod classify;
mod client;
mod composite;
mod config;
mod decode;
mod destination;
mod encode;
mod lookup;
mod object;
mod origin;
mod quota;
mod record_id;
mod row;
mod schema;
mod soql;
mod token;
mod value;
mod wire;

pub use config::{AutoAssign, Builder, Credentials, DuplicateRules, SalesforceConfig};
pub use destination::Salesforce;
