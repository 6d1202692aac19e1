#![doc = include_str!("../README.md")]

mod address;
mod column;
mod config;
mod copy;
mod describe;
mod failure;
mod form;
mod numeric;
mod query;
mod session;
mod source;
mod tls;

pub use config::{Builder, Numeric, PostgresConfig, Timeouts};
pub use source::PostgresSource;
