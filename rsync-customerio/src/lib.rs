#![doc = include_str!("../README.md")]

mod classify;
mod client;
mod config;
mod decode;
mod destination;
mod encode;
mod event;
mod object;
mod person;
mod policy;
mod schema;
mod segment;
mod value;
mod wire;

pub use config::{Builder, CustomerIoConfig, Region, RequestRate};
pub use destination::CustomerIo;
pub use policy::{Deletion, EmptyText};
