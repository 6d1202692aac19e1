//! The test kit of the Reverse ETL workspace.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`destination`] | the suite that every destination must pass |
//! | [`adapter`] | parts for the own tests of an adapter |
//! | [`sim`] | strict local simulators of services |
//! | [`state`] | the suite that every state store must pass |
//! | [`kill`] | whole runs over a real state store, in a process that is killed again and again |
//! | [`simulation`] | pipelines under faults and crashes, in virtual time, with an oracle |
//! | [`postgres`] | a real PostgreSQL that a test starts by itself |
//!
//! A simulator is a real HTTP server on loopback that keeps records, enforces the service's rules and answers
//! with the service's bodies, so that an adapter, or any third-party client, can be driven offline. It runs inside
//! a test ([`sim::hubspot::HubSpotSim`]) or as the binary `rsync-sim`.

pub mod adapter;
pub mod destination;
pub mod kill;
pub mod postgres;
pub mod sim;
pub mod simulation;
pub mod state;
mod suite;
