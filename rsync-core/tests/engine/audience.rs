//! Audiences: memberships come and go with the rows, and records stay as they are.

use std::collections::BTreeSet;

use rsync_core::capability::{Addressing, Capability, Operation, OperationLimits, WriteIdempotence};
use rsync_core::error::Retry;
use rsync_core::memory::Fault;
use rsync_core::outcome::Outcome;
use rsync_core::pipeline::PipelineBuilder;
use rsync_core::{
    Audience, Error, Exit, Exits, FieldMap, FieldRule, FieldType, Kind, MemoryStore, RunStatus, Scope, Upsert,
};

use crate::support::{Parts, Row, flagged, key, mapping};

const ADA: Row<'_> = ("ada", None, None);
const BOB: Row<'_> = ("bob", None, None);
const EVE: Row<'_> = ("eve", None, None);

/// People who exist, and whom the model wants in the audience.
fn people(wanted: &[Row<'_>]) -> Parts {
    let parts = Parts::new(wanted);
    for key in ["ada", "bob"] {
        parts.destination.insert(&parts.target, key, [("name", "not ours")]);
    }
    parts
}

fn keys_only() -> FieldMap {
    FieldMap::new().field(FieldRule::column("id", "ext_id", FieldType::Text))
}

fn builder(parts: &Parts) -> PipelineBuilder {
    parts.builder().mapping(keys_only()).policy(Audience::new())
}

fn removing() -> Exits {
    Exits::remove_from_audience().at_most(10, 0.0)
}

fn members(parts: &Parts) -> Vec<String> {
    parts.destination.members("people").into_iter().collect()
}

#[tokio::test]
async fn members_are_the_keys_of_the_model_and_no_record_is_touched() {
    let parts = people(&[ADA, BOB]);
    let before = parts.records();
    let sync = builder(&parts).exits(removing()).build().unwrap();
    let report = sync.run().await.unwrap();
    assert_eq!(
        (report.status, report.totals.written, members(&parts)),
        (RunStatus::Completed, 2, vec!["ada".into(), "bob".into()])
    );
    assert_eq!(sync.run().await.unwrap().calls.writes, 0);
    parts.replace(&[BOB]);
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.exits.removed, members(&parts)), (1, vec!["bob".to_owned()]));
    assert!(report.totals.balance() && report.is_complete());
    assert_eq!(sync.run().await.unwrap().calls.writes, 0);
    // Who comes back is a member again.
    parts.replace(&[ADA, BOB]);
    assert_eq!((sync.run().await.unwrap().totals.written, members(&parts).len()), (1, 2));
    assert_eq!(parts.records(), before);
    let operations: BTreeSet<_> = parts.destination.writes().iter().map(|write| write.operation).collect();
    assert_eq!(operations, BTreeSet::from([Operation::AddMember, Operation::RemoveMember]));
}

#[tokio::test]
async fn without_exits_members_stay() {
    let parts = people(&[ADA, BOB]);
    let sync = builder(&parts).build().unwrap();
    let _ = sync.run().await.unwrap();
    parts.replace(&[BOB]);
    let report = sync.run().await.unwrap();
    assert_eq!((report.calls.writes, report.totals.exits.skipped, members(&parts).len()), (0, 1, 2));
}

#[tokio::test]
async fn f46_who_has_no_record_is_no_member_and_is_told_and_who_is_gone_needs_no_removal() {
    let parts = people(&[ADA, EVE]);
    let sync = builder(&parts).exits(removing()).build().unwrap();
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.written, report.totals.skipped), (1, 1));
    assert_eq!(report.reasons.rows_with_code(Outcome::Skipped, "record_missing"), 1);
    assert_eq!(members(&parts), ["ada"]);
    // Somebody deletes the record, and the row leaves.
    parts.destination.remove(&parts.target, "ada");
    parts.replace(&[EVE]);
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.exits.removed, report.status), (1, RunStatus::Completed), "already removed is done");
}

#[tokio::test]
async fn f31_additions_and_removals_of_unknown_fate_are_sent_again() {
    let lost = || Fault::FailAfter(Error::new(Kind::Unavailable, "write", "planted").with_retry(Retry::Ambiguous));
    let parts = people(&[ADA, BOB]);
    let sync = builder(&parts).exits(removing()).build().unwrap();
    parts.destination.fail_write(1, lost());
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.written, report.calls.retries, members(&parts).len()), (2, 1, 2));
    parts.replace(&[BOB]);
    parts.destination.fail_write(3, lost());
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.exits.removed, report.calls.retries), (1, 1));
    assert_eq!(members(&parts), ["bob"]);
}

#[tokio::test]
async fn f50_exits_of_members_keep_to_guard_and_scope() {
    // The guard of exits, as for every other exit.
    let names: Vec<String> = (0..40).map(|i| format!("p{i}")).collect();
    let rows: Vec<Row<'_>> = names.iter().map(|name| (name.as_str(), None, None)).collect();
    let parts = people(&rows);
    names.iter().for_each(|name| parts.destination.insert(&parts.target, name, []));
    let sync = builder(&parts).exits(Exits::remove_from_audience()).build().unwrap();
    assert_eq!(sync.run().await.unwrap().totals.written, 40);
    parts.replace(&rows[..20]);
    let report = sync.run().await.unwrap();
    assert_eq!((report.status, report.totals.exits.held, members(&parts).len()), (RunStatus::Held, 20, 40));
    parts.replace(&[]);
    assert_eq!(sync.run().await.unwrap().status, RunStatus::Held);
    assert_eq!(members(&parts).len(), 40);

    // Who was a member before was not made one by us.
    let parts = people(&[BOB]);
    let _ = builder(&parts).build().unwrap().run().await.unwrap();
    parts.replace(&[ADA, BOB]);
    let exits = Exits::new(Exit::RemoveFromAudience, Scope::CreatedByUs).at_most(10, 0.0);
    let sync = builder(&parts).state(MemoryStore::new(), key()).exits(exits).build().unwrap();
    assert_eq!(sync.run().await.unwrap().totals.written, 2);
    parts.replace(&[("stays", None, None)]);
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.exits.removed, report.totals.exits.skipped), (1, 1));
    assert_eq!(members(&parts), ["bob"]);
}

#[tokio::test]
async fn a_destination_that_takes_keys_only_removes_those_that_the_model_marks() {
    let mut parts = people(&[]);
    let limits = OperationLimits::new(20, WriteIdempotence::ByKey);
    let capability = Capability::new()
        .with_operation(Operation::AddMember, limits)
        .with_operation(Operation::RemoveMember, limits)
        .with_per_row_outcomes();
    parts.destination = parts.destination.clone().with_capability(capability);
    parts.source.replace(vec![flagged(&[(ADA, false), (BOB, false)])]);
    let sync = builder(&parts).exits(removing().when("gone")).build().unwrap();
    assert_eq!(sync.run().await.unwrap().totals.written, 2);
    parts.source.replace(vec![flagged(&[(ADA, true), (BOB, false)])]);
    let report = sync.run().await.unwrap();
    assert_eq!((report.totals.exits.removed, members(&parts)), (1, vec!["bob".to_owned()]));
    // Without the mark nothing knows the key any more.
    let error = builder(&parts).exits(removing()).build().unwrap().plan().await.unwrap_err();
    assert!(error.problems()[0].fix.contains("Exits::when"), "{error:?}");
}

#[tokio::test]
async fn misuse_is_refused_before_anything_is_sent() {
    let parts = people(&[ADA]);
    let problem = |builder: PipelineBuilder| builder.build().unwrap_err().problems()[0].at.clone();
    for exit in [Exit::Delete, Exit::Clear] {
        assert_eq!(problem(builder(&parts).exits(Exits::new(exit, Scope::TouchedByUs))), "exits");
    }
    assert_eq!(problem(builder(&parts).policy(Upsert::new()).exits(removing())), "exits");

    let error = builder(&parts).mapping(mapping()).build().unwrap().plan().await.unwrap_err();
    let at: Vec<&str> = error.problems().iter().map(|problem| problem.at.as_str()).collect();
    assert_eq!((error.kind(), at), (Kind::SchemaMismatch, vec!["mapping.name", "mapping.tier"]));

    let limits = OperationLimits::new(20, WriteIdempotence::ByKey).with_addressing(Addressing::ByKeyOrId);
    let only =
        |operation| parts.destination.clone().with_capability(Capability::new().with_operation(operation, limits));
    for operation in [Operation::RemoveMember, Operation::AddMember] {
        let destination = only(operation);
        let sync = builder(&parts).destination(destination, parts.target.clone()).exits(removing()).build().unwrap();
        assert_eq!(sync.plan().await.unwrap_err().kind(), Kind::Unsupported, "only {operation:?}");
    }
    assert!(parts.destination.writes().is_empty());
}
