//! Fault plans against a real client: what it sees, and what was applied.

use std::time::Duration;

use reqwest::Client;
use rsync_testkit::sim::fault::{DropEntries, FaultAction, FaultPlan, FaultRule, Processing, Requests};
use rsync_testkit::sim::hubspot::HubSpotSim;
use serde_json::json;

use super::harness::{Http, Reply, by_email, roomy};

const UPSERT: &str = "/crm/v3/objects/contacts/batch/upsert";

struct Case {
    name: &'static str,
    action: FaultAction,
    /// Whether the write took effect.
    applied: bool,
    /// What the client must see.
    seen: fn(Result<Reply, reqwest::Error>),
}

fn answer(seen: Result<Reply, reqwest::Error>) -> Reply {
    seen.expect("an answer")
}

fn cut_off(seen: Result<Reply, reqwest::Error>) {
    let error = seen.expect_err("no answer");
    assert!(!error.is_timeout() && !error.is_connect(), "{error:?}");
}

async fn upsert(sim: &HubSpotSim) -> Result<Reply, reqwest::Error> {
    let client = Client::builder()
        .timeout(Duration::from_millis(700))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("client builds");
    let inputs: Vec<_> = (0..4).map(|i| by_email(&i.to_string(), &format!("u{i}@example.com"), json!({}))).collect();
    let http = Http::to(sim).with_client(client);
    http.send(reqwest::Method::POST, UPSERT, Some(json!({ "inputs": inputs }).to_string())).await
}

#[tokio::test]
async fn each_action_is_seen_by_the_client_and_counted() {
    let processing = Processing::Applied;
    for case in [
        Case {
            name: "status with the service's body",
            action: FaultAction::status_retry_after(429, 7),
            applied: false,
            seen: |seen| {
                let reply = answer(seen);
                assert_eq!((reply.status, reply.header("retry-after")), (429, Some("7")));
                assert_eq!(reply.json()["policyName"], "TEN_SECONDLY_ROLLING");
            },
        },
        Case {
            name: "status after the write",
            action: FaultAction::status_after_applying(524),
            applied: true,
            seen: |seen| assert_eq!(answer(seen).status, 524),
        },
        Case {
            name: "status with a body",
            action: FaultAction::Respond {
                status: 400,
                body: Some("{\"x\":1}".to_owned()),
                headers: [("X-Test".to_owned(), "y".to_owned())].into(),
                processing: Processing::NotApplied,
            },
            applied: false,
            seen: |seen| {
                let reply = answer(seen);
                assert_eq!((reply.status, reply.text.as_str(), reply.header("x-test")), (400, "{\"x\":1}", Some("y")));
            },
        },
        Case {
            name: "page of a proxy",
            action: FaultAction::HtmlPage { status: 502, processing: Processing::NotApplied },
            applied: false,
            seen: |seen| {
                let reply = answer(seen);
                assert_eq!((reply.status, reply.header("content-type")), (502, Some("text/html; charset=utf-8")));
                assert!(reply.text.contains("<html>"));
            },
        },
        Case {
            name: "reset before",
            action: FaultAction::ResetConnection { processing: Processing::NotApplied },
            applied: false,
            seen: cut_off,
        },
        Case { name: "reset after", action: FaultAction::ResetConnection { processing }, applied: true, seen: cut_off },
        Case {
            name: "reset in the body",
            action: FaultAction::ResetMidBody { after_bytes: 20 },
            applied: true,
            seen: |seen| {
                let error = seen.expect_err("the body breaks off");
                assert!(error.is_body() || error.is_decode() || error.is_request(), "{error:?}");
            },
        },
        Case {
            name: "truncated JSON",
            action: FaultAction::TruncateBody { keep_bytes: 20 },
            applied: true,
            seen: |seen| {
                let reply = answer(seen);
                assert_eq!((reply.status, reply.text.len()), (200, 20));
            },
        },
        Case {
            name: "delay before",
            action: FaultAction::DelayBefore { delay_ms: 50 },
            applied: true,
            seen: |seen| assert_eq!(answer(seen).status, 200),
        },
        Case {
            name: "delay after, longer than the client waits",
            action: FaultAction::DelayAfter { delay_ms: 5_000 },
            applied: true,
            seen: |seen| assert!(seen.expect_err("a timeout").is_timeout()),
        },
        Case {
            name: "slow drip",
            action: FaultAction::SlowDrip { chunk_bytes: 1_000, interval_ms: 10 },
            applied: true,
            seen: |seen| assert_eq!(answer(seen).json()["results"].as_array().map(Vec::len), Some(4)),
        },
        Case {
            name: "hold",
            action: FaultAction::Hold { processing: Processing::NotApplied },
            applied: false,
            seen: |seen| assert!(seen.expect_err("a timeout").is_timeout()),
        },
        Case {
            name: "hold after the write",
            action: FaultAction::Hold { processing },
            applied: true,
            seen: |seen| assert!(seen.expect_err("a timeout").is_timeout()),
        },
        Case {
            name: "redirect",
            action: FaultAction::Redirect { status: 307, location: "http://127.0.0.1:9/elsewhere".to_owned() },
            applied: false,
            seen: |seen| {
                let reply = answer(seen);
                assert_eq!((reply.status, reply.header("location")), (307, Some("http://127.0.0.1:9/elsewhere")));
            },
        },
        Case {
            name: "success that says nothing",
            action: FaultAction::EmptyBody { status: 200, processing: Processing::NotApplied },
            applied: false,
            seen: |seen| {
                let reply = answer(seen);
                assert_eq!((reply.status, reply.text.as_str()), (200, ""));
            },
        },
        Case {
            name: "missing results",
            action: FaultAction::DropResults { entries: DropEntries::EveryNth(2) },
            applied: true,
            seen: |seen| assert_eq!(answer(seen).json()["results"].as_array().map(Vec::len), Some(2)),
        },
        Case {
            name: "no results",
            action: FaultAction::DropResults { entries: DropEntries::All },
            applied: true,
            seen: |seen| assert_eq!(answer(seen).json()["results"].as_array().map(Vec::len), Some(0)),
        },
    ] {
        let sim = roomy().start().await.expect("the simulator starts");
        let rule = FaultRule::new(case.action)
            .named(case.name)
            .on_path_ending("/batch/upsert")
            .on_requests(Requests::First(1));
        sim.faults().set(FaultPlan::new([rule])).expect("plan is valid");
        (case.seen)(upsert(&sim).await);
        assert_eq!(sim.faults().fired(case.name), 1, "{}", case.name);
        assert_eq!(sim.records("contacts").len(), if case.applied { 4 } else { 0 }, "{}", case.name);
        let second = upsert(&sim).await.expect("the fault is over");
        assert_eq!(second.status, 200, "{}", case.name);
        assert_eq!(sim.records("contacts").len(), 4, "{}: a resent upsert makes no duplicates", case.name);
        assert_eq!(sim.stats().max_writes_per_record(), if case.applied { 2 } else { 1 }, "{}", case.name);
        assert!(sim.faults().never_fired().is_empty());
    }
}

#[tokio::test]
async fn a_write_whose_client_has_gone_is_still_applied() {
    let sim = roomy().start().await.expect("the simulator starts");
    let late = FaultRule::new(FaultAction::DelayBefore { delay_ms: 900 });
    sim.faults().set(FaultPlan::new([late])).expect("plan is valid");
    assert!(upsert(&sim).await.expect_err("a timeout").is_timeout());
    assert_eq!(sim.records("contacts").len(), 0, "not applied yet");
    for _ in 0..200 {
        if sim.records("contacts").len() == 4 {
            return;
        }
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(20))).await.expect("slept");
    }
    panic!("the write was never applied");
}

#[tokio::test]
async fn plans_are_replaced_over_http() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let plan = json!({ "rules": [{ "name": "once", "match": { "requests": { "first": 1 } }, "action": { "respond": { "status": 401 } } }] });
    assert_eq!(http.post("/_sim/faults", &plan).await.status, 200);
    let first = http.get("/crm/v3/objects/contacts").await;
    assert_eq!((first.status, first.json()["category"].as_str()), (401, Some("INVALID_AUTHENTICATION")));
    assert_eq!(http.get("/crm/v3/objects/contacts").await.status, 200);
    let report = http.get("/_sim/faults").await.json();
    assert_eq!((&report["rules"][0]["fired"], &report["rules"][0]["matched"]), (&json!(1), &json!(2)));
    let refused = http.post("/_sim/faults", &json!({ "rules": [{ "action": { "respond": { "status": 1 } } }] })).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("rules[0].action.status"), "{}", refused.text);
    assert_eq!(http.delete("/_sim/faults").await.status, 204);
    assert!(sim.faults().report().is_empty());
}

#[tokio::test]
async fn faults_work_over_tls_and_http2() {
    let sim = roomy().with_tls().start().await.expect("the simulator starts");
    let rule =
        FaultRule::new(FaultAction::ResetConnection { processing: Processing::Applied }).on_requests(Requests::Nth(1));
    sim.faults().set(FaultPlan::new([rule.named("reset")])).expect("plan is valid");
    let pem = sim.ca_pem().expect("there is a certificate");
    let certificate = reqwest::Certificate::from_pem(pem.as_bytes()).expect("it is PEM");
    let client = Client::builder().tls_certs_only([certificate]).build().expect("client builds");
    let http = Http::to(&sim).with_client(client);
    let body = json!({ "inputs": [by_email("0", "ada@example.com", json!({}))] });
    let sent = http.send(reqwest::Method::POST, UPSERT, Some(body.to_string())).await;
    cut_off(sent);
    assert_eq!(sim.records("contacts").len(), 1, "the ambiguous write was applied");
    assert_eq!(http.post(UPSERT, &body).await.status, 200);
}
