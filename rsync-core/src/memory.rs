//! A source, a destination, a clock and randomness that live in memory: for doc examples, for tests of the
//! engine, and as the reference that the conformance suite is tried on.
//!
//! All of them are strict. What the engine promises to a port is checked here, and a broken promise is a typed
//! error, never a panic.

mod clock;
mod destination;
mod source;
mod table;

pub use clock::{ManualClock, SeededRandomness};
pub use destination::{Fault, MemoryDestination, WriteCall};
pub use source::MemorySource;
