//! The files of bulk jobs: what stops a whole job, what stops a row, and what each cell means.

use rsync_testkit::sim::salesforce::{BulkSettings, EmbeddedLineEnds, FieldSeed, Quirks};
use serde_json::{Value, json};

use super::harness::org;
use super::jobs::{Bulk, patient, upsert};

#[tokio::test]
async fn one_bad_header_or_line_end_fails_the_whole_job() {
    let bulk = Bulk::start(org()).await;
    let not_found = |name: &str| format!("InvalidBatch : Field name not found : {name}");
    let ending = "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is";
    let header = "InvalidBatch : Failed to parse CSV header".to_owned();
    let update = json!({ "object": "Contact", "operation": "update" });
    let delete = json!({ "object": "Contact", "operation": "delete" });
    let lead = json!({ "object": "Lead", "operation": "insert" });
    let crlf = json!({ "object": "Contact", "operation": "insert", "lineEnding": "CRLF" });
    for (job, csv, message) in [
        (upsert(), "Ext__c,LastName,Nope__c,Other\na,A,1,2\n", not_found("Nope__c")),
        (upsert(), "\u{feff}Ext__c,LastName\na,A\n", not_found("\u{feff}Ext__c")),
        (upsert(), "LastName\nA\n", not_found("Ext__c")),
        (upsert(), "Ext__c,LastName,lastname\na,A,A\n", "InvalidBatch : Duplicate column : lastname".to_owned()),
        (upsert(), "Ext__c, LastName\na,A\n", not_found(" LastName")),
        (upsert(), "Ext__c,Nope.Ext__c\na,x\n", not_found("Nope.Ext__c")),
        (upsert(), "Ext__c,Account.Phone\na,x\n", not_found("Account.Phone")),
        (
            upsert(),
            "Ext__c,Account:Account.Ext__c\na,x\n",
            "InvalidBatch : type is not needed for non polymorphic foreign key references: Account".to_owned(),
        ),
        (lead, "LastName,Company,Owner.Email\nL,C,x\n", not_found("Owner.Email")),
        (update, "FirstName\nx\n", not_found("Id")),
        (delete, "Id,LastName\nx,y\n", not_found("LastName")),
        (upsert(), "Ext__c,LastName\r\na,A\r\n", format!("{ending} LF")),
        (upsert(), "Ext__c,LastName\na,\"A\r\nB\"\n", format!("{ending} LF")),
        (crlf.clone(), "LastName\nA\n", format!("{ending} CRLF")),
        (crlf, "LastName\r\n\"A\nB\"\r\n", format!("{ending} CRLF")),
        (upsert(), "", header.clone()),
        (upsert(), "\"Ext__c\n", header),
    ] {
        let id = bulk.finished(&job, csv).await;
        let info = bulk.info(&id).await;
        assert_eq!((&info["state"], &info["errorMessage"]), (&json!("Failed"), &json!(message)), "{csv:?}");
        assert_eq!((&info["numberRecordsProcessed"], &info["numberRecordsFailed"]), (&json!(0), &json!(0)));
    }
    assert!(bulk.sim.records("Contact").is_empty());
}

#[tokio::test]
async fn a_file_that_is_no_text_fails_the_job() {
    let bulk = Bulk::start(org()).await;
    let id = bulk.create(&upsert()).await["id"].as_str().expect("an id").to_owned();
    let path = format!("/jobs/ingest/{id}/batches");
    let csv = [("content-type", "text/csv")];
    let body = Some(b"Ext__c,LastName\na,\xff\n".to_vec());
    let sent = bulk.http.with_headers(reqwest::Method::PUT, &path, &csv, body).await.expect("an answer");
    assert_eq!(sent.status, 201);
    bulk.set_state(&id, "UploadComplete").await;
    bulk.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(bulk.info(&id).await["errorMessage"], "ClientInputError : Failed to read the file as UTF-8");
}

#[tokio::test]
async fn line_ends_in_quotes_may_be_left_alone() {
    let quirks = Quirks { embedded_line_ends: EmbeddedLineEnds::Kept, ..Quirks::default() };
    let bulk = Bulk::start(org().with_quirks(quirks)).await;
    bulk.finished(&upsert(), "Ext__c,LastName,Description\na,A,\"x\r\ny\"\n").await;
    assert_eq!(bulk.sim.records("Contact")[0].fields["Description"], "x\r\ny");
}

#[tokio::test]
async fn a_bad_row_fails_alone() {
    let settings = BulkSettings { most_cell_characters: 20, most_row_characters: 40, ..BulkSettings::default() };
    let seed = patient(settings);
    let bulk = Bulk::start(org().with_seed(seed).with_field("Contact", FieldSeed::external_id("Ext__c"))).await;
    let long = "é".repeat(21);
    for (row, part) in [
        ("a", "the row has 1 columns instead of 3"),
        ("a,b,c,d", "the row has 4 columns instead of 3"),
        ("a,b\"c,d", "a quote stands inside a value that is not quoted"),
        ("a, \"b\",c", "a quote stands inside a value that is not quoted"),
        ("a,\"b\" ,c", "a quoted value is followed by further text"),
        (&format!("a,{long},x"), "too many characters"),
        (&format!("a{0},b{0},c{0}", "x".repeat(13)), "too many characters"),
        (",L,x", "MISSING_ARGUMENT:Ext__c not specified:--"),
        ("a,,x", "REQUIRED_FIELD_MISSING"),
    ] {
        let csv = format!("Ext__c,LastName,Title\nbefore,L,x\n{row}\nafter,L,x\n");
        let id = bulk.finished(&upsert(), &csv).await;
        assert_eq!(bulk.info(&id).await["state"], "JobComplete", "{row}");
        let failed = bulk.result(&id, "failedResults").await;
        assert_eq!(failed.len(), 1, "{row}: {failed:?}");
        assert!(failed[0].contains(part), "{row}: {failed:?}");
        assert_eq!(bulk.result(&id, "successfulResults").await.len(), 2, "{row}");
    }
    let open = bulk.finished(&upsert(), "Ext__c,LastName\nlast,\"L").await;
    let errors = bulk.errors(&open).await;
    assert_eq!(errors.iter().collect::<Vec<_>>(), ["API_ERROR:the row cannot be read: a quoted value has no end:--"]);
}

fn typed() -> rsync_testkit::sim::salesforce::SalesforceSimBuilder {
    org()
        .with_field("Contact", FieldSeed::of("Flag__c", "boolean"))
        .with_field("Contact", FieldSeed::of("Day__c", "date"))
        .with_field("Contact", FieldSeed::of("At__c", "datetime"))
        .with_field("Contact", FieldSeed::number("Score__c", 5, 2))
        .with_field("Contact", FieldSeed::restricted_picklist("Color__c", ["Red"]))
}

#[tokio::test]
async fn empty_leaves_alone_and_the_marker_clears() {
    for (cell, expected) in
        [("", Some("old")), ("\"\"", Some("old")), ("#N/A", None), ("\"#N/A\"", None), ("new", Some("new"))]
    {
        let builder = typed().with_record("Contact", [("LastName", "L"), ("Ext__c", "a"), ("Title", "old")]);
        let bulk = Bulk::start(builder).await;
        bulk.finished(&upsert(), &format!("Ext__c,Title\na,{cell}\n")).await;
        let title = bulk.sim.record_by("Contact", "Ext__c", "a").expect("stored").fields.get("Title").cloned();
        assert_eq!(title.as_deref(), expected, "{cell}");
    }
}

#[tokio::test]
async fn cells_are_read_by_the_type_of_their_field() {
    let bulk = Bulk::start(typed()).await;
    let deserialize = |text: &str, kind: &str, field: &str| {
        Err(format!(
            "INVALID_FIELD:Failed to deserialize field at col 2. Due to, '{text}' is not a valid value for the type \
             {kind}:{field} --"
        ))
    };
    for (field, cell, expected) in [
        ("Flag__c", "true", Ok("true")),
        ("Flag__c", "1", Ok("true")),
        ("Flag__c", "FALSE", Ok("false")),
        ("Flag__c", "yes", deserialize("yes", "xsd:boolean", "Flag__c")),
        (
            "Flag__c",
            "#N/A",
            Err("INVALID_TYPE_ON_FIELD_IN_RECORD:Flag__c: value not of required type: null:Flag__c --".to_owned()),
        ),
        ("Day__c", "2026-11-03", Ok("2026-11-03")),
        ("Day__c", "2003-04-98", deserialize("2003-04-98", "xsd:date", "Day__c")),
        ("At__c", "2026-11-03T01:02:03.000Z", Ok("2026-11-03T01:02:03.000+0000")),
        ("At__c", "2026-11-03 01:02:03", deserialize("2026-11-03 01:02:03", "xsd:dateTime", "At__c")),
        ("Score__c", "1.25", Ok("1.25")),
        ("Score__c", "1;25", deserialize("1;25", "xsd:double", "Score__c")),
        ("Score__c", "1234", Err("NUMBER_OUTSIDE_VALID_RANGE".to_owned())),
        ("Color__c", "Red", Ok("Red")),
        ("Color__c", "Blue", Err("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST".to_owned())),
        ("Email", "A@B.example", Ok("a@b.example")),
        ("Email", "nobody", Err("INVALID_EMAIL_ADDRESS:Email: invalid email address: nobody:Email --".to_owned())),
        ("CreatedDate", "2020-01-01T00:00:00Z", Err("INVALID_FIELD_FOR_INSERT_UPDATE".to_owned())),
        ("LastName", "#N/A", Err("REQUIRED_FIELD_MISSING".to_owned())),
    ] {
        let (header, first) = if field == "LastName" { ("Ext__c,Title", "k,t") } else { ("Ext__c,LastName", "k,L") };
        let id = bulk.finished(&upsert(), &format!("{header},{field}\n{first},{cell}\n")).await;
        let errors = bulk.errors(&id).await;
        match expected {
            Ok(value) => {
                assert!(errors.is_empty(), "{field} {cell}: {errors:?}");
                let stored = bulk.sim.record_by("Contact", "Ext__c", "k").expect("stored");
                assert_eq!(stored.fields[field], value, "{field} {cell}");
            }
            Err(error) => {
                let said: Vec<&String> = errors.iter().collect();
                assert!(said.len() == 1 && said[0].starts_with(&error), "{field} {cell}: {said:?}");
            }
        }
    }
}

#[tokio::test]
async fn parents_are_named_in_the_header() {
    let bulk = Bulk::start(
        org()
            .with_record("Account", [("Name", "Acme"), ("Ext__c", "acme")])
            .with_record("Contact", [("LastName", "T"), ("Email", "twin@example.com")])
            .with_record("Contact", [("LastName", "T"), ("Email", "twin@example.com")]),
    )
    .await;
    let account = bulk.sim.record_by("Account", "Ext__c", "acme").expect("seeded").id;
    let id = bulk
        .finished(
            &upsert(),
            "Ext__c,LastName,Account.Ext__c,ReportsTo.Email\na,A,ACME,\nb,B,nobody,\nc,C,,twin@example.com\nd,D,,\n",
        )
        .await;
    let errors: Vec<String> = bulk.errors(&id).await.into_iter().collect();
    assert!(errors[0].starts_with("DUPLICATE_EXTERNAL_ID:Email: more than one record found"), "{errors:?}");
    assert_eq!(
        errors[1],
        "INVALID_FIELD:Foreign key external ID: nobody not found for field Ext__c in entity Account:--"
    );
    assert_eq!(bulk.sim.record_by("Contact", "Ext__c", "a").expect("stored").fields["AccountId"], account);
    assert_eq!(bulk.sim.record_by("Contact", "Ext__c", "d").expect("stored").fields.get("AccountId"), None);
    bulk.finished(&upsert(), "Ext__c,AccountId\na,#N/A\n").await;
    assert_eq!(bulk.sim.record_by("Contact", "Ext__c", "a").expect("stored").fields.get("AccountId"), None);

    let lead = json!({ "object": "Lead", "operation": "insert" });
    let id = bulk.finished(&lead, "LastName,Company,User:Owner.Email\nL,C,integration@example.com\n").await;
    assert_eq!(bulk.info(&id).await["state"], "JobComplete");
    assert_eq!(bulk.sim.records("Lead").len(), 1, "a reference to one of several objects names which");
}

#[tokio::test]
async fn delimiters_and_line_ends_are_the_jobs() {
    for (name, delimiter) in
        [("COMMA", ','), ("BACKQUOTE", '`'), ("CARET", '^'), ("PIPE", '|'), ("SEMICOLON", ';'), ("TAB", '\t')]
    {
        for (ending, line) in [("LF", "\n"), ("CRLF", "\r\n")] {
            let bulk = Bulk::start(org()).await;
            let mut job = upsert();
            (job["columnDelimiter"], job["lineEnding"]) = (json!(name), json!(ending));
            let cell = format!("L{delimiter}\"\"{line}M");
            let csv = format!("Ext__c{delimiter}LastName{line}a{delimiter}\"{cell}\"{line}");
            let id = bulk.finished(&job, &csv).await;
            let expected = cell.replace("\"\"", "\"");
            assert_eq!(bulk.sim.records("Contact")[0].fields["LastName"], expected, "{name} {ending}");
            let text = bulk.http.get(&format!("/jobs/ingest/{id}/successfulResults")).await.text;
            assert!(
                text.starts_with(&format!(
                    "\"sf__Id\"{delimiter}\"sf__Created\"{delimiter}Ext__c{delimiter}LastName\n"
                ))
            );
            assert!(text.contains(&format!("{delimiter}\"{cell}\"\n")), "{text:?}");
        }
    }
}

#[tokio::test]
async fn a_blank_id_column_in_an_upsert_is_taken() {
    let bulk = Bulk::start(org()).await;
    let id = bulk.finished(&upsert(), "Id,Ext__c,LastName\n,a,A\n003ak0000000001AAA,b,B\n").await;
    assert_eq!(bulk.result(&id, "successfulResults").await.len(), 1);
    let errors = bulk.errors(&id).await;
    assert!(errors.iter().all(|error| error.contains("The Id field should not be specified")), "{errors:?}");
    let info: Value = bulk.info(&id).await;
    assert_eq!(info["numberRecordsFailed"], 1);
}
