//! Queries.

use rsync_testkit::sim::salesforce::{FieldSeed, Quirks, SalesforceSim};
use serde_json::{Value, json};

use super::harness::{Http, org};

async fn start() -> SalesforceSim {
    let mut builder = org()
        .with_field("Contact", FieldSeed::number("Score__c", 5, 2))
        .with_field("Contact", FieldSeed::of("Flag__c", "boolean"))
        .with_field("Contact", FieldSeed::of("Seen__c", "datetime"))
        .with_record("Account", [("Name", "Acme"), ("Ext__c", "acme")]);
    for (key, last, score, flag, birth) in [
        ("1ID", "O'Neill", json!(1.5), true, json!("2000-01-31")),
        ("b", "Müller", json!(10), false, json!("1999-12-31")),
        ("C", "100%_sure", json!(null), false, json!(null)),
        ("d", "back\\slash", json!(-3), true, json!("2024-02-29")),
    ] {
        let parent = if key == "b" { json!({ "Ext__c": "acme" }) } else { json!(null) };
        let mut fields = vec![
            ("Ext__c", json!(key)),
            ("LastName", json!(last)),
            ("Score__c", score),
            ("Flag__c", json!(flag)),
            ("Birthdate", birth),
            ("Seen__c", json!("2026-01-01T00:00:00Z")),
        ];
        if parent != json!(null) {
            fields.push(("Account", parent));
        }
        builder = builder.with_record("Contact", fields);
    }
    builder.start().await.expect("the simulator starts")
}

fn keys(body: &Value) -> Vec<String> {
    let records = body["records"].as_array().unwrap_or_else(|| panic!("no records in {body}"));
    records.iter().map(|record| record["Ext__c"].as_str().expect("a key").to_owned()).collect()
}

#[tokio::test]
async fn conditions() {
    let sim = start().await;
    let http = Http::to(&sim);
    let id = sim.record_by("Contact", "Ext__c", "b").expect("seeded").id;
    let account = sim.record_by("Account", "Ext__c", "acme").expect("seeded").id;
    for (condition, expected) in [
        ("Ext__c IN ('1id', 'B', 'nobody')".to_owned(), "1ID b"),
        ("Ext__c = 'c'".to_owned(), "C"),
        ("ext__c != 'c'".to_owned(), "1ID b d"),
        ("Ext__c NOT IN ('c', 'd')".to_owned(), "1ID b"),
        (r"LastName = 'o\'neill'".to_owned(), "1ID"),
        (r"LastName = 'back\\slash'".to_owned(), "d"),
        ("LastName = 'MÜLLER'".to_owned(), "b"),
        (r"LastName LIKE '%\%\_%'".to_owned(), "C"),
        ("LastName LIKE '_ü%'".to_owned(), "b"),
        (format!("Id = '{id}'"), "b"),
        (format!("Id IN ('{}')", &id[..15]), "b"),
        (format!("AccountId = '{account}'"), "b"),
        ("Account.Name = 'ACME'".to_owned(), "b"),
        ("AccountId = null".to_owned(), "1ID C d"),
        ("Score__c = null".to_owned(), "C"),
        ("Score__c != null AND Score__c < 10".to_owned(), "1ID d"),
        ("Score__c >= 1.50".to_owned(), "1ID b"),
        ("Score__c = 1.50".to_owned(), "1ID"),
        ("Score__c IN (10, -3)".to_owned(), "b d"),
        ("Flag__c = true".to_owned(), "1ID d"),
        ("NOT Flag__c = true".to_owned(), "b C"),
        ("Birthdate > 1999-12-31".to_owned(), "1ID d"),
        ("Seen__c = 2026-01-01T01:00:00+01:00".to_owned(), "1ID b C d"),
        ("Ext__c > 'b'".to_owned(), "C d"),
        ("Flag__c = true AND (Score__c < 0 OR Score__c > 9)".to_owned(), "d"),
        ("Name = 'Müller'".to_owned(), "b"),
        ("IsDeleted = false AND OwnerId != null".to_owned(), "1ID b C d"),
        ("Ext__c = 'b' ORDER BY Ext__c".to_owned(), "b"),
        ("Ext__c != null ORDER BY Score__c".to_owned(), "C d 1ID b"),
        ("Ext__c != null ORDER BY Score__c DESC NULLS LAST".to_owned(), "b 1ID d C"),
        ("Ext__c != null ORDER BY Flag__c, Ext__c DESC LIMIT 3 OFFSET 1".to_owned(), "b d 1ID"),
    ] {
        let reply = http.query(&format!("SELECT Ext__c FROM Contact WHERE {condition}")).await;
        assert_eq!(reply.status, 200, "{condition}: {}", reply.text);
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(keys(&reply.json()), expected, "{condition}");
    }
}

#[tokio::test]
async fn records_have_what_was_selected() {
    let sim = start().await;
    let text =
        "SELECT Id, LastName, Account.Name, Account.Owner.Username, Score__c FROM Contact WHERE Ext__c IN ('b','c')";
    let body = Http::to(&sim).query(text).await.json();
    let id = sim.record_by("Contact", "Ext__c", "b").expect("seeded").id;
    let account = sim.record_by("Account", "Ext__c", "acme").expect("seeded").id;
    let user = &sim.records("User")[0].id;
    let attributes = |object: &str, id: &str| json!({ "type": object, "url": format!("/services/data/v66.0/sobjects/{object}/{id}") });
    assert_eq!((&body["totalSize"], &body["done"], body.get("nextRecordsUrl")), (&json!(2), &json!(true), None));
    assert_eq!(
        body["records"][0],
        json!({
            "attributes": attributes("Contact", &id),
            "Id": id,
            "LastName": "Müller",
            "Account": {
                "attributes": attributes("Account", &account),
                "Name": "Acme",
                "Owner": { "attributes": attributes("User", user), "Username": "integration@example.com" },
            },
            "Score__c": 10.0,
        })
    );
    assert_eq!((&body["records"][1]["Account"], &body["records"][1]["Score__c"]), (&Value::Null, &Value::Null));
    let count = Http::to(&sim).query("SELECT COUNT() FROM Contact WHERE Flag__c = true").await.json();
    assert_eq!(count, json!({ "totalSize": 2, "done": true, "records": [] }));
}

#[tokio::test]
async fn wrong_queries() {
    let sim = start().await;
    let http = Http::to(&sim);
    for (text, code, part) in [
        ("", "MALFORMED_QUERY", "query string"),
        ("SELECT Id FROM", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT Id FROM Contact WHERE", "MALFORMED_QUERY", "unexpected token"),
        ("SELECT * FROM Contact", "MALFORMED_QUERY", "unexpected token: '*'"),
        ("SELECT Id FROM Contact WHERE LastName = O'Neill'", "MALFORMED_QUERY", "Row:1:Column:41"),
        ("SELECT Id FROM Accout", "INVALID_TYPE", "sObject type 'Accout' is not supported."),
        ("SELECT Nope FROM Contact", "INVALID_FIELD", "No such column 'Nope' on entity 'Contact'"),
        ("SELECT Nope.Name FROM Contact", "INVALID_FIELD", "Didn't understand relationship 'Nope'"),
        ("SELECT Id FROM Contact WHERE LastName = 5", "INVALID_FIELD", "must be of type string and should be"),
        ("SELECT Id FROM Contact WHERE Score__c = '5'", "INVALID_FIELD", "must be of type double and should not be"),
        ("SELECT Id FROM Contact WHERE Flag__c = 'true'", "INVALID_FIELD", "of type boolean"),
        ("SELECT Id FROM Contact WHERE Birthdate = '2000-01-01'", "INVALID_FIELD", "of type date"),
        ("SELECT Id FROM Contact WHERE Description = 'x'", "INVALID_FIELD", "can not be filtered"),
        ("SELECT Id FROM Contact WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: x"),
        ("SELECT Id FROM Contact WHERE Score__c > null", "INVALID_FIELD", "Null comparison"),
        ("SELECT Id FROM Contact WHERE Score__c LIKE '1%'", "INVALID_QUERY_FILTER_OPERATOR", "double"),
    ] {
        let reply = http.query(text).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{text}: {}", reply.text);
        let message = reply.json()[0]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[tokio::test]
async fn pages() {
    let quirks = Quirks { query_page_size: 300, ..Quirks::default() };
    let mut builder = org().with_quirks(quirks);
    for i in 0..750 {
        builder = builder.with_record("Contact", [("LastName", "L".to_owned()), ("Ext__c", format!("k{i:04}"))]);
    }
    let sim = builder.start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let q = "/query/?q=SELECT+Ext__c+FROM+Contact";
    for (options, sizes) in [
        ("", vec![300, 300, 150]),
        ("batchSize=200", vec![200, 200, 200, 150]),
        ("batchSize=9", vec![200, 200, 200, 150]),
    ] {
        let headers = [("sforce-query-options", options)];
        let mut reply = http.with_headers(reqwest::Method::GET, q, &headers, None).await.expect("an answer");
        let mut seen = Vec::new();
        let mut counts = Vec::new();
        loop {
            let body = reply.json();
            assert_eq!(body["totalSize"], 750);
            counts.push(keys(&body).len());
            seen.extend(keys(&body));
            let Some(next) = body["nextRecordsUrl"].as_str() else {
                assert_eq!(body["done"], true);
                break;
            };
            assert!(next.starts_with("/services/data/v66.0/query/01g") && body["done"] == false, "{body}");
            reply = http.get(next).await;
        }
        assert_eq!(counts, sizes, "{options}");
        assert_eq!(seen, (0..750).map(|i| format!("k{i:04}")).collect::<Vec<_>>());
    }
    for path in ["/query/01gxx-200", "/query/nonsense"] {
        assert_eq!(http.get(path).await.code(), "INVALID_QUERY_LOCATOR", "{path}");
    }
}

#[tokio::test]
async fn the_recycle_bin_is_queried_apart() {
    let sim = start().await;
    let http = Http::to(&sim);
    let id = sim.record_by("Contact", "Ext__c", "b").expect("seeded").id;
    http.delete(&format!("/sobjects/Contact/{id}")).await;
    let q = "?q=SELECT+Ext__c+FROM+Contact+WHERE+Ext__c+IN+('b','c')";
    assert_eq!(keys(&http.get(&format!("/query{q}")).await.json()), ["C"]);
    assert_eq!(keys(&http.get(&format!("/queryAll{q}")).await.json()), ["b", "C"]);
}
