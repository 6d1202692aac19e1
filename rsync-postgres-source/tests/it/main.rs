//! The source against a real PostgreSQL.

mod columns;
mod compare;
mod failures;
mod oracle;
mod random;
mod reading;
mod support;
mod syncs;

mod values;
