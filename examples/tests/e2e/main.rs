//! Whole syncs over real files, real databases, real sockets and the services' own rules.

mod bad_input;
mod crash;
mod customerio;
mod customers;
mod hubspot;
mod interrupted;
mod place;
mod salesforce;
mod telco;
