//! What surrounds a sync: signing in as an OAuth app, the calls of the day, and making properties.

mod support;

use rsync_core::capability::Operation;
use rsync_core::{Destination, FieldType, Kind, Retry, Secret};
use rsync_hubspot::{ApiVersion, Builder, HubSpot, NewProperty, OAuth, RateTier};
use rsync_testkit::adapter::{Playback, Played, batch, keys, settled, shown};
use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule, Requests};
use rsync_testkit::sim::hubspot::{HubSpotSim, OauthClientSeed, Quirks, RateLimits, Seed, all_scopes};
use support::*;

const APP: &str = "app-1";

async fn portal() -> HubSpotSim {
    let app = OauthClientSeed {
        client_id: APP.into(),
        client_secret: "canary-secret".into(),
        refresh_token: "canary-refresh".into(),
        scopes: all_scopes(),
    };
    let seed = Seed { rate_limits: RateLimits::Unlimited, oauth_clients: vec![app], ..Seed::default() };
    HubSpotSim::builder().with_seed(seed).start().await.unwrap()
}

fn app(base_url: &str) -> Builder {
    let app = OAuth::new(APP, Secret::new("canary-secret"), Secret::new("canary-refresh"));
    HubSpot::builder().oauth(app).base_url(base_url).allow_loopback_http(true).rate(RateTier::Unlimited)
}

fn tokens(sim: &HubSpotSim) -> usize {
    sim.journal().entries().iter().filter(|entry| entry.path.ends_with("/token")).count()
}

#[tokio::test]
async fn an_app_signs_in_once_and_again_when_its_token_ends() {
    for version in [ApiVersion::V3, ApiVersion::V2026_03, ApiVersion::V2026_09] {
        let sim = portal().await;
        let hubspot = app(&sim.base_url()).version(version).build().unwrap();
        let checks = (0..8).map(|_| {
            let hubspot = hubspot.clone();
            tokio::spawn(async move { hubspot.check(&contacts()).await })
        });
        for check in checks.collect::<Vec<_>>() {
            assert_eq!(check.await.unwrap().unwrap().as_str(), sim.portal_id().to_string());
        }
        assert_eq!(tokens(&sim), 1, "all wait for one fetch: {version:?}");
        sim.expire_access_tokens();
        let write = batch(Operation::Upsert, &contacts(), keys("email", &["a@x.io"]));
        assert_eq!(settled(hubspot.write(&cx(), write).await.unwrap()).len(), 1);
        assert_eq!((tokens(&sim), sim.records("contacts").len()), (2, 1));
    }
}

#[tokio::test]
async fn s01_a_refused_refresh_ends_the_run_and_tells_no_secret() {
    type Break = fn(&HubSpotSim);
    let revoked: Break = |sim| sim.revoke_refresh_token(APP);
    let uninstalled: Break = |sim| sim.uninstall_app(APP);
    for (broken, code, remedy) in [(revoked, "BAD_REFRESH_TOKEN", "connect"), (uninstalled, "BAD_HUB", "install")] {
        let sim = portal().await;
        let hubspot = app(&sim.base_url()).build().unwrap();
        hubspot.check(&contacts()).await.unwrap();
        broken(&sim);
        sim.expire_access_tokens();
        let write = batch(Operation::Upsert, &contacts(), keys("email", &["a@x.io"]));
        let error = hubspot.write(&cx(), write).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Unauthenticated, Retry::Never), "{code}");
        assert_eq!((error.context("code"), sim.records("contacts").len()), (Some(code), 0));
        assert!(error.remedy().is_some_and(|text| text.contains(remedy)));
        assert!(!format!("{} {hubspot:?}", shown(&error)).contains(CANARY));
    }
    let sim = portal().await;
    let wrong = OAuth::new(APP, Secret::new("canary"), Secret::new("canary-refresh"));
    let hubspot = app(&sim.base_url()).oauth(wrong).build().unwrap();
    let error = hubspot.check(&contacts()).await.unwrap_err();
    assert_eq!((error.kind(), error.context("code")), (Kind::Unauthenticated, Some("BAD_CLIENT_SECRET")));
}

#[tokio::test]
async fn f36_a_token_endpoint_that_fails_is_asked_again_later() {
    let sim = portal().await;
    let once = FaultRule::new(FaultAction::status(503)).on_path_ending("/token").on_requests(Requests::First(1));
    sim.faults().set(FaultPlan::new([once])).unwrap();
    let hubspot = app(&sim.base_url()).build().unwrap();
    let write = || batch(Operation::Upsert, &contacts(), keys("email", &["a@x.io"]));
    let error = hubspot.write(&cx(), write()).await.unwrap_err();
    // The write itself was never sent, so its fate is not open.
    assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Backoff));
    assert_eq!(sim.faults().report().iter().map(|rule| rule.fired).sum::<u64>(), 1);
    hubspot.write(&cx(), write()).await.unwrap();
    for body in ["", "[]", "{}", "<html>canary", r#"{"access_token":""}"#, r#"{"access_token":{"canary":1}}"#] {
        let server = Playback::start(vec![Played::json(200, body)]).await;
        let error = app(server.base_url()).build().unwrap().check(&contacts()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Backoff), "{body}");
        assert!(!shown(&error).contains(CANARY));
    }
}

#[tokio::test]
async fn f29_the_calls_of_the_day_are_told_and_their_end_stops() {
    let limits = RateLimits::Explicit { per_ten_seconds: None, per_day: Some(3), search_per_second: None };
    let sim = HubSpotSim::builder().with_rate_limits(limits).start().await.unwrap();
    let hubspot = builder(&sim.base_url(), &sim.token()).build().unwrap();
    assert!(hubspot.quota().is_none());
    hubspot.check(&contacts()).await.unwrap();
    let quota = hubspot.quota().unwrap();
    assert_eq!((quota.used, quota.limit), (2, 3));
    let write = || batch(Operation::Upsert, &contacts(), keys("email", &["a@x.io"]));
    hubspot.write(&cx(), write()).await.unwrap();
    assert_eq!(hubspot.quota().unwrap().used, 3);
    let error = hubspot.write(&cx(), write()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::QuotaExhausted, Retry::Never));
    assert_eq!(error.context("policy"), Some("DAILY"));
}

#[tokio::test]
async fn properties_are_made_once_and_only_when_asked_for() {
    for version in [ApiVersion::V3, ApiVersion::V2026_03, ApiVersion::V2026_09] {
        let at_once = Quirks { definition_lag_ms: 0, ..Quirks::default() };
        let sim = HubSpotSim::builder().with_rate_limits(RateLimits::Unlimited).with_quirks(at_once);
        let sim = sim.start().await.unwrap();
        let hubspot = builder(&sim.base_url(), &sim.token()).version(version).build().unwrap();
        let decimal = FieldType::Decimal { precision: 18, scale: 4 };
        for (name, ty) in [
            ("a_text", FieldType::Text),
            ("an_integer", FieldType::Integer),
            ("a_float", FieldType::Float),
            ("a_decimal", decimal),
            ("a_flag", FieldType::Boolean),
            ("a_day", FieldType::Date),
            ("a_moment", FieldType::Timestamp),
            ("a_list", FieldType::TextList),
        ] {
            let mut property = NewProperty::new(name, "contactinformation", ty).label("Label \"of\" it");
            if ty == FieldType::TextList {
                property = property.options(["red", "blue"]);
            }
            for made in [true, false] {
                assert_eq!(hubspot.create_property("contacts", &property).await.unwrap(), made, "{name}");
            }
            let schema = hubspot.describe(&contacts()).await.unwrap();
            assert!(schema.field(name).unwrap().accepts(ty), "{name}");
        }
        let key = NewProperty::new("ext", "contactinformation", FieldType::Text).unique();
        assert!(hubspot.create_property("contacts", &key).await.unwrap());
        assert!(hubspot.describe(&contacts()).await.unwrap().field("ext").unwrap().unique);
        let before = sim.journal().total();
        let wrong = NewProperty::new("Not A Name", " ", FieldType::TextList).unique();
        let error = hubspot.create_property("contacts", &wrong).await.unwrap_err();
        assert_eq!((error.kind(), error.problems().len()), (Kind::InvalidConfig, 4));
        assert_eq!(sim.journal().total(), before);
    }
}
