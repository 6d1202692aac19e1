//! Several collections in one call.

mod support;

use std::collections::HashMap;

use rsync_core::Destination as _;
use rsync_core::capability::Operation;
use rsync_core::ids::RemoteId;
use rsync_core::record::Rows;
use rsync_core::{Kind, Retry};
use rsync_salesforce::{AutoAssign, DuplicateRules};
use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule, Processing, Requests};
use rsync_testkit::sim::salesforce::{FieldSeed, SalesforceSim, SalesforceSimBuilder};
use support::*;

fn org() -> SalesforceSimBuilder {
    SalesforceSim::builder()
        .with_field("Contact", FieldSeed::external_id("Ext__c"))
        .with_field("Contact", FieldSeed::of("At__c", "time"))
}

/// So many contacts; `change` gives some of them another last name.
fn people(count: usize, change: impl Fn(usize) -> Option<&'static str>) -> Rows {
    let keys: Vec<String> = (0..count).map(|i| format!("k{i}")).collect();
    let keys: Vec<Option<&str>> = keys.iter().map(|key| Some(key.as_str())).collect();
    let names: Vec<Option<&str>> = (0..count).map(|i| change(i).or(Some("L"))).collect();
    rows(&[("Ext__c", &keys), ("LastName", &names)])
}

#[tokio::test]
async fn d01_a_thousand_rows_in_one_call_keep_their_places() {
    let sim = org().start().await.unwrap();
    let salesforce = builder_for(&sim).composite(true).build().unwrap();
    assert_eq!(salesforce.capability(&contacts()).upsert.unwrap().max_rows, 1_000);
    let long: &'static str = "canary-canary-canary-canary-canary-canary-canary-canary-canary-canary-canary-canary-x";
    let odd = move |i| match i {
        199 | 400 | 999 => Some(long),
        500 => Some("@{part0[0].id} canary"),
        _ => None,
    };
    let (before, calls) = (sim.stats().api_calls, sim.stats().composite_requests);
    let batch_of = |operation, rows| batch(operation, &contacts(), rows);
    let outcomes = settled(salesforce.write(&cx(), batch_of(Operation::Upsert, people(1_000, odd))).await.unwrap());
    assert!(!format!("{outcomes:?}").contains(CANARY));
    let said = words(&outcomes);
    let ids: HashMap<String, String> =
        sim.records("Contact").into_iter().map(|record| (record.fields["Ext__c"].clone(), record.id)).collect();
    for (row, word) in said.iter().enumerate() {
        match row {
            199 | 400 | 999 => assert_eq!(word, "Rejected STRING_TOO_LONG LastName", "{row}"),
            500 => assert_eq!(word, "Rejected LOCAL_COMPOSITE_REFERENCE LastName"),
            _ => {
                assert_eq!(word, &format!("Created {}", ids[&format!("k{row}")]));
            }
        }
    }
    assert_eq!(sim.stats().api_calls - before, 2, "a description and one write");
    assert!(sim.stats().composite_requests > calls);

    // The same keys again, then by id.
    let outcomes = settled(salesforce.write(&cx(), batch_of(Operation::Update, people(201, |_| None))).await.unwrap());
    let said = words(&outcomes);
    assert!(said.iter().enumerate().all(|(i, word)| if i == 199 {
        word == "Missing"
    } else {
        word.starts_with("Updated")
    }));
    let ids: Vec<RemoteId> = (201..402)
        .map(|i| RemoteId::new(ids.get(&format!("k{i}")).map_or("003ak00000luKU1AAM", String::as_str)))
        .collect();
    let keys: Vec<String> = (201..402).map(|i| i.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let delete = batch_of(Operation::Delete, support::keys("Ext__c", &keys)).with_ids(ids).unwrap();
    let said = words(&settled(salesforce.write(&cx(), delete).await.unwrap()));
    assert!(said.iter().enumerate().all(|(i, w)| if i + 201 == 400 {
        w == "Missing"
    } else {
        w.starts_with("Unspecified")
    }));
    assert_eq!(sim.stats().rows_deleted, 200);
}

#[tokio::test]
async fn f40_a_refused_collection_is_sent_again_alone() {
    let sim = org().start().await.unwrap();
    let salesforce = builder_for(&sim).composite(true).build().unwrap();
    let keys: Vec<String> = (0..300).map(|i| format!("k{i}")).collect();
    let keys: Vec<Option<&str>> = keys.iter().map(|key| Some(key.as_str())).collect();
    let with_bad = |bad: &[usize]| {
        let times: Vec<_> = (0..300).map(|i| Some(if bad.contains(&i) { "canary" } else { "10:00:00.000Z" })).collect();
        batch(Operation::Upsert, &contacts(), rows(&[("Ext__c", &keys), ("LastName", &keys), ("At__c", &times)]))
    };
    let outcomes = words(&settled(salesforce.write(&cx(), with_bad(&[7])).await.unwrap()));
    assert!(outcomes[..200].iter().all(|word| word == "Retryable JSON_PARSER_ERROR"), "{:?}", &outcomes[..2]);
    assert!(outcomes[200..].iter().all(|word| word.starts_with("Created ")));
    assert_eq!(sim.records("Contact").len(), 100);
    // All of them: the engine halves the batch.
    let error = salesforce.write(&cx(), with_bad(&[7, 250])).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Rejected, Retry::Never));
    assert_eq!(error.context("code"), Some("JSON_PARSER_ERROR"));
    assert!(!shown(&error).contains(CANARY));
}

#[tokio::test]
async fn f31_d03_a_lost_answer_leaves_all_rows_open_and_a_replay_changes_nothing() {
    let sim = org().start().await.unwrap();
    let salesforce = builder_for(&sim).composite(true).build().unwrap();
    let lost = FaultRule::new(FaultAction::ResetConnection { processing: Processing::Applied })
        .on_path_containing("/composite")
        .on_requests(Requests::First(1));
    sim.faults().set(FaultPlan::new([lost])).unwrap();
    let again = || batch(Operation::Upsert, &contacts(), people(450, |_| None));
    let error = salesforce.write(&cx(), again()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Ambiguous));
    assert_eq!(sim.records("Contact").len(), 450);
    let said = words(&settled(salesforce.write(&cx(), again()).await.unwrap()));
    assert!(said.iter().all(|word| word.starts_with("Updated ")));
    assert_eq!(sim.records("Contact").len(), 450);
}

#[tokio::test]
async fn how_a_composite_call_looks() {
    let many: Vec<String> = (0..201).map(|i| format!("k{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let server = Playback::described(200, r#"{"compositeResponse":[]}"#).await;
    let salesforce = server
        .builder()
        .composite(true)
        .auto_assign(AutoAssign::On)
        .duplicate_rules(DuplicateRules::SaveAlerted)
        .build()
        .unwrap();
    let cx = cx();
    let update = batch(Operation::Update, &contacts(), keys("Ext__c", &many));
    let said = words(&settled(salesforce.write(&cx, update).await.unwrap()));
    assert!(said.iter().all(|word| word == "Unknown"), "not mentioned");
    assert_eq!(server.lines()[1], format!("POST {ROOT}/composite"));
    let body = server.requests()[1].split_once("\r\n\r\n").unwrap().1.to_owned();
    let head = |part: usize| {
        format!(
            r#"{{"method":"PATCH","url":"{ROOT}/composite/sobjects/Contact/Ext__c?updateOnly=true","referenceId":"part{part}","httpHeaders":{{"Sforce-Auto-Assign":"TRUE","Sforce-Duplicate-Rule-Header":"allowSave=true"}},"body":{{"allOrNone":false,"records":["#
        )
    };
    assert!(body.starts_with(&format!(r#"{{"allOrNone":false,"compositeRequest":[{}"#, head(0))), "{body}");
    assert!(body.contains(&head(1)) && body.ends_with(r#""Ext__c":"k200"}]}}]}"#));
    // Few rows go as before.
    let few = batch(Operation::Upsert, &contacts(), keys("Ext__c", &many[..200]));
    salesforce.write(&cx, few).await.unwrap_err();
    assert_eq!(server.lines()[2], format!("PATCH {ROOT}/composite/sobjects/Contact/Ext__c"));
}
