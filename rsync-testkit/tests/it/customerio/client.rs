//! Customer.io's official clients against the simulator.

use rsync_testkit::sim::customerio::{CustomerIoSim, LintKind};
use serde_json::{Value, json};

use super::harness::roomy;
use crate::clients::{self, node, python};

/// Over TLS: one of the clients knows nothing else.
fn simulator() -> CustomerIoSim {
    roomy().with_tls().start_on_thread().expect("the simulator starts")
}

fn report(sim: &CustomerIoSim, script: &str, command: &mut std::process::Command) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, sim.ca_pem().expect("there is a certificate")).expect("written");
    let ca = ca.to_str().expect("a UTF-8 path");
    let (base, site, key, app) = (sim.base_url(), sim.site_id(), sim.api_key(), sim.app_api_key());
    let environment = [
        ("SIM_BASE_URL", base.as_str()),
        ("SIM_SITE_ID", site.as_str()),
        ("SIM_API_KEY", key.as_str()),
        ("SIM_APP_API_KEY", app.as_str()),
        ("NODE_EXTRA_CA_CERTS", ca),
        ("REQUESTS_CA_BUNDLE", ca),
    ];
    clients::report(sim.journal(), script, command, &environment)
}

/// What both scripts leave behind.
fn assert_stored(sim: &CustomerIoSim) {
    let people = sim.people();
    let mut ids: Vec<_> = people.iter().filter_map(|person| person.id.as_deref()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["a/b c+d", "batch-1", "batch-2", "kept"]);
    let strange = sim.person_by_id("a/b c+d").expect("stored");
    assert_eq!(strange.email.as_deref(), Some("ada@example.com"));
    let attributes = &strange.attributes;
    assert_eq!(
        (attributes["plan"].as_str(), attributes["age"].as_str(), attributes["vip"].as_str()),
        ("pro", "31", "true")
    );
    assert!(!attributes.contains_key("old"), "null removed it");
    assert_eq!(
        strange.events.iter().map(|e| (e.kind.as_str(), e.name.as_str())).collect::<Vec<_>>(),
        [("event", "bought"), ("page", "/home")]
    );
    assert_eq!(strange.events[0].data["price"], json!(5));
    assert_eq!(strange.devices.iter().map(|device| device.token.as_str()).collect::<Vec<_>>(), ["token/1"]);
    let kept = sim.person_by_email("merged@example.com").expect("the merge moved the address");
    assert_eq!(kept.id.as_deref(), Some("kept"));
    assert_eq!(sim.person_by_id("batch-1").expect("stored").attributes["city"], "Z\u{fc}rich");
    assert_eq!(sim.suppressed(), ["id:blocked"]);
    let stats = sim.stats();
    let refused = (stats.items_rejected, stats.unauthenticated_answers);
    assert_eq!((stats.batch_requests, refused), (2, (2, 1)), "an operation of a batch, a call, and a stranger");
    assert!(sim.lints().iter().all(|lint| lint.kind != LintKind::ConcurrentWrites));
}

#[test]
fn official_node_client() {
    let sim = simulator();
    assert_eq!(report(&sim, "customerio.mjs", &mut node("customerio.mjs")), json!({ "rejected": [1] }));
    assert_stored(&sim);
}

#[test]
fn official_python_client() {
    let sim = simulator();
    let said = report(&sim, "customerio_track.py", &mut python("customerio_track.py"));
    assert_eq!(said, json!({ "rejected": [1] }));
    assert_stored(&sim);
}

#[test]
fn official_node_client_fills_segments_and_reads_the_app_api() {
    let sim = simulator();
    let said = report(&sim, "customerio_segments.mjs", &mut node("customerio_segments.mjs"));
    assert_eq!(said, json!({ "segment": 1 }));
    assert_eq!(sim.segment("by hand").expect("made").ids, ["a", "c"]);
    assert_eq!(sim.stats().unauthenticated_answers, 0);
}

#[test]
fn official_python_client_batches_objects_devices_and_events() {
    let sim = simulator();
    let said = report(&sim, "customerio_objects.py", &mut python("customerio_objects.py"));
    assert_eq!(said, json!({ "rejected": ["identifiers.object_type_id", "action"] }));
    assert_eq!(sim.objects().into_iter().map(|object| object.object_id).collect::<Vec<_>>(), ["acme"]);
    let a = sim.person_by_id("a").expect("stored");
    assert_eq!(a.relationships[0].attributes["role"], "admin");
    assert!(a.devices.is_empty());
    let mut kinds: Vec<&str> = a.events.iter().map(|event| event.kind.as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["event", "page", "screen"], "the repeated event id is dropped");
    assert!(sim.person_by_id("blocked").is_none(), "who is suppressed is ignored without a word");
}
