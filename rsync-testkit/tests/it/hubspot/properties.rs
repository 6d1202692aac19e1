//! Property definitions.

use std::sync::Arc;
use std::time::Duration;

use rsync_core::memory::ManualClock;
use rsync_testkit::sim::hubspot::{PropertySeed, Quirks};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, prompt, roomy};

const CONTACTS: &str = "/crm/v3/properties/contacts";

fn text(name: &str) -> Value {
    json!({ "name": name, "label": name, "type": "string", "fieldType": "text", "groupName": "contactinformation" })
}

#[tokio::test]
async fn definitions_tell_what_can_be_written() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let all = http.get(CONTACTS).await.json();
    let of = |name: &str| {
        let results = all["results"].as_array().expect("results");
        results.iter().find(|p| p["name"] == name).unwrap_or_else(|| panic!("{name} is defined")).clone()
    };
    for (name, kind, unique, read_only) in [
        ("email", "string", false, false),
        ("external_id", "string", true, false),
        ("hs_unique_creation_key", "string", true, true),
        ("hs_object_id", "number", false, true),
        ("lastmodifieddate", "datetime", false, true),
        ("hs_marketable_status", "enumeration", false, true),
        ("hs_notes_last_activity", "object_coordinates", false, true),
    ] {
        assert_parts(
            name,
            &of(name),
            &[
                ("/type", json!(kind)),
                ("/hasUniqueValue", json!(unique)),
                ("/modificationMetadata/readOnlyValue", json!(read_only)),
            ],
        );
    }
    assert_eq!(of("lifecyclestage")["options"][1]["value"], "lead");
    assert_eq!(of("hubspot_owner_id")["referencedObjectType"], "OWNER");
    let sensitive = http.get(&format!("{CONTACTS}?dataSensitivity=sensitive")).await.json();
    assert_eq!(sensitive["results"], json!([]));
    assert_eq!(http.get(&format!("{CONTACTS}/no_such")).await.status, 404);
    assert_eq!(sim.stats().definition_read_requests, 3);
}

#[tokio::test]
async fn definitions_are_created_changed_and_archived() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let created = http.post(CONTACTS, &text("score")).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.header("location"), Some("/crm/v3/properties/contacts/score"));
    let again = http.post(CONTACTS, &text("score")).await;
    assert_eq!(again.status, 409);
    assert_parts(
        "exists",
        &again.json(),
        &[
            ("/category", json!("OBJECT_ALREADY_EXISTS")),
            ("/subCategory", json!("Properties.PROPERTY_WITH_NAME_EXISTS")),
        ],
    );
    // What the real service ignores is ignored: uniqueness is fixed at creation.
    let changed = http.patch(&format!("{CONTACTS}/score"), &json!({ "label": "Score", "hasUniqueValue": true })).await;
    assert_parts("changed", &changed.json(), &[("/label", json!("Score")), ("/hasUniqueValue", json!(false))]);

    let id = sim.add_record("contacts", [("email", "ada@example.com"), ("score", "7")]).expect("a valid record");
    assert_eq!(http.delete(&format!("{CONTACTS}/score")).await.status, 204);
    assert_eq!(http.get(&format!("{CONTACTS}/score")).await.status, 404);
    assert_eq!(http.get(&format!("{CONTACTS}/score?archived=true")).await.status, 200);
    let write = http.patch(&format!("/crm/v3/objects/contacts/{id}"), &json!({ "properties": { "score": "8" } })).await;
    assert_parts("archived", &write.json(), &[("/errors/0/code", json!("PROPERTY_DOESNT_EXIST"))]);
    assert_eq!(http.post(CONTACTS, &text("score")).await.status, 201, "creation restores an archived property");
    let read = http.get(&format!("/crm/v3/objects/contacts/{id}?properties=score")).await.json();
    assert_eq!(read["properties"]["score"], "7", "with the values it had");
}

#[tokio::test]
async fn bad_definitions_are_refused() {
    let sim = roomy()
        .with_property("contacts", PropertySeed { in_use: true, ..PropertySeed::text("used") })
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let with = |changes: Value| {
        let mut body = text("fresh");
        for (key, value) in changes.as_object().expect("an object") {
            body[key] = value.clone();
        }
        body
    };
    for (name, body, sub_category) in [
        ("no label", json!({ "name": "x", "type": "string", "fieldType": "text", "groupName": "g" }), Value::Null),
        ("name", with(json!({ "name": "Not Good" })), Value::Null),
        ("type", with(json!({ "type": "varchar" })), Value::Null),
        ("field type", with(json!({ "fieldType": "select" })), Value::Null),
        ("enumeration without options", with(json!({ "type": "enumeration", "fieldType": "select" })), Value::Null),
        (
            "boolean without its options",
            with(
                json!({ "type": "bool", "fieldType": "booleancheckbox", "options": [{ "label": "Yes", "value": "yes" }] }),
            ),
            json!("PropertyValidationError.INVALID_BOOLEAN_OPTION"),
        ),
    ] {
        let reply = http.post(CONTACTS, &body).await;
        assert_eq!(reply.status, 400, "{name}: {}", reply.text);
        assert_parts(name, &reply.json(), &[("/category", json!("VALIDATION_ERROR")), ("/subCategory", sub_category)]);
    }
    for name in ["used", "email"] {
        let reply = http.delete(&format!("{CONTACTS}/{name}")).await;
        assert_eq!(reply.status, 400, "{name}");
        let code = json!("PropertyValidationError.CANNOT_DELETE_PROPERTY_IN_USE");
        assert_parts(name, &reply.json(), &[("/subCategory", code)]);
    }
    for i in 0..9 {
        let unique = with(json!({ "name": format!("key_{i}"), "hasUniqueValue": true }));
        assert_eq!(http.post(CONTACTS, &unique).await.status, 201, "with external_id this makes {}", i + 2);
    }
    let eleventh = with(json!({ "name": "key_9", "hasUniqueValue": true }));
    assert_eq!(http.post(CONTACTS, &eleventh).await.status, 400, "an object has at most ten unique properties");
}

#[tokio::test]
async fn batch_creation_answers_per_property() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let path = format!("{CONTACTS}/batch/create");
    assert_eq!(http.post(&path, &json!({ "inputs": [text("one"), text("two")] })).await.status, 201);
    let partly = http.post(&path, &json!({ "inputs": [text("two"), text("three")] })).await;
    assert_eq!(partly.status, 207);
    assert_parts(
        "partly",
        &partly.json(),
        &[
            ("/numErrors", json!(1)),
            ("/errors/0/category", json!("OBJECT_ALREADY_EXISTS")),
            ("/errors/0/context/name", json!(["two"])),
            ("/results/0/name", json!("three")),
        ],
    );
}

#[tokio::test]
async fn a_new_definition_shows_up_late() {
    let clock = ManualClock::new();
    let sim = roomy()
        .with_quirks(Quirks { definition_lag_ms: 250, ..prompt() })
        .with_clock(Arc::new(clock.clone()))
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    assert_eq!(http.post(CONTACTS, &text("late")).await.status, 201);
    assert_eq!(http.get(&format!("{CONTACTS}/late")).await.status, 404);
    clock.advance(Duration::from_millis(250));
    assert_eq!(http.get(&format!("{CONTACTS}/late")).await.status, 200);
}
