//! Under construction.
pub mod capability;
pub mod clock;
pub mod destination;
pub mod error;
pub mod event;
pub mod ids;
pub mod outcome;
pub mod record;
mod secret;
pub mod source;

pub use arrow;
pub use capability::Capability;
pub use destination::Destination;
pub use error::{Error, Kind, Result, Retry};
pub use secret::Secret;
pub use source::Source;
