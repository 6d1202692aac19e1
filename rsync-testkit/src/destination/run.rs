//! The runner.

use std::any::Any;
use std::future::Future;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Duration;

use futures::FutureExt;
use rsync_core::clock::{Randomness, SystemRandomness};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::bench::{Bench, CaseResult, Stop};
use super::cases::{self, Case};
use super::evidence::{Evidence, LogSearch};
use super::harness::{Harness, HarnessResult};
use super::report::{CaseReport, SuiteReport, Verdict};

/// A case that takes longer hangs.
const CASE_LIMIT: Duration = Duration::from_secs(120);

/// Runs the suite as a program: starts the harness, prints the table, and tells the shell whether all is well.
///
/// ```no_run
/// # use rsync_testkit::destination::{Harness, HarnessResult};
/// # fn example<H: Harness>(start: impl Future<Output = HarnessResult<H>>) -> std::process::ExitCode {
/// rsync_testkit::destination::main(start)
/// # }
/// ```
pub fn main<H: Harness>(start: impl Future<Output = HarnessResult<H>>) -> ExitCode {
    let work = async { HarnessResult::Ok(run(&start.await?).await) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let report = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(work));
    let (text, passed) = match report {
        Ok(report) => (report.to_string(), report.passed()),
        Err(error) => (format!("the harness did not start: {error}"), false),
    };
    let printed = writeln!(std::io::stdout().lock(), "{text}");
    if passed && printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

    let mut report = SuiteReport { destination: harness.destination().kind().to_owned(), cases: Vec::new() };
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
    let guarded = tokio::time::timeout(CASE_LIMIT, AssertUnwindSafe(work).catch_unwind());
    let result: CaseResult = match guarded.await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => {
            let text = panic_text(&*panic);
            evidence.search("a panic", text);
            Stop::failed(format!("a panic: {text}"))
        }
        Err(_) => Stop::failed(format!("no end within {} s", CASE_LIMIT.as_secs())),
    };
    match result {
        Ok(remark) => Verdict::Passed(remark),
        Err(Stop::Failed(why)) => Verdict::Failed(why),
        Err(Stop::NotApplicable(why)) => Verdict::NotApplicable(why),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of no text")
}
