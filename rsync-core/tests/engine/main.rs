//! The engine over in-memory parts: what a run promises, case by case.

mod crash;
mod exits;
mod modes;
mod plan;
mod random;
mod runs;
mod state;
mod stops;
mod support;
