//! Endpoints about one record.

use rsync_testkit::sim::salesforce::{Quirks, SalesforceSim, SingleUpsertUpdate};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, org};

async fn start() -> SalesforceSim {
    org()
        .with_record("Account", [("Name", "Acme"), ("Ext__c", "a-1")])
        .with_record("Contact", [("LastName", "Lovelace"), ("FirstName", "Ada"), ("Ext__c", "c-1")])
        .with_record("Contact", [("LastName", "Babbage"), ("Email", "same@example.com")])
        .with_record("Contact", [("LastName", "Bell"), ("Email", "same@example.com")])
        .start()
        .await
        .expect("the simulator starts")
}

#[tokio::test]
async fn a_record_comes_and_goes() {
    let sim = start().await;
    let http = Http::to(&sim);
    let created = http.post("/sobjects/contact/", &json!({ "LastName": "New", "IsEmailBounced": null })).await;
    assert_eq!((created.status, created.code().as_str()), (400, "INVALID_TYPE_ON_FIELD_IN_RECORD"));
    let created = http.post("/sobjects/Contact", &json!({ "LastName": "New", "Ext__c": "n" })).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let body = created.json();
    let id = body["id"].as_str().expect("an id").to_owned();
    assert_eq!(body, json!({ "id": id, "success": true, "errors": [] }));
    let path = format!("/sobjects/Contact/{id}");

    let changed = http.patch(&path, &json!({ "FirstName": "N", "attributes": { "type": "Contact" } })).await;
    assert_eq!((changed.status, changed.text.as_str()), (204, ""));
    let read = http.get(&path).await;
    assert_parts(
        "record",
        &read.json(),
        &[
            ("/attributes/type", json!("Contact")),
            ("/attributes/url", json!(format!("/services/data/v66.0{path}"))),
            ("/Id", json!(id)),
            ("/Name", json!("N New")),
            ("/Title", Value::Null),
            ("/IsDeleted", json!(false)),
            ("/OwnerId", json!(sim.records("User")[0].id)),
        ],
    );
    let created_at = read.json()["CreatedDate"].as_str().expect("a time").to_owned();
    assert!(created_at.ends_with("+0000") && created_at.len() == 28, "{created_at}");
    let fields = http.get(&format!("{path}?fields=lastname,%20Title")).await.json();
    let keys: Vec<&String> = fields.as_object().expect("a record").keys().collect();
    assert_eq!(keys, ["Id", "LastName", "Title", "attributes"]);

    assert_eq!(http.delete(&path).await.status, 204);
    for reply in [http.delete(&path).await, http.get(&path).await, http.patch(&path, &json!({ "Title": "t" })).await] {
        let body = json!([{ "message": "entity is deleted", "errorCode": "ENTITY_IS_DELETED", "fields": [] }]);
        assert_eq!((reply.status, reply.json()), (404, body));
    }
}

#[tokio::test]
async fn refusals() {
    let sim = start().await;
    let http = Http::to(&sim);
    let id = sim.record_by("Contact", "Ext__c", "c-1").expect("seeded").id;
    let by_id = format!("/sobjects/Contact/{id}");
    for (path, body, status, code, fields) in [
        (by_id.as_str(), json!({ "Id": id }), 400, "INVALID_FIELD", Value::Null),
        (&by_id, json!({ "AccountNumer": 1 }), 400, "INVALID_FIELD", Value::Null),
        (&by_id, json!({ "MasterRecordId": id }), 400, "INVALID_FIELD_FOR_INSERT_UPDATE", json!(["MasterRecordId"])),
        (&by_id, json!({ "LastName": null }), 400, "REQUIRED_FIELD_MISSING", json!(["LastName"])),
        (&by_id, json!({ "Birthdate": "soon" }), 400, "JSON_PARSER_ERROR", Value::Null),
        ("/sobjects/Contact/003ak000000000zAAA", json!({}), 404, "NOT_FOUND", Value::Null),
        ("/sobjects/Contact/x", json!({}), 400, "MALFORMED_ID", json!([])),
        ("/sobjects/Nothing/x", json!({}), 404, "NOT_FOUND", Value::Null),
        ("/sobjects/Contact/Nope__c/x", json!({}), 404, "NOT_FOUND", Value::Null),
        ("/sobjects/Contact/Ext__c/c-1", json!({ "Ext__c": "c-1" }), 400, "INVALID_FIELD", Value::Null),
        ("/sobjects/Contact/Ext__c/a.json", json!({ "LastName": "L" }), 404, "NOT_FOUND", Value::Null),
        ("/sobjects/Contact/Ext__c/new?updateOnly=true", json!({ "LastName": "L" }), 404, "NOT_FOUND", Value::Null),
    ] {
        let reply = http.patch(path, &body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path} {body}: {}", reply.text);
        assert_eq!(reply.json()[0]["fields"], fields, "{path} {body}");
    }
    let repeated = http.patch("/sobjects/Contact/Ext__c/c-1", &json!({ "Ext__c": "c-1" })).await.json();
    assert_eq!(repeated[0]["message"], "The Ext__c field should not be specified in the sobject data.");
    assert_eq!(sim.records("Contact").len(), 3);
    assert_eq!(sim.stats().rows_written(), 0);
}

#[tokio::test]
async fn upsert_by_path() {
    let sim = start().await;
    let http = Http::to(&sim);
    for (value, fields, status, created) in [
        ("new", json!({ "LastName": "L" }), 201, true),
        ("NEW", json!({ "Title": "t" }), 200, false),
        ("a%2Fb%20c%3F%25%2B%26%3D", json!({ "LastName": "L" }), 201, true),
        ("a+b", json!({ "LastName": "L" }), 201, true),
    ] {
        let reply = http.patch(&format!("/sobjects/Contact/Ext__c/{value}"), &fields).await;
        assert_eq!((reply.status, &reply.json()["created"]), (status, &json!(created)), "{value}: {}", reply.text);
    }
    for key in ["NEW", "a/b c?%+&=", "a+b"] {
        assert!(sim.record_by("Contact", "Ext__c", key).is_some(), "{key}");
    }
    let read = http.get("/sobjects/Contact/Ext__c/a%2Fb%20c%3F%25%2B%26%3D?fields=Ext__c").await;
    assert_eq!(read.json()["Ext__c"], "a/b c?%+&=");
    assert_eq!(http.delete("/sobjects/Contact/Ext__c/new").await.status, 204);
    assert_eq!(http.get("/sobjects/Contact/Ext__c/new").await.status, 404);
}

#[tokio::test]
async fn an_ambiguous_value_names_its_records() {
    let sim = start().await;
    let http = Http::to(&sim);
    let reply = http.patch("/sobjects/Contact/Email/same@example.com", &json!({ "Title": "t" })).await;
    let records = sim.records("Contact");
    let urls: Vec<String> =
        records[1..].iter().map(|record| format!("/services/data/v66.0/sobjects/Contact/{}", record.id)).collect();
    assert_eq!((reply.status, reply.json()), (300, json!(urls)));
    assert_eq!(http.get("/sobjects/Contact/Email/same@example.com").await.status, 300);
    assert_eq!(sim.stats().rows_written(), 0);
}

#[tokio::test]
async fn an_update_by_upsert_may_say_nothing() {
    let quirks = Quirks { single_upsert_update: SingleUpsertUpdate::NoContent, ..Quirks::default() };
    let sim = org().with_quirks(quirks).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for (status, empty) in [(201, false), (204, true)] {
        let reply = http.patch("/sobjects/Account/Ext__c/a", &json!({ "Name": "A" })).await;
        assert_eq!((reply.status, reply.text.is_empty()), (status, empty));
    }
}

#[tokio::test]
async fn derived_values() {
    let sim = start().await;
    let http = Http::to(&sim);
    let case = http.post("/sobjects/Case", &json!({ "Subject": "S" })).await.json();
    let case = http.get(&format!("/sobjects/Case/{}", case["id"].as_str().expect("an id"))).await.json();
    assert_parts(
        "case",
        &case,
        &[("/CaseNumber", json!("00001000")), ("/Status", json!("New")), ("/Priority", json!("Medium"))],
    );
    let plan = http.post("/sobjects/Plan__c", &json!({ "Code__c": "p" })).await.json();
    let read = http.get(&format!("/sobjects/Plan__c/{}", plan["id"].as_str().expect("an id"))).await.json();
    assert_eq!(read["Name"], plan["id"], "a record without a name is called by its id");
}
