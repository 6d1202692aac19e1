//! Request limits and their headers.

use std::sync::Arc;
use std::time::Duration;

use rsync_core::memory::ManualClock;
use rsync_testkit::sim::hubspot::{Quirks, RateLimits, SearchPolicyName, Seed, Tier, TokenSeed, all_scopes};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, prompt, roomy};

const READ: &str = "/crm/v3/objects/contacts?limit=1";
const SEARCH: &str = "/crm/v3/objects/contacts/search";

fn explicit(per_ten_seconds: u64, per_day: u64) -> RateLimits {
    RateLimits::Explicit { per_ten_seconds: Some(per_ten_seconds), per_day: Some(per_day), search_per_second: Some(5) }
}

#[tokio::test]
async fn the_ten_second_window() {
    let clock = ManualClock::new();
    let sim = roomy()
        .with_quirks(Quirks { retry_after_seconds: Some(3), ..prompt() })
        .with_rate_limits(explicit(3, 1_000))
        .with_clock(Arc::new(clock.clone()))
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    for remaining in ["2", "1", "0"] {
        let reply = http.get(READ).await;
        assert_eq!(reply.status, 200);
        for (header, value) in [
            ("x-hubspot-ratelimit-max", "3"),
            ("x-hubspot-ratelimit-remaining", remaining),
            ("x-hubspot-ratelimit-interval-milliseconds", "10000"),
            ("x-hubspot-ratelimit-daily", "1000"),
        ] {
            assert_eq!(reply.header(header), Some(value), "{header}");
        }
    }
    clock.advance(Duration::from_millis(9_999));
    let refused = http.get(READ).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("3"));
    assert_parts(
        "429",
        &refused.json(),
        &[
            ("/message", json!("You have reached your ten_secondly_rolling limit.")),
            ("/errorType", json!("RATE_LIMIT")),
            ("/policyName", json!("TEN_SECONDLY_ROLLING")),
            ("/groupName", json!("publicapi:private_app-api-calls-ten-secondly:4511:19083857")),
            ("/category", Value::Null),
        ],
    );
    clock.advance(Duration::from_millis(1));
    assert_eq!(http.get(READ).await.status, 200);
    assert_eq!(sim.stats().rate_limited_answers, 1);
    sim.set_rate_limits(RateLimits::Unlimited);
    assert_eq!(http.get(READ).await.header("x-hubspot-ratelimit-max"), None);
}

#[tokio::test]
async fn windows_are_per_token_and_the_day_is_per_portal() {
    let mut seed = Seed { rate_limits: explicit(1, 3), ..Seed::default() };
    seed.tokens.push(TokenSeed { token: "other".to_owned(), scopes: all_scopes(), expires_at_ms: None });
    let sim =
        roomy().with_seed(seed).with_clock(Arc::new(ManualClock::new())).start().await.expect("the simulator starts");
    let (one, other) = (Http::to(&sim), Http::to(&sim).with_token(Some("other")));
    assert_eq!(one.get(READ).await.status, 200);
    assert_eq!(one.get(READ).await.status, 429);
    assert_eq!(other.get(READ).await.status, 200);
    let search = one.post(SEARCH, &json!({})).await;
    assert_eq!(search.status, 200, "search has its own window");
    let refused = other.post(SEARCH, &json!({})).await;
    assert_eq!(refused.status, 429, "but counts towards the day");
    assert_parts("daily", &refused.json(), &[("/policyName", json!("DAILY"))]);
    assert_eq!(refused.json()["requestId"], refused.json()["correlationId"]);
}

#[tokio::test]
async fn five_searches_a_second() {
    let clock = ManualClock::new();
    let sim = roomy()
        .with_rate_limits(RateLimits::Tier(Tier::Enterprise))
        .with_clock(Arc::new(clock.clone()))
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    for _ in 0..5 {
        assert_eq!(http.post(SEARCH, &json!({})).await.status, 200);
    }
    let refused = http.post(SEARCH, &json!({})).await;
    assert_eq!(refused.status, 429);
    assert_parts(
        "secondly",
        &refused.json(),
        &[("/message", json!("You have reached your secondly limit.")), ("/policyName", Value::Null)],
    );
    assert_eq!(http.get(READ).await.header("x-hubspot-ratelimit-max"), Some("190"));
    clock.advance(Duration::from_secs(1));
    assert_eq!(http.post(SEARCH, &json!({})).await.status, 200);
    assert_eq!(sim.stats().search_requests, 7);
}

#[tokio::test]
async fn a_refused_search_may_name_its_policy() {
    let quirks = Quirks { search_policy_name: SearchPolicyName::Secondly, ..prompt() };
    let limits = RateLimits::Explicit { per_ten_seconds: None, per_day: None, search_per_second: Some(0) };
    let sim = roomy().with_quirks(quirks).with_rate_limits(limits).start().await.expect("the simulator starts");
    let refused = Http::to(&sim).post(SEARCH, &json!({})).await;
    assert_eq!(refused.status, 429);
    assert_parts("secondly", &refused.json(), &[("/policyName", json!("SECONDLY"))]);
}
