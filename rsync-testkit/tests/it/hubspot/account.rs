//! Tokens, scopes, OAuth and account information.

use std::sync::Arc;
use std::time::Duration;

use rsync_core::memory::ManualClock;
use rsync_testkit::sim::hubspot::{MissingScopesBody, OauthClientSeed, Quirks, Seed, TokenSeed};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, prompt, roomy};

fn token(token: &str, scopes: &[&str]) -> TokenSeed {
    TokenSeed { token: token.to_owned(), scopes: scopes.iter().map(|s| (*s).to_owned()).collect(), expires_at_ms: None }
}

#[tokio::test]
async fn a_request_needs_a_known_token() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for token in [None, Some("wrong"), Some("")] {
        let reply = http.with_token(token).get("/crm/v3/objects/contacts").await;
        assert_eq!(reply.status, 401, "{token:?}");
        assert_eq!(reply.json()["category"], "INVALID_AUTHENTICATION");
        assert_eq!(reply.header("x-hubspot-ratelimit-max"), None);
    }
    sim.revoke_token(&sim.token());
    assert_eq!(http.get("/crm/v3/objects/contacts").await.status, 401);
    assert_eq!(sim.stats().unauthenticated_answers, 4);
}

#[tokio::test]
async fn scopes_open_their_objects_only() {
    let seed = || Seed {
        tokens: vec![
            token("reader", &["crm.objects.contacts.read"]),
            token("writer", &["crm.objects.contacts.write"]),
            token("schemas", &["crm.schemas.contacts.read"]),
            token("shop", &["e-commerce", "tickets"]),
        ],
        ..Seed::default()
    };
    let sim = roomy().with_seed(seed()).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let upsert = json!({ "inputs": [] });
    for (token, path, body, status) in [
        ("reader", "/crm/v3/objects/contacts", None, 200),
        ("reader", "/crm/v3/objects/companies", None, 403),
        ("reader", "/crm/v3/objects/contacts/batch/upsert", Some(&upsert), 403),
        ("writer", "/crm/v3/objects/contacts/batch/upsert", Some(&upsert), 200),
        ("writer", "/crm/v3/objects/contacts", None, 403),
        ("reader", "/crm/v3/properties/contacts", None, 200),
        ("writer", "/crm/v3/properties/contacts", None, 200),
        ("schemas", "/crm/v3/properties/contacts", None, 200),
        ("schemas", "/crm/v3/objects/contacts", None, 403),
        ("reader", "/crm/v3/properties/companies", None, 403),
        ("shop", "/crm/v3/objects/products", None, 200),
        ("shop", "/crm/v3/objects/tickets/batch/upsert", Some(&upsert), 200),
        ("shop", "/crm/v3/objects/deals", None, 403),
    ] {
        let http = http.with_token(Some(token));
        let reply = match body {
            Some(body) => http.post(path, body).await,
            None => http.get(path).await,
        };
        assert_eq!(reply.status, status, "{token} {path}: {}", reply.text);
    }
    let refused = http.with_token(Some("reader")).get("/crm/v3/objects/companies").await;
    assert_parts(
        "403",
        &refused.json(),
        &[
            ("/category", json!("MISSING_SCOPES")),
            ("/context/requiredGranularScopes", json!(["crm.objects.companies.read"])),
        ],
    );
    let quirks = Quirks { missing_scopes_body: MissingScopesBody::ErrorsContext, ..prompt() };
    let sim = roomy().with_seed(seed()).with_quirks(quirks).start().await.expect("the simulator starts");
    let refused = Http::to(&sim).with_token(Some("reader")).get("/crm/v3/objects/companies").await;
    assert_parts(
        "403 as documented",
        &refused.json(),
        &[
            ("/context", Value::Null),
            ("/errors/0/context/requiredGranularScopes", json!(["crm.objects.companies.read"])),
        ],
    );
}

#[tokio::test]
async fn refresh_tokens_give_access_tokens_that_expire() {
    let clock = ManualClock::new();
    let client = OauthClientSeed {
        client_id: "id".to_owned(),
        client_secret: "secret".to_owned(),
        refresh_token: "refresh".to_owned(),
        scopes: vec!["crm.objects.contacts.read".to_owned()],
    };
    assert!(!format!("{client:?}").contains("secret\""), "secrets are not printed");
    let seed = Seed { oauth_clients: vec![client], ..Seed::default() };
    let sim = roomy().with_seed(seed).with_clock(Arc::new(clock.clone())).start().await.expect("the simulator starts");
    let refresh = async |path: &str, form: &[(&str, &str)]| {
        let request = reqwest::Client::new().post(format!("{}{path}", sim.base_url())).form(form);
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json::<Value>().await.expect("JSON"))
    };
    let good = [
        ("grant_type", "refresh_token"),
        ("client_id", "id"),
        ("client_secret", "secret"),
        ("refresh_token", "refresh"),
    ];
    for path in ["/oauth/v1/token", "/oauth/v3/token", "/oauth/2026-03/token", "/oauth/2026-09/token"] {
        let (status, body) = refresh(path, &good).await;
        assert_eq!(status, 200, "{path}");
        assert_parts(
            path,
            &body,
            &[("/token_type", json!("bearer")), ("/expires_in", json!(1_800)), ("/refresh_token", json!("refresh"))],
        );
    }
    for (field, value, status) in [
        ("grant_type", "password", "BAD_GRANT_TYPE"),
        ("client_id", "x", "BAD_CLIENT_ID"),
        ("client_secret", "x", "BAD_CLIENT_SECRET"),
        ("refresh_token", "x", "BAD_REFRESH_TOKEN"),
    ] {
        let form: Vec<(&str, &str)> = good.iter().map(|(k, v)| (*k, if *k == field { value } else { v })).collect();
        let (code, body) = refresh("/oauth/v1/token", &form).await;
        assert_eq!((code, &body["status"]), (400, &json!(status)));
    }
    let (_, body) = refresh("/oauth/v1/token", &good).await;
    let http = Http::to(&sim).with_token(body["access_token"].as_str());
    let reply = http.get("/crm/v3/objects/contacts").await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("x-hubspot-ratelimit-max").is_some());
    assert_eq!(reply.header("x-hubspot-ratelimit-daily"), None, "daily figures are not shown to OAuth apps");
    clock.advance(Duration::from_secs(1_800));
    let expired = http.get("/crm/v3/objects/contacts").await;
    assert_eq!((expired.status, &expired.json()["category"]), (401, &json!("EXPIRED_AUTHENTICATION")));
}

#[tokio::test]
async fn oauth_connections_end_in_three_ways() {
    let client = OauthClientSeed {
        client_id: "id".to_owned(),
        client_secret: "secret".to_owned(),
        refresh_token: "refresh".to_owned(),
        scopes: vec!["crm.objects.contacts.read".to_owned()],
    };
    let seed = Seed { oauth_clients: vec![client], ..Seed::default() };
    let sim = roomy().with_seed(seed).start().await.expect("the simulator starts");
    let refresh = async || {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", "id"),
            ("client_secret", "secret"),
            ("refresh_token", "refresh"),
        ];
        let request = reqwest::Client::new().post(format!("{}/oauth/v1/token", sim.base_url())).form(&form);
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json::<Value>().await.expect("JSON"))
    };
    let contacts =
        async |token: &Value| Http::to(&sim).with_token(token.as_str()).get("/crm/v3/objects/contacts").await.status;
    let first = refresh().await.1["access_token"].clone();
    assert_eq!(contacts(&first).await, 200);
    sim.expire_access_tokens();
    assert_eq!(contacts(&first).await, 401);
    assert_eq!(Http::to(&sim).get("/crm/v3/objects/contacts").await.status, 200, "private apps do not expire");
    let second = refresh().await.1["access_token"].clone();
    sim.revoke_refresh_token("id");
    let (status, body) = refresh().await;
    assert_eq!((status, &body["status"], &body["error"]), (400, &json!("BAD_REFRESH_TOKEN"), &json!("invalid_grant")));
    assert_eq!(contacts(&second).await, 200, "an access token outlives its refresh token");
    sim.uninstall_app("id");
    let (status, body) = refresh().await;
    assert_eq!((status, &body["status"], &body["error"]), (400, &json!("BAD_HUB"), &json!("access_denied")));
    assert_eq!(contacts(&second).await, 401);
}

#[tokio::test]
async fn account_and_token_descriptions() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for path in ["/account-info/v3/details", "/account-info/2026-03/details", "/account-info/2026-09/details"] {
        let parts =
            [("/portalId", json!(4511)), ("/timeZone", json!("US/Eastern")), ("/uiDomain", json!("app.hubspot.com"))];
        assert_parts(path, &http.get(path).await.json(), &parts);
    }
    let introspect = "/oauth/v2/private-apps/get/access-token-info";
    let described = http.with_token(None).post(introspect, &json!({ "tokenKey": sim.token() })).await;
    assert_eq!(described.json()["hubId"], 4511);
    assert!(described.json()["scopes"].as_array().is_some_and(|s| s.contains(&json!("crm.objects.contacts.write"))));
    assert_eq!(http.post(introspect, &json!({ "tokenKey": "x" })).await.status, 404);
}
