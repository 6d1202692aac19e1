//! Deletion, suppression, merge, events and devices.

use rsync_testkit::sim::customerio::{CustomerIoSim, PersonSeed, Quirks, UnknownPerson};
use serde_json::{Value, json};

use super::harness::{Http, identify, person, prompt, roomy};

fn event(identifiers: Value, id: Option<&str>) -> Value {
    let mut event = person("event", identifiers);
    event["name"] = json!("bought");
    if let Some(id) = id {
        event["id"] = json!(id);
    }
    event
}

fn ids(sim: &CustomerIoSim) -> Vec<String> {
    sim.people().into_iter().filter_map(|person| person.id).collect()
}

#[tokio::test]
async fn deletion_forgets_everything() {
    let sim = roomy()
        .with_person(PersonSeed::with_id("1").email("ada@example.com").attribute("plan", "pro"))
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    let before = sim.person_by_id("1").expect("seeded").cio_id;
    http.entity(&person("delete", json!({ "email": "Ada@example.com" }))).await;
    http.entity(&person("delete", json!({ "id": "1" }))).await;
    assert!(sim.people().is_empty());
    assert_eq!(sim.stats().people_deleted, 1, "deleting who is gone is a success without effect");
    http.entity(&identify(json!({ "id": "1" }), json!({}))).await;
    let again = sim.person_by_id("1").expect("created again");
    assert_ne!(again.cio_id, before);
    assert_eq!((again.email, again.attributes.len()), (None, 2));
    http.entity(&identify(json!({ "cio_id": before }), json!({ "plan": "x" }))).await;
    assert_eq!(sim.people().len(), 1, "the old id of the service names nobody");
}

#[tokio::test]
async fn suppression_blocks_all_identifiers_until_it_ends() {
    let sim = roomy()
        .with_person(PersonSeed::with_id("1").email("ada@example.com"))
        .with_person(PersonSeed::with_id("2"))
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    http.entity(&person("suppress", json!({ "id": "1" }))).await;
    assert_eq!(ids(&sim), ["2"]);
    let blocked = sim.suppressed();
    assert!(["email:ada@example.com", "id:1"].iter().all(|label| blocked.iter().any(|b| b == label)), "{blocked:?}");
    http.entity(&identify(json!({ "id": "1" }), json!({}))).await;
    http.entity(&identify(json!({ "email": "ADA@example.com" }), json!({}))).await;
    http.entity(&identify(json!({ "id": "3" }), json!({ "email": "ada@example.com" }))).await;
    http.entity(&event(json!({ "id": "1" }), None)).await;
    assert_eq!(ids(&sim), ["2"]);
    assert_eq!(sim.stats().silent_failures, 4);
    http.entity(&person("unsuppress", json!({ "email": "ada@example.com" }))).await;
    assert_eq!((sim.suppressed().len(), ids(&sim)), (0, vec!["2".to_owned()]), "nothing comes back by itself");
    http.entity(&identify(json!({ "id": "1" }), json!({}))).await;
    assert_eq!(ids(&sim), ["2", "1"]);
    http.entity(&person("suppress", json!({ "id": "unknown" }))).await;
    http.entity(&identify(json!({ "id": "unknown" }), json!({}))).await;
    assert_eq!(ids(&sim), ["2", "1"], "who was never there can be blocked too");
}

#[tokio::test]
async fn a_merge_fills_what_is_empty() {
    let seeded = || {
        roomy().with_person(PersonSeed::with_id("1").attribute("plan", "pro")).with_person(
            PersonSeed::with_id("2").email("two@example.com").attribute("plan", "free").attribute("age", 30),
        )
    };
    let merge = |primary: Value, secondary: Value| json!({ "type": "person", "action": "merge", "primary": primary, "secondary": secondary });
    let sim = seeded().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    http.entity(&event(json!({ "id": "2" }), None)).await;
    http.entity(&merge(json!({ "id": "1" }), json!({ "email": "two@example.com" }))).await;
    assert_eq!(ids(&sim), ["1"]);
    let kept = sim.person_by_email("two@example.com").expect("the address moved");
    assert_eq!(
        (kept.id.as_deref(), kept.attributes["plan"].as_str(), kept.attributes["age"].as_str()),
        (Some("1"), "pro", "30")
    );
    assert_eq!(kept.events.len(), 1);

    for (primary, secondary) in [("9", "1"), ("1", "9"), ("1", "1")] {
        let sim = seeded().start().await.expect("the simulator starts");
        Http::to(&sim).entity(&merge(json!({ "id": primary }), json!({ "id": secondary }))).await;
        assert_eq!(ids(&sim), ["1", "2"], "{primary} {secondary}");
    }
}

#[tokio::test]
async fn events_are_kept_once_per_id() {
    let sim = roomy().with_person(PersonSeed::with_id("1")).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let ulid = "01HB4HBDKTFWYZCK01DMRSWRFD";
    for id in [Some(ulid), Some(ulid), None, None] {
        http.entity(&event(json!({ "id": "1" }), id)).await;
    }
    http.entity(&event(json!({ "anonymous_id": "a" }), None)).await;
    let person = sim.person_by_id("1").expect("stored");
    assert_eq!(person.events.iter().map(|event| event.id.as_deref()).collect::<Vec<_>>(), [Some(ulid), None, None]);
    assert_eq!((person.events[0].kind.as_str(), person.events[0].name.as_str()), ("event", "bought"));
    assert_eq!((sim.stats().events_recorded, sim.people().len()), (4, 1));
}

#[tokio::test]
async fn what_is_said_of_nobody() {
    let device = json!({ "type": "person", "action": "add_device", "identifiers": { "id": "2" },
        "device": { "token": "t", "platform": "android" } });
    for (unknown_person, expected) in [(UnknownPerson::Created, vec!["1", "2"]), (UnknownPerson::Ignored, vec![])] {
        let sim = roomy().with_quirks(Quirks { unknown_person, ..prompt() }).start().await.expect("starts");
        let http = Http::to(&sim);
        http.entity(&event(json!({ "id": "1" }), None)).await;
        http.entity(&device).await;
        http.entity(&event(json!({ "cio_id": "ffff0001" }), None)).await;
        assert_eq!(ids(&sim), expected);
    }
}

#[tokio::test]
async fn devices_come_and_go() {
    let sim = roomy().with_person(PersonSeed::with_id("1")).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let add = |token: &str, platform: &str| {
        let mut operation = person("add_device", json!({ "id": "1" }));
        operation["device"] = json!({ "token": token, "platform": platform, "last_used": 5, "attributes": { "n": 1 } });
        operation
    };
    for (token, platform) in [("b", "ios"), ("a", "ios"), ("a", "android")] {
        http.entity(&add(token, platform)).await;
    }
    let mut gone = person("delete_device", json!({ "id": "1" }));
    gone["device"] = json!({ "token": "b" });
    http.entity(&gone).await;
    let devices = sim.person_by_id("1").expect("stored").devices;
    assert_eq!(devices.len(), 1);
    assert_eq!(
        (devices[0].token.as_str(), devices[0].platform.as_str(), devices[0].last_used),
        ("a", "android", Some(5))
    );
}
