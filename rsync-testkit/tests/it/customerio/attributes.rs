//! What becomes of attributes.

use std::sync::Arc;
use std::time::Duration;

use rsync_core::memory::ManualClock;
use rsync_testkit::sim::customerio::{
    ActivityKind, BigIntegers, CustomerIoSim, EmptyStrings, LintKind, PersonSeed, Quirks, WorkspaceMode,
};
use serde_json::{Value, json};

use super::harness::{Http, identify, prompt, roomy};

async fn with_one() -> CustomerIoSim {
    roomy().with_person(PersonSeed::with_id("1").attribute("plan", "pro")).start().await.expect("the simulator starts")
}

fn one(attributes: Value) -> Value {
    identify(json!({ "id": "1" }), attributes)
}

fn plan_of(sim: &CustomerIoSim) -> Option<String> {
    sim.person_by_id("1").and_then(|person| person.attributes.get("plan").cloned())
}

#[tokio::test]
async fn what_a_value_does() {
    for (value, expected) in [
        (json!("free"), Some("free")),
        (json!(null), None),
        (json!(""), None),
        (json!(30), Some("30")),
        (json!(-0.5), Some("-0.5")),
        (json!(true), Some("true")),
        (json!("true"), Some("true")),
        (json!(1_614_034_983), Some("1614034983")),
        (json!(9_007_199_254_740_993_i64), Some("9007199254740992")),
        (json!({ "b": [1, null], "a": "x" }), Some("{\"a\":\"x\",\"b\":[1,null]}")),
        (json!([]), Some("[]")),
        (json!("\u{1f600} \"'<>"), Some("\u{1f600} \"'<>")),
    ] {
        let sim = with_one().await;
        Http::to(&sim).entity(&one(json!({ "plan": value }))).await;
        assert_eq!(plan_of(&sim).as_deref(), expected, "{value}");
        assert_eq!(sim.stats().attributes_changed, 1, "{value}");
    }
    let lenient = Quirks { empty_strings: EmptyStrings::Stored, big_integers: BigIntegers::Exact, ..prompt() };
    for (value, expected) in [(json!(""), ""), (json!(9_007_199_254_740_993_i64), "9007199254740993")] {
        let sim = roomy().with_quirks(lenient.clone()).start().await.expect("the simulator starts");
        Http::to(&sim).entity(&one(json!({ "plan": value }))).await;
        assert_eq!(plan_of(&sim).as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn what_is_not_mentioned_stays() {
    let sim = with_one().await;
    let http = Http::to(&sim);
    http.entity(&one(json!({ "First Name": "Ada", "first name": "ada" }))).await;
    http.entity(&one(json!({}))).await;
    http.entity(&json!({ "type": "person", "action": "identify", "identifiers": { "id": "1" } })).await;
    let person = sim.person_by_id("1").expect("stored");
    let names: Vec<&str> = person.attributes.keys().map(String::as_str).collect();
    assert_eq!(names, ["First Name", "cio_id", "first name", "id", "plan"]);
    assert_eq!(person.values["plan"], json!("pro"));
}

#[tokio::test]
async fn timestamps_move_with_values_only() {
    let clock = ManualClock::new();
    let sim = roomy().with_clock(Arc::new(clock.clone())).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let start = 1_704_067_200;
    http.entity(&one(json!({ "name": "Ada", "vip": true }))).await;
    clock.advance(Duration::from_secs(10));
    http.entity(&one(json!({ "name": "Ada", "vip": false }))).await;
    clock.advance(Duration::from_secs(10));
    http.entity(&one(json!({ "name": "Ada", "id": "1" }))).await;
    let person = sim.person_by_id("1").expect("stored");
    let expected = [("cio_id", start), ("id", start), ("name", start), ("vip", start + 10)];
    assert_eq!(person.timestamps, expected.map(|(name, at)| (name.to_owned(), at)).into());
    assert_eq!(sim.stats().attributes_unchanged, 3);
    assert!(sim.lints().iter().all(|lint| lint.kind == LintKind::UnchangedValue));

    let log: Vec<(ActivityKind, Value)> = sim.activities().into_iter().map(|a| (a.kind, a.data)).collect();
    assert!(log.contains(&(ActivityKind::AttributeChange, json!({ "vip": { "from": true, "to": false } }))), "{log:?}");
}

#[tokio::test]
async fn a_stated_time_orders_updates() {
    let sim = with_one().await;
    let http = Http::to(&sim);
    let mut update = one(json!({ "plan": "late" }));
    update["timestamp"] = json!(4_000_000_000_i64);
    http.entity(&update).await;
    let mut stale = one(json!({ "plan": "early", "city": "Paris" }));
    stale["timestamp"] = json!(3_000_000_000_i64);
    http.entity(&stale).await;
    let person = sim.person_by_id("1").expect("stored");
    assert_eq!((person.attributes["plan"].as_str(), person.timestamps["plan"]), ("late", 4_000_000_000));
    assert_eq!((person.attributes["city"].as_str(), person.timestamps["city"]), ("Paris", 3_000_000_000));
    assert_eq!(sim.stats().silent_failures, 1);
    assert!(sim.activities().iter().any(|activity| activity.kind == ActivityKind::SkippedUpdate));
}

#[tokio::test]
async fn consent() {
    for (value, unsubscribed, lints) in [
        (json!(true), true, 0),
        (json!("TRUE"), true, 0),
        (json!(1), true, 0),
        (json!("1"), true, 0),
        (json!(false), false, 1),
        (json!("no"), false, 1),
        (json!(null), false, 1),
    ] {
        let sim = roomy()
            .with_person(PersonSeed::with_id("1").attribute("unsubscribed", true))
            .start()
            .await
            .expect("starts");
        Http::to(&sim).entity(&one(json!({ "unsubscribed": value }))).await;
        assert_eq!(sim.person_by_id("1").expect("stored").unsubscribed, unsubscribed, "{value}");
        let resubscribes = sim.lints().iter().filter(|lint| lint.kind == LintKind::Resubscribes).count();
        assert_eq!(resubscribes, lints, "{value}");
    }
}

#[tokio::test]
async fn single_preferences_and_all_of_them() {
    let sim = with_one().await;
    let http = Http::to(&sim);
    let preferences = || sim.person_by_id("1").expect("stored").values["cio_subscription_preferences"].clone();
    http.entity(&one(json!({ "cio_subscription_preferences.topics.topic_1": true }))).await;
    http.entity(&one(json!({
        "cio_subscription_preferences.topics.topic_2": false, "cio_subscription_preferences.channels.email": true,
    })))
    .await;
    assert_eq!(
        preferences(),
        json!({ "topics": { "topic_1": true, "topic_2": false }, "channels": { "email": true } })
    );
    http.entity(&one(json!({ "cio_subscription_preferences.topics.topic_1": null }))).await;
    assert_eq!(preferences()["topics"], json!({ "topic_2": false }));
    assert!(sim.lints().is_empty());
    http.entity(&one(json!({ "cio_subscription_preferences": { "topics": { "topic_9": true } } }))).await;
    assert_eq!(preferences(), json!({ "topics": { "topic_9": true } }), "the whole is replaced");
    assert_eq!(sim.lints()[0].kind, LintKind::WholePreferences);
}

#[tokio::test]
async fn what_a_careful_client_does_not_send() {
    for (attributes, kind, field) in [
        (json!({ "created_at": 1_700_000_000_000_i64 }), LintKind::TimeInMilliseconds, "attributes.created_at"),
        (json!({ "created_at": "1700000000000" }), LintKind::TimeInMilliseconds, "attributes.created_at"),
        (json!({ "created_at": "2026-01-01T00:00:00Z" }), LintKind::TimeAsText, "attributes.created_at"),
        (json!({ "_timestamp": 1 }), LintKind::UnknownUnderscoreName, "attributes._timestamp"),
        (json!({ "city": "" }), LintKind::ClearedByEmptyText, "attributes.city"),
        (json!({ "cio_id": "a3000001" }), LintKind::ReadOnlyName, "attributes.cio_id"),
        (json!({ "_created_in_customerio_at": 1 }), LintKind::ReadOnlyName, "attributes._created_in_customerio_at"),
        (json!({ "plan": "pro" }), LintKind::UnchangedValue, "plan"),
    ] {
        let sim = with_one().await;
        Http::to(&sim).entity(&one(attributes.clone())).await;
        let lints: Vec<_> = sim.lints().into_iter().map(|lint| (lint.kind, lint.field)).collect();
        assert_eq!(lints, [(kind, field.to_owned())], "{attributes}");
    }
    let sim = with_one().await;
    let http = Http::to(&sim);
    let fine = json!({ "created_at": 1_700_000_000, "unsubscribed": true, "city": null, "_update": true });
    http.entity(&one(fine)).await;
    assert!(sim.lints().is_empty(), "{:?}", sim.lints());
    let event =
        |id: &str| json!({ "type": "person", "action": "event", "identifiers": { "id": "1" }, "name": "n", "id": id });
    http.entity(&event("01HB4HBDKTFWYZCK01DMRSWRFD")).await;
    assert!(sim.lints().is_empty());
    http.entity(&event("order-1")).await;
    assert_eq!(sim.lints()[0].kind, LintKind::EventIdNoUlid);
    assert!(!format!("{:?}", sim.lints()).contains("order-1"), "a lint holds no value");
}

#[tokio::test]
async fn names_of_the_service_cannot_be_set() {
    let sim = with_one().await;
    let cio_id = sim.person_by_id("1").expect("seeded").cio_id;
    let call = one(json!({ "cio_id": "a3000001", "_last_emailed": 5, "anonymous_id": "anon" }));
    Http::to(&sim).entity(&call).await;
    Http::to(&sim).entity(&identify(json!({ "id": "2" }), json!({ "anonymous_id": "anon" }))).await;
    let person = sim.person_by_id("1").expect("stored");
    assert_eq!((person.cio_id, person.attributes.get("_last_emailed")), (cio_id, None));
    assert_eq!(person.attributes["anonymous_id"], "anon");
    assert!(!sim.person_by_id("2").expect("stored").attributes.contains_key("anonymous_id"), "it is unique");
    let failed: Vec<String> = super::harness::failed_changes(&sim).into_iter().map(|(name, _)| name).collect();
    assert_eq!(failed, ["_last_emailed", "anonymous_id"]);
}

/// The situations of a recorded session with a workspace that knows people by `id` only: after each call, what a read
/// shows and since when.
#[tokio::test]
async fn a_session_with_ids_only() {
    let clock = ManualClock::new();
    let builder = roomy().with_mode(WorkspaceMode::IdOnly).with_clock(Arc::new(clock.clone()));
    let sim = builder.start().await.expect("the simulator starts");
    let (http, app) = (Http::to(&sim), Http::to_app(&sim));
    let start = 1_704_067_200_u64;
    // Second of the call; id; body, or none for a deletion; attributes with their seconds, or none for a 404.
    let steps: Vec<(u64, &str, Option<Value>, Option<Value>)> = vec![
        (0, "roo", None, None),
        (10, "roo", Some(json!({})), Some(json!({ "id": ["roo", 10] }))),
        (
            20,
            "roo",
            Some(json!({ "email": "r@example.com", "name": "Roo K", "age": 30 })),
            Some(
                json!({ "id": ["roo", 10], "email": ["r@example.com", 20], "name": ["Roo K", 20], "age": ["30", 20] }),
            ),
        ),
        (
            30,
            "roo",
            Some(json!({ "created_at": 1_614_034_983, "email": "n@example.com", "name": "Roo K" })),
            Some(json!({ "id": ["roo", 10], "email": ["n@example.com", 30], "name": ["Roo K", 20], "age": ["30", 20],
                "created_at": ["1614034983", 30] })),
        ),
        (
            40,
            "roo",
            Some(
                json!({ "name": "Roo K", "email": null, "age": null, "created_at": null, "In A": true, "In B": true }),
            ),
            Some(json!({ "id": ["roo", 10], "name": ["Roo K", 20], "In A": ["true", 40], "In B": ["true", 40] })),
        ),
        (
            50,
            "roo",
            Some(json!({ "In A": true, "In B": null })),
            Some(json!({ "id": ["roo", 10], "name": ["Roo K", 20], "In A": ["true", 40] })),
        ),
        (
            60,
            "new",
            Some(json!({ "email": "r@example.com" })),
            Some(json!({ "id": ["new", 60], "email": ["r@example.com", 60] })),
        ),
        (
            70,
            "another",
            Some(json!({ "email": "r@example.com" })),
            Some(json!({ "id": ["another", 70], "email": ["r@example.com", 70] })),
        ),
        (80, "roo", None, None),
        (
            90,
            "roo",
            Some(json!({ "email": "n@example.com" })),
            Some(json!({ "id": ["roo", 90], "email": ["n@example.com", 90] })),
        ),
    ];
    let mut now = 0;
    for (second, id, body, expected) in steps {
        clock.advance(Duration::from_secs(second - now));
        now = second;
        match body {
            Some(body) => http.identify_v1(id, &body).await,
            None => assert_eq!(http.delete(&format!("/api/v1/customers/{id}")).await.text, "{}\n"),
        }
        let reply = app.get(&format!("/v1/customers/{id}/attributes")).await;
        let Some(expected) = expected else {
            assert_eq!(reply.status, 404, "second {second}");
            continue;
        };
        let customer = reply.json()["customer"].clone();
        let mut shown = serde_json::Map::new();
        for (name, value) in customer["attributes"].as_object().expect("attributes") {
            let since = customer["timestamps"][name].as_u64().expect("every attribute has a time") - start;
            shown.insert(name.clone(), json!([value, since]));
        }
        assert!(shown.remove("cio_id").is_some());
        assert_eq!(Value::Object(shown), expected, "second {second}");
        assert_eq!(
            (&customer["id"], &customer["unsubscribed"], &customer["devices"]),
            (&json!(id), &json!(false), &json!([]))
        );
    }
    assert_eq!(sim.stats().silent_failures, 0);
}
