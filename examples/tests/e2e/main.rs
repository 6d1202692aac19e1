//! Whole syncs over real files, real sockets and the service's own rules.

mod bad_input;
mod crash;
mod customers;
mod telco;
