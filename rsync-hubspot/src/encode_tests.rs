use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListBuilder, RecordBatch,
    StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use proptest::prelude::*;
use rsync_core::destination::Target;
use rsync_core::ids::{BatchId, RemoteId};
use rsync_core::record::Rows;
use serde_json::{Value as Json, json};

use super::*;

pub(crate) fn rows(columns: Vec<(&str, ArrayRef)>) -> Rows {
    Rows::new(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap())
        .unwrap()
}

pub(crate) fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn batch(operation: Operation, target: Target, rows: Rows) -> WriteBatch {
    WriteBatch::new(BatchId(1), operation, target, rows).unwrap()
}

fn encode_json(object: &str, batch: &WriteBatch) -> (Json, Encoded) {
    let encoded = encode(&Object::parse(object).unwrap(), batch).unwrap();
    (serde_json::from_slice(&encoded.body).unwrap(), encoded)
}

#[test]
fn every_type_and_every_state() {
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("a"), Some("b")]);
    tags.append_value(Vec::<Option<&str>>::new());
    let rows = rows(vec![
        ("email", texts([Some("Ada@Example.com"), Some("bob@example.com")])),
        ("firstname", texts([Some("Ada \"the\" \\ Großmutter\n\u{1}"), None])),
        ("age", Arc::new(Int64Array::from(vec![Some(36), None]))),
        ("score", Arc::new(Float64Array::from(vec![Some(0.5), Some(-1e21)]))),
        ("spend", Arc::new(Decimal128Array::from(vec![Some(-5), Some(2985)]).with_precision_and_scale(10, 2).unwrap())),
        ("active", Arc::new(BooleanArray::from(vec![Some(true), Some(false)]))),
        ("born", Arc::new(Date32Array::from(vec![Some(-1), Some(18_321)]))),
        (
            "seen",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(1_582_947_017_120_000)]).with_timezone("UTC")),
        ),
        ("tags", Arc::new(tags.finish())),
    ])
    .with_presence(2, BooleanBuffer::from(vec![true, false]));
    let (json, encoded) = encode_json("contacts", &batch(Operation::Upsert, Target::new("contacts", "email"), rows));
    assert_eq!(
        json,
        json!({"inputs": [
            {"id": "Ada@Example.com", "idProperty": "email", "objectWriteTraceId": "0", "properties": {
                "email": "Ada@Example.com", "firstname": "Ada \"the\" \\ Großmutter\n\u{1}", "age": "36", "score": "0.5",
                "spend": "-0.05", "active": "true", "born": "1969-12-31", "seen": "1970-01-01T00:00:00.000Z", "tags": "a;b"}},
            {"id": "bob@example.com", "idProperty": "email", "objectWriteTraceId": "1", "properties": {
                "email": "bob@example.com", "firstname": "", "score": "-1000000000000000000000",
                "spend": "29.85", "active": "false", "born": "2020-02-29", "seen": "2020-02-29T03:30:17.120Z", "tags": ""}},
        ]})
    );
    assert!(encoded.refused.is_empty());
    assert_eq!(encoded.sent[0].key, "ada@example.com", "the key is compared in folded form");
}

#[test]
fn operations_address_records_in_their_own_way() {
    let by_email = || rows(vec![("email", texts([Some("a@x.io")])), ("firstname", texts([Some("A")]))]);
    let (json, _) = encode_json("contacts", &batch(Operation::Create, Target::new("contacts", "email"), by_email()));
    assert_eq!(
        json,
        json!({"inputs": [{"objectWriteTraceId": "0", "properties": {"email": "a@x.io", "firstname": "A"}}]})
    );

    let by_id = rows(vec![("hs_object_id", texts([Some("77")])), ("firstname", texts([Some("A")]))]);
    let (json, _) = encode_json("contacts", &batch(Operation::Update, Target::new("contacts", "hs_object_id"), by_id));
    assert_eq!(json, json!({"inputs": [{"id": "77", "objectWriteTraceId": "0", "properties": {"firstname": "A"}}]}));

    // By record id the match field is a property like others, where the row carries it.
    let moved = rows(vec![("email", texts([Some("new@x.io"), None])), ("firstname", texts([Some("A"), Some("B")]))]);
    let moved = moved.with_presence(0, BooleanBuffer::from(vec![true, false]));
    let moved = batch(Operation::Update, Target::new("contacts", "email"), moved);
    let (json, _) = encode_json("contacts", &moved.with_ids(["77", "78"].map(RemoteId::new).into()).unwrap());
    assert_eq!(
        json,
        json!({"inputs": [
            {"id": "77", "objectWriteTraceId": "0", "properties": {"email": "new@x.io", "firstname": "A"}},
            {"id": "78", "objectWriteTraceId": "1", "properties": {"firstname": "B"}},
        ]})
    );

    let by_property = rows(vec![("ext", Arc::new(Int64Array::from(vec![5])) as ArrayRef)]);
    let (json, encoded) = encode_json("2-77", &batch(Operation::Update, Target::new("2-77", "ext"), by_property));
    assert_eq!(
        json,
        json!({"inputs": [{"id": "5", "idProperty": "ext", "objectWriteTraceId": "0", "properties": {"ext": "5"}}]})
    );
    assert_eq!(encoded.sent[0].key, Fold::Numeric.fold("5.0"));
}

#[test]
fn unsendable_rows_stay_at_home() {
    let long = "x".repeat(65_537);
    let rows = rows(vec![
        ("email", texts([Some("a@x.io"), Some(" "), Some("c@x.io"), Some("d@x.io"), Some("e@x.io")])),
        ("bio", texts([Some("ok"), Some("ok"), Some(&long), Some("ok"), Some("ok")])),
        ("score", Arc::new(Float64Array::from(vec![1.0, 1.0, 1.0, f64::NAN, 2.0]))),
        ("seen", Arc::new(TimestampMicrosecondArray::from(vec![1, 0, 0, 0, 0]).with_timezone("UTC"))),
    ]);
    let (json, encoded) = encode_json("contacts", &batch(Operation::Upsert, Target::new("contacts", "email"), rows));
    let refused: Vec<(usize, &str, Option<&str>)> = encoded
        .refused
        .iter()
        .map(|(row, outcome)| match outcome {
            RowOutcome::Rejected { code, field, .. } => (*row, code.as_str(), field.as_ref().map(FieldName::as_str)),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        refused,
        [
            (0, "LOCAL_SUB_MILLISECOND", Some("seen")),
            (1, "LOCAL_EMPTY_KEY", Some("email")),
            (2, "LOCAL_TEXT_TOO_LONG", Some("bio")),
            (3, "LOCAL_NOT_FINITE", Some("score")),
        ]
    );
    assert_eq!(json["inputs"].as_array().unwrap().len(), 1);
    assert_eq!((json["inputs"][0]["objectWriteTraceId"].as_str(), encoded.sent[0].row), (Some("4"), 4));
}

#[test]
fn broken_promises_of_the_engine_are_typed_errors() {
    let object = Object::parse("contacts").unwrap();
    let of = |keys: Vec<Option<&str>>| {
        batch(Operation::Upsert, Target::new("contacts", "email"), rows(vec![("email", texts(keys))]))
    };
    let many: Vec<String> = (0..101).map(|i| format!("{i}@x.io")).collect();
    for (why, keys) in [
        ("null key", vec![None]),
        ("equal after folding", vec![Some("a@x.io"), Some(" A@X.IO")]),
        ("too many", many.iter().map(|key| Some(key.as_str())).collect()),
    ] {
        let error = encode(&object, &of(keys)).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Internal, "{why}");
        assert!(!format!("{error:?}").to_lowercase().contains("x.io"), "{error:?}");
    }
}

#[test]
fn d01_slices_are_read_at_their_offset() {
    let all = rows(vec![
        ("email", texts([Some("a@x.io"), Some("b@x.io"), Some("c@x.io")])),
        ("n", texts([Some("1"), None, Some("3")])),
    ])
    .with_presence(1, BooleanBuffer::from(vec![true, true, false]));
    let (json, _) =
        encode_json("contacts", &batch(Operation::Upsert, Target::new("contacts", "email"), all.slice(1, 2)));
    assert_eq!(json["inputs"][0]["properties"], json!({"email": "b@x.io", "n": ""}));
    assert_eq!(json["inputs"][1]["properties"], json!({"email": "c@x.io"}));
}

proptest! {
    #[test]
    fn any_text_survives_encoding(
        keys in proptest::collection::hash_set("[^\u{0}]{1,12}", 1..8),
        values in proptest::collection::vec(proptest::option::of(any::<String>()), 8),
        present in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let keys: Vec<String> = keys.into_iter().collect();
        let n = keys.len();
        let rows = rows(vec![
            ("ext", texts(keys.iter().map(|key| Some(key.as_str())))),
            ("any \"name\"\\", texts(values[..n].iter().map(Option::as_deref))),
        ])
        .with_presence(1, present[..n].iter().copied().collect::<BooleanBuffer>());
        let (json, encoded) = encode_json("companies", &batch(Operation::Upsert, Target::new("companies", "ext"), rows));
        prop_assert_eq!(encoded.sent.len(), n);
        for (i, key) in keys.iter().enumerate() {
            let input = &json["inputs"][i];
            prop_assert_eq!(input["id"].as_str(), Some(key.as_str()));
            let expected = present[i].then(|| values[i].as_deref().unwrap_or(""));
            prop_assert_eq!(input["properties"].get("any \"name\"\\").map(|v| v.as_str().unwrap()), expected);
        }
    }
}

#[test]
fn options_are_added_where_the_policy_says_so() {
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("a"), Some("b")]);
    tags.append_value(Vec::<Option<&str>>::new());
    tags.append_null();
    tags.append_value([Some("")]);
    let tags = Arc::new(tags.finish()) as ArrayRef;
    let keys = texts([Some("1"), Some("2"), Some("3"), Some("4")]);
    let rows = rows(vec![("ext", keys), ("tags", Arc::clone(&tags)), ("other", tags)]);
    let batch = batch(Operation::Upsert, Target::new("companies", "ext"), rows)
        .with_policies(vec![("tags".into(), FieldPolicy::SetUnion)]);
    let (json, encoded) = encode_json("companies", &batch);
    let properties: Vec<&Json> = json["inputs"].as_array().unwrap().iter().map(|input| &input["properties"]).collect();
    assert_eq!(
        properties,
        [
            &json!({"ext": "1", "tags": ";a;b", "other": "a;b"}),
            // Nothing to add is not "empty it", which is what an empty text would say.
            &json!({"ext": "2", "other": ""}),
            &json!({"ext": "3", "other": ""}),
        ]
    );
    assert_eq!(encoded.refused.len(), 1);
}
