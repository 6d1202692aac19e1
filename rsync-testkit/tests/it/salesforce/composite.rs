//! Requests made of requests.

use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule};
use rsync_testkit::sim::salesforce::{Quirks, RowLocks, SalesforceSim};
use serde_json::{Value, json};

use super::harness::{Http, ROOT, assert_parts, contact, org};

async fn start() -> SalesforceSim {
    org().with_record("Contact", [("LastName", "L"), ("Ext__c", "c-1")]).start().await.expect("the simulator starts")
}

fn sub(reference: &str, method: &str, path: &str, body: Value) -> Value {
    let mut sub = json!({ "method": method, "url": format!("{ROOT}{path}"), "referenceId": reference });
    if !body.is_null() {
        sub["body"] = body;
    }
    sub
}

fn order(all_or_none: bool, subs: &[Value]) -> Value {
    json!({ "allOrNone": all_or_none, "compositeRequest": subs })
}

fn statuses(body: &Value) -> Vec<u64> {
    let parts = body["compositeResponse"].as_array().unwrap_or_else(|| panic!("{body}"));
    parts.iter().map(|part| part["httpStatusCode"].as_u64().expect("a status")).collect()
}

fn upserts(keys: &[&str]) -> Value {
    let records: Vec<Value> = keys.iter().map(|key| contact(key, &json!({}))).collect();
    json!({ "records": records })
}

#[tokio::test]
async fn later_subrequests_refer_to_earlier_ones() {
    let sim = start().await;
    let http = Http::to(&sim);
    let subs = [
        sub("acme", "POST", "/sobjects/Account", json!({ "Name": "Ac\"me", "Ext__c": "a" })),
        sub("ada", "POST", "/sobjects/Contact", json!({ "LastName": "Ada", "AccountId": "@{acme.id}" })),
        sub("found", "GET", "/query?q=SELECT+Name+FROM+Account+WHERE+Id='@{acme.id}'", Value::Null),
        sub("named", "PATCH", "/sobjects/Contact/@{ada.id}", json!({ "Title": "@{found.records[0].Name}" })),
        sub("gone", "DELETE", "/sobjects/Contact/Ext__c/c-1", Value::Null),
        sub("lost", "GET", "/sobjects/Contact/@{nobody.id}", Value::Null),
    ];
    let reply = http.post("/composite", &order(false, &subs)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let body = reply.json();
    assert_eq!(statuses(&body), [201, 201, 200, 204, 204, 400], "{body:#}");
    let account = sim.record_by("Account", "Ext__c", "a").expect("stored").id;
    let ada = sim.record_by("Contact", "LastName", "Ada").expect("stored");
    assert_eq!((ada.fields["AccountId"].as_str(), ada.fields["Title"].as_str()), (account.as_str(), "Ac\"me"));
    assert_parts(
        "composite",
        &body,
        &[
            ("/compositeResponse/0/referenceId", json!("acme")),
            ("/compositeResponse/0/body", json!({ "id": account, "success": true, "errors": [] })),
            ("/compositeResponse/0/httpHeaders/Location", json!(format!("{ROOT}/sobjects/Account/{account}"))),
            ("/compositeResponse/3/body", Value::Null),
            ("/compositeResponse/5/body/0/errorCode", json!("PROCESSING_HALTED")),
        ],
    );
}

#[tokio::test]
async fn five_full_collections_are_one_call() {
    let sim = start().await;
    let http = Http::to(&sim);
    let collection = |i: usize| {
        let keys: Vec<String> = (0..200).map(|row| format!("k{i}-{row}")).collect();
        upserts(&keys.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let path = "/composite/sobjects/Contact/Ext__c";
    let subs: Vec<Value> = (0..5).map(|i| sub(&format!("r{i}"), "PATCH", path, collection(i))).collect();
    let before = sim.stats().api_calls;
    let body = http.post("/composite", &order(false, &subs)).await.json();
    assert_eq!(statuses(&body), [200; 5]);
    assert!(body["compositeResponse"][4]["body"].as_array().expect("a list").iter().all(|row| row["created"] == true));
    let stats = sim.stats();
    assert_eq!((stats.api_calls - before, stats.rows_created), (1, 1_000));
    assert_eq!((stats.composite_requests, stats.write_requests), (1, 5), "what it is made of is counted too");
}

#[tokio::test]
async fn orders_are_refused_as_a_whole() {
    let sim = start().await;
    let http = Http::to(&sim);
    let create = |i: usize| sub(&format!("r{i}"), "POST", "/sobjects/Contact", json!({ "LastName": "L" }));
    let query = |i: usize| sub(&format!("r{i}"), "GET", "/query?q=SELECT+Id+FROM+Contact", Value::Null);
    let upsert = |i: usize| sub(&format!("r{i}"), "PATCH", "/composite/sobjects/Contact/Ext__c", upserts(&["x"]));
    let changed = |name: &str, value: Value| {
        let mut one = create(0);
        one[name] = value;
        order(false, &[one])
    };
    for (name, body, status, code) in [
        ("25", order(false, &(0..25).map(create).collect::<Vec<_>>()), 200, ""),
        ("26", order(false, &(0..26).map(create).collect::<Vec<_>>()), 400, "LIMIT_EXCEEDED"),
        ("5 queries", order(false, &(0..5).map(query).collect::<Vec<_>>()), 200, ""),
        (
            "6 heavy",
            order(false, &[query(0), query(1), query(2), upsert(3), upsert(4), upsert(5)]),
            400,
            "LIMIT_EXCEEDED",
        ),
        ("none", order(false, &[]), 400, "REQUIRED_FIELD_MISSING"),
        ("method", changed("method", json!("post")), 400, "INVALID_INPUT"),
        ("url", changed("url", json!("v66.0/sobjects/Contact")), 400, "INVALID_INPUT"),
        ("reference", changed("referenceId", json!("1 a")), 400, "INVALID_INPUT"),
        ("twice", order(false, &[create(1), create(1)]), 400, "INVALID_INPUT"),
        ("header", changed("httpHeaders", json!({ "authorization": "Bearer x" })), 400, "INVALID_INPUT"),
        ("property", changed("reference", json!("x")), 400, "JSON_PARSER_ERROR"),
    ] {
        let contacts = sim.records("Contact").len();
        let reply = http.post("/composite", &body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{name}: {}", reply.text);
        assert_eq!(sim.records("Contact").len() - contacts, if name == "25" { 25 } else { 0 }, "{name}");
    }
    for path in ["/composite/graph", "/composite/tree/Contact"] {
        assert_eq!(http.post(path, &json!({})).await.status, 404, "{path} is not simulated");
    }
    let nested =
        order(false, &[sub("a", "POST", "/composite", json!({})), sub("b", "GET", "/jobs/ingest", Value::Null)]);
    assert_eq!(statuses(&http.post("/composite", &nested).await.json()), [404, 404]);
}

#[tokio::test]
async fn one_failure_takes_all_of_an_order_back() {
    let sim = start().await;
    let http = Http::to(&sim);
    let subs = [
        sub("first", "POST", "/sobjects/Contact", json!({ "LastName": "New" })),
        sub("rows", "PATCH", "/composite/sobjects/Contact/Ext__c", upserts(&["c-1", "k-1"])),
        sub("bad", "POST", "/sobjects/Contact", json!({ "FirstName": "No last name" })),
        sub("after", "DELETE", "/sobjects/Contact/Ext__c/c-1", Value::Null),
    ];
    let body = http.post("/composite", &order(true, &subs)).await.json();
    assert_eq!(statuses(&body), [400, 200, 400, 400]);
    let code = |i: usize| body["compositeResponse"][i]["body"][0]["errorCode"].clone();
    assert_eq!([code(0), code(2), code(3)], ["PROCESSING_HALTED", "REQUIRED_FIELD_MISSING", "PROCESSING_HALTED"]);
    let message = "The transaction was rolled back since another operation in the same transaction failed.";
    assert_eq!(body["compositeResponse"][0]["body"][0]["message"], message);
    assert_eq!(body["compositeResponse"][1]["body"][1]["success"], true, "a collection claims what is not so");
    let records = sim.records("Contact");
    assert_eq!((records.len(), records[0].deleted, sim.stats().rows_written()), (1, false, 0));

    let body = http.post("/composite", &order(false, &subs)).await.json();
    assert_eq!(statuses(&body), [201, 200, 400, 204], "each stands for itself otherwise");
    assert_eq!(sim.records("Contact").len(), 3);
}

#[tokio::test]
async fn subrequests_have_headers_of_their_own() {
    let sim = start().await;
    let http = Http::to(&sim);
    let mut subs = [
        sub("a", "POST", "/sobjects/Account", json!({ "Name": "A" })),
        sub("b", "POST", "/sobjects/Account", json!({ "Name": "B" })),
    ];
    subs[1]["httpHeaders"] = json!({ "Sforce-Auto-Assign": "FALSE" });
    let headers = [("content-type", "application/json"), ("sforce-auto-assign", "FALSE")];
    let body = order(false, &subs).to_string().into_bytes();
    let sent = http.with_headers(reqwest::Method::POST, "/composite", &headers, Some(body)).await;
    assert_eq!(statuses(&sent.expect("an answer").json()), [201, 201]);
    assert_eq!(sim.stats().rows_auto_assigned, 1, "the outer header does not reach the subrequests");
}

#[tokio::test]
async fn a_batch_counts_every_subrequest() {
    let sim = org().with_api_limit(4).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let one = |name: &str| json!({ "method": "POST", "url": "v66.0/sobjects/Account", "richInput": { "Name": name } });
    let batch = |subs: &[Value]| json!({ "batchRequests": subs });
    let body = http.post("/composite/batch", &batch(&[one("A"), one("B"), one("")])).await.json();
    assert_eq!(body["hasErrors"], true);
    let status = |i: usize| body["results"][i]["statusCode"].clone();
    assert_eq!([status(0), status(1), status(2)], [201, 201, 400]);
    assert_eq!(body["results"][0]["result"]["success"], true);
    assert_eq!(sim.stats().api_calls, 3);
    let body = http.post("/composite/batch", &batch(&[one("C"), one("D")])).await.json();
    assert_eq!((&body["results"][0]["statusCode"], &body["results"][1]["statusCode"]), (&json!(201), &json!(403)));
    assert_eq!(sim.records("Account").len(), 3);
}

#[tokio::test]
async fn a_batch_goes_on_or_halts() {
    let sim = start().await;
    let http = Http::to(&sim);
    let one = |name: &str| json!({ "method": "POST", "url": "/services/data/v66.0/sobjects/Account", "richInput": { "Name": name } });
    for (halt, statuses) in [(false, [400, 201]), (true, [400, 412])] {
        let body = json!({ "haltOnError": halt, "batchRequests": [one(""), one("B")] });
        let body = http.post("/composite/batch", &body).await.json();
        let said: Vec<&Value> = body["results"].as_array().expect("results").iter().map(|r| &r["statusCode"]).collect();
        assert_eq!(said, [&json!(statuses[0]), &json!(statuses[1])], "{body}");
        if halt {
            assert_eq!(body["results"][1]["result"][0]["errorCode"], "BATCH_PROCESSING_HALTED");
        }
    }
    let many = vec![one("x"); 26];
    assert_eq!(http.post("/composite/batch", &json!({ "batchRequests": many })).await.code(), "LIMIT_EXCEEDED");
    assert_eq!(http.post("/composite/batch", &json!({ "batchRequests": [] })).await.status, 400);
    let wrong = json!({ "batchRequests": [one("x"), { "method": "get", "url": "v66.0/limits" }] });
    assert_eq!(http.post("/composite/batch", &wrong).await.code(), "INVALID_INPUT");
    assert_eq!(sim.records("Account").len(), 1);
}

#[tokio::test]
async fn rows_in_orders_meet_locks_too() {
    let sim = org()
        .with_quirks(Quirks { row_locks: RowLocks::Refused, ..Quirks::default() })
        .with_record("Account", [("Name", "P"), ("Ext__c", "p")])
        .start()
        .await
        .expect("the simulator starts");
    let slow = FaultRule::new(FaultAction::DelayBefore { delay_ms: 60 });
    sim.faults().set(FaultPlan::new([slow])).expect("plan is valid");
    let http = Http::to(&sim);
    let path = "/composite/sobjects/Contact/Ext__c";
    let child = |key: &str| contact(key, &json!({ "Account": { "Ext__c": "p" } }));
    let rows = |rows: &[Value]| json!({ "records": rows });
    let subs = [
        sub("free", "PATCH", path, rows(&[contact("x", &json!({})), contact("y", &json!({}))])),
        sub("child", "PATCH", path, rows(&[contact("z", &json!({})), child("a")])),
    ];
    let together = order(false, &subs);
    let alone = rows(&[child("b")]);
    let (composed, single) = tokio::join!(http.post("/composite", &together), http.patch(path, &alone));
    let locked = |body: &Value| body.to_string().matches("UNABLE_TO_LOCK_ROW").count();
    let composed = composed.json();
    assert_eq!(locked(&composed) + locked(&single.json()), 1, "{composed}");
    let others = &composed["compositeResponse"][0]["body"];
    assert!(others.as_array().expect("rows").iter().all(|row| row["success"] == true), "{others}");
    assert_eq!(composed["compositeResponse"][1]["body"][0]["success"], true, "{composed}");
}
