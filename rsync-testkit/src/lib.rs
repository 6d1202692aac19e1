//! The test kit of the Reverse ETL workspace.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`destination`] | the suite that every destination must pass |
//! | [`adapter`] | parts for the own tests of an adapter |
//! | [`sim`] | strict local simulators of services |
//! | [`postgres`] | a real PostgreSQL that a test starts by itself |
//!
//! A simulator is a real HTTP server on loopback that keeps records, enforces the service's rules and answers
//! with the service's bodies, so that an adapter, or any third-party client, can be driven offline. It runs inside
//! a test ([`sim::hubspot::HubSpotSim`]) or as the binary `rsync-sim`.

pub mod adapter;
pub mod destination;
pub mod postgres;
pub mod sim;
