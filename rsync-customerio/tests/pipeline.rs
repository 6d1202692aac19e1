//! Whole runs: the engine cuts batches by the bytes that the adapter tells, the simulator counts them.

mod support;

use std::sync::Arc;

use rsync_core::arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use rsync_core::mapping::{FieldMap, FieldRule, NullRule};
use rsync_core::memory::{MemorySource, SeededRandomness};
use rsync_core::outcome::Outcome;
use rsync_core::record::FieldType;
use rsync_core::{HashKey, Kind, MemoryStore, Model, Owner, Pipeline, Report, RunStatus};
use rsync_customerio::Builder;
use rsync_testkit::sim::customerio::{CustomerIoSim, RateLimits};
use support::*;

/// Most bytes of a body; it must be smaller than half a million.
const BODY_BYTES_MAX: usize = 499_999;

/// A customer of the model.
#[derive(Clone)]
struct Customer {
    id: String,
    email: String,
    note: Option<String>,
    seats: i64,
    score: f64,
    vip: bool,
}

fn customers(count: usize) -> Vec<Customer> {
    let customer = |i: usize| Customer {
        id: format!("customer-{i}"),
        email: format!("customer.{i}@example.com"),
        // Lengths of one to three digits, quotes that grow in JSON, and texts of more bytes than characters.
        note: (!i.is_multiple_of(7)).then(|| format!("\"n{i}\" {}ü", "x".repeat(i * 37 % 400))),
        seats: if i.is_multiple_of(100) { i64::MAX - i as i64 } else { i as i64 - 500 },
        score: i as f64 / 8.0,
        vip: i.is_multiple_of(3),
    };
    (0..count).map(customer).collect()
}

/// The item of a customer, spelled by hand.
fn item(customer: &Customer) -> String {
    let seats = if customer.seats > 1 << 53 { format!("\"{}\"", customer.seats) } else { customer.seats.to_string() };
    let note = customer.note.as_ref().map_or("null".to_owned(), |note| note.replace('"', "\\\""));
    let note = if customer.note.is_some() { format!("\"{note}\"") } else { note };
    format!(
        r#"{{"type":"person","action":"identify","identifiers":{{"id":"{}"}},"attributes":{{"email":"{}","note":{note},"seats":{seats},"score":{},"vip":{}}}}}"#,
        customer.id, customer.email, customer.score, customer.vip
    )
}

/// The least number of requests, if rows keep their order.
fn least_requests(customers: &[Customer]) -> u64 {
    let (mut requests, mut body) = (0, usize::MAX);
    for customer in customers {
        let bytes = item(customer).len();
        // A comma, or the frame of a new body.
        body = body.saturating_add(1 + bytes);
        if body > BODY_BYTES_MAX {
            requests += 1;
            body = r#"{"batch":[]}"#.len() + bytes;
        }
    }
    requests
}

fn batch(customers: &[Customer]) -> RecordBatch {
    let texts =
        |of: fn(&Customer) -> Option<&str>| Arc::new(customers.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", texts(|customer| Some(&customer.id))),
        ("email", texts(|customer| Some(&customer.email))),
        ("note", texts(|customer| customer.note.as_deref())),
        ("seats", Arc::new(customers.iter().map(|customer| customer.seats).collect::<Int64Array>())),
        ("score", Arc::new(customers.iter().map(|customer| customer.score).collect::<Float64Array>())),
        ("vip", Arc::new(customers.iter().map(|customer| Some(customer.vip)).collect::<BooleanArray>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

struct Sync {
    sim: CustomerIoSim,
    source: MemorySource,
    store: MemoryStore,
}

impl Sync {
    async fn new(customers: &[Customer]) -> Self {
        Self {
            sim: CustomerIoSim::builder().with_rate_limits(RateLimits::Unlimited).start().await.unwrap(),
            // Batches of the source that fit no batch of the destination.
            source: MemorySource::new(batch(&[]).schema(), customers.chunks(1_111).map(batch).collect()),
            store: MemoryStore::new(),
        }
    }

    fn destination(&self) -> Builder {
        builder(&self.sim.base_url(), &self.sim.site_id(), &self.sim.api_key())
    }

    fn pipeline(&self, destination: Builder, map: FieldMap) -> Pipeline {
        Pipeline::builder("customers")
            .owner(Owner::new("growth", "growth@example.com"))
            .source(self.source.clone())
            .model(Model::new("customers").key(["id"]))
            .mapping(map)
            .destination(destination.build().unwrap(), people("id"))
            .state(self.store.clone(), HashKey::from_bytes(*b"a test's own key"))
            .randomness(SeededRandomness::new(7))
            .build()
            .unwrap()
    }

    async fn run(&self, destination: Builder) -> Report {
        let pipeline = self.pipeline(destination, mapping());
        let plan = pipeline.plan().await.unwrap();
        pipeline.apply(plan).await.unwrap()
    }
}

fn mapping() -> FieldMap {
    FieldMap::new()
        .field(FieldRule::column("id", "id", FieldType::Text))
        .field(FieldRule::column("email", "email", FieldType::Text))
        .field(FieldRule::column("note", "note", FieldType::Text).on_null(NullRule::Clear))
        .field(FieldRule::column("seats", "seats", FieldType::Integer))
        .field(FieldRule::column("score", "score", FieldType::Float))
        .field(FieldRule::column("vip", "vip", FieldType::Boolean))
}

#[tokio::test]
async fn a_first_run_needs_the_least_requests_and_a_second_none() {
    let mut all = customers(5_000);
    let sync = Sync::new(&all).await;
    let report = sync.run(sync.destination()).await;
    assert_eq!((report.status, report.totals.written, report.totals.accepted), (RunStatus::Completed, 5_000, 5_000));
    let stats = sync.sim.stats();
    assert_eq!(stats.batch_requests, least_requests(&all));
    assert!(stats.largest_batch_bytes < 500_000, "{}", stats.largest_batch_bytes);
    let bytes: usize = all.iter().map(|customer| item(customer).len() + 1).sum();
    assert_eq!(stats.batch_bytes, bytes as u64 + 11 * stats.batch_requests, "the items are the ones spelled by hand");
    assert_eq!((stats.items_accepted, stats.max_writes_per_person(), sync.sim.drain()), (5_000, 1, 5_000));
    let person = sync.sim.person_by_id("customer-100").unwrap();
    assert_eq!(person.attributes["seats"], (i64::MAX - 100).to_string());

    sync.sim.reset_stats();
    assert_eq!(sync.run(sync.destination()).await.totals.unchanged, 5_000);
    assert_eq!(sync.sim.stats().batch_requests, 0);

    // Of a changed row only what changed is sent.
    all[42].vip = !all[42].vip;
    sync.source.replace(vec![batch(&all)]);
    assert_eq!(sync.run(sync.destination()).await.totals.written, 1);
    let stats = sync.sim.stats();
    assert_eq!((stats.batch_requests, stats.attributes_unchanged), (1, 0));
    let item = r#"{"type":"person","action":"identify","identifiers":{"id":"customer-42"},"attributes":{"vip":false}}"#;
    assert_eq!(stats.largest_batch_bytes, item.len() + 12);
    assert!(sync.sim.lints().is_empty(), "{:?}", sync.sim.lints());
}

#[tokio::test]
async fn rows_are_capped_where_the_host_wants_it() {
    let all = customers(3_000);
    for (max_rows, requests) in [(1_000, 3), (2_999, least_requests(&all)), (usize::MAX, least_requests(&all))] {
        let sync = Sync::new(&all).await;
        let report = sync.run(sync.destination().max_rows(max_rows)).await;
        assert_eq!((report.totals.written, sync.sim.stats().batch_requests), (3_000, requests), "{max_rows}");
    }
}

#[tokio::test]
async fn bad_rows_take_no_room_and_harm_nobody() {
    let mut all = customers(4_000);
    for bad in (0..4_000).step_by(3) {
        all[bad].email = "no address".to_owned();
    }
    let sync = Sync::new(&all).await;
    let report = sync.run(sync.destination()).await;
    let good: Vec<Customer> = all.iter().filter(|customer| customer.email.contains('@')).cloned().collect();
    assert_eq!((report.totals.written as usize, report.totals.rejected as usize), (good.len(), all.len() - good.len()));
    assert_eq!(sync.sim.stats().batch_requests, least_requests(&good));
    assert_eq!((sync.sim.drain(), sync.sim.people().len()), (good.len(), good.len()));
    let (_, reason, tally) = report.reasons.iter().find(|(outcome, ..)| *outcome == Outcome::Rejected).unwrap();
    assert_eq!((reason.code.as_str(), reason.field.as_deref()), ("LOCAL_EMAIL", Some("email")));
    assert_eq!(tally.rows, report.totals.rejected);
}

#[tokio::test]
async fn what_cannot_work_is_told_by_the_plan() {
    let sync = Sync::new(&customers(3)).await;
    let long = "n".repeat(151);
    let column = |from: &str, to: &str, ty| FieldRule::column(from, to, ty);
    let map = mapping()
        .field(column("note", "cio_subscription_preferences", FieldType::Text))
        .field(column("note", &long, FieldType::Text))
        .field(column("seats", "created_at", FieldType::Integer))
        .field(column("vip", "unsubscribed", FieldType::Boolean).on_null(NullRule::Clear));
    let error = sync.pipeline(sync.destination(), map).plan().await.unwrap_err();
    let at: Vec<&str> = error.problems().iter().map(|problem| problem.at.as_str()).collect();
    let expected = ["mapping.cio_subscription_preferences", &format!("mapping.{long}"), "mapping.created_at"];
    assert_eq!((error.kind(), at), (Kind::SchemaMismatch, expected.to_vec()));

    let map = mapping().field(column("vip", "unsubscribed", FieldType::Boolean).on_null(NullRule::Clear));
    let error = sync.pipeline(sync.destination(), map).plan().await.unwrap_err();
    assert_eq!(error.problems().len(), 1, "a null that clears it would subscribe: {error}");

    for name in ["a.b", "_internal"] {
        let map = mapping().field(column("note", name, FieldType::Text));
        let error = sync.pipeline(sync.destination(), map).plan().await.unwrap_err();
        assert_eq!(error.problems()[0].at, format!("mapping.{name}"));
    }
    assert_eq!(sync.sim.stats().write_requests(), 0);
}
