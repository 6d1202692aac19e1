use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListBuilder, RecordBatch,
    StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use proptest::prelude::*;
use rsync_core::capability::Operation;
use rsync_core::ids::BatchId;
use serde_json::{Value as Json, json};

use super::*;

fn rows(columns: Vec<(&str, ArrayRef)>) -> Rows {
    Rows::new(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap())
        .unwrap()
}

fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn people(match_on: &str) -> Target {
    Target::new("people", match_on)
}

fn batch(target: Target, rows: Rows) -> WriteBatch {
    WriteBatch::new(BatchId(1), Operation::Upsert, target, rows).unwrap()
}

fn encoded(policy: Policy, match_on: &str, rows: &Rows) -> Encoded {
    encode(policy, &batch(people(match_on), rows.clone())).unwrap()
}

/// The body as text, the rows sent, and code and field of the rows refused.
fn outcome(policy: Policy, match_on: &str, rows: &Rows) -> (String, Vec<usize>, Vec<(usize, String, String)>) {
    let Encoded { body, sent, refused } = encoded(policy, match_on, rows);
    let refused = refused
        .into_iter()
        .map(|(row, outcome)| match outcome {
            RowOutcome::Rejected { code, field, .. } => {
                (row, code, field.map(|field| field.to_string()).unwrap_or_default())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    (String::from_utf8(body).unwrap(), sent, refused)
}

fn allowing() -> Policy {
    Policy { allow_resubscribe: true, empty_text: EmptyText::Clear, ..Policy::default() }
}

#[test]
fn every_type_and_every_state() {
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("a"), Some("b;c")]);
    tags.append_value(Vec::<Option<&str>>::new());
    let rows = rows(vec![
        ("First Name", texts([Some("Ada \"the\" \\ Großmutter\n\u{1}"), None])),
        ("id", texts([Some("a/1"), Some("B")])),
        ("age", Arc::new(Int64Array::from(vec![Some(36), None]))),
        ("score", Arc::new(Float64Array::from(vec![Some(30.0), Some(-1e21)]))),
        ("spend", Arc::new(Decimal128Array::from(vec![Some(-5), Some(2985)]).with_precision_and_scale(10, 2).unwrap())),
        ("active", Arc::new(BooleanArray::from(vec![Some(true), Some(false)]))),
        ("born", Arc::new(Date32Array::from(vec![Some(-1), Some(18_321)]))),
        ("created_at", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None]).with_timezone("UTC"))),
        ("tags", Arc::new(tags.finish())),
        ("unsubscribed", Arc::new(BooleanArray::from(vec![Some(true), Some(true)]))),
    ])
    .with_presence(2, BooleanBuffer::from(vec![true, false]))
    .with_presence(9, BooleanBuffer::from(vec![true, false]));
    let (body, sent, refused) = outcome(Policy::default(), "id", &rows);
    // Written out, since the order of keys and the spelling of numbers must not change between runs.
    let first = concat!(
        r#"{"type":"person","action":"identify","identifiers":{"id":"a/1"},"attributes":{"#,
        r#""First Name":"Ada \"the\" \\ Großmutter\n\u0001","age":36,"score":30,"spend":"-0.05","active":true,"#,
        r#""born":-86400,"created_at":0,"tags":["a","b;c"],"unsubscribed":true}}"#
    );
    let second = concat!(
        r#"{"type":"person","action":"identify","identifiers":{"id":"B"},"attributes":{"#,
        r#""First Name":null,"score":-1e21,"spend":"29.85","active":false,"born":1582934400,"created_at":null,"tags":[]}}"#
    );
    assert_eq!(body, format!(r#"{{"batch":[{first},{second}]}}"#));
    assert_eq!((sent, refused), (vec![0, 1], vec![]));
}

#[test]
fn people_are_addressed_by_each_identifier() {
    let table: [(&str, ArrayRef, Json); 5] = [
        ("id", texts([Some("7")]), json!({"id": "7"})),
        ("id", Arc::new(Int64Array::from(vec![7])), json!({"id": "7"})),
        ("email", texts([Some("Ada@X.io")]), json!({"email": "Ada@X.io"})),
        ("phone", texts([Some("+15550100")]), json!({"phone": "+15550100"})),
        ("cio_id", texts([Some("a3000001")]), json!({"cio_id": "a3000001"})),
    ];
    for (match_on, key, identifiers) in table {
        let (body, ..) = outcome(Policy::default(), match_on, &rows(vec![(match_on, key)]));
        let expected = json!({"batch": [{"type": "person", "action": "identify", "identifiers": identifiers}]});
        assert_eq!(
            serde_json::from_str::<Json>(&body).unwrap(),
            expected,
            "without attributes there is no object of them"
        );
    }
    // The others are attributes, and are checked as identifiers there.
    let others = rows(vec![
        ("email", texts([Some("a@x.io"), Some("a@x.io2"), Some("b@x.io")])),
        ("id", Arc::new(Int64Array::from(vec![Some(7), None, Some(8)]))),
        ("phone", texts([Some("(555) 0100"), None, None])),
    ]);
    let (body, sent, refused) = outcome(Policy::default(), "email", &others);
    let body: Json = serde_json::from_str(&body).unwrap();
    assert_eq!(body["batch"][0]["attributes"], json!({"id": "7", "phone": "(555) 0100"}));
    assert_eq!(body["batch"][1]["attributes"], json!({"id": "8", "phone": null}));
    assert_eq!(sent, [0, 2]);
    assert_eq!(refused, [(1, "LOCAL_IDENTIFIER_CLEARED".into(), "id".into())]);
}

#[test]
fn unsendable_rows_stay_at_home() {
    let long = "x".repeat(1_001);
    let rows = rows(vec![
        ("id", texts(["0", " ", "2", "3", "4", "5", "cio_6", "7", "8"].map(Some))),
        ("bio", texts([None, None, Some(long.as_str()), None, None, Some(""), None, None, None])),
        ("score", Arc::new(Float64Array::from(vec![1., 1., 1., f64::NAN, 1., 1., 1., 1., 1.]))),
        ("seen", Arc::new(TimestampMicrosecondArray::from(vec![1, 0, 0, 0, 0, 0, 0, 0, 0]).with_timezone("UTC"))),
        ("email", texts([None, None, None, None, Some("no address"), None, None, Some("id@x.io"), None])),
    ]);
    let (body, sent, refused) = outcome(Policy::default(), "id", &rows);
    assert_eq!(sent, [7, 8]);
    let expected = [
        (0, "LOCAL_SUB_SECOND", "seen"),
        (1, "LOCAL_IDENTIFIER_EMPTY", "id"),
        (2, "LOCAL_VALUE_TOO_LONG", "bio"),
        (3, "LOCAL_NOT_FINITE", "score"),
        (4, "LOCAL_EMAIL", "email"),
        (5, "LOCAL_EMPTY_TEXT", "bio"),
        (6, "LOCAL_CIO_PREFIX", "id"),
    ];
    assert_eq!(refused, expected.map(|(row, code, field)| (row, code.to_owned(), field.to_owned())));
    let body: Json = serde_json::from_str(&body).unwrap();
    assert_eq!(body["batch"][0]["identifiers"], json!({"id": "7"}));
    assert_eq!(body["batch"].as_array().unwrap().len(), 2);
}

#[test]
fn nobody_is_subscribed_without_permission() {
    let rows = rows(vec![
        ("id", texts(["0", "1", "2", "3"].map(Some))),
        ("unsubscribed", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(false)]))),
    ])
    .with_presence(1, BooleanBuffer::from(vec![true, true, true, false]));
    let (_, sent, refused) = outcome(Policy::default(), "id", &rows);
    let code = |row| (row, "LOCAL_RESUBSCRIBE".to_owned(), "unsubscribed".to_owned());
    assert_eq!((sent, refused), (vec![0, 3], vec![code(1), code(2)]));
    let (body, sent, _) = outcome(allowing(), "id", &rows);
    assert_eq!(sent, [0, 1, 2, 3]);
    let body: Json = serde_json::from_str(&body).unwrap();
    let written: Vec<&Json> = (0..3).map(|row| &body["batch"][row]["attributes"]["unsubscribed"]).collect();
    assert_eq!(written, [&json!(true), &json!(false), &json!(null)]);
    assert_eq!(body["batch"][3].get("attributes"), None);
}

#[test]
fn empty_texts_are_never_sent() {
    let rows = rows(vec![("id", texts([Some("0")])), ("bio", texts([Some("")]))]);
    assert_eq!(outcome(Policy::default(), "id", &rows).2, [(0, "LOCAL_EMPTY_TEXT".into(), "bio".into())]);
    assert!(outcome(allowing(), "id", &rows).0.contains(r#""attributes":{"bio":null}"#));
    // An identifier beside the key is no exception.
    let rows = self::rows(vec![("id", texts([Some("0")])), ("email", texts([Some("")]))]);
    assert_eq!(outcome(Policy::default(), "id", &rows).2, [(0, "LOCAL_EMPTY_TEXT".into(), "email".into())]);
    assert!(outcome(allowing(), "id", &rows).0.contains(r#""attributes":{"email":null}"#));
}

#[test]
fn items_keep_to_their_limits() {
    let columns = |count: usize, value: &str| {
        let names: Vec<String> = (0..count).map(|i| format!("a{i:03}")).collect();
        let mut columns: Vec<(&str, ArrayRef)> = vec![("id", texts([Some("1")]))];
        columns.extend(names.iter().map(|name| (name.as_str(), texts([Some(value)]))));
        rows(columns)
    };
    let refused = |rows: &Rows| outcome(Policy::default(), "id", rows).2.pop().map(|(_, code, _)| code);
    assert_eq!(refused(&columns(300, "x")), None);
    assert_eq!(refused(&columns(301, "x")).as_deref(), Some("LOCAL_TOO_MANY_ATTRIBUTES"));
    // Absent ones do not count.
    let absent = columns(301, "x").with_presence(7, BooleanBuffer::from(vec![false]));
    assert_eq!(refused(&absent), None);

    // 31 values of 1,000 bytes, and a last one that fills the item to its last byte.
    let filled = |last: usize| {
        let long = "x".repeat(1_000);
        let last = "y".repeat(last);
        let names: Vec<String> = (0..31).map(|i| format!("a{i:03}")).collect();
        let mut columns: Vec<(&str, ArrayRef)> =
            vec![("id", texts([Some("1")])), ("last", texts([Some(last.as_str())]))];
        columns.extend(names.iter().map(|name| (name.as_str(), texts([Some(long.as_str())]))));
        rows(columns)
    };
    let small = filled(1);
    let rest = ITEM_BYTES_MAX + 1 - row_bytes(Policy::default(), &people("id"), Operation::Upsert, &small, 0);
    assert_eq!(refused(&filled(1 + rest)), None);
    assert_eq!(encoded(Policy::default(), "id", &filled(1 + rest)).body.len(), ITEM_BYTES_MAX + 12);
    assert_eq!(refused(&filled(2 + rest)).as_deref(), Some("LOCAL_ITEM_TOO_LARGE"));
}

#[test]
fn broken_promises_of_the_engine_are_typed_errors() {
    let keys = |keys: Vec<Option<&str>>| rows(vec![("email", texts(keys))]);
    let error = encode(Policy::default(), &batch(people("email"), keys(vec![Some("a@x.io"), Some("A@X.IO")])))
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    assert!(!format!("{error:?}").to_lowercase().contains("x.io"), "{error:?}");
    // Ids of another case are other people.
    assert_eq!(encoded(Policy::default(), "id", &rows(vec![("id", texts([Some("a"), Some("A")]))])).sent, [0, 1]);

    let many: Vec<String> = (0..10_000).map(|i| format!("{i}@example.com")).collect();
    let many = keys(many.iter().map(|key| Some(key.as_str())).collect());
    let error = encode(Policy::default(), &batch(people("email"), many)).map(|_| ()).unwrap_err();
    assert_eq!((error.kind(), error.context("limit")), (Kind::Internal, Some("500000")));
}

#[test]
fn d01_slices_are_read_at_their_offset() {
    let all = rows(vec![("id", texts(["a", "b", "c"].map(Some))), ("n", texts([Some("1"), None, Some("3")]))])
        .with_presence(1, BooleanBuffer::from(vec![true, true, false]));
    let (body, ..) = outcome(Policy::default(), "id", &all.slice(1, 2));
    let body: Json = serde_json::from_str(&body).unwrap();
    assert_eq!(body["batch"][0]["attributes"], json!({"n": null}));
    assert_eq!(body["batch"][1]["identifiers"], json!({"id": "c"}));
}

/// Closes batches as the engine does, from the sizes of rows alone.
fn cut(sizes: &[usize]) -> Vec<std::ops::Range<usize>> {
    let (mut from, mut bytes, mut batches) = (0, 0, Vec::new());
    for (row, size) in sizes.iter().enumerate() {
        if bytes + size > ROWS_BYTES_MAX && row > from {
            batches.push(from..row);
            (from, bytes) = (row, 0);
        }
        bytes += size;
    }
    batches.push(from..sizes.len());
    batches
}

#[test]
fn a_body_is_filled_to_its_last_byte() {
    // Rows of one size, and a last one that makes the body one byte smaller than the limit, or just not.
    let size = row_bytes(Policy::default(), &people("id"), Operation::Upsert, &sized(&[100]), 0);
    let full = ROWS_BYTES_MAX / size;
    for (spare, fits) in [(0, true), (1, false)] {
        let mut values = vec![100; full];
        values[full - 1] += ROWS_BYTES_MAX - full * size + spare;
        let rows = sized(&values);
        let sizes: Vec<usize> =
            (0..full).map(|row| row_bytes(Policy::default(), &people("id"), Operation::Upsert, &rows, row)).collect();
        assert_eq!(cut(&sizes).len() == 1, fits);
        if fits {
            assert_eq!(encoded(Policy::default(), "id", &rows).body.len(), 499_999);
        }
    }
}

/// Rows with a value of these lengths.
fn sized(lengths: &[usize]) -> Rows {
    let keys: Vec<String> = (0..lengths.len()).map(|i| format!("{i:05}")).collect();
    let values: Vec<String> = lengths.iter().map(|length| "v".repeat(*length)).collect();
    rows(vec![
        ("id", texts(keys.iter().map(|key| Some(key.as_str())))),
        ("v", texts(values.iter().map(|value| Some(value.as_str())))),
    ])
}

/// Rows of any kind, good and bad, with their keys, texts, and whether the text is present.
fn rows_of_any_kind() -> impl Strategy<Value = (Rows, Vec<String>, Vec<Option<String>>, Vec<bool>)> {
    let key = prop_oneof![8 => any::<String>(), 1 => "cio_[a-f0-9]{6}", 1 => "x{150,151}"];
    let text = prop_oneof![8 => any::<String>(), 1 => Just(String::new()), 1 => "x{995,1005}"];
    let moment = prop_oneof![any::<i32>().prop_map(|seconds| i64::from(seconds) * 1_000_000), any::<i64>()];
    let row = (proptest::option::of(text), any::<bool>(), any::<i64>(), any::<f64>(), moment, any::<Option<bool>>());
    // A map, since keys are distinct.
    proptest::collection::btree_map(key, row, 1..16).prop_map(|all| {
        let keys: Vec<String> = all.keys().cloned().collect();
        let values: Vec<Option<String>> = all.values().map(|row| row.0.clone()).collect();
        let present: Vec<bool> = all.values().map(|row| row.1).collect();
        let moments = TimestampMicrosecondArray::from(all.values().map(|row| row.4).collect::<Vec<_>>());
        let rows = rows(vec![
            ("any \"name\"\\", texts(values.iter().map(Option::as_deref))),
            ("id", texts(keys.iter().map(|key| Some(key.as_str())))),
            ("n", Arc::new(all.values().map(|row| row.2).collect::<Int64Array>()) as ArrayRef),
            ("f", Arc::new(all.values().map(|row| row.3).collect::<Float64Array>()) as ArrayRef),
            ("m", Arc::new(moments.with_timezone("UTC")) as ArrayRef),
            ("unsubscribed", Arc::new(all.values().map(|row| row.5).collect::<BooleanArray>()) as ArrayRef),
        ])
        .with_presence(0, present.iter().copied().collect::<BooleanBuffer>())
        .with_presence(4, present.iter().map(|present| !present).collect::<BooleanBuffer>());
        (rows, keys, values, present)
    })
}

proptest! {
    #[test]
    fn row_bytes_are_those_of_the_body((rows, ..) in rows_of_any_kind(), lax in any::<bool>()) {
        let policy = if lax { allowing() } else { Policy::default() };
        let Encoded { body, sent, refused } = encoded(policy, "id", &rows);
        let bytes = |row| row_bytes(policy, &people("id"), Operation::Upsert, &rows, row);
        prop_assert_eq!(sent.len() + refused.len(), rows.len());
        for (row, _) in &refused {
            prop_assert_eq!(bytes(*row), 0);
        }
        let sum: usize = (0..rows.len()).map(bytes).sum();
        prop_assert_eq!(body.len(), sum + 12 - usize::from(!sent.is_empty()));
        let json: Json = serde_json::from_slice(&body).unwrap();
        for (item, row) in json["batch"].as_array().unwrap().iter().zip(&sent) {
            // A row's bytes are its own, whatever its neighbours.
            let alone = encoded(policy, "id", &rows.slice(*row, 1)).body;
            prop_assert_eq!(alone.len(), bytes(*row) + 11);
            prop_assert_eq!(&serde_json::from_slice::<Json>(&alone).unwrap()["batch"][0], item);
        }
    }

    #[test]
    fn any_text_survives_encoding((rows, keys, values, present) in rows_of_any_kind()) {
        let Encoded { body, sent, .. } = encoded(allowing(), "id", &rows);
        let json: Json = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(json["batch"].as_array().unwrap().len(), sent.len());
        for (item, row) in json["batch"].as_array().unwrap().iter().zip(sent) {
            prop_assert_eq!(item["identifiers"]["id"].as_str(), Some(keys[row].as_str()));
            let expected = present[row].then(|| match values[row].as_deref() {
                None | Some("") => Json::Null,
                Some(text) => text.into(),
            });
            prop_assert_eq!(item["attributes"].get("any \"name\"\\"), expected.as_ref());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn batches_of_the_engine_stay_below_the_limit(lengths in proptest::collection::vec(0_usize..1_000, 1..3_000)) {
        let rows = sized(&lengths);
        let sizes: Vec<usize> = (0..rows.len()).map(|row| row_bytes(allowing(), &people("id"), Operation::Upsert, &rows, row)).collect();
        let batches = cut(&sizes);
        for (index, range) in batches.iter().enumerate() {
            let body = encoded(allowing(), "id", &rows.slice(range.start, range.len())).body;
            prop_assert!(body.len() < 500_000);
            // The next row would not have had room.
            prop_assert!(index + 1 == batches.len() || body.len() + sizes[range.end] >= 500_000);
        }
    }
}
