//! Deletion, events and segments: what goes over the wire, and whole runs.

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use rsync_core::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use rsync_core::capability::{Operation, WriteIdempotence};
use rsync_core::destination::{Target, WriteBatch};
use rsync_core::exit::{Exit, Exits, Scope};
use rsync_core::ids::Token;
use rsync_core::mapping::{FieldMap, FieldRule};
use rsync_core::memory::{MemorySource, SeededRandomness};
use rsync_core::policy::{Append, Audience, UpsertPolicy};
use rsync_core::record::FieldType;
use rsync_core::{Destination, HashKey, Kind, MemoryStore, Model, Owner, Pipeline, Report, Retry};
use rsync_customerio::{Builder, CustomerIo, Deletion};
use rsync_testkit::sim::customerio::{
    ActivityKind, CustomerIoSim, LintKind, PersonSeed, RateLimits, Seed, SegmentKind, SegmentSeed,
};
use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule, Processing, Requests};
use serde_json::{Value as Json, json};
use support::*;

fn with_tokens(batch: WriteBatch) -> WriteBatch {
    let tokens = (0..batch.len()).map(|row| Token::new(format!("{:032x}", row + 1))).collect();
    batch.with_tokens(tokens).unwrap()
}

fn body(server: &Playback) -> Json {
    serde_json::from_str(&server.requests()[0].1).unwrap()
}

#[tokio::test]
async fn people_are_deleted_and_suppressed_only_where_asked_for() {
    for (deletion, action) in [(None, "delete"), (Some(Deletion::Suppress), "suppress")] {
        let server = Playback::one(200, "{}\n").await;
        let mut builder = builder(server.base_url(), "site", "key");
        if let Some(deletion) = deletion {
            builder = builder.deletion(deletion);
        }
        let people = batch(Operation::Delete, &people("email"), keys("email", &["a@x.io", "canary"]));
        let outcomes = builder.build().unwrap().write(&cx(), people).await.unwrap();
        assert_eq!(words(&settled(outcomes)), [ACCEPTED, "Rejected LOCAL_EMAIL email"]);
        let item = json!({ "type": "person", "action": action, "identifiers": { "email": "a@x.io" } });
        assert_eq!(body(&server), json!({ "batch": [item] }));
    }
}

#[tokio::test]
async fn events_have_a_ulid_a_moment_and_data() {
    let server = Playback::one(
        207,
        r#"{"errors":[{"batch_index":1,"reason":"invalid","field":"timestamp","message":"canary"}]}"#,
    )
    .await;
    let moments = TimestampMicrosecondArray::from(vec![Some(1_469_918_176_000_000), None, Some(1)]);
    let long = "x".repeat(2_000);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(StringArray::from(vec!["a", "a", "a"]))),
        ("timestamp", Arc::new(moments.with_timezone("UTC"))),
        ("note", Arc::new(StringArray::from(vec![Some(""), None, Some(&long)]))),
        ("unsubscribed", Arc::new(BooleanArray::from(vec![false, true, false]))),
    ];
    let target = CustomerIo::events("order \"paid\"", "id");
    let events = with_tokens(batch(Operation::Append, &target, typed_rows(columns)));
    let outcomes = customerio_at(&server).write(&cx(), events).await.unwrap();
    let expected = [ACCEPTED, "Rejected invalid timestamp", "Rejected LOCAL_SUB_SECOND timestamp"];
    assert_eq!(words(&settled(outcomes)), expected);
    let item = |id: &str| json!({ "type": "person", "action": "event", "identifiers": { "id": "a" }, "name": "order \"paid\"", "id": id });
    let mut first = item("01ARYZ6RR00000000000000001");
    first["timestamp"] = json!(1_469_918_176);
    first["attributes"] = json!({ "note": "", "unsubscribed": false });
    let mut second = item("00000000000000000000000002");
    second["attributes"] = json!({ "note": null, "unsubscribed": true });
    assert_eq!(body(&server), json!({ "batch": [first, second] }));
}

#[tokio::test]
async fn events_without_tokens_are_a_broken_promise() {
    let server = Playback::start(vec![]).await;
    let events = batch(Operation::Append, &CustomerIo::events("paid", "id"), keys("id", &["a"]));
    let customerio = customerio_at(&server);
    assert_eq!(customerio.write(&cx(), events.clone()).await.unwrap_err().kind(), Kind::Internal);
    let events = events.with_tokens(vec![Token::new("canary")]).unwrap();
    let error = customerio.write(&cx(), events).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    assert!(!shown(&error).contains(CANARY));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn members_are_named_a_thousand_at_a_time() {
    for (operation, path) in [(Operation::AddMember, "add_customers"), (Operation::RemoveMember, "remove_customers")] {
        let server = Playback::one(200, "{}\n").await;
        let customerio = customerio_at(&server);
        let target = CustomerIo::segment(7, "email");
        let members = batch(operation, &target, keys("email", &["canary", "a@x.io", "\"b\"@x.io"]));
        let outcomes = settled(customerio.write(&cx(), members).await.unwrap());
        assert_eq!(words(&outcomes), ["Rejected LOCAL_EMAIL email", ACCEPTED, ACCEPTED]);
        let line = format!("POST /api/v1/segments/7/{path}?id_type=email HTTP/1.1");
        assert_eq!(server.requests()[0].0.lines().next(), Some(line.as_str()));
        assert_eq!(body(&server), json!({ "ids": ["a@x.io", "\"b\"@x.io"] }));

        let many: Vec<String> = (0..1_001).map(|i| format!("{i}@x.io")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let error = customerio.write(&cx(), batch(operation, &target, keys("email", &many))).await.unwrap_err();
        assert_eq!((error.kind(), server.requests().len()), (Kind::Internal, 1));
    }
}

#[tokio::test]
async fn what_a_segment_refuses_is_nobodys_fault() {
    for (status, kind) in [
        (400, Kind::InvalidConfig),
        (401, Kind::Unauthenticated),
        (404, Kind::NotFound),
        (429, Kind::RateLimited),
        (500, Kind::Unavailable),
    ] {
        let server = Playback::one(status, r#"{"meta":{"error":"canary"}}"#).await;
        let members = batch(Operation::AddMember, &CustomerIo::segment(7, "id"), keys("id", &["a"]));
        let error = customerio_at(&server).write(&cx(), members).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}");
        assert!(!shown(&error).contains(CANARY));
    }
}

#[tokio::test]
async fn a_page_is_no_answer_about_a_segment() {
    let server = Playback::one(200, "<html>canary</html>").await;
    let members = batch(Operation::RemoveMember, &CustomerIo::segment(7, "id"), keys("id", &["a"]));
    let error = customerio_at(&server).write(&cx(), members).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Ambiguous));
    assert!(!shown(&error).contains(CANARY));
}

#[tokio::test]
async fn each_object_has_its_own_operations() {
    let server = Playback::start(vec![]).await;
    let customerio = customerio_at(&server);
    let offered = |target: &Target| {
        let capability = customerio.capability(target);
        Operation::ALL.into_iter().filter(|operation| capability.limits(*operation).is_some()).collect::<Vec<_>>()
    };
    let events = CustomerIo::events("paid", "id");
    assert_eq!(offered(&people("id")), [Operation::Upsert, Operation::Delete]);
    assert_eq!(offered(&events), [Operation::Append]);
    assert_eq!(offered(&CustomerIo::segment(7, "id")), [Operation::AddMember, Operation::RemoveMember]);
    assert_eq!(offered(&Target::new("orders", "id")), []);
    let append = customerio.capability(&events).append.unwrap();
    assert_eq!(append.idempotence, WriteIdempotence::ByToken);
    assert!(append.token_retention.is_some());

    for target in [people("id"), events, CustomerIo::segment(7, "id")] {
        for operation in Operation::ALL.into_iter().filter(|operation| !offered(&target).contains(operation)) {
            let error = customerio.write(&cx(), batch(operation, &target, keys("id", &["a"]))).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported, "{target:?} {operation:?}");
        }
    }
    let by_phone = batch(Operation::AddMember, &CustomerIo::segment(7, "phone"), keys("phone", &["+15550100"]));
    assert_eq!(customerio.write(&cx(), by_phone).await.unwrap_err().kind(), Kind::SchemaMismatch);
    for (target, field) in [(CustomerIo::segment(7, "id"), "plan"), (CustomerIo::events("paid", "id"), "recipient")] {
        let operation = offered(&target)[0];
        let rows = rows(&[("id", &[Some("a")]), (field, &[Some("b")])]);
        let error = customerio.write(&cx(), batch(operation, &target, rows)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.problems()[0].at.as_str()),
            (Kind::SchemaMismatch, &*format!("mapping.{field}"))
        );
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn topics_are_opted_out_of_one_by_one() {
    let topic = "cio_subscription_preferences.topics.topic_2";
    for (allow, expected) in [
        (false, [ACCEPTED, "Rejected LOCAL_RESUBSCRIBE", "Rejected LOCAL_RESUBSCRIBE"]),
        (true, [ACCEPTED, ACCEPTED, ACCEPTED]),
    ] {
        let sim = CustomerIoSim::builder().with_rate_limits(RateLimits::Unlimited).start().await.unwrap();
        let builder = builder(&sim.base_url(), &sim.site_id(), &sim.api_key()).allow_resubscribe(allow);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(StringArray::from(vec!["out", "in", "default"]))),
            (topic, Arc::new(BooleanArray::from(vec![Some(false), Some(true), None]))),
        ];
        let customerio = builder.build().unwrap();
        let outcomes = words(&settled(customerio.write(&cx(), upsert("id", typed_rows(columns))).await.unwrap()));
        assert!(outcomes.iter().zip(expected).all(|(is, expected)| is.starts_with(expected)), "{outcomes:?}");
        sim.drain();
        let preferences = &sim.person_by_id("out").unwrap().values["cio_subscription_preferences"];
        assert_eq!(*preferences, json!({ "topics": { "topic_2": false } }));
        assert_eq!(sim.person_by_id("in").is_some(), allow);
        assert!(sim.lints().is_empty(), "{:?}", sim.lints());
    }
}

proptest! {
    #[test]
    fn an_event_takes_the_bytes_that_are_told(
        name in "[a-z \"\\\\ü]{1,30}x",
        ids in proptest::collection::vec("[a-z\"ü]{1,40}", 1..6),
        note in any::<String>(),
        moment in proptest::option::of(-1_000_000_000_000_i64..1_000_000_000_000),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Playback::one(200, "{}").await;
            let count = ids.len();
            let moments: TimestampMicrosecondArray =
                std::iter::repeat_n(moment.map(|seconds| seconds * 1_000_000), count).collect();
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("id", Arc::new(StringArray::from(ids))),
                ("note", Arc::new(StringArray::from(vec![note.as_str(); count]))),
                ("timestamp", Arc::new(moments.with_timezone("UTC"))),
            ];
            let (target, rows) = (CustomerIo::events(&name, "id"), typed_rows(columns));
            let customerio = customerio_at(&server);
            let told: usize = (0..count).map(|row| customerio.row_bytes(&target, Operation::Append, &rows, row)).sum();
            let events = with_tokens(batch(Operation::Append, &target, rows));
            customerio.write(&cx(), events).await.unwrap();
            let sent = server.requests()[0].1.len();
            assert_eq!(told + 11, sent);
        });
    }
}

/// A run after another of one pipeline, with a source whose rows change.
struct Sync {
    sim: CustomerIoSim,
    source: MemorySource,
    store: MemoryStore,
}

/// Rows of these people; those with a minus in front are marked as gone.
fn model(ids: &[&str]) -> RecordBatch {
    let gone: Vec<bool> = ids.iter().map(|id| id.starts_with('-')).collect();
    let ids: Vec<&str> = ids.iter().map(|id| id.trim_start_matches('-')).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("gone", Arc::new(BooleanArray::from(gone))),
        ("plan", Arc::new(StringArray::from(vec!["pro"; ids.len()]))),
        ("id", Arc::new(StringArray::from(ids))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

impl Sync {
    async fn new(ids: &[&str], seed: Seed) -> Self {
        let builder = CustomerIoSim::builder().with_seed(seed).with_rate_limits(RateLimits::Unlimited);
        let (sim, batch) = (builder.start().await.unwrap(), model(ids));
        Self { sim, source: MemorySource::new(batch.schema(), vec![batch]), store: MemoryStore::new() }
    }

    fn destination(&self) -> Builder {
        builder(&self.sim.base_url(), &self.sim.site_id(), &self.sim.api_key())
    }

    async fn run(
        &self,
        destination: Builder,
        target: Target,
        fields: &[&str],
        policy: impl UpsertPolicy,
        exits: Option<Exits>,
    ) -> Report {
        let rule = |map: FieldMap, field: &&str| map.field(FieldRule::column(*field, *field, FieldType::Text));
        let mut pipeline = Pipeline::builder("sync")
            .owner(Owner::new("growth", "growth@example.com"))
            .source(self.source.clone())
            .model(Model::new("customers").key(["id"]))
            .mapping(fields.iter().fold(FieldMap::new(), rule))
            .destination(destination.build().unwrap(), target)
            .policy(policy)
            .state(self.store.clone(), HashKey::from_bytes(*b"a test's own key"))
            .randomness(SeededRandomness::new(7));
        if let Some(exits) = exits {
            pipeline = pipeline.exits(exits);
        }
        let pipeline = pipeline.build().unwrap();
        let plan = pipeline.plan().await.unwrap();
        let report = pipeline.apply(plan).await.unwrap();
        self.sim.drain();
        report
    }
}

fn ids(sim: &CustomerIoSim) -> Vec<String> {
    let mut ids: Vec<String> = sim.people().into_iter().filter_map(|person| person.id).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn who_leaves_the_model_is_deleted() {
    for deletion in [Deletion::Delete, Deletion::Suppress] {
        let seed = Seed { people: vec![PersonSeed::with_id("other")], ..Seed::default() };
        let sync = Sync::new(&["a", "b", "c"], seed).await;
        let exits = Exits::new(Exit::Delete, Scope::TouchedByUs).when("gone");
        let run = async || {
            let destination = sync.destination().deletion(deletion);
            let upsert = rsync_core::policy::Upsert::new();
            sync.run(destination, people("id"), &["id", "plan"], upsert, Some(exits.clone())).await
        };
        assert_eq!(run().await.totals.written, 3);
        sync.source.replace(vec![model(&["a", "-b", "c"])]);
        assert_eq!(run().await.totals.exits.removed, 1);
        assert_eq!(ids(&sync.sim), ["a", "c", "other"]);
        assert_eq!(sync.sim.suppressed().is_empty(), deletion == Deletion::Delete);
        assert_eq!(run().await.totals.unchanged, 2);

        // Who comes back is made again, or not, and nothing says so.
        sync.source.replace(vec![model(&["a", "b", "c"])]);
        assert_eq!(run().await.totals.accepted, 1);
        assert_eq!(sync.sim.person_by_id("b").is_some(), deletion == Deletion::Delete);
    }
}

#[tokio::test]
async fn f31_a_lost_answer_makes_no_second_event() {
    let sync = Sync::new(&["a", "b", "c"], Seed::default()).await;
    let mut lost = FaultRule::new(FaultAction::ResetConnection { processing: Processing::Applied });
    lost.on.path_ends_with = Some("/api/v2/batch".to_owned());
    sync.sim.faults().set(FaultPlan::new([lost.on_requests(Requests::First(2))])).unwrap();
    let mut wanted = 3;
    for run in 0..3 {
        let target = CustomerIo::events("seen", "id");
        let report = sync.run(sync.destination(), target, &["id", "plan"], Append::new(), None).await;
        assert_eq!(report.totals.possible_duplicates, 0);
        if run == 1 {
            wanted = 4;
            sync.source.replace(vec![model(&["a", "b", "c", "d"])]);
        }
    }
    let fired: u64 = sync.sim.faults().report().iter().map(|rule| rule.fired).sum();
    assert_eq!(fired, 2, "the answers were lost");
    let events: Vec<_> = sync.sim.people().into_iter().flat_map(|person| person.events).collect();
    assert_eq!(events.len(), wanted);
    assert!(events.iter().all(|event| event.name == "seen" && event.data["plan"] == "pro"));
    let lints = sync.sim.lints();
    assert!(lints.iter().all(|lint| lint.kind != LintKind::EventIdNoUlid), "{lints:?}");
    let skipped = sync.sim.activities().iter().filter(|activity| activity.kind == ActivityKind::SkippedUpdate).count();
    assert!(skipped >= 3, "the service was sent the events again and passed over them: {skipped}");
}

#[tokio::test]
async fn an_audience_is_the_model() {
    let people: Vec<PersonSeed> = ["a", "b", "c", "other"].map(PersonSeed::with_id).into();
    let segments = vec![SegmentSeed::manual("vip")];
    let sync = Sync::new(&["a", "b", "nobody"], Seed { people, segments, ..Seed::default() }).await;
    let segment = sync.sim.segment("vip").unwrap();
    assert_eq!(segment.kind, SegmentKind::Manual);
    let run = async || {
        let (target, exits) = (CustomerIo::segment(segment.id, "id"), Exits::remove_from_audience().when("gone"));
        sync.run(sync.destination(), target, &["id"], Audience::new(), Some(exits)).await
    };
    let members = || sync.sim.segment("vip").unwrap().ids;
    let first = run().await.totals;
    assert_eq!((first.written, first.accepted), (3, 3), "the service does not say that there is no such person");
    assert_eq!(members(), ["a", "b"]);
    assert_eq!(run().await.totals.unchanged, 3);

    sync.source.replace(vec![model(&["-a", "b", "c", "nobody"])]);
    let totals = run().await.totals;
    assert_eq!((totals.written, totals.exits.removed), (1, 1));
    assert_eq!(members(), ["b", "c"]);
    assert_eq!(ids(&sync.sim), ["a", "b", "c", "other"]);
}
