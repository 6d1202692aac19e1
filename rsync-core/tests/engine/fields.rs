//! Field policies: what a write may replace.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rsync_core::arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use rsync_core::capability::{Capability, Operation, OperationLimits, Rate, WriteIdempotence};
use rsync_core::destination::{AcceptedType, RemoteField, RemoteSchema};
use rsync_core::error::Retry;
use rsync_core::memory::{Fault, MemoryDestination};
use rsync_core::outcome::Outcome;
use rsync_core::record::Value;
use rsync_core::{
    CreateOnly, Error, Exit, Exits, FieldMap, FieldPolicy, FieldRule, FieldType, Kind, NullRule, Pipeline, Report,
    RunStatus, Scope,
};

use crate::support::{Parts, Row, batch, numbered};

fn mapping(name: FieldPolicy) -> FieldMap {
    FieldMap::new()
        .field(FieldRule::column("id", "ext_id", FieldType::Text))
        .field(FieldRule::column("name", "name", FieldType::Text).policy(name))
        .field(FieldRule::column("tier", "tier", FieldType::Text))
}

fn sync(parts: &Parts, name: FieldPolicy) -> Pipeline {
    parts.builder().mapping(mapping(name)).build().unwrap()
}

fn kept(report: &Report, code: &str) -> u64 {
    assert!(report.totals.balance(), "{:?}", report.totals);
    report.kept.iter().filter(|kept| kept.code == code).map(|kept| kept.rows).sum()
}

fn ada<'a>(name: &'a str, tier: &'a str) -> Row<'a> {
    ("a", Some(name), Some(tier))
}

fn type_in(parts: &Parts, name: Option<&str>) {
    assert!(parts.destination.change(&parts.target, "a", "name", name.map(Value::Text)));
}

#[tokio::test]
async fn f48_a_value_that_somebody_typed_is_kept_and_counted() {
    for (policy, code) in
        [(FieldPolicy::CompareAndSet, "changed_at_destination"), (FieldPolicy::SetIfEmpty, "not_empty")]
    {
        let parts = Parts::new(&[ada("Ada", "pro")]);
        let sync = sync(&parts, policy);
        let report = sync.run().await.unwrap();
        assert_eq!((report.totals.written, report.calls.reads, kept(&report, code)), (1, 1, 0));
        type_in(&parts, Some("Countess"));
        // Without a change in the model nobody looks.
        let report = sync.run().await.unwrap();
        assert_eq!((report.totals.unchanged, report.calls.reads), (1, 0));
        // The other field is ours as before.
        parts.replace(&[ada("Lovelace", "free")]);
        let report = sync.run().await.unwrap();
        assert_eq!((report.totals.written, kept(&report, code)), (1, 1), "{policy}");
        assert_eq!(report.kept[0].field.as_str(), "name");
        assert!(report.to_string().contains(&format!("1 kept: {code} (name)")), "{report}");
        assert_eq!(parts.field("a", "name").as_deref(), Some("Countess"), "{policy}");
        assert_eq!(parts.field("a", "tier").as_deref(), Some("free"), "{policy}");
        // Nothing but the kept field: no call.
        parts.replace(&[ada("Byron", "free")]);
        let writes = parts.destination.writes().len();
        let report = sync.run().await.unwrap();
        assert_eq!((report.totals.skipped, kept(&report, code), report.calls.writes), (1, 1, 0));
        assert_eq!(report.reasons.rows_with_code(Outcome::Skipped, "kept_by_policy"), 1);
        assert_eq!((report.status, parts.destination.writes().len()), (RunStatus::Completed, writes));
        let report = sync.run().await.unwrap();
        assert_eq!((report.totals.unchanged, report.calls.reads), (1, 0), "it is not looked at again");
        // Somebody gives the field back.
        type_in(&parts, if policy == FieldPolicy::SetIfEmpty { None } else { Some("Ada") });
        parts.replace(&[ada("Noel", "free")]);
        let report = sync.run().await.unwrap();
        assert_eq!((report.totals.written, kept(&report, code)), (1, 0), "{policy}");
        assert_eq!(parts.field("a", "name").as_deref(), Some("Noel"), "{policy}");
    }
}

#[tokio::test]
async fn f48_a_field_that_somebody_emptied_stays_empty_under_compare_and_set() {
    let parts = Parts::new(&[ada("Ada", "pro")]);
    let sync = sync(&parts, FieldPolicy::CompareAndSet);
    let _ = sync.run().await.unwrap();
    type_in(&parts, None);
    parts.replace(&[ada("Lovelace", "pro")]);
    assert_eq!(kept(&sync.run().await.unwrap(), "changed_at_destination"), 1);
    assert_eq!(parts.field("a", "name"), None);
}

#[tokio::test]
async fn f48_a_record_that_was_there_before_keeps_what_it_has() {
    for (policy, code) in
        [(FieldPolicy::CompareAndSet, "changed_at_destination"), (FieldPolicy::SetIfEmpty, "not_empty")]
    {
        let parts = Parts::new(&[ada("Ada", "pro"), ("b", Some("Bob"), Some("pro"))]);
        parts.destination.insert(&parts.target, "a", [("name", "Countess")]);
        parts.destination.insert(&parts.target, "b", []);
        let report = sync(&parts, policy).run().await.unwrap();
        assert_eq!((report.totals.written, kept(&report, code)), (2, 1));
        assert_eq!(parts.field("a", "name").as_deref(), Some("Countess"));
        assert_eq!(parts.field("b", "name").as_deref(), Some("Bob"));
    }
}

#[tokio::test]
async fn f05_f48_a_value_of_unknown_fate_is_known_again_as_ours() {
    let parts = Parts::new(&[ada("v1", "pro")]);
    let sync = sync(&parts, FieldPolicy::CompareAndSet);
    let _ = sync.run().await.unwrap();
    // Applied, and the answer is lost; then the source goes on.
    parts.replace(&[ada("v2", "pro")]);
    let lost = || Error::new(Kind::Unavailable, "write", "planted").with_retry(Retry::Ambiguous);
    for number in 2..=10 {
        parts.destination.fail_write(number, Fault::FailAfter(lost()));
    }
    assert_eq!(sync.run().await.unwrap_err().report.unwrap().totals.in_doubt, 1);
    assert_eq!(parts.field("a", "name").as_deref(), Some("v2"));
    parts.destination.clear_faults();
    // A destination that was down is left alone for a while.
    parts.clock.advance(Duration::from_secs(60));
    parts.replace(&[ada("v3", "pro")]);
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.written, kept(&report, "changed_at_destination")), (1, 0));
    assert_eq!(parts.field("a", "name").as_deref(), Some("v3"));
    // What arrived while the row says nothing of the field is remembered too.
    parts.replace(&[ada("v4", "pro")]);
    let next = parts.destination.writes().len() as u64 + 1;
    (next..next + 9).for_each(|number| parts.destination.fail_write(number, Fault::FailAfter(lost())));
    assert_eq!(sync.run().await.unwrap_err().report.unwrap().totals.in_doubt, 1);
    parts.destination.clear_faults();
    parts.clock.advance(Duration::from_secs(60));
    parts.replace(&[("a", None, Some("pro"))]);
    let _ = sync.run().await.unwrap();
    parts.replace(&[ada("v5", "pro")]);
    assert_eq!(kept(&sync.run().await.unwrap(), "changed_at_destination"), 0);
    assert_eq!(parts.field("a", "name").as_deref(), Some("v5"));
}

#[tokio::test]
async fn set_once_is_sent_once_and_asks_nobody() {
    let parts = Parts::new(&[("a", None, Some("pro"))]);
    let sync = sync(&parts, FieldPolicy::SetOnce);
    let _ = sync.run().await.unwrap();
    parts.replace(&[ada("Ada", "pro")]);
    assert_eq!(sync.run().await.unwrap().totals.written, 1);
    parts.replace(&[ada("Bob", "pro")]);
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.unchanged, report.calls.writes, report.calls.reads), (1, 0, 0));
    parts.replace(&[ada("Cyd", "free")]);
    assert_eq!(sync.run().await.unwrap().totals.written, 1);
    assert_eq!(parts.field("a", "name").as_deref(), Some("Ada"));
    assert_eq!(parts.field("a", "tier").as_deref(), Some("free"));
    // Also where a whole row is sent, or sent again.
    parts.replace(&[ada("Dan", "gold")]);
    let next = parts.destination.writes().len() as u64 + 1;
    parts.destination.fail_write(next, Fault::UnknownBefore);
    let all = parts.builder().mapping(mapping(FieldPolicy::SetOnce)).policy(rsync_core::Upsert::new().all_fields());
    assert_eq!(all.build().unwrap().run().await.unwrap().totals.written, 1);
    assert_eq!(parts.destination.writes().len() as u64, next + 1, "the fault fired");
    assert_eq!(parts.field("a", "name").as_deref(), Some("Ada"));
    assert_eq!(parts.field("a", "tier").as_deref(), Some("gold"));
}

/// A model with a number and a list.
fn scores(rows: &[(&str, i64, &[&str])]) -> RecordBatch {
    let mut tags = ListBuilder::new(StringBuilder::new());
    rows.iter().for_each(|(_, _, items)| tags.append_value(items.iter().map(|item| Some(*item))));
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>())),
        ("score", Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Int64Array>())),
        ("tags", Arc::new(tags.finish())),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn scored(parts: &Parts, score: FieldPolicy, destination: &MemoryDestination) -> Pipeline {
    let mapping = FieldMap::new()
        .field(FieldRule::column("id", "ext_id", FieldType::Text))
        .field(FieldRule::column("score", "score", FieldType::Integer).policy(score))
        .field(FieldRule::column("tags", "tags", FieldType::TextList).policy(FieldPolicy::SetUnion));
    parts.builder().destination(destination.clone(), parts.target.clone()).mapping(mapping).build().unwrap()
}

fn scores_at(parts: &Parts, native: bool) -> MemoryDestination {
    let field = |name: &str, ty: AcceptedType, policies: &[FieldPolicy]| {
        let mut field = RemoteField::new(name, "field");
        field.accepts = vec![ty];
        if native { field.with_native(policies.iter().copied()) } else { field }
    };
    let mut key = RemoteField::new("ext_id", "text");
    key.unique = true;
    let score = field("score", AcceptedType::Integer, &[FieldPolicy::Max, FieldPolicy::Min]);
    let tags = field("tags", AcceptedType::TextList, &[FieldPolicy::SetUnion]);
    MemoryDestination::new().with_object(&parts.target.object, RemoteSchema::new(vec![key, score, tags]))
}

#[tokio::test]
async fn max_min_and_union_hold_by_reading_and_natively() {
    for native in [false, true] {
        for (policy, end) in [(FieldPolicy::Max, "9"), (FieldPolicy::Min, "3")] {
            let parts = Parts::of(scores(&[("a", 5, &["x"])]));
            let destination = scores_at(&parts, native);
            let sync = scored(&parts, policy, &destination);
            let mut reads = 0;
            for (score, tags) in [(5, &["x"][..]), (9, &["y"]), (3, &["x", "z"]), (5, &[]), (7, &["y"])] {
                parts.source.replace(vec![scores(&[("a", score, tags)])]);
                let report = sync.run().await.unwrap();
                assert!(report.is_complete() && report.totals.balance(), "{report}");
                reads += report.calls.reads;
            }
            let record = destination.record(&parts.target, "a").unwrap();
            assert_eq!((record["score"].as_str(), record["tags"].as_str()), (end, "x;y;z"), "{policy} {native}");
            assert_eq!(reads == 0, native);
            assert_eq!(destination.lookups(), reads);
        }
    }
}

#[tokio::test]
async fn a_row_that_a_record_equals_already_is_unchanged_without_a_write() {
    let parts = Parts::of(scores(&[("a", 5, &["x"])]));
    let destination = scores_at(&parts, false);
    destination.insert(&parts.target, "a", []);
    assert!(destination.change(&parts.target, "a", "score", Some(Value::Integer(5))));
    assert!(destination.change(&parts.target, "a", "tags", Some(Value::TextList(vec!["w", "x"]))));
    let report = scored(&parts, FieldPolicy::Max, &destination).run().await.unwrap();
    assert_eq!((report.totals.unchanged, report.calls.writes, report.calls.reads), (1, 0, 1));
    assert!(report.kept.is_empty() && report.totals.balance());
    assert_eq!(scored(&parts, FieldPolicy::Max, &destination).run().await.unwrap().calls.reads, 0);
}

#[tokio::test]
async fn f45_a_key_of_several_records_is_rejected_and_nothing_is_sent() {
    let parts = Parts::new(&[ada("Ada", "pro"), ("b", Some("Bob"), Some("pro"))]);
    parts.destination.insert(&parts.target, "a", []);
    parts.destination.duplicate(&parts.target, "a");
    let report = sync(&parts, FieldPolicy::SetIfEmpty).run().await.unwrap();
    assert_eq!((report.totals.rejected, report.totals.written), (1, 1));
    assert!(report.totals.balance());
    assert_eq!(report.reasons.rows_with_code(Outcome::Rejected, "ambiguous_match"), 1);
    assert_eq!(parts.destination.write_count(&parts.target, "a"), 0);
    assert_eq!(parts.field("b", "name").as_deref(), Some("Bob"));
}

#[tokio::test]
async fn f47_a_value_that_cannot_be_read_costs_its_own_row_only() {
    let n = 40;
    let rows: Vec<(String, i64)> = (0..n).map(|i| (format!("k{i}"), i)).collect();
    let rows: Vec<(&str, i64, &[&str])> = rows.iter().map(|(id, score)| (id.as_str(), *score, &[][..])).collect();
    let parts = Parts::of(scores(&rows));
    let destination = scores_at(&parts, false);
    destination.insert(&parts.target, "k7", [("score", "canary")]);
    let report = scored(&parts, FieldPolicy::Max, &destination).run().await.unwrap();
    assert_eq!((report.totals.rejected, report.totals.written), (1, n as u64 - 1));
    assert_eq!(report.reasons.rows_with_code(Outcome::Rejected, "unreadable_value"), 1);
    assert!(report.calls.reads <= 1 + 2 * 6 && !report.to_string().contains("canary"), "{report}");
}

#[tokio::test]
async fn lookups_are_cut_paced_counted_and_tried_again() {
    let parts = Parts::of(numbered(250, 1));
    let capability = MemoryDestination::new();
    let capability = rsync_core::Destination::capability(&capability, &parts.target)
        .with_lookup(30)
        .with_max_in_flight(2)
        .with_rate(Rate::new(1, Duration::from_secs(1)));
    let destination = parts.destination.clone().with_capability(capability);
    let unavailable = Error::new(Kind::Unavailable, "look up", "planted").with_retry(Retry::Backoff);
    destination.fail_lookup(2, unavailable);
    let sync = parts
        .builder()
        .destination(destination.clone(), parts.target.clone())
        .mapping(mapping(FieldPolicy::SetIfEmpty))
        .build()
        .unwrap();
    let plan = sync.plan().await.unwrap();
    // Batches of 100, 100 and 50, in look-ups of 30.
    assert_eq!((plan.cost().reads, plan.cost().requests), (4 + 4 + 2, 3));
    assert_eq!(plan.cost().at_least, Some(Duration::from_secs(12)));
    assert!(plan.to_string().contains("3 API calls, up to 10 reads") && plan.to_string().contains(", set_if_empty"));
    let began = rsync_core::clock::Clock::monotonic(&parts.clock);
    let report = sync.apply(plan).await.unwrap();
    assert_eq!((report.totals.written, report.calls.reads, report.calls.writes), (250, 11, 3));
    assert_eq!(destination.lookups(), 11);
    assert!(report.to_string().contains("3 writes, 11 reads"), "{report}");
    let took = rsync_core::clock::Clock::monotonic(&parts.clock) - began;
    assert!(took >= Duration::from_secs(13), "14 calls at one a second took {took:?}");
}

#[tokio::test]
async fn f14_f30_f51_a_lookup_that_cannot_be_made_sends_nothing_and_the_next_run_goes_on() {
    let planted = |kind, retry| Error::new(kind, "look up", "planted").with_retry(retry);
    for (error, stopped) in [
        (planted(Kind::Unavailable, Retry::Backoff), false),
        (planted(Kind::Unauthenticated, Retry::Never), false),
        (planted(Kind::QuotaExhausted, Retry::Never), true),
        (planted(Kind::RateLimited, Retry::After(Duration::from_secs(3_600))), true),
    ] {
        let parts = Parts::of(numbered(10, 1));
        let sync = sync(&parts, FieldPolicy::SetIfEmpty);
        for number in 1..=5 {
            parts.destination.fail_lookup(number, planted(error.kind(), error.retry()));
        }
        let report = match sync.run().await {
            Ok(report) => {
                assert!(stopped && report.status == RunStatus::Stopped, "{report}");
                assert_eq!(report.stop.as_ref().map(|stop| stop.kind), Some(error.kind()));
                report
            }
            Err(failure) => {
                assert!(!stopped && failure.error.kind() == error.kind(), "{failure}");
                *failure.report.unwrap()
            }
        };
        assert!(parts.destination.lookups() >= 1 && parts.destination.writes().is_empty());
        assert_eq!((report.totals.deferred, report.totals.balance()), (10, true));
        (1..=9)
            .for_each(|number| parts.destination.fail_lookup(number + 100, planted(Kind::Unavailable, Retry::Never)));
        while parts.destination.lookups() < 5 {
            parts.clock.advance(Duration::from_secs(3_600));
            let _ = sync.run().await;
        }
        parts.clock.advance(Duration::from_secs(3_600));
        assert!(sync.run().await.unwrap().is_complete());
        assert_eq!(parts.records().len(), 10);
    }
}

#[tokio::test]
async fn f14_a_run_that_is_cancelled_while_it_looks_ends_at_once() {
    let mut parts = Parts::of(numbered(10, 1));
    // Nobody moves this clock, so that the look-up never comes back.
    let clock = rsync_core::memory::ManualClock::new();
    parts.destination = parts.destination.clone().with_latency(Arc::new(clock.clone()), Duration::from_secs(1));
    let cancel = rsync_core::Cancel::new();
    let builder = parts.builder().mapping(mapping(FieldPolicy::SetIfEmpty)).cancel(cancel.clone());
    let sync = builder.build().unwrap();
    let mut run = Box::pin(sync.run());
    for _ in 0..1_000 {
        assert!((&mut run).now_or_never().is_none());
        if parts.destination.lookups() == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(parts.destination.lookups(), 1);
    cancel.cancel();
    let report = run.await.unwrap();
    assert_eq!((report.status, report.totals.deferred), (RunStatus::Stopped, 10));
    assert!(report.totals.balance() && parts.destination.writes().is_empty());
}

#[tokio::test]
async fn f52_lookups_stop_at_the_quotas_reserve() {
    let parts = Parts::of(numbered(300, 1));
    parts.destination.set_quota(0, 10);
    let sync = parts.builder().mapping(mapping(FieldPolicy::SetIfEmpty)).quota_reserve(0.5).build().unwrap();
    let report = sync.run().await.unwrap();
    assert_eq!(report.status, RunStatus::Stopped);
    assert_eq!(report.stop.as_ref().map(|stop| stop.kind), Some(Kind::QuotaExhausted));
    let calls = report.calls.reads + report.calls.writes;
    assert!((3..=5).contains(&calls) && report.totals.balance(), "{calls} calls");
}

#[tokio::test]
async fn policies_that_cannot_be_carried_out_are_refused_with_all_problems() {
    let rules = || {
        FieldMap::new()
            .field(FieldRule::column("id", "ext_id", FieldType::Text).policy(FieldPolicy::SetIfEmpty))
            .field(FieldRule::column("name", "name", FieldType::Text).policy(FieldPolicy::Max))
            .field(
                FieldRule::column("tier", "tier", FieldType::Text)
                    .policy(FieldPolicy::SetIfEmpty)
                    .on_null(NullRule::Clear),
            )
    };
    let parts = Parts::new(&[ada("Ada", "pro")]);
    let limits = OperationLimits::new(20, WriteIdempotence::ByKey);
    let blind = Capability::new().with_operation(Operation::Upsert, limits).with_clears_fields();
    let sync = |destination: MemoryDestination, mapping| {
        parts.builder().destination(destination, parts.target.clone()).mapping(mapping).build().unwrap()
    };
    let error = sync(parts.destination.clone().with_capability(blind), rules()).plan().await.unwrap_err();
    let text = error.to_string();
    for part in [
        "mapping.ext_id: records are matched on it, so it cannot be set_if_empty",
        "mapping.name: max means nothing for a text (fix: map a number, a day or a moment, or choose another policy)",
        "mapping.name: max leaves the field out, and the destination empties what a row leaves out",
        "mapping.name: max needs the value that the record has, and the destination cannot look it up",
        "mapping.tier: a null clears the field, but set_if_empty never empties one",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    // A policy that the destination has needs neither; one that it cannot have does.
    let native = |policy| {
        let mut key = RemoteField::new("ext_id", "text");
        key.unique = true;
        let fields =
            vec![key, RemoteField::new("name", "text").with_native([policy]), RemoteField::new("tier", "text")];
        let destination =
            MemoryDestination::new().with_capability(blind).with_object("people", RemoteSchema::new(fields));
        sync(destination, mapping(policy))
    };
    assert!(native(FieldPolicy::SetIfEmpty).plan().await.is_ok());
    assert!(native(FieldPolicy::CompareAndSet).plan().await.is_err());
}

#[tokio::test]
async fn exits_empty_what_is_overwritten_only() {
    let parts = Parts::new(&[ada("Ada", "pro"), ("b", Some("Bob"), Some("pro"))]);
    let exits = || Exits::new(Exit::Clear, Scope::TouchedByUs);
    let builder = || parts.builder().mapping(mapping(FieldPolicy::SetIfEmpty));
    let _ = builder().exits(exits()).build().unwrap().run().await.unwrap();
    parts.source.replace(vec![batch(&[ada("Ada", "pro")])]);
    let sync = builder().exits(exits()).build().unwrap();
    let plan = sync.plan().await.unwrap();
    assert!(
        plan.to_string().contains("by their policies, this sync does not own name; exits leave it as it is"),
        "{plan}"
    );
    assert_eq!(sync.apply(plan).await.unwrap().totals.exits.removed, 1);
    assert_eq!((parts.field("b", "name").as_deref(), parts.field("b", "tier")), (Some("Bob"), None));
    let mark = Exits::new(Exit::Tombstone { field: "name".into(), value: "gone".into() }, Scope::TouchedByUs);
    let error = builder().exits(mark).build().unwrap().plan().await.unwrap_err();
    assert!(error.to_string().contains("a mark must replace what is there"), "{error}");
}

/// Creates that must not be sent twice.
fn creating(parts: &Parts, lookup: bool) -> Pipeline {
    let capability = Capability::new()
        .with_operation(Operation::Create, OperationLimits::new(10, WriteIdempotence::None))
        .with_keeps_absent_fields()
        .with_clears_fields()
        .with_per_row_outcomes();
    let capability = if lookup { capability.with_lookup(10) } else { capability };
    let destination = parts.destination.clone().with_capability(capability);
    parts.builder().destination(destination, parts.target.clone()).policy(CreateOnly::new()).build().unwrap()
}

#[tokio::test]
async fn f31_creates_of_unknown_fate_are_resolved_by_looking() {
    let rows = [ada("Ada", "pro"), ("b", Some("Bob"), Some("pro")), ("c", Some("Cyd"), Some("pro"))];
    for (applied, changed, expected) in [
        // Written as it is now; not written; written, and the source went on.
        (true, false, (3, 0, 0)),
        (false, false, (0, 3, 0)),
        (true, true, (2, 0, 1)),
    ] {
        let parts = Parts::new(&rows);
        let fault = if applied { Fault::UnknownAfter } else { Fault::UnknownBefore };
        parts.destination.fail_write(1, fault);
        assert_eq!(creating(&parts, true).run().await.unwrap().totals.in_doubt, 3);
        assert_eq!(parts.records().len(), if applied { 3 } else { 0 }, "the fault fired");
        if changed {
            parts.replace(&[ada("Ada", "free"), rows[1], rows[2]]);
        }
        let report = creating(&parts, true).run().await.unwrap();
        let t = report.totals;
        assert_eq!((t.unchanged, t.written, t.skipped), expected, "{report}");
        assert!(t.balance() && report.is_complete());
        assert_eq!((report.calls.reads, report.calls.writes), (1, u64::from(!applied)));
        assert!(rows.iter().all(|row| parts.destination.write_count(&parts.target, row.0) == 1));
        assert_eq!(report.reasons.rows_with_code(Outcome::Skipped, "record_exists"), expected.2);
        let again = creating(&parts, true).run().await.unwrap();
        assert_eq!((again.calls.reads, again.calls.writes, again.totals.in_doubt), (0, 0, 0));
    }
}

#[tokio::test]
async fn f31_without_a_lookup_creates_of_unknown_fate_stay_unknown() {
    let parts = Parts::new(&[ada("Ada", "pro")]);
    parts.destination.fail_write(1, Fault::UnknownAfter);
    for _ in 0..3 {
        let report = creating(&parts, false).run().await.unwrap();
        assert_eq!((report.totals.in_doubt, parts.destination.writes().len()), (1, 1));
    }
}
