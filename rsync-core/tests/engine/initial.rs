//! How a sync begins.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use rsync_core::capability::{Capability, Operation, OperationLimits, WriteIdempotence};
use rsync_core::ids::SyncId;
use rsync_core::memory::Fault;
use rsync_core::outcome::Outcome;
use rsync_core::state::{Mutation, StateRead, StateSession, StateStore, Table};
use rsync_core::{Exit, Exits, InitialLoad, Kind, MemoryStore, Pipeline, Result, RunStatus, Scope};

use crate::support::{Parts, Row, key, numbered};

const ADA: Row<'_> = ("a", Some("Ada"), Some("pro"));
const BOB: Row<'_> = ("b", Some("Bob"), Some("pro"));

fn sync(parts: &Parts, load: InitialLoad) -> Pipeline {
    parts.builder().initial_load(load).build().unwrap()
}

#[tokio::test]
async fn a_seeded_state_sends_nothing_but_what_changes_later() {
    let parts = Parts::of(numbered(25_000, 1));
    let sync = sync(&parts, InitialLoad::SeedStateOnly);
    let plan = sync.plan().await.unwrap();
    assert_eq!(plan.cost().requests, 0);
    assert!(plan.to_string().contains("nothing is sent, every row counts as acknowledged"), "{plan}");
    let report = sync.apply(plan).await.unwrap();
    assert_eq!((report.totals.skipped, report.status), (25_000, RunStatus::Completed));
    assert_eq!(report.reasons.rows_with_code(Outcome::Skipped, "seeded"), 25_000);
    assert!(report.totals.balance() && parts.destination.writes().is_empty());
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.unchanged, report.calls.writes), (25_000, 0));
    parts.source.replace(vec![numbered(3, 2)]);
    assert_eq!(sync.run().await.unwrap().totals.written, 3);
    // The fields that did not change are taken to be there.
    assert_eq!(parts.field("k0", "name").as_deref(), Some("n0 v2"));
    assert_eq!(parts.field("k0", "tier"), None);
}

/// A store that takes so many commits and then never answers again.
#[derive(Clone, Debug)]
struct Halting {
    store: MemoryStore,
    left: Arc<AtomicU64>,
}

#[derive(Debug)]
struct HaltingSession {
    session: Box<dyn StateSession>,
    left: Arc<AtomicU64>,
}

#[async_trait]
impl StateStore for Halting {
    fn kind(&self) -> &'static str {
        "halting"
    }

    async fn acquire(&self, sync: &SyncId) -> Result<Box<dyn StateSession>> {
        let session = self.store.acquire(sync).await?;
        Ok(Box::new(HaltingSession { session, left: Arc::clone(&self.left) }))
    }
}

#[async_trait]
impl StateRead for HaltingSession {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.session.get(table, key).await
    }

    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.session.scan(table, from, limit).await
    }
}

#[async_trait]
impl StateSession for HaltingSession {
    async fn commit(&self, mutations: Vec<Mutation>) -> Result<()> {
        let one_less = |left: u64| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err() {
            std::future::pending::<()>().await;
        }
        self.session.commit(mutations).await
    }
}

#[tokio::test]
async fn f04_a_seeding_run_that_is_cut_off_at_any_commit_goes_on() {
    const ROWS: usize = 21_000;
    for load in [InitialLoad::SeedStateOnly, InitialLoad::SeedFromDestination] {
        let mut cut_off = 0;
        for commits in 0..1_000 {
            // Every other record is there already.
            let rows = if load == InitialLoad::SeedStateOnly { ROWS } else { 600 };
            let parts = Parts::of(numbered(rows, 1));
            for i in (0..rows).step_by(2).filter(|_| rows < ROWS) {
                let (key, name) = (format!("k{i}"), format!("n{i} v1"));
                parts.destination.insert(&parts.target, &key, [("name", name.as_str()), ("tier", "pro")]);
            }
            let store = Halting { store: parts.store.clone(), left: Arc::new(AtomicU64::new(commits)) };
            let first = parts.builder().state(store, key()).initial_load(load).build().unwrap();
            let mut run = Box::pin(first.run());
            let mut ended = false;
            for _ in 0..1_000 {
                ended = (&mut run).now_or_never().is_some();
                if ended {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(run);
            let report = sync(&parts, load).run().await.unwrap();
            assert!(report.totals.balance() && report.is_complete(), "{commits}: {report}");
            match load {
                InitialLoad::SeedStateOnly => assert!(parts.destination.writes().is_empty()),
                _ => assert_eq!(parts.destination.write_count(&parts.target, "k0"), 0, "it had all values"),
            }
            let last = parts.sync().run().await.unwrap();
            assert_eq!((last.totals.unchanged, last.calls.writes), (rows as u64, 0), "{commits}");
            if ended {
                break;
            }
            cut_off += 1;
        }
        assert!(cut_off >= 4, "only {cut_off} runs were cut off");
    }
}

#[tokio::test]
async fn a_run_in_doubt_is_not_seeded_away() {
    let parts = Parts::new(&[ADA, BOB]);
    parts.destination.fail_write(1, Fault::HangAfter);
    let first = parts.sync();
    let mut run = Box::pin(first.run());
    while parts.destination.writes().is_empty() {
        assert!((&mut run).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(run);
    parts.replace(&[("a", Some("Ada"), Some("free")), BOB, ("c", Some("Cyd"), None)]);
    let report = sync(&parts, InitialLoad::SeedStateOnly).run().await.unwrap();
    assert_eq!((report.totals.written, report.totals.skipped), (2, 1), "{report}");
    assert_eq!(parts.field("a", "tier").as_deref(), Some("free"));
}

#[tokio::test]
async fn seeding_from_the_destination_writes_only_what_differs() {
    let parts = Parts::new(&[ADA, BOB, ("c", Some("Cyd"), None)]);
    parts.destination.insert(&parts.target, "a", [("name", "Ada"), ("tier", "pro")]);
    parts.destination.insert(&parts.target, "b", [("name", "Bob"), ("tier", "free")]);
    let sync = sync(&parts, InitialLoad::SeedFromDestination);
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.unchanged, report.totals.written, report.totals.created), (1, 2, 1), "{report}");
    assert!(report.totals.balance() && report.is_complete());
    assert_eq!((report.calls.reads, report.calls.writes, parts.rows_sent()), (1, 1, 2));
    assert_eq!(parts.field("b", "tier").as_deref(), Some("pro"));
    assert_eq!(parts.destination.write_count(&parts.target, "a"), 0);
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.unchanged, report.calls.reads, report.calls.writes), (3, 0, 0));
    // The id of a record that was never written is known: its exit goes by it.
    parts.replace(&[BOB, ("c", Some("Cyd"), None)]);
    let exits = Exits::new(Exit::Delete, Scope::TouchedByUs);
    let report = parts.builder().exits(exits).build().unwrap().run().await.unwrap();
    assert_eq!(report.totals.exits.removed, 1);
    assert_eq!(parts.records().keys().collect::<Vec<_>>(), ["b", "c"]);
}

#[tokio::test]
async fn seeding_from_the_destination_needs_a_lookup() {
    let parts = Parts::new(&[ADA]);
    let limits = OperationLimits::new(20, WriteIdempotence::ByKey);
    let blind = Capability::new().with_operation(Operation::Upsert, limits).with_clears_fields();
    let destination = parts.destination.clone().with_capability(blind);
    let builder = parts.builder().destination(destination, parts.target.clone());
    let error = builder.initial_load(InitialLoad::SeedFromDestination).build().unwrap().plan().await.unwrap_err();
    assert!(error.to_string().contains("initial_load: the destination cannot look up records"), "{error}");
}

#[tokio::test]
async fn a_canary_sends_a_share_and_the_next_run_the_rest() {
    let parts = Parts::of(numbered(2_000, 1));
    let sync = sync(&parts, InitialLoad::Canary(0.1));
    let plan = sync.plan().await.unwrap();
    assert!(plan.to_string().contains("first run: 10.0 % of the keys are sent") && plan.cost().requests == 2);
    let report = sync.apply(plan).await.unwrap();
    assert_eq!(report.status, RunStatus::Stopped);
    assert!((140..=260).contains(&report.totals.written) && report.totals.balance(), "{report}");
    assert_eq!(report.totals.deferred, 2_000 - report.totals.written);
    assert_eq!(report.reasons.rows_with_code(Outcome::Deferred, "canary"), report.totals.deferred);
    assert!(report.to_string().contains("only a share of the keys"), "{report}");
    // The same keys for the same model and hash key.
    let chosen: BTreeSet<String> = parts.records().into_keys().collect();
    let other = Parts::of(numbered(2_000, 9));
    let _ = other.builder().initial_load(InitialLoad::Canary(0.1)).build().unwrap().run().await.unwrap();
    assert_eq!(other.records().into_keys().collect::<BTreeSet<_>>(), chosen);

    let next = sync.run().await.unwrap();
    assert_eq!((next.totals.written, next.status), (2_000 - report.totals.written, RunStatus::Completed));
    assert_eq!((parts.records().len(), parts.rows_sent()), (2_000, 2_000));
}

#[tokio::test]
async fn a_canary_of_all_keys_is_a_plain_run() {
    let parts = Parts::of(numbered(50, 1));
    let report = sync(&parts, InitialLoad::Canary(1.0)).run().await.unwrap();
    assert_eq!((report.totals.written, report.status), (50, RunStatus::Completed));
}

#[test]
fn a_share_must_be_one() {
    let parts = Parts::new(&[ADA]);
    for share in [0.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
        let error = parts.builder().initial_load(InitialLoad::Canary(share)).build().unwrap_err();
        assert_eq!((error.kind(), error.problems()[0].at.as_str()), (Kind::InvalidConfig, "initial_load"), "{share}");
    }
}

#[tokio::test]
async fn f25_the_first_run_disposes_of_no_record() {
    let exits = || Exits::new(Exit::Delete, Scope::TouchedByUs).at_most(1_000, 1.0);
    for load in
        [InitialLoad::Send, InitialLoad::SeedStateOnly, InitialLoad::SeedFromDestination, InitialLoad::Canary(0.5)]
    {
        let parts = Parts::new(&[ADA, BOB]);
        parts.destination.insert(&parts.target, "x", [("name", "not ours")]);
        let sync = parts.builder().initial_load(load).exits(exits()).build().unwrap();
        let report = sync.run().await.unwrap();
        assert_eq!((report.totals.gone, parts.records().contains_key("x")), (0, true), "{load:?}");
        let deletes = parts.destination.writes().iter().filter(|write| write.operation == Operation::Delete).count();
        assert_eq!(deletes, 0, "{load:?}");
    }
    // A first run that went wrong half-way is followed by another first run, which knows keys already.
    let mut parts = Parts::of(numbered(300, 1));
    let clock = Arc::new(parts.clock.clone());
    parts.destination = parts.destination.clone().with_latency(clock, Duration::from_millis(10));
    let first = sync(&parts, InitialLoad::SeedFromDestination);
    let mut run = Box::pin(first.run());
    for _ in 0..100_000 {
        if parts.records().len() >= 100 || (&mut run).now_or_never().is_some() {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(run);
    parts.source.replace(vec![numbered(1, 1)]);
    let again = || {
        let builder = parts.builder().initial_load(InitialLoad::SeedFromDestination).exits(exits());
        builder.build().unwrap()
    };
    let report = again().run().await.unwrap();
    assert!(report.totals.balance() && report.totals.exits.removed == 0, "{report}");
    assert_eq!(report.exit_reasons.rows_with_code(Outcome::Deferred, "initial_load"), report.totals.exits.deferred);
    let later = again().run().await.unwrap();
    assert_eq!(later.totals.exits.removed, report.totals.exits.deferred);
}
