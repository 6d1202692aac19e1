//! Objects and relationships.

use rsync_testkit::sim::customerio::{CustomerIoSim, PersonSeed};
use serde_json::{Value, json};

use super::harness::{Http, identify, person, roomy};

fn on(action: &str, id: &str, rest: Value) -> Value {
    let mut operation =
        json!({ "type": "object", "action": action, "identifiers": { "object_type_id": "1", "object_id": id } });
    for (name, value) in rest.as_object().expect("parts") {
        operation[name] = value.clone();
    }
    operation
}

fn link(id: &str, attributes: Value) -> Value {
    json!([{ "identifiers": { "object_type_id": "1", "object_id": id }, "relationship_attributes": attributes }])
}

/// `object:attributes` of a person's relationships.
fn related(sim: &CustomerIoSim, id: &str) -> Vec<String> {
    let relationships = sim.person_by_id(id).expect("stored").relationships;
    relationships.into_iter().map(|r| format!("{}:{}", r.object_id, json!(r.attributes))).collect()
}

#[tokio::test]
async fn attributes_of_objects() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    http.entity(&on("identify", "acme", json!({ "attributes": { "size": 3, "name": "Acme", "city": "X" } }))).await;
    http.entity(&on("identify", "acme", json!({ "attributes": { "name": "", "city": null } }))).await;
    let objects = sim.objects();
    assert_eq!(json!(objects[0].attributes), json!({ "size": 3 }));
    let by_system_id = json!({ "type": "object", "action": "identify",
        "identifiers": { "cio_object_id": objects[0].cio_object_id }, "attributes": { "size": 4 } });
    http.entity(&by_system_id).await;
    assert_eq!(json!(sim.objects()[0].attributes), json!({ "size": 4 }));
    let unknown = json!({ "type": "object", "action": "identify", "identifiers": { "cio_object_id": "ob99" } });
    http.entity(&unknown).await;
    assert_eq!((sim.objects().len(), sim.stats().silent_failures), (1, 1), "a system id creates nothing");
    http.entity(&on("delete", "acme", json!({}))).await;
    assert!(sim.objects().is_empty());
}

#[tokio::test]
async fn relationships_from_both_sides() {
    let sim = roomy().with_person(PersonSeed::with_id("1")).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let mut add = person("add_relationships", json!({ "id": "1" }));
    add["cio_relationships"] = link("acme", json!({ "role": "admin", "since": 5 }));
    http.entity(&add).await;
    assert_eq!(related(&sim, "1"), ["acme:{\"role\":\"admin\",\"since\":5}"]);
    assert_eq!(sim.objects().len(), 1, "an unknown object comes to be");

    let people = json!({ "cio_relationships": [
        { "identifiers": { "id": "1" }, "relationship_attributes": { "since": "" } },
        { "identifiers": { "id": "2" } },
    ] });
    http.entity(&on("add_relationships", "acme", people.clone())).await;
    http.entity(&on("identify", "beta", people)).await;
    assert_eq!(related(&sim, "1"), ["acme:{\"role\":\"admin\"}", "beta:{}"]);
    assert_eq!(related(&sim, "2"), ["acme:{}", "beta:{}"]);

    let mut with_link = identify(json!({ "id": "2" }), json!({ "plan": "pro" }));
    with_link["cio_relationships"] = link("gamma", json!({}));
    http.entity(&with_link).await;
    assert_eq!(related(&sim, "2"), ["acme:{}", "beta:{}", "gamma:{}"]);

    let mut remove = person("delete_relationships", json!({ "id": "2" }));
    remove["cio_relationships"] = link("acme", json!({}));
    http.entity(&remove).await;
    http.entity(&on(
        "delete_relationships",
        "beta",
        json!({ "cio_relationships": [{ "identifiers": { "id": "2" } }] }),
    ))
    .await;
    http.entity(&on("delete", "gamma", json!({}))).await;
    assert_eq!(related(&sim, "2"), [] as [&str; 0]);
    http.entity(&person("delete", json!({ "id": "1" }))).await;
    http.entity(&identify(json!({ "id": "1" }), json!({}))).await;
    assert_eq!(related(&sim, "1"), [] as [&str; 0], "a deleted person is related to nothing");
}

#[tokio::test]
async fn relationships_move_in_a_merge() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for (id, object, attributes) in [
        ("1", "acme", json!({ "role": "owner" })),
        ("2", "acme", json!({ "role": "guest", "since": 5 })),
        ("2", "beta", json!({})),
    ] {
        let mut add = person("add_relationships", json!({ "id": id }));
        add["cio_relationships"] = link(object, attributes);
        http.entity(&add).await;
    }
    let merge = json!({ "type": "person", "action": "merge", "primary": { "id": "1" }, "secondary": { "id": "2" } });
    http.entity(&merge).await;
    assert_eq!(related(&sim, "1"), ["acme:{\"role\":\"owner\",\"since\":5}", "beta:{}"]);
}
