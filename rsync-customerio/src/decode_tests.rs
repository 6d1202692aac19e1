use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

fn field_of(name: &str) -> Option<FieldName> {
    matches!(name, "id" | "plan" | "a.b").then(|| FieldName::new(name))
}

/// Outcomes in words: `+` for accepted, else code and field.
fn words(status: u16, items: usize, body: &str) -> Result<Vec<String>, Unreadable> {
    let outcomes = decode(status, body.as_bytes(), items, &field_of)?;
    Ok(outcomes
        .into_iter()
        .map(|outcome| match outcome {
            RowOutcome::Written { remote_id: None, effect: Effect::Unspecified, applied: Applied::Accepted } => {
                "+".into()
            }
            RowOutcome::Rejected { code, field, .. } => {
                format!("{code} {}", field.map(|field| field.to_string()).unwrap_or_default()).trim_end().to_owned()
            }
            other => panic!("{other:?}"),
        })
        .collect())
}

#[test]
fn answers_become_outcomes() {
    let all = Ok(vec!["+", "+", "+"]);
    let table: Vec<(u16, &str, Result<Vec<&str>, Unreadable>)> = vec![
        (200, "{}\n", all.clone()),
        (200, r#"{"errors":[]}"#, all.clone()),
        (200, r#"{"errors":null,"more":1}"#, all.clone()),
        (200, "", all.clone()),
        (204, "", all),
        (
            207,
            r#"{"errors":[{"batch_index":1,"reason":"invalid","field":"attributes.plan","message":"property value cannot be longer than 1000 bytes"}]}"#,
            Ok(vec!["+", "invalid plan", "+"]),
        ),
        (200, r#"{"errors":[{"batch_index":0,"reason":"invalid"}]}"#, Ok(vec!["invalid", "+", "+"])),
        (207, r#"{"errors":[{"batch_index":2}]}"#, Ok(vec!["+", "+", "refused"])),
        (207, r#"{"errors":[{"batch_index":2,"reason":7,"field":["x"],"message":{}}]}"#, Ok(vec!["+", "+", "refused"])),
        (207, r#"{"errors":[{"batch_index":2,"field":"identifiers.id"}]}"#, Ok(vec!["+", "+", "refused id"])),
        (207, r#"{"errors":[{"batch_index":2,"field":"plan"}]}"#, Ok(vec!["+", "+", "refused plan"])),
        (207, r#"{"errors":[{"batch_index":2,"field":"attributes.a.b"}]}"#, Ok(vec!["+", "+", "refused a.b"])),
        (207, r#"{"errors":[{"batch_index":2,"field":"attributes.ada@example.com"}]}"#, Ok(vec!["+", "+", "refused"])),
        (
            207,
            r#"{"errors":[{"batch_index":0},{"batch_index":2,"reason":"invalid","field":"x"},{"batch_index":2,"field":"attributes.plan"},
                {"batch_index":2,"reason":"invalid","field":"id"}]}"#,
            Ok(vec!["refused", "+", "refused plan"]),
        ),
        (207, "{}", Err(Unreadable::NoErrors)),
        (207, r#"{"errors":[]}"#, Err(Unreadable::NoErrors)),
        (207, "", Err(Unreadable::NoErrors)),
        (207, r#"{"errors":[{"reason":"invalid"}]}"#, Err(Unreadable::Index)),
        (207, r#"{"errors":[{"batch_index":3}]}"#, Err(Unreadable::Index)),
        (207, r#"{"errors":[{"batch_index":18446744073709551615}]}"#, Err(Unreadable::Index)),
        (207, r#"{"errors":[{"batch_index":-1}]}"#, Err(Unreadable::Shape)),
        (207, r#"{"errors":[{"batch_index":"1"}]}"#, Err(Unreadable::Shape)),
        (207, r#"{"errors":[{"batch_index":1.5}]}"#, Err(Unreadable::Shape)),
        (207, r#"{"errors":{"batch_index":1}}"#, Err(Unreadable::Shape)),
        (207, r#"{"errors":[1]}"#, Err(Unreadable::Shape)),
        (200, r#"{"errors":"none"}"#, Err(Unreadable::Shape)),
        (200, "<html></html>", Err(Unreadable::Shape)),
        (200, "{", Err(Unreadable::Shape)),
        (200, "[]", Err(Unreadable::Shape)),
        (200, "null", Err(Unreadable::Shape)),
        (200, " ", Err(Unreadable::Shape)),
        (200, "{} {}", Err(Unreadable::Shape)),
    ];
    for (status, body, expected) in table {
        let expected = expected.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(words(status, 3, body), expected, "{status} {body}");
    }
    // With one item an error without an index can only be about it.
    assert_eq!(words(207, 1, r#"{"errors":[{"reason":"invalid"}]}"#), Ok(vec!["invalid".to_owned()]));
}

#[test]
fn codes_are_known_or_nameless() {
    for (reason, expected) in [("invalid", "invalid"), ("canary", "refused"), ("", "refused"), ("Invalid", "refused")] {
        let body = json!({"errors": [{"batch_index": 0, "reason": reason, "message": "canary"}]}).to_string();
        assert_eq!(words(207, 1, &body).unwrap(), [expected]);
    }
}

fn answer_like() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-1_i64..5).prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "invalid|attributes\\.plan|id|.{0,8}".prop_map(Json::from),
    ];
    let name =
        prop_oneof![Just("errors"), Just("batch_index"), Just("reason"), Just("field"), Just("message"), Just("meta")];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::vec((name.clone(), inner), 0..5)
                .prop_map(|entries| Json::Object(entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn f36_arbitrary_bytes_prove_nothing(body in proptest::collection::vec(any::<u8>(), 1..200)) {
        let is_object = body.trim_ascii().first() == Some(&b'{');
        prop_assert!(is_object || decode(200, &body, 3, &field_of).is_err());
    }

    #[test]
    fn f36_every_row_named_is_refused_and_no_other(errors in answer_like(), status in prop_oneof![Just(200_u16), Just(207)]) {
        let body = json!({"errors": errors}).to_string();
        let Ok(outcomes) = decode(status, body.as_bytes(), 3, &field_of) else { return Ok(()) };
        prop_assert_eq!(outcomes.len(), 3);
        // The evidence, found by other means.
        let named = |row: usize| errors.as_array().into_iter().flatten().any(|e| e["batch_index"].as_u64() == Some(row as u64));
        for (row, outcome) in outcomes.iter().enumerate() {
            let refused = matches!(outcome, RowOutcome::Rejected { .. });
            prop_assert_eq!(refused, named(row), "{}", body);
        }
        let all = errors.as_array().map_or(0, Vec::len);
        prop_assert!(all == 0 || (0..3).any(named), "an error was passed over: {}", body);
    }
}
