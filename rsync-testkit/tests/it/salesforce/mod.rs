//! The Salesforce simulator over HTTP.

mod account;
mod client;
mod collections;
mod describe;
mod faults;
mod harness;
mod limits;
mod oauth;
mod program;
mod query;
mod recorded;
mod single;
mod state;
mod values;
