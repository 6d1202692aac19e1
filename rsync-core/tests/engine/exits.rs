//! Rows that leave the model.

use rsync_core::capability::{Addressing, Capability, Operation, OperationLimits, WriteIdempotence};
use rsync_core::destination::{KeyFolding, RemoteField, RemoteSchema};
use rsync_core::error::Retry;
use rsync_core::guard::RowFloor;
use rsync_core::memory::{Fault, MemorySource};
use rsync_core::outcome::{Outcome, RowOutcome};
use rsync_core::pipeline::PipelineBuilder;
use rsync_core::{
    Error, Event, Exit, Exits, FieldMap, FieldRule, FieldType, Kind, MemoryStore, NullRule, Report, RunStatus, Scope,
    Target,
};

use crate::support::{Parts, Row, batch, flagged, key, numbered};

const ADA: Row<'_> = ("a", Some("Ada"), Some("pro"));
const BOB: Row<'_> = ("b", Some("Bob"), Some("pro"));
const CYD: Row<'_> = ("c", Some("Cyd"), None);

fn delete() -> Exits {
    Exits::new(Exit::Delete, Scope::TouchedByUs)
}

fn mirror(parts: &Parts) -> PipelineBuilder {
    parts.builder().exits(delete())
}

async fn run(builder: PipelineBuilder) -> Report {
    let report = builder.build().unwrap().run().await.unwrap();
    assert!(report.totals.balance(), "{:?}", report.totals);
    report
}

fn keys(parts: &Parts) -> Vec<String> {
    parts.records().into_keys().collect()
}

/// A destination that knows no record ids.
fn by_key(parts: &Parts) -> Parts {
    let limits = OperationLimits::new(10, WriteIdempotence::ByKey);
    let capability = Capability::new()
        .with_operation(Operation::Upsert, limits)
        .with_operation(Operation::Delete, limits)
        .with_clears_fields()
        .with_keeps_absent_fields()
        .with_per_row_outcomes();
    Parts { destination: parts.destination.clone().with_capability(capability), ..parts.clone() }
}

#[tokio::test]
async fn a_mirror_deletes_what_left_last_and_forgets_it() {
    let parts = Parts::new(&[ADA, BOB]);
    let report = run(mirror(&parts)).await;
    assert_eq!((report.totals.written, report.totals.gone), (2, 0), "a first run has nothing to dispose of");
    parts.replace(&[("b", Some("Bob"), Some("free")), CYD]);
    let plan = mirror(&parts).build().unwrap().plan().await.unwrap();
    assert_eq!((plan.counts().gone, plan.counts().exits, plan.cost().requests), (1, 1, 2));
    assert!(plan.to_string().contains("left the model             1   1 to delete"), "{plan}");
    drop(plan);
    let report = run(mirror(&parts)).await;
    assert_eq!((report.totals.gone, report.totals.exits.removed, report.totals.written), (1, 1, 2));
    assert_eq!(keys(&parts), ["b", "c"]);
    let operations: Vec<Operation> = parts.destination.writes().iter().map(|write| write.operation).collect();
    assert_eq!(operations.last(), Some(&Operation::Delete));
    assert!(report.to_string().contains("1 removed"), "{report}");

    let report = run(mirror(&parts)).await;
    assert_eq!((report.totals.gone, report.calls.writes), (0, 0));
    // It comes back, as a new one.
    parts.replace(&[ADA, ("b", Some("Bob"), Some("free")), CYD]);
    let report = run(mirror(&parts)).await;
    assert_eq!((report.totals.created, report.totals.unchanged), (1, 2));
    assert_eq!(parts.field("a", "name").as_deref(), Some("Ada"));
}

#[tokio::test]
async fn without_exits_nothing_is_done_about_rows_that_left() {
    let parts = Parts::new(&[ADA, BOB]);
    let _ = run(parts.builder()).await;
    parts.replace(&[ADA]);
    let report = run(parts.builder()).await;
    assert_eq!((report.totals.gone, report.totals.exits.skipped, report.calls.writes), (1, 1, 0));
    assert_eq!(report.exit_reasons.rows_with_code(Outcome::Skipped, "exits_ignored"), 1);
    assert_eq!(keys(&parts), ["a", "b"]);
    // They are not forgotten: once somebody says what to do, it is done.
    assert_eq!(run(mirror(&parts)).await.totals.exits.removed, 1);
    assert_eq!(keys(&parts), ["a"]);
}

#[tokio::test]
async fn only_what_this_sync_wrote_goes_and_only_what_it_made_if_that_is_the_scope() {
    let parts = Parts::new(&[ADA, BOB]);
    parts.destination.insert(&parts.target, "a", [("name", "Countess")]);
    parts.destination.insert(&parts.target, "z", []);
    let made = || parts.builder().exits(Exits::new(Exit::Delete, Scope::CreatedByUs));
    let _ = run(made()).await;
    // An update does not take the making away.
    parts.replace(&[ADA, ("b", Some("Bob"), Some("free"))]);
    let _ = run(made()).await;
    parts.replace(&[CYD]);
    let report = run(made()).await;
    assert_eq!((report.totals.exits.removed, report.totals.exits.skipped), (1, 1));
    assert_eq!(report.exit_reasons.rows_with_code(Outcome::Skipped, "not_created_by_us"), 1);
    assert_eq!(keys(&parts), ["a", "c", "z"]);
    let _ = run(mirror(&parts)).await;
    assert_eq!(keys(&parts), ["c", "z"], "what others made and we never wrote stays in any scope");
}

#[tokio::test]
async fn f50_deleting_what_is_gone_is_success() {
    let parts = Parts::new(&[ADA, BOB]);
    let _ = run(mirror(&parts)).await;
    parts.destination.remove(&parts.target, "b");
    parts.replace(&[ADA]);
    let report = run(mirror(&parts)).await;
    assert_eq!((report.status, report.totals.exits.removed), (RunStatus::Completed, 1));
    assert_eq!(run(mirror(&parts)).await.totals.gone, 0);
}

#[tokio::test]
async fn f50_a_refused_exit_is_parked_and_a_failed_one_done_later() {
    let parts = Parts::new(&[ADA, BOB, CYD]);
    let refusing = parts.destination.clone().with_rule(|key, fields| {
        (key == "b" && fields.is_empty()).then(|| RowOutcome::rejected("FORBIDDEN", None, "ask for the right"))
    });
    let sync = || mirror(&parts).destination(refusing.clone(), parts.target.clone());
    let _ = run(sync()).await;
    parts.replace(&[CYD]);
    let report = run(sync()).await;
    assert_eq!((report.totals.exits.removed, report.totals.exits.rejected), (1, 1));
    assert_eq!(report.exit_reasons.rows_with_code(Outcome::Rejected, "FORBIDDEN"), 1);
    let report = run(sync()).await;
    assert_eq!((report.totals.exits.skipped, report.calls.writes), (1, 0));
    assert_eq!(report.exit_reasons.rows_with_code(Outcome::Skipped, "parked"), 1);
    // The row comes back and leaves again, and the right is given.
    parts.replace(&[BOB, CYD]);
    assert_eq!(run(sync()).await.totals.unchanged, 2, "its record has never changed");
    parts.replace(&[CYD]);
    let calls = parts.destination.writes().len() as u64;
    let limited = || Error::new(Kind::RateLimited, "write", "slow down").with_retry(Retry::Backoff);
    for number in 1..=5 {
        parts.destination.fail_write(calls + number, Fault::FailBefore(limited()));
    }
    let report = run(mirror(&parts)).await;
    assert_eq!((report.status, report.totals.exits.failed), (RunStatus::Incomplete, 1));
    assert_eq!(run(mirror(&parts)).await.totals.exits.removed, 1);
    assert_eq!(keys(&parts), ["c"]);
}

#[tokio::test]
async fn f50_a_key_that_returns_while_its_exit_is_in_doubt_is_upserted() {
    for applied in [false, true] {
        let parts = Parts::new(&[ADA, BOB]);
        let _ = run(mirror(&parts)).await;
        parts.replace(&[ADA]);
        for number in 2..=6 {
            parts.destination.fail_write(number, if applied { Fault::UnknownAfter } else { Fault::UnknownBefore });
        }
        let report = run(mirror(&parts)).await;
        let done = (report.totals.exits.in_doubt, report.totals.exits.removed);
        // Asked again, a delete that was applied answers that nothing is there; here every answer is lost.
        assert_eq!((done, report.status), ((1, 0), RunStatus::Incomplete));
        parts.destination.clear_faults();
        parts.replace(&[ADA, BOB]);
        let report = run(mirror(&parts)).await;
        assert_eq!((report.totals.written, report.totals.gone), (1, 0));
        assert_eq!(parts.field("b", "tier").as_deref(), Some("pro"));
        assert_eq!(run(mirror(&parts)).await.calls.writes, 0);
    }
}

#[tokio::test]
async fn what_a_deleted_record_held_is_not_taken_for_what_its_successor_holds() {
    let parts = Parts::new(&[ADA, BOB]);
    let _ = run(mirror(&parts)).await;
    parts.replace(&[ADA]);
    assert_eq!(run(mirror(&parts)).await.totals.exits.removed, 1);
    // It returns with the very same values, and is not written.
    parts.replace(&[ADA, BOB]);
    for number in 3..=7 {
        let limited = Error::new(Kind::RateLimited, "write", "slow down").with_retry(Retry::Backoff);
        parts.destination.fail_write(number, Fault::FailBefore(limited));
    }
    assert_eq!(run(mirror(&parts)).await.totals.failed, 1);
    let plan = mirror(&parts).build().unwrap().plan().await.unwrap();
    assert_eq!((plan.counts().new, plan.counts().changed, plan.counts().unchanged), (1, 0, 1));
    drop(plan);
    assert_eq!(run(mirror(&parts)).await.totals.created, 1);
    assert_eq!(keys(&parts), ["a", "b"]);
}

#[tokio::test]
async fn f25_too_many_exits_and_an_empty_model_hold_the_run() {
    let parts = Parts::of(numbered(300, 1));
    let _ = run(mirror(&parts)).await;
    let before = (parts.records(), parts.destination.writes().len());
    for (model, reason) in [(numbered(284, 2), "16 records of 300"), (batch(&[]), "the model is empty")] {
        parts.source.replace(vec![model]);
        let plan = mirror(&parts).build().unwrap().plan().await.unwrap();
        assert!(plan.is_held() && plan.to_string().contains(reason), "{plan}");
        drop(plan);
        let report = run(mirror(&parts)).await;
        assert_eq!((report.status, report.totals.exits.held), (RunStatus::Held, report.totals.gone));
        assert!(report.totals.gone > 0);
        assert_eq!((parts.records(), parts.destination.writes().len()), before);
    }
    let told = |event: &Event| matches!(event, Event::RunHeld { reasons, .. } if reasons[0].starts_with("exits: "));
    assert_eq!(parts.recorder.count(told), 2);
    parts.source.replace(vec![numbered(285, 1)]);
    assert_eq!(run(mirror(&parts)).await.totals.exits.removed, 15);
    parts.source.replace(vec![numbered(100, 1)]);
    assert_eq!(run(mirror(&parts).exits(delete().at_most(200, 0.0))).await.totals.exits.removed, 185);
    assert_eq!(parts.records().len(), 100);
}

#[tokio::test]
async fn f08_a_lost_state_and_f16_an_incomplete_read_delete_nothing() {
    let parts = Parts::of(numbered(20, 1));
    let _ = run(mirror(&parts)).await;
    parts.source.replace(vec![numbered(19, 1)]);
    let report = run(mirror(&parts).state(MemoryStore::new(), key())).await;
    assert_eq!((report.totals.written, report.totals.gone), (19, 0));
    let cut = MemorySource::new(numbered(1, 1).schema(), vec![numbered(10, 1), numbered(20, 1)])
        .with_failure_after(1, || Error::new(Kind::SourceIncomplete, "read the model", "the connection was lost"));
    let failure = mirror(&parts).source(cut).build().unwrap().run().await.unwrap_err();
    assert_eq!(failure.error.kind(), Kind::SourceIncomplete);
    assert_eq!(parts.records().len(), 20);
}

#[tokio::test]
async fn other_guards_hold_exits_too() {
    let parts = Parts::of(numbered(20, 1));
    let _ = run(mirror(&parts)).await;
    parts.source.replace(vec![numbered(15, 1)]);
    let report = run(mirror(&parts).guard(RowFloor::at_least(18))).await;
    assert_eq!((report.totals.gone, report.totals.exits.held), (5, 5));
    assert_eq!(report.exit_reasons.rows_with_code(Outcome::Held, "row_floor"), 5);
}

#[tokio::test]
async fn exits_are_not_sent_when_the_writes_stop_the_run() {
    let parts = Parts::new(&[ADA, BOB]);
    let _ = run(mirror(&parts)).await;
    parts.replace(&[ADA, CYD]);
    let refused = Error::new(Kind::Unauthenticated, "write", "the token was refused");
    parts.destination.fail_write(2, Fault::FailBefore(refused));
    let failure = mirror(&parts).build().unwrap().run().await.unwrap_err();
    let report = failure.report.unwrap();
    assert!(report.totals.balance());
    assert_eq!((report.totals.exits.deferred, keys(&parts)), (1, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(run(mirror(&parts)).await.totals.exits.removed, 1);
}

#[tokio::test]
async fn clear_empties_the_fields_that_were_written_and_no_others() {
    let parts = Parts::new(&[ADA, ("b", Some("Bob"), Some("pro"))]);
    let clear = || parts.builder().exits(Exits::new(Exit::Clear, Scope::TouchedByUs));
    let name_only = FieldMap::new().field(FieldRule::column("id", "ext_id", FieldType::Text)).field(FieldRule::column(
        "name",
        "name",
        FieldType::Text,
    ));
    let _ = run(clear().mapping(name_only)).await;
    parts.destination.insert(&parts.target, "b", [("name", "Bob"), ("tier", "set by hand")]);
    // With a mapping that has the tier too: it was never ours.
    parts.replace(&[ADA]);
    let report = run(clear()).await;
    assert_eq!((report.totals.exits.removed, report.totals.written), (1, 1));
    assert_eq!((parts.field("b", "name"), parts.field("b", "tier").as_deref()), (None, Some("set by hand")));
    assert_eq!(parts.field("b", "ext_id").as_deref(), Some("b"));
    let report = run(clear()).await;
    assert_eq!((report.totals.gone, report.calls.writes), (0, 0), "it is done once");
    // It comes back: all that was emptied is set again.
    parts.replace(&[ADA, BOB]);
    assert_eq!(run(clear()).await.totals.written, 1);
    assert_eq!((parts.field("b", "name").as_deref(), parts.field("b", "tier").as_deref()), (Some("Bob"), Some("pro")));
    parts.replace(&[ADA]);
    assert_eq!(run(clear()).await.totals.exits.removed, 1);
    assert_eq!((parts.field("b", "name"), parts.field("b", "tier")), (None, None));
}

#[tokio::test]
async fn a_tombstone_is_set_once_and_lost_when_the_row_comes_back() {
    let parts = Parts::new(&[ADA, BOB]);
    let exit = Exit::Tombstone { field: "tier".into(), value: "left".into() };
    let marking = || parts.builder().exits(Exits::new(exit.clone(), Scope::CreatedByUs));
    let _ = run(marking()).await;
    for _ in 0..2 {
        parts.replace(&[ADA]);
        assert_eq!(run(marking()).await.totals.exits.removed, 1);
        assert_eq!(parts.field("b", "tier").as_deref(), Some("left"));
        assert_eq!(parts.field("b", "name").as_deref(), Some("Bob"));
        assert_eq!(run(marking()).await.totals.gone, 0);
        parts.replace(&[ADA, BOB]);
        assert_eq!(run(marking()).await.totals.written, 1);
        assert_eq!(parts.field("b", "tier").as_deref(), Some("pro"));
    }
    // What has the value already needs no call.
    parts.replace(&[ADA, ("b", Some("Bob"), Some("left"))]);
    let _ = run(marking()).await;
    parts.replace(&[ADA]);
    let report = run(marking()).await;
    assert_eq!((report.totals.exits.skipped, report.calls.writes), (1, 0));
    assert_eq!(run(marking()).await.totals.gone, 0);
}

#[tokio::test]
async fn a_marked_row_is_disposed_of_by_its_key_once() {
    let parts = by_key(&Parts::of(flagged(&[(ADA, false), (BOB, false), (CYD, true)])));
    let sync = || parts.builder().exits(delete().when("gone"));
    let report = run(sync()).await;
    assert_eq!((report.totals.written, report.totals.marked, report.totals.gone), (2, 1, 0), "{report}");
    assert_eq!(keys(&parts), ["a", "b"], "what is marked is not written");
    parts.destination.insert(&parts.target, "c", []);
    parts.source.replace(vec![flagged(&[(ADA, false), (BOB, true), (CYD, true)])]);
    let report = run(sync()).await;
    assert_eq!((report.totals.marked, report.totals.gone, report.totals.exits.removed), (2, 1, 1));
    assert_eq!(keys(&parts), ["a", "c"], "what somebody else made under a marked key stays");
    let report = run(sync()).await;
    assert_eq!((report.totals.marked, report.totals.gone, report.calls.writes), (2, 0, 0));
    // The mark is taken back.
    parts.source.replace(vec![flagged(&[(ADA, false), (BOB, false)])]);
    assert_eq!(run(sync()).await.totals.created, 1);
    // A row that is missing cannot be found there: nothing keeps its key.
    parts.source.replace(vec![flagged(&[(ADA, false)])]);
    let report = run(sync()).await;
    assert_eq!((report.totals.exits.skipped, report.calls.writes), (1, 0));
    assert_eq!(report.exit_reasons.rows_with_code(Outcome::Skipped, "record_unknown"), 1);
}

#[tokio::test]
async fn f21_a_key_that_is_marked_and_not_marked_is_a_duplicate_and_stays() {
    let parts = by_key(&Parts::of(flagged(&[(ADA, false), (BOB, false)])));
    let sync = || parts.builder().exits(delete().when("gone"));
    let _ = run(sync()).await;
    parts.source.replace(vec![flagged(&[(ADA, false), (BOB, true), (BOB, false), (CYD, true), (CYD, true)])]);
    let report = run(sync()).await;
    assert_eq!((report.totals.duplicates, report.totals.marked, report.totals.gone), (4, 0, 0));
    assert_eq!(keys(&parts), ["a", "b"]);
}

/// People who are matched by their name, while their key is another column.
fn matched_by_name(ids: bool) -> Parts {
    let target = Target::new("people", "name");
    let mut name = RemoteField::new("name", "text");
    name.unique = true;
    name.folding = KeyFolding::CaselessTrimmed;
    let schema = RemoteSchema::new(vec![name, RemoteField::new("ext_id", "text"), RemoteField::new("tier", "text")]);
    let mut parts = Parts::new(&[]);
    parts.destination = parts.destination.clone().with_object("people", schema);
    parts.target = target;
    if ids { parts } else { by_key(&parts) }
}

#[tokio::test]
async fn f23_a_record_that_went_over_to_another_key_is_never_deleted() {
    // The new key may write the record in the same run, or have written it long ago; and in other letters.
    for (together, name) in [(true, "Ada"), (false, "Ada"), (true, " aDA"), (false, "ADA ")] {
        let parts = matched_by_name(true);
        parts.replace(&[ADA, BOB]);
        let _ = run(mirror(&parts)).await;
        parts.replace(&[("a2", Some(name), Some("pro")), BOB]);
        if !together {
            let _ = run(parts.builder()).await;
        }
        let report = run(mirror(&parts)).await;
        assert_eq!((report.totals.gone, report.totals.exits.skipped), (1, 1), "{report}");
        assert_eq!(report.exit_reasons.rows_with_code(Outcome::Skipped, "record_shared"), 1);
        assert_eq!(parts.records().len(), 2);
        assert_eq!(parts.field("ada", "ext_id").as_deref(), Some("a2"));
        let report = run(mirror(&parts)).await;
        assert_eq!((report.totals.gone, report.calls.writes), (0, 0), "the old key is forgotten");
        // The new key leaves, and takes the record along.
        parts.replace(&[BOB]);
        assert_eq!(run(mirror(&parts)).await.totals.exits.removed, 1);
        assert_eq!(parts.records().len(), 1);
    }
}

#[tokio::test]
async fn f23_a_marked_row_whose_value_another_row_has_is_left_alone() {
    let parts = matched_by_name(false);
    let sync = || parts.builder().exits(delete().when("gone"));
    parts.source.replace(vec![flagged(&[(ADA, false), (BOB, false)])]);
    let _ = run(sync()).await;
    parts.source.replace(vec![flagged(&[(ADA, true), (("a2", Some("ADA"), None), false), (BOB, false)])]);
    let report = run(sync()).await;
    assert_eq!((report.totals.written, report.totals.exits.skipped), (1, 1), "{report}");
    assert_eq!(parts.field("ada", "ext_id").as_deref(), Some("a2"));
    assert_eq!(run(sync()).await.calls.writes, 0);
}

#[tokio::test]
async fn an_exit_that_cannot_be_done_is_refused_by_the_plan_with_a_fix() {
    let parts = Parts::new(&[ADA]);
    let limits = OperationLimits::new(10, WriteIdempotence::ByKey);
    let full = || Capability::new().with_operation(Operation::Upsert, limits).with_clears_fields();
    let by_id = limits.with_addressing(Addressing::ById);
    let tombstone = |field: &str, value: rsync_core::mapping::Constant| Exit::Tombstone { field: field.into(), value };
    let touched = |exit| Exits::new(exit, Scope::TouchedByUs);
    let update = full().with_operation(Operation::Update, by_id).with_keeps_absent_fields();
    let table = [
        (full(), touched(Exit::Delete), "no delete for this object"),
        (full().with_operation(Operation::Delete, limits), touched(Exit::Delete), "Exits::when(\"deleted_at\")"),
        (full().with_keeps_absent_fields(), touched(Exit::Clear), "Exits::when(\"deleted_at\")"),
        (full().with_operation(Operation::Update, by_id), touched(Exit::Clear), "may empty them"),
        (update, touched(tombstone("gone", true.into())), "\"gone\" is not mapped"),
        (update, touched(tombstone("ext_id", "x".into())), "records are matched on \"ext_id\""),
        (update, touched(tombstone("tier", true.into())), ""),
        (update, touched(Exit::Delete).when("gone"), "the model has no column \"gone\""),
    ];
    for (capability, exits, part) in table {
        let destination = parts.destination.clone().with_capability(capability);
        let sync = parts.builder().destination(destination, parts.target.clone()).exits(exits.clone()).build().unwrap();
        match sync.plan().await {
            Err(error) => {
                assert!(!part.is_empty() && error.to_string().contains(part), "{exits:?}: {error}");
                assert!(error.problems().iter().all(|problem| !problem.fix.is_empty()));
            }
            Ok(_) => assert!(part.is_empty(), "{exits:?} was not refused"),
        }
    }
    let error = parts.builder().exits(delete().at_most(1, 1.5)).build().unwrap_err();
    assert_eq!(error.problems()[0].at, "exits.at_most");
}

#[tokio::test]
async fn fields_that_cannot_be_emptied_are_left_and_said() {
    let parts = Parts::new(&[ADA, BOB]);
    let mut schema = RemoteSchema::new(["ext_id", "name", "tier"].map(|name| RemoteField::new(name, "text")).into());
    schema.fields[0].unique = true;
    schema.fields[1].clearable = false;
    parts.destination.create_object("people", schema);
    let clear = || {
        let tier = FieldRule::column("tier", "tier", FieldType::Text).on_null(NullRule::Keep);
        let mapping = FieldMap::new()
            .field(FieldRule::column("id", "ext_id", FieldType::Text))
            .field(FieldRule::column("name", "name", FieldType::Text))
            .field(tier);
        parts.builder().mapping(mapping).exits(Exits::new(Exit::Clear, Scope::TouchedByUs))
    };
    let _ = run(clear()).await;
    parts.replace(&[ADA]);
    let plan = clear().build().unwrap().plan().await.unwrap();
    assert!(plan.warnings().iter().any(|warning| warning.contains("cannot empty name")), "{plan}");
    drop(plan);
    assert_eq!(run(clear()).await.totals.exits.removed, 1);
    assert_eq!((parts.field("b", "name").as_deref(), parts.field("b", "tier")), (Some("Bob"), None));
}

#[tokio::test]
async fn many_exits_go_in_full_batches() {
    let parts = Parts::of(numbered(1_000, 1));
    let exits = || parts.builder().exits(delete().at_most(1_000, 0.0));
    let _ = run(exits()).await;
    parts.source.replace(vec![numbered(350, 1)]);
    let report = run(exits()).await;
    assert_eq!((report.totals.exits.removed, report.calls.writes), (650, 7));
    assert_eq!(parts.records().len(), 350);
}
