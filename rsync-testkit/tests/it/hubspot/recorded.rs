//! Recorded answers of the real service: the simulator's answer to the same situation must have the same keys.
//!
//! The recordings are no part of this repository. Without them the tests say so and pass.

use std::collections::BTreeSet;

use rsync_testkit::adapter::shared_data;
use rsync_testkit::sim::hubspot::{HubSpotSim, Seed, TokenSeed};
use serde_json::{Value, json};

use super::harness::{Http, roomy};

const CREATE: &str = "/crm/v3/objects/contacts/batch/create";
const UPDATE: &str = "/crm/v3/objects/contacts/batch/update";

/// A recorded body, if the recordings are there.
fn recorded(name: &str) -> Option<Value> {
    let folder = shared_data("wire/hubspot")?;
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("cannot read {name}: {e}"));
    Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name} is no JSON: {e}")))
}

/// Every path of keys in a document; entries of a list share theirs.
fn key_paths(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, paths: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let path = format!("{path}/{key}");
                    walk(value, &path, paths);
                    paths.insert(path);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, &format!("{path}[]"), paths)),
            _ => {}
        }
    }
    let mut paths = BTreeSet::new();
    walk(value, "", &mut paths);
    paths
}

fn assert_same_keys(name: &str, recorded: &Value, ours: &Value) {
    assert_eq!(key_paths(recorded), key_paths(ours), "{name}: recorded left, simulated right");
}

async fn contacts() -> HubSpotSim {
    roomy()
        .with_record("contacts", [("email", "ada@example.com"), ("firstname", "Ada"), ("lastname", "L")])
        .with_record("contacts", [("email", "bob@example.com"), ("firstname", "Bob"), ("lastname", "B")])
        .start()
        .await
        .expect("the simulator starts")
}

fn named(email: &str) -> Value {
    json!({ "properties": { "email": email, "firstname": "F", "lastname": "L" } })
}

fn traced(trace: &str, email: &str) -> Value {
    let mut input = named(email);
    input["objectWriteTraceId"] = json!(trace);
    input
}

fn renamed(id: &str) -> Value {
    json!({ "id": id, "properties": { "firstname": "F", "lastname": "L" } })
}

#[tokio::test]
async fn batch_answers() {
    let first = "171591000001";
    let wrong = json!({ "properties": { "first000name": "F", "last000name": "L" } });
    for (name, path, inputs, status) in [
        ("batch-create-contacts-success.json", CREATE, json!([named("c@example.com"), named("d@example.com")]), 201),
        ("batch-create-contacts-err-conflict.json", CREATE, json!([named("ada@example.com")]), 409),
        ("batch-create-contacts-err-many-invalid-properties.json", CREATE, json!([wrong, wrong]), 400),
        ("batch-update-contacts-success.json", UPDATE, json!([renamed(first), renamed("171591000002")]), 200),
        ("batch-update-contacts-err-duplicate-ids.json", UPDATE, json!([renamed(first), renamed(first)]), 400),
        ("batch-update-contacts-err-partial-success.json", UPDATE, json!([renamed(first), renamed("unknown")]), 207),
    ] {
        let Some(recorded) = recorded(name) else { return };
        let sim = contacts().await;
        let reply = Http::to(&sim).post(path, &json!({ "inputs": inputs })).await;
        assert_eq!(reply.status, status, "{name}: {}", reply.text);
        assert_same_keys(name, &recorded, &reply.json());
    }
}

#[tokio::test]
async fn the_list_of_errors_is_cut_like_the_recorded_one() {
    let Some(recorded) = recorded("batch-create-contacts-err-many-invalid-properties.json") else { return };
    let sim = contacts().await;
    let wrong = json!({ "properties": { "first000name": "F", "last000name": "L" } });
    let ours = Http::to(&sim).post(CREATE, &json!({ "inputs": [wrong, wrong] })).await.json();
    let listed = |body: &Value| body["errors"].as_array().map(Vec::len);
    let embedded = |body: &Value| {
        let message = body["message"].as_str().expect("a message");
        let json = message.strip_prefix("Property values were not valid: ").expect("the known beginning");
        serde_json::from_str::<Value>(json).expect("embedded JSON").as_array().map(Vec::len)
    };
    assert_eq!((listed(&ours), embedded(&ours)), (listed(&recorded), embedded(&recorded)));
}

#[tokio::test]
async fn a_partial_create() {
    let name = "batch-create-contacts-err-partial-success.json";
    let Some(mut recorded) = recorded(name) else { return };
    let sim = contacts().await;
    let inputs = json!([traced("0", "ada@example.com"), traced("1", "c@example.com")]);
    let mut ours = Http::to(&sim).post(CREATE, &json!({ "inputs": inputs })).await.json();
    // This recording shows four properties where the recorded full success shows all of the system's: the
    // properties follow the full success, everything around them this one.
    for body in [&mut recorded, &mut ours] {
        body["results"][0]["properties"] = json!({});
    }
    assert_same_keys(name, &recorded, &ours);
}

#[tokio::test]
async fn refusals() {
    let (Some(scopes), Some(kind)) = (recorded("err-missing-scopes.json"), recorded("err-unknown-object-type.json"))
    else {
        return;
    };
    let seed = Seed {
        tokens: vec![TokenSeed { token: "narrow".to_owned(), scopes: vec![], expires_at_ms: None }],
        ..Seed::default()
    };
    let sim = roomy().with_seed(seed).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let reply = http.get("/crm/v3/objects/contacts").await;
    assert_eq!(reply.status, 403);
    assert_same_keys("missing scopes", &scopes, &reply.json());
    let reply = http.get("/crm/v3/objects/butterflies").await;
    assert_eq!(reply.status, 400);
    assert_same_keys("unknown type", &kind, &reply.json());
    assert_eq!(kind["message"], reply.json()["message"]);
}

#[tokio::test]
async fn property_definitions() {
    let (Some(created), Some(listed)) =
        (recorded("properties-batch-create-ok.json"), recorded("properties-contacts-sampled.json"))
    else {
        return;
    };
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let own = |name: &str, kind: &str, field_type: &str, options: Value| json!({ "name": name, "label": name, "type": kind, "fieldType": field_type, "groupName": "integrationcreatedproperties", "options": options });
    let option = json!({ "label": "art", "value": "art", "description": "art", "displayOrder": 1, "hidden": false });
    let inputs = json!([
        own("age__c", "number", "number", json!([])),
        own("interests__c", "enumeration", "select", json!([option]))
    ]);
    let ours = http.post("/crm/v3/properties/contacts/batch/create", &json!({ "inputs": inputs })).await;
    assert_eq!(ours.status, 201, "{}", ours.text);
    assert_same_keys("batch create", &created, &ours.json());

    let ours = http.get("/crm/v3/properties/contacts").await.json();
    let of = |body: &Value, name: &str| {
        body["results"].as_array().expect("results").iter().find(|p| p["name"] == name).expect("defined").clone()
    };
    for (recorded_name, our_name) in [
        ("address", "address"),
        ("mobilephone", "mobilephone"),
        ("associatedcompanyid", "associatedcompanyid"),
        ("hs_associated_target_accounts", "hs_associated_target_accounts"),
        ("hs_notes_last_activity", "hs_notes_last_activity"),
        ("hobby__c", "age__c"),
    ] {
        assert_same_keys(recorded_name, &of(&listed, recorded_name), &of(&ours, our_name));
    }
}

#[tokio::test]
async fn associations() {
    let (Some(created), Some(partial)) =
        (recorded("associations-v4-ok.json"), recorded("associations-v4-err-207.json"))
    else {
        return;
    };
    let sim = roomy()
        .with_record("contacts", [("email", "ada@example.com")])
        .with_record("companies", [("name", "A")])
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let id = "171591000001";
    let pair = |from: &str, to: &str, kind: u32| json!({ "from": { "id": from }, "to": { "id": to }, "types": [{ "associationCategory": "HUBSPOT_DEFINED", "associationTypeId": kind }] });
    let ours = http
        .post("/crm/v4/associations/contacts/companies/batch/create", &json!({ "inputs": [pair(id, id, 279)] }))
        .await;
    assert_eq!(ours.status, 201, "{}", ours.text);
    assert_same_keys("associations", &created, &ours.json());
    let inputs = json!({ "inputs": [pair("unknown_id", id, 449), pair(id, id, 449)] });
    let ours = http.post("/crm/v4/associations/contacts/contacts/batch/create", &inputs).await;
    assert_eq!(ours.status, 207, "{}", ours.text);
    assert_same_keys("associations, none made", &partial, &ours.json());
    assert_eq!(ours.json()["errors"][0]["message"], "unknown_id is not a valid ID");
}
