//! The engine over in-memory parts: what a run promises, case by case.

mod crash;
mod plan;
mod random;
mod runs;
mod state;
mod stops;
mod support;
