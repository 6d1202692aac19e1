use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Decimal128Type, Int64Type};
use proptest::prelude::*;
use rsync_core::destination::Target;
use rsync_core::record::Rows;
use serde_json::{Value as Json, json};

use super::*;

fn lookup(object: &str, match_on: &str, keys: &[&str], fields: &[(&str, FieldType)]) -> Lookup {
    let keys = StringArray::from_iter_values(keys);
    let batch = RecordBatch::try_from_iter_with_nullable([(match_on, Arc::new(keys) as ArrayRef, true)]).unwrap();
    let fields = fields.iter().map(|(name, ty)| (FieldName::new(name), *ty)).collect();
    let request = LookupRequest::new(Target::new(object, match_on), Rows::new(batch).unwrap(), fields);
    Lookup::new(&Object::parse(object).unwrap(), &request).unwrap()
}

fn matches(found: &Found) -> Vec<(usize, &str)> {
    found.matches.iter().map(|m| (m.key, m.id.as_str())).collect()
}

#[test]
fn bodies() {
    let by_email = lookup("contacts", "email", &["Ada@x.io", "bob@x.io", " ADA@X.IO "], &[("phone", FieldType::Text)]);
    assert_eq!(
        serde_json::from_slice::<Json>(&by_email.batch_read_body()).unwrap(),
        json!({"inputs": [{"id": "Ada@x.io"}, {"id": "bob@x.io"}], "properties": ["phone", "email", "hs_additional_emails"], "idProperty": "email"}),
        "keys that fold to the same are asked for once"
    );
    let by_id = lookup("deals", "hs_object_id", &["7"], &[]);
    assert_eq!(
        serde_json::from_slice::<Json>(&by_id.batch_read_body()).unwrap(),
        json!({"inputs": [{"id": "7"}], "properties": ["hs_object_id"]})
    );
    assert!(lookup("contacts", "email", &["", "  "], &[]).is_empty());
}

#[test]
fn f34_records_are_matched_by_key_and_typed() {
    let fields = [
        ("n", FieldType::Integer),
        ("d", FieldType::Decimal { precision: 10, scale: 2 }),
        ("b", FieldType::Boolean),
        ("day", FieldType::Date),
        ("at", FieldType::Timestamp),
        ("tags", FieldType::TextList),
        ("f", FieldType::Float),
        ("t", FieldType::Text),
        ("hs_object_id", FieldType::Text),
    ];
    let mut lookup = lookup("contacts", "email", &["Ada@x.io", "none@x.io", "alias@x.io"], &fields);
    let body = json!({"status": "COMPLETE", "results": [
        {"id": "2", "properties": {"email": "bob@x.io", "hs_additional_emails": "old@x.io;alias@x.io", "n": "", "t": null}},
        {"id": "1", "properties": {"email": "ada@x.io", "n": "1e3", "d": "29.850", "b": "true", "day": "2020-02-29",
            "at": "2020-02-29T03:30:17.120Z", "tags": "a;b", "f": "0.5", "t": "x"}}],
        "errors": [{"category": "OBJECT_NOT_FOUND", "context": {"ids": ["none@x.io"]}}], "numErrors": 1});
    lookup.take_batch_read(body.to_string().as_bytes()).unwrap();
    let found = lookup.finish().unwrap();
    assert_eq!(matches(&found), [(2, "2"), (0, "1")]);
    let batch = found.fields.batch();
    assert!((0..8).all(|column| batch.column(column).is_null(0)), "an empty field is null");
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(1), 1000);
    assert_eq!(batch.column(1).as_primitive::<Decimal128Type>().value(1), 2985);
    assert!(batch.column(2).as_boolean().value(1));
    assert_eq!(batch.column(5).as_list::<i32>().value(1).as_string::<i32>().value(1), "b");
    assert_eq!(batch.column(8).as_string::<i32>().value(0), "2");
    for (index, (_, ty)) in fields.iter().enumerate() {
        assert_eq!(*batch.column(index).data_type(), ty.arrow());
    }
}

#[test]
fn f35_a_key_without_an_answer_is_not_a_missing_record() {
    let table = [
        ("nothing said", json!({"results": []})),
        (
            "another error",
            json!({"results": [], "errors": [{"category": "VALIDATION_ERROR", "context": {"ids": ["a@x.io"]}}]}),
        ),
        ("not found, but who", json!({"results": [], "errors": [{"category": "OBJECT_NOT_FOUND"}]})),
        ("still at work", json!({"status": "PENDING", "results": [{"id": "1", "properties": {"email": "a@x.io"}}]})),
        ("no id", json!({"results": [{"properties": {"email": "a@x.io"}}]})),
        ("no results", json!({"status": "COMPLETE"})),
        ("error body", json!({"status": "error", "message": "x"})),
    ];
    for (case, body) in table {
        let mut lookup = lookup("contacts", "email", &["a@x.io"], &[]);
        assert!(lookup.take_batch_read(body.to_string().as_bytes()).is_err(), "{case}");
    }
}

#[test]
fn values_that_do_not_fit_are_an_error_not_a_null() {
    for (ty, text) in [
        (FieldType::Integer, "1.5"),
        (FieldType::Integer, "canary"),
        (FieldType::Boolean, "yes"),
        (FieldType::Date, "soon"),
        (FieldType::Decimal { precision: 4, scale: 2 }, "0.125"),
        (FieldType::Decimal { precision: 4, scale: 2 }, "100"),
        (FieldType::Float, "inf"),
        (FieldType::Timestamp, "soon"),
    ] {
        let mut lookup = lookup("contacts", "email", &["a@x.io"], &[("f", ty)]);
        let body = json!({"results": [{"id": "1", "properties": {"email": "a@x.io", "f": text}}]});
        lookup.take_batch_read(body.to_string().as_bytes()).unwrap();
        let error = lookup.finish().unwrap_err();
        assert_eq!((error.kind(), error.context("field")), (Kind::SchemaMismatch, Some("f")), "{ty} {text}");
        assert!(!error.to_string().contains("canary"));
    }
}

#[test]
fn searches_stay_below_the_limits_and_find_several_records() {
    let keys: Vec<String> = (0..100).map(|i| format!("Some Company With A \"Long\" Name {i}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut lookup = lookup("companies", "name", &keys, &[("domain", FieldType::Text)]);
    let searches = lookup.searches();
    let mut values = 0;
    for search in &searches {
        let body = search.page(Some("10000"));
        assert!(body.len() <= 3_000, "{}", body.len());
        let json: Json = serde_json::from_slice(&body).unwrap();
        let filter = &json["filterGroups"][0]["filters"][0];
        assert_eq!((filter["operator"].as_str(), filter["propertyName"].as_str()), (Some("IN"), Some("name")));
        let list = filter["values"].as_array().unwrap();
        assert!(list.iter().all(|value| value.as_str().unwrap() == value.as_str().unwrap().to_lowercase()));
        values += list.len();
        assert_eq!((json["limit"].as_u64(), json["after"].as_str()), (Some(200), Some("10000")));
    }
    assert!(searches.len() > 1);
    assert_eq!(values, 100);

    let record = |id: &str, name: &str| json!({"id": id, "properties": {"name": name}});
    let page = json!({"total": 3, "results": [record("1", keys[3]), record("2", keys[3])], "paging": {"next": {"after": "2"}}});
    assert_eq!(lookup.take_search(page.to_string().as_bytes()), Ok(Page::More("2".to_owned())));
    // The same record again, and one that only the lower-case form equals.
    let page = json!({"total": 3, "results": [record("2", keys[3]), record("3", &keys[3].to_lowercase())]});
    assert_eq!(lookup.take_search(page.to_string().as_bytes()), Ok(Page::Last));
    let page = json!({"total": 10_001, "results": []});
    assert_eq!(lookup.take_search(page.to_string().as_bytes()), Ok(Page::OverWindow));
    assert_eq!(matches(&lookup.finish().unwrap()), [(3, "1"), (3, "2")]);
}

proptest! {
    #[test]
    fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = lookup("contacts", "email", &["a@x.io"], &[]).take_batch_read(&body);
        let _ = lookup("companies", "name", &["a"], &[]).take_search(&body);
    }
}
