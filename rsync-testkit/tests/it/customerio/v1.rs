//! Version 1: one call a person.

use reqwest::Method;
use rsync_testkit::sim::customerio::{PersonSeed, Seed, WorkspaceMode};
use serde_json::{Value, json};

use super::harness::{Http, failed_changes, roomy};

#[tokio::test]
async fn the_look_of_a_path_says_what_it_is() {
    for (mode, path, id, email) in [
        (WorkspaceMode::EmailOrId, "42", Some("42"), None),
        (WorkspaceMode::EmailOrId, "a%2Fb%20c%2Bd%25", Some("a/b c+d%"), None),
        (WorkspaceMode::EmailOrId, "a+b", Some("a+b"), None),
        (WorkspaceMode::EmailOrId, "%C3%A9%F0%9F%98%80", Some("\u{e9}\u{1f600}"), None),
        (WorkspaceMode::EmailOrId, "%2B15550100", Some("+15550100"), None),
        (WorkspaceMode::EmailOrId, "ada%2Bx%40example.com", None, Some("ada+x@example.com")),
        (WorkspaceMode::EmailOrId, "ada@", Some("ada@"), None),
        (WorkspaceMode::IdOnly, "ada%40example.com", Some("ada@example.com"), None),
    ] {
        let seed = Seed { mode, ..Seed::default() };
        let sim = roomy().with_seed(seed).start().await.expect("the simulator starts");
        Http::to(&sim).identify_v1(path, &json!({ "plan": "pro" })).await;
        let people = sim.people();
        assert_eq!((people[0].id.as_deref(), people[0].email.as_deref()), (id, email), "{path}");
        assert_eq!(people[0].attributes["plan"], "pro", "{path}");
    }
}

#[tokio::test]
async fn a_path_may_hold_the_id_of_the_service() {
    let sim = roomy().with_person(PersonSeed::with_id("1")).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let cio_id = sim.people()[0].cio_id.clone();
    http.identify_v1(&format!("cio_{cio_id}"), &json!({ "id": "2", "email": "two@example.com" })).await;
    assert_eq!(sim.people()[0].id.as_deref(), Some("2"));
    http.identify_v1("cio_ffff0001", &json!({ "plan": "x" })).await;
    assert_eq!((sim.people().len(), sim.stats().silent_failures), (1, 1));
    for wrong in ["cio_", "cio_xyz", "cio_a3-000001"] {
        let reply = http.put(&format!("/api/v1/customers/{wrong}"), &json!({})).await;
        assert_eq!(reply.status, 400, "{wrong}");
        assert!(reply.json()["meta"]["error"].is_string());
    }
}

#[tokio::test]
async fn refusals_name_all_causes() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let long = "x".repeat(1_001);
    let reply = http.put("/api/v1/customers/1", &json!({ "id": "2", "token": long })).await;
    assert_eq!(reply.status, 400);
    let expected = json!({ "meta": { "errors": [
        "id attribute and identifier are not the same value",
        "value for attribute 'token' cannot be longer than 1000 bytes",
    ] } });
    assert_eq!(reply.json(), expected);
    for (body, part) in [
        (json!({ "_update": 1 }), "_update must be a boolean"),
        (json!({ "_timestamp": "x" }), "_timestamp must be an integer"),
        (json!({ "email": "x" }), "email must be a valid email address"),
        (json!({ "cio_relationships": [] }), "cio_relationships must be an object"),
        (json!({ "cio_relationships": { "relationships": [] } }), "cio_relationships.action must be"),
    ] {
        let reply = http.put("/api/v1/customers/1", &body).await;
        assert_eq!(reply.status, 400, "{body}");
        let errors = reply.json()["meta"]["errors"].clone();
        assert!(errors[0].as_str().expect("text").starts_with(part), "{body}: {errors}");
    }
    for body in ["", "[]", "{"] {
        let reply = http.send(Method::PUT, "/api/v1/customers/1", Some(body.to_owned())).await.expect("an answer");
        assert_eq!((reply.status, reply.json()["meta"]["error"].is_string()), (400, true), "{body}");
    }
    assert!(sim.people().is_empty());
}

#[tokio::test]
async fn reserved_names_of_an_identify_call() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    http.identify_v1("1", &json!({ "id": "1", "_timestamp": 1_700_000_000, "plan": "pro", "cio_relationships": {
        "action": "add_relationships",
        "relationships": [{ "identifiers": { "object_type_id": "1", "object_id": "acme" }, "relationship_attributes": { "role": "x" } }],
    } }))
    .await;
    let person = sim.person_by_id("1").expect("stored");
    assert_eq!(person.timestamps["plan"], 1_700_000_000);
    assert!(!person.attributes.contains_key("_timestamp"));
    assert_eq!(person.relationships[0].object_id, "acme");
    http.identify_v1(
        "1",
        &json!({ "cio_relationships": {
        "action": "delete_relationships",
        "relationships": [{ "identifiers": { "object_type_id": "1", "object_id": "acme" } }],
    } }),
    )
    .await;
    assert!(sim.person_by_id("1").expect("stored").relationships.is_empty());
    http.identify_v1("2", &json!({ "_update": true })).await;
    assert!(sim.person_by_id("2").is_none());
    assert_eq!(failed_changes(&sim)[0].0, "id", "version 1 leaves a trace of it");
    http.identify_v1("1", &json!({ "_update": true, "plan": "free" })).await;
    assert_eq!(sim.person_by_id("1").expect("stored").attributes["plan"], "free");
}

#[tokio::test]
async fn every_other_call() {
    let sim = roomy().with_person(PersonSeed::with_email("b@example.com")).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let ok = |reply: super::harness::Reply| assert_eq!((reply.status, reply.text.as_str()), (200, "{}\n"));
    let events = "/api/v1/customers/1/events";
    ok(http.post(events, &json!({ "name": "bought", "data": { "price": 5 }, "timestamp": 7 })).await);
    ok(http.post(events, &json!({ "name": "/home", "type": "page" })).await);
    ok(http.post("/api/v1/events", &json!({ "name": "x", "anonymous_id": "anon" })).await);
    ok(http.post("/api/v1/events", &json!({ "name": "invite", "data": { "recipient": "x@example.com" } })).await);
    let devices = "/api/v1/customers/1/devices";
    ok(http.put(devices, &json!({ "device": { "id": "t/1", "platform": "ios", "last_used": 3 } })).await);
    let person = sim.person_by_id("1").expect("events create people");
    assert_eq!(person.events.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>(), ["event", "page"]);
    assert_eq!((person.events[0].timestamp, &person.events[0].data["price"]), (Some(7), &json!(5)));
    assert_eq!(person.devices[0].token, "t/1");
    ok(http.delete(&format!("{devices}/t%2F1")).await);
    assert!(sim.person_by_id("1").expect("stored").devices.is_empty());
    let merge = |primary: Value, secondary: Value| json!({ "primary": primary, "secondary": secondary });
    ok(http.post("/api/v1/merge_customers", &merge(json!({ "id": "1" }), json!({ "email": "b@example.com" }))).await);
    assert_eq!(sim.person_by_email("b@example.com").and_then(|p| p.id).as_deref(), Some("1"));
    ok(http.post("/api/v1/customers/1/suppress", &json!({})).await);
    assert!(sim.people().is_empty());
    ok(http.send(Method::POST, "/api/v1/customers/1/unsuppress", None).await.expect("an answer"));
    assert!(sim.suppressed().is_empty());
    ok(http.delete("/api/v1/customers/never").await);
    assert_eq!(sim.stats().v1_requests, 10);

    for (method, path, body, message) in [
        (Method::POST, events, json!({}), "name is required"),
        (Method::POST, events, json!({ "name": "n", "type": "x" }), "type must be one of"),
        (Method::POST, events, json!({ "name": "n", "data": { "a": "x".repeat(100_000) } }), "data cannot be larger"),
        (Method::PUT, devices, json!({ "device": { "id": "t" } }), "device.platform is required"),
        (Method::PUT, devices, json!({ "device": { "token": "t", "platform": "ios" } }), "device.token is not a known"),
    ] {
        let reply = http.send(method, path, Some(body.to_string())).await.expect("an answer");
        assert_eq!(reply.status, 400, "{path}");
        let first = reply.json()["meta"]["errors"][0].clone();
        assert!(first.as_str().expect("text").starts_with(message), "{path}: {first}");
    }
    let both = merge(json!({ "id": "1", "email": "b@example.com" }), json!({ "id": "2" }));
    let reply = http.post("/api/v1/merge_customers", &both).await;
    assert_eq!(reply.status, 400);
    assert!(reply.json()["meta"]["error"].as_str().expect("text").contains("exactly one"));
}
