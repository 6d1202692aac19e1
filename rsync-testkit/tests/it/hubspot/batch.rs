//! Batch endpoints: atomicity, outcome shapes, keys and value rules.

use reqwest::Method;
use rsync_testkit::sim::hubspot::{
    ConcurrentWrites, DatedPartialStatus, EmailUpsert, HubSpotSim, MissingInputs, MixedIdProperties, PropertySeed,
    Quirks, TraceIdEcho, UpsertConflict, ValueTypes,
};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, by_email, by_external_id, prompt, roomy, sorted_field};

const UPSERT: &str = "/crm/v3/objects/contacts/batch/upsert";
const CREATE: &str = "/crm/v3/objects/contacts/batch/create";
const UPDATE: &str = "/crm/v3/objects/contacts/batch/update";
const READ: &str = "/crm/v3/objects/contacts/batch/read";

/// One request and what must come of it.
struct Case {
    name: &'static str,
    path: &'static str,
    body: Value,
    status: u16,
    parts: Vec<(&'static str, Value)>,
    /// Records of the object afterwards, on top of the two that every case starts with.
    added: usize,
}

async fn sim_with_two(quirks: Quirks) -> HubSpotSim {
    roomy()
        .with_quirks(quirks)
        .with_record("contacts", [("email", "ada@example.com"), ("external_id", "a"), ("firstname", "Ada")])
        .with_record("contacts", [("email", "bob@example.com"), ("external_id", "b"), ("lifecyclestage", "customer")])
        .start()
        .await
        .expect("the simulator starts")
}

async fn check(case: Case, quirks: Quirks) {
    let sim = sim_with_two(quirks).await;
    let reply = Http::to(&sim).post(case.path, &case.body).await;
    assert_eq!(reply.status, case.status, "{}: {}", case.name, reply.text);
    assert_parts(case.name, &reply.json(), &case.parts);
    assert_eq!(sim.records("contacts").len(), 2 + case.added, "{}: records", case.name);
    if case.status >= 400 {
        assert_parts(case.name, &reply.json(), &[("/status", json!("error"))]);
        let id = reply.json()["correlationId"].as_str().map(str::to_owned);
        assert_eq!(reply.header("x-hubspot-correlation-id"), id.as_deref(), "{}", case.name);
    }
}

#[tokio::test]
async fn outcomes_of_batch_writes() {
    let first = "171591000001";
    let unknown_property = json!({ "no_such": "x" });
    for case in [
        Case {
            name: "upsert creates and updates",
            path: UPSERT,
            body: json!({ "inputs": [by_email("0", "Ada@Example.com", json!({ "lastname": "L" })), by_email("1", "new@example.com", json!({}))] }),
            status: 200,
            parts: vec![
                // The answer never keeps the order of the request.
                ("/results/0/new", json!(true)),
                ("/results/0/properties/email", json!("new@example.com")),
                ("/results/1/new", json!(false)),
                ("/results/1/id", json!(first)),
                ("/results/1/properties/lastname", json!("L")),
                ("/results/1/objectWriteTraceId", Value::Null),
                ("/errors", Value::Null),
                ("/numErrors", Value::Null),
                ("/status", json!("COMPLETE")),
            ],
            added: 1,
        },
        Case {
            name: "without trace ids one bad record refuses the batch",
            path: UPSERT,
            body: json!({ "inputs": [
                { "id": "new@example.com", "idProperty": "email", "properties": {} },
                { "id": "ada@example.com", "idProperty": "email", "properties": unknown_property },
            ] }),
            status: 400,
            parts: vec![
                ("/category", json!("VALIDATION_ERROR")),
                ("/errors/0/code", json!("PROPERTY_DOESNT_EXIST")),
                ("/errors/0/context/propertyName/0", json!("no_such")),
            ],
            added: 0,
        },
        Case {
            name: "trace ids on some inputs only are no trace ids",
            path: UPSERT,
            body: json!({ "inputs": [
                by_email("0", "new@example.com", json!({})),
                { "id": "ada@example.com", "idProperty": "email", "properties": unknown_property },
            ] }),
            status: 400,
            parts: vec![],
            added: 0,
        },
        Case {
            name: "trace ids that repeat are no trace ids",
            path: UPSERT,
            body: json!({ "inputs": [by_email("0", "new@example.com", json!({})), by_email("0", "ada@example.com", unknown_property.clone())] }),
            status: 400,
            parts: vec![],
            added: 0,
        },
        Case {
            name: "with trace ids good records are written",
            path: UPSERT,
            body: json!({ "inputs": [by_email("a", "new@example.com", json!({})), by_email("b", "ada@example.com", unknown_property.clone())] }),
            status: 207,
            parts: vec![
                ("/numErrors", json!(1)),
                ("/errors/0/category", json!("VALIDATION_ERROR")),
                ("/errors/0/context/objectWriteTraceId", json!(["b"])),
                ("/results/0/properties/email", json!("new@example.com")),
                ("/results/1", Value::Null),
            ],
            added: 1,
        },
        Case {
            name: "the same key in another case is a duplicate, trace ids or not",
            path: UPSERT,
            body: json!({ "inputs": [by_email("0", "new@example.com", json!({})), by_email("1", "NEW@example.com", json!({}))] }),
            status: 400,
            parts: vec![
                ("/category", json!("VALIDATION_ERROR")),
                ("/context/ids", json!(["NEW@example.com"])),
                ("/message", json!("Duplicate IDs found in batch input: [NEW@example.com]. IDs must be unique")),
            ],
            added: 0,
        },
        Case {
            name: "an address of another contact refuses the whole upsert",
            path: UPSERT,
            body: json!({ "inputs": [
                by_external_id("0", "new", json!({})),
                by_external_id("1", "b", json!({ "email": "ada@example.com" })),
            ] }),
            status: 409,
            parts: vec![
                ("/category", json!("CONFLICT")),
                ("/message", json!("Contact already exists. Existing ID: 171591000001")),
            ],
            added: 0,
        },
        Case {
            name: "two inputs that want the same address conflict",
            path: UPSERT,
            body: json!({ "inputs": [
                by_external_id("0", "x", json!({ "email": "x@example.com" })),
                by_external_id("1", "y", json!({ "email": "X@example.com" })),
            ] }),
            status: 409,
            parts: vec![("/category", json!("CONFLICT"))],
            added: 0,
        },
        Case {
            name: "create with trace ids reports the existing contact",
            path: CREATE,
            body: json!({ "inputs": [
                { "objectWriteTraceId": "0", "properties": { "email": "ADA@example.com" } },
                { "objectWriteTraceId": "1", "properties": { "email": "new@example.com" } },
            ] }),
            status: 207,
            parts: vec![
                ("/errors/0/category", json!("CONFLICT")),
                ("/errors/0/message", json!("Contact already exists. Existing ID: 171591000001")),
                ("/errors/0/context/existingId", json!([first])),
                ("/errors/0/context/objectWriteTraceId", json!(["0"])),
                ("/results/0/properties/email", json!("new@example.com")),
                ("/results/0/new", Value::Null),
            ],
            added: 1,
        },
        Case {
            name: "create without trace ids is refused as a whole",
            path: CREATE,
            body: json!({ "inputs": [
                { "properties": { "email": "new@example.com" } },
                { "properties": { "email": "ada@example.com" } },
            ] }),
            status: 409,
            parts: vec![("/message", json!("Contact already exists. Existing ID: 171591000001"))],
            added: 0,
        },
        Case {
            name: "create answers 201 and starts a lead",
            path: CREATE,
            body: json!({ "inputs": [{ "properties": { "firstname": "Cy" } }] }),
            status: 201,
            parts: vec![
                ("/results/0/properties/lifecyclestage", json!("lead")),
                ("/results/0/id", json!("171591000003")),
                ("/results/0/url", json!("https://app.hubspot.com/contacts/4511/record/0-1/171591000003")),
                ("/results/0/archived", json!(false)),
            ],
            added: 1,
        },
        Case {
            name: "update reports unknown ids in one error, without trace ids",
            path: UPDATE,
            body: json!({ "inputs": [
                { "id": first, "properties": { "lastname": "L" } },
                { "id": "999", "properties": { "lastname": "L" } },
                { "id": "ada@example.com", "properties": { "lastname": "L" } },
            ] }),
            status: 207,
            parts: vec![
                ("/numErrors", json!(1)),
                ("/errors/0/category", json!("OBJECT_NOT_FOUND")),
                ("/errors/0/context/ids", json!(["999", "ada@example.com"])),
                ("/results/0/id", json!(first)),
            ],
            added: 0,
        },
        Case {
            name: "update by email is not offered",
            path: UPDATE,
            body: json!({ "inputs": [{ "id": "ada@example.com", "idProperty": "email", "properties": {} }] }),
            status: 400,
            parts: vec![(
                "/message",
                json!("Unable to perform update/upsert by non-unique 0-1 property email in portal ID 4511"),
            )],
            added: 0,
        },
        Case {
            name: "update by a unique property works",
            path: UPDATE,
            body: json!({ "inputs": [{ "id": "a", "idProperty": "external_id", "properties": { "lastname": "L" } }] }),
            status: 200,
            parts: vec![("/results/0/id", json!(first))],
            added: 0,
        },
        Case {
            name: "a record id is no key for upserts",
            path: UPSERT,
            body: json!({ "inputs": [{ "id": first, "idProperty": "hs_object_id", "properties": {} }] }),
            status: 400,
            parts: vec![(
                "/message",
                json!("Unable to perform update/upsert by non-unique 0-1 property hs_object_id in portal ID 4511"),
            )],
            added: 0,
        },
        Case {
            name: "a unique property that cannot be written is no key",
            path: UPSERT,
            body: json!({ "inputs": [{ "id": "k", "idProperty": "hs_unique_creation_key", "properties": {} }] }),
            status: 400,
            parts: vec![],
            added: 0,
        },
        Case {
            name: "an unknown key property",
            path: UPSERT,
            body: json!({ "inputs": [{ "id": "k", "idProperty": "no_such", "properties": {} }] }),
            status: 400,
            parts: vec![("/category", json!("VALIDATION_ERROR"))],
            added: 0,
        },
        Case {
            name: "different key properties in one batch",
            path: UPSERT,
            body: json!({ "inputs": [by_email("0", "n@example.com", json!({})), by_external_id("1", "n", json!({}))] }),
            status: 400,
            parts: vec![],
            added: 0,
        },
        Case {
            name: "a body without inputs is a silent success",
            path: UPSERT,
            body: json!({ "id": "new@example.com", "idProperty": "email", "properties": {} }),
            status: 200,
            parts: vec![("/status", json!("COMPLETE")), ("/results", json!([]))],
            added: 0,
        },
        Case {
            name: "properties must be there",
            path: UPSERT,
            body: json!({ "inputs": [{ "id": "new@example.com", "idProperty": "email" }] }),
            status: 400,
            parts: vec![
                ("/message", json!("Invalid input JSON: some of required attributes are not set [properties]")),
                ("/category", json!("VALIDATION_ERROR")),
            ],
            added: 0,
        },
        Case {
            name: "values are strings",
            path: UPSERT,
            body: json!({ "inputs": [by_email("0", "new@example.com", json!({ "firstname": 7 }))] }),
            status: 400,
            parts: vec![("/category", Value::Null)],
            added: 0,
        },
        Case {
            name: "null is no string either",
            path: UPSERT,
            body: json!({ "inputs": [by_email("0", "new@example.com", json!({ "firstname": null }))] }),
            status: 400,
            parts: vec![("/category", Value::Null)],
            added: 0,
        },
        Case {
            name: "read-only and computed properties are refused",
            path: UPSERT,
            body: json!({ "inputs": [
                by_email("0", "n@example.com", json!({ "hs_object_id": "1" })),
                by_email("1", "o@example.com", json!({ "hs_marketable_status": "true" })),
            ] }),
            status: 207,
            parts: vec![("/numErrors", json!(2)), ("/results", json!([]))],
            added: 0,
        },
        Case {
            name: "associations without a type are refused",
            path: CREATE,
            body: json!({ "inputs": [{ "properties": {}, "associations": [{ "to": { "id": "1" }, "types": [] }] }] }),
            status: 400,
            parts: vec![("/category", json!("VALIDATION_ERROR"))],
            added: 0,
        },
    ] {
        check(case, prompt()).await;
    }
}

#[tokio::test]
async fn switches_change_the_outcome() {
    let bad_email =
        || json!({ "inputs": [by_email("0", "new@example.com", json!({})), by_email("1", "nobody", json!({}))] });
    let conflict = || {
        json!({ "inputs": [
            by_external_id("0", "new", json!({})),
            by_external_id("1", "b", json!({ "email": "ada@example.com" })),
        ] })
    };
    let dated = "/crm/objects/2026-09/contacts/batch/upsert";
    for (quirks, path, body, status, parts, added) in [
        (
            Quirks { upsert_conflict: UpsertConflict::PerRecord, ..prompt() },
            UPSERT,
            conflict(),
            207,
            vec![("/errors/0/category", json!("CONFLICT")), ("/errors/0/context/existingId", json!(["171591000001"]))],
            1,
        ),
        (Quirks { email_upsert: EmailUpsert::AllOrNothing, ..prompt() }, UPSERT, bad_email(), 400, vec![], 0),
        (
            Quirks { missing_inputs: MissingInputs::Refused, ..prompt() },
            UPSERT,
            json!({}),
            400,
            vec![("/category", json!("VALIDATION_ERROR"))],
            0,
        ),
        (
            Quirks { trace_id_in_results: TraceIdEcho::Echoed, ..prompt() },
            UPSERT,
            json!({ "inputs": [by_email("t", "new@example.com", json!({}))] }),
            200,
            vec![("/results/0/objectWriteTraceId", json!("t"))],
            1,
        ),
        (
            Quirks { mixed_id_properties: MixedIdProperties::Allowed, ..prompt() },
            UPSERT,
            json!({ "inputs": [by_email("0", "n@example.com", json!({})), by_external_id("1", "n", json!({}))] }),
            200,
            vec![],
            2,
        ),
        (
            Quirks { value_types: ValueTypes::Coerced, ..prompt() },
            UPSERT,
            json!({ "inputs": [by_email("0", "new@example.com", json!({ "firstname": 7, "lastname": true }))] }),
            200,
            vec![("/results/0/properties/firstname", json!("7")), ("/results/0/properties/lastname", json!("true"))],
            1,
        ),
        (prompt(), dated, bad_email(), 200, vec![("/numErrors", json!(1))], 1),
        (
            Quirks { dated_partial_status: DatedPartialStatus::MultiStatus, ..prompt() },
            dated,
            bad_email(),
            207,
            vec![("/numErrors", json!(1))],
            1,
        ),
    ] {
        check(Case { name: "switch", path, body, status, parts, added }, quirks).await;
    }
}

#[tokio::test]
async fn a_batch_holds_at_most_a_hundred() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let batch = |n: usize| {
        let inputs: Vec<Value> =
            (0..n).map(|i| by_email(&i.to_string(), &format!("u{i}@example.com"), json!({}))).collect();
        json!({ "inputs": inputs })
    };
    let refused = http.post(UPSERT, &batch(101)).await;
    assert_eq!(refused.status, 400);
    assert_parts(
        "101 inputs",
        &refused.json(),
        &[
            (
                "/message",
                json!(
                    "The maximum number of inputs supported in a batch is 100. Please reduce the number of items and try again"
                ),
            ),
            ("/category", json!("VALIDATION_ERROR")),
        ],
    );
    assert_eq!(http.post(UPSERT, &batch(100)).await.status, 200);
    let stats = sim.stats();
    assert_eq!((stats.rows_created, stats.rows_updated, stats.write_requests), (100, 0, 2));
    assert_eq!(stats.max_writes_per_record(), 1);
    assert_eq!(http.post(UPSERT, &batch(100)).await.status, 200);
    assert_eq!(sim.stats().rows_updated, 100);
    assert_eq!(sim.stats().max_writes_per_record(), 2);
}

#[tokio::test]
async fn absent_keeps_empty_clears_and_lifecycle_moves_forward_only() {
    let sim = sim_with_two(prompt()).await;
    let http = Http::to(&sim);
    let write = async |properties: Value| {
        let reply = http.post(UPSERT, &json!({ "inputs": [by_email("0", "bob@example.com", properties)] })).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()["results"][0]["properties"].clone()
    };
    write(json!({ "firstname": "Bob", "lastname": "B" })).await;
    write(json!({ "firstname": "" })).await;
    let bob = sim.record_by("contacts", "external_id", "b").expect("bob is stored");
    assert_eq!(bob.properties.get("firstname"), None, "an empty string clears");
    assert_eq!(bob.properties["lastname"], "B", "an absent property is kept");

    let kept = write(json!({ "lifecyclestage": "lead" })).await;
    assert_eq!(kept["lifecyclestage"], "customer", "a step back is dropped without an error");
    assert_eq!(write(json!({ "lifecyclestage": "evangelist" })).await["lifecyclestage"], "evangelist");
    write(json!({ "lifecyclestage": "" })).await;
    assert_eq!(write(json!({ "lifecyclestage": "lead" })).await["lifecyclestage"], "lead", "cleared first, then set");
}

#[tokio::test]
async fn every_write_moves_the_modification_time() {
    let clock = std::sync::Arc::new(rsync_core::memory::ManualClock::new());
    let sim = roomy().with_clock(clock).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let body = json!({ "inputs": [by_email("0", "ada@example.com", json!({ "firstname": "Ada" }))] });
    let mut times = Vec::new();
    for _ in 0..3 {
        let reply = http.post(UPSERT, &body).await.json();
        times.push(reply["results"][0]["updatedAt"].as_str().expect("a time").to_owned());
    }
    assert!(times[0] < times[1] && times[1] < times[2], "{times:?}");
}

#[tokio::test]
async fn dates_come_back_in_two_spellings() {
    let sim = roomy()
        .with_property("contacts", PropertySeed::of("birthday", "date", "date"))
        .with_property("contacts", PropertySeed::of("seen_at", "datetime", "date"))
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let properties = json!({ "birthday": "2019-10-31", "seen_at": "2019-10-31T00:00:00.001Z" });
    let written = http.post(UPSERT, &json!({ "inputs": [by_email("0", "a@example.com", properties)] })).await.json();
    let echoed = &written["results"][0]["properties"];
    assert_eq!((&echoed["birthday"], &echoed["seen_at"]), (&json!("1572480000000"), &json!("1572480000001")));
    let read = json!({ "idProperty": "email", "properties": ["birthday", "seen_at", "no_such"], "inputs": [{ "id": "A@example.com" }] });
    let read = http.post(READ, &read).await.json();
    let shown = &read["results"][0]["properties"];
    assert_eq!((&shown["birthday"], &shown["seen_at"]), (&json!("2019-10-31"), &json!("2019-10-31T00:00:00.001Z")));
    assert_eq!(shown.get("no_such"), None);
}

#[tokio::test]
async fn reads_by_key_report_what_is_missing() {
    let sim = sim_with_two(prompt()).await;
    let http = Http::to(&sim);
    let by = |property: &str, ids: &[&str]| {
        let inputs: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        json!({ "idProperty": property, "properties": ["email"], "propertiesWithHistory": [], "inputs": inputs })
    };
    let found = http.post(READ, &by("email", &["ADA@example.com", "bob@example.com"])).await;
    assert_eq!(found.status, 200);
    assert_eq!(sorted_field(&found.json(), "/properties/email"), ["ada@example.com", "bob@example.com"]);
    let partly = http.post(READ, &by("external_id", &["a", "A"])).await;
    assert_eq!(partly.status, 207);
    assert_parts(
        "missing",
        &partly.json(),
        &[("/errors/0/context/ids", json!(["A"])), ("/results/0/id", json!("171591000001"))],
    );
    assert_eq!(http.post(READ, &by("firstname", &["Ada"])).await.status, 400, "not a key");
    assert_eq!(http.post(READ, &by("email", &["a@example.com", "A@example.com"])).await.status, 400, "duplicates");
    assert_eq!(sim.stats().read_requests, 4);
    assert_eq!(sim.stats().mutating_requests(), 0);
}

#[tokio::test]
async fn archived_records_give_up_their_keys() {
    let sim = sim_with_two(prompt()).await;
    let http = Http::to(&sim);
    let archive = "/crm/v3/objects/contacts/batch/archive";
    // Numbers are taken as ids here, and what does not exist is no error.
    let reply = http.post(archive, &json!({ "inputs": [{ "id": 171_591_000_001_u64 }, { "id": "999" }] })).await;
    assert_eq!((reply.status, reply.text.as_str()), (204, ""));
    assert_eq!(http.get("/crm/v3/objects/contacts/171591000001").await.status, 404);
    assert_eq!(http.get("/crm/v3/objects/contacts/171591000001?archived=true").await.status, 200);
    let again = http.post(UPSERT, &json!({ "inputs": [by_email("0", "ada@example.com", json!({}))] })).await.json();
    assert_parts("recreated", &again, &[("/results/0/new", json!(true)), ("/results/0/id", json!("171591000003"))]);
    assert_eq!(sim.stats().rows_archived, 1);
}

#[tokio::test]
async fn a_further_address_names_the_same_contact() {
    let sim = roomy()
        .with_record("contacts", [("email", "ada@example.com"), ("hs_additional_emails", "old@example.com")])
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let body =
        json!({ "inputs": [by_email("0", "Old@example.com", json!({ "email": "old@example.com", "city": "Turin" }))] });
    assert_parts("alias", &http.post(UPSERT, &body).await.json(), &[("/results/0/new", json!(false))]);
    let records = sim.records("contacts");
    assert_eq!(records.len(), 1, "the contact was not forked");
    assert_eq!(records[0].properties["email"], "old@example.com");
    assert_eq!(records[0].properties["hs_additional_emails"], "ada@example.com", "no address was lost");
    let other =
        json!({ "inputs": [by_email("0", "new@example.com", json!({ "hs_additional_emails": "ada@example.com" }))] });
    assert_eq!(http.post(UPSERT, &other).await.status, 409, "every address is unique across contacts");
}

#[tokio::test]
async fn two_writes_of_one_key_at_a_time_are_seen_and_can_be_locked() {
    use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule};
    for (quirk, expected) in [(ConcurrentWrites::Counted, [200, 200]), (ConcurrentWrites::Locked, [200, 423])] {
        let sim = sim_with_two(Quirks { concurrent_key_writes: quirk, ..prompt() }).await;
        let delay = FaultRule::new(FaultAction::DelayBefore { delay_ms: 150 });
        sim.faults().set(FaultPlan::new([delay])).expect("plan is valid");
        let http = Http::to(&sim);
        let body = json!({ "inputs": [by_email("0", "ada@example.com", json!({}))] });
        let other = json!({ "inputs": [by_email("0", "ADA@example.com ", json!({}))] });
        let (first, second) = tokio::join!(http.post(UPSERT, &body), http.post(UPSERT, &other));
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        assert_eq!(statuses, expected, "{quirk:?}");
        assert_eq!(sim.stats().overlapping_key_writes, 1);
        assert_eq!(sim.stats().max_in_flight, 2);
        let third = http.post(UPSERT, &body).await;
        assert_eq!(third.status, 200, "the key is free again");
        assert_eq!(sim.stats().overlapping_key_writes, 1);
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_say_where() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for body in ["", "{", "[]", "{\"inputs\": 5}", "\u{0}"] {
        let reply = http.send(Method::POST, UPSERT, Some(body.to_owned())).await.expect("an answer");
        assert_eq!(reply.status, 400, "{body:?}");
        let message = reply.json()["message"].as_str().expect("a message").to_owned();
        assert!(message.starts_with("Invalid input JSON on line 1, column "), "{body:?}: {message}");
    }
}
