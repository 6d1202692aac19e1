#![doc = include_str!("../README.md")]

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

pub use config::{Builder, Numeric, PostgresConfig, Timeouts};
pub use source::PostgresSource;
