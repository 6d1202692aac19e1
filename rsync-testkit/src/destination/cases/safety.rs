//! Credentials, dropped calls, unknown jobs, and silence about values.

use std::time::Duration;

use rsync_core::clock::{Clock, SystemClock};
use rsync_core::ids::JobToken;
use rsync_core::{Kind, Retry};

use crate::destination::bench::{Bench, CaseResult, Stage, Stop, ensure};
use crate::destination::cases::faults::both_fail;
use crate::destination::harness::{RequestKind, ServiceFault};

/// How long a call is left alone before it is dropped, and its traces before they are counted.
const A_MOMENT: Duration = Duration::from_millis(150);

pub(super) async fn unauthenticated(bench: &Bench<'_>) -> CaseResult {
    let Some(destination) = bench.harness.unauthenticated() else {
        return Stop::not_applicable("the harness has no adapter with wrong credentials");
    };
    bench.evidence.search_debug("the adapter with wrong credentials", &*destination);
    let meaning = (Kind::Unauthenticated, Retry::Never, "that stays so");
    let expected = both_fail(bench, &*destination, meaning, "with wrong credentials").await?;
    ensure!(bench.stored(&expected[0].0).await?.is_none(), "a row was written with wrong credentials");
    Ok(None)
}

pub(super) async fn dropped(bench: &Bench<'_>) -> CaseResult {
    let operation = bench.operation(Stage::New)?;
    let count = bench.rows_for(Stage::New, 3)?;
    let (sheet, expected) = bench.sample("", count);
    let clock = SystemClock::new();

    // Dropped while the answer is awaited, where the harness can delay it; dropped right after the first poll.
    let armed = match bench.arm(&ServiceFault::Late(A_MOMENT * 4), RequestKind::Writing, 1).await {
        Ok(armed) => Some(armed),
        Err(Stop::NotApplicable(_)) => None,
        Err(stop) => return Err(stop),
    };
    for patience in [A_MOMENT, Duration::ZERO] {
        let write = bench.write(operation, &sheet);
        if let Ok(answer) = tokio::time::timeout(patience, write).await {
            // Faster than the drop.
            answer?.map(|_| ()).or_else(|error| Stop::failed(format!("the write failed by itself: {error:?}")))?;
        }
    }
    if let Some(armed) = armed {
        armed.disarm().await?;
    }
    clock.sleep(A_MOMENT * 4).await;
    let before = bench.requests().await?;
    clock.sleep(A_MOMENT).await;
    ensure!(bench.requests().await? == before, "a dropped call goes on sending");

    // The rows are of unknown fate now; others are not concerned.
    let (others, others_expected) = bench.sample("other", count);
    bench.put(Stage::New, &others).await?;
    bench.expect_all(&others_expected).await?;
    if bench.capability().upsert.is_some() {
        bench.put(Stage::New, &sheet).await?;
        bench.expect_all(&expected).await?;
    }
    Ok(None)
}

pub(super) async fn unknown_job(bench: &Bench<'_>) -> CaseResult {
    let (sheet, _) = bench.sample("", 1);
    let batch = bench.batch(bench.operation(Stage::New)?, sheet.rows()?)?;
    let resume = bench.destination.resume(&bench.context(), &batch, JobToken::new("rsync-no-such-job")).await;
    bench.record("a resumption", &resume);
    match resume {
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unsupported) && error.retry() == Retry::Never => {
            Ok(None)
        }
        answer => Stop::failed(format!("neither `NotFound` nor `Unsupported` that stays so: {answer:?}")),
    }
}

/// Runs last: everything that the other cases heard has been searched by then.
pub(super) async fn silence(bench: &Bench<'_>) -> CaseResult {
    bench.evidence.search_debug("the adapter", &*bench.destination);
    let (sheet, _) = bench.sample("", 1);
    bench.put(Stage::New, &sheet).await?;
    bench.evidence.search_debug("the adapter", &*bench.destination);
    let findings = bench.evidence.findings();
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(Some(format!("{} answers and log lines searched", bench.evidence.searched())))
}
