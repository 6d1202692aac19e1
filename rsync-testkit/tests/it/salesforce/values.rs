//! Values against the rules of their fields.

use rsync_testkit::sim::salesforce::{
    EmptyText, ExtraDecimals, FieldSeed, MalformedValues, OuterWhitespace, Quirks, SalesforceSim,
};
use serde_json::{Value, json};

use super::harness::{Http, org};

async fn typed(quirks: Quirks) -> SalesforceSim {
    let label = |field: FieldSeed, label: &str| field.with_label(label);
    org()
        .with_quirks(quirks)
        .with_field("Contact", label(FieldSeed::text("Text__c", 5), "My text"))
        .with_field("Contact", label(FieldSeed::of("Mail__c", "email"), "Mail"))
        .with_field("Contact", label(FieldSeed::restricted_picklist("Color__c", ["Red", "Green"]), "Color"))
        .with_field("Contact", FieldSeed::picklist("Mood__c", ["Good"]))
        .with_field("Contact", {
            let mut field = FieldSeed::restricted_picklist("Colors__c", ["Red", "Green"]);
            field.kind = "multipicklist".to_owned();
            field
        })
        .with_field("Contact", FieldSeed::of("Flag__c", "boolean"))
        .with_field("Contact", label(FieldSeed::of("Count__c", "int"), "Count"))
        .with_field("Contact", FieldSeed::of("Big__c", "long"))
        .with_field("Contact", label(FieldSeed::number("Score__c", 5, 2), "Score"))
        .with_field("Contact", FieldSeed::of("Price__c", "currency"))
        .with_field("Contact", FieldSeed::of("Share__c", "percent"))
        .with_field("Contact", FieldSeed::of("Day__c", "date"))
        .with_field("Contact", FieldSeed::of("At__c", "datetime"))
        .with_field("Contact", FieldSeed::of("Time__c", "time"))
        .with_field("Contact", label(FieldSeed::lookup("Friend__c", "Contact"), "Friend"))
        .with_record("Contact", [("LastName", "Friend"), ("Ext__c", "friend")])
        .with_record("Account", [("Name", "Parent"), ("Ext__c", "parent")])
        .start()
        .await
        .expect("the simulator starts")
}

/// What is stored after an upsert of one value: `Ok(None)` is null. An error is its status, code, message and field.
async fn stored(sim: &SalesforceSim, field: &str, value: &Value) -> Result<Option<String>, (u16, String, String)> {
    let reply = Http::to(sim).upsert(&[("k", json!({ field: value }))]).await;
    if reply.status != 200 {
        return Err((reply.status, reply.code(), reply.json()[0]["message"].as_str().unwrap_or_default().to_owned()));
    }
    let result = reply.json()[0].clone();
    if result["success"] == true {
        let record = sim.record_by("Contact", "Ext__c", "k").expect("stored");
        return Ok(record.fields.get(field).cloned());
    }
    assert_eq!(result["errors"][0]["fields"], json!([field]), "{result}");
    let text = |name: &str| result["errors"][0][name].as_str().unwrap_or_default().to_owned();
    Err((200, text("statusCode"), text("message")))
}

fn ok(text: &str) -> Result<Option<String>, (u16, &'static str, String)> {
    Ok(Some(text.to_owned()))
}

fn row(code: &'static str, message: &str) -> Result<Option<String>, (u16, &'static str, String)> {
    Err((200, code, message.to_owned()))
}

fn parser(message: &str) -> Result<Option<String>, (u16, &'static str, String)> {
    Err((400, "JSON_PARSER_ERROR", message.to_owned()))
}

#[tokio::test]
async fn each_type() {
    let sim = typed(Quirks::default()).await;
    let friend = sim.record_by("Contact", "Ext__c", "friend").expect("seeded").id;
    let account = sim.record_by("Account", "Ext__c", "parent").expect("seeded").id;
    let not_of = |word: &str, token: &str, value: &str| {
        parser(&format!("Cannot deserialize instance of {word} from {token} value {value}"))
    };
    for (field, value, expected) in [
        ("Text__c", json!("äöü€😀"), ok("äöü€😀")),
        ("Text__c", json!("abcdef"), row("STRING_TOO_LONG", "My text: data value too large: abcdef (max length=5)")),
        ("Text__c", json!("#N/A"), ok("#N/A")),
        ("Text__c", json!(null), Ok(None)),
        ("Text__c", json!(""), Ok(None)),
        ("Text__c", json!("  a  "), ok("a")),
        ("Text__c", json!(5), not_of("string", "VALUE_NUMBER_INT", "5")),
        ("Text__c", json!(true), not_of("string", "VALUE_TRUE", "true")),
        ("Text__c", json!(["a"]), not_of("string", "START_ARRAY", "[")),
        ("Text__c", json!("a\u{0}"), parser("Illegal character ((CTRL-CHAR, code 0))")),
        ("Mail__c", json!("Ada.L+x@Example.CO.uk"), ok("ada.l+x@example.co.uk")),
        ("Mail__c", json!("badone"), row("INVALID_EMAIL_ADDRESS", "Mail: invalid email address: badone")),
        ("Mail__c", json!("a@b"), row("INVALID_EMAIL_ADDRESS", "Mail: invalid email address: a@b")),
        ("Mail__c", json!("a b@c.de"), row("INVALID_EMAIL_ADDRESS", "Mail: invalid email address: a b@c.de")),
        ("Mail__c", json!("a@b@c.de"), row("INVALID_EMAIL_ADDRESS", "Mail: invalid email address: a@b@c.de")),
        ("Mail__c", json!(""), Ok(None)),
        ("Color__c", json!("Red"), ok("Red")),
        (
            "Color__c",
            json!("Purple"),
            row("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "Color: bad value for restricted picklist field: Purple"),
        ),
        ("Color__c", json!(""), Ok(None)),
        ("Mood__c", json!("Splendid"), ok("Splendid")),
        ("Colors__c", json!("Green;Red"), ok("Green;Red")),
        (
            "Colors__c",
            json!("Red;Blue"),
            row("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "Colors__c: bad value for restricted picklist field: Blue"),
        ),
        ("Flag__c", json!(true), ok("true")),
        ("Flag__c", json!(false), ok("false")),
        ("Flag__c", json!(null), row("INVALID_TYPE_ON_FIELD_IN_RECORD", "Flag__c: value not of required type: null")),
        ("Flag__c", json!("true"), not_of("boolean", "VALUE_STRING", "true")),
        ("Flag__c", json!(1), not_of("boolean", "VALUE_NUMBER_INT", "1")),
        ("Count__c", json!(-7), ok("-7")),
        ("Count__c", json!("42"), ok("42")),
        ("Count__c", json!(1.0), ok("1")),
        ("Count__c", json!(1.5), not_of("int", "VALUE_NUMBER_FLOAT", "1.5")),
        (
            "Count__c",
            json!(123_456_789),
            row("NUMBER_OUTSIDE_VALID_RANGE", "Count: value outside of valid range on numeric field: 123456789"),
        ),
        ("Count__c", json!("many"), not_of("int", "VALUE_STRING", "many")),
        ("Big__c", json!(i64::MAX), ok("9223372036854775807")),
        (
            "Big__c",
            json!("9223372036854775808"),
            row(
                "NUMBER_OUTSIDE_VALID_RANGE",
                "Big__c: value outside of valid range on numeric field: 9223372036854775808",
            ),
        ),
        ("Score__c", json!(12.5), ok("12.5")),
        ("Score__c", json!("-999.99"), ok("-999.99")),
        ("Score__c", json!(1e2), ok("100")),
        ("Score__c", json!(1.005), ok("1.01")),
        (
            "Score__c",
            json!(1000),
            row("NUMBER_OUTSIDE_VALID_RANGE", "Score: value outside of valid range on numeric field: 1000"),
        ),
        ("Score__c", json!("NaN"), not_of("double", "VALUE_STRING", "NaN")),
        ("Score__c", json!(""), not_of("double", "VALUE_STRING", "")),
        ("Price__c", json!("1234567890123456.78"), ok("1234567890123456.78")),
        ("Share__c", json!(33.0), ok("33")),
        ("Day__c", json!("2024-02-29"), ok("2024-02-29")),
        ("Day__c", json!("2023-02-29"), not_of("date", "VALUE_STRING", "2023-02-29")),
        ("Day__c", json!("2024-2-9"), not_of("date", "VALUE_STRING", "2024-2-9")),
        ("Day__c", json!("2024-02-29T00:00:00Z"), not_of("date", "VALUE_STRING", "2024-02-29T00:00:00Z")),
        ("Day__c", json!("1700-01-01"), ok("1700-01-01")),
        (
            "Day__c",
            json!("1699-12-31"),
            row("INVALID_TYPE_ON_FIELD_IN_RECORD", "Day__c: value not of required type: 1699-12-31"),
        ),
        (
            "Day__c",
            json!("4001-01-01"),
            row("INVALID_TYPE_ON_FIELD_IN_RECORD", "Day__c: value not of required type: 4001-01-01"),
        ),
        ("At__c", json!("2026-11-03T23:36:13Z"), ok("2026-11-03T23:36:13.000+0000")),
        ("At__c", json!("2026-11-03T23:36:13.575Z"), ok("2026-11-03T23:36:13.575+0000")),
        ("At__c", json!("2026-11-03T23:36:13.575-05:30"), ok("2026-11-04T05:06:13.575+0000")),
        ("At__c", json!("1969-12-31T23:59:59.999+0000"), ok("1969-12-31T23:59:59.999+0000")),
        ("At__c", json!("2026-11-03 23:36:13Z"), not_of("datetime", "VALUE_STRING", "2026-11-03 23:36:13Z")),
        ("At__c", json!("2026-11-03T23:36:13"), not_of("datetime", "VALUE_STRING", "2026-11-03T23:36:13")),
        ("At__c", json!("2026-11-03T23:36:13.5Z"), not_of("datetime", "VALUE_STRING", "2026-11-03T23:36:13.5Z")),
        (
            "At__c",
            json!("2026-11-03T23:36:13.123456Z"),
            not_of("datetime", "VALUE_STRING", "2026-11-03T23:36:13.123456Z"),
        ),
        ("At__c", json!("2026-11-03"), not_of("datetime", "VALUE_STRING", "2026-11-03")),
        ("Time__c", json!("23:36:13.500Z"), ok("23:36:13.500Z")),
        ("Time__c", json!("23:36:13"), not_of("time", "VALUE_STRING", "23:36:13")),
        ("Friend__c", json!(friend), ok(&friend)),
        ("Friend__c", json!(friend[..15]), ok(&friend)),
        ("Friend__c", json!(null), Ok(None)),
        ("Friend__c", json!("nobody"), row("MALFORMED_ID", "Friend: id value of incorrect type: nobody")),
        ("Friend__c", json!(account), row("MALFORMED_ID", &format!("Friend: id value of incorrect type: {account}"))),
        ("Friend__c", json!("003ak000000000zAAA"), row("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")),
        ("Friend__c", json!(5), not_of("reference", "VALUE_NUMBER_INT", "5")),
    ] {
        let shown = format!("{field} = {value}");
        match (stored(&sim, field, &value).await, expected) {
            (Ok(actual), Ok(expected)) => assert_eq!(actual, expected, "{shown}"),
            (Err((status, code, message)), Err((expected_status, expected_code, expected))) => {
                assert_eq!((status, code.as_str()), (expected_status, expected_code), "{shown}: {message}");
                assert!(message.starts_with(&expected), "{shown}: {message}");
                assert_eq!(status == 400, message.contains("at [line:1, column:"), "{shown}: {message}");
            }
            (actual, expected) => panic!("{shown}: {actual:?} instead of {expected:?}"),
        }
    }
}

#[tokio::test]
async fn numbers_keep_every_digit() {
    let sim = typed(Quirks::default()).await;
    // Neither of these is a double.
    let body =
        r#"{"records":[{"attributes":{"type":"Contact"},"Ext__c":"k","LastName":"L","Price__c":9007199254740993.01}]}"#;
    let http = Http::to(&sim);
    let path = "/composite/sobjects/Contact/Ext__c";
    let reply = http.send(reqwest::Method::PATCH, path, Some(body.to_owned())).await.expect("an answer");
    assert_eq!(reply.status, 200);
    let record = sim.record_by("Contact", "Ext__c", "k").expect("stored");
    assert_eq!(record.fields["Price__c"], "9007199254740993.01");
    let read = http.get("/sobjects/Contact/Ext__c/k?fields=Price__c").await;
    assert!(read.text.contains(r#""Price__c":9007199254740993.01"#), "{}", read.text);
}

#[tokio::test]
async fn unsettled_rules_are_switches() {
    let sim = typed(Quirks {
        malformed_values: MalformedValues::RowError,
        extra_decimals: ExtraDecimals::Refused,
        outer_whitespace: OuterWhitespace::Kept,
        empty_text: EmptyText::Kept,
        ..Quirks::default()
    })
    .await;
    for (field, value, expected) in [
        ("Day__c", json!("soon"), row("INVALID_TYPE_ON_FIELD_IN_RECORD", "Day__c: value not of required type: soon")),
        ("Score__c", json!(1.005), row("NUMBER_OUTSIDE_VALID_RANGE", "Score: value outside")),
        ("Text__c", json!(" a "), ok(" a ")),
        ("Text__c", json!(""), ok("")),
        ("Mail__c", json!(""), Ok(None)),
    ] {
        match (stored(&sim, field, &value).await, expected) {
            (Ok(actual), Ok(expected)) => assert_eq!(actual, expected, "{field}"),
            (Err((_, code, message)), Err((_, expected, beginning))) => {
                assert_eq!(code, expected, "{field}");
                assert!(message.starts_with(&beginning), "{field}: {message}");
            }
            (actual, expected) => panic!("{field}: {actual:?} instead of {expected:?}"),
        }
    }
}

#[tokio::test]
async fn absent_null_and_given_are_three_things() {
    let sim = typed(Quirks::default()).await;
    let http = Http::to(&sim);
    let text = || sim.record_by("Contact", "Ext__c", "k").expect("stored").fields.get("Text__c").cloned();
    for (fields, expected) in [
        (json!({ "Text__c": "a" }), Some("a")),
        (json!({ "Title": "t" }), Some("a")),
        (json!({ "Text__c": null }), None),
        (json!({ "Text__c": "b" }), Some("b")),
    ] {
        assert_eq!(http.upsert(&[("k", fields.clone())]).await.json()[0]["success"], true);
        assert_eq!(text().as_deref(), expected, "{fields}");
    }
    let flag = sim.record_by("Contact", "Ext__c", "k").expect("stored").fields["Flag__c"].clone();
    assert_eq!(flag, "false", "booleans are false when nobody said anything");
}
