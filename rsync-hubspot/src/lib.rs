#![doc = include_str!("../README.md")]

mod audience;
mod classify;
mod client;
mod config;
mod decode;
mod destination;
mod encode;
mod lookup;
mod object;
mod place;
mod property;
mod quota;
mod schema;
mod token;
mod value;
mod wire;

pub use config::{ApiVersion, Builder, HubSpotConfig, OAuth, RateTier};
pub use destination::HubSpot;
pub use property::NewProperty;
