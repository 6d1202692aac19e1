use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListBuilder, RecordBatch,
    StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use proptest::prelude::*;
use rsync_core::capability::Operation;
use rsync_core::destination::Target;
use rsync_core::ids::BatchId;
use rsync_core::record::Rows;
use serde_json::{Value as Json, json};

use super::*;
use crate::schema::tests::sample;

pub(crate) fn rows(columns: Vec<(&str, ArrayRef)>) -> Rows {
    Rows::new(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap())
        .unwrap()
}

pub(crate) fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn encoded(match_on: &str, rows: Rows) -> Result<(Json, Encoded)> {
    let batch = WriteBatch::new(BatchId(1), Operation::Upsert, Target::new("Contact", match_on), rows).unwrap();
    let encoded = encode(&Object::parse("Contact").unwrap(), &sample(), &batch, Envelope::None)?;
    Ok((serde_json::from_slice(&encoded.body).unwrap(), encoded))
}

#[test]
fn every_type_and_every_state() {
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("a"), Some("b")]);
    tags.append_value(Vec::<Option<&str>>::new());
    let rows = rows(vec![
        ("LastName", texts([Some("Ada \"the\" \\ Großmutter\n\u{1}"), None])),
        ("Ext__c", texts([Some("E-1"), Some("E-2")])),
        ("Seats__c", Arc::new(Int64Array::from(vec![Some(36), None]))),
        (
            "Price__c",
            Arc::new(Decimal128Array::from(vec![Some(-5), Some(2985)]).with_precision_and_scale(10, 2).unwrap()),
        ),
        ("Number__c", Arc::new(Float64Array::from(vec![Some(7.0), Some(-1e21)]))),
        ("Vip__c", Arc::new(BooleanArray::from(vec![true, false]))),
        ("Day__c", Arc::new(Date32Array::from(vec![Some(-1), None]))),
        ("Seen__c", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None]).with_timezone("UTC"))),
        ("Tags__c", Arc::new(tags.finish())),
        ("Email", texts([Some(""), Some("x@y.zz")])),
    ])
    .with_presence(2, BooleanBuffer::from(vec![true, false]));
    let (json, encoded) = encoded("Ext__c", rows).unwrap();
    let attributes = json!({"type": "Contact"});
    assert_eq!(
        json,
        json!({"allOrNone": false, "records": [
            {"attributes": attributes, "LastName": "Ada \"the\" \\ Großmutter\n\u{1}", "Ext__c": "E-1", "Seats__c": 36,
             "Price__c": -0.05, "Number__c": 7, "Vip__c": true, "Day__c": "1969-12-31",
             "Seen__c": "1970-01-01T00:00:00.000Z", "Tags__c": "a;b", "Email": ""},
            {"attributes": attributes, "LastName": null, "Ext__c": "E-2", "Price__c": 29.85,
             "Number__c": -1_000_000_000_000_000_000_000.0, "Vip__c": false, "Day__c": null, "Seen__c": null,
             "Tags__c": null, "Email": "x@y.zz"},
        ]})
    );
    assert!(encoded.refused.is_empty());
    assert_eq!(encoded.sent, [0, 1]);
    assert!(String::from_utf8(encoded.body).unwrap().contains(r#""Price__c":-0.05,"#), "digits, not a float's image");
}

#[test]
fn updates_address_records_by_id() {
    let by_id = rows(vec![
        ("LastName", texts([Some("A"), Some("B"), Some("C"), Some("D")])),
        ("Id", texts([Some("003ak00000luKU1AAM"), Some("003ak00000luKU2"), Some("x"), Some("003AK00000LUKU1AAM")])),
    ]);
    let (json, encoded) = encoded("Id", by_id).unwrap();
    let record = json!({"attributes": {"type": "Contact"}, "LastName": "A", "id": "003ak00000luKU1AAM"});
    assert_eq!(json["records"], json!([record]));
    assert_eq!(refused(&encoded), [1, 2, 3].map(|row| (row, "LOCAL_RECORD_ID", "Id")));
}

fn refused(encoded: &Encoded) -> Vec<(usize, &str, &str)> {
    let each = encoded.refused.iter().map(|(row, outcome)| match outcome {
        RowOutcome::Rejected { code, field: Some(field), .. } => (*row, code.as_str(), field.as_str()),
        other => panic!("{other:?}"),
    });
    each.collect()
}

#[test]
fn unsendable_rows_stay_at_home() {
    let rows = rows(vec![
        ("Exact__c", texts(["a", " b", "c", "d", "e", "f"].map(Some))),
        ("LastName", texts(["ok", "ok", "n\0l", "ok", "ok", "ok"].map(Some))),
        ("Price__c", Arc::new(Float64Array::from(vec![1.0, 1.0, 1.0, f64::NAN, 0.001, 2.5]))),
        (
            "Vip__c",
            Arc::new(BooleanArray::from(vec![None, Some(true), Some(true), Some(true), Some(true), Some(true)])),
        ),
    ]);
    let (json, encoded) = encoded("Exact__c", rows).unwrap();
    assert_eq!(
        refused(&encoded),
        [
            (0, "LOCAL_NULL_BOOLEAN", "Vip__c"),
            (1, "LOCAL_KEY_WHITE_SPACE", "Exact__c"),
            (2, "LOCAL_NUL", "LastName"),
            (3, "LOCAL_NOT_FINITE", "Price__c"),
            (4, "LOCAL_TOO_MANY_DECIMALS", "Price__c"),
        ]
    );
    assert_eq!((json["records"].as_array().unwrap().len(), encoded.sent), (1, vec![5]));
}

#[test]
fn broken_promises_of_the_engine_are_typed_errors() {
    for (why, match_on, keys) in [
        ("null key", "Ext__c", vec![None]),
        ("equal after folding", "Ext__c", vec![Some("canary"), Some(" CANARY")]),
        ("equal after folding", "Email", vec![Some("canary@x.io"), Some("CANARY@x.io")]),
    ] {
        let error = encoded(match_on, rows(vec![(match_on, texts(keys))])).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Internal, "{why}");
        assert!(!format!("{error:?}").to_lowercase().contains("canary"), "{error:?}");
    }
    let two_cases = rows(vec![("Exact__c", texts([Some("a"), Some("A")]))]);
    assert_eq!(encoded("Exact__c", two_cases).unwrap().1.sent, [0, 1], "two keys where case counts");
    let error = encoded("ext__c", rows(vec![("ext__c", texts([Some("a")]))])).map(|_| ()).unwrap_err();
    assert_eq!((error.kind(), error.remedy()), (Kind::SchemaMismatch, Some("write it as Ext__c")));
}

#[test]
fn d01_slices_are_read_at_their_offset() {
    let all = rows(vec![
        ("Ext__c", texts([Some("a"), Some("b"), Some("c")])),
        ("LastName", texts([Some("1"), None, Some("3")])),
    ])
    .with_presence(1, BooleanBuffer::from(vec![true, true, false]));
    let (json, _) = encoded("Ext__c", all.slice(1, 2)).unwrap();
    let attributes = json!({"type": "Contact"});
    assert_eq!(json["records"][0], json!({"attributes": attributes, "Ext__c": "b", "LastName": null}));
    assert_eq!(json["records"][1], json!({"attributes": attributes, "Ext__c": "c"}));
}

proptest! {
    #[test]
    fn any_text_survives_encoding(
        keys in proptest::collection::hash_set("[a-z0-9'\"\\\\\n]{1,12}", 1..8),
        values in proptest::collection::vec(proptest::option::of("[^\u{0}]*"), 8),
        present in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let keys: std::collections::HashSet<String> = keys.into_iter().map(|key| key.trim().to_owned()).collect();
        let keys: Vec<String> = keys.into_iter().filter(|key| !key.is_empty()).collect();
        let n = keys.len();
        let rows = rows(vec![
            ("Ext__c", texts(keys.iter().map(|key| Some(key.as_str())))),
            ("any \"name\"\\", texts(values[..n].iter().map(Option::as_deref))),
        ])
        .with_presence(1, present[..n].iter().copied().collect::<BooleanBuffer>());
        let (json, encoded) = encoded("Ext__c", rows).unwrap();
        prop_assert_eq!(encoded.sent.len(), n);
        for (i, key) in keys.iter().enumerate() {
            let record = &json["records"][i];
            prop_assert_eq!(record["Ext__c"].as_str(), Some(key.as_str()));
            let expected = present[i].then(|| json!(values[i]));
            prop_assert_eq!(record.get("any \"name\"\\"), expected.as_ref());
        }
    }
}
