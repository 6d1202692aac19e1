//! The HubSpot simulator over HTTP.

mod account;
mod associations;
mod batch;
mod client;
mod consent;
mod erasure;
mod faults;
mod harness;
mod limits;
mod lists;
mod merge;
mod program;
mod properties;
mod recorded;
mod schemas;
mod search;
mod single;
mod state;
mod versions;
