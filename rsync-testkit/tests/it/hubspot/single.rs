//! Endpoints for one record.

use serde_json::{Value, json};

use super::harness::{Http, assert_parts, roomy};

const CONTACTS: &str = "/crm/v3/objects/contacts";

#[tokio::test]
async fn a_records_life() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let created =
        http.post(CONTACTS, &json!({ "properties": { "email": "Ada@Example.com", "firstname": "Ada" } })).await;
    assert_eq!(created.status, 201);
    let id = created.json()["id"].as_str().expect("an id").to_owned();

    // The path is decoded once: keys may hold any character.
    let by_key = format!("{CONTACTS}/ADA%40example.com?idProperty=email&properties=firstname,lastname");
    assert_parts(
        "read by email",
        &http.get(&by_key).await.json(),
        &[
            ("/id", json!(id)),
            ("/properties/firstname", json!("Ada")),
            ("/properties/lastname", Value::Null),
            ("/properties/hs_object_id", json!(id)),
            ("/properties/email", Value::Null),
        ],
    );
    let patched = http
        .patch(&format!("{CONTACTS}/ada@example.com?idProperty=email"), &json!({ "properties": { "city": "x" } }))
        .await;
    assert_eq!(patched.status, 200);
    assert_eq!(patched.json()["properties"]["city"], "x");
    assert_eq!(http.delete(&format!("{CONTACTS}/{id}")).await.status, 204);
    assert_eq!(http.get(&format!("{CONTACTS}/{id}")).await.status, 404);
    assert_eq!(sim.stats().rows_archived, 1);
    assert!(sim.records("contacts")[0].archived);
}

#[tokio::test]
async fn single_requests_are_refused_with_the_services_words() {
    let sim =
        roomy().with_record("contacts", [("email", "ada@example.com")]).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let conflict = http.post(CONTACTS, &json!({ "properties": { "email": "ada@example.com" } })).await;
    assert_eq!(conflict.status, 409);
    assert_parts(
        "conflict",
        &conflict.json(),
        &[("/message", json!("Contact already exists. Existing ID: 171591000001")), ("/category", json!("CONFLICT"))],
    );
    for (path, status, message, category) in [
        (
            "/crm/v3/objects/contacts/ada",
            404,
            "Object not found.  objectId are usually numeric.",
            json!("OBJECT_NOT_FOUND"),
        ),
        ("/crm/v3/objects/contacts/12", 404, "resource not found", Value::Null),
        ("/crm/v3/objects/contacts/x%2Fy?idProperty=external_id", 404, "resource not found", Value::Null),
        ("/crm/v3/objects/companies/example.com?idProperty=domain", 404, "resource not found", Value::Null),
        ("/crm/v3/objects/butterflies/1", 400, "Unable to infer object type from: butterflies", Value::Null),
        ("/crm/v3/objects/contacts/%ff", 404, "resource not found", Value::Null),
        (
            "/crm/v3/objects/contacts?associations=companies",
            501,
            "The simulator keeps no associations in lists of records; leave them out of the request",
            Value::Null,
        ),
        ("/crm/v3/nothing/here", 404, "resource not found", Value::Null),
    ] {
        let reply = http.get(path).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text);
        assert_parts(path, &reply.json(), &[("/message", json!(message)), ("/category", category)]);
    }
    let invalid =
        http.patch("/crm/v3/objects/contacts/171591000001", &json!({ "properties": { "no_such": "1" } })).await;
    assert_eq!(invalid.status, 400);
    assert_eq!(http.patch("/crm/v3/objects/contacts/171591000001", &json!({})).await.status, 400);
    assert_eq!(http.patch("/crm/v3/objects/contacts/12", &json!({ "properties": {} })).await.status, 404);
}

#[tokio::test]
async fn lists_are_paged() {
    let mut builder = roomy();
    for i in 0..25 {
        builder = builder.with_record("companies", [("name", format!("c{i}").as_str())]);
    }
    let sim = builder.start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = http.get(&format!("/crm/v3/objects/companies?limit=10&after={after}&properties=name")).await.json();
        for record in page["results"].as_array().expect("results") {
            seen.push(record["properties"]["name"].as_str().expect("a name").to_owned());
        }
        match page["paging"]["next"]["after"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(seen, (0..25).map(|i| format!("c{i}")).collect::<Vec<_>>());
    for bad in ["limit=0", "limit=101", "limit=x", "after=x"] {
        assert_eq!(http.get(&format!("/crm/v3/objects/companies?{bad}")).await.status, 400, "{bad}");
    }
}
