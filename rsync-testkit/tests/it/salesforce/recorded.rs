//! Recorded answers of the real service: the simulator's answer to the same situation must have the same keys.
//!
//! The recordings are no part of this repository. Without them the tests say so and pass.

use std::collections::BTreeSet;

use reqwest::Method;
use rsync_testkit::adapter::shared_data;
use rsync_testkit::sim::salesforce::{BulkSettings, FieldSeed, JobFault, JobTrouble, SalesforceSim};
use serde_json::{Value, json};

use super::harness::{Http, org};
use super::jobs::{Bulk, patient};

/// A recorded body, if the recordings are there.
fn recorded(folder: &str, name: &str) -> Option<Value> {
    let folder = shared_data(&format!("wire/{folder}"))?;
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

/// Codes, messages and fields of all errors, of rows or of the request.
fn errors(body: &Value) -> Vec<(Value, Value, Value)> {
    let entries = body.as_array().into_iter().flatten();
    let listed = entries.flat_map(|entry| match entry["errors"].as_array() {
        Some(errors) => errors.clone(),
        None => vec![entry.clone()],
    });
    let code = |error: &Value| {
        if error["statusCode"].is_null() { error["errorCode"].clone() } else { error["statusCode"].clone() }
    };
    listed.map(|error| (code(&error), error["message"].clone(), error["fields"].clone())).collect()
}

async fn start() -> SalesforceSim {
    org()
        .with_record("Contact", [("LastName", "Dyer"), ("Ext__c", "a")])
        .with_record("Contact", [("LastName", "Blevins"), ("Ext__c", "b")])
        .start()
        .await
        .expect("the simulator starts")
}

#[tokio::test]
async fn collection_answers() {
    for (name, method, body, status) in [
        (
            "batch__create__contacts__success.json",
            Method::POST,
            recorded("salesforce", "batch__create__contacts__payload.json"),
            200,
        ),
        (
            "batch__create__contacts__partial-but-allOrNone.json",
            Method::POST,
            Some(json!({ "allOrNone": true, "records": [
                { "attributes": { "type": "Contact" }, "FirstName": "Siena" },
                { "attributes": { "type": "Contact" }, "LastName": "Blevins" },
            ] })),
            200,
        ),
        ("batch__create__contacts__err-bad-request.json", Method::POST, Some(json!({ "records": [] })), 400),
        (
            "batch__update__contacts__err-each-no-ids.json",
            Method::PATCH,
            recorded("salesforce", "batch__create__contacts__payload.json"),
            200,
        ),
        (
            "batch__update__contacts__partial-but-allOrNone.json",
            Method::PATCH,
            Some(json!({ "allOrNone": true, "records": [
                { "attributes": { "type": "Contact" }, "id": "FIRST", "FirstName": "Siena" },
                { "attributes": { "type": "Contact" }, "id": "SECOND", "unknownField_LastName": "Blevins" },
            ] })),
            200,
        ),
        (
            "batch__update__contacts__success.json",
            Method::PATCH,
            recorded("salesforce", "batch__update__contacts__payload.json"),
            200,
        ),
    ] {
        let (Some(recorded), Some(body)) = (recorded("salesforce", name), body) else { return };
        let sim = start().await;
        let records = sim.records("Contact");
        let body = body
            .to_string()
            .replace("003ak00000jvIfpAAE", &records[0].id)
            .replace("003ak00000jvIfqAAE", &records[1].id)
            .replace("FIRST", &records[0].id)
            .replace("SECOND", &records[1].id);
        let reply = Http::to(&sim).send(method, "/composite/sobjects", Some(body)).await.expect("an answer");
        assert_eq!(reply.status, status, "{name}: {}", reply.text);
        assert_same_keys(name, &recorded, &reply.json());
        assert_eq!(errors(&recorded), errors(&reply.json()), "{name}");
    }
}

#[tokio::test]
async fn single_record_answers() {
    let files = ["create-ok.json", "crm__delete__not-found.json", "invalid-field-upsert.json", "unknown-field.json"];
    let Some(bodies) = files.map(|name| recorded("salesforce", name)).into_iter().collect::<Option<Vec<_>>>() else {
        return;
    };
    let sim = start().await;
    let http = Http::to(&sim);
    let account = http.post("/sobjects/Account", &json!({ "Name": "Acme" })).await;
    assert_same_keys(files[0], &bodies[0], &account.json());
    let path = format!("/sobjects/Account/{}", account.json()["id"].as_str().expect("an id"));
    let read_only = http.patch(&path, &json!({ "MasterRecordId": "001ak0000000001AAA" })).await;
    let unknown = http.patch(&path, &json!({ "AccountNumer": "1" })).await;
    http.delete(&path).await;
    let deleted = http.delete(&path).await;
    for (name, recorded, ours) in
        [(files[1], &bodies[1], deleted), (files[2], &bodies[2], read_only), (files[3], &bodies[3], unknown)]
    {
        assert_same_keys(name, recorded, &ours.json());
        assert_eq!(errors(recorded), errors(&ours.json()), "{name}");
    }
}

#[tokio::test]
async fn query_answers() {
    let (Some(unknown), Some(read)) =
        (recorded("salesforce", "unknown-object.json"), recorded("salesforce", "read-opportunity-with-account.json"))
    else {
        return;
    };
    let sim = start().await;
    let http = Http::to(&sim);
    let ours = http.query("SELECT Id,Name,BillingCity,IsDeleted FROM Accout").await;
    assert_same_keys("unknown object", &unknown, &ours.json());
    let last = |body: &Value| body[0]["message"].as_str().and_then(|text| text.lines().last()).map(str::to_owned);
    assert_eq!(last(&ours.json()), last(&unknown));

    sim.add_record("Opportunity", [("Name", "O"), ("StageName", "Prospecting"), ("CloseDate", "2026-01-01")])
        .expect("added");
    let ours = http.query("SELECT Id, Name, AccountId, Amount, StageName FROM Opportunity").await;
    assert_same_keys("read", &read, &ours.json());
}

#[tokio::test]
async fn job_answers() {
    let names = [
        "bulk__write__launch-job-opportunity.json",
        "bulk__write__update-job-opportunity.json",
        "bulk__info__in-progress.json",
        "bulk__info__success.json",
        "bulk__info__partial-failure.json",
        "bulk__info__complete-failure.json",
        "bulk__delete__launch-job-opportunity.json",
        "bulk__delete__update-job-opportunity.json",
    ];
    let Some(bodies) = names.map(|name| recorded("salesforce", name)).into_iter().collect::<Option<Vec<_>>>() else {
        return;
    };
    let settings = BulkSettings { queue_ms: 1_000, chunk_ms: 1_000, ..BulkSettings::default() };
    let seed = patient(settings);
    let bulk =
        Bulk::start(org().with_seed(seed).with_field("Opportunity", FieldSeed::external_id("external_id__c"))).await;
    let jobs = "/services/data/v60.0/jobs/ingest";
    let check = |i: usize, ours: &Value| {
        assert_same_keys(names[i], &bodies[i], ours);
        for name in ["state", "operation", "object", "apiVersion", "concurrencyMode", "contentType", "errorMessage"] {
            assert_eq!(bodies[i][name], ours[name], "{}: {name}", names[i]);
        }
    };
    let make = async |operation: &str, csv: &str, first: usize| {
        let mut job = json!({ "object": "Opportunity", "operation": operation });
        if operation == "upsert" {
            job["externalIdFieldName"] = json!("external_id__c");
        }
        let created = bulk.http.post(jobs, &job).await.json();
        check(first, &created);
        let id = created["id"].as_str().expect("an id").to_owned();
        assert_eq!(bulk.upload(&id, csv).await.status, 201);
        let closed = bulk.http.patch(&format!("{jobs}/{id}"), &json!({ "state": "UploadComplete" })).await.json();
        check(first + 1, &closed);
        id
    };
    let info = async |id: &str| bulk.http.get(&format!("{jobs}/{id}")).await.json();
    let header = "Name,StageName,external_id__c,CloseDate\n";
    let row = |i: usize| format!("O{i},GENERATED,external-id-{i},2024-01-01\n");

    bulk.sim.fail_jobs(JobFault::new(JobTrouble::Stuck { after_rows: 2 }).times(1));
    let id = make("upsert", &format!("{header}{}{}{}", row(1), row(2), row(3)), 0).await;
    bulk.clock.advance(std::time::Duration::from_secs(60));
    check(2, &info(&id).await);

    let id = make("upsert", &format!("{header}{}", row(4)), 0).await;
    bulk.clock.advance(std::time::Duration::from_secs(60));
    check(3, &info(&id).await);

    let bad = "Noemi Miller,GENERATED,external-id-3,2003-04-987654321987654321\n";
    let id = make("upsert", &format!("{header}{}{bad}", row(5)), 0).await;
    bulk.clock.advance(std::time::Duration::from_secs(60));
    check(4, &info(&id).await);
    let failed = bulk.http.get(&format!("{jobs}/{id}/failedResults")).await.text;
    let folder = shared_data("wire/salesforce").expect("it was there a moment ago");
    let csv = std::fs::read_to_string(folder.join("bulk__info__partial-failure.csv")).expect("it is there");
    assert_eq!(failed.trim_end(), csv.trim_end(), "to the last quotation mark");

    let id = make("upsert", "Name,StageName_invalid_field_on_purpose,external_id__c\na,b,c\n", 0).await;
    bulk.clock.advance(std::time::Duration::from_secs(60));
    check(5, &info(&id).await);
    make("delete", "Id\n006ak0000000001AAA\n", 6).await;
}

#[tokio::test]
async fn descriptions() {
    let sim = start().await;
    let http = Http::to(&sim);
    let mut differences = Vec::new();
    for object in ["Account", "Case", "Contact", "Lead", "Opportunity"] {
        let Some(mut recorded) = recorded("describes", &format!("{object}.describe.json")) else { return };
        let mut ours = http.get(&format!("/sobjects/{object}/describe")).await.json();
        // Older recordings lack three properties; addresses of layouts and articles differ by object.
        for body in [&mut recorded, &mut ours] {
            let body = body.as_object_mut().expect("a description");
            for name in
                ["associateEntityType", "associateParentEntity", "sobjectDescribeOption", "urls", "actionOverrides"]
            {
                body.remove(name);
            }
            // An object that nothing points to has no entries to compare.
            body.remove("childRelationships");
        }
        assert_same_keys(object, &recorded, &ours);
        differences.extend(field_differences(object, &recorded, &ours));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Where simulated standard fields disagree with the recording in what decides about writing.
fn field_differences(object: &str, recorded: &Value, ours: &Value) -> Vec<String> {
    let fields = |body: &Value| body["fields"].as_array().expect("fields").clone();
    let all = fields(recorded);
    let mut compared = 0;
    let mut differences = Vec::new();
    for own in fields(ours) {
        let Some(known) = all.iter().find(|field| field["name"] == own["name"]) else { continue };
        for property in [
            "type",
            "soapType",
            "label",
            "length",
            "byteLength",
            "precision",
            "scale",
            "digits",
            "nillable",
            "createable",
            "updateable",
            "defaultedOnCreate",
            "externalId",
            "idLookup",
            "unique",
            "caseSensitive",
            "restrictedPicklist",
            "referenceTo",
            "relationshipName",
            "polymorphicForeignKey",
            "calculated",
            "autoNumber",
            "compoundFieldName",
            "filterable",
            "nameField",
            "custom",
            "defaultValue",
        ] {
            if own[property] != known[property] {
                differences.push(format!(
                    "{object}.{}.{property}: {} is recorded, not {}",
                    own["name"], known[property], own[property]
                ));
            }
        }
        let offered = |field: &Value| -> BTreeSet<String> {
            field["picklistValues"].as_array().expect("values").iter().map(|v| v["value"].to_string()).collect()
        };
        assert!(offered(&own).is_subset(&offered(known)), "{object}.{}", own["name"]);
        compared += 1;
    }
    assert!(compared > 20, "{object}: only {compared} fields compared");
    differences
}
