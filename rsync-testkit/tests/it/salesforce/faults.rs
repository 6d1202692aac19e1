//! Fault plans against a real client: what it sees, and what was applied.

use std::time::Duration;

use reqwest::Client;
use rsync_testkit::sim::fault::{DropEntries, FaultAction, FaultPlan, FaultRule, Processing, Requests};
use rsync_testkit::sim::salesforce::SalesforceSim;
use serde_json::json;

use super::harness::{Http, Reply, org};

const UPSERT: &str = "/composite/sobjects/Contact/Ext__c";

async fn upsert(sim: &SalesforceSim) -> Result<Reply, reqwest::Error> {
    let client = Client::builder()
        .timeout(Duration::from_millis(700))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("client builds");
    let records: Vec<_> = (0..4).map(|i| super::harness::contact(&format!("k{i}"), &json!({}))).collect();
    let body = json!({ "records": records }).to_string();
    Http::to(sim).with_client(client).send(reqwest::Method::PATCH, UPSERT, Some(body)).await
}

fn rows(reply: &Reply) -> Option<usize> {
    reply.json().as_array().map(Vec::len)
}

#[tokio::test]
async fn each_action_is_seen_by_the_client_and_counted() {
    let processing = Processing::Applied;
    let dropped = |entries: DropEntries| FaultAction::DropResults { entries };
    let seen_by_client: [(&str, FaultAction, bool, fn(Result<Reply, reqwest::Error>)); 12] = [
        ("session", FaultAction::status(401), false, |seen| {
            assert_eq!(seen.expect("an answer").code(), "INVALID_SESSION_ID");
        }),
        ("limit", FaultAction::status(403), false, |seen| {
            assert_eq!(seen.expect("an answer").code(), "REQUEST_LIMIT_EXCEEDED");
        }),
        ("gateway's limit", FaultAction::status_retry_after(429, 7), false, |seen| {
            let reply = seen.expect("an answer");
            assert_eq!((reply.status, reply.header("retry-after"), reply.json().is_object()), (429, Some("7"), true));
        }),
        ("server error after the write", FaultAction::status_after_applying(500), true, |seen| {
            assert_eq!(seen.expect("an answer").code(), "UNKNOWN_EXCEPTION");
        }),
        ("gateway", FaultAction::status(502), false, |seen| {
            let reply = seen.expect("an answer");
            assert_eq!((reply.status, reply.header("content-type")), (502, Some("text/html; charset=UTF-8")));
        }),
        ("busy", FaultAction::status(503), false, |seen| {
            assert_eq!(seen.expect("an answer").code(), "SERVER_UNAVAILABLE");
        }),
        ("reset before", FaultAction::ResetConnection { processing: Processing::NotApplied }, false, |seen| {
            assert!(!seen.expect_err("no answer").is_timeout());
        }),
        ("reset after", FaultAction::ResetConnection { processing }, true, |seen| {
            assert!(!seen.expect_err("no answer").is_timeout());
        }),
        ("truncated", FaultAction::TruncateBody { keep_bytes: 20 }, true, |seen| {
            assert_eq!(seen.expect("an answer").text.len(), 20);
        }),
        ("page", FaultAction::HtmlPage { status: 200, processing }, true, |seen| {
            assert!(seen.expect("an answer").text.contains("<html>"));
        }),
        ("one outcome missing", dropped(DropEntries::First(1)), true, |seen| {
            assert_eq!(rows(&seen.expect("an answer")), Some(3));
        }),
        ("no outcomes", dropped(DropEntries::All), true, |seen| {
            assert_eq!(rows(&seen.expect("an answer")), Some(0));
        }),
    ];
    for (name, action, applied, seen) in seen_by_client {
        let sim = org().start().await.expect("the simulator starts");
        let rule = FaultRule::new(action).named(name).on_path_ending("/Ext__c").on_requests(Requests::First(1));
        sim.faults().set(FaultPlan::new([rule])).expect("plan is valid");
        seen(upsert(&sim).await);
        assert_eq!(sim.faults().fired(name), 1, "{name}");
        assert_eq!(sim.records("Contact").len(), if applied { 4 } else { 0 }, "{name}");
        let second = upsert(&sim).await.expect("the fault is over");
        assert_eq!((second.status, rows(&second)), (200, Some(4)), "{name}");
        assert_eq!(sim.records("Contact").len(), 4, "{name}: a resent upsert makes no duplicates");
        assert_eq!(sim.stats().max_writes_per_record(), if applied { 2 } else { 1 }, "{name}");
    }
}

#[tokio::test]
async fn tokens_can_be_refused_too() {
    let sim = org().start().await.expect("the simulator starts");
    let rule = FaultRule::new(FaultAction::status(503)).on_path_ending("/oauth2/token").on_requests(Requests::First(1));
    sim.faults().set(FaultPlan::new([rule])).expect("plan is valid");
    let (id, secret) = (sim.client_id(), sim.client_secret());
    let form = [("grant_type", "client_credentials"), ("client_id", &*id), ("client_secret", &*secret)];
    let http = Http::to(&sim);
    assert_eq!(http.token(&form, &[]).await.status, 503);
    assert_eq!(http.token(&form, &[]).await.status, 200);
}

#[tokio::test]
async fn it_serves_https() {
    let sim = org().with_tls().start().await.expect("the simulator starts");
    let pem = sim.ca_pem().expect("there is a certificate");
    let certificate = reqwest::Certificate::from_pem(pem.as_bytes()).expect("it is PEM");
    let client = Client::builder().tls_certs_only([certificate]).build().expect("client builds");
    let http = Http::to(&sim).with_client(client);
    assert_eq!(http.upsert(&[("a", json!({}))]).await.json()[0]["created"], true);
    let (id, secret) = (sim.client_id(), sim.client_secret());
    let form = [("grant_type", "client_credentials"), ("client_id", &*id), ("client_secret", &*secret)];
    let token = http.token(&form, &[]).await.json();
    assert_eq!(token["instance_url"], json!(sim.base_url()), "over HTTP/2 as well");
}
