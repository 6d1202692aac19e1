//! Fault plans against this service. The faults themselves are tested with the HubSpot simulator; here it is shown that
//! they work with these bodies, which are short.

use reqwest::Client;
use rsync_testkit::sim::customerio::CustomerIoSim;
use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule, Processing, Requests};
use serde_json::json;

use super::harness::{BATCH, Http, Reply, identify, roomy};

async fn send(sim: &CustomerIoSim) -> reqwest::Result<Reply> {
    let timeout = std::time::Duration::from_millis(300);
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(timeout).build();
    let http = Http::to(sim).with_client(client.expect("client builds"));
    let body = json!({ "batch": [identify(json!({ "id": "1" }), json!({ "plan": "pro" }))] });
    http.send(reqwest::Method::POST, BATCH, Some(body.to_string())).await
}

#[tokio::test]
async fn every_kind_of_fault() {
    let (applied, lost) = (Processing::Applied, Processing::NotApplied);
    // Status and body that the client sees (none: no answer), and whether the write happened.
    let cases: Vec<(FaultAction, Option<(u16, &str)>, bool)> = vec![
        (FaultAction::status(429), Some((429, "")), false),
        (FaultAction::status_retry_after(429, 7), Some((429, "")), false),
        (FaultAction::status(500), Some((500, "")), false),
        (FaultAction::status_after_applying(524), Some((524, "")), true),
        (
            FaultAction::status(401),
            Some((401, "{\n  \"meta\": {\n    \"error\": \"Unauthorized request\"\n  }\n}\n")),
            false,
        ),
        (FaultAction::status(403), Some((403, "{\"meta\":{\"error\":\"Forbidden\"}}\n")), false),
        (FaultAction::status(404), Some((404, "404 Not Found\n")), false),
        (FaultAction::ResetConnection { processing: lost }, None, false),
        (FaultAction::ResetConnection { processing: applied }, None, true),
        (FaultAction::ResetMidBody { after_bytes: 1 }, None, true),
        (FaultAction::TruncateBody { keep_bytes: 0 }, Some((200, "")), true),
        (FaultAction::TruncateBody { keep_bytes: 20 }, Some((200, "{")), true),
        (FaultAction::DelayBefore { delay_ms: 20 }, Some((200, "{}\n")), true),
        (FaultAction::DelayAfter { delay_ms: 2_000 }, None, true),
        (FaultAction::SlowDrip { chunk_bytes: 1, interval_ms: 5 }, Some((200, "{}\n")), true),
        (FaultAction::Hold { processing: applied }, None, true),
        (FaultAction::Redirect { status: 307, location: "http://127.0.0.1:9/x".to_owned() }, Some((307, "")), false),
        (FaultAction::EmptyBody { status: 204, processing: applied }, Some((204, "")), true),
    ];
    for (action, expected, written) in cases {
        let sim = roomy().start().await.expect("the simulator starts");
        let rule =
            FaultRule::new(action.clone()).named("fault").on_path_ending("/batch").on_requests(Requests::First(1));
        sim.faults().set(FaultPlan::new([rule])).expect("plan is valid");
        let seen = send(&sim).await;
        let seen = seen.as_ref().ok().map(|reply| (reply.status, reply.text.as_str()));
        assert_eq!(seen, expected, "{action:?}");
        assert_eq!(sim.faults().fired("fault"), 1, "{action:?}");
        assert_eq!(sim.people().len(), usize::from(written), "{action:?}");
        assert_eq!(send(&sim).await.expect("the fault is over").status, 200, "{action:?}");
        assert_eq!(sim.people().len(), 1, "{action:?}: the same call again makes nobody twice");
        assert_eq!(sim.stats().max_writes_per_person(), 1 + u64::from(written), "{action:?}");
    }
}

#[tokio::test]
async fn a_page_of_a_proxy() {
    let sim = roomy().start().await.expect("the simulator starts");
    let page = FaultRule::new(FaultAction::HtmlPage { status: 200, processing: Processing::Applied });
    sim.faults().set(FaultPlan::new([page])).expect("plan is valid");
    let reply = send(&sim).await.expect("an answer");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(sim.people().len(), 1);
}

#[tokio::test]
async fn faults_work_over_tls() {
    let rule = FaultRule::new(FaultAction::status(503)).on_requests(Requests::Nth(1));
    let sim = roomy().with_tls().with_faults(FaultPlan::new([rule])).start().await.expect("the simulator starts");
    let pem = sim.ca_pem().expect("there is a certificate");
    let certificate = reqwest::Certificate::from_pem(pem.as_bytes()).expect("it is PEM");
    let client = Client::builder().tls_certs_only([certificate]).build().expect("client builds");
    let http = Http::to(&sim).with_client(client);
    let call = identify(json!({ "id": "1" }), json!({}));
    assert_eq!(http.batch(std::slice::from_ref(&call)).await.status, 503);
    assert_eq!(http.batch(&[call]).await.status, 200);
}
