//! What the organization's own rules refuse, row by row.

mod support;

use rsync_core::Destination as _;
use rsync_core::capability::Operation;
use rsync_core::outcome::RowOutcome;
use rsync_salesforce::{AutoAssign, DuplicateRules};
use rsync_testkit::sim::salesforce::{DuplicateRule, FieldSeed, Refused, RowFault, SalesforceSim, ValidationRule};
use support::*;

#[tokio::test]
async fn s01_duplicate_rules_refuse_rows_and_their_details_stay_behind() {
    for (rule, header, saved) in [
        (DuplicateRule::new("Twins", "Contact", ["LastName"]), DuplicateRules::Reject, false),
        (DuplicateRule::new("Twins", "Contact", ["LastName"]), DuplicateRules::SaveAlerted, false),
        (DuplicateRule::new("Twins", "Contact", ["LastName"]).alerting(), DuplicateRules::Reject, false),
        (DuplicateRule::new("Twins", "Contact", ["LastName"]).alerting(), DuplicateRules::SaveAlerted, true),
    ] {
        let sim = SalesforceSim::builder()
            .with_field("Contact", FieldSeed::external_id("Ext__c"))
            .with_record("Contact", [("Ext__c", "first"), ("LastName", "canary")])
            .with_duplicate_rule(DuplicateRule { message: "canary?".into(), ..rule })
            .start()
            .await
            .unwrap();
        let salesforce = builder_for(&sim).duplicate_rules(header).build().unwrap();
        let rows = rows(&[("Ext__c", &[Some("a"), Some("b")]), ("LastName", &[Some("Canary"), Some("Unique")])]);
        let receipt = salesforce.write(&cx(), batch(Operation::Upsert, &contacts(), rows)).await.unwrap();
        let outcomes = settled(receipt);
        assert!(!format!("{outcomes:?}").to_lowercase().contains(CANARY), "{outcomes:?}");
        let words = words(&outcomes);
        assert!(words[1].starts_with("Created "), "{words:?}");
        match saved {
            true => assert!(words[0].starts_with("Created "), "{words:?}"),
            false => assert_eq!(words[0], "Rejected DUPLICATES_DETECTED -"),
        }
        assert_eq!(sim.records("Contact").len(), if saved { 3 } else { 2 });
    }
}

#[tokio::test]
async fn the_header_for_duplicate_rules_is_sent_where_it_is_asked_for() {
    for (rules, sent) in [(DuplicateRules::Reject, false), (DuplicateRules::SaveAlerted, true)] {
        let server = Playback::described(200, r#"[{"success":true}]"#).await;
        let salesforce = server.builder().duplicate_rules(rules).build().unwrap();
        salesforce.write(&cx(), batch(Operation::Upsert, &contacts(), keys("Ext__c", &["a"]))).await.unwrap();
        let [describe, write] = &server.requests()[..] else { panic!("two calls") };
        let header = "sforce-duplicate-rule-header: allowSave=true\r\n";
        assert_eq!((describe.contains("duplicate-rule"), write.contains(header)), (false, sent));
    }
}

#[tokio::test]
async fn assignment_rules_act_where_they_are_asked_for() {
    for auto_assign in [AutoAssign::Off, AutoAssign::On] {
        let sim = SalesforceSim::builder()
            .with_field("Lead", FieldSeed::external_id("Ext__c"))
            .with_assignment_rule("Lead", "queue@acme.example")
            .start()
            .await
            .unwrap();
        let salesforce = builder_for(&sim).auto_assign(auto_assign.clone()).build().unwrap();
        let target = rsync_core::destination::Target::new("Lead", "Ext__c");
        let lead = rows(&[("Ext__c", &[Some("a")]), ("LastName", &[Some("L")]), ("Company", &[Some("C")])]);
        salesforce.write(&cx(), batch(Operation::Upsert, &target, lead)).await.unwrap();
        assert_eq!(sim.stats().rows_auto_assigned, u64::from(auto_assign == AutoAssign::On));
    }
}

#[tokio::test]
async fn each_reason_comes_with_its_code_and_field() {
    let sim = SalesforceSim::builder()
        .with_field("Contact", FieldSeed::external_id("Ext__c"))
        .with_field("Contact", FieldSeed::restricted_picklist("Tier__c", ["basic"]))
        .with_validation_rule(ValidationRule {
            object: "Contact".into(),
            field: "FirstName".into(),
            refuses: Refused::Value("canary".into()),
            message: "canary is not welcome".into(),
            shown_at: Some("FirstName".into()),
        })
        .start()
        .await
        .unwrap();
    let salesforce = signed_in(&sim);
    let long = "canary".repeat(20);
    let table = [
        ("LastName", None, "Rejected REQUIRED_FIELD_MISSING LastName"),
        ("LastName", Some(long.as_str()), "Rejected STRING_TOO_LONG LastName"),
        ("Email", Some("canary"), "Rejected INVALID_EMAIL_ADDRESS Email"),
        ("Tier__c", Some("canary"), "Rejected INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST Tier__c"),
        ("FirstName", Some("canary"), "Rejected FIELD_CUSTOM_VALIDATION_EXCEPTION FirstName"),
        ("AccountId", Some("001ak00000OQTieAAH"), "Rejected INVALID_CROSS_REFERENCE_KEY AccountId"),
        ("AccountId", Some("003ak00000luKU1AAM"), "Rejected MALFORMED_ID AccountId"),
    ];
    for (field, value, expected) in table {
        let mut columns: Vec<(&str, &[Option<&str>])> =
            vec![("Ext__c", &[Some("bad"), Some("good")]), ("LastName", &[Some("L"); 2])];
        columns.retain(|(name, _)| *name != field);
        // The neighbour has a value that the field takes, or none.
        let neighbour = if field == "LastName" { Some("L") } else { None };
        let both = [value, neighbour];
        columns.push((field, &both));
        let receipt = salesforce.write(&cx(), batch(Operation::Upsert, &contacts(), rows(&columns))).await.unwrap();
        let outcomes = settled(receipt);
        assert!(!format!("{outcomes:?}").contains(CANARY), "{outcomes:?}");
        let words = words(&outcomes);
        assert_eq!(words[0], expected);
        assert!(matches!(outcomes[1], RowOutcome::Written { .. }), "{field}: {words:?}");
    }
    assert_eq!(sim.records("Contact").len(), 1, "only the neighbour, each time");
}

#[tokio::test]
async fn f33_reasons_that_pass_are_sent_again() {
    let sim = SalesforceSim::builder().with_field("Contact", FieldSeed::external_id("Ext__c")).start().await.unwrap();
    let salesforce = signed_in(&sim);
    for (code, message) in [
        ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record or 200 records: canary"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "T: System.LimitException: Too many SOQL queries: 101 canary"),
        ("CANNOT_EXECUTE_FLOW_TRIGGER", "UNABLE_TO_LOCK_ROW: canary"),
    ] {
        sim.fail_rows(RowFault::new("Contact", code, message).times(1));
        let one =
            || batch(Operation::Upsert, &contacts(), rows(&[("Ext__c", &[Some("a")]), ("LastName", &[Some("L")])]));
        let outcomes = settled(salesforce.write(&cx(), one()).await.unwrap());
        assert_eq!(words(&outcomes), [format!("Retryable {code}")], "the fault fired");
        assert!(!format!("{outcomes:?}").contains(CANARY));
        let again = settled(salesforce.write(&cx(), one()).await.unwrap());
        assert!(matches!(again[0], RowOutcome::Written { .. }), "{code}");
        sim.clear_row_faults();
    }
}
