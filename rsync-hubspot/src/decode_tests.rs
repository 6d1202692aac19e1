use proptest::prelude::*;
use rsync_core::outcome::Applied;
use serde_json::{Value as Json, json};

use super::*;

fn sent(keys: &[&str]) -> Vec<Sent> {
    // Rows 10, 11, ...: an index into the rows sent must not be taken for a row of the batch.
    keys.iter().enumerate().map(|(i, key)| Sent { row: 10 + i, key: key.to_lowercase(), stage: None }).collect()
}

fn upsert<'a>(sent: &'a [Sent]) -> Question<'a> {
    Question {
        operation: Operation::Upsert,
        key_kind: KeyKind::Email,
        fold: Fold::Caseless,
        match_on: "email",
        sent,
        is_field: &|name| name == "phone",
    }
}

fn written(effect: Effect, id: &str) -> RowOutcome {
    RowOutcome::written(effect, Some(RemoteId::new(id)))
}

fn record(id: &str, new: bool, email: &str) -> Json {
    json!({"id": id, "new": new, "properties": {"email": email, "firstname": "x"}})
}

fn of(question: &Question<'_>, body: &Json) -> Decoded {
    decode(question, body.to_string().as_bytes()).unwrap()
}

/// Short names of outcomes, for tables.
fn names(decoded: &Decoded) -> Vec<String> {
    decoded
        .outcomes
        .iter()
        .map(|outcome| match outcome {
            RowOutcome::Written { remote_id, .. } => format!("written {}", remote_id.as_ref().unwrap().as_str()),
            RowOutcome::Rejected { code, field, .. } => {
                format!("rejected {code}{}", field.as_ref().map(|f| format!(" {f}")).unwrap_or_default())
            }
            RowOutcome::Retryable { code, .. } => format!("retryable {code}"),
            RowOutcome::Unknown => "unknown".to_owned(),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn f34_results_are_matched_by_key_in_any_order() {
    let rows = sent(&["Ada@x.io", "bob@x.io", "cyd@x.io"]);
    let body = json!({"status": "COMPLETE", "results": [
        record("3", true, "cyd@x.io"), record("1", false, "ada@x.io"), record("2", true, "BOB@x.io")]});
    let decoded = of(&upsert(&rows), &body);
    assert_eq!(
        decoded.outcomes,
        [written(Effect::Updated, "1"), written(Effect::Created, "2"), written(Effect::Created, "3")]
    );
    assert_eq!((decoded.stray, decoded.unknown), (0, 0));
    assert!(matches!(&decoded.outcomes[0], RowOutcome::Written { applied: Applied::Confirmed, .. }));
}

#[test]
fn f33_f35_what_an_answer_says_about_rows() {
    let rows = sent(&["a@x.io", "b@x.io"]);
    let conflict =
        |trace: &str| json!({"category": "CONFLICT", "context": {"objectWriteTraceId": [trace], "existingId": ["9"]}});
    let a = || record("1", true, "a@x.io");
    let table: Vec<(&str, Json, [&str; 2], usize)> = vec![
        ("nothing at all", json!({"results": []}), ["unknown", "unknown"], 0),
        ("one missing", json!({"results": [a()]}), ["written 1", "unknown"], 0),
        (
            "error by trace id",
            json!({"results": [a()], "errors": [conflict("11")], "numErrors": 1}),
            ["written 1", "rejected CONFLICT"],
            0,
        ),
        (
            "error by key",
            json!({"results": [a()], "errors": [{"category": "OBJECT_NOT_FOUND", "context": {"ids": ["B@X.io"]}}]}),
            ["written 1", "rejected OBJECT_NOT_FOUND"],
            0,
        ),
        (
            "error about an unknown row",
            json!({"results": [a()], "errors": [conflict("99")]}),
            ["written 1", "unknown"],
            1,
        ),
        (
            "error about nobody",
            json!({"results": [a()], "errors": [{"category": "CONFLICT"}]}),
            ["written 1", "unknown"],
            1,
        ),
        (
            "more errors than listed",
            json!({"results": [a()], "errors": [], "numErrors": 1}),
            ["written 1", "unknown"],
            1,
        ),
        (
            "result and error for a row",
            json!({"results": [a()], "errors": [conflict("10"), conflict("11")]}),
            ["rejected CONFLICT", "rejected CONFLICT"],
            0,
        ),
        ("the same result twice", json!({"results": [a(), a()]}), ["written 1", "unknown"], 0),
        ("two records for a row", json!({"results": [a(), record("2", true, "a@x.io")]}), ["unknown", "unknown"], 0),
        (
            "a result for somebody else",
            json!({"results": [a(), record("3", true, "z@x.io")]}),
            ["written 1", "unknown"],
            1,
        ),
        (
            "a result without a key",
            json!({"results": [a(), {"id": "2", "properties": {}}]}),
            ["written 1", "unknown"],
            1,
        ),
        (
            "a result without an id",
            json!({"results": [{"properties": {"email": "a@x.io"}}]}),
            ["unknown", "unknown"],
            0,
        ),
        ("an empty id", json!({"results": [record("", true, "a@x.io")]}), ["unknown", "unknown"], 0),
        (
            "ids as numbers",
            json!({"results": [{"id": 7, "properties": {"email": "a@x.io"}}]}),
            ["written 7", "unknown"],
            0,
        ),
        (
            "trace id instead of a key",
            json!({"results": [{"id": "2", "objectWriteTraceId": "11", "properties": {}}]}),
            ["unknown", "written 2"],
            0,
        ),
        (
            "trace id and key disagree",
            json!({"results": [{"id": "2", "objectWriteTraceId": "11", "properties": {"email": "a@x.io"}}]}),
            ["unknown", "unknown"],
            1,
        ),
        (
            "a contact found by another of its addresses",
            json!({"results": [{"id": "2", "properties": {"email": "z@x.io", "hs_additional_emails": "y@x.io;b@x.io"}}]}),
            ["unknown", "written 2"],
            0,
        ),
        ("still at work", json!({"status": "PROCESSING", "results": [a()]}), ["unknown", "unknown"], 0),
        (
            "a code and a property",
            json!({"results": [], "errors": [{"category": "VALIDATION_ERROR",
                "message": "Property values were not valid: [{\"error\":\"INVALID_LONG\",\"name\":\"phone\",\"message\":\"canary\"}]",
                "context": {"objectWriteTraceId": ["10"]}}]}),
            ["rejected INVALID_LONG phone", "unknown"],
            0,
        ),
        (
            "an echoed value is no property",
            json!({"results": [], "errors": [{"category": "VALIDATION_ERROR", "context": {"objectWriteTraceId": ["10"], "propertyName": ["canary"]}}]}),
            ["rejected VALIDATION_ERROR", "unknown"],
            0,
        ),
        (
            "no category",
            json!({"results": [], "errors": [{"message": "canary", "context": {"objectWriteTraceId": ["10"]}}]}),
            ["rejected UNSPECIFIED", "unknown"],
            0,
        ),
        (
            "limit and failure of the service",
            json!({"results": [], "errors": [
                {"category": "RATE_LIMITS", "context": {"objectWriteTraceId": ["10"]}},
                {"category": "INTERNAL_ERROR", "context": {"objectWriteTraceId": ["11"]}}]}),
            ["retryable RATE_LIMITS", "unknown"],
            0,
        ),
    ];
    for (case, body, expected, stray) in table {
        let decoded = of(&upsert(&rows), &body);
        assert_eq!(names(&decoded), expected, "{case}");
        assert_eq!(decoded.stray, stray, "{case}");
        assert!(!format!("{:?}", decoded.outcomes).contains("canary"), "{case}");
    }
}

#[test]
fn f36_bodies_that_are_no_answer() {
    let rows = sent(&["a@x.io"]);
    for body in [
        "",
        " ",
        "null",
        "[]",
        "{}",
        "true",
        "<html>bad gateway</html>",
        "{\"results\":",
        "{\"results\":{}}",
        "{\"results\":null}",
        "\u{feff}{\"results\":[]}",
        "{\"results\":[]} x",
        "{\"results\":[1]}",
        "{\"results\":[],\"results\":[]}",
        r#"{"results":[{"id":"1","id":"2","properties":{"email":"a@x.io"}}]}"#,
        r#"{"results":[{"id":1e999999}]}"#,
        r#"["COMPLETE",[]]"#,
        r#"{"results":[["1",true,"10"]]}"#,
        r#"{"results":[{"id":"1"}],"errors":[[1]]}"#,
    ] {
        assert_eq!(decode(&upsert(&rows), body.as_bytes()).map(|_| ()), Err(Unreadable::Shape), "{body}");
    }
    let deep = format!("{{\"results\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(decode(&upsert(&rows), deep.as_bytes()).map(|_| ()), Err(Unreadable::Shape));
    let error =
        r#"{"status":"error","category":"VALIDATION_ERROR","results":[{"id":"1","properties":{"email":"a@x.io"}}]}"#;
    assert_eq!(decode(&upsert(&rows), error.as_bytes()).map(|_| ()), Err(Unreadable::ErrorBody));
}

#[test]
fn f47_a_kept_lifecycle_stage_is_told() {
    let mut rows = sent(&["a@x.io", "b@x.io", "c@x.io"]);
    for row in &mut rows {
        row.stage = Some("lead".to_owned());
    }
    let result =
        |id: &str, email: &str, stage: Json| json!({"id": id, "properties": {"email": email, "lifecyclestage": stage}});
    let body = json!({"results": [
        result("1", "a@x.io", json!("customer")), result("2", "b@x.io", json!("lead")), result("3", "c@x.io", json!(null))]});
    let decoded = of(&upsert(&rows), &body);
    assert_eq!(names(&decoded), ["rejected NOT_APPLIED lifecyclestage", "written 2", "written 3"]);
}

#[test]
fn updates_by_record_id_are_matched_by_id() {
    let rows = sent(&["77", "78"]);
    let question = Question {
        operation: Operation::Update,
        key_kind: KeyKind::RecordId,
        fold: Fold::Exact,
        match_on: "hs_object_id",
        ..upsert(&rows)
    };
    let decoded = of(&question, &json!({"results": [{"id": "78", "properties": {}}, {"id": "77"}]}));
    assert_eq!(decoded.outcomes, [written(Effect::Updated, "77"), written(Effect::Updated, "78")]);
}

#[test]
fn numbers_as_keys_may_come_back_in_another_spelling() {
    let rows = [Sent { row: 0, key: Fold::Numeric.fold("5.0"), stage: None }];
    let question = Question { key_kind: KeyKind::Property, fold: Fold::Numeric, match_on: "ext", ..upsert(&rows) };
    let decoded = of(&question, &json!({"results": [{"id": "1", "properties": {"ext": "5"}}]}));
    assert_eq!(names(&decoded), ["written 1"]);
}

/// JSON that resembles an answer.
fn answer_like() -> impl Strategy<Value = Json> {
    let text = prop_oneof![
        Just("a@x.io".to_owned()),
        Just("b@x.io".to_owned()),
        Just("10".to_owned()),
        Just("11".to_owned()),
        Just("COMPLETE".to_owned()),
        Just("CONFLICT".to_owned()),
        Just(String::new()),
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        text.clone().prop_map(Json::from),
    ];
    let name = prop_oneof![
        Just("status"),
        Just("results"),
        Just("errors"),
        Just("numErrors"),
        Just("id"),
        Just("new"),
        Just("properties"),
        Just("email"),
        Just("hs_additional_emails"),
        Just("lifecyclestage"),
        Just("objectWriteTraceId"),
        Just("category"),
        Just("context"),
        Just("ids"),
        Just("propertyName"),
        Just("message"),
        Just("code"),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::vec((name.clone(), inner), 0..8)
                .prop_map(|entries| Json::Object(entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn f36_arbitrary_bytes_prove_nothing(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let rows = sent(&["a@x.io", "b@x.io"]);
        if let Ok(decoded) = decode(&upsert(&rows), &body) {
            prop_assert!(decoded.outcomes.iter().all(|outcome| *outcome == RowOutcome::Unknown));
        }
    }

    #[test]
    fn f36_no_row_is_written_without_evidence(results in proptest::collection::vec(answer_like(), 0..5), errors in answer_like()) {
        let rows = sent(&["a@x.io", "b@x.io"]);
        let body = json!({"results": results, "errors": errors}).to_string();
        let Ok(decoded) = decode(&upsert(&rows), body.as_bytes()) else { return Ok(()) };
        prop_assert_eq!(decoded.outcomes.len(), 2);
        for (row, outcome) in rows.iter().zip(&decoded.outcomes) {
            if let RowOutcome::Written { remote_id: Some(id), .. } = outcome {
                // The evidence, found by other means: a result with this id that names the row.
                let named = results.iter().any(|result| {
                    let text = |value: &Json| match value {
                        Json::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    let properties = &result["properties"];
                    text(&result["id"]) == id.as_str()
                        && (text(&result["objectWriteTraceId"]) == row.row.to_string()
                            || text(&properties["email"]).trim().to_lowercase() == row.key
                            || text(&properties["hs_additional_emails"]).to_lowercase().contains(&row.key))
                });
                prop_assert!(named, "{}", body);
            }
        }
    }
}
