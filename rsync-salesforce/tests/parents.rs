//! References that name the other record by a key of its own.

mod support;

use rsync_core::arrow::array::AsArray;
use rsync_core::arrow::buffer::BooleanBuffer;
use rsync_core::capability::Operation;
use rsync_core::destination::{LookupRequest, Target};
use rsync_core::ids::FieldName;
use rsync_core::record::FieldType;
use rsync_core::{Destination as _, Kind};
use rsync_salesforce::Salesforce;
use rsync_testkit::sim::salesforce::{FieldSeed, SalesforceSim};
use support::*;

const OWNER: &str = "Contact:Of__r.Ext__c";

async fn org() -> SalesforceSim {
    let of =
        FieldSeed { reference_to: vec!["Contact".into(), "Account".into()], ..FieldSeed::of("Of__c", "reference") };
    SalesforceSim::builder()
        .with_field("Account", FieldSeed::external_id("Ext__c"))
        .with_field("Account", FieldSeed { external_id: true, unique: true, ..FieldSeed::number("Nr__c", 18, 0) })
        .with_field("Account", FieldSeed::text("Plain__c", 20))
        .with_field("Contact", FieldSeed::external_id("Ext__c"))
        .with_field("Contact", of)
        .with_record("Account", [("Ext__c", "acme"), ("Name", "Acme"), ("Nr__c", "7")])
        .with_record("Contact", [("Ext__c", "boss"), ("LastName", "Boss")])
        .start()
        .await
        .unwrap()
}

fn linking(sim: &SalesforceSim) -> Salesforce {
    builder_for(sim).parent("Account").parent("Contact").build().unwrap()
}

#[tokio::test]
async fn fields_of_parents_are_described_where_they_are_asked_for() {
    let sim = org().await;
    let plain = signed_in(&sim).describe(&contacts()).await.unwrap();
    assert!(plain.fields.iter().all(|field| !field.name.as_str().contains('.')));
    assert_eq!(sim.stats().describe_requests, 1);

    let schema = linking(&sim).describe(&contacts()).await.unwrap();
    for name in
        ["Account.Ext__c", "Account.Nr__c", OWNER, "Account:Of__r.Ext__c", "ReportsTo.Ext__c", "ReportsTo.Email"]
    {
        let field = schema.field(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((field.writable, field.unique, field.clearable), (true, false, true), "{name}");
    }
    // No key, no such relationship, a type where there is one object only, an id.
    for name in
        ["Account.Plain__c", "Acc.Ext__c", "Account:Account.Ext__c", "Of__r.Ext__c", "Account.Id", "Owner.Email"]
    {
        assert!(schema.field(name).is_none(), "{name}");
    }
    assert!(schema.field("Account.Nr__c").unwrap().accepts(FieldType::Integer));
    assert!(!schema.field("Account.Ext__c").unwrap().accepts(FieldType::TextList));
    let error = Salesforce::builder().parent("Acc ount").build().unwrap_err();
    assert!(error.problems().iter().any(|problem| problem.at == "parents"));
}

#[tokio::test]
async fn records_are_linked_by_keys_and_links_are_cleared() {
    let sim = org().await;
    let salesforce = linking(&sim);
    let account = sim.record_by("Account", "Ext__c", "acme").unwrap().id;
    let boss = sim.record_by("Contact", "Ext__c", "boss").unwrap().id;
    let linked = rows(&[
        ("Ext__c", &["a", "b", "c"].map(Some)),
        ("LastName", &[Some("L"); 3]),
        ("Account.Ext__c", &[Some("ACME"), Some("canary"), Some("acme")]),
        (OWNER, &[Some("boss"), Some("boss"), Some("canary")]),
    ]);
    let outcomes = settled(salesforce.write(&cx(), batch(Operation::Upsert, &contacts(), linked)).await.unwrap());
    assert!(!format!("{outcomes:?}").contains(CANARY), "{outcomes:?}");
    let said = words(&outcomes);
    assert!(said[0].starts_with("Created "), "{said:?}");
    assert_eq!(said[1], "Rejected INVALID_FIELD Account.Ext__c");
    assert_eq!(said[2], format!("Rejected INVALID_FIELD {OWNER}"));
    assert!(format!("{:?}", outcomes[1]).contains("write that record first"));
    let stored = |field: &str| sim.record_by("Contact", "Ext__c", "a").unwrap().fields.get(field).cloned();
    assert_eq!((stored("AccountId"), stored("Of__c")), (Some(account), Some(boss)));
    assert_eq!(sim.records("Contact").len(), 2);

    // Read back: what the reference leads to, and nothing where it is empty.
    let fields = vec![(FieldName::new("Account.Ext__c"), FieldType::Text)];
    let request = LookupRequest::new(contacts(), keys("Ext__c", &["a", "boss"]), fields);
    let found = salesforce.lookup(&cx(), request).await.unwrap();
    let column = found.fields.batch().column(0).as_string::<i32>();
    let mut read: Vec<_> = found.matches.iter().map(|m| m.key).zip(column.iter()).collect();
    read.sort_unstable();
    assert_eq!(read, [(0, Some("acme")), (1, None)]);
    let several = vec![(FieldName::new(OWNER), FieldType::Text)];
    let request = LookupRequest::new(contacts(), keys("Ext__c", &["a"]), several);
    assert_eq!(salesforce.lookup(&cx(), request).await.unwrap_err().kind(), Kind::SchemaMismatch);

    let cleared = rows(&[("Ext__c", &[Some("a")]), ("Account.Ext__c", &[None]), (OWNER, &[None])])
        .with_presence(2, BooleanBuffer::from(vec![false]));
    let outcomes = settled(salesforce.write(&cx(), batch(Operation::Upsert, &contacts(), cleared)).await.unwrap());
    assert!(words(&outcomes)[0].starts_with("Updated "));
    assert_eq!((stored("AccountId"), stored("Of__c").is_some()), (None, true), "cleared, and kept where absent");
}

#[tokio::test]
async fn a_row_sets_a_reference_in_one_way() {
    let sim = org().await;
    let account = sim.record_by("Account", "Ext__c", "acme").unwrap().id;
    let both = rows(&[
        ("Ext__c", &["a", "b"].map(Some)),
        ("LastName", &[Some("L"); 2]),
        ("AccountId", &[Some(&account), Some(&account)]),
        ("Account.Ext__c", &[Some("acme"), None]),
    ])
    .with_presence(3, BooleanBuffer::from(vec![true, false]));
    let outcomes = settled(linking(&sim).write(&cx(), batch(Operation::Upsert, &contacts(), both)).await.unwrap());
    let said = words(&outcomes);
    assert_eq!(said[0], "Rejected LOCAL_PARENT_TWICE Account.Ext__c");
    assert!(said[1].starts_with("Created "), "{said:?}");
}

#[tokio::test]
async fn how_references_look() {
    let sim = org().await;
    let salesforce = linking(&sim);
    let target = Target::new("Contact", "Ext__c");
    let server = Playback::start(vec![
        (
            200,
            describe(
                "Contact",
                r#"{"name":"AccountId","type":"reference","createable":true,"updateable":true,
            "nillable":true,"relationshipName":"Account","referenceTo":["Account"]},
            {"name":"WhoId","type":"reference","createable":true,"updateable":true,"nillable":true,
             "relationshipName":"Who","referenceTo":["Account","Lead"]}"#,
            ),
        ),
        (
            200,
            describe(
                "Account",
                r#"{"name":"Nr__c","type":"double","custom":true,"externalId":true,"idLookup":true,
            "unique":true,"createable":true,"updateable":true,"precision":18,"scale":0}"#,
            ),
        ),
        (200, br#"[{"success":true},{"success":true}]"#.to_vec()),
    ])
    .await;
    drop(salesforce);
    let salesforce = server.builder().parent("Account").parent("User").build().unwrap();
    let linked = rows(&[
        ("Ext__c", &[Some("a"), Some("b")]),
        ("Account.Nr__c", &[Some("7"), None]),
        ("Account:Who.Ext__c", &[Some("x\"y"), None]),
    ]);
    salesforce.write(&cx(), batch(Operation::Upsert, &target, linked)).await.unwrap();
    assert_eq!(server.lines().len(), 3, "nothing points to a user");
    let body = server.requests()[2].split_once("\r\n\r\n").unwrap().1.to_owned();
    let head = r#"{"attributes":{"type":"Contact"},"Ext__c":"#;
    let who = r#""Who":{"attributes":{"type":"Account"},"Ext__c":"x\"y"}"#;
    let first = format!(r#"{head}"a","Account":{{"Nr__c":7}},{who}}}"#);
    let second = format!(r#"{head}"b","AccountId":null,"WhoId":null}}"#);
    assert_eq!(body, format!(r#"{{"allOrNone":false,"records":[{first},{second}]}}"#));
}

/// A description with a key and these fields.
fn describe(object: &str, fields: &str) -> Vec<u8> {
    let key = r#"{"name":"Ext__c","type":"string","custom":true,"externalId":true,"idLookup":true,"unique":true,
        "createable":true,"updateable":true,"nillable":true}"#;
    format!(r#"{{"name":"{object}","createable":true,"updateable":true,"fields":[{key},{fields}]}}"#).into()
}
