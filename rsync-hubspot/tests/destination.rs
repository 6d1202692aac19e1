//! The destination against the local simulator of the service.

mod support;

use std::sync::Arc;
use std::time::Duration;

use rsync_core::arrow::array::{
    ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use rsync_core::arrow::buffer::BooleanBuffer;
use rsync_core::capability::Operation;
use rsync_core::destination::{Found, KeyFolding, LookupRequest, Target};
use rsync_core::ids::FieldName;
use rsync_core::record::{FieldType, Rows};
use rsync_core::{Destination, Kind, Retry};
use rsync_http::Limits;
use rsync_hubspot::{ApiVersion, HubSpot};
use rsync_testkit::adapter::{batch, keys, logged, record_logs, rows, settled, shown, words};
use rsync_testkit::sim::fault::{DropEntries, FaultAction, FaultPlan, FaultRule, Processing, Requests};
use rsync_testkit::sim::hubspot::{
    CustomObjectSeed, HubSpotSim, HubSpotSimBuilder, OwnAlias, PropertySeed, Quirks, RateLimits, Seed, TokenSeed,
};
use support::*;

fn sim() -> HubSpotSimBuilder {
    HubSpotSim::builder()
        .with_rate_limits(RateLimits::Unlimited)
        .with_property("contacts", PropertySeed::unique_text("external_id"))
        .with_property("contacts", PropertySeed::of("age", "number", "number"))
        .with_property("contacts", PropertySeed::of("born", "date", "date"))
        .with_property("contacts", PropertySeed::of("seen", "datetime", "date"))
        .with_property("contacts", PropertySeed::options("tags", "checkbox", ["a", "b", "c"]))
}

fn hubspot(sim: &HubSpotSim) -> HubSpot {
    builder(&sim.base_url(), &sim.token()).build().unwrap()
}

fn upsert(rows: Rows) -> rsync_core::destination::WriteBatch {
    batch(Operation::Upsert, &contacts(), rows)
}

async fn write_words(hubspot: &HubSpot, operation: Operation, target: &Target, rows: Rows) -> Vec<String> {
    words(&settled(hubspot.write(&cx(), batch(operation, target, rows)).await.unwrap()))
}

/// Outcomes without ids.
fn effects(words: &[String]) -> Vec<&str> {
    words.iter().map(|word| word.split(' ').next().unwrap_or_default()).collect()
}

fn ids(found: &Found) -> Vec<(usize, &str)> {
    let mut ids: Vec<_> = found.matches.iter().map(|m| (m.key, m.id.as_str())).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn check_tells_the_account_and_who_may_not_enter() {
    let narrow = TokenSeed { token: "pat-narrow".into(), scopes: vec!["oauth".into()], expires_at_ms: None };
    let mut seed = Seed { rate_limits: RateLimits::Unlimited, ..Seed::default() };
    seed.tokens.push(narrow);
    let sim = HubSpotSim::builder().with_seed(seed).start().await.unwrap();
    let account = hubspot(&sim).check(&contacts()).await.unwrap();
    assert_eq!(account.as_str(), sim.portal_id().to_string());

    let error = builder(&sim.base_url(), "pat-wrong").build().unwrap().check(&contacts()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Unauthenticated, Retry::Never));
    let error = builder(&sim.base_url(), "pat-narrow").build().unwrap().check(&contacts()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Forbidden);
    assert!(error.context("scopes").is_some_and(|scopes| scopes.contains("crm.")), "{error}");
    let error = hubspot(&sim).check(&Target::new("2-999", "x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(sim.stats().mutating_requests(), 0);
}

#[tokio::test]
async fn s03_a_private_authority_must_be_named() {
    let sim = sim().with_tls().start().await.unwrap();
    let builder = builder(&sim.base_url(), &sim.token());
    let error = builder.clone().build().unwrap().check(&contacts()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Never));
    let trusting = builder.extra_root_ca_pem(sim.ca_pem().unwrap()).build().unwrap();
    assert_eq!(trusting.check(&contacts()).await.unwrap().as_str(), sim.portal_id().to_string());
}

#[tokio::test]
async fn describe_tells_what_can_be_written_and_matched_on() {
    let sim = sim().start().await.unwrap();
    let schema = hubspot(&sim).describe(&contacts()).await.unwrap();
    let field = |name: &str| schema.field(name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!((field("email").unique, field("email").folding), (true, KeyFolding::CaselessTrimmed));
    assert!(field("external_id").unique && field("external_id").writable);
    assert!(!field("firstname").unique && field("firstname").writable);
    assert!(!field("hs_marketable_status").writable);
    assert!(field("tags").accepts(FieldType::TextList) && !field("tags").accepts(FieldType::Date));
    assert!(field("born").accepts(FieldType::Date) && !field("born").accepts(FieldType::Timestamp));
    assert_eq!(sim.stats().mutating_requests(), 0);
}

#[tokio::test]
async fn upserts_create_and_update_in_every_version() {
    for version in [ApiVersion::V3, ApiVersion::V2026_03, ApiVersion::V2026_09] {
        let sim = sim().with_record("contacts", [("email", "ada@example.com"), ("phone", "1")]).start().await.unwrap();
        let hubspot = builder(&sim.base_url(), &sim.token()).version(version).build().unwrap();
        let many: Vec<String> = (0..98).map(|i| format!("Person{i}@example.com")).collect();
        let mut emails = vec![Some("Ada@Example.com"), Some("bob@example.com")];
        emails.extend(many.iter().map(|email| Some(email.as_str())));
        let names = vec![Some("N \"q\" \\ ü 🦀\n"); 100];
        let outcomes =
            write_words(&hubspot, Operation::Upsert, &contacts(), rows(&[("email", &emails), ("firstname", &names)]))
                .await;
        assert_eq!(effects(&outcomes)[..2], ["Updated", "Created"], "{version:?}");
        assert!(effects(&outcomes)[2..].iter().all(|effect| *effect == "Created"));
        for (email, outcome) in emails.iter().zip(&outcomes) {
            let stored = sim.record_by("contacts", "email", &email.unwrap().to_lowercase()).unwrap();
            assert!(outcome.ends_with(&stored.id), "the id is that of the row, whatever the order of the answer");
            assert_eq!(stored.properties["firstname"], names[0].unwrap());
        }
        assert_eq!(
            sim.record_by("contacts", "email", "ada@example.com").unwrap().properties["phone"],
            "1",
            "absent keeps"
        );
        assert_eq!(sim.stats().write_requests, 1);
    }
}

#[tokio::test]
async fn set_clear_and_absent_stay_apart() {
    let records = ["a@x.io", "b@x.io", "c@x.io"];
    let mut sim = sim();
    for email in records {
        sim = sim.with_record("contacts", [("email", email), ("phone", "old")]);
    }
    let sim = sim.start().await.unwrap();
    let rows = rows(&[("email", &records.map(Some)), ("phone", &[Some("new"), None, Some("ignored")])])
        .with_presence(1, BooleanBuffer::from(vec![true, true, false]));
    let outcomes = write_words(&hubspot(&sim), Operation::Upsert, &contacts(), rows).await;
    assert_eq!(effects(&outcomes), ["Updated"; 3]);
    let phones: Vec<Option<String>> = records
        .iter()
        .map(|email| sim.record_by("contacts", "email", email).unwrap().properties.get("phone").cloned())
        .collect();
    assert_eq!(phones[0].as_deref(), Some("new"));
    assert!(phones[1].as_deref().is_none_or(str::is_empty));
    assert_eq!(phones[2].as_deref(), Some("old"));
}

#[tokio::test]
async fn typed_values_arrive_and_are_read_back() {
    let sim = sim().start().await.unwrap();
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("email", Arc::new(StringArray::from(vec!["a@x.io"])), true),
        ("age", Arc::new(Int64Array::from(vec![36])), true),
        ("born", Arc::new(Date32Array::from(vec![-1])), true),
        ("seen", Arc::new(TimestampMicrosecondArray::from(vec![1_582_947_017_120_000]).with_timezone("UTC")), true),
        ("tags", Arc::new(StringArray::from(vec!["a;c"])), true),
    ];
    let rows = Rows::new(RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap();
    let hubspot = hubspot(&sim);
    let sent = rows.batch().clone();
    assert_eq!(effects(&write_words(&hubspot, Operation::Upsert, &contacts(), rows).await), ["Created"]);
    let fields = vec![
        (FieldName::new("age"), FieldType::Integer),
        (FieldName::new("born"), FieldType::Date),
        (FieldName::new("seen"), FieldType::Timestamp),
        (FieldName::new("tags"), FieldType::TextList),
        (FieldName::new("phone"), FieldType::Text),
    ];
    let found =
        hubspot.lookup(&cx(), LookupRequest::new(contacts(), keys("email", &["A@x.io"]), fields)).await.unwrap();
    let read = found.fields.batch();
    for index in 0..3 {
        assert_eq!(read.column(index), sent.column(index + 1));
    }
    assert_eq!(
        read.column(3).as_list::<i32>().value(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(),
        ["a", "c"]
    );
    assert!(read.column(4).is_null(0));
}

#[tokio::test]
async fn d04_f33_bad_rows_leave_their_neighbours_alone() {
    let sim = sim().start().await.unwrap();
    let rows = rows(&[
        ("email", &[Some("not an address"), Some("b@x.io"), Some("c@x.io"), Some("d@x.io")]),
        ("age", &[Some("1"), Some("canary"), Some("3"), Some("4")]),
        ("tags", &[Some("a"), Some("a"), Some("b"), Some("canary")]),
    ]);
    let outcomes = settled(hubspot(&sim).write(&cx(), upsert(rows)).await.unwrap());
    assert!(!format!("{outcomes:?}").contains(CANARY));
    let outcomes = words(&outcomes);
    assert_eq!(outcomes[0], "Rejected INVALID_EMAIL email");
    assert!(outcomes[1].starts_with("Rejected INVALID_") && outcomes[1].ends_with(" age"), "{}", outcomes[1]);
    assert!(outcomes[2].starts_with("Created "));
    assert_eq!(outcomes[3], "Rejected INVALID_OPTION tags");
    assert_eq!(sim.records("contacts").len(), 1);

    // A field that nobody has is refused for every row that carries it.
    let rows = rsync_testkit::adapter::rows(&[("email", &[Some("e@x.io")]), ("no_such_field", &[Some("x")])]);
    let outcomes = write_words(&hubspot(&sim), Operation::Upsert, &contacts(), rows).await;
    assert_eq!(outcomes, ["Rejected PROPERTY_DOESNT_EXIST no_such_field"]);
}

#[tokio::test]
async fn f40_a_conflict_refuses_the_whole_batch() {
    let sim = sim().with_record("contacts", [("email", "owner@x.io"), ("external_id", "e-0")]).start().await.unwrap();
    let target = Target::new("contacts", "external_id");
    let rows =
        rows(&[("external_id", &[Some("e-1"), Some("e-2")]), ("email", &[Some("owner@x.io"), Some("new@x.io")])]);
    let error = hubspot(&sim).write(&cx(), batch(Operation::Upsert, &target, rows.clone())).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry(), error.context("category")),
        (Kind::Rejected, Retry::Never, Some("CONFLICT"))
    );
    assert_eq!(sim.records("contacts").len(), 1);
    // Split by the engine, the good row passes.
    assert_eq!(effects(&write_words(&hubspot(&sim), Operation::Upsert, &target, rows.slice(1, 1)).await), ["Created"]);
}

#[tokio::test]
async fn creates_and_updates() {
    let sim = sim().with_record("contacts", [("email", "a@x.io"), ("external_id", "e-1")]).start().await.unwrap();
    let hubspot = hubspot(&sim);
    let created = rows(&[("email", &[Some("A@x.io"), Some("b@x.io")]), ("external_id", &[Some("e-9"), Some("e-2")])]);
    let outcomes = write_words(&hubspot, Operation::Create, &contacts(), created).await;
    assert_eq!((outcomes[0].as_str(), effects(&outcomes)[1]), ("Exists", "Created"));

    let by_external = Target::new("contacts", "external_id");
    let updated = rows(&[
        ("external_id", &[Some("e-none"), Some("e-2"), Some("e-1")]),
        ("phone", &[Some("0"), Some("2"), Some("1")]),
    ]);
    let outcomes = write_words(&hubspot, Operation::Update, &by_external, updated).await;
    assert_eq!((outcomes[0].as_str(), effects(&outcomes)[1], effects(&outcomes)[2]), ("Missing", "Updated", "Updated"));
    assert_eq!(sim.record_by("contacts", "external_id", "e-2").unwrap().properties["phone"], "2");

    let id = sim.record_by("contacts", "external_id", "e-1").unwrap().id;
    let by_id = Target::new("contacts", "hs_object_id");
    let renamed = rows(&[("hs_object_id", &[Some(&id), Some("1")]), ("email", &[Some("new@x.io"), Some("x@x.io")])]);
    let outcomes = write_words(&hubspot, Operation::Update, &by_id, renamed).await;
    assert_eq!(outcomes, [format!("Updated {id}"), "Missing".to_owned()]);
    assert_eq!(sim.record_by("contacts", "external_id", "e-1").unwrap().properties["email"], "new@x.io");
}

#[tokio::test]
async fn f45_lookups_find_none_one_and_several() {
    let seed = |sim: HubSpotSimBuilder| {
        sim.with_record(
            "contacts",
            [("email", "ada@x.io"), ("hs_additional_emails", "ada@old.io;ada@older.io"), ("external_id", "e-1")],
        )
        .with_record("contacts", [("email", "bob@x.io"), ("external_id", "E-1")])
        .with_record("companies", [("name", "Acme"), ("domain", "acme.io")])
        .with_record("companies", [("name", "Acme"), ("domain", "acme.com")])
        .with_record("companies", [("name", "ACME"), ("domain", "acme.org")])
    };
    let sim = seed(sim()).with_quirks(Quirks { search_lag_ms: 0, ..Quirks::default() }).start().await.unwrap();
    let hubspot = hubspot(&sim);
    let id = |object: &str, property: &str, value: &str| sim.record_by(object, property, value).unwrap().id;
    let (ada, bob) = (id("contacts", "email", "ada@x.io"), id("contacts", "email", "bob@x.io"));

    let look = |target: Target, wanted: Vec<&'static str>| {
        let keys = keys(target.match_on.as_str(), &wanted);
        hubspot.lookup_owned(LookupRequest::new(target, keys, vec![(FieldName::new("hs_object_id"), FieldType::Text)]))
    };
    let found = look(contacts(), vec!["ADA@OLD.io", "none@x.io", " Bob@x.io ", "ada@x.io"]).await;
    assert_eq!(ids(&found), [(0, ada.as_str()), (2, bob.as_str()), (3, ada.as_str())]);
    let found = look(Target::new("contacts", "external_id"), vec!["e-1", "e-2", "E-1"]).await;
    assert_eq!(ids(&found), [(0, ada.as_str()), (2, bob.as_str())]);
    assert_eq!(sim.stats().search_requests, 0, "what identifies is read by key");

    let found = look(Target::new("companies", "name"), vec!["Acme", "None"]).await;
    let mut expected = [id("companies", "domain", "acme.io"), id("companies", "domain", "acme.com")];
    expected.sort_unstable();
    assert_eq!(ids(&found), [(0, expected[0].as_str()), (0, expected[1].as_str())]);
    assert_eq!(sim.stats().search_requests, 1);

    let missing = LookupRequest::new(Target::new("companies", "no_such"), keys("no_such", &["x"]), Vec::new());
    let error = hubspot.lookup(&cx(), missing).await.unwrap_err();
    assert_eq!((error.kind(), error.context("field")), (Kind::SchemaMismatch, Some("no_such")));
    assert_eq!(sim.stats().mutating_requests(), 0, "D2");
}

/// Calls that own their request, for closures.
trait LookupOwned {
    async fn lookup_owned(&self, request: LookupRequest) -> Found;
}

impl LookupOwned for HubSpot {
    async fn lookup_owned(&self, request: LookupRequest) -> Found {
        self.lookup(&cx(), request).await.unwrap()
    }
}

#[tokio::test]
async fn f47_a_kept_lifecycle_stage_is_told() {
    let sim = sim()
        .with_record("contacts", [("email", "a@x.io"), ("lifecyclestage", "customer")])
        .with_record("contacts", [("email", "b@x.io"), ("lifecyclestage", "lead")])
        .start()
        .await
        .unwrap();
    let rows = rows(&[
        ("email", &[Some("a@x.io"), Some("b@x.io"), Some("c@x.io")]),
        ("lifecyclestage", &[Some("lead"), Some("customer"), Some("subscriber")]),
    ]);
    let outcomes = write_words(&hubspot(&sim), Operation::Upsert, &contacts(), rows).await;
    assert_eq!(outcomes[0], "Rejected NOT_APPLIED lifecyclestage");
    assert_eq!(effects(&outcomes)[1..], ["Updated", "Created"]);
}

#[tokio::test]
async fn f46_an_alias_finds_its_contact() {
    for kept in [OwnAlias::Promoted, OwnAlias::Kept] {
        let sim = sim()
            .with_record("contacts", [("email", "new@x.io"), ("hs_additional_emails", "old@x.io")])
            .with_quirks(Quirks { own_alias_as_email: kept, ..Quirks::default() })
            .start()
            .await
            .unwrap();
        let rows = rows(&[("email", &[Some("old@x.io")]), ("phone", &[Some("7")])]);
        let outcomes = write_words(&hubspot(&sim), Operation::Upsert, &contacts(), rows).await;
        assert_eq!(sim.records("contacts").len(), 1, "no second contact");
        // Where the answer shows only the other address, nothing proves the write; a lookup settles it.
        assert!(matches!(effects(&outcomes)[0], "Updated" | "Unknown"), "{outcomes:?}");
        let request = LookupRequest::new(
            contacts(),
            keys("email", &["old@x.io"]),
            vec![(FieldName::new("phone"), FieldType::Text)],
        );
        let found = hubspot(&sim).lookup(&cx(), request).await.unwrap();
        assert_eq!(found.fields.batch().column(0).as_string::<i32>().value(0), "7");
    }
}

#[tokio::test]
async fn custom_objects_are_written_by_id_and_by_full_name() {
    let cars = CustomObjectSeed {
        name: "cars".into(),
        type_number: 77,
        properties: vec![PropertySeed::unique_text("vin"), PropertySeed::text("colour")],
        required_properties: Vec::new(),
    };
    let sim = HubSpotSim::builder().with_custom_object(cars).start().await.unwrap();
    let hubspot = hubspot(&sim);
    for (object, effect) in [("2-77".to_owned(), "Created"), (format!("p{}_cars", sim.portal_id()), "Updated")] {
        let target = Target::new(object, "vin");
        hubspot.check(&target).await.unwrap();
        let rows = rows(&[("vin", &[Some("W/1?#;%")]), ("colour", &[Some("red")])]);
        assert_eq!(effects(&write_words(&hubspot, Operation::Upsert, &target, rows).await), [effect]);
    }
    assert_eq!(hubspot.check(&Target::new("cars", "vin")).await.unwrap_err().kind(), Kind::InvalidConfig);
}

/// Arms a fault for every write and tells how the write fails.
async fn failing(sim: &HubSpotSim, action: FaultAction) -> (Kind, Retry) {
    sim.faults().set(FaultPlan::new([FaultRule::new(action)])).unwrap();
    let mut limits = Limits::default();
    limits.total_ms = 300;
    let hubspot = builder(&sim.base_url(), &sim.token()).limits(limits).build().unwrap();
    let error = hubspot.write(&cx(), upsert(keys("email", &["canary@x.io"]))).await.unwrap_err();
    assert!(!shown(&error).contains(CANARY), "{}", shown(&error));
    (error.kind(), error.retry())
}

#[tokio::test]
async fn faults_are_classified_by_what_is_known_of_the_write() {
    let sim = sim().start().await.unwrap();
    let after = |secs| Retry::After(Duration::from_secs(secs));
    let ambiguous = (Kind::Unavailable, Retry::Ambiguous);
    let lost = (Kind::Protocol, Retry::Ambiguous);
    let table = [
        ("f26 429 with a pause", FaultAction::status_retry_after(429, 7), (Kind::RateLimited, after(7))),
        ("f28 429 without", FaultAction::status(429), (Kind::RateLimited, after(10))),
        ("f43 423", FaultAction::status(423), (Kind::Unavailable, after(2))),
        ("477", FaultAction::status_retry_after(477, 600), (Kind::Unavailable, after(600))),
        ("f29 500", FaultAction::status(500), ambiguous),
        ("f29 502 after applying", FaultAction::status_after_applying(502), ambiguous),
        ("f29 503", FaultAction::status_retry_after(503, 5), ambiguous),
        ("f29 504", FaultAction::status(504), ambiguous),
        ("524", FaultAction::status(524), ambiguous),
        ("f36 html 502", FaultAction::HtmlPage { status: 502, processing: Processing::NotApplied }, ambiguous),
        ("f36 html 200", FaultAction::HtmlPage { status: 200, processing: Processing::Applied }, lost),
        ("f36 truncated", FaultAction::TruncateBody { keep_bytes: 40 }, lost),
        ("f36 empty", FaultAction::EmptyBody { status: 200, processing: Processing::Applied }, lost),
        ("f31 reset before", FaultAction::ResetConnection { processing: Processing::NotApplied }, ambiguous),
        ("f31 reset after", FaultAction::ResetConnection { processing: Processing::Applied }, ambiguous),
        ("f31 reset in the body", FaultAction::ResetMidBody { after_bytes: 10 }, ambiguous),
        ("f31 late", FaultAction::DelayAfter { delay_ms: 2_000 }, ambiguous),
        ("f32 slow drip", FaultAction::SlowDrip { chunk_bytes: 1, interval_ms: 100 }, ambiguous),
        ("f32 held", FaultAction::Hold { processing: Processing::Applied }, ambiguous),
        (
            "f37 redirect",
            FaultAction::Redirect { status: 307, location: "/elsewhere".into() },
            (Kind::Protocol, Retry::Never),
        ),
        ("f39 401", FaultAction::status(401), (Kind::Unauthenticated, Retry::Never)),
        ("403", FaultAction::status(403), (Kind::Forbidden, Retry::Never)),
    ];
    for (case, action, expected) in table {
        let before = sim.journal().total();
        assert_eq!(failing(&sim, action).await, expected, "{case}");
        assert_eq!(sim.journal().total() - before, 1, "{case}: sent once");
    }
}

#[tokio::test]
async fn f28_the_simulators_own_limits() {
    let limits = |per_ten_seconds, per_day| RateLimits::Explicit { per_ten_seconds, per_day, search_per_second: None };
    let sim = HubSpotSim::builder().with_rate_limits(limits(Some(1), None)).start().await.unwrap();
    let hubspot = hubspot(&sim);
    hubspot.write(&cx(), upsert(keys("email", &["a@x.io"]))).await.unwrap();
    let error = hubspot.write(&cx(), upsert(keys("email", &["b@x.io"]))).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::RateLimited, Retry::After(Duration::from_secs(10))));
    assert_eq!(error.context("policy"), Some("TEN_SECONDLY_ROLLING"));
    sim.set_rate_limits(limits(None, Some(1)));
    hubspot.write(&cx(), upsert(keys("email", &["a@x.io"]))).await.unwrap();
    let error = hubspot.write(&cx(), upsert(keys("email", &["b@x.io"]))).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::QuotaExhausted, Retry::Never));
}

#[tokio::test]
async fn f35_missing_results_are_unknown_and_missing_reads_an_error() {
    let sim = sim().start().await.unwrap();
    let hubspot = hubspot(&sim);
    let emails = ["a@x.io", "b@x.io", "c@x.io", "d@x.io"];
    for (entries, unknown) in [(DropEntries::All, 4), (DropEntries::First(1), 1), (DropEntries::EveryNth(2), 2)] {
        sim.faults().set(FaultPlan::new([FaultRule::new(FaultAction::DropResults { entries })])).unwrap();
        let outcomes = write_words(&hubspot, Operation::Upsert, &contacts(), keys("email", &emails)).await;
        assert_eq!(outcomes.iter().filter(|word| *word == "Unknown").count(), unknown, "{outcomes:?}");
        let error = hubspot
            .lookup(&cx(), LookupRequest::new(contacts(), keys("email", &emails), Vec::new()))
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Backoff));
    }
}

#[tokio::test]
async fn d03_a_replay_after_a_lost_answer_changes_nothing() {
    let sim = sim().start().await.unwrap();
    let lost = FaultRule::new(FaultAction::ResetConnection { processing: Processing::Applied })
        .on_requests(Requests::First(1));
    sim.faults().set(FaultPlan::new([lost])).unwrap();
    let rows = rows(&[("email", &[Some("a@x.io"), Some("b@x.io")]), ("phone", &[Some("1"), Some("2")])]);
    let error = hubspot(&sim).write(&cx(), upsert(rows.clone())).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Ambiguous);
    let before = sim.records("contacts");
    let outcomes = write_words(&hubspot(&sim), Operation::Upsert, &contacts(), rows).await;
    assert_eq!(effects(&outcomes), ["Updated"; 2]);
    let values = |records: Vec<rsync_testkit::sim::hubspot::Record>| {
        records.into_iter().map(|r| (r.id, r.properties)).collect::<Vec<_>>()
    };
    assert_eq!(values(sim.records("contacts")), values(before));
}

/// A runtime for the adapter alone, beside a simulator on a thread of its own.
fn alone<F: Future>(work: impl FnOnce(HubSpotSim) -> F) -> F::Output {
    let sim = sim().start_on_thread().unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work(sim))
}

#[test]
fn d09_dropping_a_call_leaves_nothing_behind() {
    alone(async |sim| {
        let hold = FaultRule::new(FaultAction::Hold { processing: Processing::NotApplied });
        sim.faults().set(FaultPlan::new([hold])).unwrap();
        let hubspot = hubspot(&sim);
        for _ in 0..5 {
            let cx = cx();
            let call = hubspot.write(&cx, upsert(keys("email", &["a@x.io"])));
            assert!(tokio::time::timeout(Duration::from_millis(30), call).await.is_err());
        }
        assert_eq!(sim.journal().total(), 5);
        drop(hubspot);
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
fn s01_s02_no_token_and_no_value_is_logged() {
    record_logs();
    let token = alone(async |sim| {
        let hubspot = hubspot(&sim);
        hubspot.check(&contacts()).await.unwrap();
        let rows =
            rows(&[("email", &[Some("canary@x.io"), Some("canary2@x.io")]), ("age", &[Some("canary"), Some("1")])]);
        let first = FaultRule::new(FaultAction::DropResults { entries: DropEntries::All }).on_path_ending("/upsert");
        sim.faults().set(FaultPlan::new([first])).unwrap();
        let outcomes = write_words(&hubspot, Operation::Upsert, &contacts(), rows).await;
        assert_eq!(outcomes[1], "Unknown");
        let request = LookupRequest::new(contacts(), keys("email", &["canary@x.io"]), Vec::new());
        let _ = hubspot.lookup(&cx(), request).await;
        sim.token()
    });
    let log = logged();
    assert!(log.contains("does not add up") && log.contains("/objects/"), "{log}");
    assert!(!log.contains(CANARY) && !log.contains(&token), "{log}");
}
