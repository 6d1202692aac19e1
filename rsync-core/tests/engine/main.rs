//! The engine over in-memory parts: what a run promises, case by case.

mod append;
mod append_histories;
mod audience;
mod crash;
mod exits;
mod exposed;
mod fields;
mod fields_random;
mod formats;
mod guesses;
mod identity;
mod initial;
mod jobs;
mod lifecycle;
#[cfg(target_os = "linux")]
mod memory_dump;
mod merge;
mod modes;
mod plan;
mod poison;
mod runs;
mod schemas;
mod state;
mod stops;
mod support;
mod timing;
