//! Update-only and create-only.

use rsync_core::capability::{Addressing, Capability, Operation, OperationLimits, WriteIdempotence};
use rsync_core::outcome::Outcome;
use rsync_core::{CreateOnly, Kind, RunStatus, UpdateOnly, Upsert};

use crate::support::{Parts, Row, batch, numbered};

const ADA: Row<'_> = ("a", Some("Ada"), Some("pro"));
const BOB: Row<'_> = ("b", Some("Bob"), Some("pro"));

#[tokio::test]
async fn f46_update_only_makes_no_record_and_asks_again_when_the_row_changes() {
    let parts = Parts::new(&[ADA, BOB]);
    parts.destination.insert(&parts.target, "a", []);
    let sync = parts.builder().policy(UpdateOnly::new().asking_again_every(0)).build().unwrap();
    let report = sync.run().await.unwrap();
    assert_eq!((report.status, report.totals.written, report.totals.skipped), (RunStatus::Completed, 1, 1));
    assert!(report.totals.balance());
    assert_eq!(report.reasons.rows_with_code(Outcome::Skipped, "record_missing"), 1);
    assert_eq!(parts.records().keys().collect::<Vec<_>>(), ["a"]);
    // Told once, it is not asked after again.
    for _ in 0..12 {
        let report = sync.run().await.unwrap();
        assert_eq!((report.totals.unchanged, report.totals.skipped, report.calls.writes), (1, 1, 0));
        assert_eq!(report.reasons.rows_with_code(Outcome::Skipped, "record_missing"), 1);
    }
    parts.replace(&[ADA, ("b", Some("Bob"), Some("free"))]);
    assert_eq!(sync.run().await.unwrap().calls.writes, 1);
    parts.destination.insert(&parts.target, "b", [("name", "somebody's")]);
    parts.replace(&[ADA, BOB]);
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.written, report.totals.skipped), (1, 0));
    assert_eq!(parts.field("b", "name").as_deref(), Some("Bob"));
    assert_eq!(sync.run().await.unwrap().calls.writes, 0);
}

#[tokio::test]
async fn update_only_finds_records_that_appear_later_a_share_of_them_in_each_run() {
    let parts = Parts::of(numbered(400, 1));
    let sync = parts.builder().policy(UpdateOnly::new().asking_again_every(4)).build().unwrap();
    assert_eq!(sync.run().await.unwrap().totals.skipped, 400);
    let before = parts.rows_sent();
    for i in 0..400 {
        parts.destination.insert(&parts.target, &format!("k{i}"), []);
    }
    let mut written = Vec::new();
    for _ in 0..4 {
        let report = sync.run().await.unwrap();
        assert!(report.totals.balance());
        written.push(report.totals.written);
    }
    assert_eq!((written.iter().sum::<u64>(), parts.rows_sent() - before), (400, 400), "each is asked after once");
    assert!(written.iter().all(|rows| (60..=140).contains(rows)), "{written:?}");
}

#[tokio::test]
async fn f46_a_record_that_somebody_deleted_is_not_made_again_and_what_was_acknowledged_is_forgotten() {
    let parts = Parts::new(&[ADA]);
    let _ = parts.sync().run().await.unwrap();
    parts.destination.remove(&parts.target, "a");
    let sync = parts.builder().policy(UpdateOnly::new().asking_again_every(1)).build().unwrap();
    parts.replace(&[("a", Some("Ada"), Some("free"))]);
    assert_eq!(sync.run().await.unwrap().totals.skipped, 1);
    // Somebody makes it anew; the name that the old record had must be sent too.
    parts.destination.insert(&parts.target, "a", [("name", "Countess")]);
    assert_eq!(sync.run().await.unwrap().totals.written, 1);
    assert_eq!(parts.field("a", "name").as_deref(), Some("Ada"));
    assert_eq!(parts.field("a", "tier").as_deref(), Some("free"));
}

#[tokio::test]
async fn create_only_writes_a_row_once_and_leaves_what_exists_alone() {
    let parts = Parts::new(&[ADA, BOB]);
    parts.destination.insert(&parts.target, "a", [("name", "Countess")]);
    let sync = parts.builder().policy(CreateOnly::new()).build().unwrap();
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.created, report.totals.skipped), (1, 1));
    assert!(report.totals.balance() && report.is_complete());
    assert_eq!(report.reasons.rows_with_code(Outcome::Skipped, "record_exists"), 1);
    assert_eq!(parts.field("a", "name").as_deref(), Some("Countess"));

    parts.replace(&[("a", Some("Ada"), Some("free")), ("b", Some("Bob"), Some("free"))]);
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.skipped, report.calls.writes), (2, 0));
    assert_eq!(report.reasons.rows_with_code(Outcome::Skipped, "record_exists"), 1);
    assert_eq!(report.reasons.rows_with_code(Outcome::Skipped, "created_before"), 1);
    assert_eq!(parts.field("b", "tier").as_deref(), Some("pro"));

    // Another policy is not bound by what this one found.
    let report = parts.builder().policy(Upsert::new()).build().unwrap().run().await.unwrap();
    assert_eq!(report.totals.written, 2);
    assert_eq!(parts.field("a", "name").as_deref(), Some("Ada"));
}

#[tokio::test]
async fn missing_and_existing_records_are_told_from_bad_rows_when_a_batch_is_refused_as_a_whole() {
    let parts = Parts::of(numbered(20, 1));
    for i in 0..20 {
        if i != 7 {
            parts.destination.insert(&parts.target, &format!("k{i}"), []);
        }
    }
    let capability = Capability::new()
        .with_operation(Operation::Update, OperationLimits::new(20, WriteIdempotence::ByKey))
        .with_clears_fields()
        .with_keeps_absent_fields();
    let destination = parts.destination.clone().with_capability(capability);
    let builder = parts.builder().destination(destination, parts.target.clone()).policy(UpdateOnly::new());
    let report = builder.build().unwrap().run().await.unwrap();
    assert_eq!((report.totals.written, report.totals.skipped, report.totals.rejected), (19, 1, 0));
}

#[tokio::test]
async fn a_mode_that_the_destination_lacks_is_refused_by_the_plan() {
    let parts = Parts::of(batch(&[ADA]));
    let by_id = OperationLimits::new(20, WriteIdempotence::ByKey).with_addressing(Addressing::ById);
    let capability = Capability::new().with_operation(Operation::Update, by_id).with_clears_fields();
    let builder =
        || parts.builder().destination(parts.destination.clone().with_capability(capability), parts.target.clone());
    for sync in [
        builder().policy(UpdateOnly::new()).build().unwrap(),
        builder().policy(CreateOnly::new()).build().unwrap(),
        builder().policy(Upsert::new()).build().unwrap(),
    ] {
        assert_eq!(sync.plan().await.unwrap_err().kind(), Kind::Unsupported);
    }
    assert!(parts.destination.writes().is_empty());
}
