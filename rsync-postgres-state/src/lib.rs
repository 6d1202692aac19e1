#![doc = include_str!("../README.md")]

mod address;
mod config;
mod failure;
mod schema;
mod session;
mod store;
mod tls;
mod wire;

pub use config::Builder;
pub use store::PostgresStore;
