//! HubSpot's official clients against the simulator.

use rsync_testkit::sim::hubspot::{HubSpotSim, RateLimits, SubscriptionStatus};
use serde_json::{Value, json};

use super::harness::prompt;
use crate::clients::{self, node, python};

fn simulator() -> HubSpotSim {
    HubSpotSim::builder()
        .with_rate_limits(RateLimits::Unlimited)
        .with_quirks(prompt())
        .start_on_thread()
        .expect("the simulator starts")
}

fn report(sim: &HubSpotSim, script: &str, command: &mut std::process::Command) -> Value {
    clients::report(
        sim.journal(),
        script,
        command,
        &[("SIM_BASE_URL", sim.base_url().as_str()), ("SIM_TOKEN", sim.token().as_str())],
    )
}

fn emails(sim: &HubSpotSim) -> Vec<String> {
    sim.records("contacts").into_iter().map(|record| record.properties["email"].clone()).collect()
}

#[test]
fn official_node_client() {
    let sim = simulator();
    let said = report(&sim, "hubspot.mjs", &mut node("hubspot.mjs"));
    assert_eq!(said, json!({ "contacts": 2 }));
    assert_eq!(emails(&sim), ["ada@example.com", "bob@example.com"]);
    let ada = sim.record_by("contacts", "email", "ada@example.com").expect("stored");
    assert_eq!((&*ada.properties["firstname"], &*ada.properties["lastname"]), ("Augusta", "Lovelace"));
    assert_eq!(
        sim.record_by("contacts", "plan", "paid").map(|bob| bob.properties["email"].clone()),
        Some("bob@example.com".into())
    );
}

/// What both scripts for relations leave behind.
fn assert_related(sim: &HubSpotSim, said: &Value) {
    let survivor = said["survivor"].as_str().expect("an id");
    let companies = sim.records("companies");
    let related = sim.associations("contacts", survivor, "companies");
    assert!(related.iter().all(|association| association.to_id == companies[0].id) && !related.is_empty());
    let list = sim.list("Churn risk").expect("made");
    assert_eq!((list.id.as_str(), list.members), (said["list"].as_str().expect("an id"), vec![survivor.to_owned()]));
    assert!(sim.record_by("contacts", "email", "bob@example.com").is_none(), "erased");
    let stats = sim.stats();
    assert_eq!((stats.rows_merged, stats.rows_erased), (1, 1));
}

#[test]
fn official_node_client_relates_lists_merges_and_erases() {
    let sim = simulator();
    let said = report(&sim, "hubspot_relations.mjs", &mut node("hubspot_relations.mjs"));
    assert_related(&sim, &said);
    assert_eq!(sim.subscription_status("ada@example.com", 101), SubscriptionStatus::Subscribed);
    assert_eq!(sim.records("p4511_boat").len(), 1);
}

#[test]
fn official_python_client_relates_lists_merges_and_erases() {
    let sim = simulator();
    let said = report(&sim, "hubspot_relations.py", &mut python("hubspot_relations.py"));
    assert_related(&sim, &said);
}

#[test]
fn official_python_client() {
    let sim = simulator();
    let said = report(&sim, "hubspot_v3.py", &mut python("hubspot_v3.py"));
    assert_eq!(said, json!({ "contacts": 2 }));
    assert_eq!(emails(&sim), ["ada@example.com", "bob@example.com"]);
}

#[test]
fn official_python_client_of_the_dated_versions() {
    let sim = simulator();
    report(&sim, "hubspot_dated.py", &mut python("hubspot_dated.py"));
    assert_eq!(emails(&sim), ["ada@example.com", "bob@example.com"]);
    assert!(sim.journal().entries().iter().all(|request| request.path.contains("/2026-03/")), "dated paths only");
}
