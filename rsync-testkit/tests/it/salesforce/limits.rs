//! The daily limit, its gauge, requests at the same time, and locks.

use std::sync::Arc;
use std::time::Duration;

use rsync_core::memory::ManualClock;
use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule};
use rsync_testkit::sim::salesforce::{Quirks, RowLocks, SalesforceSim, Seed, SessionRefusal};
use serde_json::{Value, json};

use super::harness::{Http, contact, org, typed};

#[tokio::test]
async fn the_day_has_an_end() {
    let clock = ManualClock::new();
    let seed = Seed { session_seconds: 1_000_000, ..Seed::default() };
    let builder = org().with_seed(seed).with_api_limit(3).with_clock(Arc::new(clock.clone()));
    let sim = builder.start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for _ in 0..3 {
        assert_eq!(http.get("/limits").await.status, 200);
    }
    let refused = http.upsert(&[("k", json!({}))]).await;
    let body = json!([{ "message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED" }]);
    assert_eq!((refused.status, refused.json()), (403, body));
    assert_eq!(refused.header("retry-after"), None);
    assert!(sim.records("Contact").is_empty());
    assert_eq!((sim.stats().api_calls, sim.stats().limited_answers), (3, 1));
    clock.advance(Duration::from_secs(86_399));
    assert_eq!(http.get("/limits").await.status, 403);
    clock.advance(Duration::from_secs(1));
    assert_eq!(http.get("/limits").await.status, 200);
    sim.set_api_limit(1);
    assert_eq!(http.get("/limits").await.status, 403);
}

#[tokio::test]
async fn every_data_answer_has_a_gauge() {
    let sim = org().with_api_limit(5_000).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let mut shown = Vec::new();
    for path in ["/limits", "/nothing", "/sobjects", "/query?q=x"].iter().cycle().take(40) {
        let reply = http.get(path).await;
        let gauge = reply.header("sforce-limit-info").unwrap_or_else(|| panic!("no gauge on {path}"));
        let used = gauge.strip_prefix("api-usage=").and_then(|rest| rest.strip_suffix("/5000"));
        shown.push(used.and_then(|used| used.parse::<u64>().ok()).unwrap_or_else(|| panic!("{gauge}")));
    }
    let exact: Vec<u64> = (1..=40).collect();
    assert!(shown.iter().zip(&exact).all(|(shown, exact)| shown.abs_diff(*exact) <= 3), "{shown:?}");
    assert_ne!(shown, exact, "it is approximate");
    assert_eq!(http.with_token(None).get("/services/data").await.header("sforce-limit-info"), None);
}

/// Sends both requests so that they are in flight together.
async fn together(sim: &SalesforceSim, one: Value, other: Value) -> [Value; 2] {
    let slow = FaultRule::new(FaultAction::DelayBefore { delay_ms: 60 });
    sim.faults().set(FaultPlan::new([slow])).expect("plan is valid");
    let http = Http::to(sim);
    let path = "/composite/sobjects/Contact/Ext__c";
    let (a, b) = tokio::join!(http.patch(path, &one), http.patch(path, &other));
    sim.faults().clear();
    [a.json(), b.json()]
}

fn locked(bodies: &[Value]) -> usize {
    let rows = bodies.iter().filter_map(Value::as_array).flatten();
    rows.filter(|row| row["errors"][0]["statusCode"] == "UNABLE_TO_LOCK_ROW").count()
}

#[tokio::test]
async fn rows_and_parents_are_locked() {
    let account = |key: &str| json!({ "Account": { "Ext__c": key } });
    for (name, one, other, overlap) in [
        ("same row", contact("a", &json!({})), contact("A", &json!({})), true),
        ("other rows", contact("a", &json!({})), contact("b", &json!({})), false),
        ("same parent", contact("a", &account("p")), contact("b", &account("P")), true),
        ("other parents", contact("a", &account("p")), contact("b", &account("q")), false),
    ] {
        for (row_locks, percent) in [(RowLocks::Waited, 100), (RowLocks::Refused, 100), (RowLocks::Refused, 0)] {
            let quirks = Quirks { row_locks, lock_refusal_percent: percent, ..Quirks::default() };
            let sim = org()
                .with_quirks(quirks)
                .with_record("Account", [("Name", "P"), ("Ext__c", "p")])
                .with_record("Account", [("Name", "Q"), ("Ext__c", "q")])
                .start()
                .await
                .expect("the simulator starts");
            let rows = |row: &Value| json!({ "records": [row] });
            let bodies = together(&sim, rows(&one), rows(&other)).await;
            let refused = usize::from(overlap && row_locks == RowLocks::Refused && percent == 100);
            assert_eq!(locked(&bodies), refused, "{name} {row_locks:?} {percent}: {bodies:?}");
            assert_eq!(sim.stats().overlapping_locks, u64::from(overlap), "{name}");
            assert_eq!(sim.stats().max_in_flight, 2, "{name}");
        }
    }
}

#[tokio::test]
async fn only_the_locked_rows_fail() {
    let quirks = Quirks { row_locks: RowLocks::Refused, ..Quirks::default() };
    let sim = org().with_quirks(quirks).start().await.expect("the simulator starts");
    let one = json!({ "records": [contact("a", &json!({})), contact("b", &json!({}))] });
    let other = json!({ "records": [contact("b", &json!({})), contact("c", &json!({}))] });
    let bodies = together(&sim, one.clone(), other).await;
    assert_eq!(locked(&bodies), 1, "{bodies:?}");
    let later = Http::to(&sim).patch("/composite/sobjects/Contact/Ext__c", &one).await.json();
    assert_eq!(locked(&[later]), 0, "the locks are gone");
}

#[tokio::test]
async fn too_many_requests_at_once() {
    let seed = Seed { concurrent_limit: Some(1), ..Seed::default() };
    let sim = SalesforceSim::builder().with_seed(seed).start().await.expect("the simulator starts");
    let slow = FaultRule::new(FaultAction::DelayBefore { delay_ms: 60 });
    sim.faults().set(FaultPlan::new([slow])).expect("plan is valid");
    let http = Http::to(&sim);
    let (a, b) = tokio::join!(http.get("/limits"), http.get("/limits"));
    let refused: Vec<_> = [a, b].into_iter().filter(|reply| reply.status == 403).collect();
    assert_eq!(refused.len(), 1);
    let message = "ConcurrentRequests (Concurrent API Requests) Limit exceeded.";
    assert_eq!(refused[0].json(), json!([{ "message": message, "errorCode": "REQUEST_LIMIT_EXCEEDED" }]));
    assert_eq!(http.get("/limits").await.status, 200);
}

#[tokio::test]
async fn single_records_are_locked_too() {
    let quirks = Quirks { row_locks: RowLocks::Refused, ..Quirks::default() };
    let sim = org()
        .with_quirks(quirks)
        .with_record("Contact", [("LastName", "L"), ("Ext__c", "a")])
        .start()
        .await
        .expect("the simulator starts");
    let slow = FaultRule::new(FaultAction::DelayBefore { delay_ms: 60 });
    sim.faults().set(FaultPlan::new([slow])).expect("plan is valid");
    let http = Http::to(&sim);
    let id = sim.records("Contact")[0].id.clone();
    let by_id = format!("/sobjects/Contact/{id}");
    let fields = json!({ "Title": "t" });
    let row = json!({ "records": [typed("Contact", &json!({ "id": id, "Title": "u" }), &json!({}))] });
    let (single, collection) = tokio::join!(http.patch(&by_id, &fields), http.patch("/composite/sobjects", &row));
    let refused = usize::from(single.code() == "UNABLE_TO_LOCK_ROW") + locked(&[collection.json()]);
    assert_eq!(refused, 1, "{} {}", single.text, collection.text);
}

#[tokio::test]
async fn sessions_end_in_the_middle_of_a_run() {
    let sim = org().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    sim.expire_tokens_after(3);
    let mut statuses = Vec::new();
    for i in 0..5 {
        statuses.push(http.upsert(&[(&format!("k{i}"), json!({}))]).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 401, 401]);
    assert_eq!(sim.records("Contact").len(), 3, "what is refused is not carried out");
    let again = http.with_token(Some(&sim.start_session()));
    assert_eq!(again.upsert(&[("k3", json!({}))]).await.status, 200);
    assert_eq!(sim.stats().unauthenticated_answers, 2);
}

#[tokio::test]
async fn a_policy_looks_like_an_expired_session_but_no_new_one_helps() {
    let quirks = Quirks { session_refusal: SessionRefusal::Policy, ..Quirks::default() };
    let sim = org().with_quirks(quirks).start().await.expect("the simulator starts");
    for _ in 0..2 {
        let refused = Http::to(&sim).get("/limits").await;
        let message = "This session is not valid for use with the REST API";
        assert_eq!((refused.status, refused.json()[0]["message"].clone()), (401, json!(message)));
        assert_eq!(refused.code(), "INVALID_SESSION_ID");
    }
}
