//! What administrators set up: duplicate rules, validation rules, assignment rules.

use reqwest::Method;
use rsync_testkit::sim::salesforce::{DuplicateRule, Refused, SalesforceSim, Seed, ValidationRule};
use serde_json::{Value, json};

use super::harness::{Http, contact, org};
use super::jobs::{Bulk, upsert};

const BY_KEY: &str = "/composite/sobjects/Contact/Ext__c";

async fn with_rule(rule: DuplicateRule) -> SalesforceSim {
    org()
        .with_duplicate_rule(rule)
        .with_record("Contact", [("LastName", "Lovelace"), ("Email", "ada@example.com"), ("Ext__c", "c-1")])
        .start()
        .await
        .expect("the simulator starts")
}

fn rule() -> DuplicateRule {
    DuplicateRule::new("Same_Email", "Contact", ["Email", "LastName"])
}

async fn save(http: &Http, header: Option<&str>, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(header.map(|value| ("Sforce-Duplicate-Rule-Header", value)));
    let reply = http.with_headers(method, path, &headers, Some(body.to_string().into_bytes())).await;
    let reply = reply.expect("the simulator answers");
    (reply.status, reply.json())
}

#[tokio::test]
async fn a_duplicate_is_told_with_its_rule_and_its_matches() {
    let sim = with_rule(rule().alerting()).await;
    let http = Http::to(&sim);
    let ada = sim.record_by("Contact", "Ext__c", "c-1").expect("seeded").id;
    let like = json!({ "LastName": "LOVELACE", "Email": "Ada@Example.com" });
    let found = json!({
        "allowSave": true,
        "duplicateRule": "Same_Email",
        "duplicateRuleEntityType": "Contact",
        "errorMessage": "Use one of these records?",
        "matchResults": [{
            "entityType": "Contact",
            "errors": [],
            "matchEngine": "ExactMatchEngine",
            "matchRecords": [{
                "additionalInformation": [],
                "fieldDiffs": [],
                "matchConfidence": 100.0,
                "record": {
                    "attributes": { "type": "Contact", "url": format!("/services/data/v66.0/sobjects/Contact/{ada}") },
                    "Id": ada,
                },
            }],
            "rule": "Same_Email_Match",
            "size": 1,
            "success": true,
        }],
    });
    let rows = json!({ "records": [contact("new", &like), contact("other", &json!({}))] });
    let (status, body) = save(&http, None, Method::PATCH, BY_KEY, &rows).await;
    let error = json!({
        "statusCode": "DUPLICATES_DETECTED", "message": "Use one of these records?", "fields": [], "duplicateResult": found,
    });
    assert_eq!((status, &body[0]["errors"]), (200, &json!([error])));
    assert_eq!(body[1]["success"], true);
    let (status, body) = save(&http, None, Method::POST, "/sobjects/Contact", &like).await;
    let error = json!({
        "errorCode": "DUPLICATES_DETECTED", "message": "Use one of these records?", "duplicateResut": found,
    });
    assert_eq!((status, body), (400, json!([error])), "the service misspells the name here");
    let (_, body) = save(&http, Some("includeRecordDetails=true"), Method::PATCH, BY_KEY, &rows).await;
    let record = &body[0]["errors"][0]["duplicateResult"]["matchResults"][0]["matchRecords"][0]["record"];
    assert_eq!((&record["Email"], &record["LastName"]), (&json!("ada@example.com"), &json!("Lovelace")));
}

#[tokio::test]
async fn a_header_overrides_alerts_and_nothing_else() {
    for (rule, header, saved) in [
        (rule().alerting(), None, false),
        (rule().alerting(), Some("allowSave=true"), true),
        (rule().alerting(), Some("includeRecordDetails=true; AllowSave = TRUE; runAsCurrentUser=true"), true),
        (rule().alerting(), Some("allowSave=false"), false),
        (rule().alerting(), Some("allowSave"), false),
        (rule(), Some("allowSave=true"), false),
    ] {
        let sim = with_rule(rule.clone()).await;
        let like = contact("new", &json!({ "LastName": "Lovelace", "Email": "ada@example.com" }));
        let (_, body) = save(&Http::to(&sim), header, Method::PATCH, BY_KEY, &json!({ "records": [like] })).await;
        assert_eq!(body[0]["success"], saved, "{rule:?} {header:?}: {body}");
    }
}

#[tokio::test]
async fn a_record_is_no_duplicate_of_itself_or_of_a_deleted_one() {
    let sim = with_rule(rule()).await;
    let http = Http::to(&sim);
    let like = json!({ "LastName": "Lovelace", "Email": "ada@example.com" });
    let body = http.upsert(&[("c-1", like.clone())]).await.json();
    assert_eq!(body[0]["success"], true, "{body}");
    let body = http.upsert(&[("x", json!({ "LastName": "Lovelace" }))]).await.json();
    assert_eq!(body[0]["success"], true, "a field without a value matches nothing");
    let body = http.upsert(&[("x", json!({ "Title": "t" }))]).await.json();
    assert_eq!(body[0]["success"], true, "the rule looks when one of its fields is named");
    sim.delete_record(&sim.record_by("Contact", "Ext__c", "c-1").expect("seeded").id).expect("deleted");
    let body = http.upsert(&[("y", like)]).await.json();
    assert_eq!(body[0]["success"], true, "{body}");
}

#[tokio::test]
async fn bulk_jobs_have_no_header_to_override_a_rule() {
    let rule = rule().alerting();
    let builder = org().with_duplicate_rule(rule);
    let bulk = Bulk::start(builder.with_record("Contact", [("LastName", "L"), ("Email", "a@example.com")])).await;
    let id = bulk.finished(&upsert(), "Ext__c,LastName,Email\nn,L,a@example.com\n").await;
    let errors = bulk.errors(&id).await;
    assert!(errors.iter().all(|error| error == "DUPLICATES_DETECTED:Use one of these records?:--"), "{errors:?}");
    assert_eq!(errors.len(), 1);
}

#[tokio::test]
async fn every_validation_rule_says_its_own_and_looks_at_the_whole_record() {
    let rule = |field: &str, refuses: Refused, message: &str, shown_at: Option<&str>| ValidationRule {
        object: "Contact".to_owned(),
        field: field.to_owned(),
        refuses,
        message: message.to_owned(),
        shown_at: shown_at.map(str::to_owned),
    };
    let sim = org()
        .with_validation_rule(rule("Email", Refused::Blank, "An address: please!", Some("Email")))
        .with_validation_rule(rule("Title", Refused::Value("Boss".to_owned()), "No bosses", None))
        .with_record("Contact", [("LastName", "L"), ("Ext__c", "old"), ("Title", "Boss")])
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let code = "FIELD_CUSTOM_VALIDATION_EXCEPTION";
    let address = json!({ "statusCode": code, "message": "An address: please!", "fields": ["Email"] });
    let boss = json!({ "statusCode": code, "message": "No bosses", "fields": [] });
    for (key, fields, errors) in [
        ("new", json!({ "Title": "Boss" }), json!([address, boss])),
        ("new", json!({ "Email": "a@b.example" }), json!([])),
        ("new", json!({ "Email": null }), json!([address])),
        ("old", json!({ "Email": "a@b.example" }), json!([boss])),
        ("old", json!({ "Email": "a@b.example", "Title": null }), json!([])),
    ] {
        let body = http.upsert(&[(key, fields.clone())]).await.json();
        assert_eq!(body[0]["errors"], errors, "{key} {fields}");
    }
}

#[tokio::test]
async fn assignment_rules_choose_owners_unless_declined() {
    let sim = org().with_assignment_rule("Lead", "queue@example.com").start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let user = |name: &str| {
        let users = sim.records("User");
        users.into_iter().find(|user| user.fields["Username"] == name).expect("a user").id
    };
    let (own, queue) = (user("integration@example.com"), user("queue@example.com"));
    for (header, owner) in
        [(None, &queue), (Some("TRUE"), &queue), (Some("01Qak0000000001AAA"), &queue), (Some("false"), &own)]
    {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(header.map(|value| ("sforce-auto-assign", value)));
        let body = json!({ "LastName": "L", "Company": "C" }).to_string().into_bytes();
        let reply = http.with_headers(Method::POST, "/sobjects/Lead", &headers, Some(body)).await.expect("an answer");
        let id = reply.json()["id"].as_str().expect("an id").to_owned();
        assert_eq!(&sim.record_by("Lead", "Id", &id).expect("stored").fields["OwnerId"], owner, "{header:?}");
    }
    assert_eq!(sim.stats().rows_auto_assigned, 3);
}

#[tokio::test]
async fn jobs_assign_only_by_the_rule_they_name() {
    for (rule, assigned) in [(Value::Null, 0), (json!("01Qak0000000001AAA"), 1)] {
        let bulk = Bulk::start(org().with_assignment_rule("Lead", "queue@example.com")).await;
        let job = json!({ "object": "Lead", "operation": "insert", "assignmentRuleId": rule });
        bulk.finished(&job, "LastName,Company\nL,C\n").await;
        let users = bulk.sim.records("User");
        let lead = &bulk.sim.records("Lead")[0];
        assert_eq!(lead.fields["OwnerId"], users[assigned].id, "{rule}");
        assert_eq!(bulk.sim.stats().rows_auto_assigned, assigned as u64);
    }
}

#[tokio::test]
async fn rules_that_cannot_work_are_refused() {
    let seed = json!({
        "duplicate_rules": [{ "name": "D", "object": "Nothing", "fields": [] }],
        "validation_rules": [{ "object": "Nothing", "field": "x", "refuses": "blank", "message": "m" }],
        "assignment_rules": [{ "object": "Contact", "username": "nobody@example.com" }],
    });
    let error = Seed::from_json(&seed.to_string()).expect_err("nothing is right").to_string();
    for part in [
        "duplicate_rules[0].object",
        "validation_rules[0].object",
        "assignment_rules[0].object",
        "assignment_rules[0].username",
    ] {
        assert!(error.contains(part), "{part} missing in: {error}");
    }
}
