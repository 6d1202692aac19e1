//! Objects and their descriptions.

use rsync_testkit::sim::salesforce::FieldSeed;
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, org};

fn field(described: &Value, name: &str) -> Value {
    let fields = described["fields"].as_array().expect("fields");
    fields.iter().find(|field| field["name"] == name).unwrap_or_else(|| panic!("no field {name}")).clone()
}

#[tokio::test]
async fn all_objects() {
    let sim = org().start().await.expect("the simulator starts");
    let listed = Http::to(&sim).get("/sobjects/").await.json();
    assert_parts("list", &listed, &[("/encoding", json!("UTF-8")), ("/maxBatchSize", json!(200))]);
    let names: Vec<&str> =
        listed["sobjects"].as_array().expect("objects").iter().filter_map(|o| o["name"].as_str()).collect();
    assert_eq!(names, ["Account", "Case", "Contact", "Lead", "Opportunity", "User", "Plan__c"]);
    let plan = &listed["sobjects"][6];
    assert_parts(
        "custom object",
        plan,
        &[("/keyPrefix", json!("a01")), ("/custom", json!(true)), ("/createable", json!(true))],
    );
    assert_eq!(plan["urls"]["sobject"], "/services/data/v66.0/sobjects/Plan__c");
}

#[tokio::test]
async fn standard_fields() {
    let sim = org().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for (object, name, parts) in [
        (
            "Contact",
            "Id",
            json!({ "type": "id", "length": 18, "createable": false, "idLookup": true, "nillable": false }),
        ),
        (
            "Contact",
            "LastName",
            json!({ "type": "string", "length": 80, "byteLength": 240, "nillable": false, "defaultedOnCreate": false }),
        ),
        ("Contact", "Name", json!({ "createable": false, "updateable": false, "nameField": true })),
        (
            "Contact",
            "Email",
            json!({ "type": "email", "length": 80, "idLookup": true, "externalId": false, "unique": false }),
        ),
        (
            "Contact",
            "AccountId",
            json!({ "type": "reference", "referenceTo": ["Account"], "relationshipName": "Account" }),
        ),
        ("Contact", "Description", json!({ "type": "textarea", "length": 32_000, "filterable": false })),
        ("Contact", "MailingAddress", json!({ "type": "address", "createable": false, "soapType": "urn:address" })),
        ("Contact", "MailingCity", json!({ "compoundFieldName": "MailingAddress", "length": 40 })),
        ("Account", "AnnualRevenue", json!({ "type": "currency", "precision": 18, "scale": 0 })),
        ("Account", "NumberOfEmployees", json!({ "type": "int", "digits": 8, "precision": 0 })),
        ("Account", "Phone", json!({ "type": "phone", "length": 40 })),
        (
            "Lead",
            "Status",
            json!({ "defaultValue": "Open - Not Contacted", "defaultedOnCreate": true, "nillable": false }),
        ),
        ("Lead", "OwnerId", json!({ "referenceTo": ["Group", "User"], "polymorphicForeignKey": true })),
        ("Opportunity", "Amount", json!({ "type": "currency", "precision": 18, "scale": 2 })),
        ("Opportunity", "CloseDate", json!({ "type": "date", "nillable": false })),
        ("Opportunity", "ForecastCategoryName", json!({ "restrictedPicklist": true })),
        ("Case", "CaseNumber", json!({ "autoNumber": true, "createable": false, "nameField": true })),
        ("Case", "IsEscalated", json!({ "type": "boolean", "defaultValue": false, "defaultedOnCreate": true })),
        ("contact", "CreatedDate", json!({ "type": "datetime", "createable": false })),
        (
            "Contact",
            "Ext__c",
            json!({ "label": "External id", "externalId": true, "idLookup": true, "unique": true, "custom": true, "caseSensitive": false }),
        ),
        ("Plan__c", "Code__c", json!({ "caseSensitive": true })),
        ("Plan__c", "Account__c", json!({ "relationshipName": "Account__r" })),
        ("Plan__c", "Name", json!({ "nameField": true, "createable": true })),
    ] {
        let described = http.get(&format!("/sobjects/{object}/describe")).await.json();
        let field = field(&described, name);
        for (property, expected) in parts.as_object().expect("properties") {
            assert_eq!(&field[property], expected, "{object}.{name}: {property}");
        }
    }
}

#[tokio::test]
async fn picklists_show_retired_values_too() {
    let mut field_seed = FieldSeed::restricted_picklist("Tier__c", ["Gold", "Silver"]);
    field_seed.inactive_values = vec!["Tin".to_owned()];
    field_seed.default_value = Some("Silver".to_owned());
    let sim = org().with_field("Contact", field_seed).start().await.expect("the simulator starts");
    let described = Http::to(&sim).get("/sobjects/Contact/describe").await.json();
    let offered: Vec<(Value, Value, Value)> = field(&described, "Tier__c")["picklistValues"]
        .as_array()
        .expect("values")
        .iter()
        .map(|v| (v["value"].clone(), v["active"].clone(), v["defaultValue"].clone()))
        .collect();
    let entry = |value: &str, active: bool, default: bool| (json!(value), json!(active), json!(default));
    assert_eq!(offered, [entry("Gold", true, false), entry("Silver", true, true), entry("Tin", false, false)]);
}

#[tokio::test]
async fn an_unknown_object_is_not_found() {
    let sim = org().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for path in ["/sobjects/Accout/describe", "/sobjects/Accout"] {
        let reply = http.get(path).await;
        let body = json!([{ "errorCode": "NOT_FOUND", "message": "The requested resource does not exist" }]);
        assert_eq!((reply.status, reply.json()), (404, body), "{path}");
    }
}

#[tokio::test]
async fn a_changed_field_shows_at_once() {
    let sim = org().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    sim.set_field("Contact", &FieldSeed::number("Score__c", 5, 1)).expect("it is set");
    let described = http.get("/sobjects/Contact/describe").await.json();
    let score = field(&described, "Score__c");
    assert_parts("new", &score, &[("/precision", json!(5)), ("/scale", json!(1)), ("/nillable", json!(true))]);
    sim.set_field("Contact", &FieldSeed::number("Score__c", 5, 1).required()).expect("it is set");
    let described = http.get("/sobjects/Contact/describe").await.json();
    assert_eq!(field(&described, "Score__c")["nillable"], false);
    assert!(sim.set_field("Nothing", &FieldSeed::number("Score__c", 5, 1)).is_err());
}
