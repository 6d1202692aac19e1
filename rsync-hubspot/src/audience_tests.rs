use proptest::prelude::*;
use rsync_testkit::adapter::words;

use super::*;

fn records(ids: &[&str]) -> Vec<Record> {
    ids.iter().map(|id| if id.is_empty() { Record::Missing } else { Record::Found(RemoteId::new(*id)) }).collect()
}

fn outcomes(adds: bool, ids: &[&str], body: &str) -> Option<(Vec<String>, usize)> {
    decode(adds, &records(ids), body.as_bytes()).map(|decoded| (words(&decoded.outcomes), decoded.stray))
}

#[test]
fn what_the_answer_says_of_each_id() {
    let added = r#"{"recordsIdsAdded":["3","1"],"recordIdsRemoved":[],"recordIdsMissing":["4"]}"#;
    let (words, stray) = outcomes(true, &["1", "2", "", "3", "4", "1"], added).unwrap();
    assert_eq!(words, ["Created 1", "Updated 2", "Missing", "Created 3", "Missing", "Created 1"]);
    assert_eq!(stray, 0);
    let removed = r#"{"recordsIdsAdded":[],"recordIdsRemoved":["1"],"recordIdsMissing":["4"]}"#;
    let (words, stray) = outcomes(false, &["1", "2", "4"], removed).unwrap();
    assert_eq!((words, stray), (vec!["Unspecified 1".into(), "Missing".into(), "Missing".into()], 0));
    // Numbers are ids too, the other spelling is one as well, and the rest of the answer may be left out.
    assert_eq!(outcomes(true, &["1"], r#"{"recordIdsAdded":[1,9]}"#).unwrap(), (vec!["Created 1".into()], 1));
    // Two statements that exclude each other are none.
    let both = r#"{"recordsIdsAdded":["1"],"recordIdsMissing":["1"]}"#;
    assert_eq!(outcomes(true, &["1"], both).unwrap().0, ["Unknown"]);
}

#[test]
fn what_is_no_answer() {
    for body in [
        "",
        "[]",
        "{}",
        "<html>",
        r#"{"recordsIdsAdded":"1"}"#,
        r#"{"recordsIdsAdded":null}"#,
        r#"{"recordsIdsAdded":["1"]"#,
        r#"{"recordIdsRemoved":["1"]}"#,
        r#"{"status":"error","category":"VALIDATION_ERROR"}"#,
    ] {
        assert!(outcomes(true, &["1"], body).is_none(), "{body}");
    }
    assert!(outcomes(false, &["1"], r#"{"recordsIdsAdded":["1"]}"#).is_none());
}

#[test]
fn every_id_is_sent_once() {
    assert_eq!(encode(&records(&["2", "", "1", "2"])), br#"["1","2"]"#);
    assert_eq!(encode(&records(&["", ""])), b"[]");
}

proptest! {
    #[test]
    fn one_outcome_a_row_and_no_member_that_the_answer_denies(
        adds: bool,
        ids in prop::collection::vec(0_u8..6, 0..12),
        changed in prop::collection::vec(0_u8..8, 0..8),
        missing in prop::collection::vec(0_u8..8, 0..8),
    ) {
        let texts = |ids: &[u8]| ids.iter().map(u8::to_string).collect::<Vec<_>>();
        let records: Vec<Record> = texts(&ids).iter().map(|id| Record::Found(RemoteId::new(id))).collect();
        let key = if adds { "recordsIdsAdded" } else { "recordIdsRemoved" };
        let body = serde_json::json!({ key: texts(&changed), "recordIdsMissing": texts(&missing) }).to_string();
        let decoded = decode(adds, &records, body.as_bytes()).unwrap();
        prop_assert_eq!(decoded.outcomes.len(), ids.len());
        for (id, outcome) in ids.iter().zip(&decoded.outcomes) {
            if missing.contains(id) {
                prop_assert!(matches!(outcome, RowOutcome::Missing | RowOutcome::Unknown));
            }
            if let RowOutcome::Written { remote_id, .. } = outcome {
                prop_assert_eq!(remote_id.as_ref().map(RemoteId::as_str), Some(&*id.to_string()));
            }
        }
    }

    #[test]
    fn no_body_panics(body in any::<Vec<u8>>(), adds: bool) {
        let _ = decode(adds, &records(&["1", "2"]), &body);
    }
}
