//! Third-party clients against the simulator.

use rsync_testkit::sim::salesforce::SalesforceSim;
use serde_json::json;

use super::harness::org;
use crate::clients::{self, node, python};

fn emails(sim: &SalesforceSim) -> Vec<String> {
    let live = sim.records("Contact").into_iter().filter(|record| !record.deleted);
    live.map(|record| record.fields["Email"].clone()).collect()
}

#[test]
fn jsforce() {
    let sim = org().start_on_thread().expect("the simulator starts");
    let said = clients::report(
        sim.journal(),
        "jsforce.mjs",
        &mut node("jsforce.mjs"),
        &[
            ("SIM_BASE_URL", &sim.base_url()),
            ("SIM_CLIENT_ID", &sim.client_id()),
            ("SIM_CLIENT_SECRET", &sim.client_secret()),
        ],
    );
    assert_eq!(said, json!({ "contacts": 253, "organization": sim.organization_id() }));
    let ada = sim.record_by("Contact", "Ext__c", "ada").expect("stored");
    assert_eq!((&*ada.fields["FirstName"], &*ada.fields["Email"]), ("Augusta", "ada@example.com"));
    assert_eq!(ada.fields["AccountId"], sim.record_by("Account", "Ext__c", "engines").expect("stored").id);
    assert_eq!(sim.record_by("Contact", "Ext__c", "row-249").expect("stored").fields["LastName"], "Row 249");
    let bulk = sim.record_by("Contact", "Ext__c", "bulk-1").expect("loaded");
    assert_eq!(bulk.fields["LastName"], "Quote \"and\", comma");
    assert_eq!(bulk.fields["AccountId"], sim.record_by("Account", "Ext__c", "acme").expect("composed").id);
    let jobs: Vec<_> =
        sim.jobs().into_iter().map(|job| (job.operation, job.state, job.succeeded, job.failed)).collect();
    let done = "JobComplete".to_owned();
    assert_eq!(jobs, [("upsert".to_owned(), done.clone(), 2, 1), ("delete".to_owned(), done, 1, 0)]);
    assert_eq!((sim.stats().unknown_requests, sim.stats().composite_requests), (0, 1));
}

#[test]
fn simple_salesforce() {
    let sim = org().with_tls().start_on_thread().expect("the simulator starts");
    let folder = tempfile::tempdir().expect("a folder");
    let (ca, key) = (folder.path().join("ca.pem"), folder.path().join("key.pem"));
    std::fs::write(&ca, sim.ca_pem().expect("it serves HTTPS")).expect("written");
    std::fs::write(&key, sim.private_key_pem()).expect("written");
    let said = clients::report(
        sim.journal(),
        "simple_salesforce_rest.py",
        &mut python("simple_salesforce_rest.py"),
        &[
            ("SIM_BASE_URL", &sim.base_url()),
            ("SIM_CLIENT_ID", &sim.client_id()),
            ("SIM_CLIENT_SECRET", &sim.client_secret()),
            ("SIM_USERNAME", &sim.username()),
            ("SIM_KEY_FILE", key.to_str().expect("a UTF-8 path")),
            ("SIM_CA_FILE", ca.to_str().expect("a UTF-8 path")),
        ],
    );
    assert_eq!(said, json!({ "contacts": 2 }));
    assert_eq!(emails(&sim), ["ada@example.com", "bob@example.com"]);
    assert_eq!(sim.record_by("Contact", "Ext__c", "b/2?").expect("stored").fields["LastName"], "Babbage");
    let ada = sim.record_by("Contact", "Ext__c", "A-1").or_else(|| sim.record_by("Contact", "Ext__c", "a-1"));
    let acme = sim.record_by("Account", "Name", "Acme").expect("composed").id;
    assert_eq!(ada.expect("stored").fields["AccountId"], acme);
    let jobs: Vec<_> = sim.jobs().into_iter().map(|job| (job.operation, job.succeeded, job.failed)).collect();
    assert_eq!(jobs, [("upsert".to_owned(), 2, 1), ("delete".to_owned(), 1, 0)]);
    assert_eq!((sim.stats().unknown_requests, sim.stats().unauthenticated_answers), (0, 1));
}
