//! The test kit of the Reverse ETL workspace: strict local simulators of the destinations' services.
//!
//! A simulator is a real HTTP server on loopback that keeps records, enforces the service's rules and answers
//! with the service's bodies, so that an adapter, or any third-party client, can be driven offline. It runs inside
//! a test ([`sim::hubspot::HubSpotSim`]) or as the binary `rsync-sim`.

pub mod adapter;
pub mod destination;
pub mod postgres;
pub mod sim;
