//! Histories: every version of a row is one entry, whatever goes wrong in between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rsync_core::capability::{Capability, Operation, OperationLimits, WriteIdempotence};
use rsync_core::destination::Target;
use rsync_core::error::Retry;
use rsync_core::ids::SyncId;
use rsync_core::memory::Fault;
use rsync_core::outcome::{Outcome, RowOutcome};
use rsync_core::pipeline::PipelineBuilder;
use rsync_core::state::{Mutation, StateStore, Table};
use rsync_core::{Append, CreateOnly, EmbeddedStore, Error, Exit, Exits, Kind, Pipeline, Report, RunStatus, Scope};

use crate::support::{Parts, Row, Watched, key, numbered};

const ADA: Row<'_> = ("a", Some("Ada"), Some("pro"));
const BOB: Row<'_> = ("b", Some("Bob"), Some("pro"));

pub(crate) fn limits(idempotence: WriteIdempotence) -> OperationLimits {
    OperationLimits::new(4, idempotence)
}

/// The parts of a sync whose service appends, with these limits.
pub(crate) fn history(rows: &[Row<'_>], limits: OperationLimits) -> Parts {
    let mut parts = Parts::new(rows);
    let capability = Capability::new()
        .with_operation(Operation::Append, limits)
        .with_clears_fields()
        .with_per_row_outcomes()
        .with_max_in_flight(2);
    parts.destination = parts
        .destination
        .clone()
        .with_capability(capability)
        .with_latency(Arc::new(parts.clock.clone()), Duration::from_millis(5));
    parts
}

pub(crate) fn builder(parts: &Parts) -> PipelineBuilder {
    parts.builder().policy(Append::new())
}

fn sync(parts: &Parts) -> Pipeline {
    builder(parts).build().unwrap()
}

async fn run(parts: &Parts) -> Report {
    report_of(&sync(parts)).await
}

/// The report of a run that may be given up, since nothing comes through.
async fn report_of(sync: &Pipeline) -> Report {
    let report = sync.run().await.unwrap_or_else(|failure| *failure.report.unwrap());
    assert!(report.totals.balance(), "{:?}", report.totals);
    report
}

/// Key and name of each entry, oldest first.
fn entries(parts: &Parts) -> Vec<(String, String)> {
    let text =
        |entry: &std::collections::BTreeMap<String, String>, field: &str| entry.get(field).cloned().unwrap_or_default();
    parts.destination.entries("people").iter().map(|entry| (text(entry, "ext_id"), text(entry, "name"))).collect()
}

fn names(parts: &Parts) -> Vec<String> {
    entries(parts).into_iter().map(|(_, name)| name).collect()
}

fn ambiguous() -> Error {
    Error::new(Kind::Unavailable, "write", "planted").with_retry(Retry::Ambiguous)
}

fn refused_for_now() -> Error {
    Error::new(Kind::Unavailable, "write", "planted").with_retry(Retry::Backoff)
}

/// All next writes fail so, more often than one run tries.
fn fail_all(parts: &Parts, fault: impl Fn() -> Fault) {
    let first = parts.destination.writes().len() as u64 + 1;
    (first..first + 40).for_each(|number| parts.destination.fail_write(number, fault()));
}

/// All records of the outbox.
async fn outbox(parts: &Parts) -> Vec<(Vec<u8>, Vec<u8>)> {
    let session = parts.store.acquire(&SyncId::new("people").unwrap()).await.unwrap();
    session.scan(Table::Outbox, &[], 1_000).await.unwrap()
}

#[tokio::test]
async fn every_version_of_a_row_is_an_entry_with_all_fields_and_the_second_a_is_one_too() {
    let parts = history(&[ADA, BOB], limits(WriteIdempotence::ByToken));
    let report = run(&parts).await;
    assert_eq!((report.status, report.totals.written, report.totals.created), (RunStatus::Completed, 2, 2));
    assert_eq!(run(&parts).await.calls.writes, 0);
    parts.replace(&[("a", Some("Countess"), Some("pro")), BOB]);
    assert_eq!(run(&parts).await.totals.written, 1);
    parts.replace(&[ADA, BOB]);
    assert_eq!(run(&parts).await.totals.written, 1);
    // A value that goes away is another version too, though the field keeps nothing.
    parts.replace(&[("a", None, Some("pro")), BOB]);
    assert_eq!(run(&parts).await.totals.written, 1);
    assert_eq!(run(&parts).await.totals.unchanged, 2);
    assert_eq!(names(&parts), ["Ada", "Bob", "Countess", "Ada", ""]);
    assert!(
        parts.destination.entries("people").iter().all(|entry| entry.get("tier").is_some_and(|tier| tier == "pro"))
    );
    // A row that left and comes back as it was is no new version.
    parts.replace(&[BOB]);
    assert_eq!(run(&parts).await.calls.writes, 0);
    parts.replace(&[("a", None, Some("pro")), BOB]);
    assert_eq!(run(&parts).await.calls.writes, 0);
    assert!(outbox(&parts).await.is_empty());
    assert!(parts.records().is_empty(), "an entry is no record");
}

#[tokio::test]
async fn s21_tokens_are_short_hashes_that_say_nothing_and_differ_for_the_second_a() {
    let parts = history(&[ADA], limits(WriteIdempotence::ByToken));
    for name in ["Ada", "Countess", "Ada"] {
        parts.replace(&[("a", Some(name), Some("pro"))]);
        assert_eq!(run(&parts).await.totals.written, 1);
    }
    let tokens = parts.destination.entry_tokens("people");
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 3, "{tokens:?}");
    for token in &tokens {
        assert!(token.len() <= 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
        assert!(!token.contains("Ada"));
    }
}

#[tokio::test]
async fn many_entries_of_one_record_need_no_unique_field() {
    let parts = history(&[ADA, BOB], limits(WriteIdempotence::ByToken));
    let target = Target::new("events", "tier");
    let mut schema = rsync_core::destination::RemoteSchema::new(vec![]);
    schema.fields =
        ["ext_id", "name", "tier"].map(|name| rsync_core::destination::RemoteField::new(name, "text")).to_vec();
    parts.destination.create_object("events", schema);
    let sync = builder(&parts).destination(parts.destination.clone(), target).build().unwrap();
    assert_eq!(sync.run().await.unwrap().totals.written, 2);
    assert_eq!(parts.destination.entries("events").len(), 2);
}

/// What goes wrong once with a first attempt, whether it was applied, and whether the library can know.
fn mishaps() -> Vec<(&'static str, fn() -> Fault, bool)> {
    vec![
        ("fails before", || Fault::FailBefore(refused_for_now()), false),
        ("lost before", || Fault::FailBefore(ambiguous()), false),
        ("lost after", || Fault::FailAfter(ambiguous()), true),
        ("unknown before", || Fault::UnknownBefore, false),
        ("unknown after", || Fault::UnknownAfter, true),
        ("outcomes lost", || Fault::DropOutcomes(1), true),
    ]
}

#[tokio::test]
async fn f29_f31_with_tokens_an_entry_is_there_once_whatever_becomes_of_the_answers() {
    for (name, fault, _) in mishaps() {
        // In one run, by its retries.
        let parts = history(&[ADA, BOB], limits(WriteIdempotence::ByToken));
        parts.destination.fail_write(1, fault());
        let report = run(&parts).await;
        assert_eq!((report.totals.written, report.calls.retries), (2, 1), "{name}");
        assert_eq!(names(&parts), ["Ada", "Bob"], "{name}");

        // Over runs, and the row changes, or leaves, before the first one is settled.
        for (next, expected) in [
            (vec![ADA, BOB], vec!["Ada", "Bob"]),
            (vec![("a", Some("Countess"), Some("pro")), BOB], vec!["Ada", "Bob", "Countess"]),
            (vec![BOB], vec!["Ada", "Bob"]),
        ] {
            let parts = history(&[ADA, BOB], limits(WriteIdempotence::ByToken));
            fail_all(&parts, fault);
            let report = run(&parts).await;
            let left = report.totals.failed + report.totals.in_doubt;
            assert_eq!(left, 2, "{name}");
            parts.destination.clear_faults();
            parts.replace(&next);
            let plan = sync(&parts).plan().await.unwrap();
            let (counts, tied) = (*plan.counts(), next.iter().filter(|row| [ADA, BOB].contains(row)).count() as u64);
            assert_eq!(counts.carried, 2 - tied, "{name}");
            assert_eq!(counts.to_write(), next.len() as u64, "{name}");
            let report = sync(&parts).apply(plan).await;
            let report = report.unwrap();
            assert!(report.totals.balance() && report.is_complete(), "{name} {report}");
            assert_eq!((report.totals.carried.written, report.totals.written), (2 - tied, next.len() as u64), "{name}");
            assert_eq!(names(&parts), expected, "{name}");
            assert_eq!((run(&parts).await.calls.writes, outbox(&parts).await.len()), (0, 0), "{name}");
        }
    }
}

#[tokio::test]
async fn f31_g05_without_tokens_what_is_in_doubt_is_flagged_and_never_sent_twice() {
    for (name, fault, applied) in mishaps() {
        let parts = history(&[ADA], limits(WriteIdempotence::None));
        parts.destination.fail_write(1, fault());
        let report = run(&parts).await;
        if name == "fails before" {
            // Certainly not applied, so it may go again.
            assert_eq!((report.totals.written, names(&parts).len()), (1, 1));
            continue;
        }
        assert_eq!((report.totals.in_doubt, report.calls.writes), (1, 1), "{name}");
        assert_eq!(report.reasons.rows_with_code(Outcome::InDoubt, "possible_duplicate"), 1, "{name} {report}");
        for _ in 0..2 {
            let report = run(&parts).await;
            assert_eq!((report.status, report.totals.in_doubt, report.calls.writes), (RunStatus::Incomplete, 1, 0));
            assert_eq!(report.reasons.rows_with_code(Outcome::InDoubt, "possible_duplicate"), 1, "{name}");
        }
        // Newer versions do not wait for it; it is then apart from the rows of the read.
        parts.replace(&[("a", Some("Countess"), Some("pro"))]);
        let report = run(&parts).await;
        assert_eq!((report.totals.written, report.totals.carried.in_doubt), (1, 1), "{name}");
        assert_eq!(report.carried_reasons.rows_with_code(Outcome::InDoubt, "possible_duplicate"), 1, "{name}");
        assert!(report.to_string().contains("carried over"), "{report}");
        let first = if applied { vec!["Ada", "Countess"] } else { vec!["Countess"] };
        assert_eq!(names(&parts), first, "{name}");

        // Whoever prefers twice to never is told how often. The newer version stays the last that is known.
        let resending = builder(&parts).policy(Append::new().resending()).build().unwrap();
        let report = resending.run().await.unwrap();
        assert_eq!((report.totals.carried.written, report.totals.possible_duplicates), (1, 1), "{name}");
        assert!(
            report.is_complete() && report.totals.balance() && report.to_string().contains("sent again"),
            "{report}"
        );
        assert_eq!(names(&parts).len(), 2 + usize::from(applied), "{name}");
        let report = resending.run().await.unwrap();
        assert_eq!((report.calls.writes, report.totals.possible_duplicates), (0, 0), "{name}");
        assert!(outbox(&parts).await.is_empty());
    }
}

#[tokio::test]
async fn f31_resending_makes_at_most_one_duplicate_a_run_and_a_flag_for_each() {
    let parts = history(&[ADA], limits(WriteIdempotence::None));
    fail_all(&parts, || Fault::FailAfter(ambiguous()));
    let mut flagged = 0;
    for _ in 0..3 {
        let report = report_of(&builder(&parts).policy(Append::new().resending()).build().unwrap()).await;
        assert_eq!((report.totals.in_doubt, report.calls.writes), (1, 1));
        flagged += report.totals.possible_duplicates;
    }
    assert_eq!((names(&parts).len(), flagged), (3, 2));
}

#[tokio::test]
async fn f31_a_token_that_the_service_has_forgotten_is_not_relied_upon() {
    const HOUR: Duration = Duration::from_secs(3_600);
    for (pause, entries_then) in [(HOUR / 2, 1), (HOUR * 2, 1)] {
        let parts = history(&[ADA], limits(WriteIdempotence::ByToken).with_token_retention(HOUR));
        fail_all(&parts, || Fault::FailAfter(ambiguous()));
        assert_eq!(run(&parts).await.totals.in_doubt, 1);
        parts.destination.clear_faults();
        parts.clock.advance(pause);
        let report = run(&parts).await;
        assert_eq!(names(&parts).len(), entries_then, "after {pause:?}");
        if pause < HOUR {
            assert!(report.is_complete() && report.calls.writes == 1, "{report}");
            continue;
        }
        assert_eq!((report.calls.writes, report.totals.in_doubt), (0, 1));
        assert_eq!(report.reasons.rows_with_code(Outcome::InDoubt, "possible_duplicate"), 1);
        let report = builder(&parts).policy(Append::new().resending()).build().unwrap().run().await.unwrap();
        assert_eq!((report.totals.possible_duplicates, report.totals.written), (1, 1));
        assert_eq!(names(&parts).len(), 2, "the service had forgotten the token");
    }
    // What was certainly not applied is sent at any time, and its time begins anew.
    let parts = history(&[ADA], limits(WriteIdempotence::ByToken).with_token_retention(HOUR));
    fail_all(&parts, || Fault::FailBefore(refused_for_now()));
    assert_eq!(run(&parts).await.totals.failed, 1);
    parts.destination.clear_faults();
    parts.clock.advance(HOUR * 48);
    parts.destination.fail_write(parts.destination.writes().len() as u64 + 1, Fault::FailAfter(ambiguous()));
    let report = run(&parts).await;
    assert_eq!((report.totals.written, report.calls.retries, names(&parts).len()), (1, 1, 1));
}

#[tokio::test]
async fn f31_within_a_run_too_nothing_in_doubt_is_sent_after_the_service_has_forgotten() {
    let parts = history(&[ADA], limits(WriteIdempotence::ByToken).with_token_retention(Duration::from_secs(20)));
    parts.destination.fail_write(1, Fault::FailAfter(ambiguous()));
    let asked = Error::new(Kind::RateLimited, "write", "planted").with_retry(Retry::After(Duration::from_secs(30)));
    parts.destination.fail_write(2, Fault::FailBefore(asked));
    let report = run(&parts).await;
    assert_eq!((report.totals.in_doubt, report.calls.writes, names(&parts).len()), (1, 2, 1), "{report}");
    assert_eq!(report.reasons.rows_with_code(Outcome::InDoubt, "possible_duplicate"), 1, "{report}");
}

#[tokio::test]
async fn a_refused_entry_is_parked_and_kept_no_longer() {
    for after in [Fault::FailBefore(refused_for_now()), Fault::FailAfter(ambiguous())] {
        let mut parts = history(&[ADA], limits(WriteIdempotence::ByToken));
        parts.destination = parts.destination.clone().with_rule(|_, fields| {
            let bad = fields.get("name").is_some_and(|name| name.as_deref() == Some("bad"));
            bad.then(|| RowOutcome::rejected("NO_SUCH_EVENT", None, "mend it"))
        });
        let _ = run(&parts).await;
        parts.replace(&[("a", Some("bad"), Some("pro"))]);
        parts.destination.fail_write(2, after);
        let report = run(&parts).await;
        assert_eq!((report.totals.rejected, report.totals.in_doubt), (1, 0));
        assert!(outbox(&parts).await.is_empty());
        assert_eq!(run(&parts).await.reasons.rows_with_code(Outcome::Skipped, "parked"), 1);
        parts.replace(&[("a", Some("Countess"), Some("pro"))]);
        assert_eq!(run(&parts).await.totals.written, 1);
        assert_eq!(names(&parts), ["Ada", "Countess"]);
    }
}

#[tokio::test]
async fn a_newer_version_waits_for_the_older_one_of_its_key_and_for_no_other() {
    let mut parts = history(&[ADA, BOB], limits(WriteIdempotence::ByToken));
    parts.destination = parts.destination.clone().with_rule(|_, fields| {
        let stuck = fields.get("name").is_some_and(|name| name.as_deref() == Some("Ada"));
        stuck.then(|| RowOutcome::Retryable { code: "BUSY".into(), after: None })
    });
    let report = run(&parts).await;
    assert_eq!((report.totals.failed, report.totals.written), (1, 1));
    parts.replace(&[("a", Some("Countess"), Some("pro")), ("b", Some("Rob"), Some("pro"))]);
    let report = run(&parts).await;
    assert_eq!((report.totals.carried.failed, report.totals.deferred, report.totals.written), (1, 1, 1), "{report}");
    assert_eq!(report.reasons.rows_with_code(Outcome::Deferred, "earlier_entry_open"), 1);
    assert_eq!(names(&parts), ["Bob", "Rob"]);
}

#[tokio::test]
async fn entries_keep_the_fields_that_they_were_made_with() {
    use rsync_core::{FieldMap, FieldRule, FieldType};
    let parts = history(&[ADA], limits(WriteIdempotence::ByToken));
    fail_all(&parts, || Fault::FailBefore(ambiguous()));
    assert_eq!(run(&parts).await.totals.in_doubt, 1);
    parts.destination.clear_faults();
    // The tier is no longer mapped. The row has not changed, so this is no new version.
    let fewer = FieldMap::new().field(FieldRule::column("id", "ext_id", FieldType::Text)).field(FieldRule::column(
        "name",
        "name",
        FieldType::Text,
    ));
    let sync = builder(&parts).mapping(fewer).build().unwrap();
    assert!(sync.run().await.unwrap().is_complete());
    let entries = parts.destination.entries("people");
    assert_eq!((entries.len(), entries[0]["tier"].as_str()), (1, "pro"));
    assert_eq!(sync.run().await.unwrap().calls.writes, 0);
    parts.replace(&[("a", Some("Countess"), Some("pro"))]);
    assert_eq!(sync.run().await.unwrap().totals.written, 1);
}

#[tokio::test]
async fn f04_f03_a_crash_at_every_commit_loses_no_entry_and_makes_none_twice() {
    for idempotence in [WriteIdempotence::ByToken, WriteIdempotence::None] {
        for applied in [false, true] {
            let mut reached = 0;
            for at in 1..40 {
                let parts = history(&[], limits(idempotence));
                parts.source.replace(vec![numbered(14, 1)]);
                let store = Watched::new(parts.store.clone());
                store.fail_commit(at, applied);
                let sync = builder(&parts).state(store.clone(), key()).build().unwrap();
                let crashed = sync.run().await.is_err();
                assert_eq!(crashed, store.has_failed(), "commit {at}");
                reached += usize::from(crashed);
                let before = names(&parts);
                // Half of the rows change meanwhile, and one leaves.
                parts.source.replace(vec![numbered(13, 1)]);
                let report = run(&parts).await;
                let _ = run(&parts).await;
                let after = names(&parts);
                let distinct = after.iter().collect::<BTreeSet<_>>();
                assert_eq!(distinct.len(), after.len(), "twice after a crash at commit {at}: {after:?}");
                assert!(before.iter().all(|name| after.contains(name)));
                let doubt = report.totals.in_doubt + report.totals.carried.in_doubt;
                match idempotence {
                    // The row that left was decided in the first run or not at all.
                    WriteIdempotence::ByToken => {
                        assert!(report.is_complete() && (13..=14).contains(&after.len()), "commit {at}: {after:?}");
                        assert!(outbox(&parts).await.is_empty());
                    }
                    _ => assert!(
                        after.len() as u64 + doubt >= 13,
                        "commit {at}: {} entries, {doubt} in doubt",
                        after.len()
                    ),
                }
            }
            assert!(reached >= 5, "only {reached} commits failed");
        }
    }
}

#[tokio::test]
async fn f01_f02_a_crash_at_every_turn_loses_no_entry_and_the_token_stays() {
    let mut crashes = 0;
    for turns in 1..60 {
        for jobs in [false, true] {
            let mut parts = history(&[ADA, BOB], limits(WriteIdempotence::ByToken));
            if jobs {
                parts.destination = parts.destination.clone().with_jobs(1);
            }
            // The first run is cut off, the second too, with another version by then.
            for (round, name) in ["Ada", "Countess"].into_iter().enumerate() {
                parts.replace(&[("a", Some(name), Some("pro")), BOB]);
                let sync = sync(&parts);
                let mut run = Box::pin(sync.run());
                for _ in 0..turns + round * 7 {
                    if (&mut run).now_or_never().is_some() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                crashes += 1;
            }
            let report = run(&parts).await;
            assert!(report.is_complete(), "{report}");
            let tokens = parts.destination.entry_tokens("people");
            assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), tokens.len(), "{turns} turns");
            let names = names(&parts);
            // Ada's first version was decided before the crash or never.
            assert!(
                ["Bob", "Countess"].iter().all(|name| names.iter().filter(|n| n == name).count() == 1),
                "{names:?}"
            );
            let ada = names.iter().position(|name| name == "Ada");
            assert!(ada < names.iter().position(|name| name == "Countess"), "{names:?}");
            assert!(names.iter().filter(|name| *name == "Ada").count() <= 1 && outbox(&parts).await.is_empty());
        }
    }
    assert!(crashes > 200);
}

#[tokio::test]
async fn s14_no_value_is_on_disk_while_entries_wait() {
    let folder = tempfile::tempdir().unwrap();
    let parts =
        history(&[("canary-key", Some("canary-name"), Some("canary-tier")), BOB], limits(WriteIdempotence::ByToken));
    let store = || EmbeddedStore::new(folder.path()).unwrap();
    fail_all(&parts, || Fault::FailBefore(ambiguous()));
    let sync = builder(&parts).state(store(), key()).build().unwrap();
    assert_eq!(report_of(&sync).await.totals.in_doubt, 2);
    // And cut off while it sends them again.
    parts.destination.clear_faults();
    let again = builder(&parts).state(store(), key()).build().unwrap();
    let sent = parts.destination.writes().len();
    let mut run = Box::pin(again.run());
    tokio::time::timeout(Duration::from_secs(20), async {
        while parts.destination.writes().len() == sent {
            assert!((&mut run).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    drop(run);
    let session = store().acquire(&SyncId::new("people").unwrap()).await.unwrap();
    let mut records = Vec::new();
    for table in Table::ALL {
        records.extend(session.scan(table, &[], 1_000).await.unwrap().into_iter().map(|(_, value)| value));
    }
    assert_eq!(session.scan(Table::Outbox, &[], 10).await.unwrap().len(), 1, "the rows are there");
    drop(session);
    records.extend(std::fs::read_dir(folder.path()).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap()));
    assert!(records.iter().any(|bytes| bytes.len() > 10_000), "the file was read");
    for bytes in &records {
        assert!(!bytes.windows(6).any(|bytes| bytes == b"canary"), "a value is in the state");
    }
    let sync = builder(&parts).state(store(), key()).build().unwrap();
    assert!(sync.run().await.unwrap().is_complete());
    assert_eq!(entries(&parts)[0], ("canary-key".to_owned(), "canary-name".to_owned()));
}

#[tokio::test]
async fn f06_a_damaged_record_of_the_outbox_stops_the_plan_and_is_kept() {
    let parts = history(&[ADA], limits(WriteIdempotence::ByToken));
    fail_all(&parts, || Fault::FailBefore(ambiguous()));
    let _ = run(&parts).await;
    let (at, record) = outbox(&parts).await.remove(0);
    let mut torn = record.clone();
    torn[record.len() / 2] ^= 1;
    let session = parts.store.acquire(&SyncId::new("people").unwrap()).await.unwrap();
    session.commit(vec![Mutation::Put { table: Table::Outbox, key: at, value: torn }]).await.unwrap();
    drop(session);
    let error = sync(&parts).plan().await.unwrap_err();
    assert_eq!((error.kind(), error.context("record")), (Kind::StateCorrupt, Some("outbox")));
    assert_eq!(outbox(&parts).await.len(), 1);
}

#[tokio::test]
async fn a_held_plan_holds_what_is_carried_too() {
    let parts = history(&[ADA], limits(WriteIdempotence::ByToken));
    fail_all(&parts, || Fault::FailBefore(ambiguous()));
    let _ = run(&parts).await;
    parts.destination.clear_faults();
    parts.replace(&[BOB]);
    let guarded = builder(&parts).guard(rsync_core::guard::RowFloor::at_least(5)).build().unwrap();
    let calls = parts.destination.writes().len();
    let report = guarded.run().await.unwrap();
    assert_eq!((report.status, report.totals.carried.held, report.totals.held), (RunStatus::Held, 1, 1));
    assert!(report.totals.balance() && parts.destination.writes().len() == calls);
}

#[tokio::test]
async fn a_stopped_run_leaves_what_is_carried_to_the_next() {
    let parts = history(&[ADA], limits(WriteIdempotence::ByToken));
    fail_all(&parts, || Fault::FailBefore(ambiguous()));
    let _ = run(&parts).await;
    parts.destination.clear_faults();
    parts.replace(&[BOB]);
    let refused = Error::new(Kind::QuotaExhausted, "write", "planted").with_retry(Retry::Never);
    parts.destination.fail_write(parts.destination.writes().len() as u64 + 1, Fault::FailBefore(refused));
    let report = run(&parts).await;
    assert_eq!((report.status, report.totals.carried.in_doubt, report.totals.deferred), (RunStatus::Stopped, 1, 1));
    let report = run(&parts).await;
    assert!(report.is_complete());
    assert_eq!((report.totals.carried.written, names(&parts)), (1, vec!["Ada".to_owned(), "Bob".to_owned()]));
}

#[tokio::test]
async fn creates_by_token_are_sent_again_as_they_were() {
    let parts = Parts::new(&[ADA]);
    let capability = Capability::new()
        .with_operation(Operation::Create, limits(WriteIdempotence::ByToken))
        .with_clears_fields()
        .with_per_row_outcomes();
    let destination = parts.destination.clone().with_capability(capability);
    let sync =
        parts.builder().destination(destination, parts.target.clone()).policy(CreateOnly::new()).build().unwrap();
    fail_all(&parts, || Fault::FailAfter(ambiguous()));
    assert_eq!(report_of(&sync).await.totals.in_doubt, 1);
    parts.destination.clear_faults();
    // A destination that was down is left alone for a while.
    parts.clock.advance(Duration::from_secs(60));
    parts.replace(&[("a", Some("Countess"), Some("pro"))]);
    let report = sync.run().await.unwrap();
    // The service takes it for the record that it made; without the token it would say that there is one already.
    assert_eq!((report.totals.carried.written, report.totals.carried.created), (1, 1), "{report}");
    assert_eq!(report.reasons.rows_with_code(Outcome::Skipped, "created_before"), 1);
    assert_eq!(parts.field("a", "name").as_deref(), Some("Ada"));
    assert!(outbox(&parts).await.is_empty() && report.is_complete());
}

#[tokio::test]
async fn misuse_is_refused_before_anything_is_sent() {
    let parts = history(&[ADA], limits(WriteIdempotence::ByToken));
    let error = builder(&parts).exits(Exits::new(Exit::Delete, Scope::TouchedByUs)).build().unwrap_err();
    assert_eq!((error.kind(), error.problems()[0].at.as_str()), (Kind::InvalidConfig, "exits"));
    let destination = parts.destination.clone().with_capability(Capability::new());
    let sync = builder(&parts).destination(destination, parts.target.clone()).build().unwrap();
    assert_eq!(sync.plan().await.unwrap_err().kind(), Kind::Unsupported);
}
