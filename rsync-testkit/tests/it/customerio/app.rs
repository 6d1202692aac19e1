//! The App API's reads of people.

use rsync_testkit::sim::customerio::{AppUnauthorizedBody, PersonSeed, Quirks, Seed, WorkspaceMode};
use serde_json::{Value, json};

use super::harness::{Http, prompt, roomy};

#[tokio::test]
async fn a_person_is_read_as_text() {
    let person = PersonSeed::with_id("1").email("Ada@example.com").attribute("age", 30).attribute("unsubscribed", true);
    let sim = roomy().with_person(person).start().await.expect("the simulator starts");
    let device = json!({ "device": { "id": "t", "platform": "ios", "last_used": 5, "attributes": { "n": 1 } } });
    Http::to(&sim).put("/api/v1/customers/1/devices", &device).await;
    let app = Http::to_app(&sim);
    let stored = sim.person_by_id("1").expect("seeded");
    let (cio_id, at) = (&stored.cio_id, stored.timestamps["id"]);
    let expected = json!({ "customer": {
        "id": "1",
        "identifiers": { "id": "1", "email": "Ada@example.com", "cio_id": cio_id },
        "attributes": { "id": "1", "email": "Ada@example.com", "cio_id": cio_id, "age": "30", "unsubscribed": "true" },
        "timestamps": { "id": at, "email": at, "cio_id": at, "age": at, "unsubscribed": at },
        "unsubscribed": true,
        "devices": [{ "id": "t", "platform": "ios", "last_used": 5, "attributes": { "n": 1 } }],
    } });
    for path in [
        "/v1/customers/1/attributes".to_owned(),
        "/v1/customers/1/attributes?id_type=id".to_owned(),
        "/v1/customers/ada%40example.com/attributes?id_type=email".to_owned(),
        format!("/v1/customers/{cio_id}/attributes?id_type=cio_id"),
        format!("/v1/customers/cio_{cio_id}/attributes?id_type=cio_id"),
    ] {
        let reply = app.get(&path).await;
        assert_eq!((reply.status, reply.json()), (200, expected.clone()), "{path}");
    }
    let many = app.post("/v1/customers/attributes", &json!({ "ids": ["1", "2"] })).await.json();
    assert_eq!(many, json!({ "customers": [expected] }), "unknown ids are left out");
    let by_address = app.post("/v1/customers/attributes?id_type=email", &json!({ "ids": ["ADA@example.com"] })).await;
    assert_eq!(by_address.json()["customers"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn nobody_is_a_404_with_a_reference() {
    let sim = roomy().start().await.expect("the simulator starts");
    let app = Http::to_app(&sim);
    let (first, second) = (app.get("/v1/customers/9/attributes").await, app.get("/v1/customers/9/attributes").await);
    for reply in [&first, &second] {
        assert_eq!((reply.status, reply.header("content-length")), (404, Some("89")), "{}", reply.text);
        assert_eq!(reply.json()["errors"][0]["status"], "404");
        let detail = reply.json()["errors"][0]["detail"].as_str().expect("text").to_owned();
        assert!(detail.starts_with("not found (reference 0") && detail.len() == "not found (reference )".len() + 26);
    }
    assert_ne!(first.text, second.text);
}

#[tokio::test]
async fn requests_that_are_refused() {
    let sim = roomy().start().await.expect("the simulator starts");
    let app = Http::to_app(&sim);
    let refused = json!({ "errors": [{ "detail": "bad request", "status": "400" }] });
    for path in [
        "/v1/customers",
        "/v1/customers?email=",
        "/v1/customers/1/attributes?id_type=phone",
        "/v1/customers/1/attributes?id_type=x",
    ] {
        let reply = app.get(path).await;
        assert_eq!((reply.status, reply.json()), (400, refused.clone()), "{path}");
    }
    let many: Vec<Value> = (0..101).map(|id| json!(id)).collect();
    for body in [json!({}), json!({ "ids": [] }), json!({ "ids": many }), json!({ "ids": [{}] }), json!({ "ids": "1" })]
    {
        let reply = app.post("/v1/customers/attributes", &body).await;
        assert_eq!((reply.status, reply.json()), (400, refused.clone()), "{body}");
    }
    assert_eq!(app.post("/v1/customers/attributes", &json!({ "ids": many[1..] })).await.status, 200);
}

#[tokio::test]
async fn people_by_address() {
    for (mode, expected) in [(WorkspaceMode::EmailOrId, 1), (WorkspaceMode::IdOnly, 2)] {
        let mut builder = roomy()
            .with_mode(mode)
            .with_person(PersonSeed::with_id("1").email("same+x@example.com"))
            .with_person(PersonSeed::with_id("2"));
        if mode == WorkspaceMode::IdOnly {
            builder = builder.with_person(PersonSeed::with_id("3").email("SAME+x@example.com"));
        }
        let sim = builder.start().await.expect("the simulator starts");
        let app = Http::to_app(&sim);
        let found = app.get("/v1/customers?email=Same%2Bx%40example.com").await.json();
        let results = found["results"].as_array().expect("results");
        assert_eq!(results.len(), expected, "{mode:?}");
        let cio_id = sim.person_by_id("1").expect("seeded").cio_id;
        assert_eq!(results[0], json!({ "email": "same+x@example.com", "id": "1", "cio_id": cio_id }));
        let unencoded = app.get("/v1/customers?email=same+x@example.com").await;
        assert_eq!((unencoded.status, unencoded.json()), (200, json!({ "results": [] })), "a plus is a space");
    }
}

#[tokio::test]
async fn only_the_app_key_opens_it() {
    let list = json!({ "errors": [{ "detail": "unauthorized", "status": "401" }] });
    let meta = json!({ "meta": { "error": "Unauthorized request" } });
    for (body, expected) in [(AppUnauthorizedBody::ErrorList, list), (AppUnauthorizedBody::Meta, meta)] {
        let quirks = Quirks { app_unauthorized_body: body, ..prompt() };
        let sim = roomy().with_seed(Seed::default()).with_quirks(quirks).start().await.expect("the simulator starts");
        let track = Http::to(&sim);
        for http in [track.clone(), track.with_token("wrong"), track.with_token(&sim.api_key()), track.without_login()]
        {
            let reply = http.get("/v1/customers?email=x%40example.com").await;
            assert_eq!((reply.status, reply.json()), (401, expected.clone()));
        }
        assert_eq!(sim.stats().unauthenticated_answers, 4);
    }
}
