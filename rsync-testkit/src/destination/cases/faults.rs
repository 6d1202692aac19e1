//! A service that fails: what the adapter may claim, and what the engine must be told.

use std::time::Duration;

use rsync_core::outcome::RowOutcome;
use rsync_core::{Destination, Error, Kind, Retry};

use crate::destination::bench::{Bench, CaseResult, Stage, Stop, ensure, is_rejected, is_written};
use crate::destination::harness::{RequestKind, ServiceFault};
use crate::destination::sheet::Datum;

/// The adapter must answer within this time: it neither waits nor retries by itself.
const PROMPT: Duration = Duration::from_secs(10);

type Answer = Result<Vec<RowOutcome>, Error>;

/// One write while the service fails.
struct Provoked {
    answer: Answer,
    /// Writing requests that the one call made.
    requests: u64,
    expected: Vec<(String, Datum)>,
}

async fn provoke(bench: &Bench<'_>, fault: &ServiceFault, times: u64) -> Result<Provoked, Stop> {
    provoke_within(bench, fault, times, PROMPT).await
}

async fn provoke_within(
    bench: &Bench<'_>,
    fault: &ServiceFault,
    times: u64,
    limit: Duration,
) -> Result<Provoked, Stop> {
    let count = bench.rows_for(Stage::New, 3)?;
    let (sheet, expected) = bench.sample(&format!("{times}-"), count);
    let armed = bench.arm(fault, RequestKind::Writing, times).await?;
    let before = bench.requests().await?.writing;
    let write = bench.write(bench.operation(Stage::New)?, &sheet);
    let Ok(answer) = tokio::time::timeout(limit, write).await else {
        return Stop::failed(format!("{fault:?}: no answer within {} s", limit.as_secs()));
    };
    bench.disarm(armed).await?;
    let answer = answer?;
    let requests = bench.requests().await?.writing - before;
    if let Ok(outcomes) = &answer
        && fault_hides_every_row(fault)
    {
        ensure!(!outcomes.iter().any(is_written), "{fault:?}: a row is said to be written: {outcomes:?}");
    }
    Ok(Provoked { answer, requests, expected })
}

fn fault_hides_every_row(fault: &ServiceFault) -> bool {
    !matches!(fault, ServiceFault::MissingOutcome)
}

/// Fails unless the answer leaves open whether the rows were written.
fn fate_is_open(fault: &ServiceFault, answer: &Answer) -> Result<(), Stop> {
    let open = match answer {
        Ok(outcomes) => outcomes.iter().all(|outcome| matches!(outcome, RowOutcome::Unknown)),
        Err(error) => error.retry() == Retry::Ambiguous,
    };
    ensure!(
        open,
        "{fault:?}: the rows may be written, and the answer is neither `Ambiguous` nor `Unknown`: {answer:?}"
    );
    Ok(())
}

fn called_once(fault: &ServiceFault, requests: u64) -> Result<(), Stop> {
    ensure!(requests <= 1, "{fault:?}: one call made {requests} writing requests; retries are the engine's");
    Ok(())
}

fn refuse(status: u16) -> ServiceFault {
    ServiceFault::Refuse { status, retry_after: None }
}

/// Runs `check` for each fault that the harness has.
async fn for_each(
    bench: &Bench<'_>,
    faults: &[ServiceFault],
    check: impl Fn(&ServiceFault, &Provoked) -> Result<(), Stop>,
) -> CaseResult {
    let mut left_out = Vec::new();
    for (index, fault) in faults.iter().enumerate() {
        // More than once, so that an adapter that replays by itself meets the fault again.
        match provoke(bench, fault, 10 + index as u64).await {
            Ok(provoked) => check(fault, &provoked)?,
            Err(Stop::NotApplicable(why)) => left_out.push(why),
            Err(stop) => return Err(stop),
        }
    }
    match left_out.first() {
        Some(why) if left_out.len() == faults.len() => Stop::not_applicable(why.clone()),
        Some(_) => Ok(Some(left_out.join("\n"))),
        None => Ok(None),
    }
}

pub(super) async fn refusals(bench: &Bench<'_>) -> CaseResult {
    for_each(bench, &[400, 401, 403, 404, 422].map(refuse), |fault, provoked| {
        let kind = match fault {
            ServiceFault::Refuse { status: 401, .. } => Some(Kind::Unauthenticated),
            ServiceFault::Refuse { status: 403, .. } => Some(Kind::Forbidden),
            _ => None,
        };
        match &provoked.answer {
            Err(error) => ensure!(
                kind.is_none_or(|kind| error.kind() == kind) && error.retry() == Retry::Never,
                "{fault:?}: the wrong kind, or trying again is said to help: {error:?}"
            ),
            Ok(outcomes) => ensure!(
                kind.is_none() && outcomes.iter().all(is_rejected),
                "{fault:?}: neither an error nor all rows rejected: {outcomes:?}"
            ),
        }
        // A refused token may be renewed, and the request replayed once.
        let allowed = if kind == Some(Kind::Unauthenticated) { 2 } else { 1 };
        ensure!(provoked.requests <= allowed, "{fault:?}: one call made {} writing requests", provoked.requests);
        Ok(())
    })
    .await
}

pub(super) async fn server_errors(bench: &Bench<'_>) -> CaseResult {
    for_each(bench, &[500, 502, 503, 504].map(refuse), |fault, provoked| {
        called_once(fault, provoked.requests)?;
        match &provoked.answer {
            // An overloaded service that says so has not begun.
            Err(error) if *fault == refuse(503) && matches!(error.retry(), Retry::Backoff | Retry::After(_)) => Ok(()),
            answer => fate_is_open(fault, answer),
        }
    })
    .await
}

pub(super) async fn unreadable(bench: &Bench<'_>) -> CaseResult {
    for_each(
        bench,
        &[ServiceFault::HtmlPage, ServiceFault::TruncatedBody, ServiceFault::EmptyBody],
        |fault, provoked| {
            called_once(fault, provoked.requests)?;
            fate_is_open(fault, &provoked.answer)
        },
    )
    .await
}

pub(super) async fn missing_outcome(bench: &Bench<'_>) -> CaseResult {
    let fault = ServiceFault::MissingOutcome;
    let provoked = provoke(bench, &fault, 1).await?;
    match &provoked.answer {
        Ok(outcomes) => {
            let unknown = outcomes.iter().filter(|outcome| matches!(outcome, RowOutcome::Unknown)).count();
            let written = outcomes.iter().filter(|outcome| is_written(outcome)).count();
            ensure!(
                unknown > 0 && unknown + written == outcomes.len(),
                "one row is missing from the answer and the outcomes are {outcomes:?}"
            );
            Ok(Some(format!("{unknown} of {} rows unknown", outcomes.len())))
        }
        answer => fate_is_open(&fault, answer).map(|()| Some("the whole batch is ambiguous".into())),
    }
}

pub(super) async fn reset_after(bench: &Bench<'_>) -> CaseResult {
    let fault = ServiceFault::ResetAfter;
    let provoked = provoke(bench, &fault, 1).await?;
    called_once(&fault, provoked.requests)?;
    fate_is_open(&fault, &provoked.answer)?;
    bench.expect_all(&provoked.expected).await?;
    Ok(None)
}

pub(super) async fn reset_before(bench: &Bench<'_>) -> CaseResult {
    let fault = ServiceFault::ResetBefore;
    let provoked = provoke(bench, &fault, 1).await?;
    called_once(&fault, provoked.requests)?;
    let rejected = match &provoked.answer {
        Ok(outcomes) => {
            let settled = |o: &RowOutcome| matches!(o, RowOutcome::Missing | RowOutcome::Exists) || is_rejected(o);
            outcomes.iter().any(settled)
        }
        Err(error) => error.kind() == Kind::Rejected || error.retry() == Retry::Never,
    };
    ensure!(!rejected, "rows are said to be refused for good: {:?}", provoked.answer);
    for (key, _) in &provoked.expected {
        ensure!(bench.stored(key).await?.is_none(), "a row was written, so it was sent twice");
    }
    Ok(None)
}

pub(super) async fn late(bench: &Bench<'_>) -> CaseResult {
    let timeout = match bench.harness.request_timeout() {
        Some(timeout) if timeout <= Duration::from_secs(5) => timeout,
        Some(_) => return Stop::not_applicable("the adapter waits for an answer for more than 5 s"),
        None => return Stop::not_applicable("the harness does not say how long the adapter waits"),
    };
    let fault = ServiceFault::Late(timeout * 2);
    let provoked = provoke_within(bench, &fault, 1, timeout * 2 + PROMPT).await?;
    called_once(&fault, provoked.requests)?;
    fate_is_open(&fault, &provoked.answer)?;
    bench.expect_all(&provoked.expected).await?;
    Ok(None)
}

/// A check and a write of one row through `destination` must both fail with this kind and retry class. Returns what
/// the write would have stored.
pub(super) async fn both_fail(
    bench: &Bench<'_>,
    destination: &dyn Destination,
    (kind, retry, meaning): (Kind, Retry, &str),
    circumstance: &str,
) -> Result<Vec<(String, Datum)>, Stop> {
    let (sheet, expected) = bench.sample("", 1);
    let batch = bench.batch(bench.operation(Stage::New)?, sheet.rows()?)?;
    let check = destination.check(&bench.target).await;
    bench.record("a check", &check);
    let write = bench.send_by(destination, batch).await?;
    for (what, error) in [("check", check.err()), ("write", write.err())] {
        match error {
            Some(error) if error.kind() == kind && error.retry() == retry => {}
            Some(error) => return Stop::failed(format!("{what} is no `{kind:?}` {meaning}: {error:?}")),
            None => return Stop::failed(format!("{what} works {circumstance}")),
        }
    }
    Ok(expected)
}

pub(super) async fn unreachable(bench: &Bench<'_>) -> CaseResult {
    let Some(destination) = bench.harness.unreachable() else {
        return Stop::not_applicable("the harness has no adapter that points nowhere");
    };
    let meaning = (Kind::Unavailable, Retry::Backoff, "to back off from");
    both_fail(bench, &*destination, meaning, "where nobody listens").await?;
    Ok(None)
}

pub(super) async fn retry_after(bench: &Bench<'_>) -> CaseResult {
    const DELAY: Duration = Duration::from_secs(120);
    let faults = [Some(120), None].map(|retry_after| ServiceFault::Refuse { status: 429, retry_after });
    for_each(bench, &faults, |fault, provoked| {
        called_once(fault, provoked.requests)?;
        let named = matches!(fault, ServiceFault::Refuse { retry_after: Some(_), .. });
        let carried = match &provoked.answer {
            Ok(outcomes) => outcomes.iter().all(
                |outcome| matches!(outcome, RowOutcome::Retryable { after, .. } if !named || *after == Some(DELAY)),
            ),
            Err(error) => {
                error.kind() == Kind::RateLimited
                    && match error.retry() {
                        Retry::After(delay) => !named || delay == DELAY,
                        retry => !named && retry == Retry::Backoff,
                    }
            }
        };
        ensure!(
            carried,
            "{fault:?}: the answer does not say `RateLimited`, or not when to come again: {:?}",
            provoked.answer
        );
        Ok(())
    })
    .await
}

pub(super) async fn redirect(bench: &Bench<'_>) -> CaseResult {
    let fault = ServiceFault::Redirect;
    let provoked = provoke(bench, &fault, 1).await?;
    called_once(&fault, provoked.requests)?;
    ensure!(provoked.answer.is_err(), "a redirect is no error: {:?}", provoked.answer);
    for (key, _) in &provoked.expected {
        ensure!(bench.stored(key).await?.is_none(), "the redirect was followed");
    }
    Ok(None)
}
