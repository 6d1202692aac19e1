use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use proptest::prelude::*;
use rsync_core::destination::Target;

use super::*;
use crate::encode::tests::{rows, texts};
use crate::schema::tests::sample;

const ROOT: &str = "/services/data/v66.0";
const ADA: &str = "003ak00000luKU1AAM";
const BOB: &str = "003ak00000luKU2AAM";

fn lookup(match_on: &str, keys: ArrayRef, fields: &[(&str, FieldType)]) -> Result<Lookup> {
    let fields = fields.iter().map(|(name, ty)| (FieldName::new(name), *ty)).collect();
    let request = LookupRequest::new(Target::new("Contact", match_on), rows(vec![(match_on, keys)]), fields);
    Lookup::new(&Object::parse("Contact").unwrap(), &sample(), &request)
}

fn by_ext(keys: &[&str], fields: &[(&str, FieldType)]) -> Lookup {
    lookup("Ext__c", texts(keys.iter().copied().map(Some)), fields).unwrap()
}

fn page(records: &str, total: usize) -> String {
    format!(r#"{{"totalSize":{total},"done":true,"records":[{records}]}}"#)
}

#[test]
fn keys_become_literals_of_their_field() {
    let asked = |match_on: &str, keys: ArrayRef| lookup(match_on, keys, &[]).unwrap().take_queries().concat();
    let list = |query: String| query.split_once(" IN ").unwrap().1.to_owned();
    let texts = |keys: &[&str]| texts(keys.iter().copied().map(Some));
    assert_eq!(list(asked("Ext__c", texts(&["it's", " A ", "a"]))), r"('it\'s','A',' A ')", "two spellings of one key");
    assert_eq!(list(asked("Exact__c", texts(&["A", "a"]))), "('A','a')");
    assert_eq!(list(asked("Ext__c", Arc::new(Int64Array::from(vec![7])))), "('7')");
    assert_eq!(list(asked("Number__c", Arc::new(Int64Array::from(vec![7, -3])))), "(7,-3)");
    assert_eq!(list(asked("Number__c", texts(&["7", "1.5", "x", "07"]))), "(7)", "no other text is a stored number");
    assert_eq!(list(asked("Id", texts(&[ADA, &BOB[..15], "x", ""]))), format!("('{ADA}','{}')", &BOB[..15]));
    let long = "x".repeat(256);
    assert_eq!(asked("Ext__c", texts(&[&long, "nul\0"])), "", "no record can have such keys");
}

#[test]
fn fields_and_keys_must_exist() {
    let one = || texts([Some("a")]);
    for (match_on, fields) in [("ext__c", vec![]), ("Ext__c", vec![("lastname", FieldType::Text)])] {
        let error = lookup(match_on, one(), &fields).unwrap_err();
        assert_eq!(error.kind(), Kind::SchemaMismatch);
        assert!(error.remedy().unwrap().starts_with("write it as "));
    }
    let error = lookup("Ext__c", one(), &[("MailingAddress", FieldType::Text)]).unwrap_err();
    assert_eq!((error.kind(), error.context("field")), (Kind::SchemaMismatch, Some("MailingAddress")));
    assert_eq!(lookup("Ext__c", texts([None]), &[]).unwrap_err().kind(), Kind::Internal);
}

#[test]
fn f45_records_find_their_rows() {
    let mut lookup = by_ext(&["E-1", "e-2", "none", " e-1"], &[("LastName", FieldType::Text)]);
    let record = |id: &str, key: &str| format!(r#"{{"attributes":{{}},"Id":"{id}","Ext__c":"{key}","LastName":"L"}}"#);
    let records =
        [record(ADA, "e-1"), record(&BOB[..15], "E-2"), record("003ak00000luKU3AAM", "E-2"), record(ADA, "other")];
    assert_eq!(lookup.take_page(ROOT, page(&records.join(","), 4).as_bytes()), Ok(Page::Last));
    // Another query may find a record again.
    assert_eq!(lookup.take_page(ROOT, page(&records[0], 1).as_bytes()), Ok(Page::Last));
    let found = lookup.finish().unwrap();
    let matches: Vec<(usize, &str)> = found.matches.iter().map(|m| (m.key, m.id.as_str())).collect();
    assert_eq!(matches, [(0, ADA), (3, ADA), (1, BOB), (1, "003ak00000luKU3AAM")]);
    assert_eq!(found.fields.len(), 4);
}

#[test]
fn every_type_is_read_exactly() {
    let decimal = FieldType::Decimal { precision: 18, scale: 2 };
    let fields = [
        ("LastName", FieldType::Text),
        ("Price__c", decimal),
        ("Number__c", FieldType::Integer),
        ("Sum__c", FieldType::Float),
        ("Vip__c", FieldType::Boolean),
        ("Day__c", FieldType::Date),
        ("Seen__c", FieldType::Timestamp),
        ("Tags__c", FieldType::TextList),
    ];
    let mut lookup = by_ext(&["a", "b"], &fields);
    let records = format!(
        r#"{{"Id":"{ADA}","Ext__c":"a","LastName":" ü ","Price__c":9999999999999999.99,"Number__c":5.0E7,"Sum__c":0.1,
            "Vip__c":true,"Day__c":"1969-12-31","Seen__c":"2021-12-03T17:59:20.120+0000","Tags__c":"x;y"}},
           {{"Id":"{BOB}","Ext__c":"b","LastName":"","Price__c":null,"Number__c":null,"Sum__c":null,"Vip__c":false,
            "Day__c":null,"Seen__c":"2021-12-03T18:59:20.12+01:00","Tags__c":null}}"#
    );
    lookup.take_page(ROOT, page(&records, 2).as_bytes()).unwrap();
    let found = lookup.finish().unwrap();
    let column = |index: usize| found.fields.batch().column(index);
    assert_eq!(column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some(" ü "), None]);
    assert_eq!(column(1).as_primitive::<arrow::datatypes::Decimal128Type>().value(0), 999_999_999_999_999_999);
    assert_eq!(column(2).as_primitive::<arrow::datatypes::Int64Type>().value(0), 50_000_000);
    assert_eq!(column(3).as_primitive::<arrow::datatypes::Float64Type>().value(0), 0.1);
    assert!(column(4).as_boolean().value(0) && !column(4).as_boolean().value(1));
    assert_eq!(column(5).as_primitive::<arrow::datatypes::Date32Type>().value(0), -1);
    let moments = column(6).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!((moments.value(0), moments.value(1)), (1_638_554_360_120_000, 1_638_554_360_120_000));
    let tags = column(7).as_list::<i32>().value(0);
    assert_eq!(tags.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["x", "y"]);
    assert!([1, 2, 3, 5, 7].iter().all(|index| column(*index).is_null(1)));

    for (field, ty, json) in [
        ("Price__c", FieldType::Integer, "1.5"),
        ("Price__c", decimal, "1.005"),
        ("LastName", FieldType::Integer, r#""canary""#),
        ("LastName", FieldType::Boolean, r#""TRUE""#),
        ("Day__c", FieldType::Date, r#""2021-02-30""#),
        ("Seen__c", FieldType::Timestamp, r#""soon""#),
    ] {
        let mut lookup = by_ext(&["a"], &[(field, ty)]);
        let record = format!(r#"{{"Id":"{ADA}","Ext__c":"a","{field}":{json}}}"#);
        lookup.take_page(ROOT, page(&record, 1).as_bytes()).unwrap();
        let error = lookup.finish().unwrap_err();
        assert_eq!((error.kind(), error.context("field")), (Kind::SchemaMismatch, Some(field)), "{json}");
        assert!(!format!("{error:?}").contains("canary"));
    }
}

#[test]
fn an_answer_that_leaves_something_open_is_no_answer() {
    let record = format!(r#"{{"Id":"{ADA}","Ext__c":"a","LastName":"L"}}"#);
    for body in [
        String::new(),
        "{}".into(),
        "[]".into(),
        r#"{"records":[]}"#.into(),
        r#"{"done":true,"records":[]}"#.into(),
        page("", 1),
        page(&record, 2),
        page(r#"{"Ext__c":"a","LastName":"L"}"#, 1),
        page(r#"{"Id":"x","Ext__c":"a","LastName":"L"}"#, 1),
        page(&format!(r#"{{"Id":"{ADA}","LastName":"L"}}"#), 1),
        page(&format!(r#"{{"Id":"{ADA}","Ext__c":"a"}}"#), 1),
        page(&format!(r#"{{"Id":"{ADA}","Ext__c":"a","LastName":{{}}}}"#), 1),
        r#"{"totalSize":0,"done":false,"records":[]}"#.into(),
    ] {
        let mut lookup = by_ext(&["a"], &[("LastName", FieldType::Text)]);
        assert!(lookup.take_page(ROOT, body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn s08_pages_stay_on_the_instance() {
    let more = |next: &str| {
        let body = format!(r#"{{"totalSize":3,"done":false,"nextRecordsUrl":"{next}","records":[]}}"#);
        by_ext(&["a"], &[]).take_page(ROOT, body.as_bytes())
    };
    assert_eq!(more("/services/data/v66.0/query/01gak00000ABCDE-2000"), Ok(Page::More("01gak00000ABCDE-2000".into())));
    for elsewhere in [
        "",
        "/services/data/v66.0/query/",
        "https://evil.example/services/data/v66.0/query/01g-2000",
        "//evil.example/services/data/v66.0/query/01g-2000",
        "/services/data/v66.0/query/../sobjects",
        "/services/data/v66.0/query/01g?x=1",
        "/services/data/v66.0/query/01g%2f..",
        "/services/data/v65.0/query/01g-2000",
        "/services/data/v66.0/sobjects/Contact",
        "@evil.example",
    ] {
        assert!(more(elsewhere).is_err(), "{elsewhere}");
    }
}

proptest! {
    #[test]
    fn no_answer_panics(body in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut lookup = by_ext(&["a"], &[("LastName", FieldType::Text)]);
        let _ = lookup.take_page(ROOT, &body);
    }

    #[test]
    fn damaged_answers_find_nothing_by_accident(at in 0_usize..200, byte in any::<u8>()) {
        let mut body = page(&format!(r#"{{"Id":"{ADA}","Ext__c":"a","LastName":"L"}}"#), 1).into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let mut lookup = by_ext(&["a"], &[]);
        if lookup.take_page(ROOT, &body).is_ok() {
            let found = lookup.finish().unwrap();
            prop_assert!(found.matches.iter().all(|m| m.key == 0));
        }
    }
}
