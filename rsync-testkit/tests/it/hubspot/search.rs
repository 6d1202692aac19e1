//! Search: operators, limits, index lag.

use std::sync::Arc;
use std::time::Duration;

use rsync_core::memory::ManualClock;
use rsync_testkit::sim::hubspot::{HubSpotSim, Quirks};
use serde_json::{Value, json};

use super::harness::{Http, by_email, prompt, roomy, sorted_field};

const SEARCH: &str = "/crm/v3/objects/deals/search";

async fn deals() -> HubSpotSim {
    roomy()
        .with_record(
            "deals",
            [("dealname", "Alpha One"), ("amount", "100"), ("closedate", "1572480000000"), ("dealstage", "closedwon")],
        )
        .with_record("deals", [("dealname", "beta"), ("amount", "20.5"), ("closedate", "2020-01-01T00:00:00Z")])
        .with_record("deals", [("dealname", "Gamma"), ("description", "one of a kind")])
        .start()
        .await
        .expect("the simulator starts")
}

#[tokio::test]
async fn operators_select_records() {
    let sim = deals().await;
    let http = Http::to(&sim);
    let filter = |name: &str, operator: &str, rest: Value| {
        let mut filter = json!({ "propertyName": name, "operator": operator });
        for (key, value) in rest.as_object().expect("an object") {
            filter[key] = value.clone();
        }
        filter
    };
    for (filters, expected) in [
        (vec![filter("dealname", "EQ", json!({ "value": "BETA" }))], vec!["beta"]),
        (vec![filter("dealname", "NEQ", json!({ "value": "beta" }))], vec!["Alpha One", "Gamma"]),
        (vec![filter("amount", "LT", json!({ "value": "100" }))], vec!["beta"]),
        (vec![filter("amount", "LTE", json!({ "value": "100" }))], vec!["Alpha One", "beta"]),
        (vec![filter("amount", "GT", json!({ "value": "20.5" }))], vec!["Alpha One"]),
        (vec![filter("amount", "GTE", json!({ "value": "20.50" }))], vec!["Alpha One", "beta"]),
        (vec![filter("amount", "BETWEEN", json!({ "value": "10", "highValue": "50" }))], vec!["beta"]),
        (vec![filter("closedate", "GTE", json!({ "value": "1577836800000" }))], vec!["beta"]),
        (vec![filter("dealname", "IN", json!({ "values": ["beta", "gamma"] }))], vec!["Gamma", "beta"]),
        (vec![filter("dealname", "IN", json!({ "values": ["Beta"] }))], vec![]),
        (vec![filter("dealname", "NOT_IN", json!({ "values": ["beta"] }))], vec!["Alpha One", "Gamma"]),
        (vec![filter("dealstage", "IN", json!({ "values": ["closedwon"] }))], vec!["Alpha One"]),
        (vec![filter("amount", "HAS_PROPERTY", json!({}))], vec!["Alpha One", "beta"]),
        (vec![filter("amount", "NOT_HAS_PROPERTY", json!({}))], vec!["Gamma"]),
        (vec![filter("dealname", "CONTAINS_TOKEN", json!({ "value": "one" }))], vec!["Alpha One"]),
        (vec![filter("dealname", "CONTAINS_TOKEN", json!({ "value": "gam*" }))], vec!["Gamma"]),
        (vec![filter("dealname", "NOT_CONTAINS_TOKEN", json!({ "value": "one" }))], vec!["Gamma", "beta"]),
        (
            vec![filter("amount", "HAS_PROPERTY", json!({})), filter("dealname", "EQ", json!({ "value": "beta" }))],
            vec!["beta"],
        ),
    ] {
        let body = json!({ "filterGroups": [{ "filters": filters }], "properties": ["dealname"] });
        let reply = http.post(SEARCH, &body).await;
        assert_eq!(reply.status, 200, "{body}: {}", reply.text);
        assert_eq!(sorted_field(&reply.json(), "/properties/dealname"), expected, "{body}");
        assert_eq!(reply.json()["total"], expected.len(), "{body}");
        assert_eq!(reply.header("x-hubspot-ratelimit-max"), None, "search shows no limits");
    }
    let by_text = http.post(SEARCH, &json!({ "query": "one", "properties": ["dealname"] })).await.json();
    assert_eq!(sorted_field(&by_text, "/properties/dealname"), ["Alpha One", "Gamma"]);
    let sorted = json!({ "sorts": [{ "propertyName": "amount", "direction": "DESCENDING" }], "properties": ["dealname"], "limit": 2 });
    let sorted = http.post(SEARCH, &sorted).await.json();
    assert_eq!(sorted["results"][0]["properties"]["dealname"], "Alpha One");
    assert_eq!(sorted["paging"]["next"]["after"], "2");
    let last = http.post(SEARCH, &json!({ "after": "2", "limit": 2 })).await.json();
    assert_eq!((last["results"].as_array().map(Vec::len), last.get("paging")), (Some(1), None));
}

#[tokio::test]
async fn requests_beyond_the_limits_are_refused() {
    let sim = deals().await;
    let http = Http::to(&sim);
    let filter = json!({ "propertyName": "dealname", "operator": "EQ", "value": "x" });
    let group = |n: usize| json!({ "filters": vec![filter.clone(); n] });
    for (name, body) in [
        ("groups", json!({ "filterGroups": vec![group(1); 6] })),
        ("filters in a group", json!({ "filterGroups": [group(7)] })),
        ("filters", json!({ "filterGroups": [group(5), group(5), group(5), group(4)] })),
        (
            "listed values",
            json!({ "filterGroups": [{ "filters": [{ "propertyName": "dealname", "operator": "IN", "values": vec!["x"; 101] }] }] }),
        ),
        ("sorts", json!({ "sorts": ["amount", "dealname"] })),
        ("page size", json!({ "limit": 201 })),
        ("window", json!({ "limit": 10, "after": "9991" })),
        ("cursor", json!({ "after": "x" })),
        ("body size", json!({ "query": "x".repeat(3_000) })),
        (
            "operator",
            json!({ "filterGroups": [{ "filters": [{ "propertyName": "dealname", "operator": "LIKE", "value": "x" }] }] }),
        ),
        ("value", json!({ "filterGroups": [{ "filters": [{ "propertyName": "dealname", "operator": "EQ" }] }] })),
        (
            "property",
            json!({ "filterGroups": [{ "filters": [{ "propertyName": "no_such", "operator": "EQ", "value": "x" }] }] }),
        ),
    ] {
        assert_eq!(http.post(SEARCH, &body).await.status, 400, "{name}");
    }
    assert_eq!(http.post(SEARCH, &json!({ "limit": 10, "after": "9990" })).await.status, 200);
}

#[tokio::test]
async fn the_index_lags_behind_writes() {
    let clock = ManualClock::new();
    let sim = roomy()
        .with_quirks(Quirks { search_lag_ms: 2_000, ..prompt() })
        .with_clock(Arc::new(clock.clone()))
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let write = async |name: &str| {
        let input = by_email("0", "ada@example.com", json!({ "firstname": name }));
        let reply = http.post("/crm/v3/objects/contacts/batch/upsert", &json!({ "inputs": [input] })).await;
        assert_eq!(reply.status, 200);
    };
    let names = async || {
        let found = http.post("/crm/v3/objects/contacts/search", &json!({ "properties": ["firstname"] })).await.json();
        sorted_field(&found, "/properties/firstname")
    };
    write("Ada").await;
    assert_eq!(names().await, Vec::<String>::new(), "a new record is not found yet");
    clock.advance(Duration::from_secs(2));
    assert_eq!(names().await, ["Ada"]);
    write("Augusta").await;
    assert_eq!(names().await, ["Ada"], "the index still has the old value");
    clock.advance(Duration::from_secs(2));
    assert_eq!(names().await, ["Augusta"]);
}
