//! The state's own life: lost, replaced, begun anew; rows that are sent again; fields that come and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use rsync_core::ids::{KeyHash, SyncId};
use rsync_core::outcome::Outcome;
use rsync_core::plan::{BlastRadius, DefinitionChange};
use rsync_core::state::{Mutation, StateRead, StateSession, StateStore, Table, copy_state};
use rsync_core::{
    EmbeddedStore, Error, Exit, Exits, FieldMap, FieldRule, FieldType, HashKey, Kind, MemoryStore, Model, Pipeline,
    PlanOptions, Report, Resend, RunStatus, Scope, Target,
};

use crate::support::{Parts, Row, key, mapping, numbered};

async fn copy_of(parts: &Parts) -> MemoryStore {
    let (id, copy) = (SyncId::new("people").unwrap(), MemoryStore::new());
    let from = parts.store.acquire(&id).await.unwrap();
    copy_state(&*from, &*copy.acquire(&id).await.unwrap()).await.unwrap();
    copy
}

async fn run(pipeline: &Pipeline) -> Report {
    let report = pipeline.run().await.unwrap();
    assert_eq!(report.status, RunStatus::Completed, "{report}");
    report
}

fn anew() -> PlanOptions {
    PlanOptions::new().begin_anew()
}

#[tokio::test]
async fn f08_a_state_that_is_gone_made_anew_or_older_is_refused_before_anything_is_sent() {
    let parts = Parts::of(numbered(50, 1));
    let mut marks = vec![run(&parts.sync()).await.state_mark.unwrap()];
    let first = copy_of(&parts).await;
    parts.source.replace(vec![numbered(50, 2)]);
    marks.push(run(&parts.sync()).await.state_mark.unwrap());
    assert!(marks[0].epoch == marks[1].epoch && marks[0].runs < marks[1].runs);
    let other = {
        let other = Parts { store: MemoryStore::new(), ..parts.clone() };
        let _ = run(&other.builder().randomness(rsync_core::memory::SeededRandomness::new(8)).build().unwrap()).await;
        other.store
    };
    let folder = tempfile::tempdir().unwrap();
    let writes = parts.destination.writes().len();
    // A state of the first run would take rows that go back to version 1 for unchanged.
    parts.source.replace(vec![numbered(50, 1)]);
    for (name, builder) in [
        ("missing", parts.builder().state(MemoryStore::new(), key())),
        ("missing file", parts.builder().state(EmbeddedStore::new(folder.path()).unwrap(), key())),
        ("another epoch", parts.builder().state(other, key())),
        ("an older copy", parts.builder().state(first.clone(), key())),
    ] {
        let pipeline = builder.expect_state(marks[1].to_string().parse().unwrap()).build().unwrap();
        for _ in 0..2 {
            let error = pipeline.run().await.unwrap_err().error;
            assert_eq!(error.kind(), Kind::StateLost, "{name}: {error}");
            assert_eq!(error.context("expected"), Some(marks[1].to_string().as_str()));
            assert!(error.remedy().unwrap().contains("begin_anew"), "{name}");
        }
        assert_eq!(parts.destination.writes().len(), writes, "{name}");
    }
    // The right one is taken, and so is one that has come further than the host knows.
    for mark in marks {
        let report = run(&parts.builder().expect_state(mark).build().unwrap()).await;
        assert!(report.state_mark.unwrap().runs > 2);
    }
    assert_eq!(parts.field("k0", "name").as_deref(), Some("n0 v1"));
}

#[tokio::test]
async fn f08_a_pipeline_that_lives_on_expects_what_its_own_runs_left() {
    let parts = Parts::of(numbered(10, 1));
    let mark = run(&parts.sync()).await.state_mark.unwrap();
    let before = copy_of(&parts).await;
    let pipeline = parts.builder().expect_state(mark).build().unwrap();
    let _ = run(&pipeline).await;
    let _ = run(&pipeline).await;
    // Somebody puts the copy back under the running process.
    let id = SyncId::new("people").unwrap();
    {
        let session = parts.store.acquire(&id).await.unwrap();
        for table in Table::ALL {
            let records = session.scan(table, &[], 10_000).await.unwrap();
            let gone = records.into_iter().map(|(key, _)| Mutation::Delete { table, key }).collect();
            session.commit(gone).await.unwrap();
        }
        copy_state(&*before.acquire(&id).await.unwrap(), &*session).await.unwrap();
    }
    assert_eq!(pipeline.plan().await.unwrap_err().kind(), Kind::StateLost);
    // Beginning anew is the way out, and what it leaves is expected from then on.
    let report = pipeline.run_with(anew()).await.unwrap();
    assert_eq!(report.totals.written, 10);
    assert_eq!(run(&pipeline).await.totals.unchanged, 10);
}

#[tokio::test]
async fn f08_a_lost_state_begins_anew_without_disposing_of_anything() {
    let parts = Parts::of(numbered(40, 1));
    let mirror = |store: MemoryStore| {
        let exits = Exits::new(Exit::Delete, Scope::TouchedByUs).at_most(100, 1.0);
        parts.builder().state(store, key()).exits(exits)
    };
    let mark = run(&mirror(parts.store.clone()).build().unwrap()).await.state_mark.unwrap();
    parts.source.replace(vec![numbered(30, 1)]);
    let fresh = MemoryStore::new();
    let pipeline = mirror(fresh).expect_state(mark).build().unwrap();
    assert_eq!(pipeline.plan().await.unwrap_err().kind(), Kind::StateLost);
    let plan = pipeline.plan_with(anew()).await.unwrap();
    assert!(plan.warnings().iter().any(|warning| warning.contains("begins anew")), "{plan}");
    let report = pipeline.apply(plan).await.unwrap();
    assert_eq!((report.totals.written, report.totals.gone), (30, 0));
    assert_eq!(parts.records().len(), 40);
    // From then on the keys of that run are known, and no others.
    parts.source.replace(vec![numbered(29, 1)]);
    assert_eq!(run(&pipeline).await.totals.exits.removed, 1);
    assert_eq!(parts.records().len(), 39);
}

#[tokio::test]
async fn s23_a_changed_contract_is_refused_until_the_state_begins_anew() {
    let rows: &[Row<'_>] = &[("a", Some("Ada"), Some("pro")), ("b", Some("Bob"), None)];
    type Change = fn(&Parts) -> (&'static str, rsync_core::pipeline::PipelineBuilder);
    let changes: [Change; 4] = [
        |parts| ("key", parts.builder().model(Model::new("people").key(["id", "name"]))),
        |parts| {
            let sandbox = parts.destination.clone().with_account("sandbox");
            ("account", parts.builder().destination(sandbox, parts.target.clone()))
        },
        |parts| ("hash key", parts.builder().state(parts.store.clone(), HashKey::from_bytes([9; 16]))),
        |parts| {
            let target = Target::new("people", "name");
            let mut schema = rsync_core::destination::RemoteSchema::new(
                ["ext_id", "name", "tier"]
                    .map(|n| {
                        let mut field = rsync_core::destination::RemoteField::new(n, "text");
                        field.unique = n == "name";
                        field
                    })
                    .into(),
            );
            schema.others = None;
            let destination = rsync_core::memory::MemoryDestination::new().with_object("people", schema);
            ("match_on", parts.builder().destination(destination, target))
        },
    ];
    for change in changes {
        let parts = Parts::new(rows);
        let before = run(&parts.sync()).await;
        let (part, builder) = change(&parts);
        let exits = Exits::new(Exit::Delete, Scope::TouchedByUs).at_most(100, 1.0);
        let pipeline = builder.exits(exits).expect_state(before.state_mark.unwrap()).build().unwrap();
        let error = pipeline.plan().await.unwrap_err();
        assert_eq!((error.kind(), error.context("part")), (Kind::StateMismatch, Some(part)), "{error}");
        assert!(error.remedy().unwrap().contains("begin_anew"), "{part}");
        let writes = parts.destination.writes().len();
        let plan = pipeline.plan_with(anew()).await.unwrap();
        assert_eq!((plan.counts().new, plan.counts().gone), (2, 0), "{part}");
        assert_eq!(*plan.blast_radius(), BlastRadius::Unknown, "{part}");
        assert_eq!(parts.destination.writes().len(), writes);
        let report = pipeline.apply(plan).await.unwrap();
        assert_eq!((report.totals.written, report.totals.exits.removed), (2, 0), "{part}");
        assert_ne!(report.state_epoch, before.state_epoch);
        // Nothing was deleted and made again.
        assert!(part == "match_on" || parts.records().len() == 2);
        assert!(parts.destination.writes().iter().all(|w| w.operation == rsync_core::capability::Operation::Upsert));
        assert_eq!(run(&pipeline).await.totals.unchanged, 2, "{part}");
    }
}

/// A store whose commits fail from one on, with or without effect: what a crash leaves behind.
#[derive(Clone, Debug)]
struct Dying {
    inner: MemoryStore,
    left: Arc<AtomicU64>,
    applied: bool,
}

#[derive(Debug)]
struct DyingSession(Box<dyn StateSession>, Dying);

#[async_trait]
impl StateStore for Dying {
    fn kind(&self) -> &'static str {
        "dying"
    }

    async fn acquire(&self, sync: &SyncId) -> rsync_core::Result<Box<dyn StateSession>> {
        Ok(Box::new(DyingSession(self.inner.acquire(sync).await?, self.clone())))
    }
}

#[async_trait]
impl StateRead for DyingSession {
    async fn get(&self, table: Table, key: &[u8]) -> rsync_core::Result<Option<Vec<u8>>> {
        self.0.get(table, key).await
    }

    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> rsync_core::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.0.scan(table, from, limit).await
    }
}

#[async_trait]
impl StateSession for DyingSession {
    async fn commit(&self, mutations: Vec<Mutation>) -> rsync_core::Result<()> {
        let left = self.1.left.load(Ordering::Relaxed);
        if left > 0 {
            self.1.left.store(left - 1, Ordering::Relaxed);
            return self.0.commit(mutations).await;
        }
        if self.1.applied {
            self.0.commit(mutations).await?;
        }
        Err(Error::new(Kind::StateStore, "commit", "the process died"))
    }
}

#[tokio::test]
async fn f04_f06_a_crash_at_any_commit_leaves_the_old_state_or_the_new_one() {
    let (mut replaced, mut kept, mut crashes) = (0, 0, 0);
    for applied in [false, true] {
        for commits in 0.. {
            let parts = Parts::of(numbered(600, 1));
            let old = run(&parts.sync()).await.state_mark.unwrap();
            let store = Dying { inner: parts.store.clone(), left: Arc::new(AtomicU64::new(commits)), applied };
            let rebound = |store: Dying| {
                let model = Model::new("people").key(["id", "tier"]);
                parts
                    .builder()
                    .model(model)
                    .state(store, key())
                    .randomness(rsync_core::memory::SeededRandomness::new(commits))
            };
            let crashed = rebound(store.clone()).expect_state(old).build().unwrap().run_with(anew()).await.is_err();
            crashes += usize::from(crashed);
            store.left.store(u64::MAX, Ordering::Relaxed);
            // The host never got a report, so it still knows the mark of the old state.
            let pipeline = rebound(store).expect_state(old).build().unwrap();
            match pipeline.plan().await {
                Ok(plan) => {
                    replaced += 1;
                    assert_ne!(plan.state_epoch(), old.epoch);
                    assert_eq!(plan.counts().gone, 0);
                    let _ = pipeline.apply(plan).await.unwrap();
                }
                Err(error) => {
                    kept += 1;
                    assert_eq!((error.kind(), error.context("part")), (Kind::StateMismatch, Some("key")), "{error}");
                    assert_eq!(parts.destination.writes().len(), 6, "nothing was sent under the new contract");
                    // The old state is whole.
                    assert_eq!(run(&parts.sync()).await.totals.unchanged, 600);
                    let _ = pipeline.run_with(anew()).await.unwrap();
                }
            }
            assert_eq!(run(&pipeline).await.totals.unchanged, 600);
            assert_eq!(parts.records().len(), 600);
            if !crashed {
                break;
            }
        }
    }
    assert!(crashes >= 6 && replaced > 4 && kept == 1, "{crashes} crashes, {replaced} new, {kept} old");
}

#[tokio::test]
async fn a_damaged_record_does_not_stop_a_new_beginning_and_a_newer_format_does() {
    let parts = Parts::of(numbered(20, 1));
    let _ = run(&parts.sync()).await;
    let id = SyncId::new("people").unwrap();
    let damage = |key: &'static [u8], value: Vec<u8>| {
        let store = parts.store.clone();
        let id = id.clone();
        async move {
            let put = Mutation::Put { table: Table::Meta, key: key.to_vec(), value };
            store.acquire(&id).await.unwrap().commit(vec![put]).await.unwrap();
        }
    };
    damage(b"segments", b"nonsense".to_vec()).await;
    assert_eq!(parts.sync().plan().await.unwrap_err().kind(), Kind::StateCorrupt);
    assert_eq!(parts.sync().run_with(anew()).await.unwrap().totals.written, 20);
    assert_eq!(run(&parts.sync()).await.totals.unchanged, 20);
    let mut format = rsync_core::state::codec::Writer::default();
    format.u32(rsync_core::state::codec::FORMAT + 1);
    damage(b"format", format.finish()).await;
    assert_eq!(parts.sync().plan_with(anew()).await.unwrap_err().kind(), Kind::StateTooNew);
}

#[tokio::test]
async fn a_held_first_plan_leaves_no_mark_to_expect() {
    let parts = Parts::of(numbered(5, 1));
    let held = parts.builder().guard(rsync_core::guard::RowFloor::at_least(100)).build().unwrap();
    assert_eq!(held.run().await.unwrap().state_mark, None);
    let mark = run(&parts.sync()).await.state_mark.unwrap();
    assert_eq!(held.run().await.unwrap().state_mark, Some(mark));
}

// Rows that are sent again.

/// Sends `resend` and returns the keys of the rows that arrived with all their fields.
async fn resent(parts: &Parts, builder: rsync_core::pipeline::PipelineBuilder, resend: Resend) -> Report {
    let options = PlanOptions::new().resend(resend);
    let pipeline = builder.build().unwrap();
    let plan = pipeline.plan_with(options).await.unwrap();
    let counts = *plan.counts();
    let sum = counts.unchanged + counts.to_write() + counts.unresolved + counts.invalid + counts.skipped;
    assert_eq!(counts.distinct, sum, "{plan}");
    let report = pipeline.apply(plan).await.unwrap();
    assert!(report.totals.balance(), "{report}");
    let _ = parts;
    report
}

#[tokio::test]
async fn a_resend_writes_what_did_not_change_with_all_fields_and_still_sees_exits() {
    let parts = Parts::of(numbered(120, 1));
    let exits = || Exits::new(Exit::Delete, Scope::TouchedByUs);
    let _ = run(&parts.builder().exits(exits()).build().unwrap()).await;
    // Somebody spoils a record, and a row leaves.
    parts.destination.insert(&parts.target, "k7", [("name", "spoilt")]);
    parts.source.replace(vec![numbered(119, 1)]);
    let guard = rsync_core::guard::ChangedShare::at_most(0.1);
    for _ in 0..3 {
        let _ = parts.sync().run().await.unwrap();
    }
    let sent = parts.rows_sent();
    let report = resent(&parts, parts.builder().exits(exits()).guard(guard), Resend::All).await;
    assert_eq!((report.status, report.totals.written, report.totals.exits.removed), (RunStatus::Completed, 119, 1));
    assert_eq!(parts.rows_sent() - sent, 120);
    assert_eq!(parts.field("k7", "name").as_deref(), Some("n7 v1"));
    assert_eq!(parts.field("k7", "tier").as_deref(), Some("pro"));
    assert_eq!(run(&parts.sync()).await.totals.unchanged, 119);
    // One row by the hash of its key.
    let hashes = parts.sync().key_hashes(&numbered(8, 1)).await.unwrap();
    let key: KeyHash = hashes[7].unwrap().to_string().parse().unwrap();
    let report = resent(&parts, parts.builder(), Resend::Keys(BTreeSet::from([key]))).await;
    assert_eq!((report.totals.written, report.totals.unchanged), (1, 118));
    assert_eq!(parts.destination.write_count(&parts.target, "k7"), 2);
    assert_eq!(parts.destination.write_count(&parts.target, "k6"), 2);
}

#[tokio::test]
async fn f44_parked_rows_are_tried_again_when_asked_for_by_code_or_all() {
    let rows: &[Row<'_>] =
        &[("a", Some("Ada"), Some("gold")), ("b", Some("Bob"), Some("lead")), ("c", Some("Cyd"), Some("pro"))];
    // Segments and pending batches keep the codes in different places.
    for (resend, again) in [
        (Resend::Parked, vec!["a", "b"]),
        (Resend::Code("INVALID_GOLD".into()), vec!["a"]),
        (Resend::Code("INVALID_LEAD".into()), vec!["b"]),
        (Resend::Code("OTHER".into()), vec![]),
    ] {
        let parts = Parts::new(rows);
        let strict = parts.destination.clone().with_invalid_value("tier", "gold", "INVALID_GOLD").with_invalid_value(
            "tier",
            "lead",
            "INVALID_LEAD",
        );
        let strict = || parts.builder().destination(strict.clone(), parts.target.clone());
        let report = strict().build().unwrap().run().await.unwrap();
        assert_eq!(report.totals.rejected, 2);
        let parked = strict().build().unwrap().run().await.unwrap();
        assert_eq!((parked.totals.skipped, parked.calls.writes), (2, 0));
        // The destination still refuses them: they are parked again.
        let report = resent(&parts, strict(), resend.clone()).await;
        assert_eq!(report.totals.rejected, again.len() as u64, "{resend:?}: {report}");
        assert_eq!(strict().build().unwrap().run().await.unwrap().totals.skipped, 2);
        // Now it takes them.
        let report = resent(&parts, parts.builder(), resend.clone()).await;
        assert_eq!(report.totals.written, again.len() as u64, "{resend:?}: {report}");
        for key in again {
            assert!(parts.field(key, "tier").is_some(), "{resend:?}");
        }
    }
}

#[tokio::test]
async fn codes_are_found_in_segments_too() {
    // More batches than are kept as they are make a segment at the end of a run.
    let parts = Parts::of(numbered(600, 1));
    let limits = rsync_core::capability::OperationLimits::new(1, rsync_core::capability::WriteIdempotence::ByKey);
    let capability = rsync_core::Capability::new()
        .with_operation(rsync_core::capability::Operation::Upsert, limits)
        .with_keeps_absent_fields()
        .with_clears_fields()
        .with_per_row_outcomes();
    let strict = parts.destination.clone().with_capability(capability).with_invalid_value("name", "n5 v1", "BAD");
    let report = parts.builder().destination(strict, parts.target.clone()).build().unwrap().run().await.unwrap();
    assert_eq!((report.totals.rejected, report.calls.writes), (1, 600));
    let key = report.reasons.iter().find(|(outcome, ..)| *outcome == Outcome::Rejected).unwrap().2.samples[0];
    for resend in [Resend::Code("BAD".into()), Resend::Keys(BTreeSet::from([key]))] {
        let plan = parts.sync().plan_with(PlanOptions::new().resend(resend)).await.unwrap();
        assert_eq!((plan.counts().new, plan.counts().to_write()), (1, 1), "{plan}");
    }
}

// Fields that come and go.

fn fields(names: &[&str]) -> FieldMap {
    let column = |name: &&str| if *name == "ext_id" { "id" } else { name }.to_owned();
    names.iter().fold(FieldMap::new(), |map, name| map.field(FieldRule::column(column(name), *name, FieldType::Text)))
}

#[tokio::test]
async fn a_field_that_is_added_is_the_only_one_that_is_sent() {
    let parts = Parts::new(&[("a", Some("Ada"), Some("pro")), ("b", Some("Bob"), None)]);
    let _ = run(&parts.builder().mapping(fields(&["ext_id", "name"])).build().unwrap()).await;
    parts.destination.insert(&parts.target, "a", [("name", "theirs")]);
    let pipeline = parts.builder().mapping(fields(&["ext_id", "name", "tier"])).build().unwrap();
    let plan = pipeline.plan().await.unwrap();
    let BlastRadius::Changed { changes, rows, fields, unknown_rows, .. } = plan.blast_radius() else {
        panic!("{plan}");
    };
    assert_eq!(changes[..], [DefinitionChange::Added("tier".into())]);
    assert_eq!((*rows, *fields, *unknown_rows), (1, 1, 0));
    assert!(plan.to_string().contains("definition: \"tier\" added; changes 1 rows, 1 fields"), "{plan}");
    let report = pipeline.apply(plan).await.unwrap();
    assert_eq!((report.totals.written, report.totals.unchanged), (1, 1));
    assert_eq!(parts.field("a", "name").as_deref(), Some("theirs"), "the other fields were not sent");
    assert_eq!(parts.field("a", "tier").as_deref(), Some("pro"));
    assert_eq!(*pipeline.plan().await.unwrap().blast_radius(), BlastRadius::Unchanged);
}

#[tokio::test]
async fn a_field_that_is_no_longer_mapped_stays_and_is_told_once() {
    let parts = Parts::new(&[("a", Some("Ada"), Some("pro"))]);
    let _ = run(&parts.sync()).await;
    let pipeline = parts.builder().mapping(fields(&["ext_id", "name"])).build().unwrap();
    let told =
        |plan: &rsync_core::Plan| plan.warnings().iter().filter(|text| text.contains("no longer mapped: tier")).count();
    let plan = pipeline.plan().await.unwrap();
    assert_eq!(told(&plan), 1, "{plan}");
    assert_eq!((plan.counts().unchanged, plan.counts().to_write()), (1, 0));
    let _ = pipeline.apply(plan).await.unwrap();
    assert_eq!(told(&pipeline.plan().await.unwrap()), 0);
    assert_eq!(parts.field("a", "tier").as_deref(), Some("pro"));
}

#[tokio::test]
async fn a_retired_field_is_emptied_where_it_was_written_and_never_again() {
    let rows: [Row<'_>; 3] =
        [("a", Some("Ada"), Some("pro")), ("b", Some("Bob"), None), ("c", Some("Cyd"), Some("pro"))];
    for keeps_absent_fields in [true, false] {
        let mut parts = Parts::new(&rows);
        if !keeps_absent_fields {
            let limits =
                rsync_core::capability::OperationLimits::new(100, rsync_core::capability::WriteIdempotence::ByKey);
            let capability = rsync_core::Capability::new()
                .with_operation(rsync_core::capability::Operation::Upsert, limits)
                .with_clears_fields();
            parts.destination = parts.destination.clone().with_capability(capability);
        }
        let keep = FieldMap::new()
            .field(FieldRule::column("id", "ext_id", FieldType::Text))
            .field(FieldRule::column("name", "name", FieldType::Text))
            .field(FieldRule::column("tier", "tier", FieldType::Text));
        let _ = run(&parts.builder().mapping(keep).build().unwrap()).await;
        // Somebody else fills the field where this sync left it alone, and the record of a row to come is there already.
        parts.destination.insert(&parts.target, "b", [("name", "Bob"), ("tier", "theirs")]);
        parts.destination.insert(&parts.target, "d", [("tier", "theirs")]);
        let more: Vec<Row<'_>> = rows.into_iter().chain([("d", Some("Dan"), Some("pro"))]).collect();
        parts.replace(&more);
        let pipeline = || parts.builder().mapping(fields(&["ext_id", "name"]).retired("tier")).build().unwrap();
        let plan = pipeline().plan().await.unwrap();
        assert_eq!((plan.counts().changed, plan.counts().new, plan.counts().unchanged), (2, 1, 1), "{plan}");
        assert!(plan.to_string().contains("retired: emptied where this sync wrote it"), "{plan}");
        assert!(!plan.warnings().iter().any(|warning| warning.contains("no longer mapped")));
        let BlastRadius::Changed { changes, rows, fields, .. } = plan.blast_radius() else { panic!("{plan}") };
        assert_eq!((changes[..].to_vec(), *rows, *fields), (vec![DefinitionChange::Retired("tier".into())], 2, 2));
        let _ = pipeline().apply(plan).await.unwrap();
        let tier = |key: &str| parts.field(key, "tier");
        assert_eq!((tier("a"), tier("c")), (None, None));
        assert_eq!(tier("b").as_deref(), Some("theirs"));
        assert_eq!(tier("d").is_some(), keeps_absent_fields);
        // Somebody fills them again: that is theirs.
        parts.destination.insert(&parts.target, "a", [("name", "Ada"), ("tier", "theirs")]);
        assert_eq!(run(&pipeline()).await.totals.unchanged, 4);
        let changed: Vec<Row<'_>> = more.iter().map(|(id, _, tier)| (*id, Some("new"), *tier)).collect();
        parts.replace(&changed);
        assert_eq!(run(&pipeline()).await.totals.written, 4);
        let report = pipeline().run_with(PlanOptions::new().resend(Resend::All)).await.unwrap();
        assert_eq!(report.totals.written, 4);
        if keeps_absent_fields {
            assert_eq!(tier("a").as_deref(), Some("theirs"));
            assert_eq!(tier("d").as_deref(), Some("theirs"));
        }
        // Without the entry nothing happens any more.
        let after = run(&parts.builder().mapping(self::fields(&["ext_id", "name"])).build().unwrap()).await;
        assert_eq!(after.totals.unchanged, 4);
    }
}

#[tokio::test]
async fn a_retired_field_that_nobody_can_empty_is_refused() {
    let parts = Parts::new(&[("a", Some("Ada"), Some("pro"))]);
    for (mapping, at) in [
        (fields(&["ext_id", "name"]).retired("nowhere"), "mapping.nowhere"),
        (fields(&["ext_id", "name"]).retired("name"), "mapping.name"),
    ] {
        let error = parts.builder().mapping(mapping).build().unwrap().plan().await.unwrap_err();
        assert_eq!(error.problems()[0].at, at, "{error}");
    }
}

#[tokio::test]
async fn the_blast_radius_of_another_model_or_rule_is_told_and_never_zero_where_it_is_unknown() {
    let parts = Parts::of(numbered(200, 1));
    let first = parts.builder().model(Model::new("people").key(["id"]).version("v1")).build().unwrap();
    assert_eq!(*first.plan().await.unwrap().blast_radius(), BlastRadius::FirstRun);
    let _ = run(&first).await;
    // The new version of the model changes the names.
    parts.source.replace(vec![numbered(200, 2)]);
    let second = parts.builder().model(Model::new("people").key(["id"]).version("v2")).build().unwrap();
    let plan = second.plan().await.unwrap();
    assert!(plan.to_string().contains("definition: model v1 -> v2; changes 200 rows, 200 fields in all"), "{plan}");
    // A run that is cut short leaves the rest of the change to the next one.
    let cancel = rsync_core::Cancel::new();
    let trigger = cancel.clone();
    let cut = parts.destination.clone().with_faults(move |_, _| {
        trigger.cancel();
        None
    });
    drop(plan);
    let cut = parts
        .builder()
        .model(Model::new("people").key(["id"]).version("v2"))
        .destination(
            cut.with_capability(
                rsync_core::Capability::new()
                    .with_keeps_absent_fields()
                    .with_clears_fields()
                    .with_per_row_outcomes()
                    .with_operation(
                        rsync_core::capability::Operation::Upsert,
                        rsync_core::capability::OperationLimits::new(
                            100,
                            rsync_core::capability::WriteIdempotence::ByKey,
                        ),
                    ),
            ),
            parts.target.clone(),
        )
        .cancel(cancel);
    let report = cut.build().unwrap().run().await.unwrap();
    assert_eq!((report.status, report.totals.written), (RunStatus::Stopped, 100));
    let plan = second.plan().await.unwrap();
    assert!(matches!(plan.blast_radius(), BlastRadius::Changed { rows: 100, .. }), "{plan}");
    let _ = second.apply(plan).await.unwrap();
    assert_eq!(*second.plan().await.unwrap().blast_radius(), BlastRadius::Unchanged);
    // Another rule.
    let rule = mapping().field(FieldRule::column("name", "nick", FieldType::Text).trim());
    assert!(parts.builder().mapping(rule).build().unwrap().plan().await.is_err());
    let trimmed = FieldMap::new()
        .field(FieldRule::column("id", "ext_id", FieldType::Text))
        .field(FieldRule::column("name", "name", FieldType::Text).trim())
        .field(FieldRule::column("tier", "tier", FieldType::Text));
    let plan = parts.builder().model(Model::new("people").key(["id"]).version("v2")).mapping(trimmed).build().unwrap();
    let plan = plan.plan().await.unwrap();
    let BlastRadius::Changed { changes, .. } = plan.blast_radius() else { panic!("{plan}") };
    assert_eq!(changes[..], [DefinitionChange::Rule("name".into()), DefinitionChange::Rule("tier".into())]);
    drop(plan);
    // A state of a version that kept no definition.
    let id = SyncId::new("people").unwrap();
    let forget = Mutation::Delete { table: Table::Meta, key: b"definition".to_vec() };
    parts.store.acquire(&id).await.unwrap().commit(vec![forget]).await.unwrap();
    let plan = second.plan().await.unwrap();
    assert_eq!(*plan.blast_radius(), BlastRadius::Unknown);
    assert!(plan.to_string().contains("definition: unknown what changed"), "{plan}");
}
