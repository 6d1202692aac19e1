//! Recorded and made-up answers, played back over a socket.

mod support;

use rsync_core::capability::Operation;
use rsync_core::destination::{Context, KeyFolding, LookupRequest, Target};
use rsync_core::ids::{FieldName, JobToken, RunId};
use rsync_core::record::FieldType;
use rsync_core::{Destination, Error, Kind, Retry};
use rsync_hubspot::ApiVersion;
use rsync_testkit::adapter::{Playback, Played, batch, keys, rows, settled, shared_data, shown, words};
use support::*;

/// A recorded body, where recordings are at hand.
fn recorded(name: &str) -> Option<Vec<u8>> {
    Some(std::fs::read(shared_data("wire/hubspot")?.join(name)).unwrap())
}

async fn write(
    status: u16,
    body: Vec<u8>,
    operation: Operation,
    target: Target,
    columns: &[(&str, &[Option<&str>])],
) -> Result<Vec<String>, Error> {
    let server = Playback::one(status, body).await;
    let receipt = hubspot_at(&server).write(&cx(), batch(operation, &target, rows(columns))).await?;
    Ok(words(&settled(receipt)))
}

#[tokio::test]
async fn recorded_creates() {
    let two: &[(&str, &[Option<&str>])] =
        &[("email", &[Some("MarleyFleming@hubspot.com"), Some("lilyskinner@hubspot.com")])];
    if let Some(body) = recorded("batch-create-contacts-success.json") {
        let outcomes = write(201, body, Operation::Create, contacts(), two).await.unwrap();
        assert_eq!(outcomes, ["Created 171596044870", "Created 171596044869"]);
    }
    if let Some(body) = recorded("batch-create-contacts-err-partial-success.json") {
        let columns: &[(&str, &[Option<&str>])] =
            &[("email", &[Some("old@x.io"), Some("siena.dyer@hubspot.com"), Some("third@x.io")])];
        let outcomes = write(207, body, Operation::Create, contacts(), columns).await.unwrap();
        assert_eq!(outcomes, ["Exists", "Created 171596044870", "Unknown"]);
    }
    if let Some(body) = recorded("batch-create-contacts-err-conflict.json") {
        let error = write(409, body, Operation::Create, contacts(), two).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry(), error.context("category")),
            (Kind::Rejected, Retry::Never, Some("CONFLICT"))
        );
    }
    if let Some(body) = recorded("batch-create-contacts-err-many-invalid-properties.json") {
        let columns: &[(&str, &[Option<&str>])] = &[("email", &[Some("a@x.io")]), ("first000name", &[Some(CANARY)])];
        let error = write(400, body, Operation::Create, contacts(), columns).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Rejected, Retry::Never));
        assert_eq!(error.context("code"), Some("PROPERTY_DOESNT_EXIST"));
        assert_eq!(error.context("field"), Some("first000name"));
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("mapping")));
        assert!(!shown(&error).contains(CANARY));
    }
}

#[tokio::test]
async fn recorded_updates() {
    let by_id = Target::new("contacts", "hs_object_id");
    if let Some(body) = recorded("batch-update-contacts-success.json") {
        let columns: &[(&str, &[Option<&str>])] = &[("hs_object_id", &[Some("171591000199"), Some("171591000198")])];
        let outcomes = write(200, body, Operation::Update, by_id.clone(), columns).await.unwrap();
        assert_eq!(outcomes, ["Updated 171591000199", "Updated 171591000198"]);
    }
    if let Some(body) = recorded("batch-update-contacts-err-partial-success.json") {
        let columns: &[(&str, &[Option<&str>])] =
            &[("hs_object_id", &[Some("unknownIdentifier888"), Some("171591000199")])];
        let outcomes = write(207, body, Operation::Update, by_id.clone(), columns).await.unwrap();
        assert_eq!(outcomes, ["Missing", "Updated 171591000199"]);
    }
    if let Some(body) = recorded("batch-update-contacts-err-duplicate-ids.json") {
        let columns: &[(&str, &[Option<&str>])] = &[("hs_object_id", &[Some("123456")])];
        let error = write(400, body, Operation::Update, by_id, columns).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Rejected, Retry::Never));
        assert!(!shown(&error).contains("123456"), "{error}");
    }
}

#[tokio::test]
async fn recorded_refusals() {
    if let Some(body) = recorded("err-missing-scopes.json") {
        let answer = Played::json(403, body).with_header("x-hubspot-correlation-id", "8a3f6c3a-8296");
        let error = hubspot_at(&Playback::start(vec![answer]).await).check(&contacts()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Forbidden, Retry::Never));
        assert_eq!(error.context("scopes"), Some("custom-object-read"));
        assert_eq!(error.context("correlation_id"), Some("8a3f6c3a-8296"));
    }
    if let Some(body) = recorded("err-unknown-object-type.json") {
        let server = Playback::start(vec![Played::json(200, r#"{"portalId":7}"#), Played::json(400, body)]).await;
        let error = hubspot_at(&server).check(&Target::new("2-77", "ext")).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::NotFound, Retry::Never));
    }
}

#[tokio::test]
async fn recorded_properties() {
    if let Some(body) = recorded("properties-contacts-sampled.json") {
        let schema = hubspot_at(&Playback::one(200, body).await).describe(&contacts()).await.unwrap();
        let address = schema.field("address").unwrap();
        assert_eq!((address.type_name.as_str(), address.writable, address.unique), ("string/text", true, false));
        let rollup = schema.field("hs_associated_target_accounts").unwrap();
        assert!(!rollup.writable, "a rollup is not called calculated, yet read-only");
        if let Some(email) = schema.field("email") {
            assert_eq!((email.unique, email.folding), (true, KeyFolding::CaselessTrimmed));
        }
    }
    if let Some(body) = recorded("properties-batch-create-ok.json") {
        let schema = hubspot_at(&Playback::one(200, body).await).describe(&contacts()).await.unwrap();
        assert!(schema.field("age__c").unwrap().accepts(FieldType::Integer));
        assert!(schema.field("interests__c").unwrap().accepts(FieldType::Text));
        assert!(!schema.field("interests__c").unwrap().accepts(FieldType::TextList));
    }
}

#[tokio::test]
async fn recorded_records_are_read() {
    let Some(body) = recorded("batch-create-contacts-success.json") else { return };
    let server = Playback::one(200, body).await;
    let request = LookupRequest::new(
        contacts(),
        keys("email", &["LILYSKINNER@hubspot.com", "marleyfleming@hubspot.com"]),
        vec![
            (FieldName::new("hs_is_contact"), FieldType::Boolean),
            (FieldName::new("createdate"), FieldType::Timestamp),
            (FieldName::new("hs_lifecyclestage_lead_date"), FieldType::Timestamp),
            (FieldName::new("num_notes"), FieldType::Integer),
        ],
    );
    let found = hubspot_at(&server).lookup(&cx(), request).await.unwrap();
    let matches: Vec<(usize, &str)> = found.matches.iter().map(|m| (m.key, m.id.as_str())).collect();
    assert_eq!(matches, [(0, "171596044869"), (1, "171596044870")]);
    // One moment in ISO 8601, the other in epoch milliseconds.
    assert_eq!(found.fields.batch().column(1), found.fields.batch().column(2));
}

#[tokio::test]
async fn every_version_has_its_own_paths() {
    let table = [
        (ApiVersion::V3, "/account-info/v3/details", "/crm/v3/properties/2-77", "/crm/v3/objects/2-77/batch/upsert"),
        (
            ApiVersion::V2026_03,
            "/account-info/2026-03/details",
            "/crm/properties/2026-03/2-77",
            "/crm/objects/2026-03/2-77/batch/upsert",
        ),
        (
            ApiVersion::V2026_09,
            "/account-info/2026-09/details",
            "/crm/properties/2026-09/2-77",
            "/crm/objects/2026-09/2-77/batch/upsert",
        ),
    ];
    for (version, account, properties, upsert) in table {
        let server = Playback::one(200, br#"{"portalId":62515,"results":[]}"#).await;
        let hubspot = builder(server.base_url(), "pat-canary").version(version).build().unwrap();
        let target = Target::new("2-77", "ext");
        assert_eq!(hubspot.check(&target).await.unwrap().as_str(), "62515");
        hubspot.write(&cx(), batch(Operation::Upsert, &target, keys("ext", &["a/../b"]))).await.unwrap();
        let lines: Vec<String> =
            server.requests().into_iter().map(|(head, _)| head.lines().next().unwrap().to_owned()).collect();
        let expected = [
            format!("GET {account} HTTP/1.1"),
            format!("GET {properties} HTTP/1.1"),
            format!("POST {upsert} HTTP/1.1"),
        ];
        assert_eq!(lines, expected);
    }
}

#[tokio::test]
async fn f36_answers_that_cannot_be_understood_leave_the_fate_open() {
    for body in [
        "",
        "<html>bad gateway</html>",
        "{}",
        "{\"results\":",
        "[]",
        r#"{"status":"error","category":"VALIDATION_ERROR"}"#,
    ] {
        let error =
            write(200, body.into(), Operation::Upsert, contacts(), &[("email", &[Some("a@x.io")])]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Ambiguous), "{body}");
        let request = LookupRequest::new(contacts(), keys("email", &["a@x.io"]), Vec::new());
        let error = hubspot_at(&Playback::one(200, body).await).lookup(&cx(), request).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Backoff), "{body}");
        let error = hubspot_at(&Playback::one(200, body).await).check(&contacts()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Backoff), "{body}");
    }
}

#[tokio::test]
async fn d05_errors_under_any_2xx_count() {
    let body = r#"{"status":"COMPLETE","results":[],"numErrors":1,"errors":[{"status":"error","category":"VALIDATION_ERROR",
        "message":"Property values were not valid: [{\"isValid\":false,\"message\":\"canary\",\"error\":\"INVALID_EMAIL\",\"name\":\"email\"}]",
        "context":{"objectWriteTraceId":["0"]}}]}"#;
    for status in [200, 201, 202, 207] {
        let outcomes =
            write(status, body.into(), Operation::Upsert, contacts(), &[("email", &[Some("a@x.io")])]).await.unwrap();
        assert_eq!(outcomes, ["Rejected INVALID_EMAIL email"], "{status}");
    }
}

#[tokio::test]
async fn s01_s02_token_and_values_not_in_debug_or_errors() {
    let echo = r#"{"status":"error","message":"canary","category":"canary","correlationId":"canary value","policyName":"canary",
        "context":{"propertyName":["canary"],"requiredGranularScopes":["CANARY canary"]},
        "errors":[{"message":"canary","code":"canary","context":{"propertyName":["canary"]}}]}"#;
    for status in [400, 401, 403, 404, 409, 423, 429, 477, 500, 503, 200] {
        let server = Playback::one(status, echo).await;
        let hubspot = hubspot_at(&server);
        let rows = rows(&[("email", &[Some("canary@x.io")]), ("phone", &[Some("canary")])]);
        let error = hubspot.write(&cx(), batch(Operation::Upsert, &contacts(), rows)).await.unwrap_err();
        let request = LookupRequest::new(contacts(), keys("email", &["canary@x.io"]), Vec::new());
        let read = hubspot.lookup(&cx(), request).await.unwrap_err();
        for text in [shown(&error), shown(&read), format!("{hubspot:?} {hubspot:#?}")] {
            assert!(!text.to_lowercase().contains(CANARY), "{status}: {text}");
        }
    }
}

#[tokio::test]
async fn calls_that_send_nothing() {
    let server = Playback::one(500, "").await;
    let hubspot = hubspot_at(&server);
    let empty = hubspot.write(&cx(), batch(Operation::Upsert, &contacts(), keys("email", &[]))).await.unwrap();
    assert!(settled(empty).is_empty());
    let long = "x".repeat(65_537);
    let refused = rows(&[("email", &[Some("a@x.io"), Some("b@x.io")]), ("bio", &[Some(&long), Some(&long)])]);
    let outcomes = settled(hubspot.write(&cx(), batch(Operation::Upsert, &contacts(), refused)).await.unwrap());
    assert_eq!(words(&outcomes), ["Rejected LOCAL_TEXT_TOO_LONG bio"; 2]);

    let many: Vec<String> = (0..101).map(|i| format!("{i}@x.io")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let error = hubspot.write(&cx(), batch(Operation::Upsert, &contacts(), keys("email", &many))).await.unwrap_err();
    assert_eq!((error.kind(), error.context("limit")), (Kind::Internal, Some("100")));
    let error =
        hubspot.lookup(&cx(), LookupRequest::new(contacts(), keys("email", &many), Vec::new())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);

    for (operation, target) in [
        (Operation::Delete, contacts()),
        (Operation::Update, contacts()),
        (Operation::Upsert, Target::new("contacts", "hs_object_id")),
    ] {
        let rows = keys(target.match_on.as_str(), &["1"]);
        let error = hubspot.write(&cx(), batch(operation, &target, rows)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{operation:?}");
        let limits = hubspot.capability(&target).limits(operation);
        assert!(limits.is_none_or(|limits| !limits.addressing.takes_keys()));
    }
    let bad = Target::new("contacts/../x", "email");
    let error = hubspot.write(&cx(), batch(Operation::Upsert, &bad, keys("email", &["a@x.io"]))).await.unwrap_err();
    assert_eq!((error.kind(), error.problems().len()), (Kind::InvalidConfig, 1));
    let rows = batch(Operation::Upsert, &Target::new("contacts", "email"), keys("email", &["a@x.io"]));
    let error = hubspot.resume(&Context::new(RunId(1)), &rows, JobToken::new("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(server.requests().is_empty());
}
