//! Whole syncs over real files, real databases, real sockets and the services' own rules.

#![allow(clippy::print_stdout, reason = "seeds and figures")]

mod bad_input;
mod crash;
mod customerio;
mod customers;
mod hubspot;
mod interrupted;
mod place;
mod salesforce;
mod telco;
