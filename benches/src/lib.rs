//! Shared parts of the benchmark binaries: clocks and memory as the operating system accounts them, seeded data, and
//! the two output forms (a Markdown table for readers, one JSON line a result for scripts).
#![allow(clippy::print_stdout, reason = "printing results is what a benchmark is for")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the machine's clocks")]

pub mod meter;
pub mod report;
pub mod sample;
