//! The Customer.io simulator over HTTP.

mod account;
mod app;
mod attributes;
mod batch;
mod client;
mod faults;
mod harness;
mod identity;
mod objects;
mod people;
mod program;
mod recorded;
mod state;
mod v1;
