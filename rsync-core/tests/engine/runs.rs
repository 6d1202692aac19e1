//! Ordinary runs, and what becomes of rows.

use std::time::Duration;

use rsync_core::capability::{Capability, Operation, OperationLimits, Rate, WriteIdempotence};
use rsync_core::clock::Clock as _;
use rsync_core::destination::{
    Context, Found, LookupRequest, NameRefusal, OtherFields, RemoteField, RemoteSchema, WriteBatch,
};
use rsync_core::error::Retry;
use rsync_core::guard::{ChangedShare, RowFloor};
use rsync_core::ids::{AccountId, JobToken};
use rsync_core::memory::Fault;
use rsync_core::outcome::{Outcome, Receipt, RowOutcome};
use rsync_core::record::Rows;
use rsync_core::retry::RetryPolicy;
use rsync_core::{Destination, Error, Event, FieldMap, FieldRule, FieldType, Kind, Model, RunStatus, Target, Upsert};

use crate::support::{Parts, mapping as people_mapping, numbered};

const ADA: (&str, Option<&str>, Option<&str>) = ("a", Some("Ada"), Some("pro"));
const BOB: (&str, Option<&str>, Option<&str>) = ("b", Some("Bob"), None);

#[tokio::test]
async fn a_first_run_writes_all_a_second_nothing_a_third_the_change() {
    let parts = Parts::new(&[ADA, BOB]);
    let report = parts.sync().run().await.unwrap();
    assert_eq!((report.status, report.totals.written, report.totals.created), (RunStatus::Completed, 2, 2));
    assert!(report.totals.balance());
    assert_eq!(parts.field("a", "name").as_deref(), Some("Ada"));

    let report = parts.sync().run().await.unwrap();
    assert_eq!((report.totals.unchanged, report.totals.written, report.calls.writes), (2, 0, 0));

    parts.replace(&[ADA, ("b", Some("Bob"), Some("free"))]);
    let plan = parts.sync().plan().await.unwrap();
    let changes: Vec<u64> = plan.field_changes().iter().map(|change| change.rows).collect();
    assert_eq!((plan.counts().changed, changes), (1, vec![0, 0, 1]));
    drop(plan);
    let report = parts.sync().run().await.unwrap();
    assert_eq!((report.totals.unchanged, report.totals.written, report.totals.updated), (1, 1, 1));
    assert_eq!(parts.destination.write_count(&parts.target, "a"), 1);
    assert_eq!(parts.field("b", "tier").as_deref(), Some("free"));
    assert_eq!(parts.recorder.count(|event| matches!(event, Event::RunCompleted { .. })), 3);
}

#[tokio::test]
async fn only_changed_fields_are_sent_where_absent_ones_are_kept() {
    let parts = Parts::new(&[ADA]);
    let _ = parts.sync().run().await.unwrap();
    // A person changes the name at the destination; the model changes the tier.
    parts.destination.insert(&parts.target, "a", [("name", "Countess"), ("tier", "pro")]);
    parts.replace(&[("a", Some("Ada"), Some("free"))]);
    let _ = parts.sync().run().await.unwrap();
    assert_eq!(parts.field("a", "name").as_deref(), Some("Countess"));
    assert_eq!(parts.field("a", "tier").as_deref(), Some("free"));

    parts.replace(&[("a", Some("Ada"), Some("pro"))]);
    let _ = parts.builder().policy(Upsert::new().all_fields()).build().unwrap().run().await.unwrap();
    assert_eq!(parts.field("a", "name").as_deref(), Some("Ada"));
}

#[tokio::test]
async fn a_value_that_goes_there_and_back_is_written_twice() {
    let parts = Parts::new(&[ADA]);
    let _ = parts.sync().run().await.unwrap();
    for tier in ["free", "pro", "free", "pro"] {
        parts.replace(&[("a", Some("Ada"), Some(tier))]);
        assert_eq!(parts.sync().run().await.unwrap().totals.written, 1);
        assert_eq!(parts.field("a", "tier").as_deref(), Some(tier));
    }
}

#[tokio::test]
async fn f49_null_rules_keep_and_clear() {
    let parts = Parts::new(&[ADA]);
    let _ = parts.sync().run().await.unwrap();
    parts.replace(&[("a", None, None)]);
    let report = parts.sync().run().await.unwrap();
    assert_eq!(report.totals.written, 1);
    assert_eq!(parts.field("a", "name").as_deref(), Some("Ada"), "a null is kept away from the name");
    assert_eq!(parts.field("a", "tier"), None, "a null clears the tier");
    // A null that is kept is no change, now and later.
    assert_eq!(parts.sync().run().await.unwrap().totals.unchanged, 1);
    parts.replace(&[ADA]);
    assert_eq!(parts.sync().run().await.unwrap().totals.written, 1, "only the tier is new");
}

#[tokio::test]
async fn a_new_field_is_sent_and_a_removed_one_left_alone() {
    let parts = Parts::new(&[ADA, BOB]);
    let without_tier = || {
        FieldMap::new().field(FieldRule::column("id", "ext_id", FieldType::Text)).field(FieldRule::column(
            "name",
            "name",
            FieldType::Text,
        ))
    };
    let short = parts.builder().mapping(without_tier()).build().unwrap();
    assert_eq!(short.run().await.unwrap().totals.written, 2);
    parts.destination.insert(&parts.target, "a", [("name", "Countess")]);

    let plan = parts.sync().plan().await.unwrap();
    let changes: Vec<u64> = plan.field_changes().iter().map(|change| change.rows).collect();
    assert_eq!(changes, [0, 0, 2], "a clear counts as a value");
    drop(plan);
    assert_eq!(parts.sync().run().await.unwrap().totals.written, 2);
    assert_eq!(parts.field("a", "name").as_deref(), Some("Countess"), "only the new field was sent");
    assert_eq!(parts.field("a", "tier").as_deref(), Some("pro"));

    let report = short.run().await.unwrap();
    assert_eq!((report.totals.unchanged, report.calls.writes), (2, 0));
    assert_eq!(parts.field("a", "tier").as_deref(), Some("pro"));
}

#[tokio::test]
async fn f21_f22_null_and_duplicate_keys_lose_only_those_rows() {
    let rows = [
        ADA,
        ("NULL", Some("x"), None),
        ("", Some("x"), None),
        (" ", Some("x"), None),
        BOB,
        ("d", None, None),
        ("d", Some("D"), None),
    ];
    let parts = Parts::new(&rows);
    let report = parts.sync().run().await.unwrap();
    assert!(report.totals.balance(), "{:?}", report.totals);
    assert_eq!((report.totals.null_keys, report.totals.duplicates, report.totals.written), (3, 2, 2));
    assert_eq!(parts.records().keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(report.reasons.rows_with_code(Outcome::Invalid, "key_duplicated"), 2);

    // A key that was fine and is doubled later is left as it is.
    parts.replace(&[ADA, ("a", Some("Adb"), None), BOB, BOB]);
    let report = parts.sync().run().await.unwrap();
    assert!(report.totals.balance(), "{:?}", report.totals);
    assert_eq!((report.totals.duplicates, report.totals.written, report.totals.unchanged), (4, 0, 0));
    assert_eq!(parts.field("a", "name").as_deref(), Some("Ada"));
}

#[tokio::test]
async fn f23_rows_that_would_meet_in_one_record_are_not_sent() {
    let parts = Parts::new(&[("a", Some("x@x"), None), ("b", Some("X@x "), None), ("c", Some("c@x"), None)]);
    let target = Target::new("people", "name");
    let schema = {
        let mut email = rsync_core::destination::RemoteField::new("name", "text");
        email.unique = true;
        email.folding = rsync_core::destination::KeyFolding::CaselessTrimmed;
        rsync_core::destination::RemoteSchema::new(vec![
            email,
            rsync_core::destination::RemoteField::new("ext_id", "text"),
            rsync_core::destination::RemoteField::new("tier", "text"),
        ])
    };
    let destination = parts.destination.clone().with_object("people", schema);
    let sync = parts.builder().destination(destination, target).build().unwrap();
    let report = sync.run().await.unwrap();
    assert!(report.totals.balance(), "{:?}", report.totals);
    assert_eq!((report.totals.invalid, report.totals.written), (2, 1));
    assert_eq!(report.reasons.rows_with_code(Outcome::Invalid, "match_value_shared"), 2);
}

#[tokio::test]
async fn f03_a_failed_row_is_sent_again_with_the_newest_value() {
    let parts = Parts::new(&[ADA]);
    for number in 1..=5 {
        parts.destination.fail_write(number, Fault::FailBefore(unavailable(Retry::Backoff)));
    }
    let failure = parts.sync().run().await.unwrap_err();
    assert_eq!(failure.error.kind(), Kind::Unavailable);
    let report = failure.report.unwrap();
    assert_eq!((report.status, report.totals.failed), (RunStatus::Failed, 1));
    assert!(report.totals.balance());
    assert!(parts.records().is_empty());

    parts.replace(&[("a", Some("Ada"), Some("free"))]);
    let report = parts.sync().run().await.unwrap();
    assert_eq!((report.totals.written, report.totals.unchanged), (1, 0));
    assert_eq!(parts.field("a", "tier").as_deref(), Some("free"));
}

fn unavailable(retry: Retry) -> Error {
    Error::new(Kind::Unavailable, "write", "the service is failing").with_context("code", "503").with_retry(retry)
}

#[tokio::test]
async fn transient_errors_are_retried_within_the_run() {
    let parts = Parts::new(&[ADA, BOB]);
    parts.destination.fail_write(1, Fault::FailBefore(unavailable(Retry::Backoff)));
    parts.destination.fail_write(2, Fault::FailAfter(unavailable(Retry::Ambiguous)));
    let report = parts.sync().run().await.unwrap();
    assert_eq!((report.totals.written, report.calls.writes, report.calls.retries), (2, 3, 2));
    assert_eq!(parts.recorder.count(|event| matches!(event, Event::BatchRetried { .. })), 2);
    let ids: std::collections::HashSet<_> = parts.destination.writes().iter().map(|write| write.batch).collect();
    assert_eq!(ids.len(), 1, "an attempt keeps its batch id");
}

#[tokio::test]
async fn f26_the_servers_delay_is_kept() {
    let parts = Parts::new(&[ADA]);
    let clock = parts.clock.clone();
    let destination = parts.destination.clone().with_latency(std::sync::Arc::new(clock), Duration::from_millis(1));
    let limited = |s| {
        Fault::FailBefore(
            Error::new(Kind::RateLimited, "write", "slow down").with_retry(Retry::After(Duration::from_secs(s))),
        )
    };
    destination.fail_write(1, limited(42));
    let sync = parts.builder().destination(destination.clone(), parts.target.clone()).build().unwrap();
    assert_eq!(sync.run().await.unwrap().totals.written, 1);
    let at: Vec<Duration> = destination.writes().iter().map(|write| write.at).collect();
    assert!(at[1] - at[0] >= Duration::from_secs(42), "{at:?}");

    // An answer of unknown fate can ask for a pause as well.
    parts.replace(&[("c", Some("Cyd"), None)]);
    destination.fail_write(3, Fault::FailAfter(unavailable(Retry::Ambiguous).with_delay(Duration::from_secs(20))));
    assert_eq!(sync.run().await.unwrap().totals.written, 1);
    let at: Vec<Duration> = destination.writes().iter().map(|write| write.at).collect();
    assert!(at[3] - at[2] >= Duration::from_secs(20), "{at:?}");

    parts.replace(&[BOB]);
    destination.fail_write(5, limited(3600));
    let report = sync.run().await.unwrap();
    let stop = report.stop.as_ref().unwrap();
    assert_eq!((report.status, stop.kind, report.totals.deferred), (RunStatus::Stopped, Kind::RateLimited, 1));
    assert_eq!(stop.not_before, Some(parts.clock.wall() + Duration::from_secs(3600)));
    parts.clock.advance(Duration::from_secs(3600));
    assert_eq!(sync.run().await.unwrap().totals.written, 1);
}

#[tokio::test]
async fn f44_a_rejected_row_is_parked_until_it_changes() {
    let parts = Parts::new(&[ADA, ("b", Some("Bob"), Some("gold")), ("c", Some("Cyd"), None)]);
    let destination = parts.destination.clone().with_invalid_value("tier", "gold", "INVALID_OPTION");
    let sync = parts.builder().destination(destination, parts.target.clone()).build().unwrap();
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.written, report.totals.rejected), (2, 1));
    assert_eq!(report.reasons.rows_with_code(Outcome::Rejected, "INVALID_OPTION"), 1);
    assert_eq!(report.status, RunStatus::Completed);

    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.skipped, report.calls.writes), (1, 0));
    assert_eq!(report.reasons.rows_with_code(Outcome::Skipped, "parked"), 1);

    parts.replace(&[ADA, ("b", Some("Bob"), Some("free")), ("c", Some("Cyd"), None)]);
    assert_eq!(sync.run().await.unwrap().totals.written, 1);
    assert_eq!(parts.field("b", "tier").as_deref(), Some("free"));
}

#[tokio::test]
async fn a_batch_of_only_bad_rows_stops_the_run() {
    let parts = Parts::of(numbered(40, 1));
    let capability = Capability::new()
        .with_clears_fields()
        .with_operation(Operation::Upsert, OperationLimits::new(10, WriteIdempotence::ByKey))
        .with_keeps_absent_fields();
    let destination = parts
        .destination
        .clone()
        .with_capability(capability)
        .with_rule(|_, _| Some(RowOutcome::rejected("BAD", None, "")));
    let sync = parts.builder().destination(destination, parts.target.clone()).build().unwrap();
    let failure = sync.run().await.unwrap_err();
    assert_eq!(failure.error.kind(), Kind::Rejected);
    let report = failure.report.unwrap();
    assert_eq!((report.totals.rejected, report.totals.deferred), (10, 30));
}

#[tokio::test]
async fn f35_missing_outcomes_are_never_success() {
    let parts = Parts::of(numbered(10, 1));
    for number in 1..=5 {
        parts.destination.fail_write(number, Fault::DropOutcomes(1));
    }
    let report = parts.sync().run().await.unwrap();
    assert_eq!((report.totals.in_doubt, report.totals.written, report.status), (10, 0, RunStatus::Incomplete));
    assert_eq!(
        parts.recorder.count(
            |event| matches!(event, Event::RunIncomplete { outstanding: 10, owner, .. } if owner.team == "growth")
        ),
        1
    );
    let plan = parts.sync().plan().await.unwrap();
    assert_eq!(plan.counts().in_doubt, 10);
    let report = parts.sync().apply(plan).await.unwrap();
    assert_eq!(report.totals.written, 10);
}

#[tokio::test]
async fn f31_an_append_of_unknown_fate_is_not_repeated() {
    for fault in [Fault::FailAfter(unavailable(Retry::Ambiguous)), Fault::UnknownAfter, Fault::DropOutcomes(1)] {
        let parts = Parts::new(&[ADA]);
        let capability = Capability::new()
            .with_clears_fields()
            .with_operation(Operation::Upsert, OperationLimits::new(10, WriteIdempotence::None))
            .with_per_row_outcomes();
        let destination = parts.destination.clone().with_capability(capability);
        destination.fail_write(1, fault);
        let sync = parts.builder().destination(destination.clone(), parts.target.clone()).build().unwrap();
        let report = sync.run().await.unwrap();
        assert_eq!((report.totals.in_doubt, destination.writes().len()), (1, 1));
        // Neither does a later run, which goes on saying so.
        let report = sync.run().await.unwrap();
        assert_eq!((report.status, report.totals.in_doubt), (RunStatus::Incomplete, 1));
        assert_eq!(report.reasons.rows_with_code(Outcome::InDoubt, "fate_unknown"), 1);
        assert_eq!(destination.writes().len(), 1);
    }
}

#[tokio::test]
async fn f15_a_panicking_adapter_loses_nothing() {
    let parts = Parts::new(&[ADA]);
    let destination =
        parts.destination.clone().with_faults(|number, _| if number <= 5 { panic!("planted") } else { None });
    let sync = parts.builder().destination(destination, parts.target.clone()).build().unwrap();
    let report = sync.run().await.unwrap();
    assert_eq!(report.reasons.rows_with_code(Outcome::InDoubt, "adapter_panic"), 1);
    assert_eq!(sync.run().await.unwrap().totals.written, 1);
}

#[tokio::test]
async fn f56_a_dead_destination_stops_the_run_early() {
    let parts = Parts::of(numbered(5_000, 1));
    let destination =
        parts.destination.clone().with_faults(|_, _| Some(Fault::FailBefore(unavailable(Retry::Backoff))));
    let sync = parts.builder().destination(destination.clone(), parts.target.clone()).build().unwrap();
    let failure = sync.run().await.unwrap_err();
    let report = failure.report.unwrap();
    assert!(report.totals.balance());
    assert_eq!(report.totals.written, 0);
    assert!(destination.writes().len() <= 12, "{} calls to a dead destination", destination.writes().len());
    assert_eq!(
        parts
            .recorder
            .count(|event| matches!(event, Event::RunFailed { owner, .. } if owner.contact == "growth@example.com")),
        1
    );
    assert_eq!(parts.sync().run().await.unwrap().totals.written, 5_000);
}

#[tokio::test]
async fn revoked_credentials_stop_the_run_at_once() {
    let parts = Parts::of(numbered(1_000, 1));
    let destination = parts.destination.clone().with_faults(|number, _| {
        (number == 3).then(|| Fault::FailBefore(Error::new(Kind::Unauthenticated, "write", "the token was refused")))
    });
    let sync = parts.builder().destination(destination.clone(), parts.target.clone()).build().unwrap();
    let failure = sync.run().await.unwrap_err();
    assert_eq!(failure.error.kind(), Kind::Unauthenticated);
    let report = failure.report.unwrap();
    assert!(report.totals.balance());
    assert_eq!(report.totals.failed, 100);
    assert!(report.totals.deferred >= 500, "{:?}", report.totals);
    assert_eq!(parts.sync().run().await.unwrap().totals.written, 1_000 - report.totals.written);
}

#[tokio::test]
async fn f25_a_held_plan_writes_nothing_and_tells_the_owner() {
    let parts = Parts::of(numbered(100, 1));
    let guarded = || parts.builder().guard(RowFloor::at_least(50)).guard(ChangedShare::at_most(0.5)).build().unwrap();
    for version in 1..=3 {
        parts.source.replace(vec![numbered(100, version)]);
        assert_eq!(guarded().run().await.unwrap().status, RunStatus::Completed);
    }
    let before = (parts.records(), parts.destination.writes().len());
    for (model, guard) in [(numbered(100, 9), "changed_share"), (numbered(49, 3), "row_floor")] {
        parts.source.replace(vec![model]);
        let plan = guarded().plan().await.unwrap();
        assert!(plan.is_held());
        assert!(plan.to_string().contains(&format!("guard {guard}: HOLD")), "{plan}");
        let report = guarded().apply(plan).await;
        let report = report.unwrap();
        assert_eq!((report.status, report.calls.writes), (RunStatus::Held, 0));
        assert!(report.totals.balance());
    }
    assert_eq!((parts.records(), parts.destination.writes().len()), before);
    assert_eq!(
        parts.recorder.count(|event| matches!(event, Event::RunHeld { owner, .. } if owner.team == "growth")),
        2
    );
    parts.source.replace(vec![numbered(100, 3)]);
    assert_eq!(guarded().run().await.unwrap().totals.unchanged, 100, "a held run leaves no trace in the state");
}

#[tokio::test]
async fn limits_of_rows_calls_and_rate_are_kept() {
    let parts = Parts::of(numbered(2_050, 1));
    let capability = Capability::new()
        .with_clears_fields()
        .with_operation(Operation::Upsert, OperationLimits::new(100, WriteIdempotence::ByKey))
        .with_keeps_absent_fields()
        .with_per_row_outcomes()
        .with_max_in_flight(3)
        .with_rate(Rate::new(5, Duration::from_secs(10)));
    let destination = parts
        .destination
        .clone()
        .with_capability(capability)
        .with_latency(std::sync::Arc::new(parts.clock.clone()), Duration::from_millis(200));
    let sync = parts.builder().destination(destination.clone(), parts.target.clone()).build().unwrap();
    let plan = sync.plan().await.unwrap();
    assert_eq!((plan.cost().requests, plan.cost().at_least), (21, Some(Duration::from_secs(40))));
    let report = sync.apply(plan).await.unwrap();
    assert_eq!((report.totals.written, report.calls.writes), (2_050, 21));
    assert!(destination.max_in_flight() <= 3);
    let mut at: Vec<Duration> = destination.writes().iter().map(|write| write.at).collect();
    at.sort();
    assert!(at.windows(6).all(|six| six[5] - six[0] >= Duration::from_secs(10)), "{at:?}");
}

#[tokio::test]
async fn f51_f52_a_run_stops_at_the_quotas_reserve_and_the_next_goes_on() {
    // (in flight, quota used before, writes that are left until 80 of 100)
    for (in_flight, used, left) in [(1, 74, 6_u64), (4, 74, 6), (4, 80, 0), (4, 95, 0), (1, 0, 10)] {
        let mut parts = Parts::of(numbered(1_000, 1));
        let capability = parts.destination.capability(&parts.target).with_max_in_flight(in_flight);
        parts.destination = parts.destination.with_capability(capability);
        parts.destination.set_quota(used, 100);
        let report = parts.sync().run().await.unwrap();
        let case = format!("{in_flight} in flight, {used} used: {report}");
        assert_eq!(parts.destination.writes().len() as u64, left, "{case}");
        assert_eq!((report.totals.written, report.totals.deferred), (left * 100, 1_000 - left * 100), "{case}");
        let stopped = report.stop.as_ref().map(|stop| stop.kind);
        assert_eq!(stopped, (left < 10).then_some(Kind::QuotaExhausted), "{case}");
        assert_eq!(report.quota.map(|quota| quota.used), Some(used + left), "{case}");
        assert!(report.totals.balance());

        parts.destination.set_quota(0, 1_000);
        let report = parts.sync().run().await.unwrap();
        assert_eq!((report.totals.unchanged, report.totals.written), (left * 100, 1_000 - left * 100), "{case}");
        assert_eq!(parts.destination.writes().len(), 10, "{case}");
    }
}

#[tokio::test]
async fn identical_input_gives_identical_batches() {
    let ids = |seed: u64| async move {
        let parts = Parts::of(numbered(550, 1));
        let sync = parts.builder().randomness(rsync_core::memory::SeededRandomness::new(seed)).build().unwrap();
        let plan = sync.plan().await.unwrap();
        let hash = plan.hash();
        let _ = sync.apply(plan).await.unwrap();
        let mut ids: Vec<_> = parts.destination.writes().iter().map(|write| write.batch).collect();
        ids.sort();
        (hash, ids)
    };
    assert_eq!(ids(1).await, ids(2).await);
}

/// Every second question after a job fails.
#[derive(Debug)]
struct FlakyJobs(rsync_core::memory::MemoryDestination, std::sync::atomic::AtomicU32);

#[async_trait::async_trait]
impl Destination for FlakyJobs {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }
    fn capability(&self, target: &Target) -> Capability {
        self.0.capability(target)
    }
    fn row_bytes(&self, target: &Target, operation: Operation, rows: &Rows, row: usize) -> usize {
        self.0.row_bytes(target, operation, rows, row)
    }
    async fn check(&self, target: &Target) -> rsync_core::Result<AccountId> {
        self.0.check(target).await
    }
    async fn describe(&self, target: &Target) -> rsync_core::Result<RemoteSchema> {
        self.0.describe(target).await
    }
    async fn lookup(&self, cx: &Context, request: LookupRequest) -> rsync_core::Result<Found> {
        self.0.lookup(cx, request).await
    }
    async fn write(&self, cx: &Context, batch: WriteBatch) -> rsync_core::Result<Receipt> {
        self.0.write(cx, batch).await
    }
    async fn resume(&self, cx: &Context, batch: &WriteBatch, job: JobToken) -> rsync_core::Result<Receipt> {
        match self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2 {
            0 => Err(unavailable(Retry::Backoff)),
            _ => self.0.resume(cx, batch, job).await,
        }
    }
}

const TOO_LONG: NameRefusal = NameRefusal { cause: "the name has more than 4 bytes", fix: "choose a shorter one" };

#[tokio::test]
async fn fields_that_come_into_being_need_no_declaration_and_some_cannot_be_emptied() {
    let mut key = RemoteField::new("ext_id", "text");
    key.unique = true;
    let open = RemoteSchema::new(vec![key]).with_others(OtherFields::new(|name| (name.len() > 4).then_some(TOO_LONG)));
    let parts = Parts::new(&[ADA, BOB]);
    parts.destination.create_object("people", open.clone());
    assert_eq!(parts.sync().run().await.unwrap().totals.written, 2);
    assert_eq!(parts.field("a", "tier").as_deref(), Some("pro"));

    let long = FieldMap::new().field(FieldRule::column("id", "ext_id", FieldType::Text)).field(FieldRule::column(
        "tier",
        "tiers",
        FieldType::Text,
    ));
    let mut fixed = RemoteField::new("tier", "text");
    fixed.clearable = false;
    let mut unclearable = open.clone();
    unclearable.fields.push(fixed);
    for (schema, mapping, at, cause) in [
        (open, long, "mapping.tiers", TOO_LONG.cause),
        (unclearable, people_mapping(), "mapping.tier", "cannot empty this one"),
    ] {
        parts.destination.create_object("people", schema);
        let error = parts.builder().mapping(mapping).build().unwrap().plan().await.unwrap_err();
        let [problem] = error.problems() else { panic!("{error}") };
        assert_eq!(problem.at, at);
        assert!(problem.cause.contains(cause), "{problem}");
    }
}

#[tokio::test]
async fn a_destination_that_cannot_clear_refuses_the_null_rule() {
    let parts = Parts::new(&[ADA]);
    let capability = Capability::new()
        .with_operation(Operation::Upsert, OperationLimits::new(10, WriteIdempotence::ByKey))
        .with_per_row_outcomes();
    let destination = parts.destination.clone().with_capability(capability);
    let sync = parts.builder().destination(destination, parts.target.clone()).build().unwrap();
    let error = sync.plan().await.unwrap_err();
    assert!(error.to_string().contains("mapping.tier: a null clears the field, but the destination cannot"), "{error}");
}

#[tokio::test]
async fn a_job_is_asked_after_until_it_is_done() {
    let parts = Parts::of(numbered(250, 1));
    let destination = FlakyJobs(parts.destination.clone().with_jobs(3), std::sync::atomic::AtomicU32::new(0));
    let sync = parts.builder().destination(destination, parts.target.clone()).build().unwrap();
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.written, report.calls.writes), (250, 3));
    assert_eq!(sync.run().await.unwrap().calls.writes, 0);
}

#[tokio::test]
async fn contract_breaches_make_rows_invalid() {
    let parts = Parts::new(&[ADA, BOB, ("c", Some("Cyd"), Some("gold"))]);
    let model = Model::new("people").key(["id"]).not_null("tier").accepted_values("tier", ["pro", "free"]);
    let report = parts.builder().model(model).build().unwrap().run().await.unwrap();
    assert_eq!((report.totals.written, report.totals.invalid), (1, 2));
    assert_eq!(report.reasons.rows_with_code(Outcome::Invalid, "null"), 1);
    assert_eq!(report.reasons.rows_with_code(Outcome::Invalid, "value_not_accepted"), 1);
}

#[tokio::test]
async fn retries_are_bounded() {
    let parts = Parts::of(numbered(10, 1));
    let destination = parts.destination.clone().with_faults(|_, _| {
        Some(Fault::FailBefore(Error::new(Kind::RateLimited, "write", "slow down").with_retry(Retry::Backoff)))
    });
    let retry = RetryPolicy::default().with_max_attempts(3);
    let sync = parts.builder().destination(destination.clone(), parts.target.clone()).retry(retry).build().unwrap();
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.failed, destination.writes().len()), (10, 3));
}

#[tokio::test]
async fn a_rejecting_service_and_a_large_model_keep_their_books() {
    let parts = Parts::of(numbered(3_000, 1));
    let destination = parts
        .destination
        .clone()
        .with_rule(|key, _| key.ends_with("77").then(|| RowOutcome::rejected("NO_77", None, "choose another key")));
    let sync = parts.builder().destination(destination, parts.target.clone()).build().unwrap();
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.rejected, report.totals.written), (30, 2_970));
    assert_eq!(sync.run().await.unwrap().totals.skipped, 30);
}
