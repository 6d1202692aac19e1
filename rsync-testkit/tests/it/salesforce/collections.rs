//! sObject Collections.

use rsync_testkit::sim::salesforce::{
    AllFailedStatus, CreatedFlag, FailedIds, FieldSeed, Quirks, RowFault, SalesforceSim, UpdateOnlyMiss,
};
use serde_json::{Value, json};

use super::harness::{Http, contact, org, typed};

const ALL: &str = "/composite/sobjects";
const BY_KEY: &str = "/composite/sobjects/Contact/Ext__c";

async fn start() -> SalesforceSim {
    org()
        .with_record("Account", [("Name", "Acme"), ("Ext__c", "a-1")])
        .with_record("Contact", [("LastName", "Lovelace"), ("Ext__c", "c-1"), ("Email", "ada@example.com")])
        .with_record("Contact", [("LastName", "Babbage"), ("Ext__c", "c-2"), ("Email", "same@example.com")])
        .with_record("Contact", [("LastName", "Bell"), ("Ext__c", "c-3"), ("Email", "same@example.com")])
        .start()
        .await
        .expect("the simulator starts")
}

fn id_of(sim: &SalesforceSim, key: &str) -> String {
    sim.record_by("Contact", "Ext__c", key).expect("stored").id
}

fn codes(body: &Value) -> Vec<String> {
    let code = |entry: &Value| entry["errors"][0]["statusCode"].as_str().unwrap_or("ok").to_owned();
    body.as_array().expect("a list").iter().map(code).collect()
}

fn contact_row(fields: &Value) -> Value {
    typed("Contact", fields, &json!({}))
}

#[tokio::test]
async fn requests_are_refused_as_a_whole() {
    let sim = start().await;
    let http = Http::to(&sim);
    let rows = |count: usize| -> Vec<Value> { (0..count).map(|i| contact(&format!("k{i}"), &json!({}))).collect() };
    let alternating: Vec<Value> = (0..11)
        .map(|i| {
            if i % 2 == 0 {
                contact_row(&json!({ "LastName": "L" }))
            } else {
                typed("Account", &json!({ "Name": "A" }), &json!({}))
            }
        })
        .collect();
    let untyped = json!({ "LastName": "L", "Ext__c": "k" });
    for (name, path, body, status, code) in [
        ("empty", BY_KEY, json!({ "records": [] }), 400, "REQUIRED_FIELD_MISSING"),
        ("absent", BY_KEY, json!({}), 400, "REQUIRED_FIELD_MISSING"),
        ("200", BY_KEY, json!({ "records": rows(200) }), 200, ""),
        ("201", BY_KEY, json!({ "records": rows(201) }), 400, "EXCEEDED_ID_LIMIT"),
        ("unknown property", BY_KEY, json!({ "records": rows(1), "allornone": true }), 400, "JSON_PARSER_ERROR"),
        ("flag as text", BY_KEY, json!({ "records": rows(1), "allOrNone": "false" }), 400, "JSON_PARSER_ERROR"),
        ("no type", BY_KEY, json!({ "records": [untyped] }), 400, "INVALID_FIELD"),
        (
            "other type",
            BY_KEY,
            json!({ "records": [typed("Account", &json!({ "Name": "A" }), &json!({}))] }),
            400,
            "INVALID_TYPE",
        ),
        ("unknown type", ALL, json!({ "records": [typed("Accout", &json!({}), &json!({}))] }), 400, "INVALID_TYPE"),
        ("chunks", ALL, json!({ "records": alternating }), 400, "JSON_PARSER_ERROR"),
        ("unknown key", "/composite/sobjects/Contact/Nope__c", json!({ "records": rows(1) }), 404, "NOT_FOUND"),
        ("no key", "/composite/sobjects/Contact/LastName", json!({ "records": rows(1) }), 404, "NOT_FOUND"),
        ("unknown object", "/composite/sobjects/Nope/Ext__c", json!({ "records": rows(1) }), 404, "NOT_FOUND"),
        ("a text as record", BY_KEY, json!({ "records": ["x"] }), 400, "JSON_PARSER_ERROR"),
    ] {
        // An update and an upsert share their method; a creation is a POST.
        let code = if name == "chunks" { "LIMIT_EXCEEDED" } else { code };
        let reply = http.patch(path, &body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{name}: {}", reply.text);
    }
    assert_eq!(sim.records("Contact").len(), 3 + 200, "only one request was carried out");
    let unknown = http.patch("/composite/sobjects/Contact/Nope__c", &json!({ "records": rows(1) })).await;
    let message = "Provided external ID field does not exist or is not accessible: Nope__c";
    assert_eq!(unknown.json()[0]["message"], message);
}

#[tokio::test]
async fn create() {
    let sim = start().await;
    let http = Http::to(&sim);
    let rows = [
        contact_row(&json!({ "LastName": "New", "Email": "New@Example.com" })),
        contact_row(&json!({ "FirstName": "No last name" })),
        contact_row(&json!({ "LastName": "L", "id": "003ak0000000001AAA" })),
        contact_row(&json!({ "LastName": "L", "Nope__c": 1, "Email": "bad" })),
        contact_row(&json!({ "LastName": "L", "Name": "Full", "CreatedDate": "2020-01-01T00:00:00Z" })),
        contact_row(&json!({ "LastName": "L", "Ext__c": "C-1" })),
        typed("Account", &json!({ "Name": "Acme" }), &json!({})),
    ];
    let reply = http.post(ALL, &json!({ "records": rows })).await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    let created = &body[0];
    assert_eq!((&created["success"], &created["errors"], created.get("created")), (&json!(true), &json!([]), None));
    let id = created["id"].as_str().expect("an id");
    assert!(id.starts_with("003") && id.len() == 18, "{id}");
    assert_eq!(sim.record_by("Contact", "Id", id).expect("stored").fields["Email"], "new@example.com");
    assert!(body[6]["id"].as_str().expect("an id").starts_with("001"));

    let error =
        |code: &str, message: &str, fields: Value| json!({ "statusCode": code, "message": message, "fields": fields });
    let failed = |errors: Value| json!({ "success": false, "errors": errors });
    let c1 = id_of(&sim, "c-1");
    for (row, expected) in [
        (1, json!([error("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", json!(["LastName"]))])),
        (2, json!([error("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", json!(["Id"]))])),
        (
            3,
            json!([
                error("INVALID_EMAIL_ADDRESS", "Email: invalid email address: bad", json!(["Email"])),
                error("INVALID_FIELD", "No such column 'Nope__c' on sobject of type Contact", json!([])),
            ]),
        ),
        (
            4,
            json!([error(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                "Unable to create/update fields: CreatedDate, Name. Please check the security settings of this field \
                 and verify that it is read/write for your profile or permission set.",
                json!(["CreatedDate", "Name"])
            )]),
        ),
        (
            5,
            json!([error(
                "DUPLICATE_VALUE",
                &format!("duplicate value found: Ext__c duplicates value on record with id: {c1}"),
                json!([])
            )]),
        ),
    ] {
        assert_eq!(body[row], failed(expected), "row {row}");
    }
    let stats = sim.stats();
    assert_eq!((stats.rows_received, stats.rows_created, stats.rows_failed, stats.write_requests), (7, 2, 5, 1));
    assert_eq!(sim.journal().entries().last().expect("a request").rows, Some(7));
}

#[tokio::test]
async fn update() {
    let sim = start().await;
    let http = Http::to(&sim);
    let (first, second) = (id_of(&sim, "c-1"), id_of(&sim, "c-2"));
    let gone = sim.add_record("Contact", [("LastName", "Gone")]).expect("added");
    assert_eq!(http.delete(&format!("{ALL}?ids={gone}")).await.json()[0]["success"], true);
    let account = sim.record_by("Account", "Ext__c", "a-1").expect("seeded").id;
    let rows = [
        contact_row(&json!({ "id": first, "FirstName": "Ada" })),
        contact_row(&json!({ "Id": second[..15], "Title": null })),
        contact_row(&json!({ "FirstName": "Nobody" })),
        contact_row(&json!({ "id": null, "FirstName": "Nobody" })),
        contact_row(&json!({ "id": "003xx", "FirstName": "Nobody" })),
        contact_row(&json!({ "id": account, "FirstName": "Nobody" })),
        contact_row(&json!({ "id": "003ak000000000zAAA", "FirstName": "Nobody" })),
        contact_row(&json!({ "id": gone, "FirstName": "Nobody" })),
        contact_row(&json!({ "id": first, "LastName": null })),
    ];
    let reply = http.patch(ALL, &json!({ "records": rows })).await;
    let body = reply.json();
    assert_eq!(reply.status, 200);
    assert_eq!(
        codes(&body),
        [
            "ok",
            "ok",
            "MISSING_ARGUMENT",
            "MISSING_ARGUMENT",
            "MALFORMED_ID",
            "MALFORMED_ID",
            "INVALID_CROSS_REFERENCE_KEY",
            "ENTITY_IS_DELETED",
            "REQUIRED_FIELD_MISSING"
        ]
    );
    assert_eq!(body[1], json!({ "id": second, "success": true, "errors": [] }));
    let wrong_type = &body[5]["errors"][0];
    let message = format!("Contact ID: id value of incorrect type: {account}");
    assert_eq!((&wrong_type["message"], &wrong_type["fields"]), (&json!(message), &json!(["Id"])));
    assert_eq!(sim.record_by("Contact", "Id", &first).expect("stored").fields["FirstName"], "Ada");
}

#[tokio::test]
async fn one_record_is_updated_twelve_times_at_most() {
    let sim = start().await;
    let id = id_of(&sim, "c-1");
    let rows: Vec<Value> = (0..14).map(|i| contact_row(&json!({ "id": id, "Title": format!("t{i}") }))).collect();
    let body = Http::to(&sim).patch(ALL, &json!({ "records": rows })).await.json();
    let expected: Vec<&str> = (0..14).map(|i| if i < 12 { "ok" } else { "DUPLICATE_VALUE" }).collect();
    assert_eq!(codes(&body), expected);
    assert_eq!(sim.record_by("Contact", "Id", &id).expect("stored").fields["Title"], "t11");
    assert_eq!(sim.stats().max_writes_per_record(), 12);
}

#[tokio::test]
async fn upsert() {
    let sim = start().await;
    let http = Http::to(&sim);
    let existing = id_of(&sim, "c-1");
    let rows = [
        contact("C-1", &json!({ "FirstName": "Ada" })),
        contact("new", &json!({ "extra": 1 })),
        contact("new-2", &json!({})),
        contact_row(&json!({ "LastName": "No key" })),
        contact("k", &json!({ "Ext__c": null })),
        contact("twice", &json!({})),
        contact("TWICE", &json!({})),
        contact("k", &json!({ "Id": existing })),
    ];
    let reply = http.patch(BY_KEY, &json!({ "records": rows, "allOrNone": false })).await;
    let body = reply.json();
    assert_eq!(
        codes(&body),
        [
            "ok",
            "INVALID_FIELD",
            "ok",
            "MISSING_ARGUMENT",
            "MISSING_ARGUMENT",
            "DUPLICATE_VALUE",
            "DUPLICATE_VALUE",
            "INVALID_FIELD"
        ]
    );
    assert_eq!(body[0], json!({ "id": existing, "success": true, "errors": [], "created": false }));
    assert_eq!((&body[2]["created"], &body[1]["created"]), (&json!(true), &json!(true)));
    assert_eq!(body[1].get("id"), None, "a failed row has no id");
    assert_eq!(body[5]["errors"][0]["message"], "Duplicate external id specified: twice");
    let record = sim.record_by("Contact", "Id", &existing).expect("stored");
    assert_eq!((&*record.fields["Ext__c"], &*record.fields["FirstName"]), ("C-1", "Ada"));
    let stats = sim.stats();
    assert_eq!((stats.rows_created, stats.rows_updated, stats.rows_failed), (1, 1, 6));
    assert_eq!(stats.rows_written(), 2);
}

#[tokio::test]
async fn keys_fold_case_only_where_the_field_does() {
    let sim = start().await;
    let http = Http::to(&sim);
    for (code, created) in [("x", true), ("X", true), ("x", false)] {
        let row = typed("Plan__c", &json!({ "Code__c": code }), &json!({}));
        let body = http.patch("/composite/sobjects/Plan__c/Code__c", &json!({ "records": [row] })).await.json();
        assert_eq!(body[0]["created"], created, "{code}");
    }
    let row =
        |email: &str| json!({ "records": [typed("Contact", &json!({ "Email": email, "LastName": "L" }), &json!({}))] });
    let by_email = "/composite/sobjects/contact/email";
    let body = http.patch(by_email, &row("ADA@example.com")).await.json();
    assert_eq!((&body[0]["created"], &body[0]["id"]), (&json!(false), &json!(id_of(&sim, "c-1"))));
    let body = http.patch(by_email, &row("same@example.com")).await.json();
    assert_eq!(codes(&body), ["DUPLICATE_EXTERNAL_ID"], "two contacts have this address");
    let message = body[0]["errors"][0]["message"].as_str().expect("a message");
    let ids = format!("[{}, {}]", id_of(&sim, "c-2"), id_of(&sim, "c-3"));
    assert_eq!(message, format!("Email: more than one record found for external id field: {ids}"));
}

#[tokio::test]
async fn the_id_is_a_key_too() {
    let sim = start().await;
    let id = id_of(&sim, "c-1");
    let rows =
        [contact_row(&json!({ "Id": null, "LastName": "New" })), contact_row(&json!({ "Id": id, "Title": "t" }))];
    let body = Http::to(&sim).patch("/composite/sobjects/Contact/Id", &json!({ "records": rows })).await.json();
    assert_eq!((&body[0]["created"], &body[1]["created"]), (&json!(true), &json!(false)));
    assert_eq!(body[1]["id"], json!(id));
}

#[tokio::test]
async fn update_only() {
    for (miss, code) in [
        (UpdateOnlyMiss::NotFound, "NOT_FOUND"),
        (UpdateOnlyMiss::InvalidCrossReference, "INVALID_CROSS_REFERENCE_KEY"),
    ] {
        let quirks = Quirks { update_only_miss: miss, ..Quirks::default() };
        let sim = org()
            .with_quirks(quirks)
            .with_record("Contact", [("LastName", "L"), ("Ext__c", "c-1")])
            .start()
            .await
            .expect("the simulator starts");
        let rows = [contact("c-1", &json!({ "Title": "t" })), contact("c-9", &json!({}))];
        let path = format!("{BY_KEY}?updateOnly=true");
        let body = Http::to(&sim).patch(&path, &json!({ "records": rows })).await.json();
        assert_eq!(codes(&body), ["ok", code]);
        assert_eq!(sim.records("Contact").len(), 1);
    }
}

#[tokio::test]
async fn all_or_none_takes_everything_back() {
    let sim = start().await;
    let http = Http::to(&sim);
    let rows = [
        contact("c-1", &json!({ "LastName": "Changed" })),
        contact("new", &json!({})),
        contact("c-2", &json!({ "Email": "bad" })),
    ];
    let reply = http.patch(BY_KEY, &json!({ "allOrNone": true, "records": rows })).await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    let rolled_back = "ALL_OR_NONE_OPERATION_ROLLED_BACK";
    assert_eq!(codes(&body), [rolled_back, rolled_back, "INVALID_EMAIL_ADDRESS"]);
    assert_eq!(sim.records("Contact").len(), 3);
    assert_eq!(sim.record_by("Contact", "Ext__c", "c-1").expect("stored").fields["LastName"], "Lovelace");
    assert_eq!(sim.stats().rows_written(), 0);
    let body = http.patch(BY_KEY, &json!({ "records": rows })).await.json();
    assert_eq!(codes(&body), ["ok", "ok", "INVALID_EMAIL_ADDRESS"], "each row stands for itself otherwise");
    assert_eq!(sim.records("Contact").len(), 4);
}

#[tokio::test]
async fn delete() {
    let sim = start().await;
    let http = Http::to(&sim);
    let (first, second) = (id_of(&sim, "c-1"), id_of(&sim, "c-2"));
    let body = http.delete(&format!("{ALL}?ids={first}%2C{}&allOrNone=false", &second[..15])).await.json();
    assert_eq!(
        body,
        json!([{ "id": first, "success": true, "errors": [] }, { "id": second, "success": true, "errors": [] }])
    );
    let body = http.delete(&format!("{ALL}?ids={first},003ak000000000zAAA,nonsense")).await.json();
    assert_eq!(codes(&body), ["ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID"]);
    assert_eq!(sim.stats().rows_deleted, 2);
    let third = id_of(&sim, "c-3");
    let body = http.delete(&format!("{ALL}?ids={third},{first}&allOrNone=true")).await.json();
    assert_eq!(codes(&body), ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "ENTITY_IS_DELETED"]);
    assert!(sim.record_by("Contact", "Id", &third).is_some());
    assert_eq!(http.delete(&format!("{ALL}?ids=")).await.code(), "REQUIRED_FIELD_MISSING");
    // The key of a deleted record is free again.
    let body = http.upsert(&[("c-1", json!({}))]).await.json();
    assert_eq!(body[0]["created"], true);
    assert_ne!(body[0]["id"], json!(first));
}

#[tokio::test]
async fn retrieve() {
    let sim = start().await;
    let http = Http::to(&sim);
    let id = id_of(&sim, "c-1");
    let attributes = json!({ "type": "Contact", "url": format!("/services/data/v66.0/sobjects/Contact/{id}") });
    let expected = json!([{ "attributes": attributes, "LastName": "Lovelace", "Title": null }, null]);
    let ids = format!("{id},003ak000000000zAAA");
    let listed = http.get(&format!("/composite/sobjects/Contact?ids={ids}&fields=LastName,Title")).await;
    assert_eq!(listed.json(), expected);
    let asked = json!({ "ids": [id, "003ak000000000zAAA"], "fields": ["LastName", "Title"] });
    assert_eq!(http.post("/composite/sobjects/Contact", &asked).await.json(), expected);
    let unknown = http.get(&format!("/composite/sobjects/Contact?ids={ids}&fields=Nope")).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (400, "INVALID_FIELD"));
    assert_eq!(sim.stats().write_requests, 0);
}

#[tokio::test]
async fn parents_by_external_id() {
    let sim = start().await;
    let http = Http::to(&sim);
    let account = sim.record_by("Account", "Ext__c", "a-1").expect("seeded").id;
    let user = sim.records("User")[0].id.clone();
    let link = |value: Value| json!({ "Account": value });
    for (fields, code, message) in [
        (link(json!({ "Ext__c": "A-1" })), "ok", ""),
        (link(json!({ "attributes": { "type": "Account" }, "Ext__c": "a-1" })), "ok", ""),
        (json!({ "Owner": { "attributes": { "type": "User" }, "Email": "integration@example.com" } }), "ok", ""),
        (json!({ "AccountId": null }), "ok", ""),
        (
            link(json!({ "Ext__c": "a-9" })),
            "INVALID_FIELD",
            "Foreign key external ID: a-9 not found for field Ext__c in entity Account",
        ),
        (
            link(json!({ "Phone": "1" })),
            "INVALID_FIELD",
            "Field name provided, Phone is not an External ID or indexed field for Account",
        ),
        (link(json!({})), "INVALID_FIELD", "The external foreign key reference Account must name exactly one field"),
        (link(json!({ "Ext__c": null })), "INVALID_FIELD", "Foreign key external ID: null"),
        (
            json!({ "Account": { "Ext__c": "a-1" }, "AccountId": account }),
            "INVALID_FIELD",
            "cannot specify both an external ID reference Account and a salesforce id, AccountId",
        ),
    ] {
        let body = http.upsert(&[("child", fields.clone())]).await.json();
        assert_eq!(codes(&body), [code], "{fields}: {body}");
        let said = body[0]["errors"][0]["message"].as_str().unwrap_or_default();
        assert!(said.starts_with(message), "{fields}: {said}");
        let child = sim.record_by("Contact", "Ext__c", "child").expect("stored");
        if code == "ok" && fields.get("Account").is_some() {
            assert_eq!(child.fields["AccountId"], account);
        }
        if fields == json!({ "AccountId": null }) {
            assert_eq!(child.fields.get("AccountId"), None);
        }
        assert_eq!(child.fields["OwnerId"], user);
    }
    assert_eq!(http.upsert(&[("child", json!({ "Account": null }))]).await.status, 400);
    // A lead's owner may be a group, so the type has to be said.
    let lead = |owner: Value| {
        let record =
            typed("Lead", &json!({ "Ext__c": "l", "LastName": "L", "Company": "C" }), &json!({ "Owner": owner }));
        json!({ "records": [record] })
    };
    for (owner, code) in [
        (json!({ "Email": "integration@example.com" }), "INVALID_FIELD"),
        (json!({ "attributes": { "type": "User" }, "Email": "integration@example.com" }), "ok"),
        (json!({ "attributes": { "type": "Account" }, "Ext__c": "a-1" }), "INVALID_FIELD"),
    ] {
        let body = http.patch("/composite/sobjects/Lead/Ext__c", &lead(owner.clone())).await.json();
        assert_eq!(codes(&body), [code], "{owner}: {body}");
    }
}

#[tokio::test]
async fn parents_are_looked_up_before_anything_is_written() {
    let sim = start().await;
    let rows = [contact("boss", &json!({})), contact("clerk", &json!({ "ReportsTo": { "Ext__c": "boss" } }))];
    let http = Http::to(&sim);
    let body = http.patch(BY_KEY, &json!({ "records": rows })).await.json();
    assert_eq!(codes(&body), ["ok", "INVALID_FIELD"]);
    let body = http.patch(BY_KEY, &json!({ "records": rows })).await.json();
    assert_eq!(codes(&body), ["ok", "ok"], "the boss is there now");
}

#[tokio::test]
async fn row_faults() {
    let sim = start().await;
    let http = Http::to(&sim);
    sim.fail_rows(RowFault::new("Contact", "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access").times(2));
    let limit = "ContactTrigger: System.LimitException: Too many SOQL queries: 101";
    sim.fail_rows(RowFault::new("Contact", "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", limit).above_rows(3));
    sim.fail_rows(RowFault::new("Contact", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "no").when("Title", "bad"));
    let rows = |count: usize| -> Vec<(String, Value)> {
        (0..count).map(|i| (format!("k{i}"), json!({ "Title": "ok" }))).collect()
    };
    let upsert = async |rows: Vec<(String, Value)>| {
        let rows: Vec<(&str, Value)> = rows.iter().map(|(key, fields)| (key.as_str(), fields.clone())).collect();
        codes(&http.upsert(&rows).await.json())
    };
    assert_eq!(upsert(rows(3)).await, ["UNABLE_TO_LOCK_ROW", "UNABLE_TO_LOCK_ROW", "ok"]);
    assert_eq!(upsert(rows(3)).await, ["ok", "ok", "ok"]);
    assert_eq!(upsert(rows(4)).await, vec!["CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"; 4]);
    let bad = vec![("a".to_owned(), json!({ "Title": "bad" })), ("b".to_owned(), json!({ "Title": "good" }))];
    assert_eq!(upsert(bad.clone()).await, ["FIELD_CUSTOM_VALIDATION_EXCEPTION", "ok"]);
    sim.clear_row_faults();
    assert_eq!(upsert(bad).await, ["ok", "ok"]);
    assert_eq!(upsert(rows(4)).await, vec!["ok"; 4]);
}

#[tokio::test]
async fn converted_leads_and_read_only_objects() {
    let sim = start().await;
    let http = Http::to(&sim);
    let lead = |fields: &Value| {
        let own = json!({ "Ext__c": "l", "LastName": "L", "Company": "C" });
        json!({ "records": [typed("Lead", &own, fields)] })
    };
    let path = "/composite/sobjects/Lead/Ext__c";
    assert_eq!(codes(&http.patch(path, &lead(&json!({ "IsConverted": true }))).await.json()), ["ok"]);
    let body = http.patch(path, &lead(&json!({}))).await.json();
    let expected = json!([{ "statusCode": "CANNOT_UPDATE_CONVERTED_LEAD", "message": "cannot reference converted lead", "fields": [] }]);
    assert_eq!(body[0]["errors"], expected);
    let status = sim.record_by("Lead", "Ext__c", "l").expect("stored").fields["Status"].clone();
    assert_eq!(status, "Open - Not Contacted", "creation fills it in");
    let user = json!({ "records": [typed("User", &json!({ "Username": "x" }), &json!({}))] });
    assert_eq!(http.post(ALL, &user).await.code(), "INVALID_TYPE");
}

#[tokio::test]
async fn malformed_values_stop_the_request() {
    let sim = start().await;
    let http = Http::to(&sim);
    let rows = [contact("a", &json!({})), contact("b", &json!({ "Birthdate": "soon" }))];
    let reply = http.patch(BY_KEY, &json!({ "records": rows })).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "JSON_PARSER_ERROR"));
    assert_eq!(sim.records("Contact").len(), 3, "nothing was written");
    let twice = format!(
        r#"{{"records":[{{"attributes":{{"type":"Contact"}},{}}}]}}"#,
        r#""Ext__c":"a","LASTNAME":"x","LastName":"y""#
    );
    let reply = http.send(reqwest::Method::PATCH, BY_KEY, Some(twice)).await.expect("an answer");
    assert_eq!((reply.status, reply.code().as_str()), (400, "JSON_PARSER_ERROR"), "one field twice");
}

#[tokio::test]
async fn unsettled_answers_are_switches() {
    let quirks = Quirks {
        all_failed_status: AllFailedStatus::BadRequest,
        created_flag: CreatedFlag::Omitted,
        failed_ids: FailedIds::Shown,
        ..Quirks::default()
    };
    let sim = org()
        .with_quirks(quirks)
        .with_field("Contact", FieldSeed::text("Short__c", 1))
        .with_record("Contact", [("LastName", "L"), ("Ext__c", "c-1")])
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let bad = json!({ "Short__c": "long" });
    let reply = http.upsert(&[("c-1", bad.clone()), ("new", bad.clone())]).await;
    let body = reply.json();
    assert_eq!(reply.status, 400);
    assert_eq!(codes(&body), ["STRING_TOO_LONG", "STRING_TOO_LONG"]);
    assert_eq!((&body[0]["id"], body[1].get("id"), body[0].get("created")), (&json!(id_of(&sim, "c-1")), None, None));
    assert_eq!(http.upsert(&[("c-1", bad), ("new", json!({}))]).await.status, 200, "one row did not fail");
}
