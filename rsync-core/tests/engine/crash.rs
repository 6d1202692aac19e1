//! Runs that are cut off, by dropping their future at every turn.

use std::time::Duration;

use futures::FutureExt;
use rsync_core::memory::Fault;
use rsync_core::{EmbeddedStore, Event};

use crate::support::{Parts, key, numbered};

/// Polls a run until the destination has seen `calls` calls, then drops it: what a crash leaves behind.
async fn crash_after(parts: &Parts, calls: usize) -> bool {
    let sync = parts.sync();
    let mut run = Box::pin(sync.run());
    for _ in 0..100_000 {
        if (&mut run).now_or_never().is_some() {
            return false;
        }
        if parts.destination.writes().len() >= calls {
            return true;
        }
        tokio::task::yield_now().await;
    }
    panic!("the run hangs");
}

#[tokio::test]
async fn f02_a_crash_at_any_call_loses_nothing_and_repeats_only_what_was_in_flight() {
    const ROWS: usize = 1_000;
    const IN_FLIGHT_ROWS: usize = 4 * 100;
    for calls in 1..=10 {
        let mut parts = Parts::of(numbered(ROWS, 1));
        // The destination answers only when the clock moves, so that calls are open when the run is dropped.
        parts.destination =
            parts.destination.clone().with_latency(std::sync::Arc::new(parts.clock.clone()), Duration::from_millis(10));
        let crashed = crash_after(&parts, calls).await;
        let report = parts.sync().run().await.unwrap();
        assert!(report.totals.balance());
        assert_eq!(parts.records().len(), ROWS);
        assert!(
            parts.rows_sent() <= ROWS + IN_FLIGHT_ROWS,
            "{} rows sent after a crash at call {calls}",
            parts.rows_sent()
        );
        assert_eq!(parts.sync().run().await.unwrap().calls.writes, 0);
        if crashed {
            let told = parts
                .recorder
                .count(|event| matches!(event, Event::PreviousRunInterrupted { owner, .. } if owner.team == "growth"));
            assert_eq!(told, 1, "call {calls}");
        }
    }
}

#[tokio::test]
async fn f05_a_row_in_doubt_is_sent_again_although_the_source_went_back() {
    let parts = Parts::new(&[("a", Some("Ada"), Some("pro"))]);
    let _ = parts.sync().run().await.unwrap();
    parts.replace(&[("a", Some("Ada"), Some("free"))]);
    parts.destination.fail_write(2, Fault::HangAfter);
    assert!(crash_after(&parts, 2).await);
    assert_eq!(parts.field("a", "tier").as_deref(), Some("free"), "it was applied, but nobody knows");
    parts.replace(&[("a", Some("Ada"), Some("pro"))]);
    let plan = parts.sync().plan().await.unwrap();
    assert_eq!(plan.counts().in_doubt, 1);
    let _ = parts.sync().apply(plan).await.unwrap();
    assert_eq!(parts.field("a", "tier").as_deref(), Some("pro"));
}

#[tokio::test]
async fn f05_what_an_attempt_of_unknown_fate_may_have_overwritten_is_not_trusted() {
    let parts = Parts::new(&[("a", Some("Ada"), Some("pro"))]);
    let _ = parts.sync().run().await.unwrap();
    parts.replace(&[("a", Some("Bob"), Some("pro"))]);
    parts.destination.fail_write(2, Fault::HangAfter);
    assert!(crash_after(&parts, 2).await);
    // The row is sent again, but says nothing about the name now.
    parts.replace(&[("a", None, Some("pro"))]);
    assert_eq!(parts.sync().run().await.unwrap().totals.written, 1);
    assert_eq!(parts.field("a", "name").as_deref(), Some("Bob"));
    // The name that was acknowledged long ago is not what the destination has.
    parts.replace(&[("a", Some("Ada"), Some("pro"))]);
    assert_eq!(parts.sync().run().await.unwrap().totals.written, 1);
    assert_eq!(parts.field("a", "name").as_deref(), Some("Ada"));
}

#[tokio::test]
async fn f01_nothing_is_written_when_a_run_is_dropped_before_it_sends() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::of(numbered(100, 1));
    let sync = || parts.builder().state(EmbeddedStore::new(folder.path()).unwrap(), key()).build().unwrap();
    let plan = sync().plan().await.unwrap();
    let applying = sync();
    assert!(applying.apply(plan).now_or_never().is_none(), "it waits for the state");
    tokio::time::timeout(Duration::from_secs(20), async {
        while sync().plan().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(parts.destination.writes().is_empty());
    assert_eq!(sync().run().await.unwrap().totals.written, 100);
}
