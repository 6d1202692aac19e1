#![doc = include_str!("../README.md")]

mod classify;
mod client;
mod config;
mod decode;
mod destination;
mod encode;
mod lookup;
mod object;
mod schema;
mod value;
mod wire;

pub use config::{ApiVersion, Builder, HubSpotConfig, RateTier};
pub use destination::HubSpot;
