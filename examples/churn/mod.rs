//! The churn example: the sync itself, and a portal to run it against.

mod portal;
mod sync;

pub use portal::{adapter, portal};
pub use sync::{MONEY, blank_clears, builder, mapping, source, target};
