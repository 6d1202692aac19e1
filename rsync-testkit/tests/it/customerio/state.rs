//! Queue, order, determinism, statistics and inspection.

use std::sync::Arc;
use std::time::Duration;

use rsync_core::memory::ManualClock;
use rsync_testkit::sim::customerio::{BatchOrder, CustomerIoSim, LintKind, PersonSeed, Quirks, RateLimits, Seed};
use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule};
use serde_json::{Value, json};

use super::harness::{ENTITY, Http, identify, person, prompt, roomy};

#[tokio::test]
async fn what_is_accepted_is_applied_later() {
    let clock = ManualClock::new();
    let sim = CustomerIoSim::builder().with_clock(Arc::new(clock.clone())).start().await.expect("starts");
    let (http, app) = (Http::to(&sim), Http::to_app(&sim));
    let read = async || app.get("/v1/customers/1/attributes").await.status;
    http.entity(&identify(json!({ "id": "1" }), json!({}))).await;
    assert_eq!((sim.people().len(), sim.stats().items_queued, read().await), (0, 1, 404));
    clock.advance(Duration::from_millis(1_999));
    assert_eq!((sim.people().len(), read().await), (0, 404));
    clock.advance(Duration::from_millis(1));
    assert_eq!((read().await, sim.people().len(), sim.stats().items_queued), (200, 1, 0));
    assert_eq!(sim.people()[0].timestamps["id"], 1_704_067_200, "the time of acceptance counts");

    http.entity(&person("delete", json!({ "id": "1" }))).await;
    http.entity(&identify(json!({ "id": "2" }), json!({}))).await;
    assert_eq!(sim.drain(), 2);
    assert_eq!(sim.people().into_iter().filter_map(|person| person.id).collect::<Vec<_>>(), ["2"]);
    assert_eq!(sim.drain(), 0);
}

/// Ids in the order in which one batch created them.
async fn order(seed: u64, batch_order: BatchOrder) -> (Vec<String>, Vec<String>) {
    let quirks = Quirks { batch_order, ..prompt() };
    let clock = Arc::new(ManualClock::new());
    let sim = roomy().with_seed(Seed { random_seed: seed, ..Seed::default() }).with_quirks(quirks).with_clock(clock);
    let sim = sim.start().await.expect("the simulator starts");
    let batch: Vec<Value> = (0..8).map(|id| identify(json!({ "id": id }), json!({}))).collect();
    assert_eq!(Http::to(&sim).batch(&batch).await.status, 200);
    let people = sim.people();
    let mut generated: Vec<String> = people.iter().map(|person| person.cio_id.clone()).collect();
    generated.extend(sim.activities().into_iter().map(|activity| activity.id));
    (people.into_iter().filter_map(|person| person.id).collect(), generated)
}

#[tokio::test]
async fn state_follows_from_the_seed() {
    let sent: Vec<String> = (0..8).map(|id| id.to_string()).collect();
    for seed in 0..20 {
        let (ids, generated) = order(seed, BatchOrder::Shuffled).await;
        assert_ne!(ids, sent, "seed {seed}: the order of a batch is not promised");
        assert_eq!(order(seed, BatchOrder::Shuffled).await, (ids, generated), "seed {seed}");
        assert_eq!(order(seed, BatchOrder::AsSent).await.0, sent, "seed {seed}");
    }
    assert_ne!(order(1, BatchOrder::AsSent).await.1, order(2, BatchOrder::AsSent).await.1);
}

#[tokio::test]
async fn statistics() {
    let sim = roomy().with_person(PersonSeed::with_id("1").attribute("plan", "pro")).start().await.expect("starts");
    let (http, app) = (Http::to(&sim), Http::to_app(&sim));
    assert_eq!(sim.stats().people_created, 0, "a seed is no write");
    let batch = [
        identify(json!({ "id": "1" }), json!({ "plan": "free", "city": "Paris" })),
        identify(json!({ "id": "2" }), json!({})),
        identify(json!({}), json!({})),
    ];
    http.batch(&batch).await;
    http.entity(&identify(json!({ "id": 1 }), json!({ "plan": "free" }))).await;
    http.identify_v1("3", &json!({})).await;
    http.delete("/api/v1/customers/3").await;
    http.get("/api/v1/accounts/region").await;
    app.get("/v1/customers/1/attributes").await;
    let stats = sim.stats();
    let bytes = json!({ "batch": batch }).to_string().len();
    assert_eq!((stats.batch_requests, stats.entity_requests, stats.v1_requests, stats.write_requests()), (1, 1, 2, 4));
    assert_eq!((stats.region_requests, stats.app_requests), (1, 1));
    assert_eq!((stats.items_accepted, stats.items_rejected, stats.items_queued), (5, 1, 0));
    assert_eq!((stats.people_created, stats.people_updated, stats.people_deleted), (2, 2, 1));
    assert_eq!((stats.attributes_changed, stats.attributes_unchanged), (2, 1));
    assert_eq!((stats.largest_batch_bytes, stats.batch_bytes), (bytes, bytes as u64));
    let writes = [("id:1", 2), ("id:2", 1), ("id:3", 2)].map(|(key, writes)| (key.to_owned(), writes));
    assert_eq!((stats.writes_per_person.clone(), stats.max_writes_per_person()), (writes.into(), 2));
    sim.reset_stats();
    assert_eq!((sim.stats(), sim.lints(), sim.people().len()), (Default::default(), vec![], 2));
    assert_eq!(sim.journal().total(), 0);
}

#[tokio::test]
async fn two_writes_of_one_person_at_the_same_time() {
    let sim = roomy().start().await.expect("the simulator starts");
    let slow = FaultRule::new(FaultAction::DelayBefore { delay_ms: 100 });
    sim.faults().set(FaultPlan::new([slow])).expect("plan is valid");
    let http = Http::to(&sim);
    let by = |identifiers: Value| identify(identifiers, json!({}));
    let one = async |call: Value| http.post(ENTITY, &call).await.status;
    let different = tokio::join!(one(by(json!({ "id": "1" }))), one(by(json!({ "id": "2" }))));
    assert_eq!((different, sim.stats().overlapping_key_writes, sim.stats().max_in_flight), ((200, 200), 0, 2));
    let batch = async |calls: &[Value]| http.batch(calls).await.status;
    let two = [by(json!({ "email": "A@example.com" })), by(json!({ "id": "3" }))];
    let same = tokio::join!(batch(&two), one(by(json!({ "email": "a@example.com" }))));
    assert_eq!((same, sim.stats().overlapping_key_writes), ((200, 200), 1));
    let v1 = async || http.put("/api/v1/customers/a%40example.com", &json!({})).await.status;
    assert_eq!(tokio::join!(v1(), one(by(json!({ "email": "a@example.com" })))), (200, 200));
    assert_eq!(sim.stats().overlapping_key_writes, 2);
    let lints = sim.lints().iter().filter(|lint| lint.kind == LintKind::ConcurrentWrites).count();
    assert_eq!(lints, 2);
}

#[tokio::test]
async fn people_can_be_added_while_it_runs() {
    let sim = roomy().start().await.expect("the simulator starts");
    sim.add_person(&PersonSeed::with_id("1").email("a@example.com")).expect("a person");
    let taken = sim.add_person(&PersonSeed::with_email("A@example.com")).expect_err("taken").to_string();
    assert!(taken.contains("person.email"), "{taken}");
    assert!(sim.add_person(&PersonSeed::default()).is_err());
    assert_eq!(sim.people().len(), 1);
}

#[tokio::test]
async fn inspection_over_http() {
    let builder = CustomerIoSim::builder().with_rate_limits(RateLimits::Unlimited);
    let sim = builder.with_person(PersonSeed::with_id("1")).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    http.entity(&identify(json!({ "id": "2" }), json!({ "city": "" }))).await;
    http.entity(&person("suppress", json!({ "id": "3" }))).await;
    let object = json!({ "type": "object", "action": "identify", "identifiers": { "object_type_id": "1", "object_id": "acme" } });
    http.entity(&object).await;
    assert_eq!(http.get("/_sim/stats").await.json()["items_queued"], 3);
    assert_eq!(http.post("/_sim/drain", &json!({})).await.json(), json!({ "applied": 3 }));
    let people = http.get("/_sim/people").await.json();
    assert_eq!((&people["people"][1]["id"], &people["suppressed"]), (&json!("2"), &json!(["id:3"])));
    assert_eq!(http.get("/_sim/objects").await.json()["objects"][0]["object_id"], "acme");
    assert_eq!(http.get("/_sim/lints").await.json()["lints"][0]["kind"], "cleared_by_empty_text");
    assert_eq!(http.get("/_sim/activities").await.json()["activities"][1]["type"], "profile_create");
    assert_eq!(http.get("/_sim/requests").await.json()["total"], 3, "inspection is not counted");
    assert_eq!(http.post("/_sim/reset", &json!({})).await.status, 204);
    assert_eq!((sim.stats().write_requests(), sim.people().len()), (0, 2));
    assert_eq!(http.post("/_sim/reset?what=workspace", &json!({})).await.status, 204);
    assert_eq!((sim.people().len(), sim.suppressed().len(), sim.objects().len()), (1, 0, 0));
    assert_eq!(http.post("/_sim/reset?what=all", &json!({})).await.status, 400);
}
