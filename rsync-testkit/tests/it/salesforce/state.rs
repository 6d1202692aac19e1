//! Seeds, the handle and the inspection endpoints.

use rsync_testkit::sim::salesforce::{FieldSeed, ObjectSeed, RowFault, SalesforceSim, Seed};
use serde_json::json;

use super::harness::{Http, org};

#[tokio::test]
async fn a_seed_says_everything_that_is_wrong_with_it() {
    let text = json!({
        "organization_id": "00D",
        "client_id": "",
        "fields": { "Nothing": [], "Contact": [
            { "name": "Plain", "type": "string" },
            { "name": "A__c", "type": "text" },
            { "name": "B__c", "type": "double", "precision": 2, "scale": 3 },
            { "name": "C__c", "type": "reference" },
            { "name": "D__c", "type": "string", "values": ["x"] },
            { "name": "d__C", "type": "string" },
            { "name": "E__c", "type": "address" },
        ] },
        "objects": [
            { "name": "Thing", "key_prefix": "a01" },
            { "name": "Thing__c", "key_prefix": "001" },
            { "name": "thing__c", "key_prefix": "a0" },
        ],
        "row_faults": [{ "object": "Nothing", "code": "X", "message": "x" }],
    });
    let error = Seed::from_json(&text.to_string()).expect_err("nothing is right").to_string();
    for part in [
        "organization_id",
        "client_id",
        "fields.Nothing",
        "fields.Contact[0].name",
        "fields.Contact[1]: type \"text\"",
        "fields.Contact[2]: scale 3",
        "fields.Contact[3]: a reference",
        "fields.Contact[4]: type \"string\" has no values",
        "fields.Contact[5].name",
        "fields.Contact[6]: type \"address\"",
        "objects[0].name",
        "objects[1].key_prefix",
        "objects[2].name: \"thing__c\" is taken",
        "objects[2].key_prefix",
        "row_faults[0].object",
    ] {
        assert!(error.contains(part), "{part} missing in: {error}");
    }
    let error = Seed::from_json(r#"{"api_limits": 1}"#).expect_err("no such field").to_string();
    assert!(error.contains("api_limits"), "{error}");
}

#[tokio::test]
async fn seeded_records_obey_the_rules() {
    let builder = org()
        .with_record("Contact", [("FirstName", json!("No last name"))])
        .with_record("Contact", [("LastName", json!("L")), ("Birthdate", json!("soon"))])
        .with_record("Nothing", [("Name", json!("x"))]);
    let error = builder.start().await.expect_err("three bad records").to_string();
    for part in
        ["records.Contact[0]: REQUIRED_FIELD_MISSING", "records.Contact[1]: Cannot deserialize", "records.Nothing[0]"]
    {
        assert!(error.contains(part), "{part} missing in: {error}");
    }
}

#[tokio::test]
async fn a_seed_survives_its_own_json() {
    let seed = Seed {
        objects: vec![ObjectSeed::new("Plan__c", "a01").with_field(FieldSeed::lookup("Account__c", "Account"))],
        row_faults: vec![RowFault::new("Plan__c", "X", "x").when("Name", "n").times(1)],
        ..Seed::default()
    };
    let text = serde_json::to_string(&seed).expect("it serializes");
    assert_eq!(Seed::from_json(&text).expect("it is read back"), seed);
    let shown = format!("{seed:?}");
    assert!(!shown.contains(&seed.client_secret), "{shown}");
}

#[tokio::test]
async fn the_handle_changes_the_organization() {
    let sim = org().start().await.expect("the simulator starts");
    let id = sim.add_record("Contact", [("LastName", "L"), ("Ext__c", "a")]).expect("added");
    assert_eq!(sim.record_by("Contact", "Id", &id).expect("stored").fields["Ext__c"], "a");
    let refused = sim.add_record("Contact", [("LastName", "L"), ("Ext__c", "A")]).expect_err("taken").to_string();
    assert!(refused.contains("DUPLICATE_VALUE"), "{refused}");
    assert!(sim.add_record("Contact", [("Id", "x")]).is_err());
    assert!(sim.records("Nothing").is_empty());
    assert!(sim.private_key_pem().starts_with("-----BEGIN PRIVATE KEY-----"));
    let shown = format!("{sim:?}");
    assert!(!shown.contains(&sim.client_secret()) && !shown.contains("PRIVATE KEY"), "{shown}");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_answers() {
    let mut answers = Vec::new();
    for _ in 0..2 {
        let sim = org().start().await.expect("the simulator starts");
        let http = Http::to(&sim);
        let rows = [("a", json!({})), ("b", json!({ "Email": "bad" }))];
        let reply = http.upsert(&rows).await;
        answers.push((sim.start_session(), reply.text.clone(), reply.header("sforce-limit-info").map(str::to_owned)));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn assignment_rules_are_declined_by_a_header() {
    let sim = org().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for (path, value, counted) in [
        ("/sobjects/Account", None, 1),
        ("/sobjects/Account", Some("TRUE"), 1),
        ("/sobjects/Account", Some("false"), 0),
        ("/sobjects/Contact", None, 0),
    ] {
        sim.reset_stats();
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(value.map(|value| ("sforce-auto-assign", value)));
        let field = if path.ends_with("Account") { "Name" } else { "LastName" };
        let body = json!({ field: "x" }).to_string().into_bytes();
        let reply = http.with_headers(reqwest::Method::POST, path, &headers, Some(body)).await.expect("an answer");
        assert_eq!(reply.status, 201, "{path}");
        assert_eq!(sim.stats().rows_auto_assigned, counted, "{path} {value:?}");
    }
}

#[tokio::test]
async fn inspection() {
    let sim = org().with_record("Contact", [("LastName", "L"), ("Ext__c", "a")]).start().await.expect("it starts");
    let http = Http::to(&sim);
    http.upsert(&[("a", json!({ "Title": "t" })), ("b", json!({}))]).await;
    let records = http.get("/_sim/records/contact").await.json();
    assert_eq!(records["records"].as_array().map(Vec::len), Some(2));
    assert_eq!(records["records"][0]["fields"]["Title"], "t");
    assert_eq!(http.get("/_sim/records/Nothing").await.status, 404);
    let stats = http.get("/_sim/stats").await.json();
    assert_eq!(
        (&stats["rows_created"], &stats["rows_updated"], &stats["write_requests"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let requests = http.get("/_sim/requests").await.json();
    assert_eq!((&requests["total"], &requests["requests"][0]["rows"]), (&json!(1), &json!(2)));

    assert_eq!(http.post("/_sim/reset", &json!({})).await.status, 204);
    assert_eq!((sim.stats().rows_written(), sim.records("Contact").len()), (0, 2));
    assert_eq!(http.post("/_sim/reset?what=org", &json!({})).await.status, 204);
    assert_eq!(sim.records("Contact").len(), 1);
    assert_eq!(http.post("/_sim/reset?what=portal", &json!({})).await.status, 400);
    let http = Http::to(&sim);
    assert_eq!(http.post("/_sim/expire", &json!({})).await.status, 204);
    assert_eq!(http.get("/limits").await.status, 401);
}

#[test]
fn it_runs_without_a_runtime() {
    let sim = SalesforceSim::builder().start_on_thread().expect("the simulator starts");
    assert!(sim.base_url().starts_with("http://127.0.0.1:"));
    assert_eq!((sim.username(), sim.ca_pem()), ("integration@example.com".to_owned(), None));
}
