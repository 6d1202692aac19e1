//! When runs may begin and calls may be made: pauses that outlive a run, windows, destinations that are down, clocks that
//! jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::capability::{Operation, Rate};
use rsync_core::clock::{Clock as _, Randomness as _};
use rsync_core::destination::{Context, Found, LookupRequest, Quota, RemoteSchema, WriteBatch};
use rsync_core::error::Retry;
use rsync_core::ids::{AccountId, JobToken};
use rsync_core::memory::{Fault, ManualClock, MemoryDestination, SeededRandomness};
use rsync_core::outcome::{Outcome, Receipt};
use rsync_core::record::Rows;
use rsync_core::window::{Opening, Window};
use rsync_core::{
    Capability, DailyWindow, Destination, Error, Event, Kind, Limiter, Pipeline, PlanOptions, Result, RunStatus, Target,
};

use crate::support::{Parts, numbered};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A service that can be out of order altogether, and counts every call that is tried.
#[derive(Clone, Debug)]
struct Line {
    inner: MemoryDestination,
    clock: ManualClock,
    /// While it is out of order, on the monotonic clock.
    out: (Duration, Duration),
    /// Whether reads are answered all the same.
    reads: bool,
    calls: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

impl Line {
    fn new(parts: &Parts, out: (Duration, Duration)) -> Self {
        let inner = parts.destination.clone().with_latency(Arc::new(parts.clock.clone()), Duration::from_millis(1));
        let clock = parts.clock.clone();
        Self { inner, clock, out, reads: false, calls: Arc::default(), refused: Arc::default() }
    }

    fn call(&self, read: bool) -> Result<()> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.monotonic();
        if now < self.out.0 || now >= self.out.1 || (read && self.reads) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(Error::new(Kind::Unavailable, "call", "nobody answers").with_retry(Retry::Backoff))
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Destination for Line {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn capability(&self, target: &Target) -> Capability {
        self.inner.capability(target)
    }

    fn row_bytes(&self, target: &Target, operation: Operation, rows: &Rows, row: usize) -> usize {
        self.inner.row_bytes(target, operation, rows, row)
    }

    async fn check(&self, target: &Target) -> Result<AccountId> {
        self.call(true)?;
        self.inner.check(target).await
    }

    async fn describe(&self, target: &Target) -> Result<RemoteSchema> {
        self.call(true)?;
        self.inner.describe(target).await
    }

    async fn lookup(&self, cx: &Context, request: LookupRequest) -> Result<Found> {
        self.call(true)?;
        self.inner.lookup(cx, request).await
    }

    async fn write(&self, cx: &Context, batch: WriteBatch) -> Result<Receipt> {
        self.call(false)?;
        self.inner.write(cx, batch).await
    }

    async fn resume(&self, cx: &Context, batch: &WriteBatch, job: JobToken) -> Result<Receipt> {
        self.call(true)?;
        self.inner.resume(cx, batch, job).await
    }

    fn quota(&self) -> Option<Quota> {
        self.inner.quota()
    }
}

fn sync(parts: &Parts, destination: &(impl Destination + Clone)) -> Pipeline {
    parts.builder().destination(destination.clone(), parts.target.clone()).build().unwrap()
}

/// Lets a host run a sync every so often, until `end` on the monotonic clock.
async fn schedule(clock: &ManualClock, pipeline: &Pipeline, every: Duration, end: Duration) {
    while clock.monotonic() < end {
        let next = clock.monotonic() + every;
        let _ = pipeline.run().await;
        clock.sleep(next.saturating_sub(clock.monotonic())).await;
    }
}

#[tokio::test]
async fn f56_an_outage_of_an_hour_costs_at_most_70_calls_however_often_the_sync_runs() {
    // (reads are answered, calls that may be made in vain)
    for (reads, most) in [(false, 70), (true, 70)] {
        for every in [SECOND, 10 * SECOND, 300 * SECOND] {
            let parts = Parts::of(numbered(1_000, 1));
            let line = Line { reads, ..Line::new(&parts, (SECOND, SECOND + HOUR)) };
            parts.clock.advance(2 * SECOND);
            let pipeline = sync(&parts, &line);
            schedule(&parts.clock, &pipeline, every, SECOND + HOUR).await;
            assert!((5..=most).contains(&line.refused()), "{} calls in vain, every {every:?}", line.refused());
            // At most a minute after the end, everything is there.
            let mut runs = 0;
            while parts.records().len() < 1_000 && runs < 70 {
                let _ = pipeline.run().await;
                parts.clock.advance(every.min(SECOND));
                runs += 1;
            }
            assert_eq!(parts.records().len(), 1_000);
            assert!(parts.clock.monotonic() <= SECOND + HOUR + 75 * SECOND + every);
            assert_eq!(pipeline.run().await.unwrap().totals.unchanged, 1_000);
        }
    }
}

#[tokio::test]
async fn f56_an_outage_in_the_middle_of_a_run_defers_the_rest_and_one_call_tries_it_again() {
    let parts = Parts::of(numbered(2_000, 1));
    let line = Line::new(&parts, (2 * SECOND, 30 * SECOND));
    let slow = Line { inner: parts.destination.clone().with_latency(Arc::new(parts.clock.clone()), SECOND), ..line };
    let pipeline = sync(&parts, &slow);
    let failure = pipeline.run().await.unwrap_err();
    assert_eq!(failure.error.kind(), Kind::Unavailable, "{failure}");
    let report = failure.report.unwrap();
    assert!(report.totals.deferred > 0 && report.totals.balance(), "{report}");
    // Left alone: nothing is asked.
    let calls = slow.calls.load(Ordering::Relaxed);
    let error = pipeline.plan().await.unwrap_err();
    assert_eq!((error.kind(), slow.calls.load(Ordering::Relaxed)), (Kind::Unavailable, calls), "{error}");
    assert!(error.delay().is_some_and(|left| left <= 60 * SECOND), "{error}");
    parts.clock.advance(60 * SECOND);
    let before = slow.inner.max_in_flight();
    let report = pipeline.run().await.unwrap();
    assert_eq!(report.status, RunStatus::Completed, "{report}");
    assert_eq!(parts.records().len(), 2_000);
    assert_eq!(before, 4);
}

#[tokio::test]
async fn f57_a_destination_that_is_down_leaves_the_others_alone_and_shares_what_it_knows() {
    let dead = Parts::of(numbered(300, 1));
    let well = Parts { clock: dead.clock.clone(), ..Parts::of(numbered(300, 1)) };
    let slow = |parts: &Parts| Line {
        inner: parts.destination.clone().with_latency(Arc::new(parts.clock.clone()), 20 * SECOND),
        ..Line::new(parts, (HOUR, HOUR))
    };
    let alone = {
        let parts = Parts::of(numbered(300, 1));
        sync(&parts, &slow(&parts)).run().await.unwrap().elapsed
    };
    let (broken, line) = (Line::new(&dead, (Duration::ZERO, HOUR)), slow(&well));
    let (bad, good) = (sync(&dead, &broken), sync(&well, &line));
    let (failed, report) = futures::join!(bad.run(), good.run());
    assert_eq!(failed.unwrap_err().error.kind(), Kind::Unavailable);
    let report = report.unwrap();
    assert_eq!(report.totals.written, 300);
    assert!(report.elapsed <= alone + alone / 10, "{:?}, alone {alone:?}", report.elapsed);
    assert_eq!(good.run().await.unwrap().totals.unchanged, 300);
    // Who shares the credentials shares the knowledge.
    let limiter = Limiter::new(None);
    let third = Parts { clock: dead.clock.clone(), ..Parts::of(numbered(10, 1)) };
    let shared = |parts: &Parts, line: &Line| {
        let builder = parts.builder().destination(line.clone(), parts.target.clone());
        builder.limiter(limiter.clone()).build().unwrap()
    };
    let (first, second) = (shared(&dead, &broken), Line::new(&third, (HOUR, HOUR)));
    let other = shared(&third, &second);
    assert!(first.run().await.is_err());
    assert_eq!(other.run().await.unwrap_err().error.kind(), Kind::Unavailable);
    assert_eq!(second.calls.load(Ordering::Relaxed), 0);
    dead.clock.advance(60 * SECOND);
    assert_eq!(other.run().await.unwrap().totals.written, 10);
}

#[tokio::test]
async fn f54_the_rate_is_kept_across_the_runs_of_a_pipeline() {
    let parts = Parts::of(numbered(300, 0));
    let timed = parts.destination.clone().with_latency(Arc::new(parts.clock.clone()), Duration::from_millis(1));
    let rate = timed.capability(&parts.target).with_rate(Rate::new(4, 10 * SECOND));
    let timed = timed.with_capability(rate);
    let pipeline = sync(&parts, &timed);
    for version in 1..8 {
        parts.source.replace(vec![numbered(300, version)]);
        assert_eq!(pipeline.run().await.unwrap().totals.written, 300);
    }
    let calls: Vec<Duration> = timed.writes().iter().map(|write| write.at).collect();
    assert_eq!(calls.len(), 21);
    for five in calls.windows(5) {
        assert!(five[4] - five[0] > 10 * SECOND, "{five:?}");
    }
}

fn limited(pause: Duration) -> Fault {
    Fault::FailBefore(Error::new(Kind::RateLimited, "write", "slow down").with_retry(Retry::After(pause)))
}

#[tokio::test]
async fn f26_f51_before_its_time_a_run_asks_nobody_and_says_when_to_come() {
    let parts = Parts::of(numbered(500, 1));
    let line = Line::new(&parts, (HOUR, HOUR));
    line.inner.fail_write(3, limited(HOUR));
    let report = sync(&parts, &line).run().await.unwrap();
    assert_eq!(report.status, RunStatus::Stopped, "{report}");
    let not_before = report.stop.as_ref().unwrap().not_before.unwrap();
    let written = report.totals.written;
    assert!(written > 0 && report.totals.deferred > 0);
    // A new process.
    let pipeline = sync(&parts, &line);
    let (calls, reads) = (line.calls.load(Ordering::Relaxed), parts.source.reads());
    for _ in 0..5 {
        let error = pipeline.run().await.unwrap_err().error;
        assert_eq!((error.kind(), error.context("reason")), (Kind::TooEarly, Some("rate_limited")), "{error}");
        assert_eq!(parts.clock.wall() + error.delay().unwrap(), not_before);
        parts.clock.advance(60 * SECOND);
    }
    assert_eq!((line.calls.load(Ordering::Relaxed), parts.source.reads()), (calls, reads));
    assert_eq!(parts.recorder.count(|event| matches!(event, Event::RunPostponed { left: Some(_) })), 5);
    assert_eq!(parts.recorder.count(|event| matches!(event, Event::RunFailed { .. })), 0);
    // The host may know better; the plan alone changes nothing about it.
    assert!(pipeline.plan_with(PlanOptions::new().ignore_not_before()).await.is_ok());
    assert_eq!(pipeline.plan().await.unwrap_err().kind(), Kind::TooEarly);
    parts.clock.advance(not_before - parts.clock.wall());
    let report = pipeline.run().await.unwrap();
    assert_eq!((report.totals.unchanged, report.totals.written), (written, 500 - written));
    assert_eq!(pipeline.run().await.unwrap().totals.unchanged, 500);
}

#[tokio::test]
async fn f13_a_wall_clock_that_jumps_changes_nothing_but_when_it_is_too_early() {
    for (jump, back, early) in [(YEAR, false, false), (YEAR, true, false), (SECOND, true, true), (SECOND, false, true)]
    {
        let parts = Parts::of(numbered(100, 1));
        parts.destination.fail_write(1, limited(HOUR));
        assert_eq!(parts.sync().run().await.unwrap().status, RunStatus::Stopped);
        let wall = parts.clock.wall();
        parts.clock.set_wall(if back { wall - jump } else { wall + jump });
        let result = parts.sync().run().await;
        assert_eq!(result.as_ref().is_err_and(|failure| failure.error.kind() == Kind::TooEarly), early, "{result:?}");
        if !early {
            assert_eq!(result.unwrap().totals.written, 100);
        }
    }
}

/// A wall clock that jumps with every call that is written.
#[tokio::test]
async fn f13_jumps_in_the_middle_of_runs_change_no_write_no_pause_and_no_order_of_runs() {
    let mut seen = Vec::new();
    for jumping in [false, true] {
        let parts = Parts::of(numbered(1_000, 1));
        let clock = parts.clock.clone();
        let random = SeededRandomness::new(3);
        let start = clock.wall();
        let timed = parts.destination.clone().with_latency(Arc::new(parts.clock.clone()), SECOND);
        let jumps = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&jumps);
        let timed = timed.with_faults(move |number, _| {
            if jumping {
                let by = YEAR.mul_f64((random.next_u64() % 1_000) as f64 / 1_000.0);
                clock.set_wall(if random.next_u64().is_multiple_of(2) { start + by } else { start - by });
                count.fetch_add(1, Ordering::Relaxed);
            }
            (number % 5 == 2).then(|| limited(7 * SECOND))
        });
        let pipeline = parts
            .builder()
            .destination(timed.clone(), parts.target.clone())
            .guard(rsync_core::guard::ChangedShare::at_most(0.5))
            .build()
            .unwrap();
        for version in 1..4 {
            parts.source.replace(vec![numbered(1_000, version)]);
            assert_eq!(pipeline.run().await.unwrap().totals.written, 1_000);
        }
        // Three runs are known in their order: the guard has its baseline.
        parts.source.replace(vec![numbered(1_000, 9)]);
        assert_eq!(pipeline.run().await.unwrap().status, RunStatus::Held);
        assert_eq!(jumps.load(Ordering::Relaxed) > 20, jumping);
        seen.push((timed.writes(), parts.records()));
    }
    assert_eq!(seen[0], seen[1]);
}

// Windows.

/// Open and closed by turns of these lengths, in seconds.
#[derive(Clone, Debug)]
struct Turns(u64, u64);

impl Window for Turns {
    fn at(&self, wall: Duration) -> Opening {
        let since = wall.as_secs() % (self.0 + self.1);
        if since < self.0 {
            return Opening::Open;
        }
        Opening::Closed { opens: Some(Duration::from_secs(wall.as_secs() - since + self.0 + self.1)) }
    }
}

#[tokio::test]
async fn f53_no_call_that_writes_starts_outside_of_the_window() {
    let (mut stopped, mut calls) = (0, 0);
    for seed in 0..60 {
        let random = SeededRandomness::new(seed);
        let below = |n: u64| random.next_u64() % n;
        let parts = Parts::of(numbered(100 + below(900) as usize, 1));
        let window = Turns(1 + below(40), 1 + below(600));
        let latency = Duration::from_millis(1 + below(9_000));
        let faults = SeededRandomness::new(seed + 1_000);
        let timed =
            parts.destination.clone().with_latency(Arc::new(parts.clock.clone()), latency).with_faults(move |_, _| {
                match faults.next_u64() % 10 {
                    0 => Some(limited(Duration::from_secs(faults.next_u64() % 30))),
                    1 => Some(Fault::FailBefore(
                        Error::new(Kind::RateLimited, "write", "busy").with_retry(Retry::Backoff),
                    )),
                    _ => None,
                }
            });
        let capability = timed.capability(&parts.target);
        let capability = if below(2) == 0 { capability.with_rate(Rate::new(1, 3 * SECOND)) } else { capability };
        let timed = timed.with_capability(capability);
        let pipeline = parts
            .builder()
            .destination(timed.clone(), parts.target.clone())
            .window(window.clone())
            .randomness(SeededRandomness::new(seed))
            .build()
            .unwrap();
        // Virtual wall time runs with the monotonic one, from this moment on.
        let start = Duration::from_secs(1_704_067_200 + below(700));
        parts.clock.set_wall(start + parts.clock.monotonic());
        let mut done = false;
        for _ in 0..500 {
            match pipeline.run().await {
                Ok(report) if report.status == RunStatus::Completed => {
                    done = true;
                    break;
                }
                Ok(report) => {
                    assert!(report.totals.balance());
                    if let Some(stop) = report.stop.as_ref().filter(|stop| stop.kind == Kind::WindowClosed) {
                        stopped += 1;
                        assert!(stop.not_before.unwrap() > parts.clock.wall());
                        assert_eq!(window.at(stop.not_before.unwrap()), Opening::Open);
                        assert!(report.reasons.rows_with_code(Outcome::Deferred, "window_closed") > 0, "{report}");
                    }
                }
                Err(failure) => {
                    assert_eq!(failure.error.kind(), Kind::TooEarly, "seed {seed}: {failure}");
                    parts.clock.advance(failure.error.delay().unwrap());
                }
            }
        }
        assert!(done, "seed {seed} never ends");
        for write in timed.writes() {
            calls += 1;
            assert_eq!(window.at(start + write.at), Opening::Open, "seed {seed}: late by {write:?}");
        }
    }
    assert!(stopped > 60 && calls > 200, "{stopped} runs met the end of a window, {calls} calls");
}

#[tokio::test]
async fn f53_outside_of_the_window_a_plan_may_be_made_and_a_run_asks_nobody() {
    let parts = Parts::of(numbered(10, 1));
    // The clock begins at midnight UTC.
    let day = DailyWindow::new((9, 0), (17, 0)).unwrap();
    let pipeline = parts.builder().window(day).build().unwrap();
    let error = pipeline.run().await.unwrap_err().error;
    assert_eq!((error.kind(), error.delay()), (Kind::TooEarly, Some(9 * HOUR)), "{error}");
    assert_eq!((parts.source.reads(), parts.destination.reads()), (0, 0));
    let plan = pipeline.plan().await.unwrap();
    assert_eq!(plan.counts().new, 10);
    let report = pipeline.apply(plan).await.unwrap();
    assert_eq!((report.status, report.totals.deferred), (RunStatus::Stopped, 10), "{report}");
    assert_eq!(report.stop.unwrap().kind, Kind::WindowClosed);
    assert!(parts.destination.writes().is_empty());
    // A window is asked anew: another one is not bound to what the first one said.
    let nights = DailyWindow::new((22, 0), (6, 0)).unwrap();
    assert_eq!(parts.builder().window(nights).build().unwrap().run().await.unwrap().totals.written, 10);
}
