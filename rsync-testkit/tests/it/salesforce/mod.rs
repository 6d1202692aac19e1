//! The Salesforce simulator over HTTP.

mod account;
mod bulk;
mod bulk_files;
mod client;
mod collections;
mod composite;
mod describe;
mod faults;
mod harness;
mod jobs;
mod lifecycle;
mod limits;
mod oauth;
mod program;
mod query;
mod recorded;
mod rules;
mod single;
mod state;
mod values;
