//! What the conformance suites share.

mod case;
mod evidence;
mod report;

pub(crate) use case::{CaseResult, Stop, ensure, program, verdict};
pub(crate) use evidence::{Evidence, LogSearch};
pub use report::{CaseReport, SuiteReport, Verdict};
