//! The destination against the local simulator of the service.

mod support;

use std::sync::Arc;
use std::time::Duration;

use rsync_core::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use rsync_core::arrow::buffer::BooleanBuffer;
use rsync_core::capability::Operation;
use rsync_core::destination::{Found, KeyFolding, LookupRequest, Target};
use rsync_core::ids::FieldName;
use rsync_core::record::{FieldType, Rows};
use rsync_core::{Destination, Kind, Retry};
use rsync_http::Limits;
use rsync_salesforce::Salesforce;
use rsync_testkit::sim::fault::{DropEntries, FaultAction, FaultPlan, FaultRule, Processing, Requests};
use rsync_testkit::sim::salesforce::{
    FieldSeed, Quirks, RowFault, SalesforceSim, SalesforceSimBuilder, UpdateOnlyMiss,
};
use support::*;

fn sim() -> SalesforceSimBuilder {
    SalesforceSim::builder()
        .with_field("Contact", FieldSeed::external_id("Ext__c"))
        .with_field("Contact", FieldSeed { external_id: true, unique: false, ..FieldSeed::external_id("Loose__c") })
        .with_field("Contact", FieldSeed::of("Seats__c", "int"))
        .with_field("Contact", FieldSeed { scale: Some(2), ..FieldSeed::of("Price__c", "currency") })
        .with_field("Contact", FieldSeed::of("Vip__c", "boolean"))
        .with_field("Contact", FieldSeed::of("Seen__c", "datetime"))
        .with_field("Contact", FieldSeed::of("At__c", "time"))
        .with_field("Contact", FieldSeed::restricted_picklist("Tier__c", ["basic", "plus"]))
        .with_field("Contact", FieldSeed::text("Frozen__c", 80).read_only())
}

fn salesforce(sim: &SalesforceSim) -> Salesforce {
    signed_in(sim)
}

/// Contacts with these keys and last names.
fn people<'a>(keys: &[&'a str]) -> Rows {
    let keys: Vec<Option<&'a str>> = keys.iter().copied().map(Some).collect();
    rows(&[("Ext__c", &keys), ("LastName", &vec![Some("L"); keys.len()])])
}

async fn write_words(salesforce: &Salesforce, operation: Operation, target: &Target, rows: Rows) -> Vec<String> {
    words(&settled(salesforce.write(&cx(), batch(operation, target, rows)).await.unwrap()))
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
async fn describe_tells_what_can_be_written_and_matched_on() {
    let sim = sim().start().await.unwrap();
    let schema = salesforce(&sim).describe(&contacts()).await.unwrap();
    let field = |name: &str| schema.field(name).unwrap_or_else(|| panic!("{name}"));
    for (name, writable, unique) in [
        ("Id", false, true),
        ("Ext__c", true, true),
        ("Loose__c", true, false),
        ("Email", true, true),
        ("LastName", true, false),
        ("Frozen__c", false, false),
        ("MailingAddress", false, false),
    ] {
        assert_eq!((field(name).writable, field(name).unique), (writable, unique), "{name}");
    }
    assert_eq!(field("Ext__c").folding, KeyFolding::CaselessTrimmed);
    assert!(!field("LastName").clearable && !field("Vip__c").clearable && field("Phone").clearable);
    assert!(schema.field("lastname").is_none(), "names in another case are not taken");
    assert_eq!(sim.stats().write_requests, 0);
}

#[tokio::test]
async fn upserts_create_and_update() {
    let sim = sim()
        .with_record("Contact", [("Ext__c", "ADA"), ("LastName", "Lovelace"), ("Phone", "1")])
        .start()
        .await
        .unwrap();
    let salesforce = salesforce(&sim);
    let many: Vec<String> = (0..199).map(|i| format!("Person{i}")).collect();
    let mut keys = vec!["ada"];
    keys.extend(many.iter().map(String::as_str));
    let outcomes = write_words(&salesforce, Operation::Upsert, &contacts(), people(&keys)).await;
    assert_eq!(effects(&outcomes)[0], "Updated");
    assert!(effects(&outcomes)[1..].iter().all(|effect| *effect == "Created"));
    for (key, outcome) in keys.iter().zip(&outcomes) {
        assert!(outcome.ends_with(&sim.record_by("Contact", "Ext__c", key).unwrap().id));
    }
    assert_eq!(sim.record_by("Contact", "Ext__c", "ada").unwrap().fields["Phone"], "1", "absent keeps");
    assert_eq!(sim.stats().write_requests, 1);
}

#[tokio::test]
async fn set_clear_and_absent_stay_apart() {
    let keys = ["a", "b", "c"];
    let mut sim = sim();
    for key in keys {
        sim = sim.with_record("Contact", [("Ext__c", key), ("LastName", "L"), ("Phone", "old")]);
    }
    let sim = sim.start().await.unwrap();
    let rows = rows(&[("Ext__c", &keys.map(Some)), ("Phone", &[Some("new"), None, Some("ignored")])])
        .with_presence(1, BooleanBuffer::from(vec![true, true, false]));
    let outcomes = write_words(&salesforce(&sim), Operation::Upsert, &contacts(), rows).await;
    assert_eq!(effects(&outcomes), ["Updated"; 3]);
    let phones = keys.map(|key| sim.record_by("Contact", "Ext__c", key).unwrap().fields.get("Phone").cloned());
    assert_eq!(phones, [Some("new".to_owned()), None, Some("old".to_owned())]);
    // A field that must not be empty is the service's to refuse.
    let cleared = rsync_testkit::adapter::rows(&[("Ext__c", &[Some("a")]), ("LastName", &[None])]);
    let outcomes = write_words(&salesforce(&sim), Operation::Upsert, &contacts(), cleared).await;
    assert_eq!(outcomes, ["Rejected REQUIRED_FIELD_MISSING LastName"]);
}

#[tokio::test]
async fn typed_values_arrive_and_are_read_back() {
    let sim = sim().start().await.unwrap();
    let price = Decimal128Array::from(vec![999_999_999_999_999]).with_precision_and_scale(18, 2).unwrap();
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("Ext__c", Arc::new(Int64Array::from(vec![4711])), true),
        ("LastName", Arc::new(StringArray::from(vec!["N \"q\" \\ ü 🦀\nx"])), true),
        ("Seats__c", Arc::new(Int64Array::from(vec![36])), true),
        ("Price__c", Arc::new(price), true),
        ("Vip__c", Arc::new(BooleanArray::from(vec![true])), true),
        ("Birthdate", Arc::new(Date32Array::from(vec![-1])), true),
        ("Seen__c", Arc::new(TimestampMicrosecondArray::from(vec![1_582_947_017_120_000]).with_timezone("UTC")), true),
    ];
    let rows = Rows::new(RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap();
    let (salesforce, sent) = (salesforce(&sim), rows.batch().clone());
    assert_eq!(effects(&write_words(&salesforce, Operation::Upsert, &contacts(), rows).await), ["Created"]);
    let fields: Vec<(FieldName, FieldType)> = sent
        .schema()
        .fields()
        .iter()
        .map(|field| (FieldName::new(field.name()), FieldType::from_arrow(field.data_type()).unwrap()))
        .chain([(FieldName::new("Phone"), FieldType::Text)])
        .collect();
    let request = LookupRequest::new(contacts(), keys("Ext__c", &["4711"]), fields);
    let found = salesforce.lookup(&cx(), request).await.unwrap();
    let read = found.fields.batch();
    for index in 0..sent.num_columns() {
        assert_eq!(read.column(index), sent.column(index), "{}", sent.schema().field(index).name());
    }
    assert!(read.column(sent.num_columns()).is_null(0));
}

#[tokio::test]
async fn d04_f33_bad_rows_leave_their_neighbours_alone() {
    let sim = sim().start().await.unwrap();
    let names = [Some("a"), Some("b"), None, Some("d")];
    let rows = rows(&[
        ("Ext__c", &["1", "2", "3", "4"].map(Some)),
        ("LastName", &names),
        ("Email", &[Some("canary"), Some("b@x.io"), Some("c@x.io"), Some("d@x.io")]),
        ("Tier__c", &[Some("plus"), Some("plus"), Some("plus"), Some("canary")]),
    ]);
    let batch = batch(Operation::Upsert, &contacts(), rows);
    let outcomes = settled(salesforce(&sim).write(&cx(), batch).await.unwrap());
    assert!(!format!("{outcomes:?}").contains(CANARY));
    let outcomes = words(&outcomes);
    assert_eq!(outcomes[0], "Rejected INVALID_EMAIL_ADDRESS Email");
    assert!(outcomes[1].starts_with("Created "), "{}", outcomes[1]);
    assert_eq!(outcomes[2], "Rejected REQUIRED_FIELD_MISSING LastName");
    assert_eq!(outcomes[3], "Rejected INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST Tier__c");
    assert_eq!(sim.records("Contact").len(), 1);
}

#[tokio::test]
async fn a_field_that_fails_in_every_row_stops_the_run() {
    let sim = sim().start().await.unwrap();
    for (field, code) in [("No_such__c", "INVALID_FIELD"), ("Frozen__c", "INVALID_FIELD_FOR_INSERT_UPDATE")] {
        let both = [Some("1"), Some("2")];
        let rows = rows(&[("Ext__c", &both), ("LastName", &both), (field, &both)]);
        let error = salesforce(&sim).write(&cx(), batch(Operation::Upsert, &contacts(), rows)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::SchemaMismatch, Retry::Never), "{error}");
        assert_eq!((error.context("code"), error.context("field")), (Some(code), Some(field)));
    }
    // Where only some rows carry it, they alone are refused.
    let some =
        rows(&[("Ext__c", &[Some("1"), Some("2")]), ("LastName", &[Some("x"); 2]), ("Frozen__c", &[Some("x"); 2])])
            .with_presence(2, BooleanBuffer::from(vec![false, true]));
    let outcomes = write_words(&salesforce(&sim), Operation::Upsert, &contacts(), some).await;
    assert_eq!(
        (effects(&outcomes)[0], outcomes[1].as_str()),
        ("Created", "Rejected INVALID_FIELD_FOR_INSERT_UPDATE Frozen__c")
    );
}

#[tokio::test]
async fn f40_one_value_of_a_wrong_form_refuses_the_whole_batch() {
    let sim = sim().start().await.unwrap();
    let two = [Some("1"), Some("2")];
    let rows = rows(&[("Ext__c", &two), ("LastName", &two), ("At__c", &[Some("canary"), Some("10:00:00.000Z")])]);
    let error = salesforce(&sim).write(&cx(), batch(Operation::Upsert, &contacts(), rows.clone())).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Rejected, Retry::Never));
    assert_eq!(error.context("code"), Some("JSON_PARSER_ERROR"));
    assert!(!shown(&error).contains(CANARY));
    assert!(sim.records("Contact").is_empty());
    // Split by the engine, the good row passes.
    let good = rows.slice(1, 1);
    assert_eq!(effects(&write_words(&salesforce(&sim), Operation::Upsert, &contacts(), good).await), ["Created"]);
}

#[tokio::test]
async fn creates_and_updates() {
    for miss in [UpdateOnlyMiss::NotFound, UpdateOnlyMiss::InvalidCrossReference] {
        let quirks = Quirks { update_only_miss: miss, ..Quirks::default() };
        let sim = sim().with_quirks(quirks).with_record("Contact", [("Ext__c", "e-1"), ("LastName", "L")]);
        let sim = sim.start().await.unwrap();
        let salesforce = salesforce(&sim);
        let outcomes = write_words(&salesforce, Operation::Create, &contacts(), people(&["E-1", "e-2"])).await;
        assert!(outcomes[0].starts_with("Rejected DUPLICATE_VALUE"), "{outcomes:?}");
        assert_eq!(effects(&outcomes)[1], "Created");

        let updated = rows(&[
            ("Ext__c", &[Some("none"), Some("e-2"), Some("e-1")]),
            ("Phone", &[Some("0"), Some("2"), Some("1")]),
        ]);
        let outcomes = write_words(&salesforce, Operation::Update, &contacts(), updated).await;
        assert_eq!(effects(&outcomes), ["Missing", "Updated", "Updated"], "{outcomes:?}");
        assert_eq!(sim.record_by("Contact", "Ext__c", "e-2").unwrap().fields["Phone"], "2");
        assert_eq!(sim.records("Contact").len(), 2);

        let id = sim.record_by("Contact", "Ext__c", "e-1").unwrap().id;
        let by_id = Target::new("Contact", "Id");
        let gone = "003ak00000luKU1AAM";
        let moved = rows(&[("Id", &[Some(&id), Some(gone)]), ("Ext__c", &[Some("new"), Some("x")])]);
        let outcomes = write_words(&salesforce, Operation::Update, &by_id, moved).await;
        assert_eq!((outcomes[0].as_str(), effects(&outcomes)[1]), (format!("Updated {id}").as_str(), "Missing"));
        assert_eq!(sim.record_by("Contact", "Id", &id).unwrap().fields["Ext__c"], "new");
    }
}

#[tokio::test]
async fn f45_addresses_find_none_one_and_several() {
    let sim = sim()
        .with_record("Contact", [("LastName", "One"), ("Email", "one@x.io")])
        .with_record("Contact", [("LastName", "Two"), ("Email", "two@x.io")])
        .with_record("Contact", [("LastName", "Twin"), ("Email", "Two@x.io")])
        .start()
        .await
        .unwrap();
    let (salesforce, by_email) = (salesforce(&sim), Target::new("Contact", "Email"));
    let id = |name: &str| sim.record_by("Contact", "LastName", name).unwrap().id;
    let (one, two, twin) = (id("One"), id("Two"), id("Twin"));
    let asked = keys("Email", &["ONE@x.io", "none@x.io", "two@X.io"]);
    let found = salesforce.lookup(&cx(), LookupRequest::new(by_email.clone(), asked, Vec::new())).await.unwrap();
    assert_eq!(ids(&found), [(0, one.as_str()), (2, two.as_str()), (2, twin.as_str())]);

    let rows = rows(&[
        ("Email", &[Some("One@X.io"), Some("two@x.io"), Some("New@x.io")]),
        ("LastName", &[Some("Uno"), Some("Dos"), Some("Nuevo")]),
    ]);
    let outcomes = write_words(&salesforce, Operation::Upsert, &by_email, rows).await;
    assert_eq!(outcomes[0], format!("Updated {one}"));
    assert!(outcomes[1].starts_with("Rejected DUPLICATE_EXTERNAL_ID"), "never guessed: {outcomes:?}");
    assert_eq!(effects(&outcomes)[2], "Created");
    assert_eq!(sim.records("Contact").len(), 4);
}

#[tokio::test]
async fn lookups_read_all_their_pages_and_queries() {
    let long: Vec<String> = (0..60).map(|i| format!("{i:03}{}", "漢".repeat(200))).collect();
    let mut builder = sim().with_quirks(Quirks { query_page_size: 2, ..Quirks::default() });
    for key in &long {
        builder = builder.with_record("Contact", [("Ext__c", key.as_str()), ("LastName", "L")]);
    }
    let sim = builder.start().await.unwrap();
    let asked: Vec<&str> = long.iter().map(String::as_str).rev().chain(["it's none", "x\\' OR Id != '"]).collect();
    let fields = vec![(FieldName::new("Ext__c"), FieldType::Text)];
    let request = LookupRequest::new(contacts(), keys("Ext__c", &asked), fields);
    let found = salesforce(&sim).lookup(&cx(), request).await.unwrap();
    assert_eq!(found.matches.len(), 60);
    let read = found.fields.batch().column(0).as_string::<i32>();
    assert!(found.matches.iter().zip(read.iter()).all(|(m, key)| key == Some(asked[m.key])));
    assert!(sim.stats().query_requests > 35, "20 queries of two pages each");
    assert_eq!(sim.stats().write_requests, 0, "D2");
}

#[tokio::test]
async fn rows_that_met_a_lock_or_lost_a_race_are_told_from_bad_ones() {
    let sim = sim().start().await.unwrap();
    let salesforce = salesforce(&sim);
    let lock = "unable to obtain exclusive access to this record or 200 records: 001";
    sim.fail_rows(RowFault::new("Contact", "UNABLE_TO_LOCK_ROW", lock).when("Ext__c", "b").times(1));
    let outcomes = write_words(&salesforce, Operation::Upsert, &contacts(), people(&["a", "b"])).await;
    assert_eq!((effects(&outcomes)[0], outcomes[1].as_str()), ("Created", "Retryable UNABLE_TO_LOCK_ROW"));
    assert_eq!(effects(&write_words(&salesforce, Operation::Upsert, &contacts(), people(&["b"])).await), ["Created"]);

    let race = "duplicate value found: Ext__c duplicates value on record with id: 003ak00000luKU1";
    for (attempt, operation, expected) in [
        (1, Operation::Upsert, "Retryable DUPLICATE_VALUE"),
        (2, Operation::Upsert, "Rejected DUPLICATE_VALUE -"),
        (1, Operation::Create, "Rejected DUPLICATE_VALUE -"),
    ] {
        sim.clear_row_faults();
        sim.fail_rows(RowFault::new("Contact", "DUPLICATE_VALUE", race));
        let cx = cx().with_attempt(attempt);
        let receipt = salesforce.write(&cx, batch(operation, &contacts(), people(&["c"]))).await.unwrap();
        assert_eq!(words(&settled(receipt)), [expected]);
    }

    sim.clear_row_faults();
    sim.fail_rows(RowFault::new("Contact", "STORAGE_LIMIT_EXCEEDED", "storage limit exceeded"));
    let error = salesforce.write(&cx(), batch(Operation::Upsert, &contacts(), people(&["d", "e"]))).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::QuotaExhausted, Retry::Never));
}

#[tokio::test]
async fn f28_the_calls_of_a_day() {
    let sim =
        sim().with_quirks(Quirks { usage_jitter: 0, ..Quirks::default() }).with_api_limit(3).start().await.unwrap();
    let salesforce = salesforce(&sim);
    assert_eq!(salesforce.quota(), None);
    salesforce.check(&contacts()).await.unwrap();
    let quota = salesforce.quota().unwrap();
    assert_eq!((quota.used, quota.limit), (1, 3));
    let rows = || batch(Operation::Upsert, &contacts(), people(&["a"]));
    salesforce.write(&cx(), rows()).await.unwrap();
    salesforce.write(&cx(), rows()).await.unwrap();
    let error = salesforce.write(&cx(), rows()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::QuotaExhausted, Retry::Never));
    assert!(salesforce.quota().is_some_and(|quota| quota.used >= quota.limit));
}

#[tokio::test]
async fn f39_writes_survive_an_ended_session() {
    let sim = sim().start().await.unwrap();
    let salesforce = salesforce(&sim);
    salesforce.check(&contacts()).await.unwrap();
    sim.expire_tokens();
    let keys: Vec<String> = (0..8).map(|i| i.to_string()).collect();
    let cx = cx();
    let calls = keys.iter().map(|key| salesforce.write(&cx, batch(Operation::Upsert, &contacts(), people(&[key]))));
    for receipt in futures::future::join_all(calls).await {
        assert_eq!(effects(&words(&settled(receipt.unwrap()))), ["Created"]);
    }
    assert_eq!((sim.stats().tokens_issued, sim.records("Contact").len()), (2, 8));
}

/// Arms a fault for every write and tells how the write fails, and how many requests it made.
async fn failing(sim: &SalesforceSim, action: FaultAction) -> ((Kind, Retry), u64) {
    let mut limits = Limits::default();
    limits.total_ms = 300;
    let salesforce = builder_for(sim).limits(limits).build().unwrap();
    salesforce.describe(&contacts()).await.unwrap();
    sim.faults().set(FaultPlan::new([FaultRule::new(action).on_method("PATCH")])).unwrap();
    let (before, rows) = (sim.journal().total(), people(&["canary"]));
    let error = salesforce.write(&cx(), batch(Operation::Upsert, &contacts(), rows)).await.unwrap_err();
    sim.faults().clear();
    assert!(!shown(&error).contains(CANARY), "{}", shown(&error));
    ((error.kind(), error.retry()), sim.journal().total() - before)
}

#[tokio::test]
async fn faults_are_classified_by_what_is_known_of_the_write() {
    let sim = sim().with_api_limit(1_000).start().await.unwrap();
    let ambiguous = (Kind::Unavailable, Retry::Ambiguous);
    let lost = (Kind::Protocol, Retry::Ambiguous);
    let after = |secs| Retry::After(Duration::from_secs(secs));
    let table = [
        ("f26 429 with a pause", FaultAction::status_retry_after(429, 7), (Kind::RateLimited, after(7)), 1),
        ("f28 429 without", FaultAction::status(429), (Kind::RateLimited, Retry::Backoff), 1),
        ("f28 403", FaultAction::status(403), (Kind::QuotaExhausted, Retry::Never), 1),
        ("f29 500", FaultAction::status(500), ambiguous, 1),
        ("f29 502 after applying", FaultAction::status_after_applying(502), ambiguous, 1),
        ("f29 503", FaultAction::status_retry_after(503, 5), ambiguous, 1),
        ("f36 html 502", FaultAction::HtmlPage { status: 502, processing: Processing::NotApplied }, ambiguous, 1),
        ("f36 html 200", FaultAction::HtmlPage { status: 200, processing: Processing::Applied }, lost, 1),
        ("f36 truncated", FaultAction::TruncateBody { keep_bytes: 40 }, lost, 1),
        ("f36 empty", FaultAction::EmptyBody { status: 200, processing: Processing::Applied }, lost, 1),
        ("f35 no results", FaultAction::DropResults { entries: DropEntries::All }, lost, 1),
        ("f31 reset before", FaultAction::ResetConnection { processing: Processing::NotApplied }, ambiguous, 1),
        ("f31 reset after", FaultAction::ResetConnection { processing: Processing::Applied }, ambiguous, 1),
        ("f31 reset in the body", FaultAction::ResetMidBody { after_bytes: 10 }, ambiguous, 1),
        ("f31 late", FaultAction::DelayAfter { delay_ms: 2_000 }, ambiguous, 1),
        ("f32 held", FaultAction::Hold { processing: Processing::Applied }, ambiguous, 1),
        (
            "f37 redirect",
            FaultAction::Redirect { status: 307, location: "/elsewhere".into() },
            (Kind::Protocol, Retry::Never),
            1,
        ),
        ("f37 several choices", FaultAction::status(300), (Kind::Protocol, Retry::Never), 1),
        ("f39 401", FaultAction::status(401), (Kind::Unauthenticated, Retry::Never), 3),
    ];
    for (case, action, expected, sent) in table {
        assert_eq!(failing(&sim, action).await, (expected, sent), "{case}");
    }
}

#[tokio::test]
async fn d03_a_replay_after_a_lost_answer_changes_nothing() {
    let sim = sim().start().await.unwrap();
    let lost = FaultRule::new(FaultAction::ResetConnection { processing: Processing::Applied })
        .on_method("PATCH")
        .on_requests(Requests::First(1));
    sim.faults().set(FaultPlan::new([lost])).unwrap();
    let rows = people(&["a", "b"]);
    let error = salesforce(&sim).write(&cx(), batch(Operation::Upsert, &contacts(), rows.clone())).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Ambiguous);
    let values = || sim.records("Contact").into_iter().map(|r| (r.id, r.fields)).collect::<Vec<_>>();
    let before = values();
    let outcomes = write_words(&salesforce(&sim), Operation::Upsert, &contacts(), rows).await;
    assert_eq!(effects(&outcomes), ["Updated"; 2]);
    assert_eq!(values(), before);
}

/// A runtime for the adapter alone, beside a simulator on a thread of its own.
fn alone<F: Future>(work: impl FnOnce(SalesforceSim) -> F) -> F::Output {
    let sim = sim().start_on_thread().unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work(sim))
}

#[test]
fn d09_dropping_a_call_leaves_nothing_behind() {
    alone(async |sim| {
        let salesforce = salesforce(&sim);
        salesforce.describe(&contacts()).await.unwrap();
        let hold = FaultRule::new(FaultAction::Hold { processing: Processing::NotApplied });
        sim.faults().set(FaultPlan::new([hold])).unwrap();
        for _ in 0..5 {
            let cx = cx();
            let call = salesforce.write(&cx, batch(Operation::Upsert, &contacts(), people(&["a"])));
            assert!(tokio::time::timeout(Duration::from_millis(30), call).await.is_err());
        }
        drop(salesforce);
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
    let secrets = alone(async |sim| {
        let salesforce = salesforce(&sim);
        salesforce.check(&contacts()).await.unwrap();
        salesforce.describe(&Target::new("Contact", "Email")).await.unwrap();
        let rows = rows(&[
            ("Ext__c", &[Some("canary-1"), Some("canary-2")]),
            ("LastName", &[Some("canary"); 2]),
            ("Tier__c", &[Some("canary"), Some("plus")]),
        ]);
        let outcomes = write_words(&salesforce, Operation::Upsert, &contacts(), rows).await;
        assert_eq!(effects(&outcomes), ["Rejected", "Created"]);
        let request = LookupRequest::new(contacts(), keys("Ext__c", &["canary-1"]), Vec::new());
        salesforce.lookup(&cx(), request).await.unwrap();
        let key_line = sim.private_key_pem().lines().nth(1).unwrap().to_owned();
        [sim.organization_id(), "Bearer ".into(), "assertion".into(), "eyJ".into(), key_line]
    });
    let log = logged();
    assert!(log.contains("not unique") && log.contains("/composite/sobjects/{object}/{key}"), "{log}");
    for text in secrets.iter().map(String::as_str).chain([CANARY]) {
        assert!(!log.contains(text), "{text} in {log}");
    }
}
