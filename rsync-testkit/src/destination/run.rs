//! The runner.

use std::future::Future;
use std::process::ExitCode;

use rsync_core::clock::{Randomness, SystemRandomness};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::bench::Bench;
use super::cases::{self, Case};
use super::harness::{Harness, HarnessResult};
use crate::suite::{self, CaseReport, Evidence, LogSearch, SuiteReport, Verdict};

/// Runs the suite as a program: starts the harness, prints the table, and tells the shell whether all is well.
///
/// ```no_run
/// # use rsync_testkit::destination::{Harness, HarnessResult};
/// # fn example<H: Harness>(start: impl Future<Output = HarnessResult<H>>) -> std::process::ExitCode {
/// rsync_testkit::destination::main(start)
/// # }
/// ```
pub fn main<H: Harness>(start: impl Future<Output = HarnessResult<H>>) -> ExitCode {
    suite::program(async { HarnessResult::Ok(run(&start.await?).await) })
}

/// Runs every case that the adapter's capability and the harness allow, one after the other.
///
/// A panic in the adapter fails the case it happens in. Log lines are searched for values as far as they are
/// written within the adapter's own futures.
pub async fn run(harness: &dyn Harness) -> SuiteReport {
    // Drawn anew each time, so that runs against a shared service do not meet.
    let canary = format!("cnry{:08x}", SystemRandomness.next_u64() as u32);
    let mut needles = vec![("a cell value", canary.clone())];
    needles.extend(harness.fields().invalid.map(|(_, text)| ("a refused cell value", text)));
    needles.extend(harness.secrets().into_iter().map(|secret| ("a secret", secret)));
    let evidence = Evidence::new(needles);
    let logs = Dispatch::new(LogSearch::new(evidence.clone()));

    let mut report =
        SuiteReport { subject: format!("the destination `{}`", harness.destination().kind()), cases: Vec::new() };
    for (index, case) in cases::all().enumerate() {
        let verdict =
            run_case(harness, case, &evidence, format!("{canary}-{index}")).with_subscriber(logs.clone()).await;
        let blind = index == 0 && matches!(verdict, Verdict::Failed(_));
        report.cases.push(CaseReport { number: case.number, name: case.name, verdict });
        if blind {
            break;
        }
    }
    if let Err(error) = harness.cleanup().await {
        let verdict = Verdict::Failed(format!("the harness failed: {error}"));
        report.cases.push(CaseReport { number: "-", name: "what the suite made is removed", verdict });
    }
    report
}

async fn run_case(harness: &dyn Harness, case: &Case, evidence: &Evidence, marker: String) -> Verdict {
    let work = async {
        let bench = Bench::new(harness, harness.fresh_target().await?, evidence, marker);
        let result = (case.run)(&bench).await;
        if let Some(faults) = harness.faults() {
            faults.disarm().await?;
        }
        result
    };
    suite::verdict(work, evidence).await
}
