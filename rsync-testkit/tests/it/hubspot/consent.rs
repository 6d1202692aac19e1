//! Communication preferences, from version 4 on and in version 3.

use rsync_testkit::sim::hubspot::{Quirks, RateLimits, Resubscription, Seed, SubscriptionStatus, TokenSeed};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, prompt, roomy};

const V4: &str = "/communication-preferences/v4";
const V3: &str = "/communication-preferences/v3";
const ADA: &str = "ada%40example.com";

fn set(subscription: u64, state: &str) -> Value {
    json!({ "channel": "EMAIL", "subscriptionId": subscription, "statusState": state })
}

#[tokio::test]
async fn a_status_is_set_and_read_in_every_version() {
    for base in [V4, "/communication-preferences/2026-03", "/communication-preferences/2026-09"] {
        let sim = roomy().start().await.expect("the simulator starts");
        let http = Http::to(&sim);
        let path = format!("{base}/statuses/{ADA}");
        for (state, reason) in [
            ("SUBSCRIBED", "REQUESTED_CHANGE_OCCURRED"),
            ("SUBSCRIBED", "NO_STATUS_CHANGE"),
            ("UNSUBSCRIBED", "REQUESTED_CHANGE_OCCURRED"),
        ] {
            let mut body = set(101, state);
            body["legalBasis"] = json!("CONSENT_WITH_NOTICE");
            let reply = http.post(&path, &body).await;
            assert_eq!(reply.status, 200, "{base}: {}", reply.text);
            assert_parts(
                base,
                &reply.json(),
                &[
                    ("/results/0/subscriberIdString", json!("ada@example.com")),
                    ("/results/0/status", json!(state)),
                    ("/results/0/setStatusSuccessReason", json!(reason)),
                    ("/results/0/legalBasis", json!("CONSENT_WITH_NOTICE")),
                ],
            );
        }
        let read = http.get(&format!("{path}?channel=EMAIL")).await.json();
        assert_parts(
            base,
            &read,
            &[
                ("/results/0/subscriptionId", json!(101)),
                ("/results/0/status", json!("UNSUBSCRIBED")),
                ("/results/1/status", json!("NOT_SPECIFIED")),
            ],
        );
        assert_eq!(sim.subscription_status("ADA@example.com", 101), SubscriptionStatus::Unsubscribed);
        let definitions = http.get(&format!("{base}/definitions")).await.json();
        assert_parts(base, &definitions, &[("/results/0/id", json!("101")), ("/results/0/name", json!("Marketing"))]);
    }
}

#[tokio::test]
async fn statuses_that_are_refused() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let path = format!("{V4}/statuses/{ADA}");
    for (path, body) in [
        (path.clone(), set(999, "SUBSCRIBED")),
        (path.clone(), set(101, "MAYBE")),
        (path.clone(), json!({ "subscriptionId": 101, "statusState": "SUBSCRIBED" })),
        (path.clone(), json!({ "channel": "SMS", "subscriptionId": 101, "statusState": "SUBSCRIBED" })),
        (path.clone(), json!({ "channel": "EMAIL", "statusState": "SUBSCRIBED" })),
        (format!("{V4}/statuses/nobody"), set(101, "SUBSCRIBED")),
    ] {
        assert_eq!(http.post(&path, &body).await.status, 400, "{path} {body}");
    }
    assert_eq!(http.get(&path).await.status, 400, "a channel must be named");
    assert_eq!(sim.stats().statuses_written, 0);
}

#[tokio::test]
async fn who_opted_out_by_link_stays_out() {
    for (resubscription, status) in [(Resubscription::Refused, 400), (Resubscription::Allowed, 200)] {
        let sim =
            roomy().with_quirks(Quirks { resubscription, ..prompt() }).start().await.expect("the simulator starts");
        let http = Http::to(&sim);
        sim.opt_out("ada@example.com", 101);
        assert_eq!(http.post(&format!("{V4}/statuses/{ADA}"), &set(101, "SUBSCRIBED")).await.status, status);
        let body = json!({ "emailAddress": "ada@example.com", "subscriptionId": "101" });
        let again = http.post(&format!("{V3}/subscribe"), &body).await.status;
        assert_eq!(again, 400, "in version 3 also because the status is not new");
        // Who was unsubscribed through the API can be subscribed through it.
        http.post(&format!("{V4}/statuses/{ADA}"), &set(102, "UNSUBSCRIBED")).await;
        assert_eq!(http.post(&format!("{V4}/statuses/{ADA}"), &set(102, "SUBSCRIBED")).await.status, 200);
    }
}

#[tokio::test]
async fn all_subscriptions_end_at_once() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let path = format!("{V4}/statuses/{ADA}/unsubscribe-all");
    assert_eq!(http.post(&path, &Value::Null).await.status, 400, "a channel must be named");
    assert_eq!(http.post(&format!("{path}?channel=EMAIL"), &Value::Null).await.status, 200);
    for subscription in [101, 102] {
        assert_eq!(sim.subscription_status("ada@example.com", subscription), SubscriptionStatus::Unsubscribed);
    }
}

#[tokio::test]
async fn batches_need_a_scope_of_their_own_and_report_per_input() {
    let token = |token: &str, scope: &str| TokenSeed {
        token: token.to_owned(),
        scopes: vec![scope.to_owned()],
        expires_at_ms: None,
    };
    let tokens = vec![
        token("write", "communication_preferences.write"),
        token("batch", "communication_preferences.statuses.batch.write"),
    ];
    let seed = Seed { tokens, rate_limits: RateLimits::Unlimited, ..Seed::default() };
    let sim = roomy().with_seed(seed).start().await.expect("the simulator starts");
    let input = |email: &str, subscription| {
        let mut input = set(subscription, "SUBSCRIBED");
        input["subscriberIdString"] = json!(email);
        input
    };
    let body = json!({ "inputs": [input("a@example.com", 101), input("b@example.com", 999)] });
    let path = format!("{V4}/statuses/batch/write");
    assert_eq!(Http::to(&sim).with_token(Some("write")).post(&path, &body).await.status, 403);
    let http = Http::to(&sim).with_token(Some("batch"));
    let reply = http.post(&path, &body).await;
    assert_eq!(reply.status, 207, "{}", reply.text);
    assert_parts(
        "batch",
        &reply.json(),
        &[
            ("/results/0/subscriberIdString", json!("a@example.com")),
            ("/errors/0/context/subscriberIdString", json!(["b@example.com"])),
            ("/numErrors", json!(1)),
        ],
    );
    let many: Vec<Value> = (0..101).map(|i| input(&format!("c{i}@example.com"), 101)).collect();
    assert_eq!(http.post(&path, &json!({ "inputs": many })).await.status, 400);
    assert_eq!(http.get(&format!("{V4}/definitions")).await.status, 403);
}

#[tokio::test]
async fn version_3_has_another_contract_and_may_ask_for_a_legal_basis() {
    for needs_legal_basis in [false, true] {
        let seed = Seed { needs_legal_basis, rate_limits: RateLimits::Unlimited, ..Seed::default() };
        let sim = roomy().with_seed(seed).start().await.expect("the simulator starts");
        let http = Http::to(&sim);
        let mut body = json!({ "emailAddress": "ada@example.com", "subscriptionId": "101" });
        let bare = http.post(&format!("{V3}/subscribe"), &body).await;
        assert_eq!(bare.status, if needs_legal_basis { 400 } else { 200 }, "{}", bare.text);
        body["legalBasis"] = json!("LEGITIMATE_INTEREST_CLIENT");
        body["legalBasisExplanation"] = json!("asked at the till");
        let full = http.post(&format!("{V3}/subscribe"), &body).await;
        assert_eq!(full.status, if needs_legal_basis { 200 } else { 400 }, "a second time is refused");
        let ended = http.post(&format!("{V3}/unsubscribe"), &body).await;
        assert_parts("ended", &ended.json(), &[("/id", json!("101")), ("/status", json!("UNSUBSCRIBED"))]);
        let read = http.get(&format!("{V3}/status/email/{ADA}")).await.json();
        assert_parts(
            "read",
            &read,
            &[
                ("/recipient", json!("ada@example.com")),
                ("/subscriptionStatuses/0/status", json!("UNSUBSCRIBED")),
                ("/subscriptionStatuses/0/legalBasis", json!("LEGITIMATE_INTEREST_CLIENT")),
            ],
        );
        // The versions after it do not ask.
        let dated = http.post(&format!("{V4}/statuses/{ADA}"), &set(101, "SUBSCRIBED")).await;
        assert_eq!(dated.status, 200);
    }
}
