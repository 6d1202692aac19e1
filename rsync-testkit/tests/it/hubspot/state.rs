//! The handle: seeds, changes during a run, statistics, inspection endpoints, threads and TLS.

use rsync_testkit::sim::hubspot::{HubSpotSim, PropertySeed, Seed};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, by_email, by_external_id, roomy};

const UPSERT: &str = "/crm/v3/objects/contacts/batch/upsert";

#[tokio::test]
async fn definitions_change_during_a_run() {
    let sim = roomy()
        .with_property("contacts", PropertySeed::options("plan", "select", ["free", "paid"]))
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let write = async |plan: &str| {
        let body = json!({ "inputs": [by_email("0", "ada@example.com", json!({ "plan": plan }))] });
        let reply = http.post(UPSERT, &body).await;
        let message = reply.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
        (reply.status, message)
    };
    assert_eq!(write("paid").await.0, 200);
    sim.remove_option("contacts", "plan", "paid").expect("the option exists");
    let (status, message) = write("paid").await;
    assert!(status == 207 && message.contains("INVALID_OPTION"), "{status} {message}");
    sim.set_property("contacts", &PropertySeed::text("plan")).expect("a valid property");
    assert_eq!(write("anything").await.0, 200);
    sim.archive_property("contacts", "plan").expect("the property exists");
    let (status, message) = write("paid").await;
    assert!(status == 207 && message.contains("PROPERTY_DOESNT_EXIST"), "{status} {message}");
    assert!(sim.archive_property("contacts", "no_such").is_err());
    assert!(sim.add_record("contacts", [("no_such", "x")]).is_err());
}

#[tokio::test]
async fn merged_records_move_to_a_new_id_and_keep_their_addresses() {
    let sim = roomy()
        .with_record("contacts", [("email", "ada@example.com"), ("external_id", "a")])
        .with_record("contacts", [("email", "ada@work.example.com"), ("external_id", "b"), ("city", "Turin")])
        .start()
        .await
        .expect("the simulator starts");
    let ids: Vec<String> = sim.records("contacts").into_iter().map(|r| r.id).collect();
    let merged = sim.merge("contacts", &ids[0], &ids[1]).expect("both are live");
    assert!(!ids.contains(&merged));
    let http = Http::to(&sim);
    for id in &ids {
        assert_eq!(http.get(&format!("/crm/v3/objects/contacts/{id}")).await.status, 404);
    }
    let body = json!({ "inputs": [by_email("0", "ADA@work.example.com", json!({}))] });
    assert_parts("alias", &http.post(UPSERT, &body).await.json(), &[("/results/0/id", json!(merged))]);
    let survivor = sim.record_by("contacts", "email", "ada@example.com").expect("merged");
    assert_eq!((survivor.properties["external_id"].as_str(), survivor.properties["city"].as_str()), ("a", "Turin"));
}

#[tokio::test]
async fn statistics_count_and_reset() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let body = json!({ "inputs": [by_external_id("0", "a", json!({})), by_external_id("1", "b", json!({}))] });
    http.post(UPSERT, &body).await;
    http.post(UPSERT, &json!({ "inputs": [by_external_id("0", "b", json!({ "city": "x" }))] })).await;
    http.get("/crm/v3/properties/contacts").await;
    let stats = sim.stats();
    assert_eq!((stats.write_requests, stats.rows_created, stats.rows_updated), (2, 2, 1));
    assert_eq!(stats.definition_read_requests, 1);
    assert_eq!(stats.writes_per_record["contacts"].values().collect::<Vec<_>>(), [&1, &2]);
    assert_eq!(stats.max_writes_per_record(), 2);
    let journal = sim.journal().entries();
    assert_eq!(journal.len(), 3);
    assert_eq!((journal[0].path.as_str(), journal[0].status, journal[0].rows), (UPSERT, Some(200), Some(2)));
    sim.reset_stats();
    assert_eq!(sim.stats().rows_written(), 0);
    assert_eq!(sim.stats().max_writes_per_record(), 0);
    assert_eq!(sim.journal().total(), 0);
    assert_eq!(sim.records("contacts").len(), 2, "records stay");
}

#[tokio::test]
async fn inspection_endpoints_show_and_reset_the_portal() {
    let sim =
        roomy().with_record("contacts", [("email", "ada@example.com")]).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    http.post(UPSERT, &json!({ "inputs": [by_email("0", "bob@example.com", json!({}))] })).await;
    let records = http.get("/_sim/records/contacts").await.json();
    assert_eq!(records["records"][1]["properties"]["email"], "bob@example.com");
    assert_eq!(http.get("/_sim/records/butterflies").await.status, 404);
    assert_eq!(http.get("/_sim/stats").await.json()["rows_created"], 1);
    assert_parts(
        "requests",
        &http.get("/_sim/requests").await.json(),
        &[("/total", json!(1)), ("/requests/0/status", json!(200))],
    );
    assert_eq!(http.post("/_sim/reset", &Value::Null).await.status, 204);
    assert_eq!(sim.stats().rows_created, 0);
    assert_eq!(http.post("/_sim/reset?what=everything", &Value::Null).await.status, 400);
    assert_eq!(http.post("/_sim/reset?what=portal", &Value::Null).await.status, 204);
    assert_eq!(sim.records("contacts").len(), 1);
}

#[test]
fn a_blocking_test_runs_it_on_a_thread() {
    let sim = roomy().start_on_thread().expect("the simulator starts");
    let url: url::Url = sim.base_url().parse().expect("a URL");
    let address = (url.host_str().expect("a host"), url.port().expect("a port"));
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    std::io::Write::write_all(&mut stream, b"GET /_sim/stats HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("read");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    drop(sim);
    assert!(std::net::TcpStream::connect(address).is_err(), "nothing listens after the drop");
}

#[tokio::test]
async fn tls_is_trusted_by_its_own_authority_only() {
    let sim = roomy().with_tls().start().await.expect("the simulator starts");
    assert!(sim.base_url().starts_with("https://127.0.0.1:"));
    let pem = sim.ca_pem().expect("there is a certificate").to_owned();
    let certificate = reqwest::Certificate::from_pem(pem.as_bytes()).expect("it is PEM");
    let trusting = reqwest::Client::builder().tls_certs_only([certificate]).build().expect("client builds");
    let http = Http::to(&sim).with_client(trusting);
    let body = json!({ "inputs": [by_email("0", "ada@example.com", json!({}))] });
    assert_eq!(http.post(UPSERT, &body).await.status, 200);
    let distrusting = Http::to(&sim);
    assert!(distrusting.send(reqwest::Method::GET, "/_sim/stats", None).await.is_err());
}

#[tokio::test]
async fn seeds_that_contradict_themselves_are_refused_with_every_problem() {
    for (seed, parts) in [
        (r#"{"time_zone":"Mars/Base"}"#, vec!["time_zone", "Mars/Base"]),
        (r#"{"unknown":1}"#, vec!["unknown"]),
        (r#"{"properties":{"butterflies":[]}}"#, vec!["properties.butterflies"]),
        (
            r#"{"properties":{"contacts":[{"name":"Bad Name","type":"string","field_type":"text"},
                                          {"name":"x","type":"text","field_type":"text"}]}}"#,
            vec!["properties.contacts[0].name", "properties.contacts[1]"],
        ),
        (r#"{"custom_objects":[{"name":"deals","type_number":1}]}"#, vec!["custom_objects[0].name"]),
        (
            r#"{"records":{"contacts":[{"email":"x"},{"no_such":"1"}]}}"#,
            vec!["records.contacts[0]", "records.contacts[1]"],
        ),
        (r#"{"records":{"contacts":[{"email":"a@b.co"},{"email":"A@b.co"}]}}"#, vec!["records.contacts[1]", "unique"]),
        (r#"{"required_on_create":{"contacts":["no_such"]}}"#, vec!["no_such"]),
    ] {
        let started = match Seed::from_json(seed) {
            Ok(seed) => HubSpotSim::builder().with_seed(seed).start().await.map(|_| ()),
            Err(error) => Err(error),
        };
        let error = started.expect_err(seed).to_string();
        for part in parts {
            assert!(error.contains(part), "{part} missing in: {error}");
        }
    }
}
