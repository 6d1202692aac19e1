//! The HubSpot simulator over HTTP.

mod account;
mod batch;
mod client;
mod faults;
mod harness;
mod limits;
mod program;
mod properties;
mod recorded;
mod search;
mod single;
mod state;
mod versions;
