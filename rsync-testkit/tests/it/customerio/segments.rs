//! Segments: made and read by the App API, filled by version 1 of the Track API.

use rsync_testkit::sim::customerio::{
    CustomerIoSim, PersonSeed, RateLimits, Seed, SegmentKind, SegmentSeed, WorkspaceMode,
};
use serde_json::{Value, json};

use super::harness::{Http, identify, person, roomy};

/// Three people, a manual segment, one of everybody on plan pro, and one of those who are in neither.
async fn seeded() -> CustomerIoSim {
    let on_plan = |plan: &str| json!({ "attribute": { "field": "plan", "operator": "eq", "value": plan } });
    let neither = json!({ "not": { "or": [{ "segment": { "id": 1 } }, { "segment": { "id": 2 } }] } });
    let seed = Seed {
        people: vec![
            PersonSeed::with_id("a").email("a@example.com").attribute("plan", "pro"),
            PersonSeed::with_id("b").email("b@example.com"),
            PersonSeed::with_email("c@example.com"),
        ],
        segments: vec![
            SegmentSeed::manual("by hand"),
            SegmentSeed::dynamic("pro", on_plan("pro")),
            SegmentSeed::dynamic("neither", neither),
        ],
        rate_limits: RateLimits::Unlimited,
        ..Seed::default()
    };
    roomy().with_seed(seed).start().await.expect("the simulator starts")
}

fn ids(sim: &CustomerIoSim, name: &str) -> Vec<String> {
    sim.segment(name).expect("there is such a segment").ids
}

fn add(segment: u64) -> String {
    format!("/api/v1/segments/{segment}/add_customers")
}

fn remove(segment: u64) -> String {
    format!("/api/v1/segments/{segment}/remove_customers")
}

#[tokio::test]
async fn people_join_and_leave_by_any_identifier_and_strangers_are_passed_over() {
    let sim = seeded().await;
    let http = Http::to(&sim);
    let c = sim.person_by_email("c@example.com").expect("seeded").cio_id;
    for (path, body, expected, strangers) in [
        (add(1), json!({ "ids": ["a", "nobody"] }), 1, 1),
        (format!("{}?id_type=id", add(1)), json!({ "ids": ["a", "b"] }), 2, 1),
        (format!("{}?id_type=cio_id", add(1)), json!({ "ids": [c, "ffffffffffff"] }), 3, 2),
        (format!("{}?id_type=email", remove(1)), json!({ "ids": ["A@example.com", "no address"] }), 2, 3),
        // Who left already is no stranger.
        (remove(1), json!({ "ids": ["a", 12] }), 2, 4),
    ] {
        let reply = http.post(&path, &body).await;
        assert_eq!((reply.status, reply.text.as_str()), (200, "{}\n"), "{path} {body}");
        sim.drain();
        assert_eq!(sim.segment("by hand").expect("seeded").cio_ids.len(), expected, "{path} {body}");
        assert_eq!(sim.stats().silent_failures, strangers, "{path} {body}");
    }
    let stats = sim.stats();
    assert_eq!((stats.members_added, stats.members_removed), (3, 1));
    assert_eq!(stats.write_requests(), 5);
}

#[tokio::test]
async fn calls_that_are_refused() {
    let sim = seeded().await;
    let http = Http::to(&sim);
    let many = |count: usize| json!({ "ids": (0..count).map(|id| json!(id)).collect::<Vec<_>>() });
    for (path, body, status) in [
        (add(1), many(1_000), 200),
        (add(1), many(1_001), 400),
        (add(1), many(0), 400),
        (add(1), json!({ "ids": "a" }), 400),
        (add(1), json!({ "ids": [{}] }), 400),
        (add(1), json!([]), 400),
        (format!("{}?id_type=phone", add(1)), json!({ "ids": ["a"] }), 400),
        (format!("{}?id_type=x", add(1)), json!({ "ids": ["a"] }), 400),
        (add(2), json!({ "ids": ["a"] }), 400),
        (remove(2), json!({ "ids": ["a"] }), 400),
        (add(9), json!({ "ids": ["a"] }), 404),
        ("/api/v1/segments/x/add_customers".to_owned(), json!({ "ids": ["a"] }), 404),
    ] {
        let reply = http.post(&path, &body).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text);
    }
    assert_eq!(http.post(&add(9), &json!({ "ids": ["a"] })).await.text, "\"Segment not found\"\n");
    assert_eq!(http.without_login().post(&add(1), &json!({ "ids": ["a"] })).await.status, 401);
    assert_eq!(Http::to_app(&sim).post(&add(1), &json!({ "ids": ["a"] })).await.status, 401, "the other API's key");

    let id_only =
        Seed { mode: WorkspaceMode::IdOnly, segments: vec![SegmentSeed::manual("by hand")], ..Seed::default() };
    let sim = roomy().with_seed(id_only).start().await.expect("the simulator starts");
    let reply = Http::to(&sim).post(&format!("{}?id_type=email", add(1)), &json!({ "ids": ["a@example.com"] })).await;
    assert_eq!(reply.status, 400, "email identifies nobody here");
}

#[tokio::test]
async fn members_go_with_the_person_and_move_with_a_merge() {
    let sim = seeded().await;
    let http = Http::to(&sim);
    http.post(&add(1), &json!({ "ids": ["a"] })).await;
    http.entity(&json!({ "type": "person", "action": "merge", "primary": { "id": "b" }, "secondary": { "id": "a" } }))
        .await;
    assert_eq!(ids(&sim, "by hand"), ["b"]);
    http.entity(&person("suppress", json!({ "id": "b" }))).await;
    assert!(ids(&sim, "by hand").is_empty());
    http.post(&add(1), &json!({ "ids": ["b"] })).await;
    assert!(ids(&sim, "by hand").is_empty(), "who is suppressed cannot join");
}

#[tokio::test]
async fn conditions_decide_about_data_driven_segments_all_the_time() {
    let sim = seeded().await;
    let http = Http::to(&sim);
    assert_eq!((ids(&sim, "pro"), ids(&sim, "neither")), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert_eq!(sim.segment("neither").expect("seeded").kind, SegmentKind::Dynamic);
    http.entity(&identify(json!({ "id": "b" }), json!({ "plan": "pro" }))).await;
    assert_eq!((ids(&sim, "pro"), ids(&sim, "neither")), (vec!["a".to_owned(), "b".to_owned()], Vec::new()));
}

#[tokio::test]
async fn the_app_api_makes_reads_and_deletes_segments() {
    let sim = seeded().await;
    let app = Http::to_app(&sim);
    let made = app.post("/v1/segments", &json!({ "segment": { "name": "new", "description": "d" } })).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let segment = made.json()["segment"].clone();
    assert_eq!(
        (&segment["id"], &segment["type"], &segment["state"]),
        (&json!(4), &json!("manual"), &json!("finished"))
    );
    assert_eq!(app.get("/v1/segments/4").await.json()["segment"], segment);
    assert_eq!(app.get("/v1/segments").await.json()["segments"].as_array().map(Vec::len), Some(4));
    Http::to(&sim).post(&add(4), &json!({ "ids": ["a", "b"] })).await;
    assert_eq!(app.get("/v1/segments/4/customer_count").await.json(), json!({ "count": 2 }));
    let first = app.get("/v1/segments/4/membership?limit=1").await.json();
    assert_eq!((&first["ids"], &first["identifiers"][0]["email"]), (&json!(["a"]), &json!("a@example.com")));
    let start = first["next"].as_str().expect("a cursor").replace('=', "%3D");
    let second = app.get(&format!("/v1/segments/4/membership?limit=1&start={start}")).await.json();
    assert_eq!((&second["ids"], &second["next"]), (&json!(["b"]), &json!("")));
    let of_a = app.get("/v1/customers/a/segments").await.json();
    let names: Vec<&str> =
        of_a["segments"].as_array().expect("segments").iter().filter_map(|s| s["name"].as_str()).collect();
    assert_eq!(names, ["pro", "new"]);
    assert_eq!(app.get("/v1/segments/1/used_by").await.json()["used_by"]["segments"], json!([3]));
    for (path, status) in
        [("/v1/segments/4", 204), ("/v1/segments/4", 404), ("/v1/segments/2", 400), ("/v1/segments/1", 400)]
    {
        assert_eq!(app.delete(path).await.status, status, "{path}");
    }
    for body in [json!({}), json!({ "segment": {} }), json!({ "segment": { "name": "" } }), json!({ "segment": "x" })] {
        assert_eq!(app.post("/v1/segments", &body).await.status, 400, "{body}");
    }
    assert_eq!(app.get("/v1/segments/1/membership?limit=30001").await.status, 400);
    assert_eq!(app.get("/v1/segments/1/membership?start=x").await.status, 400);
    assert_eq!(sim.stats().app_write_requests, 9);
}

#[tokio::test]
async fn people_are_searched_by_conditions_and_paged() {
    let sim = seeded().await;
    let app = Http::to_app(&sim);
    let field = |name: &str| json!({ "attribute": { "field": name, "operator": "exists" } });
    let is = |name: &str, value: Value| json!({ "attribute": { "field": name, "operator": "eq", "value": value } });
    for (filter, expected) in [
        (field("email"), json!(["a", "b", ""])),
        (is("plan", json!("pro")), json!(["a"])),
        (json!({ "not": field("plan") }), json!(["b", ""])),
        (json!({ "and": [field("email"), { "not": is("id", json!("a")) }] }), json!(["b", ""])),
        (json!({ "or": [is("id", json!("a")), is("id", json!("b"))] }), json!(["a", "b"])),
        (json!({ "segment": { "id": 2 } }), json!(["a"])),
        (json!({ "segment": { "id": 99 } }), json!([])),
    ] {
        let reply = app.post("/v1/customers", &json!({ "filter": filter })).await;
        assert_eq!((reply.status, &reply.json()["ids"]), (200, &expected), "{filter}: {}", reply.text);
    }
    let all = json!({ "filter": field("email") });
    let first = app.post("/v1/customers?limit=2", &all).await.json();
    let start = first["next"].as_str().expect("a cursor").replace('=', "%3D");
    let second = app.post(&format!("/v1/customers?limit=2&start={start}"), &all).await.json();
    assert_eq!((&first["ids"], &second["ids"], &second["next"]), (&json!(["a", "b"]), &json!([""]), &json!("")));
    for (path, body) in [
        ("/v1/customers", json!({})),
        ("/v1/customers", json!({ "filter": { "plan": "pro" } })),
        ("/v1/customers?limit=0", all.clone()),
        ("/v1/customers?limit=1001", all.clone()),
    ] {
        assert_eq!(app.post(path, &body).await.status, 400, "{path} {body}");
    }
    assert_eq!(sim.stats().write_requests(), 0, "searching writes nothing");
}

#[tokio::test]
async fn wrong_conditions_in_a_seed_are_refused() {
    let seed = Seed { segments: vec![SegmentSeed::dynamic("x", json!({ "plan": "pro" }))], ..Seed::default() };
    let error = roomy().with_seed(seed).start().await.expect_err("no condition").to_string();
    assert!(error.contains("segments[0].filter"), "{error}");
}
