//! The Customer.io simulator over HTTP.

mod account;
mod app;
mod app_reads;
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
mod segments;
mod state;
mod v1;
