//! Signing in: what is sent to the login host, what its answers lead to, and what ends a session.

mod support;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rsync_core::clock::{Clock, SystemClock};
use rsync_core::destination::Target;
use rsync_core::{Destination, Kind, Retry, Secret};
use rsync_salesforce::{Builder, Credentials, Salesforce};
use rsync_testkit::sim::salesforce::{FieldSeed, SalesforceSim, Seed};
use serde_json::Value;
use support::*;

/// A clock whose wall time stands still.
#[derive(Debug)]
struct Stopped(SystemClock);

/// Seconds since 1970 on the stopped clock.
const NOW: u64 = 1_795_305_600;

impl Clock for Stopped {
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
    fn wall(&self) -> Duration {
        Duration::from_secs(NOW)
    }
    fn sleep(&self, pause: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(pause)
    }
}

fn secret() -> Credentials {
    Credentials::client_credentials("consumer&key", Secret::new("canary=secret"))
}

fn builder(server: &Playback, credentials: Credentials) -> Builder {
    Salesforce::builder().credentials(credentials).login_url(&server.base_url).allow_loopback_http(true)
}

const ANSWER: &str = r#"{"access_token":"00Dx!canary","instance_url":"{base_url}/","issued_at":"1278448832702",
    "id":"https://login.salesforce.com/id/00DRM000000EAqL2AW/005RM000001a2b3YAA","token_type":"Bearer"}"#;

/// Form fields of a request.
fn form(request: &str) -> Vec<(String, String)> {
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let url = rsync_http::reqwest::Url::parse(&format!("https://x/?{body}")).unwrap();
    url.query_pairs().into_owned().collect()
}

#[tokio::test]
async fn client_credentials_travel_in_the_body() {
    let server = Playback::start(vec![(200, ANSWER.into()), (200, CONTACT.into())]).await;
    let account = builder(&server, secret()).build().unwrap().check(&contacts()).await.unwrap();
    assert_eq!(account.as_str(), "00DRM000000EAqL2AW");
    let [login, describe] = &server.requests()[..] else { panic!("two calls") };
    assert!(login.starts_with("POST /services/oauth2/token HTTP/1.1\r\n"), "{login}");
    assert!(login.contains("content-type: application/x-www-form-urlencoded\r\n") && !login.contains("authorization"));
    let fields =
        [("grant_type", "client_credentials"), ("client_id", "consumer&key"), ("client_secret", "canary=secret")];
    assert_eq!(form(login), fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(describe.contains("authorization: Bearer 00Dx!canary\r\n"), "{describe}");
}

#[tokio::test]
async fn assertions_hold_what_the_service_asks_for() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let server = Playback::start(vec![(200, ANSWER.into()), (200, CONTACT.into())]).await;
    let credentials = Credentials::jwt_bearer("consumer-key", "ada@example.com", Secret::new(key.serialize_pem()));
    let salesforce = builder(&server, credentials).clock(Arc::new(Stopped(SystemClock::new()))).build().unwrap();
    salesforce.check(&contacts()).await.unwrap();
    let fields = form(&server.requests()[0]);
    assert_eq!(fields[0], ("grant_type".into(), "urn:ietf:params:oauth:grant-type:jwt-bearer".into()));
    assert_eq!((fields.len(), fields[1].0.as_str()), (2, "assertion"));

    let public = DecodingKey::from_rsa_pem(key.public_key_pem().as_bytes()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    (validation.validate_exp, validation.validate_aud) = (false, false);
    let token = jsonwebtoken::decode::<Value>(&fields[1].1, &public, &validation).unwrap();
    let expected = serde_json::json!({"iss": "consumer-key", "sub": "ada@example.com",
        "aud": "https://login.salesforce.com", "exp": NOW + 170});
    assert_eq!(token.claims, expected);
}

#[tokio::test]
async fn s08_a_token_is_sent_to_known_hosts_only() {
    let elsewhere = Playback::start(vec![(200, CONTACT.into())]).await;
    for instance in
        ["https://canary.evil.example", "https://my.salesforce.com.evil.example", "http://10.0.0.1", "canary", ""]
    {
        let server = Playback::start(vec![(200, ANSWER.replace("{base_url}/", instance).into())]).await;
        let error = builder(&server, secret()).build().unwrap().check(&contacts()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Never), "{instance}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("allowed_hosts")), "{error}");
        assert!(!shown(&error).contains(CANARY), "{}", shown(&error));
        assert_eq!(server.requests().len(), 1);
    }
    // Another service on this machine is a simulator's instance, where that is permitted.
    let server = Playback::start(vec![(200, ANSWER.replace("{base_url}/", &elsewhere.base_url).into())]).await;
    builder(&server, secret()).build().unwrap().check(&contacts()).await.unwrap();
    assert_eq!((server.requests().len(), elsewhere.requests().len()), (1, 1));
}

#[tokio::test]
async fn answers_of_the_login_host_are_told_apart() {
    let oauth = |code: &str, text: &str| format!(r#"{{"error":"{code}","error_description":"{text} canary"}}"#);
    let refused = (Kind::Unauthenticated, Retry::Never);
    let table = [
        (400, oauth("invalid_grant", "user hasn't approved this consumer"), refused, "pre-authorise"),
        (400, oauth("invalid_grant", "Audience validation failed"), refused, "audience"),
        (400, oauth("invalid_grant", "expired"), refused, "clock"),
        (400, oauth("invalid_client_id", "x"), refused, "consumer key"),
        (401, oauth("invalid_client", "x"), refused, "consumer key"),
        (400, oauth("unsupported_grant_type", "x"), refused, "flow"),
        (400, r#"{"error":"invalid_grant"}"#.to_owned(), refused, "clock"),
        (400, r#"{"error":"canary@example.com"}"#.to_owned(), refused, "login URL"),
        (403, "<html>".to_owned(), refused, "login URL"),
        (404, String::new(), (Kind::InvalidConfig, Retry::Never), "login URL"),
        (429, String::new(), (Kind::RateLimited, Retry::Backoff), "login URL"),
        (503, "<html>".to_owned(), (Kind::Unavailable, Retry::Backoff), "login URL"),
        (418, String::new(), (Kind::Protocol, Retry::Never), "login URL"),
    ];
    for (status, body, expected, remedy) in table {
        let server = Playback::start(vec![(status, body.clone().into())]).await;
        let error = builder(&server, secret()).build().unwrap().check(&contacts()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), expected, "{status} {body}");
        assert!(error.remedy().is_some_and(|text| text.contains(remedy)), "{error}");
        assert!(!shown(&error).contains(CANARY), "{}", shown(&error));
    }
    for body in ["", "[]", "{}", r#"{"access_token":"canary"}"#, r#"{"instance_url":"{base_url}"}"#] {
        let server = Playback::start(vec![(200, body.into())]).await;
        let error = builder(&server, secret()).build().unwrap().check(&contacts()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Backoff), "{body}");
        assert!(!shown(&error).contains(CANARY));
    }
}

async fn sim() -> SalesforceSim {
    SalesforceSim::builder().with_field("Contact", FieldSeed::external_id("Ext__c")).start().await.unwrap()
}

fn against(sim: &SalesforceSim, credentials: Credentials) -> Salesforce {
    Salesforce::builder().credentials(credentials).login_url(sim.base_url()).allow_loopback_http(true).build().unwrap()
}

fn assertion(sim: &SalesforceSim) -> Credentials {
    Credentials::jwt_bearer(sim.client_id(), sim.username(), Secret::new(sim.private_key_pem()))
}

#[tokio::test]
async fn both_flows_lead_to_the_organization() {
    let sim = sim().await;
    let client = Credentials::client_credentials(sim.client_id(), Secret::new(sim.client_secret()));
    for credentials in [assertion(&sim), client] {
        let salesforce = against(&sim, credentials);
        assert_eq!(salesforce.check(&contacts()).await.unwrap().as_str(), sim.organization_id());
        let error = salesforce.check(&Target::new("No_such__c", "Ext__c")).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::NotFound, Retry::Never));
    }
    assert_eq!(sim.stats().tokens_issued, 2);
}

#[tokio::test]
async fn refused_credentials_are_final() {
    let sim = sim().await;
    let key = || Secret::new(sim.private_key_pem());
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem();
    let audience = |audience: &str| Credentials::JwtBearer {
        client_id: sim.client_id(),
        username: sim.username(),
        private_key: key(),
        audience: Some(audience.to_owned()),
    };
    for credentials in [
        Credentials::jwt_bearer("unknown", sim.username(), key()),
        Credentials::jwt_bearer(sim.client_id(), "somebody@example.com", key()),
        Credentials::jwt_bearer(sim.client_id(), sim.username(), Secret::new(other)),
        audience("https://login.example.com"),
        Credentials::client_credentials(sim.client_id(), Secret::new("wrong")),
    ] {
        let error = against(&sim, credentials).check(&contacts()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Unauthenticated, Retry::Never), "{error}");
    }
    let seed = Seed { app_approved: false, ..Seed::default() };
    let closed = SalesforceSim::builder().with_seed(seed).start().await.unwrap();
    let error = against(&closed, assertion(&closed)).check(&contacts()).await.unwrap_err();
    assert!(error.remedy().unwrap().contains("pre-authorise"), "{error}");
    assert_eq!((sim.stats().tokens_issued, closed.stats().tokens_issued), (0, 0));
}

#[tokio::test]
async fn f39_an_ended_session_is_renewed_once_for_all() {
    let sim = sim().await;
    let salesforce = against(&sim, assertion(&sim));
    salesforce.describe(&contacts()).await.unwrap();
    for round in 2..5 {
        sim.expire_tokens();
        let target = contacts();
        let calls = join_all((0..16).map(|_| salesforce.describe(&target))).await;
        assert!(calls.iter().all(Result::is_ok));
        assert_eq!(sim.stats().tokens_issued, round, "one token for sixteen calls");
    }
}

#[tokio::test]
async fn s03_a_private_authority_must_be_named() {
    let sim = SalesforceSim::builder().with_tls().start().await.unwrap();
    let builder = Salesforce::builder().credentials(assertion(&sim)).login_url(sim.base_url());
    let error = builder.clone().build().unwrap().check(&Target::new("Contact", "Email")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Never));
    let trusting = builder.extra_root_ca_pem(sim.ca_pem().unwrap()).build().unwrap();
    assert_eq!(trusting.check(&Target::new("Contact", "Email")).await.unwrap().as_str(), sim.organization_id());
}
