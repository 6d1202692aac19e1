//! The runner.

use std::future::Future;
use std::process::ExitCode;

use rsync_core::clock::{Randomness, SystemRandomness};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::bench::Bench;
use super::cases::{self, Case};
use super::harness::{Harness, HarnessResult};
use super::process::{self, Program};
use crate::suite::{self, CaseReport, Evidence, LogSearch, SuiteReport, Verdict};

/// Runs the suite as a program: starts the harness, prints the table, and tells the shell whether all is well.
///
/// For the cases with several processes the program starts itself again with the variables of
/// [`Harness::environment`]. `start` must look at them and find the place that they name.
///
/// ```no_run
/// # use rsync_testkit::state::{Harness, HarnessResult};
/// # fn example<H: Harness>(start: impl Future<Output = HarnessResult<H>>) -> std::process::ExitCode {
/// rsync_testkit::state::main(start)
/// # }
/// ```
pub fn main<H: Harness>(start: impl Future<Output = HarnessResult<H>>) -> ExitCode {
    if let Some(role) = process::role() {
        return process::play(role, start);
    }
    suite::program(async {
        let harness = start.await?;
        let program = Program::of(&harness);
        HarnessResult::Ok(run_all(&harness, program).await)
    })
}

/// Runs every case that the harness allows, one after the other, without those that need several processes.
///
/// A panic in the store fails the case it happens in. Log lines are searched for keys and values as far as they are
/// written within the store's own futures.
pub async fn run(harness: &dyn Harness) -> SuiteReport {
    run_all(harness, None).await
}

async fn run_all(harness: &dyn Harness, program: Option<Program>) -> SuiteReport {
    let draw = SystemRandomness.next_u64();
    let seed = std::env::var("RSYNC_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(draw % 1_000_000);
    // Drawn anew each time, so that runs against a shared store do not meet.
    let canary = format!("cnry{:08x}", draw >> 32);
    let mut needles = vec![
        ("a key or a value", canary.clone()),
        ("a key or a value in hexadecimal", canary.bytes().map(|byte| format!("{byte:02x}")).collect()),
        ("a key or a value as numbers", format!("{:?}", canary.as_bytes()).trim_matches(['[', ']']).to_owned()),
    ];
    needles.extend(harness.secrets().into_iter().map(|secret| ("a secret", secret)));
    let evidence = Evidence::new(needles);
    let logs = Dispatch::new(LogSearch::new(evidence.clone()));

    let mut report = SuiteReport { subject: "a state store".to_owned(), cases: Vec::new() };
    for (index, case) in cases::all().enumerate() {
        let work = async {
            let store = harness.open().await?;
            evidence.search_debug("the store", &store);
            report.subject = format!("the state store `{}`", store.kind());
            // The name of a sync may be shown, so it does not hold the canary itself.
            let marker = format!("{:08x}-{index}", draw as u32);
            let bench = Bench::new(harness, store, &evidence, program.clone(), seed, marker, &canary);
            let result = (case.run)(&bench).await;
            harness.mend().await?;
            result
        };
        let verdict = suite::verdict(work, &evidence).with_subscriber(logs.clone()).await;
        let Case { number, name, .. } = *case;
        let blind = index == 0 && matches!(verdict, Verdict::Failed(_));
        report.cases.push(CaseReport { number, name, verdict });
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
