#![doc = include_str!("../README.md")]

mod config;
mod failure;
mod schema;
mod session;
mod store;
mod wire;

pub use config::Builder;
pub use store::PostgresStore;
