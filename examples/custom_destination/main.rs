//! A destination of your own, and the proof that it behaves.
//!
//! A third party writes three things: how rows become a request (`encode`), what an answer says about each row
//! (`decode`), and what a refusal means (`classify`). Batching, retries, limits, diffs, state and reports come from
//! the engine. They are in `tickets.rs`, in fewer than a hundred lines.
//!
//! The conformance suite then drives the destination against the service (`service.rs`: here a small one of our
//! own invention, in your case a test server or a sandbox) through a harness (`harness.rs`), and makes the service
//! fail in every way a network can fail.
//!
//! ```text
//! cargo run --example custom_destination
//! ```
//!
//! prints one line a case and ends with an error code if one of them fails. In a crate of its own the same `main`
//! is a test target: `[[test]]` with `harness = false`.

mod harness;
mod service;
mod tickets;

fn main() -> std::process::ExitCode {
    rsync_testkit::destination::main(harness::TicketsHarness::start())
}
