//! Schemas of custom objects, groups of properties, limits of options.

use std::sync::Arc;
use std::time::Duration;

use rsync_core::memory::ManualClock;
use rsync_testkit::sim::hubspot::{CustomObjectSeed, PropertySeed, Quirks, UnknownGroups};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, prompt, roomy};

const SCHEMAS: &str = "/crm-object-schemas/v3/schemas";

fn boat() -> Value {
    json!({
        "name": "Boat",
        "labels": { "singular": "Boat", "plural": "Boats" },
        "primaryDisplayProperty": "title",
        "requiredProperties": ["hull"],
        "searchableProperties": ["title"],
        "properties": [
            { "name": "title", "label": "Title", "type": "string", "fieldType": "text" },
            { "name": "hull", "label": "Hull", "type": "string", "fieldType": "text", "hasUniqueValue": true },
        ],
        "associatedObjects": ["CONTACT"],
    })
}

#[tokio::test]
async fn a_schema_makes_an_object_that_takes_records_and_associations() {
    for path in
        [SCHEMAS, "/crm/v3/schemas", "/crm-object-schemas/2026-03/schemas", "/crm-object-schemas/2026-09/schemas"]
    {
        let sim =
            roomy().with_record("contacts", [("email", "a@example.com")]).start().await.expect("the simulator starts");
        let http = Http::to(&sim);
        let made = http.post(path, &boat()).await;
        assert_eq!(made.status, 201, "{path}: {}", made.text);
        let type_id = made.json()["objectTypeId"].as_str().expect("an id").to_owned();
        assert!(type_id.starts_with("2-"), "{type_id}");
        assert_parts(
            path,
            &made.json(),
            &[
                ("/fullyQualifiedName", json!("p4511_Boat")),
                ("/requiredProperties", json!(["hull"])),
                ("/labels/plural", json!("Boats")),
                ("/associations/0/toObjectTypeId", json!("0-1")),
            ],
        );
        let input = |hull: &str, properties: Value| json!({ "id": hull, "idProperty": "hull", "objectWriteTraceId": hull, "properties": properties });
        let inputs =
            json!({ "inputs": [input("h1", json!({ "title": "A" })), input("h2", json!({ "no_such": "A" }))] });
        let written = http.post(&format!("/crm/v3/objects/{type_id}/batch/upsert"), &inputs).await;
        assert_eq!(written.status, 207, "{}", written.text);
        let boat = sim.record_by(&type_id, "hull", "h1").expect("stored").id;
        let contact = sim.records("contacts")[0].id.clone();
        let associated = format!("/crm/v4/objects/p4511_boat/{boat}/associations/default/contacts/{contact}");
        assert_eq!(http.put(&associated, &Value::Null).await.status, 200);
        assert_eq!(sim.associations("contacts", &contact, &type_id).len(), 1);
        assert_eq!(http.get(&format!("{path}/{type_id}")).await.status, 200);
        assert_eq!(http.get(path).await.json()["results"].as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn three_fields_make_a_schema_and_wrong_ones_are_refused() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let with = |changes: Value| {
        let mut body = boat();
        for (key, value) in changes.as_object().expect("an object") {
            body[key] = value.clone();
        }
        body
    };
    for (body, status) in [
        (json!({ "name": "plain", "labels": {}, "primaryDisplayProperty": "title" }), 201),
        (json!({ "name": "x", "labels": {} }), 400),
        (json!({ "name": "x", "primaryDisplayProperty": "title" }), 400),
        (json!({ "labels": {}, "primaryDisplayProperty": "title" }), 400),
        (with(json!({ "name": "1boat" })), 400),
        (with(json!({ "name": "my boat" })), 400),
        (with(json!({ "name": "b".repeat(51) })), 400),
        (with(json!({ "name": "contacts" })), 409),
        (with(json!({ "name": "PLAIN" })), 409),
        (with(json!({ "requiredProperties": ["no_such"] })), 400),
        (with(json!({ "associatedObjects": ["no_such"] })), 400),
        (with(json!({ "name": "b".repeat(50) })), 201),
    ] {
        let reply = http.post(SCHEMAS, &body).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text);
    }
    assert_eq!(http.get(&format!("{SCHEMAS}/2-9")).await.status, 404);
    assert_eq!(http.get(&format!("{SCHEMAS}/contacts")).await.status, 404, "standard objects have none here");
}

#[tokio::test]
async fn a_changed_schema_shows_after_a_while_but_holds_at_once() {
    let clock = ManualClock::new();
    let sim = roomy()
        .with_quirks(Quirks { schema_lag_ms: 70_000, ..prompt() })
        .with_clock(Arc::new(clock.clone()))
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let type_id = http.post(SCHEMAS, &boat()).await.json()["objectTypeId"].as_str().expect("an id").to_owned();
    let path = format!("{SCHEMAS}/{type_id}");
    let change = json!({ "requiredProperties": [], "labels": { "plural": "Fleet" } });
    assert_eq!(http.patch(&path, &change).await.status, 200);
    for (after_s, plural) in [(0, "Boats"), (69, "Boats"), (1, "Fleet")] {
        clock.advance(Duration::from_secs(after_s));
        assert_eq!(http.get(&path).await.json()["labels"]["plural"], plural, "after {after_s} s more");
    }
    let bare = http.post(&format!("/crm/v3/objects/{type_id}"), &json!({ "properties": {} })).await;
    assert_eq!(bare.status, 201, "{}", bare.text);
    assert_eq!(http.patch(&path, &json!({ "searchableProperties": ["no_such"] })).await.status, 400);
}

#[tokio::test]
async fn a_schema_with_records_cannot_be_deleted() {
    let cars = CustomObjectSeed {
        name: "cars".to_owned(),
        type_number: 7,
        properties: vec![PropertySeed::unique_text("vin")],
        required_properties: Vec::new(),
    };
    let sim = roomy()
        .with_custom_object(cars)
        .with_record("cars", [("vin", "1")])
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let refused = http.delete(&format!("{SCHEMAS}/2-7")).await;
    assert_eq!(
        (refused.status, &refused.json()["subCategory"]),
        (400, &json!("ObjectSchemaError.EXISTING_OBJECT_RECORDS"))
    );
    let id = sim.records("cars")[0].id.clone();
    http.delete(&format!("/crm/v3/objects/2-7/{id}")).await;
    assert_eq!(http.delete(&format!("{SCHEMAS}/2-7")).await.status, 204);
    assert_eq!(http.get("/crm/v3/objects/2-7").await.status, 400, "its records cannot be reached");
    assert_eq!(http.get(SCHEMAS).await.json(), json!({ "results": [] }));
    assert_eq!(http.get(&format!("{SCHEMAS}?archived=true")).await.json()["results"][0]["name"], "cars");
}

#[tokio::test]
async fn properties_belong_to_groups_that_exist() {
    for (unknown_groups, status) in [(UnknownGroups::Refused, 400), (UnknownGroups::Accepted, 201)] {
        let sim =
            roomy().with_quirks(Quirks { unknown_groups, ..prompt() }).start().await.expect("the simulator starts");
        let http = Http::to(&sim);
        let groups = "/crm/v3/properties/contacts/groups";
        let property = |name: &str| json!({ "name": name, "label": name, "type": "string", "fieldType": "text", "groupName": "scores" });
        let path = "/crm/v3/properties/contacts";
        assert_eq!(http.post(path, &property("a")).await.status, status, "{unknown_groups:?}");
        assert_eq!(http.get(&format!("{groups}/scores")).await.status, 404);
        let made = http.post(groups, &json!({ "name": "scores", "label": "Scores" })).await;
        assert_eq!((made.status, &made.json()["label"]), (201, &json!("Scores")));
        assert_eq!(http.post(groups, &json!({ "name": "scores", "label": "Scores" })).await.status, 409);
        assert_eq!(http.post(groups, &json!({ "name": "Not Good", "label": "x" })).await.status, 400);
        assert_eq!(http.post(path, &property("b")).await.status, 201);
        let listed = http.get(groups).await.json();
        let names: Vec<&str> =
            listed["results"].as_array().expect("results").iter().filter_map(|group| group["name"].as_str()).collect();
        assert_eq!(names, ["contactinformation", "integrationcreatedproperties", "scores"]);
    }
}

#[tokio::test]
async fn options_have_limits() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let property = |name: &str, options: Vec<Value>| json!({ "name": name, "label": name, "type": "enumeration", "fieldType": "select", "groupName": "contactinformation", "options": options });
    let option = |value: String| json!({ "label": value, "value": value });
    let numbered = |count: usize| (0..count).map(|i| option(format!("o{i}"))).collect::<Vec<_>>();
    for (name, options, status) in [
        ("most", numbered(5_000), 201),
        ("too_many", numbered(5_001), 400),
        ("long", vec![option("x".repeat(3_000))], 201),
        ("too_long", vec![option("x".repeat(3_001))], 400),
        ("too_large", (0..100).map(|i| option(format!("{i:03}{}", "x".repeat(2_900)))).collect(), 400),
    ] {
        let reply = http.post("/crm/v3/properties/contacts", &property(name, options)).await;
        assert_eq!(reply.status, status, "{name}");
    }
}
