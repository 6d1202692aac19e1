//! Runs that end before all is sent, and what keeps them from sending too much.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use rsync_core::capability::Rate;
use rsync_core::clock::Clock as _;
use rsync_core::error::Retry;
use rsync_core::memory::Fault;
use rsync_core::retry::RetryPolicy;
use rsync_core::{Cancel, Destination as _, Error, Event, Kind, Limiter, Pipeline, RunStatus};

use crate::support::{Parts, numbered};

const SECOND: Duration = Duration::from_secs(1);

/// A service that takes a second for each call, four at a time.
fn slow(rows: usize) -> (Parts, rsync_core::memory::MemoryDestination) {
    let parts = Parts::of(numbered(rows, 1));
    let destination = parts.destination.clone().with_latency(Arc::new(parts.clock.clone()), SECOND);
    (parts, destination)
}

fn sync(
    parts: &Parts,
    destination: &rsync_core::memory::MemoryDestination,
    cancel: &Cancel,
    grace: Duration,
) -> Pipeline {
    let builder = parts.builder().destination(destination.clone(), parts.target.clone());
    builder.cancel(cancel.clone()).grace(grace).build().unwrap()
}

#[tokio::test]
async fn f14_a_cancelled_run_waits_for_the_calls_in_the_air_and_the_next_goes_on() {
    // (write that cancels the run, write that never comes back, rows in doubt)
    for (cancelling, hanging, in_doubt) in [(1, 0, 0), (6, 0, 0), (2, 3, 100)] {
        let (parts, destination) = slow(2_000);
        let cancel = Cancel::new();
        let trigger = cancel.clone();
        let counted = destination.clone().with_faults(move |number, _| {
            if number == cancelling {
                trigger.cancel();
            }
            (number == hanging).then_some(Fault::HangAfter)
        });
        let report = sync(&parts, &counted, &cancel, 25 * SECOND).run().await.unwrap();
        let totals = report.totals;
        let sent = destination.writes().len() as u64;
        assert!((cancelling..cancelling + 4).contains(&sent), "{sent} calls, cancelled by number {cancelling}");
        let written = sent * 100 - in_doubt;
        assert_eq!(report.status, RunStatus::Stopped, "{report}");
        assert_eq!(report.stop.as_ref().map(|stop| stop.kind), Some(Kind::Cancelled));
        assert_eq!((totals.written, totals.in_doubt), (written, in_doubt), "cancelled by {cancelling}: {report}");
        assert!(report.elapsed < 30 * SECOND);
        assert_eq!(totals.deferred, 2_000 - written - in_doubt);
        assert!(totals.balance());
        let told =
            parts.recorder.count(|event| matches!(event, Event::RunIncomplete { stopped: Some("cancelled"), .. }));
        assert_eq!(told, 1);

        let rest = parts.sync().run().await.unwrap();
        assert_eq!((rest.totals.unchanged, rest.totals.written), (written, 2_000 - written));
    }
}

#[tokio::test]
async fn f14_a_run_that_is_cancelled_before_it_writes_sends_nothing() {
    let (parts, destination) = slow(100);
    let cancel = Cancel::new();
    let sync = sync(&parts, &destination, &cancel, SECOND);
    let plan = sync.plan().await.unwrap();
    cancel.cancel();
    let report = sync.apply(plan).await.unwrap();
    assert_eq!((report.status, report.totals.deferred), (RunStatus::Stopped, 100));
    assert_eq!(sync.plan().await.unwrap_err().kind(), Kind::Cancelled);
    assert!(destination.writes().is_empty());
}

#[tokio::test]
async fn i11_a_run_ends_at_its_deadline() {
    let (parts, destination) = slow(2_000);
    let builder = parts.builder().destination(destination.clone(), parts.target.clone());
    let report = builder.deadline(Duration::from_millis(2_500)).build().unwrap().run().await.unwrap();
    let calls = destination.writes();
    assert!(calls.iter().all(|call| call.at <= Duration::from_millis(2_500)), "{calls:?}");
    assert!(calls.len() >= 8 && report.elapsed <= Duration::from_millis(3_500), "{calls:?}: {report}");
    let written = calls.len() as u64 * 100;
    assert_eq!((report.status, report.totals.written), (RunStatus::Stopped, written));
    assert_eq!(report.totals.deferred, 2_000 - written);
    assert!(report.stop.unwrap().reason.contains("deadline"));
    assert_eq!(parts.sync().run().await.unwrap().totals.written, 2_000 - written);
}

#[tokio::test]
async fn a_dropped_run_is_no_cancelled_one() {
    let (parts, destination) = slow(400);
    let sync = sync(&parts, &destination, &Cancel::new(), SECOND);
    let mut run = Box::pin(sync.run());
    while destination.writes().is_empty() {
        assert!((&mut run).now_or_never().is_none());
    }
    drop(run);
    assert_eq!(parts.sync().run().await.unwrap().totals.written, 400);
}

#[tokio::test]
async fn f29_a_struggling_destination_gets_a_fifth_more_calls_and_a_burst() {
    let parts = Parts::of(numbered(20_000, 1));
    let busy = || Error::new(Kind::RateLimited, "write", "slow down").with_retry(Retry::Backoff);
    let destination = parts.destination.clone().with_faults(move |_, _| Some(Fault::FailBefore(busy())));
    // Without a budget 200 batches of five attempts each would cost 1,000 calls.
    for (share, burst, retries) in [(0.2, 10, 10 + 40), (0.0, 7, 7), (0.0, 0, 0)] {
        let policy = RetryPolicy::default().with_budget(share, burst);
        let before = destination.writes().len();
        let builder = parts.builder().destination(destination.clone(), parts.target.clone()).retry(policy);
        let report =
            builder.state(rsync_core::MemoryStore::new(), crate::support::key()).build().unwrap().run().await.unwrap();
        assert_eq!(report.totals.failed, 20_000);
        let made = destination.writes().len() - before;
        assert!((200 + retries - 1..=200 + retries).contains(&made), "{share}, {burst}: {made} calls");
        assert_eq!(report.calls.retries as usize, made - 200);
    }
}

#[tokio::test]
async fn f54_pipelines_with_one_limiter_keep_the_rate_together() {
    let clock = Parts::new(&[]).clock;
    let limiter = Limiter::new(Some(Rate::new(5, 10 * SECOND)));
    let parts: Vec<Parts> = (0..3).map(|_| Parts { clock: clock.clone(), ..Parts::of(numbered(1_000, 1)) }).collect();
    let destinations: Vec<_> = parts
        .iter()
        .map(|parts| parts.destination.clone().with_latency(Arc::new(clock.clone()), Duration::from_millis(1)))
        .collect();
    destinations[1].fail_write(
        2,
        Fault::FailBefore(Error::new(Kind::RateLimited, "write", "slow down").with_retry(Retry::After(100 * SECOND))),
    );
    let runs = parts.iter().zip(&destinations).map(|(parts, destination)| {
        let builder = parts.builder().destination(destination.clone(), parts.target.clone());
        let sync = builder.limiter(limiter.clone()).build().unwrap();
        async move { sync.run().await.unwrap() }
    });
    for report in futures::future::join_all(runs).await {
        assert_eq!(report.totals.written, 1_000);
    }
    let mut calls: Vec<Duration> = destinations.iter().flat_map(|it| it.writes()).map(|write| write.at).collect();
    calls.sort();
    assert_eq!(calls.len(), 31);
    for six in calls.windows(6) {
        assert!(six[5] - six[0] > 10 * SECOND, "{six:?}");
    }
    // The pause that one of them was asked for holds for all.
    let refused = destinations[1].writes()[1].at;
    let quiet = calls.iter().filter(|at| **at > refused + SECOND && **at < refused + 100 * SECOND);
    assert_eq!(quiet.count(), 0, "{calls:?}");
    assert!(destinations[0].capability(&parts[0].target).rate.is_none());
    assert!(clock.monotonic() > 100 * SECOND);
}
