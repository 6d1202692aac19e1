//! The token endpoint and sessions.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use rsync_core::clock::Clock;
use rsync_core::memory::ManualClock;
use rsync_testkit::sim::salesforce::{
    BadAssertion, ErrorDescription, Quirks, SalesforceSim, Seed, SessionTimer, UnknownClient,
};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, org, signed};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

struct Org {
    sim: SalesforceSim,
    clock: ManualClock,
}

impl Org {
    async fn start(quirks: Quirks, seed: Seed) -> Self {
        let clock = ManualClock::new();
        clock.advance(Duration::from_millis(1_782_878_400_250));
        let clock_of_sim = Arc::new(clock.clone());
        let builder = org().with_seed(seed).with_quirks(quirks).with_clock(clock_of_sim);
        Self { sim: builder.start().await.expect("the simulator starts"), clock }
    }

    fn now(&self) -> u64 {
        self.clock.wall().as_secs()
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.sim.client_id(),
            "sub": self.sim.username(),
            "aud": "https://login.salesforce.com",
            "exp": self.now() + 170,
        })
    }

    async fn sign_in(&self, claims: &Value) -> super::harness::Reply {
        let assertion = signed(self.sim.private_key_pem(), claims);
        Http::to(&self.sim).token(&[("grant_type", JWT_BEARER), ("assertion", &assertion)], &[]).await
    }
}

#[tokio::test]
async fn an_assertion_gives_a_session() {
    let org = Org::start(Quirks::default(), Seed::default()).await;
    let reply = org.sign_in(&org.claims()).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let body = reply.json();
    let issued_at: u128 = body["issued_at"].as_str().and_then(|text| text.parse().ok()).expect("milliseconds as text");
    assert_eq!(issued_at, org.clock.wall().as_millis());
    let parts = [("/instance_url", json!(org.sim.base_url())), ("/token_type", json!("Bearer"))];
    assert_parts("token", &body, &parts);
    let identity = body["id"].as_str().expect("an identity");
    assert!(identity.contains(&format!("/id/{}/005", org.sim.organization_id())), "{identity}");
    let http = Http::to(&org.sim).with_token(body["access_token"].as_str());
    assert_eq!(http.get("/limits").await.status, 200);
    assert_eq!((org.sim.stats().token_requests, org.sim.stats().tokens_issued), (1, 1));
}

#[tokio::test]
async fn claims_are_judged() {
    let org = Org::start(Quirks::default(), Seed::default()).await;
    let now = org.now();
    let own = org.sim.base_url();
    for (change, expected) in [
        (json!({ "exp": now + 180 }), None),
        // Half a second has begun, and clients round up.
        (json!({ "exp": now + 181 }), None),
        (json!({ "exp": (now + 60).to_string() }), None),
        (json!({ "aud": "https://test.salesforce.com" }), None),
        (json!({ "aud": own }), None),
        (json!({ "sub": "x", "prn": org.sim.username() }), None),
        (json!({ "prn": "x" }), Some(("invalid_grant", "user hasn't approved this consumer"))),
        (json!({ "sub": "x" }), Some(("invalid_grant", "user hasn't approved this consumer"))),
        (json!({ "iss": "x" }), Some(("invalid_client_id", "client identifier invalid"))),
        (json!({ "aud": "https://login.example.com" }), Some(("invalid_grant", "Audience validation failed"))),
        (json!({ "exp": now }), Some(("invalid_grant", "assertion has expired"))),
        (json!({ "exp": now + 182 }), Some(("invalid_grant", "invalid assertion"))),
        (json!({ "exp": "soon" }), Some(("invalid_grant", "invalid assertion"))),
        (json!({ "exp": null }), Some(("invalid_grant", "invalid assertion"))),
    ] {
        let mut claims = org.claims();
        for (name, value) in change.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        let reply = org.sign_in(&claims).await;
        match expected {
            None => assert_eq!(reply.status, 200, "{change}: {}", reply.text),
            Some((error, description)) => {
                let parts = [("/error", json!(error)), ("/error_description", json!(description))];
                assert_eq!(reply.status, 400, "{change}");
                assert_parts(&change.to_string(), &reply.json(), &parts);
            }
        }
    }
}

#[tokio::test]
async fn only_the_apps_own_signature_counts() {
    let org = Org::start(Quirks::default(), Seed::default()).await;
    let other = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key").serialize_pem();
    let good = signed(org.sim.private_key_pem(), &org.claims());
    let (head, _) = good.rsplit_once('.').expect("three parts");
    for (name, assertion) in [
        ("another key", signed(&other, &org.claims())),
        ("no signature", format!("{head}.")),
        ("no assertion", String::new()),
        ("changed", good.replacen('e', "f", 1)),
    ] {
        let form = [("grant_type", JWT_BEARER), ("assertion", assertion.as_str()), ("client_id", "ignored")];
        let reply = Http::to(&org.sim).token(&form, &[]).await;
        assert_eq!((reply.status, &reply.json()["error"]), (400, &json!("invalid_grant")), "{name}");
    }
    // A client id beside the assertion is what some clients send.
    let form = [("grant_type", JWT_BEARER), ("assertion", good.as_str()), ("client_id", "ignored")];
    assert_eq!(Http::to(&org.sim).token(&form, &[]).await.status, 200);
}

#[tokio::test]
async fn client_credentials() {
    let org = Org::start(Quirks::default(), Seed::default()).await;
    let (id, secret) = (org.sim.client_id(), org.sim.client_secret());
    let basic = |id: &str, secret: &str| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let http = Http::to(&org.sim);
    let grant = ("grant_type", "client_credentials");
    for (name, form, header, expected) in [
        ("body", vec![grant, ("client_id", id.as_str()), ("client_secret", secret.as_str())], None, None),
        ("basic", vec![grant], Some(basic(&id, &secret)), None),
        ("wrong secret", vec![grant], Some(basic(&id, "x")), Some("invalid_client")),
        ("wrong id", vec![grant, ("client_id", "x"), ("client_secret", "y")], None, Some("invalid_client_id")),
        ("nobody", vec![grant], None, Some("invalid_client_id")),
        ("password", vec![("grant_type", "password")], None, Some("unsupported_grant_type")),
        ("no grant", vec![], None, Some("unsupported_grant_type")),
    ] {
        let headers: Vec<(&str, &str)> = header.iter().map(|value| ("authorization", value.as_str())).collect();
        let reply = http.token(&form, &headers).await;
        match expected {
            None => assert_eq!(reply.status, 200, "{name}: {}", reply.text),
            Some(error) => assert_eq!((reply.status, &reply.json()["error"]), (400, &json!(error)), "{name}"),
        }
    }
    let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let reply = http.send(reqwest::Method::POST, "/services/oauth2/token", Some(body)).await.expect("an answer");
    assert_eq!((reply.status, &reply.json()["error"]), (400, &json!("unsupported_grant_type")), "no form");
}

#[tokio::test]
async fn unsettled_refusals_are_switches() {
    let quirks = Quirks {
        bad_assertion: BadAssertion::InvalidClient,
        unknown_client: UnknownClient::InvalidClient,
        error_description: ErrorDescription::Omitted,
        ..Quirks::default()
    };
    let org = Org::start(quirks, Seed { app_approved: false, ..Seed::default() }).await;
    for (change, status, error) in [
        (json!({ "exp": 1 }), 401, "invalid_client"),
        (json!({ "iss": "x" }), 400, "invalid_client"),
        (json!({}), 400, "invalid_grant"),
    ] {
        let mut claims = org.claims();
        for (name, value) in change.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        let reply = org.sign_in(&claims).await;
        assert_eq!((reply.status, reply.json()), (status, json!({ "error": error })), "{change}");
    }
}

#[tokio::test]
async fn sessions_end() {
    for (timer, still_good) in [(SessionTimer::Sliding, 200), (SessionTimer::Fixed, 401)] {
        let quirks = Quirks { session_timer: timer, ..Quirks::default() };
        let org = Org::start(quirks, Seed { session_seconds: 100, ..Seed::default() }).await;
        let http = Http::to(&org.sim);
        org.clock.advance(Duration::from_secs(99));
        assert_eq!(http.get("/limits").await.status, 200);
        org.clock.advance(Duration::from_secs(99));
        assert_eq!(http.get("/limits").await.status, still_good, "{timer:?}");
        org.clock.advance(Duration::from_secs(100));
        let ended = http.get("/limits").await;
        assert_eq!(ended.status, 401);
        let body = json!([{ "message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID" }]);
        assert_eq!(ended.json(), body);
        assert_eq!(ended.header("sforce-limit-info"), None);
    }
}

#[tokio::test]
async fn sessions_can_be_ended() {
    let sim = org().start().await.expect("the simulator starts");
    let (one, other) = (Http::to(&sim), Http::to(&sim));
    assert_eq!((one.get("/limits").await.status, other.get("/limits").await.status), (200, 200));
    sim.expire_tokens();
    assert_eq!((one.get("/limits").await.status, other.get("/limits").await.status), (401, 401));
    assert_eq!(Http::to(&sim).get("/limits").await.status, 200);
    assert_eq!(sim.stats().unauthenticated_answers, 2);
}

#[tokio::test]
async fn headers_that_name_no_session() {
    let sim = org().start().await.expect("the simulator starts");
    let http = Http::to(&sim).with_token(None);
    let token = sim.start_session();
    for (header, status, code) in [
        (None, 401, "INVALID_SESSION_ID"),
        (Some("Bearer wrong".to_owned()), 401, "INVALID_SESSION_ID"),
        (Some(token.clone()), 401, "INVALID_AUTH_HEADER"),
        (Some(format!("Basic {token}")), 401, "INVALID_HEADER_TYPE"),
        (Some(format!("OAuth {token}")), 200, ""),
        (Some(format!("bearer {token}")), 200, ""),
    ] {
        let headers: Vec<(&str, &str)> = header.iter().map(|value| ("authorization", value.as_str())).collect();
        let reply = http.with_headers(reqwest::Method::GET, "/limits", &headers, None).await.expect("an answer");
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{header:?}");
    }
}

#[tokio::test]
async fn the_instance_may_move_or_be_a_lie() {
    let sim = org().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let (id, secret) = (sim.client_id(), sim.client_secret());
    let form = [("grant_type", "client_credentials"), ("client_id", &*id), ("client_secret", &*secret)];
    for said in [
        "https://moved.my.salesforce.com",
        "https://moved.my.salesforce.com/",
        "http://127.0.0.1:1",
        "https://user:secret@evil.example",
        "https://login.salesforce.com.evil.example",
        "javascript:alert(1)",
        "",
    ] {
        sim.set_instance_url(Some(said));
        assert_eq!(http.token(&form, &[]).await.json()["instance_url"], json!(said));
    }
    sim.set_instance_url(None);
    assert_eq!(http.token(&form, &[]).await.json()["instance_url"], json!(sim.base_url()));
}
