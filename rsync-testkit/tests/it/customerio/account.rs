//! Credentials, regions, limits and paths.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use rsync_core::memory::ManualClock;
use rsync_testkit::sim::customerio::{CustomerIoSim, Quirks, RateLimits, Region, Seed};
use serde_json::json;

use super::harness::{ENTITY, Http, identify, prompt, roomy};

const PROBE: &str = "/api/v1/accounts/region";

#[tokio::test]
async fn a_track_refusal_is_byte_exact() {
    let sim = roomy().start().await.expect("the simulator starts");
    let good = Http::to(&sim);
    for http in [
        good.without_login(),
        good.with_login(&sim.site_id(), "wrong"),
        good.with_login("wrong", &sim.api_key()),
        good.with_login(&sim.api_key(), &sim.site_id()),
        good.with_token(&sim.app_api_key()),
    ] {
        for (method, path) in [(Method::GET, PROBE), (Method::POST, ENTITY), (Method::DELETE, "/api/v1/customers/1")] {
            let reply = http.send(method, path, None).await.expect("an answer");
            let expected = "{\n  \"meta\": {\n    \"error\": \"Unauthorized request\"\n  }\n}\n";
            assert_eq!((reply.status, reply.text.as_str()), (401, expected), "{path}");
        }
    }
    assert_eq!(sim.stats().unauthenticated_answers, 15);
}

#[tokio::test]
async fn both_alphabets_of_base_64_are_read() {
    // These two give `+` and `/` in the one alphabet, `-` and `_` in the other.
    let seed = Seed { site_id: "~~~".to_owned(), api_key: "?>~?>~".to_owned(), ..Seed::default() };
    let sim = roomy().with_seed(seed).start().await.expect("the simulator starts");
    let client = reqwest::Client::new();
    for (scheme, expected) in [
        ("Basic fn5+Oj8+fj8+fg==", 200),
        ("Basic fn5-Oj8-fj8-fg==", 200),
        ("basic fn5+Oj8+fj8+fg==", 200),
        ("Basic fn5+Oj8+fj8+fQ==", 401),
        ("Basic !", 401),
        ("Basic", 401),
        ("Bearer fn5+Oj8+fj8+fg==", 401),
    ] {
        let request =
            client.get(format!("{}{PROBE}", sim.base_url())).header(AUTHORIZATION, HeaderValue::from_static(scheme));
        assert_eq!(request.send().await.expect("an answer").status(), expected, "{scheme}");
    }
}

#[tokio::test]
async fn the_probe_names_the_region_of_the_account() {
    for (account, host, name) in [
        (Region::Us, Region::Us, "us"),
        (Region::Us, Region::Eu, "us"),
        (Region::Eu, Region::Us, "eu"),
        (Region::Eu, Region::Eu, "eu"),
    ] {
        let sim = roomy().with_region(account).with_host_region(host).start().await.expect("the simulator starts");
        let reply = Http::to(&sim).get(PROBE).await;
        let url = if account == Region::Us { "https://track.customer.io" } else { "https://track-eu.customer.io" };
        let expected = json!({ "url": url, "region": name, "environment_id": sim.environment_id() });
        assert_eq!((reply.status, reply.json()), (200, expected));
        assert_eq!((sim.stats().region_requests, sim.stats().write_requests()), (1, 0));
    }
}

#[tokio::test]
async fn the_host_of_the_wrong_region() {
    let call = identify(json!({ "id": "1" }), json!({}));
    for redirect_status in [307, 301] {
        let quirks = Quirks { redirect_status, ..prompt() };
        let sim = roomy().with_quirks(quirks).with_region(Region::Eu).with_host_region(Region::Us);
        let sim = sim.start().await.expect("the simulator starts");
        let reply = Http::to(&sim).post(&format!("{ENTITY}?a=%2F"), &call).await;
        let expected = "https://track-eu.customer.io/api/v2/entity?a=%2F";
        assert_eq!((reply.status, reply.header("location")), (redirect_status, Some(expected)));
        assert_eq!(Http::to(&sim).with_login("a", "b").post(ENTITY, &call).await.status, 401, "strangers go nowhere");
        assert!(sim.people().is_empty());
    }
    let sim = roomy().with_region(Region::Us).with_host_region(Region::Eu).start().await.expect("starts");
    assert_eq!(Http::to(&sim).post(ENTITY, &call).await.status, 401, "an American account is unknown in Europe");
    assert!(sim.people().is_empty());
}

#[tokio::test]
async fn limits_of_both_apis() {
    let clock = ManualClock::new();
    let limits = RateLimits::Explicit { track_per_three_seconds: Some(2), app_per_second: Some(1) };
    let sim = roomy().with_rate_limits(limits).with_clock(Arc::new(clock.clone())).start().await.expect("starts");
    let (track, app) = (Http::to(&sim), Http::to_app(&sim));
    let write = async || track.post(ENTITY, &identify(json!({ "id": "1" }), json!({}))).await;
    let read = async || app.get("/v1/customers?email=x%40example.com").await.status;
    assert_eq!((write().await.status, write().await.status), (200, 200));
    let refused = write().await;
    assert_eq!((refused.status, refused.text.as_str()), (429, ""));
    for header in ["retry-after", "content-type", "x-ratelimit-limit"] {
        assert_eq!(refused.header(header), None, "{header}");
    }
    assert_eq!((read().await, read().await), (200, 429));
    clock.advance(Duration::from_millis(1_000));
    assert_eq!((write().await.status, read().await), (429, 200));
    clock.advance(Duration::from_millis(2_000));
    assert_eq!(write().await.status, 200);
    assert_eq!(sim.stats().rate_limited_answers, 3);
    sim.set_rate_limits(RateLimits::Unlimited);
    for _ in 0..5 {
        assert_eq!((write().await.status, read().await), (200, 200));
    }
}

#[tokio::test]
async fn the_documented_limit_of_app_is_ten_a_second() {
    let clock = ManualClock::new();
    let quirks = Quirks { retry_after_seconds: Some(7), ..Quirks::default() };
    let sim = CustomerIoSim::builder().with_clock(Arc::new(clock)).with_quirks(quirks).start().await.expect("starts");
    let app = Http::to_app(&sim);
    for _ in 0..10 {
        assert_eq!(app.get("/v1/customers?email=x%40example.com").await.status, 200);
    }
    let refused = app.get("/v1/customers?email=x%40example.com").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("7")));
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim).without_login();
    for (method, path, status) in [
        (Method::GET, "/", 404),
        (Method::POST, "/api/v3/batch", 404),
        (Method::PUT, "/api/v1/customers/", 404),
        (Method::PUT, "/api/v1/customers/%ff", 404),
        (Method::PUT, "/api/v1/customers/a/b", 404),
        (Method::GET, "/api/v2/batch", 405),
        (Method::POST, "/api/v1/customers/1", 405),
        (Method::DELETE, "/v1/customers", 405),
    ] {
        let reply = http.send(method.clone(), path, None).await.expect("an answer");
        assert_eq!(reply.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn configuration_that_cannot_work_is_refused_with_every_problem() {
    let seed = json!({ "site_id": "", "api_key": "a:b", "people": [{}, { "email": "nobody" }, { "id": "1", "attributes": { "email": "x" } }] });
    let problem = Seed::from_json(&seed.to_string()).expect_err("five problems").to_string();
    for part in ["site_id", "api_key", "people[0]", "people[1].email", "people[2].attributes.email"] {
        assert!(problem.contains(part), "{part} missing in: {problem}");
    }
    assert!(Seed::from_json(r#"{"site":"x"}"#).is_err());
    let twice =
        json!({ "people": [{ "id": "1" }, { "id": "1" }, { "id": "2", "attributes": { "a": "x".repeat(1_001) } }] });
    let seed = Seed::from_json(&twice.to_string()).expect("each person is fine");
    let problem = CustomerIoSim::builder().with_seed(seed).start().await.expect_err("two problems").to_string();
    assert!(problem.contains("people[1].id") && problem.contains("people[2].a"), "{problem}");
    let quirks = Quirks { redirect_status: 200, oversize_status: 500, ..Quirks::default() };
    let problem = CustomerIoSim::builder().with_quirks(quirks).start().await.expect_err("two problems").to_string();
    assert!(problem.contains("redirect_status") && problem.contains("oversize_status"), "{problem}");
}
