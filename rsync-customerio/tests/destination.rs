//! The destination against the local simulator of the service.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rsync_core::arrow::array::{BooleanArray, StringArray};
use rsync_core::arrow::buffer::BooleanBuffer;
use rsync_core::capability::{Operation, Rate};
use rsync_core::destination::KeyFolding;
use rsync_core::record::Rows;
use rsync_core::{Destination, Kind, Retry};
use rsync_customerio::{CustomerIo, Region, RequestRate};
use rsync_http::Limits;
use rsync_testkit::sim::customerio::{
    self, ActivityKind, CustomerIoSim, CustomerIoSimBuilder, PersonSeed, Quirks, RateLimits, Seed, WorkspaceMode,
};
use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule, Processing, Requests};
use support::*;

fn sim() -> CustomerIoSimBuilder {
    CustomerIoSim::builder().with_rate_limits(RateLimits::Unlimited)
}

fn customerio(sim: &CustomerIoSim) -> CustomerIo {
    builder(&sim.base_url(), &sim.site_id(), &sim.api_key()).build().unwrap()
}

/// Writes rows; the outcomes in words, once everything is applied.
async fn write(sim: &CustomerIoSim, match_on: &str, rows: Rows) -> Vec<String> {
    let outcomes = words(&settled(customerio(sim).write(&cx(), upsert(match_on, rows)).await.unwrap()));
    sim.drain();
    outcomes
}

/// The person with this id, with all attributes but the ids.
fn attributes(sim: &CustomerIoSim, id: &str) -> BTreeMap<String, String> {
    let mut attributes = sim.person_by_id(id).unwrap_or_else(|| panic!("nobody has the id {id}")).attributes;
    attributes.retain(|name, _| !matches!(name.as_str(), "id" | "cio_id" | "_created_in_customerio_at"));
    attributes
}

#[tokio::test]
async fn check_tells_the_workspace_and_who_may_not_enter() {
    let sim = sim().start().await.unwrap();
    assert_eq!(customerio(&sim).check(&people("id")).await.unwrap().as_str(), "us/3");
    for (site_id, api_key) in [(sim.site_id(), "wrong".to_owned()), ("wrong".to_owned(), sim.api_key())] {
        let wrong = builder(&sim.base_url(), &site_id, &api_key).build().unwrap();
        let error = wrong.check(&people("id")).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Unauthenticated, Retry::Never));
        let error = wrong.write(&cx(), upsert("id", keys("id", &["a"]))).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Unauthenticated, Retry::Never));
    }
    assert_eq!((sim.drain(), sim.people().len()), (0, 0));
}

#[tokio::test]
async fn a_wrong_region_is_named_and_nothing_goes_there() {
    use customerio::Region::{Eu, Us};
    // account, host, configured, what the check says, what a write says
    let table = [
        (Us, Us, Region::Us, Ok("us/3"), None),
        (Eu, Eu, Region::Eu, Ok("eu/3"), None),
        (Eu, Us, Region::Us, Err((Kind::InvalidConfig, "set the region to eu")), Some(Kind::InvalidConfig)),
        // The European host does not know an American account, and does not say where it is.
        (Us, Eu, Region::Eu, Err((Kind::InvalidConfig, "set the region to us")), Some(Kind::Unauthenticated)),
    ];
    for (account, host, configured, checked, written) in table {
        let sim = sim().with_region(account).with_host_region(host).start().await.unwrap();
        let customerio = builder(&sim.base_url(), &sim.site_id(), &sim.api_key()).region(configured).build().unwrap();
        let check = customerio.check(&people("id")).await;
        match checked {
            Ok(account) => assert_eq!(check.unwrap().as_str(), account),
            Err((kind, remedy)) => {
                let error = check.unwrap_err();
                assert_eq!((error.kind(), error.remedy()), (kind, Some(remedy)), "{account:?} {host:?}");
            }
        }
        let write = customerio.write(&cx(), upsert("id", keys("id", &["a"]))).await;
        assert_eq!(write.err().map(|error| (error.kind(), error.retry())), written.map(|kind| (kind, Retry::Never)));
        assert_eq!(sim.stats().batch_requests, 1, "a redirection is not followed");
        assert_eq!(sim.drain(), usize::from(written.is_none()));
    }
}

#[tokio::test]
async fn s03_a_private_authority_must_be_named() {
    let sim = sim().with_tls().start().await.unwrap();
    let builder = builder(&sim.base_url(), &sim.site_id(), &sim.api_key());
    let error = builder.clone().build().unwrap().check(&people("id")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Never));
    let trusting = builder.extra_root_ca_pem(sim.ca_pem().unwrap()).build().unwrap();
    assert_eq!(trusting.check(&people("id")).await.unwrap().as_str(), "us/3");
}

#[tokio::test]
async fn what_it_can_do() {
    let sim = sim().start().await.unwrap();
    let standard = builder(&sim.base_url(), "site", "key").rate(RequestRate::Standard).build().unwrap();
    let capability = standard.capability(&people("id"));
    assert_eq!((capability.rate, capability.max_in_flight), (Some(Rate::new(10, Duration::from_secs(1))), 4));
    let upsert = capability.limits(Operation::Upsert).unwrap();
    assert_eq!((upsert.max_rows, upsert.max_bytes), (50_000, Some(499_988)));
    assert!(capability.clears_fields && capability.keeps_absent_fields && capability.per_row_outcomes);
    assert_eq!((capability.lookup_rows, standard.kind()), (None, "customerio"));

    let schema = standard.describe(&people("email")).await.unwrap();
    let email = schema.field("email").unwrap();
    assert_eq!((email.unique, email.writable, email.folding), (true, true, KeyFolding::CaselessTrimmed));
    assert!(!schema.field("plan").unwrap().unique && schema.field("plan").unwrap().writable);
    assert!(standard.describe(&people("plan")).await.is_ok(), "a plan says that the field identifies nobody");
    assert_eq!(sim.journal().total(), 0);
}

#[tokio::test]
async fn people_are_addressed_by_every_identifier() {
    let seed = Seed { phone_enabled: true, rate_limits: RateLimits::Unlimited, ..Seed::default() };
    let seeded = PersonSeed { phone: Some("+15550100".into()), ..PersonSeed::with_id("a-1").email("ada@x.io") };
    let sim = CustomerIoSim::builder().with_seed(seed).with_person(seeded).start().await.unwrap();
    let cio_id = sim.person_by_id("a-1").unwrap().cio_id;
    for (step, (match_on, key)) in
        [("id", "a-1"), ("email", "ADA@x.io"), ("phone", "+15550100"), ("cio_id", &cio_id)].into_iter().enumerate()
    {
        let step = step.to_string();
        let rows = rows(&[(match_on, &[Some(key)]), ("step", &[Some(&step)])]);
        assert_eq!(write(&sim, match_on, rows).await, [ACCEPTED], "{match_on}");
        assert_eq!(attributes(&sim, "a-1")["step"], step, "{match_on}");
    }
    assert_eq!(sim.people().len(), 1);

    // Only by cio_id can the identifiers themselves be changed for certain.
    let renamed = rows(&[("cio_id", &[Some(&cio_id)]), ("email", &[Some("new@x.io")]), ("id", &[Some("a-2")])]);
    assert_eq!(write(&sim, "cio_id", renamed).await, [ACCEPTED]);
    assert_eq!(sim.person_by_id("a-2").unwrap().email.as_deref(), Some("new@x.io"));
    assert!(sim.lints().is_empty(), "{:?}", sim.lints());
}

#[tokio::test]
async fn d04_f33_refusals_of_the_service_reach_their_rows() {
    let sim = sim().with_person(PersonSeed::with_id("a-1")).start().await.unwrap();
    let cio_id = sim.person_by_id("a-1").unwrap().cio_id;
    // Neither a phone number in a workspace without them, nor what is no cio_id, is known to be wrong here.
    let phones = rows(&[("phone", &[Some("+15550100")]), ("plan", &[Some("canary")])]);
    assert_eq!(write(&sim, "phone", phones).await, ["Rejected invalid phone"]);
    let rows = rows(&[
        ("cio_id", &[Some("cio_1"), Some("canary no hex"), Some(&cio_id), Some("canary neither")]),
        ("plan", &[Some("a"), Some("b"), Some("c"), Some("d")]),
    ]);
    let outcomes = write(&sim, "cio_id", rows).await;
    let expected = ["Rejected LOCAL_CIO_PREFIX cio_id", "Rejected invalid cio_id", ACCEPTED, "Rejected invalid cio_id"];
    assert_eq!(outcomes, expected);
    assert_eq!(attributes(&sim, "a-1")["plan"], "c");
}

#[tokio::test]
async fn set_clear_and_absent_stay_apart() {
    let mut sim = sim();
    for id in ["a", "b", "c", "d"] {
        sim = sim.with_person(PersonSeed::with_id(id).attribute("plan", "old"));
    }
    let sim = sim.start().await.unwrap();
    let rows = rows(&[("id", &["a", "b", "c", "d"].map(Some)), ("plan", &[Some("new"), None, Some("x"), Some("")])])
        .with_presence(1, BooleanBuffer::from(vec![true, true, false, true]));
    let outcomes = write(&sim, "id", rows).await;
    assert_eq!(outcomes, [ACCEPTED, ACCEPTED, ACCEPTED, "Rejected LOCAL_EMPTY_TEXT plan"]);
    let plans = ["a", "b", "c", "d"].map(|id| attributes(&sim, id).get("plan").cloned());
    assert_eq!(plans, [Some("new".into()), None, Some("old".into()), Some("old".into())]);
    assert!(sim.lints().is_empty());
}

#[tokio::test]
async fn nobody_who_has_opted_out_is_subscribed_by_chance() {
    let person = |id: &str| PersonSeed::with_id(id).attribute("unsubscribed", true);
    let sim = sim().with_person(person("a")).with_person(person("b")).start().await.unwrap();
    let rows = || {
        typed_rows(vec![
            ("id", Arc::new(StringArray::from(vec!["a", "b", "c"])) as _),
            ("unsubscribed", Arc::new(BooleanArray::from(vec![Some(false), None, Some(true)])) as _),
        ])
    };
    let refused = "Rejected LOCAL_RESUBSCRIBE unsubscribed";
    assert_eq!(write(&sim, "id", rows()).await, [refused, refused, ACCEPTED]);
    assert!(["a", "b", "c"].iter().all(|id| sim.person_by_id(id).unwrap().unsubscribed));
    assert!(sim.lints().is_empty());

    let permitted = builder(&sim.base_url(), &sim.site_id(), &sim.api_key()).allow_resubscribe(true).build().unwrap();
    let outcomes = settled(permitted.write(&cx(), upsert("id", rows())).await.unwrap());
    sim.drain();
    assert_eq!(words(&outcomes), [ACCEPTED; 3]);
    assert_eq!(["a", "b", "c"].map(|id| sim.person_by_id(id).unwrap().unsubscribed), [false, false, true]);
}

/// What the service takes and does not do, as the crate's documentation lists it. No outcome can tell.
#[tokio::test]
async fn accepted_is_not_applied() {
    let seeded = || {
        sim()
            .with_person(PersonSeed::with_id("ada").email("ada@x.io").attribute("plan", "old"))
            .with_person(PersonSeed::with_id("bob").email("bob@x.io"))
            .with_person(PersonSeed::with_email("cleo@x.io"))
    };
    let columns = |match_on: &'static str, key: &'static str, other: &'static str, value: &'static str| {
        rows(&[(match_on, &[Some(key)]), (other, &[Some(value)]), ("plan", &[Some("new")])])
    };
    let failed = |sim: &CustomerIoSim| {
        let kinds = [ActivityKind::FailedAttributeChange, ActivityKind::SkippedUpdate];
        sim.activities().iter().filter(|activity| kinds.contains(&activity.kind)).count()
    };
    // The address belongs to somebody else; the person has another address; the person has another id.
    for (match_on, key, other, value) in [
        ("id", "ada", "email", "bob@x.io"),
        ("id", "ada", "email", "new@x.io"),
        ("email", "ada@x.io", "id", "bob"),
        ("email", "ada@x.io", "id", "new"),
    ] {
        let sim = seeded().start().await.unwrap();
        assert_eq!(write(&sim, match_on, columns(match_on, key, other, value)).await, [ACCEPTED]);
        let ada = sim.person_by_id("ada").unwrap();
        assert_eq!((ada.email.as_deref(), failed(&sim)), (Some("ada@x.io"), 1), "{match_on} {other} {value}");
        assert_eq!(ada.attributes["plan"], "new", "the other attributes are applied");
    }
    // Nobody has the id, but somebody has the address: that person gets the id.
    let sim = seeded().start().await.unwrap();
    assert_eq!(write(&sim, "id", columns("id", "cleo", "email", "cleo@x.io")).await, [ACCEPTED]);
    assert_eq!((sim.people().len(), sim.person_by_email("cleo@x.io").unwrap().id.as_deref()), (3, Some("cleo")));
    // Nobody has this cio_id.
    let unknown = rows(&[("cio_id", &[Some("abcdef0123")]), ("plan", &[Some("new")])]);
    assert_eq!(write(&sim, "cio_id", unknown).await, [ACCEPTED]);
    assert_eq!((sim.people().len(), failed(&sim)), (3, 1));

    // Where only ids identify, an address is an attribute like any other.
    let sim = seeded_by_id_only().start().await.unwrap();
    assert_eq!(write(&sim, "id", columns("id", "ada", "email", "bob@x.io")).await, [ACCEPTED]);
    assert_eq!((attributes(&sim, "ada")["email"].as_str(), failed(&sim)), ("bob@x.io", 0));
}

fn seeded_by_id_only() -> CustomerIoSimBuilder {
    let person = |id: &str| PersonSeed::with_id(id).email(format!("{id}@x.io"));
    sim().with_mode(WorkspaceMode::IdOnly).with_person(person("ada")).with_person(person("bob"))
}

/// Arms a fault for every write and tells how the write fails.
async fn failing(sim: &CustomerIoSim, action: FaultAction) -> (Kind, Retry) {
    sim.faults().set(FaultPlan::new([FaultRule::new(action)])).unwrap();
    let mut limits = Limits::default();
    limits.total_ms = 300;
    let customerio = builder(&sim.base_url(), &sim.site_id(), &sim.api_key()).limits(limits).build().unwrap();
    let error = customerio.write(&cx(), upsert("id", keys("id", &["canary"]))).await.unwrap_err();
    assert!(!shown(&error).contains(CANARY), "{}", shown(&error));
    (error.kind(), error.retry())
}

#[tokio::test]
async fn faults_are_classified_by_what_is_known_of_the_write() {
    let sim = sim().start().await.unwrap();
    let after = |secs| Retry::After(Duration::from_secs(secs));
    let ambiguous = (Kind::Unavailable, Retry::Ambiguous);
    let lost = (Kind::Protocol, Retry::Ambiguous);
    let wrong_region = (Kind::InvalidConfig, Retry::Never);
    let redirect = |status| FaultAction::Redirect { status, location: "https://track-eu.customer.io/".into() };
    let table = [
        ("f26 429 with a pause", FaultAction::status_retry_after(429, 7), (Kind::RateLimited, after(7))),
        ("f28 429 without", FaultAction::status(429), (Kind::RateLimited, Retry::Backoff)),
        ("408", FaultAction::status(408), ambiguous),
        ("f29 500", FaultAction::status(500), ambiguous),
        ("f29 502 after applying", FaultAction::status_after_applying(502), ambiguous),
        ("f29 503", FaultAction::status_retry_after(503, 5), ambiguous),
        ("f29 504", FaultAction::status(504), ambiguous),
        ("522", FaultAction::status(522), ambiguous),
        ("524", FaultAction::status(524), ambiguous),
        ("f36 html 502", FaultAction::HtmlPage { status: 502, processing: Processing::NotApplied }, ambiguous),
        ("f36 html 200", FaultAction::HtmlPage { status: 200, processing: Processing::Applied }, lost),
        ("f36 truncated", FaultAction::TruncateBody { keep_bytes: 1 }, lost),
        ("f31 reset before", FaultAction::ResetConnection { processing: Processing::NotApplied }, ambiguous),
        ("f31 reset after", FaultAction::ResetConnection { processing: Processing::Applied }, ambiguous),
        ("f31 reset in the body", FaultAction::ResetMidBody { after_bytes: 1 }, ambiguous),
        ("f31 late", FaultAction::DelayAfter { delay_ms: 2_000 }, ambiguous),
        ("f32 slow drip", FaultAction::SlowDrip { chunk_bytes: 1, interval_ms: 400 }, ambiguous),
        ("f32 held", FaultAction::Hold { processing: Processing::Applied }, ambiguous),
        ("f37 301", redirect(301), wrong_region),
        ("f37 307", redirect(307), wrong_region),
        ("f39 401", FaultAction::status(401), (Kind::Unauthenticated, Retry::Never)),
        ("403", FaultAction::status(403), (Kind::Forbidden, Retry::Never)),
        ("404", FaultAction::status(404), (Kind::NotFound, Retry::Never)),
        ("400", FaultAction::status(400), (Kind::Rejected, Retry::Never)),
        ("413", FaultAction::status(413), (Kind::Rejected, Retry::Never)),
    ];
    for (case, action, expected) in table {
        let before = sim.journal().total();
        assert_eq!(failing(&sim, action).await, expected, "{case}");
        assert_eq!(sim.journal().total() - before, 1, "{case}: sent once");
    }
}

#[tokio::test]
async fn f28_the_simulators_own_limits() {
    for (asked, retry) in [(None, Retry::Backoff), (Some(3), Retry::After(Duration::from_secs(3)))] {
        let limits = RateLimits::Explicit { track_per_three_seconds: Some(1), app_per_second: None };
        let quirks = Quirks { retry_after_seconds: asked, ..Quirks::default() };
        let sim = CustomerIoSim::builder().with_rate_limits(limits).with_quirks(quirks).start().await.unwrap();
        customerio(&sim).write(&cx(), upsert("id", keys("id", &["a"]))).await.unwrap();
        let error = customerio(&sim).write(&cx(), upsert("id", keys("id", &["b"]))).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::RateLimited, retry));
    }
}

#[tokio::test]
async fn d03_a_replay_after_a_lost_answer_changes_nothing() {
    let sim = sim().start().await.unwrap();
    let lost = FaultRule::new(FaultAction::ResetConnection { processing: Processing::Applied })
        .on_requests(Requests::First(1));
    sim.faults().set(FaultPlan::new([lost])).unwrap();
    let rows = rows(&[("id", &[Some("a"), Some("b")]), ("plan", &[Some("1"), Some("2")])]);
    let error = customerio(&sim).write(&cx(), upsert("id", rows.clone())).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Ambiguous);
    assert_eq!(sim.drain(), 2);
    let before = sim.people();
    assert_eq!(write(&sim, "id", rows).await, [ACCEPTED; 2]);
    assert_eq!(sim.people(), before, "not even a timestamp moves");
}

/// A runtime for the adapter alone, beside a simulator on a thread of its own.
fn alone<F: Future>(work: impl FnOnce(CustomerIoSim) -> F) -> F::Output {
    let sim = sim().start_on_thread().unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work(sim))
}

#[test]
fn d09_dropping_a_call_leaves_nothing_behind() {
    alone(async |sim| {
        let hold = FaultRule::new(FaultAction::Hold { processing: Processing::NotApplied });
        sim.faults().set(FaultPlan::new([hold])).unwrap();
        let customerio = customerio(&sim);
        for _ in 0..5 {
            let cx = cx();
            let call = customerio.write(&cx, upsert("id", keys("id", &["a"])));
            assert!(tokio::time::timeout(Duration::from_millis(30), call).await.is_err());
        }
        assert_eq!(sim.journal().total(), 5);
        drop(customerio);
        // The connections' own tasks end with their client; a task of ours would stay.
        let ended = async {
            while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(5), ended).await.is_ok());
    });
}

#[test]
fn s01_s02_no_key_and_no_value_is_logged() {
    record_logs();
    let secrets = alone(async |sim| {
        let customerio = customerio(&sim);
        customerio.check(&people("id")).await.unwrap();
        let rows = rows(&[
            ("id", &[Some("canary-1"), Some("canary-2"), Some("canary-3")]),
            ("email", &[Some("canary@x.io"), Some("canary"), None]),
        ]);
        let outcomes = settled(customerio.write(&cx(), upsert("id", rows)).await.unwrap());
        assert!(!format!("{outcomes:?}").contains(CANARY));
        assert_eq!(words(&outcomes)[1], "Rejected LOCAL_EMAIL email");
        let refused = customerio.write(&cx(), upsert("phone", keys("phone", &["+15550199"]))).await.unwrap();
        assert_eq!(words(&settled(refused)), ["Rejected invalid phone"]);
        [sim.api_key(), "15550199".to_owned(), CANARY.to_owned()]
    });
    let log = logged();
    assert!(log.contains("/api/v2/batch") && log.contains("status=207"), "{log}");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} in {log}");
    }
}
