//! The conformance suite of the `Destination` port.
//!
//! Whoever writes a destination supplies a [`Harness`]: how to reach the service, how to look at its records
//! without the adapter's help, and, where possible, how to make the service fail. The suite then drives the
//! adapter as the engine would and compares what it claims with what the service holds. The adapter's own
//! [`Capability`](rsync_core::Capability) selects the cases; a harness cannot leave one out by name, and without
//! read-back nothing passes.
//!
//! Inside a test, the report is the message of a failure:
//!
//! ```no_run
//! # use rsync_testkit::destination::{Harness, run};
//! # async fn example(harness: impl Harness) {
//! let report = run(&harness).await;
//! assert!(report.passed(), "{report}");
//! # }
//! ```
//!
//! [`main()`] makes a program of it, for a test target with `harness = false`. The example `custom_destination`
//! shows all of it: a destination of a hundred lines, its harness, and the table.
//!
//! | Module | What it holds |
//! | --- | --- |
//! | `harness` | what the author of a destination supplies |
//! | `run` | the runner |
//! | `bench` | the adapter under test, with every answer put on record |
//! | `sheet` | rows to write, and the comparison with what was stored |
//! | `cases` | the cases, by subject |
//! | `simulator` | faults and counts of a service on the test kit's own server |

mod bench;
mod cases;
mod harness;
mod run;
mod sheet;
mod simulator;

pub use harness::{
    Harness, HarnessResult, Quirks, Record, RequestCounts, RequestKind, SampleFields, ServiceFault, ServiceFaults,
};
pub use run::{main, run};
pub use simulator::SimulatorFaults;

pub use crate::suite::{CaseReport, SuiteReport, Verdict};
