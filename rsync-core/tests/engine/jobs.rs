//! Jobs at the destination that outlive the run which began them.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use rsync_core::arrow::array::RecordBatch;
use rsync_core::error::Retry;
use rsync_core::memory::{Fault, ManualClock, MemoryDestination};
use rsync_core::outcome::Outcome;
use rsync_core::{Error, Exit, Exits, Kind, Pipeline, Report, RunStatus, Scope};

use crate::support::{Parts, batch, numbered};

const SECOND: Duration = Duration::from_secs(1);

fn with_jobs(parts: &Parts, polls: u32) -> MemoryDestination {
    parts.destination.clone().with_jobs(polls).with_latency(Arc::new(parts.clock.clone()), SECOND)
}

fn sync(parts: &Parts, destination: &MemoryDestination) -> Pipeline {
    parts.builder().destination(destination.clone(), parts.target.clone()).build().unwrap()
}

/// A sync whose time stands still until a test moves it, so that runs can be cut off between any two steps.
fn still(rows: RecordBatch) -> Parts {
    Parts { clock: ManualClock::new(), ..Parts::of(rows) }
}

/// Polls a run, up to so many times, and lets a second pass after each poll that found nothing to do.
async fn drive(parts: &Parts, pipeline: &Pipeline, polls: usize) -> Option<Report> {
    let mut run = Box::pin(pipeline.run());
    for _ in 0..polls {
        if let Some(ended) = (&mut run).now_or_never() {
            return Some(ended.unwrap());
        }
        tokio::task::yield_now().await;
        parts.clock.advance(SECOND);
    }
    None
}

async fn run(parts: &Parts, pipeline: &Pipeline) -> Report {
    drive(parts, pipeline, 100_000).await.expect("the run hangs")
}

/// Leaves a sync whose run died while its jobs worked.
async fn died(parts: &Parts, polls: u32) -> MemoryDestination {
    let service = with_jobs(parts, polls);
    let pipeline = sync(parts, &service);
    for polls in 1.. {
        assert!(drive(parts, &pipeline, polls).await.is_none(), "the run ended");
        if service.open_jobs() > 0 {
            break;
        }
    }
    service
}

fn code(report: &Report, outcome: Outcome, code: &str) -> u64 {
    report.reasons.rows_with_code(outcome, code)
}

#[tokio::test]
async fn f41_the_next_run_takes_over_a_job_and_sends_nothing_twice() {
    let parts = still(numbered(150, 1));
    let service = died(&parts, 5).await;
    let (jobs, writes) = (service.open_jobs(), service.writes().len());
    let plan = sync(&parts, &service).plan().await.unwrap();
    assert_eq!((plan.counts().in_doubt, plan.counts().to_write()), (150, 150), "{plan}");
    drop(plan);
    assert_eq!(service.open_jobs(), jobs, "a plan asks after no job");
    let report = run(&parts, &sync(&parts, &service)).await;
    assert_eq!((report.status, report.totals.written, report.calls.writes), (RunStatus::Completed, 150, 0), "{report}");
    assert_eq!((report.totals.created, service.open_jobs(), service.writes().len()), (150, 0, writes));
    assert_eq!(run(&parts, &sync(&parts, &service)).await.totals.unchanged, 150);
}

#[tokio::test]
async fn f41_a_row_that_changed_since_is_acknowledged_as_it_was_sent_and_written_by_the_next_run() {
    let parts = still(batch(&[("a", Some("Ada"), Some("pro")), ("b", Some("Bob"), Some("pro")), ("c", None, None)]));
    let service = died(&parts, 3).await;
    // One changes, one leaves, one stays; one is new.
    parts.replace(&[("a", Some("Eva"), Some("pro")), ("b", Some("Bob"), Some("pro")), ("d", None, Some("new"))]);
    let exits = || Exits::new(Exit::Delete, Scope::TouchedByUs);
    let pipeline =
        || parts.builder().destination(service.clone(), parts.target.clone()).exits(exits()).build().unwrap();
    let report = run(&parts, &pipeline()).await;
    assert_eq!((report.status, report.totals.written), (RunStatus::Incomplete, 2), "{report}");
    assert_eq!(code(&report, Outcome::Deferred, "changed_since"), 1, "{report}");
    // What left waits for its job; nobody knows what became of it.
    assert_eq!((report.totals.gone, report.totals.exits.in_doubt), (1, 1), "{report}");
    assert!(report.totals.balance());
    assert_eq!((parts.field("a", "name").as_deref(), service.job_overlaps()), (Some("Ada"), 0));
    let report = run(&parts, &pipeline()).await;
    assert_eq!((report.totals.written, report.totals.unchanged), (1, 2), "{report}");
    assert_eq!(parts.field("a", "name").as_deref(), Some("Eva"));
    assert_eq!((service.job_overlaps(), service.open_jobs()), (0, 0));
}

#[tokio::test]
async fn f41_a_job_that_nobody_knows_leaves_its_rows_in_doubt_and_they_are_sent_again() {
    let parts = still(numbered(30, 1));
    let service = died(&parts, 3).await;
    service.forget_jobs();
    let report = run(&parts, &sync(&parts, &service)).await;
    assert_eq!((report.status, code(&report, Outcome::InDoubt, "job_lost")), (RunStatus::Incomplete, 30), "{report}");
    let report = run(&parts, &sync(&parts, &service)).await;
    assert_eq!((report.status, report.totals.written), (RunStatus::Completed, 30), "{report}");
    assert_eq!(run(&parts, &sync(&parts, &service)).await.totals.unchanged, 30);
}

#[tokio::test]
async fn f41_a_job_that_takes_too_long_stays_the_next_runs_job() {
    let parts = still(numbered(30, 1));
    let service = with_jobs(&parts, 1_000);
    let report = run(&parts, &sync(&parts, &service)).await;
    assert_eq!(code(&report, Outcome::InDoubt, "job_deadline"), 30, "{report}");
    assert!(report.elapsed > 3600 * SECOND);
    let report = run(&parts, &sync(&parts, &service)).await;
    assert_eq!(
        (report.status, report.totals.written, service.writes().len()),
        (RunStatus::Completed, 30, 1),
        "{report}"
    );
    assert_eq!((service.open_jobs(), service.job_overlaps()), (0, 0));
}

#[tokio::test]
async fn f41_the_answer_that_is_lost_after_a_job_was_stored_is_asked_for() {
    let parts = still(numbered(30, 1));
    let service = with_jobs(&parts, 2);
    let lost = Error::new(Kind::Unavailable, "write", "the answer was lost").with_retry(Retry::Ambiguous);
    service.fail_write(1, Fault::FailAfter(lost));
    let report = run(&parts, &sync(&parts, &service)).await;
    assert_eq!((report.totals.written, service.writes().len()), (30, 1), "{report}");
    assert_eq!((service.open_jobs(), service.job_overlaps()), (0, 0));
}

#[tokio::test]
async fn f41_f21_a_key_that_came_twice_meanwhile_is_invalid_whatever_its_job_says() {
    let parts = still(numbered(30, 1));
    let service = died(&parts, 3).await;
    parts.source.replace(vec![numbered(30, 1), numbered(1, 1)]);
    let report = run(&parts, &sync(&parts, &service)).await;
    assert_eq!((report.totals.duplicates, report.totals.written), (2, 29), "{report}");
    assert!(report.totals.balance());
    assert_eq!(service.open_jobs(), 0);
}

#[tokio::test]
async fn f41_a_crash_between_any_two_steps_never_makes_two_jobs_for_a_row_and_leaves_none_behind() {
    let (mut crashes, mut adopted) = (0, 0);
    for polls in 1..40 {
        let parts = still(numbered(250, 1));
        let service = with_jobs(&parts, 2);
        let first = sync(&parts, &service);
        crashes += usize::from(drive(&parts, &first, polls).await.is_none());
        drop(first);
        // Some rows change, the next run dies as well, a little later each time.
        if polls % 2 == 0 {
            parts.source.replace(vec![numbered(250, 2)]);
        }
        adopted += usize::from(service.open_jobs() > 0);
        let second = sync(&parts, &service);
        crashes += usize::from(drive(&parts, &second, polls / 2 + 1).await.is_none());
        drop(second);
        let mut runs = 0;
        loop {
            let report = run(&parts, &sync(&parts, &service)).await;
            assert!(report.totals.balance(), "{report}");
            runs += 1;
            if report.status == RunStatus::Completed {
                break;
            }
            assert!(runs < 4, "{polls}: {report}");
        }
        assert_eq!((service.open_jobs(), service.job_overlaps()), (0, 0), "dropped after {polls} polls");
        let version = if polls % 2 == 0 { 2 } else { 1 };
        assert_eq!(parts.field("k9", "name"), Some(format!("n9 v{version}")));
        assert_eq!(parts.records().len(), 250);
        let last = run(&parts, &sync(&parts, &service)).await;
        assert_eq!((last.totals.unchanged, last.calls.writes), (250, 0));
    }
    assert!(crashes > 20 && adopted > 5, "{crashes} crashes, {adopted} with jobs");
}
