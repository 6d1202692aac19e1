//! The App API beyond attributes: activities, relationships, preferences, exports, the workspace itself.

use std::sync::Arc;
use std::time::Duration;

use rsync_core::memory::ManualClock;
use rsync_testkit::sim::customerio::{InvalidEmails, PersonSeed, Quirks, RateLimits, Region, Seed, TopicSeed};
use serde_json::{Value, json};

use super::harness::{Http, failed_changes, identify, prompt, roomy};

fn topic(id: u64, subscribed_by_default: bool) -> TopicSeed {
    TopicSeed { id, name: format!("Topic {id}"), subscribed_by_default }
}

#[tokio::test]
async fn preferences_are_what_was_chosen_or_else_the_default_of_the_topic() {
    let seed = Seed {
        people: vec![PersonSeed::with_id("a")],
        topics: vec![topic(1, true), topic(2, false)],
        rate_limits: RateLimits::Unlimited,
        ..Seed::default()
    };
    let sim = roomy().with_seed(seed).start().await.expect("the simulator starts");
    let (http, app) = (Http::to(&sim), Http::to_app(&sim));
    assert_eq!(app.get("/v1/subscription_topics").await.json()["topics"][1]["identifier"], "topic_2");
    for (attributes, subscribed, unsubscribed) in [
        (json!({}), [true, false], false),
        (json!({ "cio_subscription_preferences.topics.topic_2": true }), [true, true], false),
        (json!({ "cio_subscription_preferences.topics.topic_1": false }), [false, true], false),
        (json!({ "cio_subscription_preferences": { "topics": { "topic_1": true } } }), [true, false], false),
        (json!({ "unsubscribed": "TRUE" }), [true, false], true),
        (json!({ "unsubscribed": 1, "cio_subscription_preferences": null }), [true, false], true),
        (json!({ "unsubscribed": "no" }), [true, false], false),
    ] {
        http.entity(&identify(json!({ "id": "a" }), attributes.clone())).await;
        let shown = app.get("/v1/customers/a/subscription_preferences").await.json()["customer"].clone();
        let found: Vec<&Value> = shown["topics"].as_array().expect("topics").iter().map(|t| &t["subscribed"]).collect();
        assert_eq!(found, [&json!(subscribed[0]), &json!(subscribed[1])], "{attributes}");
        assert_eq!(shown["unsubscribed"], json!(unsubscribed), "{attributes}");
    }
}

#[tokio::test]
async fn failed_changes_after_a_200_show_in_the_activities_only() {
    let sim = roomy()
        .with_person(PersonSeed::with_id("a").email("a@example.com"))
        .with_person(PersonSeed::with_id("b").email("b@example.com"))
        .start()
        .await
        .expect("the simulator starts");
    let (http, app) = (Http::to(&sim), Http::to_app(&sim));
    http.entity(&identify(json!({ "id": "a" }), json!({ "email": "b@example.com", "plan": "pro" }))).await;
    http.entity(&identify(json!({ "id": "a" }), json!({ "_last_emailed": 5 }))).await;
    sim.drain();
    let failed = app.get("/v1/activities?type=failed_attribute_change").await.json();
    let found = failed["activities"].as_array().expect("activities");
    assert_eq!(found.len(), 2, "{failed:#}");
    assert!(found[0]["data"]["_last_emailed"]["reason"].is_string(), "the newest comes first");
    assert_eq!(found[1]["data"]["email"]["value"], "b@example.com");
    assert_eq!(found[1]["customer_id"], "a");
    assert_eq!(found[1]["customer_identifiers"]["email"], "a@example.com");
    let cio_id = sim.person_by_id("a").expect("seeded").cio_id;
    for (query, status, count) in [
        ("customer_id=a&type=failed_attribute_change".to_owned(), 200, 2),
        ("customer_id=b&type=failed_attribute_change".to_owned(), 200, 0),
        ("customer_id=nobody".to_owned(), 200, 0),
        (format!("customer_id=cio_{cio_id}&id_type=cio_id&type=failed_attribute_change"), 200, 2),
        (format!("customer_id={cio_id}&id_type=cio_id"), 400, 0),
        ("type=failed_attribute_change&limit=1".to_owned(), 200, 1),
        ("limit=101".to_owned(), 400, 0),
        ("limit=0".to_owned(), 400, 0),
    ] {
        let reply = app.get(&format!("/v1/activities?{query}")).await;
        assert_eq!(reply.status, status, "{query}");
        if status == 200 {
            assert_eq!(reply.json()["activities"].as_array().map(Vec::len), Some(count), "{query}");
        }
    }
    let of_a = app.get("/v1/customers/a/activities?limit=100").await.json();
    assert!(of_a["activities"].as_array().is_some_and(|all| all.iter().all(|a| a["customer_id"] == "a")));
    assert_eq!(app.get("/v1/customers/nobody/activities").await.status, 404);
}

#[tokio::test]
async fn activities_are_kept_for_thirty_days() {
    let clock = ManualClock::new();
    let sim = roomy()
        .with_person(PersonSeed::with_id("a"))
        .with_clock(Arc::new(clock.clone()))
        .start()
        .await
        .expect("the simulator starts");
    let app = Http::to_app(&sim);
    for (days, left) in [(0, true), (30, true), (1, false)] {
        clock.advance(Duration::from_secs(days * 86_400));
        let found = app.get("/v1/activities?type=profile_create").await.json();
        assert_eq!(found["activities"].as_array().map(Vec::is_empty), Some(!left), "{days} days later");
    }
}

#[tokio::test]
async fn addresses_that_are_none_are_refused_or_silently_dropped() {
    for (invalid_emails, status) in [(InvalidEmails::Refused, 400), (InvalidEmails::Dropped, 200)] {
        let sim = roomy()
            .with_quirks(Quirks { invalid_emails, ..prompt() })
            .with_person(PersonSeed::with_id("a").email("a@example.com"))
            .start()
            .await
            .expect("the simulator starts");
        let body = identify(json!({ "id": "a" }), json!({ "email": "not an address", "plan": "pro" }));
        assert_eq!(Http::to(&sim).post("/api/v2/entity", &body).await.status, status, "{invalid_emails:?}");
        let stored = sim.person_by_id("a").expect("seeded");
        assert_eq!(stored.email.as_deref(), Some("a@example.com"));
        if invalid_emails == InvalidEmails::Dropped {
            assert_eq!(stored.attributes["plan"], "pro", "the rest is applied");
            assert_eq!(failed_changes(&sim).len(), 1);
            assert_eq!(sim.stats().silent_failures, 1);
        }
    }
}

#[tokio::test]
async fn relationships_and_messages_of_a_person() {
    let sim = roomy().with_person(PersonSeed::with_id("a")).start().await.expect("the simulator starts");
    let app = Http::to_app(&sim);
    let link = json!({ "type": "person", "action": "add_relationships", "identifiers": { "id": "a" },
        "cio_relationships": [{ "identifiers": { "object_type_id": "1", "object_id": "acme" },
                                "relationship_attributes": { "role": "admin" } }] });
    Http::to(&sim).entity(&link).await;
    let related = app.get("/v1/customers/a/relationships").await.json();
    assert_eq!(related["cio_relationships"][0]["identifiers"]["object_id"], "acme");
    assert_eq!(related["cio_relationships"][0]["relationship_attributes"], json!({ "role": "admin" }));
    assert_eq!(app.get("/v1/customers/a/messages").await.json()["messages"], json!([]));
    for what in ["relationships", "messages", "segments", "subscription_preferences"] {
        assert_eq!(app.get(&format!("/v1/customers/nobody/{what}")).await.status, 404, "{what}");
        assert_eq!(app.get(&format!("/v1/customers/a/{what}?id_type=phone")).await.status, 400, "{what}");
    }
    assert_eq!(app.get("/v1/object_types").await.json()["types"][0]["id"], "1");
    assert_eq!(app.get("/v1/workspaces").await.json()["workspaces"][0]["people"], 1);
    let names = app.get("/v1/index/attributes").await.json();
    assert_eq!(names["attributes"], json!([{ "name": "cio_id" }, { "name": "id" }]));
}

#[tokio::test]
async fn an_export_is_made_after_a_while_and_its_link_ends() {
    let clock = ManualClock::new();
    let sim = roomy()
        .with_quirks(Quirks { export_delay_ms: 5_000, ..prompt() })
        .with_person(PersonSeed::with_id("a,\"1\"").email("a@example.com").attribute("unsubscribed", true))
        .with_person(PersonSeed::with_id("b"))
        .with_clock(Arc::new(clock.clone()))
        .start()
        .await
        .expect("the simulator starts");
    let app = Http::to_app(&sim);
    assert_eq!(app.get("/v1/exports").await.json(), json!({ "exports": null }), "none is no empty list");
    let filter = json!({ "filters": { "attribute": { "field": "email", "operator": "exists" } } });
    let asked = app.post("/v1/exports/customers", &filter).await.json();
    assert_eq!((&asked["export"]["id"], &asked["export"]["status"]), (&json!(1), &json!("pending")));
    assert_eq!(app.get("/v1/exports/1/download").await.status, 400, "not made yet");
    clock.advance(Duration::from_secs(5));
    let done = app.get("/v1/exports/1").await.json();
    assert_eq!((&done["export"]["status"], &done["export"]["total"]), (&json!("done"), &json!(1)));
    let url = app.get("/v1/exports/1/download").await.json()["url"].as_str().expect("a link").to_owned();
    let path = url.strip_prefix(&sim.base_url()).expect("a link to the simulator").to_owned();
    let file = app.without_login().get(&path).await;
    let cio_id = sim.person_by_email("a@example.com").expect("seeded").cio_id;
    let text = format!("id,email,cio_id,unsubscribed\n\"a,\"\"1\"\"\",a@example.com,{cio_id},true\n");
    assert_eq!((file.status, file.text), (200, text));
    clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(app.get(&path).await.status, 404, "fifteen minutes later");
    assert_eq!(app.get("/v1/exports/9").await.status, 404);
    assert_eq!(app.post("/v1/exports/customers", &json!({})).await.status, 400);
}

#[tokio::test]
async fn the_app_api_takes_ten_requests_a_second() {
    let clock = ManualClock::new();
    let sim = roomy()
        .with_rate_limits(RateLimits::Documented)
        .with_clock(Arc::new(clock.clone()))
        .start()
        .await
        .expect("the simulator starts");
    let app = Http::to_app(&sim);
    for i in 0..11 {
        let reply = app.get("/v1/segments").await;
        assert_eq!(reply.status, if i < 10 { 200 } else { 429 }, "request {i}");
        if i == 10 {
            assert_eq!((reply.text.as_str(), reply.header("retry-after")), ("", None), "nothing is documented");
        }
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!(app.get("/v1/segments").await.status, 200);
}

#[tokio::test]
async fn an_account_is_unknown_on_the_app_host_of_the_other_region() {
    for (region, host, status) in
        [(Region::Eu, Region::Us, 401), (Region::Us, Region::Eu, 401), (Region::Eu, Region::Eu, 200)]
    {
        let seed = Seed { region, host_region: Some(host), ..Seed::default() };
        let sim = roomy().with_seed(seed).start().await.expect("the simulator starts");
        assert_eq!(Http::to_app(&sim).get("/v1/segments").await.status, status, "{region:?} on {host:?}");
        let probe = Http::to(&sim).get("/api/v1/accounts/region").await;
        assert_eq!(probe.status, 200, "the probe answers on both");
    }
}
