//! The conformance suite of the `StateStore` port.
//!
//! Whoever writes a store supplies a [`Harness`]: how to open the store, and as far as that can be done from outside, how
//! to crash it, damage it, make its writes fail and take its hold away. The suite then checks the rules of
//! `docs/specs/state-store.md`. What the harness offers selects the cases; it cannot leave one out by name.
//!
//! Inside a test, the report is the message of a failure:
//!
//! ```no_run
//! # use rsync_testkit::state::{Harness, run};
//! # async fn example(harness: impl Harness) {
//! let report = run(&harness).await;
//! assert!(report.passed(), "{report}");
//! # }
//! ```
//!
//! [`main()`] makes a program of it, for a test target with `harness = false`. Only there the cases with several
//! processes run: the program starts itself again and kills what it started.
//!
//! Random cases draw a seed and name it when they fail; `RSYNC_SEED` sets it.
//!
//! | Module | What it holds |
//! | --- | --- |
//! | `harness` | what the author of a store supplies |
//! | `run` | the runner |
//! | `process` | other processes that use the store, and their end |
//! | `bench` | a store and its sessions, with every error put on record |
//! | `content` | records as they should be |
//! | `cases` | the cases, by subject |

mod bench;
mod cases;
mod content;
mod harness;
mod process;
mod run;

pub use harness::{Damage, Harness, HarnessResult, StoreFault};
pub use run::{main, run};

pub use crate::suite::{CaseReport, SuiteReport, Verdict};
