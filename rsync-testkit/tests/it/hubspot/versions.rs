//! Legacy and dated paths, type aliases, custom objects, required properties.

use std::collections::BTreeMap;

use rsync_testkit::sim::hubspot::{CustomObjectSeed, PropertySeed, Quirks, RequiredProperties, Seed};
use serde_json::json;

use super::harness::{Http, by_email, prompt, roomy};

#[tokio::test]
async fn every_version_has_its_own_paths() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for (path, status) in [
        ("/crm/v3/objects/contacts", 200),
        ("/crm/objects/2026-03/contacts", 200),
        ("/crm/objects/2026-09/contacts", 200),
        ("/crm/objects/v3/contacts", 200),
        ("/crm/v3/properties/contacts", 200),
        ("/crm/properties/2026-03/contacts", 200),
        ("/crm/properties/2026-09/contacts", 200),
        // A version put where the legacy one stood is no path.
        ("/crm/2026-09/objects/contacts", 404),
        ("/crm/2026-03/properties/contacts", 404),
        ("/crm/objects/2025-09/contacts", 404),
    ] {
        assert_eq!(http.get(path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn types_have_several_names() {
    let cars = CustomObjectSeed {
        name: "cars".to_owned(),
        type_number: 77,
        properties: vec![PropertySeed::unique_text("vin"), PropertySeed::text("model")],
        required_properties: vec!["model".to_owned()],
    };
    let sim = roomy().with_custom_object(cars).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for (segment, status) in [
        ("contacts", 200),
        ("Contact", 200),
        ("0-1", 200),
        ("COMPANY", 200),
        ("0-2", 200),
        ("deals", 200),
        ("0-3", 200),
        ("tickets", 200),
        ("0-5", 200),
        ("products", 200),
        ("0-7", 200),
        ("2-77", 200),
        ("p4511_cars", 200),
        ("P4511_CARS", 200),
        ("cars", 400),
        ("p1_cars", 400),
        ("butterflies", 400),
    ] {
        let reply = http.get(&format!("/crm/v3/objects/{segment}")).await;
        assert_eq!(reply.status, status, "{segment}");
        if status == 400 {
            let message = format!("Unable to infer object type from: {segment}");
            assert_eq!((&reply.json()["message"], reply.json().get("category")), (&json!(message), None));
        }
    }
    let upsert = |properties| json!({ "inputs": [{ "id": "v1", "idProperty": "vin", "properties": properties }] });
    let path = "/crm/v3/objects/2-77/batch/upsert";
    let refused = http.post(path, &upsert(json!({}))).await;
    assert_eq!(refused.status, 400, "the schema requires model");
    assert!(refused.text.contains("MISSING_REQUIRED_PROPERTY"), "{}", refused.text);
    assert_eq!(http.post(path, &upsert(json!({ "model": "T" }))).await.status, 200);
    assert_eq!(http.post(path, &upsert(json!({}))).await.status, 200, "an update need not repeat it");
    assert_eq!(sim.record_by("cars", "vin", "v1").map(|r| r.properties["model"].clone()), Some("T".to_owned()));
}

#[tokio::test]
async fn required_properties_depend_on_the_version() {
    let required = BTreeMap::from([("contacts".to_owned(), vec!["lastname".to_owned()])]);
    let seed = Seed { required_on_create: required, ..Seed::default() };
    let body = json!({ "inputs": [by_email("0", "a@example.com", json!({}))] });
    for (path, refused) in [
        ("/crm/v3/objects/contacts/batch/upsert", false),
        ("/crm/objects/2026-03/contacts/batch/upsert", false),
        ("/crm/objects/2026-09/contacts/batch/upsert", true),
    ] {
        let sim = roomy().with_seed(seed.clone()).start().await.expect("the simulator starts");
        let reply = Http::to(&sim).post(path, &body).await;
        assert_eq!(reply.json().get("numErrors").is_some(), refused, "{path}: {}", reply.text);
    }
    let quirks = Quirks { required_properties: RequiredProperties::Documented, ..prompt() };
    let sim = roomy().with_quirks(quirks).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for (object, properties, status) in [
        ("contacts", json!({ "city": "x" }), 400),
        ("contacts", json!({ "lastname": "x" }), 201),
        ("companies", json!({ "city": "x" }), 400),
        ("companies", json!({ "domain": "x.com" }), 201),
        ("deals", json!({ "dealname": "x" }), 400),
        ("deals", json!({ "dealname": "x", "dealstage": "closedwon", "pipeline": "default" }), 201),
    ] {
        let reply = http.post(&format!("/crm/v3/objects/{object}"), &json!({ "properties": properties })).await;
        assert_eq!(reply.status, status, "{object} {properties}: {}", reply.text);
    }
}
