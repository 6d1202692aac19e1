//! GDPR deletion: gone for good, and a blocklist for addresses that nobody has.

use serde_json::json;

use super::harness::{Http, assert_parts, by_email, roomy};

const ERASE: &str = "/crm/v3/objects/contacts/gdpr-delete";
const UPSERT: &str = "/crm/v3/objects/contacts/batch/upsert";

#[tokio::test]
async fn an_erased_contact_leaves_no_trace_and_its_address_can_come_back() {
    let sim = roomy()
        .with_record("contacts", [("email", "ada@example.com")])
        .with_record("companies", [("name", "A")])
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let ada = sim.records("contacts")[0].id.clone();
    let company = sim.records("companies")[0].id.clone();
    sim.associate("contacts", &ada, "companies", &company).expect("both are live");
    sim.opt_out("ada@example.com", 101);
    let erased = http.post(ERASE, &json!({ "objectId": "ADA@example.com", "idProperty": "email" })).await;
    assert_eq!((erased.status, erased.text.as_str()), (204, ""));
    assert!(sim.records("contacts").is_empty(), "not even archived");
    assert!(sim.associations("companies", &company, "contacts").is_empty());
    assert_eq!(
        sim.subscription_status("ada@example.com", 101),
        rsync_testkit::sim::hubspot::SubscriptionStatus::NotSpecified
    );
    assert_eq!(http.get(&format!("/crm/v3/objects/contacts/{ada}?archived=true")).await.status, 404);
    let back = http.post(UPSERT, &json!({ "inputs": [by_email("0", "ada@example.com", json!({}))] })).await;
    assert_parts("back", &back.json(), &[("/results/0/new", json!(true))]);
    assert_eq!(sim.stats().rows_erased, 1);
}

#[tokio::test]
async fn an_unknown_address_is_blocked_from_then_on() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    assert_eq!(http.post(ERASE, &json!({ "objectId": "Eve@example.com", "idProperty": "email" })).await.status, 204);
    let inputs =
        json!({ "inputs": [by_email("0", "eve@EXAMPLE.com", json!({})), by_email("1", "ok@example.com", json!({}))] });
    let reply = http.post(UPSERT, &inputs).await;
    assert_eq!(reply.status, 207);
    assert_parts("blocked", &reply.json(), &[("/errors/0/context/objectWriteTraceId", json!(["0"]))]);
    let one = http.post("/crm/v3/objects/contacts", &json!({ "properties": { "email": "eve@example.com" } })).await;
    assert_eq!((one.status, &one.json()["errors"][0]["code"]), (400, &json!("GDPR_BLACKLISTED_EMAIL")));
    assert_eq!(sim.records("contacts").len(), 1);
}

#[tokio::test]
async fn erasure_is_for_contacts_by_id_or_a_unique_property() {
    let sim = roomy()
        .with_record("contacts", [("email", "a@example.com"), ("external_id", "x")])
        .with_record("contacts", [("email", "b@example.com")])
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let second = sim.records("contacts")[1].id.clone();
    http.delete(&format!("/crm/v3/objects/contacts/{second}")).await;
    for (path, body, status) in [
        (ERASE, json!({ "objectId": "12" }), 404),
        (ERASE, json!({ "objectId": "a", "idProperty": "firstname" }), 400),
        (ERASE, json!({}), 400),
        ("/crm/v3/objects/companies/gdpr-delete", json!({ "objectId": "12" }), 404),
        (ERASE, json!({ "objectId": "x", "idProperty": "external_id" }), 204),
        ("/crm/objects/2026-09/contacts/gdpr-delete", json!({ "objectId": second }), 204),
    ] {
        assert_eq!(http.post(path, &body).await.status, status, "{path} {body}");
    }
    assert!(sim.records("contacts").is_empty(), "also from the recycle bin");
}
