//! Rows that go by the ids of their records: updates and deletes.

mod support;

use rsync_core::Destination as _;
use rsync_core::capability::{Addressing, Operation};
use rsync_core::destination::Target;
use rsync_core::ids::RemoteId;
use rsync_core::record::Rows;
use rsync_core::{Kind, Retry, arrow};
use rsync_salesforce::Salesforce;
use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule, Processing, Requests};
use rsync_testkit::sim::salesforce::{FieldSeed, SalesforceSim, SalesforceSimBuilder};
use support::*;

const GONE: &str = "003ak00000luKU1AAM";

fn org() -> SalesforceSimBuilder {
    let mut org = SalesforceSim::builder().with_field("Contact", FieldSeed::external_id("Ext__c"));
    for key in ["a", "b", "c", "d"] {
        org = org.with_record("Contact", [("Ext__c", key), ("LastName", key), ("Phone", "old")]);
    }
    org
}

fn id(sim: &SalesforceSim, key: &str) -> String {
    sim.record_by("Contact", "Ext__c", key).unwrap().id
}

/// Rows without a key.
fn keyless(rows: Rows) -> Rows {
    let absent = arrow::buffer::BooleanBuffer::new_unset(rows.len());
    rows.with_presence(0, absent)
}

async fn by_id(salesforce: &Salesforce, operation: Operation, rows: Rows, ids: &[&str]) -> Vec<String> {
    let ids = ids.iter().map(|id| RemoteId::new(*id)).collect();
    let batch = batch(operation, &contacts(), rows).with_ids(ids).unwrap();
    words(&settled(salesforce.write(&cx(), batch).await.unwrap()))
}

#[tokio::test]
async fn deletes_remove_their_records_and_nothing_else() {
    let sim = org().start().await.unwrap();
    let salesforce = signed_in(&sim);
    let capability = salesforce.capability(&contacts());
    assert_eq!(capability.delete.map(|limits| (limits.max_rows, limits.addressing)), Some((200, Addressing::ById)));
    let (a, b, c) = (id(&sim, "a"), id(&sim, "b"), id(&sim, "c"));
    sim.delete_record(&b).unwrap();
    sim.merge_records(&id(&sim, "d"), &c).unwrap();
    let ids = [a.as_str(), &b, &c, GONE, "003ak00000luKU1"];
    let before = sim.stats().write_requests;
    let outcomes =
        by_id(&salesforce, Operation::Delete, keyless(keys("Ext__c", &["1", "2", "3", "4", "5"])), &ids).await;
    let expected = [&format!("Unspecified {a}"), "Missing", "Missing", "Missing", "Rejected LOCAL_RECORD_ID Ext__c"];
    assert_eq!(outcomes, expected);
    assert_eq!(sim.stats().write_requests - before, 1);
    let live = sim.records("Contact").into_iter().filter(|record| !record.deleted);
    assert_eq!(live.map(|record| record.fields["Ext__c"].clone()).collect::<Vec<_>>(), ["d"]);
}

#[tokio::test]
async fn a_delete_that_the_user_may_not_do_is_no_missing_record() {
    let sim = org().start().await.unwrap();
    let a = id(&sim, "a");
    sim.put_out_of_reach(&a);
    let outcomes = by_id(&signed_in(&sim), Operation::Delete, keyless(keys("Ext__c", &["a"])), &[&a]).await;
    assert_eq!(outcomes, ["Rejected INSUFFICIENT_ACCESS_OR_READONLY -"]);
    assert!(sim.record_by("Contact", "Ext__c", "a").is_some());
}

#[tokio::test]
async fn f31_d03_a_delete_whose_answer_was_lost_is_sent_again() {
    let sim = org().start().await.unwrap();
    let salesforce = signed_in(&sim);
    let a = id(&sim, "a");
    let lost = FaultRule::new(FaultAction::ResetConnection { processing: Processing::Applied })
        .on_method("DELETE")
        .on_requests(Requests::First(1));
    sim.faults().set(FaultPlan::new([lost])).unwrap();
    let rows = keyless(keys("Ext__c", &["a"]));
    let again = batch(Operation::Delete, &contacts(), rows).with_ids(vec![RemoteId::new(a.as_str())]).unwrap();
    let error = salesforce.write(&cx(), again.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Ambiguous));
    assert_eq!(words(&settled(salesforce.write(&cx(), again).await.unwrap())), ["Missing"]);
    assert_eq!(sim.stats().rows_deleted, 1);
}

#[tokio::test]
async fn deletes_by_a_key_that_is_the_record_id() {
    let sim = org().start().await.unwrap();
    let target = Target::new("Contact", "Id");
    let (a, b) = (id(&sim, "a"), id(&sim, "b"));
    let rows = keys("Id", &[&a, "not an id"]);
    let receipt = signed_in(&sim).write(&cx(), batch(Operation::Delete, &target, rows)).await.unwrap();
    assert_eq!(words(&settled(receipt)), [&format!("Unspecified {a}"), "Rejected LOCAL_RECORD_ID Id"]);
    assert_eq!(id(&sim, "b"), b);
}

#[tokio::test]
async fn updates_by_id_reach_their_record_and_can_change_its_key() {
    let sim = org().start().await.unwrap();
    let salesforce = signed_in(&sim);
    let (a, b, c) = (id(&sim, "a"), id(&sim, "b"), id(&sim, "c"));
    sim.delete_record(&b).unwrap();
    sim.merge_records(&id(&sim, "d"), &c).unwrap();
    // The key of the first row names another record: the id counts, and the key is written where it is unique.
    let rows = rows(&[("Ext__c", &["z", "b", "c", "g"].map(Some)), ("Phone", &[Some("new"); 4])]);
    let outcomes = by_id(&salesforce, Operation::Update, rows, &[&a, &b, &c, GONE]).await;
    assert_eq!(outcomes, [&format!("Updated {a}"), "Missing", "Missing", "Missing"]);
    let record = sim.record_by("Contact", "Id", &a).unwrap();
    assert_eq!((record.fields["Ext__c"].as_str(), record.fields["Phone"].as_str()), ("z", "new"));
    assert_eq!(sim.record_by("Contact", "Ext__c", "d").unwrap().fields["Phone"], "old");

    let absent = keyless(support::rows(&[("Ext__c", &[Some("d")]), ("Phone", &[Some("newer")])]));
    assert_eq!(by_id(&salesforce, Operation::Update, absent, &[&a]).await, [format!("Updated {a}")]);
    let record = sim.record_by("Contact", "Id", &a).unwrap();
    assert_eq!((record.fields["Ext__c"].as_str(), record.fields["Phone"].as_str()), ("z", "newer"));

    let taken = support::rows(&[("Ext__c", &[Some("d")]), ("Phone", &[Some("x")])]);
    let outcomes = by_id(&salesforce, Operation::Update, taken, &[&a]).await;
    assert!(outcomes[0].starts_with("Rejected DUPLICATE_VALUE"), "{outcomes:?}");
}

#[tokio::test]
async fn a_parent_that_is_gone_does_not_make_the_record_missing() {
    let sim = org().with_record("Account", [("Name", "Acme")]).start().await.unwrap();
    let account = sim.record_by("Account", "Name", "Acme").unwrap().id;
    sim.delete_record(&account).unwrap();
    let a = id(&sim, "a");
    let pointing = keyless(rows(&[("Ext__c", &[Some("a")]), ("AccountId", &[Some(&account)])]));
    let outcomes = by_id(&signed_in(&sim), Operation::Update, pointing, &[&a]).await;
    assert_eq!(outcomes, ["Rejected ENTITY_IS_DELETED AccountId"]);
    // A key without a record is told apart.
    let nobody = rows(&[("Ext__c", &[Some("nobody")]), ("AccountId", &[None])]);
    let receipt = signed_in(&sim).write(&cx(), batch(Operation::Update, &contacts(), nobody)).await.unwrap();
    assert_eq!(words(&settled(receipt)), ["Missing"]);
}

#[tokio::test]
async fn how_the_calls_look() {
    let done = format!(r#"[{{"id":"{GONE}","success":true,"errors":[]}}]"#);
    let server = Playback::described(200, done.clone()).await;
    let update = rows(&[("Ext__c", &[Some("k")]), ("Phone", &[Some("1")])]);
    assert_eq!(by_id(&server.salesforce(), Operation::Update, update, &[GONE]).await, [format!("Updated {GONE}")]);
    let body = format!(r#"{{"attributes":{{"type":"Contact"}},"id":"{GONE}","Ext__c":"k","Phone":"1"}}"#);
    assert!(server.requests()[1].ends_with(&format!(r#"{{"allOrNone":false,"records":[{body}]}}"#)));
    assert_eq!(server.lines()[1], format!("PATCH {ROOT}/composite/sobjects"));

    // No description is read, and no body sent.
    let server = Playback::start(vec![(200, done.into())]).await;
    let outcomes = by_id(&server.salesforce(), Operation::Delete, keyless(keys("Ext__c", &["k"])), &[GONE]).await;
    assert_eq!(outcomes, [format!("Unspecified {GONE}")]);
    assert_eq!(server.lines(), [format!("DELETE {ROOT}/composite/sobjects?ids={GONE}&allOrNone=false")]);

    // Ids that occur twice are a mistake of ours.
    let twice = [GONE, GONE].map(RemoteId::new).to_vec();
    for operation in [Operation::Delete, Operation::Update] {
        let rows = batch(operation, &contacts(), keyless(keys("Ext__c", &["1", "2"]))).with_ids(twice.clone()).unwrap();
        let server = Playback::described(500, "").await;
        assert_eq!(server.salesforce().write(&cx(), rows).await.unwrap_err().kind(), Kind::Internal);
        assert!(server.requests().len() <= 1, "a description at most");
    }
}
