//! Bulk API 2.0: jobs from creation to results.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule, Processing, Requests};
use rsync_testkit::sim::salesforce::{
    BulkSettings, EmptyResults, JobFault, JobTrouble, Quirks, RepeatedClose, RepeatedUpload, RowFault, RowLocks, Seed,
};
use serde_json::{Value, json};

use super::harness::{assert_parts, org};
use super::jobs::{Bulk, JOBS, contacts, patient, upsert};

fn small() -> BulkSettings {
    BulkSettings { queue_ms: 1_000, chunk_ms: 100, batch_rows: 400, ..BulkSettings::default() }
}

#[tokio::test]
async fn a_job_is_checked_before_it_is_made() {
    let bulk = Bulk::start(org()).await;
    let job = |changes: Value| {
        let mut job = upsert();
        for (name, value) in changes.as_object().expect("an object") {
            job[name] = value.clone();
        }
        job
    };
    for (changes, status, code, part) in [
        (json!({}), 200, "", ""),
        (json!({ "columnDelimiter": "TAB", "lineEnding": "CRLF", "contentType": "CSV" }), 200, "", ""),
        (json!({ "object": null }), 400, "INVALIDJOB", "Object is not specified"),
        (json!({ "object": "Accout" }), 400, "INVALIDENTITY", "'Accout'"),
        (json!({ "object": "User" }), 400, "INVALIDENTITY", "'User'"),
        (json!({ "operation": "merge" }), 400, "INVALIDJOB", "Operation"),
        (json!({ "operation": null }), 400, "INVALIDJOB", "Operation"),
        (json!({ "operation": "insert" }), 400, "INVALIDJOB", "for upserts only"),
        (json!({ "externalIdFieldName": null }), 400, "INVALIDJOB", "External ID was blank for Contact"),
        (json!({ "externalIdFieldName": "Nope__c" }), 400, "INVALIDJOB", "Nope__c does not match"),
        (json!({ "externalIdFieldName": "LastName" }), 400, "INVALIDJOB", "LastName does not match"),
        (json!({ "externalIdFieldName": "Email" }), 200, "", ""),
        (json!({ "contentType": "JSON" }), 400, "INVALIDJOB", "contentType"),
        (json!({ "lineEnding": "CR" }), 400, "INVALIDJOB", "lineEnding"),
        (json!({ "columnDelimiter": "," }), 400, "INVALIDJOB", "columnDelimiter"),
        (json!({ "assignmentRuleId": "01Q000000000001AAA" }), 400, "INVALIDJOB", "assignmentRuleId"),
        (json!({ "operation": "hardDelete", "externalIdFieldName": null }), 400, "FEATURENOTENABLED", "hardDelete"),
        (json!({ "concurrencyMode": "Serial" }), 400, "JSON_PARSER_ERROR", "concurrencyMode"),
    ] {
        let reply = bulk.http.post(JOBS, &job(changes.clone())).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{changes}: {}", reply.text);
        assert!(status == 200 || reply.text.contains(part), "{changes}: {}", reply.text);
    }
    assert_eq!(bulk.sim.jobs().len(), 3);
    assert_eq!((bulk.sim.stats().jobs_created, bulk.sim.stats().write_requests), (3, 18));
}

#[tokio::test]
async fn a_job_goes_from_open_to_complete_in_its_own_time() {
    let bulk = Bulk::start(org().with_seed(patient(small())).with_field("Contact", ext())).await;
    let created = bulk.create(&upsert()).await;
    let id = created["id"].as_str().expect("an id").to_owned();
    assert!(id.starts_with("750") && id.len() == 18, "{id}");
    assert_parts(
        "created",
        &created,
        &[
            ("/state", json!("Open")),
            ("/apiVersion", json!(66.0)),
            ("/contentUrl", json!(format!("services/data/v66.0/jobs/ingest/{id}/batches"))),
            ("/jobType", Value::Null),
            ("/externalIdFieldName", json!("Ext__c")),
        ],
    );
    let uploaded = bulk.upload(&id, &contacts(0..900)).await;
    assert_eq!((uploaded.status, uploaded.text.as_str()), (201, ""));
    let closed = bulk.set_state(&id, "UploadComplete").await.json();
    let partial = ["contentUrl", "lineEnding", "columnDelimiter", "jobType"];
    assert_eq!(closed["state"], "UploadComplete");
    assert!(partial.iter().all(|name| closed.get(name).is_none()), "{closed}");

    for (advance_ms, state, processed) in [
        (0, "UploadComplete", 0),
        (999, "UploadComplete", 0),
        (1, "InProgress", 0),
        (100, "InProgress", 200),
        (100, "InProgress", 400),
        (250, "InProgress", 800),
        (50, "JobComplete", 900),
        (10_000, "JobComplete", 900),
    ] {
        bulk.clock.advance(Duration::from_millis(advance_ms));
        let info = bulk.info(&id).await;
        assert_eq!((&info["state"], &info["numberRecordsProcessed"]), (&json!(state), &json!(processed)));
        assert_eq!(info["jobType"], "V2Ingest");
        assert_eq!(info.get("contentUrl"), None);
        assert_eq!(bulk.sim.records("Contact").len(), processed, "what is counted is stored, and no more");
    }
    let info = bulk.info(&id).await;
    assert_eq!((&info["totalProcessingTime"], info.get("errorMessage")), (&json!(1_500), None));
}

fn ext() -> rsync_testkit::sim::salesforce::FieldSeed {
    rsync_testkit::sim::salesforce::FieldSeed::external_id("Ext__c")
}

#[tokio::test]
async fn results_tell_every_row_once_and_in_another_order() {
    let bulk = Bulk::start(org().with_record("Contact", [("LastName", "Old"), ("Ext__c", "k0")])).await;
    let mut csv = contacts(0..30);
    for i in 0..10 {
        csv.push_str(&format!("bad{i},\n"));
    }
    let id = bulk.finished(&upsert(), &csv).await;
    let info = bulk.info(&id).await;
    assert_eq!(
        (&info["state"], &info["numberRecordsProcessed"], &info["numberRecordsFailed"]),
        (&json!("JobComplete"), &json!(40), &json!(10)),
    );
    let path = |name: &str| format!("{JOBS}/{id}/{name}/");
    let raw = bulk.http.get(&path("successfulResults")).await.text;
    assert!(raw.starts_with("\"sf__Id\",\"sf__Created\",Ext__c,LastName\n"), "{raw}");
    let done = bulk.result(&id, "successfulResults").await;
    let keys: Vec<&str> = done.iter().map(|line| line.split('"').nth(5).expect("a key")).collect();
    let in_order: Vec<String> = (0..30).map(|i| format!("k{i}")).collect();
    assert_ne!(keys, in_order, "the order is no help");
    assert_eq!(keys.iter().copied().collect::<BTreeSet<_>>(), in_order.iter().map(String::as_str).collect());
    for line in &done {
        let cells: Vec<&str> = line.trim_matches('"').split("\",\"").collect();
        let record = bulk.sim.record_by("Contact", "Ext__c", cells[2]).expect("stored");
        assert_eq!((cells[0], cells[1]), (record.id.as_str(), if cells[2] == "k0" { "false" } else { "true" }));
    }
    let failed = bulk.http.get(&path("failedResults")).await.text;
    assert!(failed.starts_with("\"sf__Id\",\"sf__Error\",Ext__c,LastName\n"), "{failed}");
    let error = "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --";
    for i in 0..10 {
        assert!(failed.contains(&format!("\"\",\"{error}\",\"bad{i}\",\"\"\n")), "{failed}");
    }
    assert_eq!(bulk.http.get(&path("unprocessedrecords")).await.text, "Ext__c,LastName\n");
    assert_eq!(bulk.http.get(&path("unprocessedRecords")).await.text, "Ext__c,LastName\n", "as one client writes it");
    let stats = bulk.sim.stats();
    assert_eq!((stats.rows_received, stats.rows_created, stats.rows_updated, stats.rows_failed), (40, 29, 1, 10));
}

#[tokio::test]
async fn each_operation_does_what_its_name_says() {
    let settings = BulkSettings { hard_delete: true, ..BulkSettings::default() };
    let builder = org().with_seed(patient(settings)).with_field("Contact", ext());
    let bulk = Bulk::start(
        builder
            .with_record("Contact", [("LastName", "A"), ("Ext__c", "a"), ("Title", "t")])
            .with_record("Contact", [("LastName", "B"), ("Ext__c", "b")])
            .with_record("Contact", [("LastName", "C"), ("Ext__c", "c")]),
    )
    .await;
    let id = |key: &str| bulk.sim.record_by("Contact", "Ext__c", key).expect("stored").id;
    let (a, b, c) = (id("a"), id("b"), id("c"));
    let of = |operation: &str| json!({ "object": "Contact", "operation": operation });
    let none = "003ak000000000zAAA";
    for (operation, csv, done, errors) in [
        (
            "insert",
            "LastName,Ext__c\nNew,n\nNew,a\n".to_owned(),
            1,
            vec![format!("DUPLICATE_VALUE:duplicate value found: Ext__c duplicates value on record with id: {a}:--")],
        ),
        (
            "insert",
            format!("Id,LastName\n{a},X\n"),
            0,
            vec!["INVALID_FIELD_FOR_INSERT_UPDATE:cannot specify Id in an insert call:Id --".to_owned()],
        ),
        (
            "update",
            format!("Id,FirstName,Title\n{a},Ada,#N/A\n{b},,\n,x,\n{none},x,\nzzz,x,\n"),
            2,
            vec![
                "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--".to_owned(),
                "MALFORMED_ID:malformed id zzz:--".to_owned(),
                "MISSING_ARGUMENT:Id not specified in an update call:--".to_owned(),
            ],
        ),
        (
            "delete",
            format!("Id\n{b}\n{none}\n"),
            1,
            vec!["INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--".to_owned()],
        ),
        ("delete", format!("Id\n{b}\n"), 0, vec!["ENTITY_IS_DELETED:entity is deleted:--".to_owned()]),
        ("hardDelete", format!("Id\n{b}\n{c}\n"), 2, vec![]),
    ] {
        let job = bulk.finished(&of(operation), &csv).await;
        assert_eq!(bulk.info(&job).await["state"], "JobComplete", "{operation}");
        assert_eq!(bulk.result(&job, "successfulResults").await.len(), done, "{operation}");
        assert_eq!(bulk.errors(&job).await, errors.into_iter().collect(), "{operation}");
    }
    let ada = bulk.sim.record_by("Contact", "Ext__c", "a").expect("stored");
    assert_eq!((ada.fields["FirstName"].as_str(), ada.fields.get("Title")), ("Ada", None));
    let left: Vec<String> = bulk.sim.records("Contact").into_iter().map(|record| record.id).collect();
    assert!(!left.contains(&b) && !left.contains(&c), "gone for good");
    assert_eq!(bulk.http.get(&format!("/sobjects/Contact/{b}")).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn states_allow_only_what_they_allow() {
    let bulk = Bulk::start(org()).await;
    let open = bulk.create(&upsert()).await["id"].as_str().expect("an id").to_owned();
    let queued = bulk.queued(&upsert(), &contacts(0..3)).await;
    for (id, code) in [(&open, ""), (&queued, "INVALIDJOBSTATE")] {
        let reply = bulk.upload(id, "Ext__c\n").await;
        assert_eq!(reply.status, if code.is_empty() { 201 } else { 400 });
        assert!(reply.text.contains(code));
    }
    let results = |id: &str| format!("{JOBS}/{id}/successfulResults");
    assert_eq!(bulk.http.get(&results(&queued)).await.code(), "INVALIDJOBSTATE", "not before the end");
    assert_eq!(bulk.set_state(&queued, "UploadComplete").await.code(), "INVALIDJOBSTATE", "closed already");
    for state in ["Open", "InProgress", "JobComplete", "Failed", "uploadcomplete"] {
        assert_eq!(bulk.set_state(&open, state).await.code(), "INVALIDJOB", "{state}");
    }
    let delete = async |id: &str| bulk.http.delete(&format!("{JOBS}/{id}")).await;
    let refused = delete(&open).await;
    assert_eq!(
        refused.json()[0]["message"],
        "Error encountered when deleting the job because the job is not terminated"
    );
    let aborted = bulk.set_state(&open, "Aborted").await;
    assert_eq!((aborted.status, &aborted.json()["state"]), (200, &json!("Aborted")));
    assert_eq!(bulk.set_state(&open, "UploadComplete").await.code(), "INVALIDJOBSTATE");
    assert_eq!(delete(&open).await.status, 204);
    bulk.clock.advance(Duration::from_secs(60));
    let late = bulk.set_state(&queued, "Aborted").await;
    assert_eq!(late.json()[0]["message"], "Aborting already Completed Job not allowed");
    assert_eq!(delete(&queued).await.status, 204);
    for path in [format!("{JOBS}/{queued}"), results(&queued), format!("{JOBS}/nothing")] {
        assert_eq!(bulk.http.get(&path).await.code(), "NOT_FOUND", "{path}");
    }
}

#[tokio::test]
async fn an_upload_is_text_of_limited_size_and_takes_no_json() {
    let settings = BulkSettings { most_bytes: 30, ..BulkSettings::default() };
    let bulk = Bulk::start(org().with_seed(patient(settings)).with_field("Contact", ext())).await;
    let id = bulk.create(&upsert()).await["id"].as_str().expect("an id").to_owned();
    let path = format!("{JOBS}/{id}/batches");
    let json = [("content-type", "application/json")];
    let reply = bulk.http.with_headers(Method::PUT, &path, &json, Some(b"Ext__c\n".to_vec())).await.expect("an answer");
    assert_eq!(reply.status, 415);
    assert_eq!(bulk.upload(&id, &"x".repeat(31)).await.status, 413);
    assert_eq!(bulk.http.post(&path, &json!({})).await.status, 405);
    assert_eq!(bulk.sim.jobs()[0].uploads, 0);
    assert_eq!(bulk.upload(&id, "Ext__c,LastName\na,A\n").await.status, 201);
}

#[tokio::test]
async fn a_file_of_many_batches_is_taken_whole() {
    let bulk = Bulk::start(org()).await;
    let padding = "x".repeat(200);
    let mut csv = "Ext__c,LastName,Description\n".to_owned();
    (0..20_500).for_each(|i| csv.push_str(&format!("k{i},L{i},{padding}\n")));
    assert!(csv.len() > 4 * 1024 * 1024);
    let id = bulk.finished(&upsert(), &csv).await;
    let info = bulk.info(&id).await;
    assert_eq!((&info["state"], &info["numberRecordsProcessed"]), (&json!("JobComplete"), &json!(20_500)));
    assert_eq!(bulk.sim.records("Contact").len(), 20_500);
    let batches = bulk.http.get("/limits").await.json()["DailyBulkApiBatches"].clone();
    assert_eq!(batches, json!({ "Max": 15_000, "Remaining": 14_997 }), "three of 10,000 rows at most");
}

#[tokio::test]
async fn a_small_job_comes_with_its_file_in_one_request() {
    let bulk = Bulk::start(org()).await;
    let form = |csv: &str| {
        let part = |name: &str, kind: &str, text: &str| {
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n{text}\r\n")
        };
        let job = part("job", "application/json", &upsert().to_string());
        format!("{job}{}--B--\r\n", part("content\"; filename=\"f", "text/csv", csv))
    };
    let send = async |body: String| {
        let headers = [("content-type", "multipart/form-data; boundary=\"B\"")];
        bulk.http.with_headers(Method::POST, JOBS, &headers, Some(body.into_bytes())).await.expect("an answer")
    };
    let made = send(form(&contacts(0..3))).await;
    assert_eq!((made.status, &made.json()["state"]), (200, &json!("UploadComplete")), "{}", made.text);
    assert_eq!(made.json().get("contentUrl"), None);
    bulk.clock.advance(Duration::from_secs(60));
    assert_eq!(bulk.sim.records("Contact").len(), 3);
    assert_eq!(send(form(&"x".repeat(100_001))).await.status, 413);
    assert_eq!(send("--B--\r\n".to_owned()).await.code(), "INVALID_MULTIPART_REQUEST");
    assert_eq!(bulk.sim.jobs().len(), 1);
}

#[tokio::test]
async fn a_second_upload_doubles_the_rows() {
    for (repeated_upload, status, rows) in [(RepeatedUpload::Appended, 201, 4), (RepeatedUpload::Refused, 400, 2)] {
        let quirks = Quirks { repeated_upload, ..Quirks::default() };
        let bulk = Bulk::start(org().with_quirks(quirks)).await;
        let insert = json!({ "object": "Contact", "operation": "insert" });
        let id = bulk.create(&insert).await["id"].as_str().expect("an id").to_owned();
        let csv = "LastName\nA\nB\n";
        assert_eq!(bulk.upload(&id, csv).await.status, 201);
        assert_eq!(bulk.upload(&id, csv).await.status, status);
        bulk.set_state(&id, "UploadComplete").await;
        bulk.clock.advance(Duration::from_secs(60));
        assert_eq!(bulk.sim.records("Contact").len(), rows, "{repeated_upload:?}");
    }
}

#[tokio::test]
async fn closing_twice_may_be_forgiven() {
    let quirks = Quirks { repeated_close: RepeatedClose::Accepted, ..Quirks::default() };
    let bulk = Bulk::start(org().with_quirks(quirks)).await;
    let id = bulk.queued(&upsert(), &contacts(0..2)).await;
    assert_eq!(bulk.set_state(&id, "UploadComplete").await.status, 200);
    bulk.clock.advance(Duration::from_secs(60));
    assert_eq!(bulk.set_state(&id, "UploadComplete").await.status, 400);
    assert_eq!(bulk.sim.stats().rows_created, 2, "the rows are not done twice");
}

#[tokio::test]
async fn a_job_that_fails_in_the_middle_keeps_what_is_done_and_lists_the_rest() {
    for (trouble, state, done, message) in [
        (JobTrouble::Fails { after_rows: 350, message: "TooManyLockFailure : x".to_owned() }, "Failed", 350, "TooMany"),
        (JobTrouble::Aborted { after_rows: 200 }, "Aborted", 200, ""),
        (JobTrouble::Retried { batch: 1, retries: 21 }, "Failed", 400, "InternalServerError"),
    ] {
        let bulk = Bulk::start(org().with_seed(patient(small())).with_field("Contact", ext())).await;
        bulk.sim.fail_jobs(JobFault::new(trouble.clone()).of("Contact").times(1));
        let id = bulk.finished(&upsert(), &contacts(0..1_000)).await;
        let info = bulk.info(&id).await;
        assert_eq!((&info["state"], &info["numberRecordsProcessed"]), (&json!(state), &json!(done)), "{trouble:?}");
        assert!(info["errorMessage"].as_str().unwrap_or_default().starts_with(message), "{info}");
        let keys = |lines: Vec<String>, cell: usize| -> BTreeSet<String> {
            lines.iter().map(|line| line.split('"').nth(2 * cell + 1).expect("a cell").to_owned()).collect()
        };
        let written = keys(bulk.result(&id, "successfulResults").await, 2);
        let left = keys(bulk.result(&id, "unprocessedrecords").await, 0);
        assert_eq!((written.len(), left.len()), (done, 1_000 - done), "{trouble:?}");
        assert!(written.is_disjoint(&left));
        assert_eq!(bulk.sim.records("Contact").len(), done);
        let again = bulk.finished(&upsert(), &contacts(0..1_000)).await;
        assert_eq!(bulk.info(&again).await["state"], "JobComplete", "the fault is over");
        assert_eq!(bulk.sim.records("Contact").len(), 1_000, "a repeated upsert makes no duplicates");
    }
}

#[tokio::test]
async fn a_batch_may_need_further_attempts() {
    let bulk = Bulk::start(org().with_seed(patient(small())).with_field("Contact", ext())).await;
    bulk.sim.fail_jobs(JobFault::new(JobTrouble::Retried { batch: 1, retries: 3 }));
    let id = bulk.queued(&upsert(), &contacts(0..600)).await;
    bulk.clock.advance(Duration::from_millis(4_000));
    let info = bulk.info(&id).await;
    assert_eq!((&info["state"], &info["numberRecordsProcessed"]), (&json!("InProgress"), &json!(400)));
    bulk.clock.advance(Duration::from_millis(600));
    let info = bulk.info(&id).await;
    assert_eq!((&info["state"], &info["retries"]), (&json!("JobComplete"), &json!(3)));
}

#[tokio::test]
async fn a_job_may_be_slow_or_stuck() {
    let bulk = Bulk::start(org().with_seed(patient(small())).with_field("Contact", ext())).await;
    bulk.sim.fail_jobs(JobFault::new(JobTrouble::Delayed { delay_ms: 60_000 }).times(1));
    let slow = bulk.queued(&upsert(), &contacts(0..1)).await;
    bulk.sim.fail_jobs(JobFault::new(JobTrouble::Stuck { after_rows: 200 }).times(1));
    let stuck = bulk.queued(&upsert(), &contacts(0..300)).await;
    bulk.clock.advance(Duration::from_millis(60_999));
    assert_eq!(bulk.info(&slow).await["state"], "UploadComplete");
    bulk.clock.advance(Duration::from_millis(101));
    assert_eq!(bulk.info(&slow).await["state"], "JobComplete");
    bulk.clock.advance(Duration::from_secs(30 * 86_400));
    let info = bulk.info(&stuck).await;
    assert_eq!((&info["state"], &info["numberRecordsProcessed"]), (&json!("InProgress"), &json!(200)));
    assert_eq!(bulk.set_state(&stuck, "Aborted").await.status, 200);
    assert_eq!(bulk.result(&stuck, "unprocessedrecords").await.len(), 100);
}

#[tokio::test]
async fn results_are_kept_for_a_week() {
    let bulk = Bulk::start(org().with_seed(patient(small())).with_field("Contact", ext())).await;
    let id = bulk.queued(&upsert(), &contacts(0..1)).await;
    bulk.clock.advance(Duration::from_millis(7 * 86_400_000 + 1_099));
    assert_eq!(bulk.http.get(&format!("{JOBS}/{id}/successfulResults")).await.status, 200);
    bulk.clock.advance(Duration::from_millis(1));
    for path in ["", "/successfulResults", "/failedResults", "/unprocessedrecords"] {
        let reply = bulk.http.get(&format!("{JOBS}/{id}{path}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "NOT_FOUND"), "{path}");
    }
}

#[tokio::test]
async fn the_day_has_so_many_batches_and_rows() {
    for (settings, done) in
        [(BulkSettings { daily_batches: 2, ..small() }, 800), (BulkSettings { daily_rows: 500, ..small() }, 400)]
    {
        let bulk = Bulk::start(org().with_seed(patient(settings.clone())).with_field("Contact", ext())).await;
        let id = bulk.finished(&upsert(), &contacts(0..1_000)).await;
        let info = bulk.info(&id).await;
        assert_eq!((&info["state"], &info["numberRecordsProcessed"]), (&json!("Failed"), &json!(done)));
        assert!(info["errorMessage"].as_str().expect("a message").starts_with("ExceededQuota"), "{info}");
        assert_eq!(bulk.result(&id, "unprocessedrecords").await.len(), 1_000 - done);
        let batches = bulk.http.get("/limits").await.json()["DailyBulkApiBatches"].clone();
        assert_eq!(batches["Max"].as_u64().zip(batches["Remaining"].as_u64()).map(|(max, left)| max - left), Some(2));
        bulk.clock.advance(Duration::from_secs(86_400));
        let next = bulk.finished(&upsert(), &contacts(0..100)).await;
        assert_eq!(bulk.info(&next).await["state"], "JobComplete", "the day rolls");
    }
}

#[tokio::test]
async fn every_request_about_a_job_is_an_api_call() {
    let bulk = Bulk::start(org()).await;
    let id = bulk.finished(&upsert(), &contacts(0..5)).await;
    bulk.info(&id).await;
    for name in ["successfulResults", "failedResults", "unprocessedrecords"] {
        bulk.result(&id, name).await;
    }
    let stats = bulk.sim.stats();
    assert_eq!((stats.api_calls, stats.bulk_requests, stats.write_requests), (7, 7, 3));
    let limited = Bulk::start(org().with_api_limit(1)).await;
    limited.create(&upsert()).await;
    assert_eq!(limited.http.get(JOBS).await.code(), "REQUEST_LIMIT_EXCEEDED");
}

#[tokio::test]
async fn jobs_are_listed_in_pages() {
    let settings = BulkSettings { jobs_per_page: 2, ..BulkSettings::default() };
    let bulk = Bulk::start(org().with_seed(patient(settings)).with_field("Contact", ext())).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(bulk.create(&upsert()).await["id"].as_str().expect("an id").to_owned());
    }
    let mut seen = Vec::new();
    let mut path = JOBS.to_owned();
    loop {
        let body = bulk.http.get(&path).await.json();
        let records = body["records"].as_array().expect("records");
        assert!(records.iter().all(|job| job["jobType"] == "V2Ingest" && job["state"] == "Open"), "{body}");
        seen.extend(records.iter().map(|job| job["id"].as_str().expect("an id").to_owned()));
        let Some(next) = body["nextRecordsUrl"].as_str() else { break };
        assert_eq!(body["done"], false);
        path = next.to_owned();
    }
    assert_eq!(seen, ids);
    assert_eq!(bulk.http.get(&format!("{JOBS}?jobType=V2Query")).await.json()["records"], json!([]));
    let shown = bulk.http.get("/_sim/jobs").await.json();
    assert_eq!((shown["jobs"].as_array().map(Vec::len), &shown["jobs"][0]["state"]), (Some(5), &json!("Open")));
}

#[tokio::test]
async fn results_may_come_in_pages() {
    let settings = BulkSettings { result_page_rows: Some(4), ..BulkSettings::default() };
    let bulk = Bulk::start(org().with_seed(patient(settings)).with_field("Contact", ext())).await;
    let id = bulk.finished(&upsert(), &contacts(0..10)).await;
    for (most, sizes) in [("", vec![4, 4, 2]), ("&maxRecords=7", vec![7, 3])] {
        let (mut counts, mut seen, mut locator) = (Vec::new(), BTreeSet::new(), String::new());
        loop {
            let path = format!("{JOBS}/{id}/successfulResults?x{locator}{most}");
            let reply = bulk.http.get(&path).await;
            let rows: Vec<&str> = reply.text.lines().skip(1).collect();
            assert_eq!(reply.header("sforce-numberofrecords"), Some(rows.len().to_string().as_str()));
            counts.push(rows.len());
            seen.extend(rows.into_iter().map(str::to_owned));
            match reply.header("sforce-locator").expect("a locator") {
                "null" => break,
                next => locator = format!("&locator={next}"),
            }
        }
        assert_eq!((counts, seen.len()), (sizes, 10), "{most}");
    }
}

#[tokio::test]
async fn a_result_without_rows_has_a_header_or_nothing() {
    for (empty_results, expected) in [(EmptyResults::HeaderOnly, "Ext__c,LastName\n"), (EmptyResults::NoBody, "")] {
        let bulk = Bulk::start(org().with_quirks(Quirks { empty_results, ..Quirks::default() })).await;
        let id = bulk.finished(&upsert(), &contacts(0..1)).await;
        let reply = bulk.http.get(&format!("{JOBS}/{id}/unprocessedrecords")).await;
        assert_eq!((reply.status, reply.text.as_str()), (200, expected));
    }
}

#[tokio::test]
async fn a_client_that_dies_between_two_steps_finds_its_job_again() {
    for (step, method, ending) in
        [("create", "POST", "/jobs/ingest"), ("upload", "PUT", "/batches"), ("close", "PATCH", "")]
    {
        let bulk = Bulk::start(org()).await;
        let cut = FaultRule::new(FaultAction::ResetConnection { processing: Processing::Applied })
            .named(step)
            .on_method(method)
            .on_path_ending(ending)
            .on_requests(Requests::First(1));
        bulk.sim.faults().set(FaultPlan::new([cut])).expect("a plan");
        let body = Some(upsert().to_string().into_bytes());
        let json = [("content-type", "application/json")];
        let created = bulk.http.with_headers(Method::POST, JOBS, &json, body).await;
        assert_eq!(created.is_err(), step == "create");
        let listed = bulk.http.get(JOBS).await.json();
        let id = listed["records"][0]["id"].as_str().expect("the job is there whatever the client saw").to_owned();
        if step == "create" {
            assert_eq!(bulk.sim.faults().fired(step), 1);
            continue;
        }
        let csv = [("content-type", "text/csv")];
        let path = format!("{JOBS}/{id}/batches");
        let sent = bulk.http.with_headers(Method::PUT, &path, &csv, Some(contacts(0..2).into_bytes())).await;
        assert_eq!(sent.is_err(), step == "upload");
        if step == "close" {
            let state = json!({ "state": "UploadComplete" }).to_string();
            assert!(bulk.http.send(Method::PATCH, &format!("{JOBS}/{id}"), Some(state)).await.is_err());
        }
        assert_eq!(bulk.sim.faults().fired(step), 1);
        let state = bulk.info(&id).await["state"].clone();
        assert_eq!(state, if step == "close" { "UploadComplete" } else { "Open" }, "the fault came after the effect");
        assert_eq!(bulk.sim.jobs()[0].uploads, 1, "{step}");
    }
}

#[tokio::test]
async fn batches_that_share_a_parent_meet_at_its_lock() {
    let quirks = Quirks { row_locks: RowLocks::Refused, ..Quirks::default() };
    let settings = BulkSettings { batch_rows: 2, ..BulkSettings::default() };
    let bulk = Bulk::start(
        org()
            .with_seed(patient(settings))
            .with_quirks(quirks)
            .with_field("Contact", ext())
            .with_field("Account", ext())
            .with_record("Account", [("Name", "P"), ("Ext__c", "p")])
            .with_record("Account", [("Name", "Q"), ("Ext__c", "q")]),
    )
    .await;
    let rows = |parents: [&str; 4]| {
        let lines: String = parents.iter().enumerate().map(|(i, parent)| format!("k{i},L,{parent}\n")).collect();
        format!("Ext__c,LastName,Account.Ext__c\n{lines}")
    };
    for (parents, refused) in [(["p", "p", "q", "q"], 0), (["p", "q", "p", "q"], 2), (["p", "p", "p", "q"], 1)] {
        let id = bulk.finished(&upsert(), &rows(parents)).await;
        let failed = bulk.result(&id, "failedResults").await;
        assert_eq!(failed.len(), refused, "{parents:?}: {failed:?}");
        assert!(failed.iter().all(|line| line.contains("UNABLE_TO_LOCK_ROW:unable to obtain exclusive access")));
    }
}

#[tokio::test]
async fn rows_of_a_job_fail_like_rows_of_a_request() {
    let bulk = Bulk::start(org()).await;
    bulk.sim.fail_rows(RowFault::new("Contact", "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access").times(2));
    let id = bulk.finished(&upsert(), &contacts(0..5)).await;
    let errors = bulk.errors(&id).await;
    assert_eq!(errors, BTreeSet::from(["UNABLE_TO_LOCK_ROW:unable to obtain exclusive access:--".to_owned()]));
    assert_eq!(bulk.sim.records("Contact").len(), 3);
    let twice = bulk.finished(&upsert(), "Ext__c,LastName\nx,A\nX,B\ny,C\n").await;
    assert_eq!(bulk.errors(&twice).await.len(), 2, "the same key twice fails both rows");
    assert!(bulk.sim.record_by("Contact", "Ext__c", "y").is_some());
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let seed = json!({ "bulk": { "batch_rows": 0, "jobs_per_page": 0, "result_page_rows": 0 },
        "job_faults": [{ "object": "Nothing", "trouble": { "stuck": { "after_rows": 1 } } }] });
    let error = Seed::from_json(&seed.to_string()).expect_err("nothing is right").to_string();
    for part in ["bulk.batch_rows", "bulk.jobs_per_page", "bulk.result_page_rows", "job_faults[0].object"] {
        assert!(error.contains(part), "{part} missing in: {error}");
    }
}
