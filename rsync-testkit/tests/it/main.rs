//! Tests of the simulators over HTTP.

mod clients;
mod customerio;
mod hubspot;
mod postgres;
mod salesforce;
