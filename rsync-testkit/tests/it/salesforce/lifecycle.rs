//! Records that are deleted, brought back, merged or out of reach.

use rsync_testkit::sim::salesforce::{FieldSeed, SalesforceSim};
use serde_json::{Value, json};

use super::harness::{Http, contact, org, typed};

async fn start() -> SalesforceSim {
    org()
        .with_record("Account", [("Name", "P"), ("Ext__c", "p")])
        .with_record("Account", [("Name", "Q"), ("Ext__c", "q")])
        .with_record(
            "Contact",
            [("LastName", json!("L")), ("Ext__c", json!("c")), ("Account", json!({ "Ext__c": "q" }))],
        )
        .start()
        .await
        .expect("the simulator starts")
}

fn id(sim: &SalesforceSim, object: &str, key: &str) -> String {
    sim.record_by(object, "Ext__c", key).expect("stored").id
}

async fn found(http: &Http, surface: &str, query: &str) -> Value {
    let query = query.replace(' ', "+");
    http.get(&format!("/{surface}?q={query}")).await.json()["records"].clone()
}

#[tokio::test]
async fn a_record_in_the_bin_comes_back_with_its_id() {
    let sim = start().await;
    let http = Http::to(&sim);
    let c = id(&sim, "Contact", "c");
    sim.delete_record(&c).expect("deleted");
    let path = format!("/sobjects/Contact/{c}");
    assert_eq!(http.patch(&path, &json!({ "Title": "t" })).await.code(), "ENTITY_IS_DELETED");
    assert!(sim.delete_record(&c).is_err(), "it is deleted already");
    sim.undelete_record(&c).expect("brought back");
    assert_eq!(http.patch(&path, &json!({ "Title": "t" })).await.status, 204);
    assert_eq!(http.upsert(&[("c", json!({}))]).await.json()[0]["id"], json!(c), "its key finds it again");
    assert!(sim.undelete_record(&c).is_err(), "it is not deleted");
}

#[tokio::test]
async fn a_record_does_not_come_back_when_its_key_is_taken() {
    let sim = start().await;
    let http = Http::to(&sim);
    let c = id(&sim, "Contact", "c");
    sim.delete_record(&c).expect("deleted");
    assert_eq!(http.upsert(&[("C", json!({}))]).await.json()[0]["created"], true);
    let refused = sim.undelete_record(&c).expect_err("the key is taken").to_string();
    assert!(refused.contains("duplicate value found: Ext__c"), "{refused}");
}

#[tokio::test]
async fn a_purged_record_never_was() {
    let sim = start().await;
    let http = Http::to(&sim);
    let c = id(&sim, "Contact", "c");
    sim.delete_record(&c).expect("deleted");
    assert_eq!(found(&http, "queryAll", "SELECT Id FROM Contact").await.as_array().map(Vec::len), Some(1));
    sim.purge_record(&c).expect("purged");
    assert_eq!(found(&http, "queryAll", "SELECT Id FROM Contact").await, json!([]));
    let row = typed("Contact", &json!({ "id": c, "Title": "t" }), &json!({}));
    let body = http.patch("/composite/sobjects", &json!({ "records": [row] })).await.json();
    assert_eq!(body[0]["errors"][0]["statusCode"], "INVALID_CROSS_REFERENCE_KEY");
    assert!(sim.undelete_record(&c).is_err() && sim.purge_record(&c).is_err());
}

#[tokio::test]
async fn a_merged_record_leads_to_the_other_one() {
    let sim = start().await;
    let http = Http::to(&sim);
    let (p, q) = (id(&sim, "Account", "p"), id(&sim, "Account", "q"));
    sim.merge_records(&p, &q).expect("merged");
    assert_eq!(sim.record_by("Contact", "Ext__c", "c").expect("stored").fields["AccountId"], p, "children move");
    let gone = http.patch(&format!("/sobjects/Account/{q}"), &json!({ "Name": "x" })).await;
    assert_eq!((gone.status, gone.code().as_str()), (404, "ENTITY_IS_DELETED"));
    let moved = found(&http, "queryAll", &format!("SELECT Id, MasterRecordId FROM Account WHERE Id='{q}'")).await;
    assert_eq!(moved[0]["MasterRecordId"], json!(p));
    assert_eq!(found(&http, "query", &format!("SELECT Id FROM Account WHERE Id='{q}'")).await, json!([]));
    let key = json!({ "records": [typed("Account", &json!({ "Ext__c": "q", "Name": "Q" }), &json!({}))] });
    let body = http.patch("/composite/sobjects/Account/Ext__c", &key).await.json();
    assert_eq!(body[0]["created"], true, "the key of the merged one is free: an upsert makes a new record");
    for (into, merged) in [(&p, &p), (&p, &q), (&p, &id(&sim, "Contact", "c"))] {
        assert!(sim.merge_records(into, merged).is_err());
    }
}

#[tokio::test]
async fn deleting_again_is_told_apart_from_deleting_nothing() {
    let sim = start().await;
    let http = Http::to(&sim);
    assert_eq!(http.delete("/sobjects/Contact/Ext__c/c").await.status, 204);
    assert_eq!(http.delete("/sobjects/Contact/Ext__c/c").await.code(), "NOT_FOUND", "by key there is nothing any more");
    let c = sim.records("Contact")[0].id.clone();
    assert_eq!(http.delete(&format!("/sobjects/Contact/{c}")).await.code(), "ENTITY_IS_DELETED");
    let twice = http.delete(&format!("/composite/sobjects?ids={0},{0}", id(&sim, "Account", "p"))).await.json();
    assert_eq!(
        (&twice[0]["success"], &twice[1]["errors"][0]["statusCode"]),
        (&json!(true), &json!("ENTITY_IS_DELETED"))
    );
    assert_eq!(http.delete("/sobjects/Contact/Ext__c/nobody").await.status, 404);
}

#[tokio::test]
async fn records_out_of_reach_are_neither_changed_nor_pointed_to() {
    let sim = start().await;
    let http = Http::to(&sim);
    let (p, c) = (id(&sim, "Account", "p"), id(&sim, "Contact", "c"));
    sim.put_out_of_reach(&p);
    let child = contact("d", &json!({ "Account": { "Ext__c": "p" } }));
    let path = "/composite/sobjects/Contact/Ext__c";
    let body = http.patch(path, &json!({ "records": [child, contact("e", &json!({}))] })).await.json();
    assert_eq!(body[0]["errors"][0]["statusCode"], "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY");
    assert_eq!(body[1]["success"], true);
    for reply in [
        http.patch(&format!("/sobjects/Account/{p}"), &json!({ "Name": "x" })).await,
        http.delete(&format!("/sobjects/Account/{p}")).await,
    ] {
        assert_eq!((reply.status, reply.code().as_str()), (400, "INSUFFICIENT_ACCESS_OR_READONLY"));
    }
    assert_eq!(http.delete(&format!("/sobjects/Contact/{c}")).await.status, 204);
}

#[tokio::test]
async fn an_ambiguous_parent_fails_its_row_alone() {
    let sim = org()
        .with_field("Account", FieldSeed { external_id: true, ..FieldSeed::of("Loose__c", "string") })
        .with_record("Account", [("Name", "A"), ("Loose__c", "x")])
        .with_record("Account", [("Name", "B"), ("Loose__c", "x")])
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let rows = [("a", json!({ "Account": { "Loose__c": "X" } })), ("b", json!({}))];
    let body = http.upsert(&rows).await.json();
    let ids: Vec<String> = sim.records("Account").into_iter().map(|record| record.id).collect();
    let message = format!("Loose__c: more than one record found for external id field: [{}]", ids.join(", "));
    assert_eq!(body[0]["errors"][0]["statusCode"], "DUPLICATE_EXTERNAL_ID");
    assert_eq!((&body[0]["errors"][0]["message"], &body[1]["success"]), (&json!(message), &json!(true)));
    let created = http.post("/sobjects/Contact", &json!({ "LastName": "L", "Account": { "Loose__c": "y" } })).await;
    assert_eq!((created.status, created.code().as_str()), (400, "INVALID_FIELD"), "a missing parent");
}
