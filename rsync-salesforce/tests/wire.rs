//! Recorded and made-up answers, played back over a socket.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rsync_core::arrow::array::AsArray;
use rsync_core::arrow::datatypes::Decimal128Type;
use rsync_core::capability::{Addressing, Operation};
use rsync_core::destination::{KeyFolding, LookupRequest, Quota, Target};
use rsync_core::ids::{FieldName, JobToken};
use rsync_core::record::FieldType;
use rsync_core::{Destination, Error, Kind, Retry};
use rsync_salesforce::AutoAssign;
use support::*;

/// A recorded body, where recordings are at hand.
fn recorded(folder: &str, name: &str) -> Option<Vec<u8>> {
    Some(std::fs::read(shared_data(&format!("wire/{folder}"))?.join(name)).unwrap())
}

async fn write(
    status: u16,
    body: Vec<u8>,
    operation: Operation,
    match_on: &str,
    columns: &[(&str, &[Option<&str>])],
) -> Result<Vec<String>, Error> {
    let server = Playback::described(status, body).await;
    let batch = batch(operation, &Target::new("Contact", match_on), rows(columns));
    Ok(words(&settled(server.salesforce().write(&cx(), batch).await?)))
}

#[tokio::test]
async fn recorded_creates() {
    let two: &[(&str, &[Option<&str>])] =
        &[("Ext__c", &[Some("a"), Some("b")]), ("LastName", &[Some("Dyer"), Some("Blevins")])];
    if let Some(body) = recorded("salesforce", "batch__create__contacts__success.json") {
        let outcomes = write(200, body, Operation::Create, "Ext__c", two).await.unwrap();
        assert_eq!(outcomes, ["Created 003ak00000luKU1AAM", "Created 003ak00000luKU2AAM"]);
    }
    if let Some(body) = recorded("salesforce", "batch__create__contacts__partial-but-allOrNone.json") {
        // Either status has been seen for this list.
        for status in [200, 400] {
            let outcomes = write(status, body.clone(), Operation::Create, "Ext__c", two).await.unwrap();
            let expected = ["Rejected REQUIRED_FIELD_MISSING LastName", "Retryable ALL_OR_NONE_OPERATION_ROLLED_BACK"];
            assert_eq!(outcomes, expected, "{status}");
        }
    }
    if let Some(body) = recorded("salesforce", "batch__create__contacts__err-bad-request.json") {
        let error = write(400, body, Operation::Create, "Ext__c", two).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Rejected, Retry::Never));
        assert_eq!(error.context("code"), Some("REQUIRED_FIELD_MISSING"));
    }
    if let Some(body) = recorded("salesforce", "create-ok.json") {
        let error = write(201, body, Operation::Create, "Ext__c", two).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Ambiguous), "not the answer of this call");
    }
}

#[tokio::test]
async fn recorded_updates() {
    let two: &[(&str, &[Option<&str>])] = &[
        ("Id", &[Some("003ak00000jvIfpAAE"), Some("003ak00000jvIfqAAE")]),
        ("unknownField_LastName", &[Some("Dyer"), Some("Blevins")]),
    ];
    for (name, expected) in [
        ("batch__update__contacts__success.json", ["Updated 003ak00000jvIfpAAE", "Updated 003ak00000jvIfqAAE"]),
        (
            "batch__update__contacts__partial-but-allOrNone.json",
            ["Retryable ALL_OR_NONE_OPERATION_ROLLED_BACK", "Rejected INVALID_FIELD unknownField_LastName"],
        ),
        ("batch__update__contacts__err-each-no-ids.json", ["Rejected MISSING_ARGUMENT -"; 2]),
    ] {
        if let Some(body) = recorded("salesforce", name) {
            let outcomes = write(200, body, Operation::Update, "Id", two).await.unwrap();
            assert_eq!(outcomes, expected, "{name}");
        }
    }
    if let Some(body) = recorded("salesforce", "success-with-errors.json") {
        let list = [b"[", &body[..], b"]"].concat();
        let one: &[(&str, &[Option<&str>])] = &[("Ext__c", &[Some("a")])];
        let outcomes = write(200, list, Operation::Upsert, "Ext__c", one).await.unwrap();
        assert_eq!(outcomes, ["Rejected MALFORMED_ID -"]);
    }
}

#[tokio::test]
async fn recorded_refusals() {
    let columns: &[(&str, &[Option<&str>])] = &[("Ext__c", &[Some(CANARY)]), ("MasterRecordId", &[Some(CANARY)])];
    if let Some(body) = recorded("salesforce", "invalid-field-upsert.json") {
        let error = write(400, body, Operation::Upsert, "Ext__c", columns).await.unwrap_err();
        assert_eq!((error.kind(), error.context("field")), (Kind::SchemaMismatch, Some("MasterRecordId")));
        assert_eq!(error.context("code"), Some("INVALID_FIELD_FOR_INSERT_UPDATE"));
        assert!(!shown(&error).contains(CANARY));
    }
    for (name, status, kind, code) in [
        ("unknown-object.json", 400, Kind::NotFound, "INVALID_TYPE"),
        ("unknown-field.json", 400, Kind::SchemaMismatch, "INVALID_FIELD"),
        ("crm__delete__not-found.json", 404, Kind::NotFound, "ENTITY_IS_DELETED"),
    ] {
        let Some(body) = recorded("salesforce", name) else { continue };
        let server = Playback::described(status, body).await;
        let request = LookupRequest::new(contacts(), keys("Ext__c", &["a"]), Vec::new());
        let error = server.salesforce().lookup(&cx(), request).await.unwrap_err();
        assert_eq!((error.kind(), error.retry(), error.context("code")), (kind, Retry::Never, Some(code)), "{name}");
    }
}

#[tokio::test]
async fn recorded_descriptions() {
    // Object, a field, its type, whether it can be written, matched on and emptied.
    let table = [
        ("Contact", "Id", "id", false, true, false),
        ("Contact", "LastName", "string", true, false, false),
        ("Contact", "Email", "email", true, true, true),
        ("Contact", "Name", "string", false, false, false),
        ("Contact", "MailingAddress", "address", false, false, true),
        ("Contact", "MailingLatitude", "double", true, false, true),
        ("Contact", "AccountId", "reference", true, false, true),
        ("Contact", "CreatedDate", "datetime", false, false, false),
        ("Lead", "Email", "email", true, true, true),
        ("Account", "AnnualRevenue", "currency", true, false, true),
        ("Account", "NumberOfEmployees", "int", true, false, true),
        ("Case", "CaseNumber", "string", false, false, false),
        ("Opportunity", "Name", "string", true, false, false),
        ("Opportunity", "IsPrivate", "boolean", true, false, false),
        ("Opportunity", "Probability", "percent", true, false, true),
        ("Opportunity", "CloseDate", "date", true, false, false),
        ("Custom__c", "CustomField__c", "string", true, false, true),
    ];
    for (object, name, type_name, writable, unique, clearable) in table {
        let Some(body) = recorded("describes", &format!("{object}.describe.json")) else { return };
        let server = Playback::start(vec![(200, body)]).await;
        let schema = server.salesforce().describe(&Target::new(object, "Id")).await.unwrap();
        let field = schema.field(name).unwrap_or_else(|| panic!("{object}.{name}"));
        let described = (field.type_name.as_str(), field.writable, field.unique, field.clearable);
        assert_eq!(described, (type_name, writable, unique, clearable), "{object}.{name}");
        let exact = if name.ends_with("Id") { KeyFolding::Exact } else { KeyFolding::CaselessTrimmed };
        assert_eq!(field.folding, exact, "{object}.{name}");
    }
}

#[tokio::test]
async fn recorded_records_are_read() {
    let describe = recorded("describes", "Opportunity.describe.json");
    let Some((describe, records)) = describe.zip(recorded("salesforce", "read-opportunity-with-account.json")) else {
        return;
    };
    let server = Playback::start(vec![(200, describe), (200, records)]).await;
    let amount = FieldType::Decimal { precision: 18, scale: 2 };
    let request = LookupRequest::new(
        Target::new("Opportunity", "Id"),
        keys("Id", &["006ak00000OQ4Ry", "006ak00000OQ4RxAAL"]),
        vec![(FieldName::new("AccountId"), FieldType::Text), (FieldName::new("Amount"), amount)],
    );
    let found = server.salesforce().lookup(&cx(), request).await.unwrap();
    let matches: Vec<(usize, &str)> = found.matches.iter().map(|m| (m.key, m.id.as_str())).collect();
    assert_eq!(matches, [(1, "006ak00000OQ4RxAAL"), (0, "006ak00000OQ4RyAAL")]);
    let columns = found.fields.batch();
    assert_eq!(columns.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("001ak00000OKNPHAA5"), None]);
    assert_eq!(columns.column(1).as_primitive::<Decimal128Type>().values(), &[5_000_000, 3_000_000]);
}

#[tokio::test]
async fn every_operation_has_its_own_call() {
    let done = r#"[{"id":"003ak00000luKU1AAM","success":true,"errors":[]}]"#;
    let collections = format!("{ROOT}/composite/sobjects");
    for (operation, match_on, key, line) in [
        (Operation::Upsert, "Ext__c", "a/../b", format!("PATCH {collections}/Contact/Ext__c")),
        (Operation::Upsert, "Email", "a@x.io", format!("PATCH {collections}/Contact/Email")),
        (Operation::Create, "Ext__c", "a", format!("POST {collections}")),
        (Operation::Update, "Ext__c", "a", format!("PATCH {collections}/Contact/Ext__c?updateOnly=true")),
        (Operation::Update, "Id", "003ak00000luKU1AAM", format!("PATCH {collections}")),
    ] {
        let server = Playback::described(200, done).await;
        let batch = batch(operation, &Target::new("Contact", match_on), keys(match_on, &[key]));
        server.salesforce().write(&cx(), batch).await.unwrap();
        assert_eq!(server.lines(), [format!("GET {ROOT}/sobjects/Contact/describe"), line]);
        let request = server.requests().remove(1);
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        for header in [
            "authorization: Bearer token-canary-1",
            "content-type: application/json",
            "accept: application/json",
            "sforce-auto-assign: FALSE",
            "sforce-call-options: client=rsync",
            "user-agent: rsync-salesforce/",
        ] {
            assert!(head.contains(&format!("\r\n{header}")), "{header} in {head}");
        }
        let field = if match_on == "Id" { "id" } else { match_on };
        let expected =
            format!(r#"{{"allOrNone":false,"records":[{{"attributes":{{"type":"Contact"}},"{field}":"{key}"}}]}}"#);
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn settings_are_sent() {
    let done = r#"[{"success":true}]"#;
    for (auto_assign, header) in
        [(AutoAssign::On, "TRUE"), (AutoAssign::Rule("01Q000000000001".into()), "01Q000000000001")]
    {
        let server = Playback::described(200, done).await;
        let salesforce = server.builder().auto_assign(auto_assign).api_version(61).build().unwrap();
        salesforce.write(&cx(), batch(Operation::Upsert, &contacts(), keys("Ext__c", &["a"]))).await.unwrap();
        assert!(server.lines().iter().all(|line| line.contains(" /services/data/v61.0/")));
        let [describe, write] = &server.requests()[..] else { panic!("two calls") };
        assert!(write.contains(&format!("sforce-auto-assign: {header}\r\n")) && !describe.contains("auto-assign"));
    }
    let server = Playback::described(200, done).await;
    let salesforce = server.builder().api_version(60).build().unwrap();
    let capability = |match_on: &str| salesforce.capability(&Target::new("Contact", match_on));
    let addressing = |match_on: &str| capability(match_on).update.unwrap().addressing;
    assert_eq!((addressing("Ext__c"), addressing("Id")), (Addressing::ById, Addressing::ByKeyOrId));
    assert!(capability("Id").upsert.is_none() && capability("Email").create.is_none());
}

#[tokio::test]
async fn f36_answers_that_cannot_be_understood_leave_the_fate_open() {
    for body in [
        "",
        "<html>bad gateway</html>",
        "{}",
        "[",
        "[]",
        r#"[{"message":"m","errorCode":"UNKNOWN_EXCEPTION"}]"#,
        r#"[{"success":true},{"success":true}]"#,
    ] {
        let one: &[(&str, &[Option<&str>])] = &[("Ext__c", &[Some("a")])];
        let error = write(200, body.into(), Operation::Upsert, "Ext__c", one).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Ambiguous), "{body}");
        let request = LookupRequest::new(contacts(), keys("Ext__c", &["a"]), Vec::new());
        let error = Playback::described(200, body).await.salesforce().lookup(&cx(), request).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Backoff), "{body}");
        let error = Playback::start(vec![(200, body.into())]).await.salesforce().check(&contacts()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Backoff), "{body}");
    }
    let halves = [("Ext__c", &[Some("a"), Some("b")][..])];
    let error = write(200, r#"[{"success":true}]"#.into(), Operation::Upsert, "Ext__c", &halves).await.unwrap_err();
    assert_eq!((error.context("sent"), error.context("found")), (Some("2"), Some("1")));
}

#[tokio::test]
async fn d04_refused_rows_keep_the_places_of_the_others() {
    let body = r#"[{"id":"003ak00000luKU1AAM","success":true,"created":false},
        {"success":false,"errors":[{"statusCode":"STRING_TOO_LONG","message":"canary","fields":["LastName"]}]}]"#;
    let columns: &[(&str, &[Option<&str>])] = &[
        ("Ext__c", &[Some("a"), Some("b"), Some("c"), Some("d")]),
        ("LastName", &[Some("nul\0"), Some("ok"), Some("\0"), Some("ok")]),
    ];
    let outcomes = write(200, body.into(), Operation::Upsert, "Ext__c", columns).await.unwrap();
    let nul = "Rejected LOCAL_NUL LastName";
    assert_eq!(outcomes, [nul, "Updated 003ak00000luKU1AAM", nul, "Rejected STRING_TOO_LONG LastName"]);
}

#[tokio::test]
async fn f39_policies_that_look_like_an_ended_session_are_final() {
    let session = |message: &str, code: &str| format!(r#"[{{"message":"{message}","errorCode":"{code}"}}]"#);
    for (body, fetched) in [
        (session("Session expired or invalid", "INVALID_SESSION_ID"), 2),
        (session("This session is not valid for use with the REST API", "INVALID_SESSION_ID"), 1),
        (session("Connected app is not attached to Agent", "INVALID_SESSION_ID"), 1),
        (session("INVALID_HEADER_TYPE", "INVALID_AUTH_HEADER"), 1),
        ("<html>".into(), 1),
    ] {
        let server = Playback::start(vec![(401, body.clone().into())]).await;
        let vault = Arc::new(Vault::default());
        let source = Arc::clone(&vault) as Arc<dyn rsync_http::TokenSource>;
        let salesforce = server.builder().token_source(source, &server.base_url).build().unwrap();
        let error = salesforce.check(&contacts()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Unauthenticated, Retry::Never), "{body}");
        assert_eq!((vault.fetched.load(Ordering::SeqCst), server.requests().len()), (fetched, fetched), "{body}");
    }
}

#[tokio::test]
async fn a_hosts_token_is_asked_for_its_organization() {
    let page =
        r#"{"totalSize":1,"done":true,"records":[{"attributes":{"type":"Organization"},"Id":"00DRM000000EAqL2AW"}]}"#;
    let server = Playback::described(200, page).await;
    assert_eq!(server.salesforce().check(&contacts()).await.unwrap().as_str(), "00DRM000000EAqL2AW");
    let query = format!("GET {ROOT}/query?q=SELECT+Id+FROM+Organization");
    assert_eq!(server.lines(), [format!("GET {ROOT}/sobjects/Contact/describe"), query]);
    let closed = CONTACT.replace(
        r#""createable":true,"updateable":true,"fields""#,
        r#""createable":false,"updateable":false,"fields""#,
    );
    let error = Playback::start(vec![(200, closed.into())]).await.salesforce().check(&contacts()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Forbidden, Retry::Never));
}

#[tokio::test]
async fn a_missing_version_is_told_from_a_missing_object() {
    let missing = r#"[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]"#;
    let server = Playback::start(vec![(404, missing.into())]).await;
    let error = server.salesforce().check(&contacts()).await.unwrap_err();
    assert_eq!((error.kind(), error.context("version")), (Kind::Unsupported, Some("v66.0")));
    assert_eq!(server.lines()[1], format!("GET {ROOT}"));
    let server = Playback::start(vec![(404, missing.into()), (200, b"{}".to_vec())]).await;
    let error = server.salesforce().check(&contacts()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::NotFound, Retry::Never));
}

#[tokio::test]
async fn further_pages_are_read() {
    let page = |done: bool, id: &str| {
        format!(
            r#"{{"totalSize":2,"done":{done},"nextRecordsUrl":"{ROOT}/query/01gak-2000",
                "records":[{{"Id":"{id}","Ext__c":"A"}}]}}"#
        )
    };
    let answers = vec![
        (200, CONTACT.into()),
        (200, page(false, "003ak00000luKU1AAM").into()),
        (200, page(true, "003ak00000luKU2AAM").into()),
    ];
    let server = Playback::start(answers).await;
    let request = LookupRequest::new(contacts(), keys("Ext__c", &["a"]), Vec::new());
    let found = server.salesforce().lookup(&cx(), request.clone()).await.unwrap();
    assert_eq!(found.matches.iter().map(|m| m.key).collect::<Vec<_>>(), [0, 0], "both, to be told ambiguous");
    assert_eq!(server.lines()[2], format!("GET {ROOT}/query/01gak-2000"));

    let endless = Playback::described(200, page(false, "003ak00000luKU1AAM")).await;
    let error = endless.salesforce().lookup(&cx(), request).await.unwrap_err();
    assert_eq!((error.kind(), error.context("pages")), (Kind::Unsupported, Some("50")));
}

#[tokio::test]
async fn the_quota_is_what_the_last_answer_said() {
    let server = Playback::described(500, "").await;
    let salesforce = server.salesforce();
    assert_eq!(salesforce.quota(), None);
    salesforce.describe(&contacts()).await.unwrap();
    assert_eq!(salesforce.quota(), Some(Quota::new(18, 5_000)));
    let request = LookupRequest::new(contacts(), keys("Ext__c", &["a"]), Vec::new());
    salesforce.clone().lookup(&cx(), request).await.unwrap_err();
    assert_eq!(salesforce.quota(), Some(Quota::new(19, 5_000)), "errors tell it too, and clones share it");
}

#[tokio::test]
async fn s01_s02_token_and_values_not_in_debug_or_errors() {
    let echo = r#"[{"message":"canary","errorCode":"canary","fields":["canary"]}]"#;
    for status in [400, 401, 403, 404, 409, 429, 500, 503, 200] {
        let server = Playback::described(status, echo).await;
        let salesforce = server.salesforce();
        let rows = rows(&[("Ext__c", &[Some("canary-1")]), ("Phone", &[Some("canary")])]);
        let error = salesforce.write(&cx(), batch(Operation::Upsert, &contacts(), rows)).await.unwrap_err();
        let request = LookupRequest::new(contacts(), keys("Ext__c", &["canary-1"]), Vec::new());
        let read = salesforce.lookup(&cx(), request).await.unwrap_err();
        for text in [shown(&error), shown(&read), format!("{salesforce:?} {salesforce:#?}")] {
            assert!(!text.to_lowercase().contains(CANARY), "{status}: {text}");
        }
    }
}

#[tokio::test]
async fn calls_that_send_nothing() {
    let server = Playback::start(vec![(500, Vec::new())]).await;
    let salesforce = server.salesforce();
    let empty = salesforce.write(&cx(), batch(Operation::Upsert, &contacts(), keys("Ext__c", &[]))).await.unwrap();
    assert!(settled(empty).is_empty());

    let many: Vec<String> = (0..201).map(|i| i.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let error =
        salesforce.write(&cx(), batch(Operation::Upsert, &contacts(), keys("Ext__c", &many))).await.unwrap_err();
    assert_eq!((error.kind(), error.context("limit")), (Kind::Internal, Some("200")));
    let request = LookupRequest::new(contacts(), keys("Ext__c", &many), Vec::new());
    assert_eq!(salesforce.lookup(&cx(), request).await.unwrap_err().kind(), Kind::Internal);

    for (operation, match_on) in [
        (Operation::Delete, "Ext__c"),
        (Operation::Upsert, "Id"),
        (Operation::Create, "Id"),
        (Operation::Create, "Email"),
    ] {
        let target = Target::new("Contact", match_on);
        let error = salesforce.write(&cx(), batch(operation, &target, keys(match_on, &["1"]))).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{operation:?}");
        let offered = salesforce.capability(&target).limits(operation).map(|limits| limits.addressing);
        assert!(offered.is_none_or(|addressing| !addressing.takes_keys()));
    }
    let bad = Target::new("Contact/../x", "Ext__c");
    let error = salesforce.write(&cx(), batch(Operation::Upsert, &bad, keys("Ext__c", &["a"]))).await.unwrap_err();
    assert_eq!((error.kind(), error.problems().len()), (Kind::InvalidConfig, 1));
    let rows = batch(Operation::Upsert, &contacts(), keys("Ext__c", &["a"]));
    assert_eq!(salesforce.resume(&cx(), &rows, JobToken::new("x")).await.unwrap_err().kind(), Kind::NotFound);
    assert!(server.requests().is_empty());

    // Refused by the description: nothing is written.
    let server = Playback::described(500, "").await;
    let salesforce = server.salesforce();
    for (match_on, remedy) in
        [("ext__c", "write it as Ext__c"), ("Loose__c", "match on an external id"), ("Gone__c", "create")]
    {
        let target = Target::new("Contact", match_on);
        let error =
            salesforce.write(&cx(), batch(Operation::Upsert, &target, keys(match_on, &["a"]))).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::SchemaMismatch, Retry::Never), "{match_on}");
        assert!(error.remedy().unwrap().starts_with(remedy), "{error}");
    }
    assert_eq!(server.requests().len(), 1);
}
