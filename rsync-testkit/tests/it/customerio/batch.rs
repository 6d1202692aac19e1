//! Version 2: what is accepted, what is refused, and how that is said.

use serde_json::{Value, json};

use super::harness::{BATCH, ENTITY, Http, identify, person, prompt, roomy};
use rsync_testkit::sim::customerio::{
    ErrorParts, NestedValues, PartialStatus, Quirks, Seed, UnknownKeys, WorkspaceMode,
};

/// An object of a type, as identifiers.
fn acme() -> Value {
    json!({ "object_type_id": "1", "object_id": "acme" })
}

fn with(mut operation: Value, key: &str, value: Value) -> Value {
    operation[key] = value;
    operation
}

#[tokio::test]
async fn a_success_is_byte_exact() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let one = identify(json!({ "id": "1" }), json!({}));
    for reply in [http.batch(std::slice::from_ref(&one)).await, http.post(ENTITY, &one).await] {
        assert_eq!((reply.status, reply.text.as_str()), (200, "{}\n"));
        for (name, value) in [
            ("content-type", "application/json; charset=utf-8"),
            ("content-length", "3"),
            ("cache-control", "no-cache, no-store, must-revalidate, max-age=0"),
            ("access-control-allow-origin", "*"),
            ("status", "200 OK"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{name}");
        }
    }
    assert_eq!(sim.journal().entries().iter().map(|entry| entry.rows).collect::<Vec<_>>(), [Some(1), Some(1)]);
}

#[tokio::test]
async fn every_documented_operation_is_accepted() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let links = json!([{ "identifiers": acme(), "relationship_attributes": { "role": "admin" } }]);
    let people = json!([{ "identifiers": { "email": "a@example.com" } }, { "identifiers": { "id": 7 } }]);
    let on_object = |action: &str| json!({ "type": "object", "action": action, "identifiers": acme() });
    let push = json!({ "device_token": "t" });
    let operations = [
        identify(json!({ "id": 42 }), json!({ "plan": "pro", "age": 30, "vip": true, "tags": ["a"], "old": null })),
        with(identify(json!({ "email": "a@example.com" }), json!({})), "timestamp", json!(1_700_000_000)),
        with(identify(json!({ "id": "x" }), json!({ "_update": true })), "cio_relationships", links.clone()),
        json!({ "type": "person", "action": "identify", "identifiers": { "id": "without attributes" } }),
        person("delete", json!({ "id": "gone" })),
        person("suppress", json!({ "id": "quiet" })),
        person("unsuppress", json!({ "id": "quiet" })),
        with(person("event", json!({ "id": "1" })), "name", json!("bought")),
        json!({ "type": "person", "action": "page", "identifiers": { "cio_id": "a3000001" }, "name": "/home",
            "id": "01HB4HBDKTFWYZCK01DMRSWRFD", "timestamp": 1, "attributes": { "n": [1] } }),
        with(person("screen", json!({ "anonymous_id": "anon" })), "name", json!("home")),
        with(person("add_relationships", json!({ "id": "1" })), "cio_relationships", links.clone()),
        with(person("delete_relationships", json!({ "id": "1" })), "cio_relationships", links),
        with(
            person("add_device", json!({ "id": "1" })),
            "device",
            json!({ "token": "t", "platform": "ios", "last_used": 1, "attributes": { "n": 1, "s": "x", "b": true } }),
        ),
        with(person("delete_device", json!({ "id": "1" })), "device", json!({ "token": "t" })),
        json!({ "type": "person", "action": "merge", "primary": { "id": "1" }, "secondary": { "email": "b@example.com" } }),
        with(with(on_object("identify"), "attributes", json!({ "size": 3 })), "cio_relationships", people.clone()),
        with(
            on_object("identify_anonymous"),
            "cio_relationships",
            json!([{ "identifiers": { "anonymous_id": "anon" } }]),
        ),
        json!({ "type": "object", "action": "identify", "identifiers": { "cio_object_id": "ob0102" } }),
        with(on_object("add_relationships"), "cio_relationships", people.clone()),
        with(on_object("delete_relationships"), "cio_relationships", people),
        on_object("delete"),
        json!({ "type": "delivery", "action": "event", "identifiers": { "id": "RPILAgUBcRhIBqSfeiIwdIYJKxTY" },
            "name": "opened", "timestamp": 1, "attributes": push }),
    ];
    let reply = http.batch(&operations).await;
    assert_eq!((reply.status, reply.text.as_str()), (200, "{}\n"));
    for operation in &operations {
        http.entity(operation).await;
    }
    assert_eq!(sim.stats().items_accepted, 2 * operations.len() as u64);
    assert_eq!(sim.stats().items_rejected, 0);
}

#[tokio::test]
async fn every_item_rule() {
    let long = |bytes: usize| "x".repeat(bytes);
    let id = || json!({ "id": "1" });
    let attributes = |attributes: Value| identify(id(), attributes);
    let named = |name: Value| with(person("event", id()), "name", name);
    let links = |links: Value| with(person("add_relationships", id()), "cio_relationships", links);
    let device = |device: Value| with(person("add_device", id()), "device", device);
    let many: Value = (0..301).map(|i| (format!("a{i}"), json!(i))).collect::<serde_json::Map<_, _>>().into();
    let object = |identifiers: Value| json!({ "type": "object", "action": "identify", "identifiers": identifiers });
    let delivery = |name: &str| {
        json!({ "type": "delivery", "action": "event", "identifiers": { "id": "d" },
        "name": name, "attributes": { "device_token": "t" } })
    };
    let cases: Vec<(Value, &str, &str)> = vec![
        (json!("text"), "", "must be an object"),
        (json!({}), "type", "is required"),
        (json!({ "type": "person" }), "action", "is required"),
        (json!({ "type": 1, "action": "identify" }), "type", "must be a string"),
        (json!({ "type": "company", "action": "identify" }), "type", "must be one of"),
        (person("rename", id()), "action", "is not an action of a person"),
        (
            json!({ "type": "object", "action": "suppress", "identifiers": acme() }),
            "action",
            "is not an action of an object",
        ),
        (json!({ "type": "delivery", "action": "identify" }), "action", "is not an action of a delivery"),
        (json!({ "type": "person", "action": "identify" }), "identifiers", "is required"),
        (identify(json!("1"), json!({})), "identifiers", "must be an object"),
        (identify(json!({}), json!({})), "identifiers", "must contain an identifier"),
        (identify(json!({ "id": "1", "email": "a@example.com" }), json!({})), "identifiers", "exactly one"),
        (identify(json!({ "user_id": "1" }), json!({})), "identifiers.user_id", "is not a known field"),
        (identify(json!({ "anonymous_id": "a" }), json!({})), "identifiers.anonymous_id", "is not a known field"),
        (identify(json!({ "id": true }), json!({})), "identifiers.id", "must be a string or a number"),
        (identify(json!({ "id": null }), json!({})), "identifiers.id", "must be a string or a number"),
        (identify(json!({ "id": ["1"] }), json!({})), "identifiers.id", "must be a string or a number"),
        (identify(json!({ "id": "" }), json!({})), "identifiers.id", "must not be empty"),
        (identify(json!({ "id": long(151) }), json!({})), "identifiers.id", "cannot be longer than 150 bytes"),
        (
            identify(json!({ "id": "\u{e9}".repeat(76) }), json!({})),
            "identifiers.id",
            "cannot be longer than 150 bytes",
        ),
        (identify(json!({ "email": "nobody" }), json!({})), "identifiers.email", "valid email"),
        (identify(json!({ "email": "a b@example.com" }), json!({})), "identifiers.email", "valid email"),
        (identify(json!({ "phone": "+15550100" }), json!({})), "identifiers.phone", "not an identifier"),
        (identify(json!({ "cio_id": "cio_a3000001" }), json!({})), "identifiers.cio_id", "valid cio_id"),
        (attributes(json!([])), "attributes", "must be an object"),
        (attributes(json!(null)), "attributes", "must be an object"),
        (attributes(many), "attributes", "more than 300"),
        (attributes(json!({ "": 1 })), "attributes", "must not be empty"),
        (attributes(json!({ long(151): 1 })), "attributes", "cannot be longer than 150 bytes"),
        (
            attributes(json!({ "suburb": long(1_001) })),
            "attributes.suburb",
            "property value cannot be longer than 1000 bytes",
        ),
        (
            attributes(json!({ "suburb": "\u{e9}".repeat(501) })),
            "attributes.suburb",
            "property value cannot be longer than 1000 bytes",
        ),
        (
            attributes(json!({ "list": [long(997)] })),
            "attributes.list",
            "property value cannot be longer than 1000 bytes",
        ),
        (attributes(json!({ "id": true })), "attributes.id", "must be a string or a number"),
        (attributes(json!({ "email": "nobody" })), "attributes.email", "valid email"),
        (attributes(json!({ "_update": "yes" })), "attributes._update", "must be a boolean"),
        (attributes(json!({ "cio_relationships": [] })), "attributes.cio_relationships", "beside"),
        (
            attributes(json!({ "cio_subscription_preferences": [] })),
            "attributes.cio_subscription_preferences",
            "must be an object",
        ),
        (
            attributes(json!({ "cio_subscription_preferences": { "topics": { "topic_1": "yes" } } })),
            "attributes.cio_subscription_preferences.topics.topic_1",
            "must be a boolean",
        ),
        (
            attributes(json!({ "cio_subscription_preferences.topics.topic_1": 1 })),
            "attributes.cio_subscription_preferences.topics.topic_1",
            "must be a boolean",
        ),
        (
            attributes(json!({ "cio_subscription_preferences.topic_1": true })),
            "attributes.cio_subscription_preferences.topic_1",
            "must name a topic or a channel",
        ),
        (with(attributes(json!({})), "timestamp", json!("2026-01-01")), "timestamp", "must be an integer"),
        (with(attributes(json!({})), "timestamp", json!(1.5)), "timestamp", "must be an integer"),
        (with(attributes(json!({})), "traits", json!({})), "traits", "is not a known field"),
        (with(person("delete", id()), "attributes", json!({})), "attributes", "is not a known field"),
        (with(attributes(json!({})), "cio_relationships", json!({})), "cio_relationships", "must be an array"),
        (person("event", id()), "name", "is required"),
        (named(json!("")), "name", "must not be empty"),
        (named(json!(long(101))), "name", "cannot be longer than 100 bytes"),
        (with(named(json!("n")), "id", json!(5)), "id", "must be a string"),
        (with(named(json!("n")), "attributes", json!([])), "attributes", "must be an object"),
        (
            with(named(json!("n")), "identifiers", json!({ "anonymous_id": "a", "id": "1" })),
            "identifiers.id",
            "is not a known field",
        ),
        (person("add_relationships", id()), "cio_relationships", "is required"),
        (links(json!({ "identifiers": acme() })), "cio_relationships", "must be an array"),
        (links(json!([{}])), "cio_relationships[0].identifiers", "is required"),
        (
            links(json!([{ "identifiers": { "object_id": "acme" } }])),
            "cio_relationships[0].identifiers.object_type_id",
            "is required",
        ),
        (
            links(json!([{ "identifiers": { "object_type_id": "0", "object_id": "a" } }])),
            "cio_relationships[0].identifiers.object_type_id",
            "1 or more",
        ),
        (
            links(json!([{ "identifiers": acme(), "relationship_attributes": { "a": long(1_001) } }])),
            "cio_relationships[0].relationship_attributes.a",
            "property value",
        ),
        (person("add_device", id()), "device", "is required"),
        (device(json!({ "platform": "ios" })), "device.token", "is required"),
        (device(json!({ "id": "t", "platform": "ios" })), "device.id", "is not a known field"),
        (device(json!({ "token": "t" })), "device.platform", "is required"),
        (device(json!({ "token": "t", "platform": "windows" })), "device.platform", "ios, android"),
        (
            device(json!({ "token": "t", "platform": "ios", "attributes": { "a": [] } })),
            "device.attributes.a",
            "must be a string",
        ),
        (with(person("delete_device", id()), "device", json!({})), "device.token", "is required"),
        (
            json!({ "type": "person", "action": "merge", "primary": { "id": {} }, "secondary": { "id": "2" } }),
            "primary.id",
            "must be a string or a number",
        ),
        (json!({ "type": "person", "action": "merge", "primary": { "id": "1" } }), "secondary", "is required"),
        (object(json!({ "object_type_id": "1.5", "object_id": "a" })), "identifiers.object_type_id", "1 or more"),
        (object(json!({ "object_type_id": "1", "object_id": "" })), "identifiers.object_id", "must not be empty"),
        (object(json!({ "object_type_id": "1", "object_id": long(151) })), "identifiers.object_id", "150 bytes"),
        (object(json!({ "object_type_id": "1", "object_id": "a", "cio_object_id": "b" })), "identifiers", "either"),
        (with(object(acme()), "attributes", json!({ "a": long(1_001) })), "attributes.a", "property value"),
        (
            with(object(acme()), "cio_relationships", json!([{ "identifiers": acme() }])),
            "cio_relationships[0].identifiers.object_id",
            "known field",
        ),
        (delivery("clicked"), "name", "opened, converted, delivered"),
        (with(delivery("opened"), "attributes", json!({})), "attributes.device_token", "is required"),
        (with(delivery("opened"), "identifiers", json!({})), "identifiers.id", "is required"),
    ];
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let operations: Vec<Value> = cases.iter().map(|(operation, ..)| operation.clone()).collect();
    let together = http.batch(&operations).await;
    assert_eq!(together.status, 207, "{}", together.text);
    assert_eq!(together.header("status"), Some("207 Multi-Status"));
    let errors = together.errors();
    assert!(together.json()["errors"].as_array().expect("errors").iter().all(|error| error["reason"] == "invalid"));
    for (index, (operation, field, message)) in cases.iter().enumerate() {
        let of_item = |errors: &[(Option<u64>, String, String)], index: Option<u64>| {
            errors.iter().any(|(i, f, m)| *i == index && f == field && m.contains(message))
        };
        assert!(of_item(&errors, Some(index as u64)), "item {index} {operation}: {field} {message} not in {errors:#?}");
        let alone = http.post(ENTITY, operation).await;
        assert_eq!(alone.status, 400, "{operation}");
        // An operation that is no object is a body that is none.
        assert!(of_item(&alone.errors(), None), "{operation}: {}", alone.text);
    }
    assert!(sim.people().is_empty(), "nothing was applied");
    assert!(sim.lints().is_empty(), "only what is accepted is linted");
    assert_eq!(sim.stats().items_accepted, 0);
}

#[tokio::test]
async fn limits_are_inclusive() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let most: Value = (0..300).map(|i| (format!("a{i}"), json!(i))).collect::<serde_json::Map<_, _>>().into();
    http.entity(&identify(json!({ "id": "x".repeat(150) }), most)).await;
    http.entity(&identify(json!({ "id": "1" }), json!({ "a".repeat(150): "x".repeat(1_000), "l": ["x".repeat(996)] })))
        .await;
    http.entity(&with(person("event", json!({ "id": "1" })), "name", json!("x".repeat(100)))).await;
    assert_eq!(sim.people().len(), 2);
}

/// An event of this many bytes as compact JSON.
fn sized(bytes: usize) -> Value {
    let event = |filler: usize| {
        json!({ "type": "person", "action": "event", "identifiers": { "id": "1" }, "name": "n",
            "attributes": { "filler": "x".repeat(filler) } })
    };
    event(bytes - event(0).to_string().len())
}

#[tokio::test]
async fn bodies_and_items_have_a_size() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    http.entity(&sized(32_000)).await;
    let reply = http.post(ENTITY, &sized(32_001)).await;
    assert_eq!((reply.status, reply.errors().len()), (400, 1), "{}", reply.text);
    let reply = http.batch(&[sized(100), sized(32_001), sized(32_000)]).await;
    assert_eq!(reply.status, 207);
    assert_eq!(reply.errors().iter().map(|(index, ..)| *index).collect::<Vec<_>>(), [Some(1)]);

    // 15 items of 32,000 bytes, 12 bytes around them, a comma each, and one item that fills up.
    let mut operations = vec![sized(32_000); 15];
    let around = json!({ "batch": operations }).to_string().len() + 1;
    operations.push(sized(500_000 - around));
    assert_eq!(json!({ "batch": operations }).to_string().len(), 500_000);
    assert_eq!(http.batch(&operations).await.status, 200);
    operations.pop();
    operations.push(sized(500_001 - around));
    let reply = http.batch(&operations).await;
    assert_eq!((reply.status, reply.errors()[0].0), (400, None), "{}", reply.text);
    let stats = sim.stats();
    assert_eq!(stats.largest_batch_bytes, 500_001);
    assert!(stats.batch_bytes > 1_000_000);
    assert_eq!(stats.items_accepted, 1 + 2 + 16);
}

#[tokio::test]
async fn a_body_that_is_no_batch() {
    let sim = roomy().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    for (body, field, message) in [
        ("", "", "not valid JSON"),
        ("{\"batch\":[", "", "not valid JSON"),
        ("[]", "", "must be an object"),
        ("null", "", "must be an object"),
        ("{}", "batch", "is required"),
        ("{\"batch\":[]}", "batch", "must not be empty"),
        ("{\"batch\":{}}", "batch", "must be an array"),
    ] {
        let reply = http.send(reqwest::Method::POST, BATCH, Some(body.to_owned())).await.expect("an answer");
        assert_eq!(reply.status, 400, "{body}");
        let errors = reply.errors();
        assert!(errors[0].1 == field && errors[0].2.contains(message) && errors[0].0.is_none(), "{body}: {errors:?}");
    }
    assert_eq!(sim.stats().items_accepted, 0);
}

#[tokio::test]
async fn the_good_items_of_a_batch_are_applied() {
    let bad = identify(json!({ "id": "" }), json!({ "long": "x".repeat(1_001) }));
    let operations = [
        bad.clone(),
        identify(json!({ "id": "1" }), json!({})),
        bad.clone(),
        identify(json!({ "id": "2" }), json!({})),
    ];
    for (quirks, status) in [(prompt(), 207), (Quirks { partial_status: PartialStatus::Success, ..prompt() }, 200)] {
        let sim = roomy().with_quirks(quirks).start().await.expect("the simulator starts");
        let http = Http::to(&sim);
        let reply = http.batch(&operations).await;
        assert_eq!(reply.status, status);
        let indexes: Vec<_> = reply.errors().into_iter().map(|(index, ..)| index).collect();
        assert_eq!(indexes, [Some(0), Some(0), Some(2), Some(2)], "several errors of one item name it each");
        let mut ids: Vec<_> = sim.people().into_iter().filter_map(|person| person.id).collect();
        ids.sort();
        assert_eq!(ids, ["1", "2"]);
        assert_eq!((sim.stats().items_accepted, sim.stats().items_rejected), (2, 2));
        assert_eq!(
            http.batch(std::slice::from_ref(&bad)).await.status,
            status,
            "a batch of bad items only is no other case"
        );
    }
}

#[tokio::test]
async fn switches_of_the_checks() {
    let nested = identify(json!({ "id": "1" }), json!({ "list": ["x".repeat(2_000)] }));
    let unknown = with(identify(json!({ "id": "1" }), json!({})), "context", json!({}));
    for (quirks, operation) in [
        (Quirks { nested_values: NestedValues::Unmeasured, ..prompt() }, &nested),
        (Quirks { unknown_keys: UnknownKeys::Ignored, ..prompt() }, &unknown),
    ] {
        let sim = roomy().with_quirks(quirks).start().await.expect("the simulator starts");
        Http::to(&sim).entity(operation).await;
    }
    let sparse = Quirks { error_parts: ErrorParts::MessageOnly, oversize_status: 413, ..prompt() };
    let sim = roomy().with_quirks(sparse).start().await.expect("the simulator starts");
    let reply = Http::to(&sim).batch(&[nested.clone(), unknown]).await;
    let keys: Vec<Vec<String>> = reply.json()["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| error.as_object().expect("an object").keys().cloned().collect())
        .collect();
    assert_eq!(keys, [["batch_index", "message"], ["batch_index", "message"]]);
    assert_eq!(Http::to(&sim).post(ENTITY, &sized(32_001)).await.status, 413);
}

#[tokio::test]
async fn what_identifies_depends_on_the_workspace() {
    let phone = identify(json!({ "phone": "+15550100" }), json!({}));
    let email = identify(json!({ "email": "a@example.com" }), json!({}));
    let seed = Seed { mode: WorkspaceMode::IdOnly, phone_enabled: true, ..Seed::default() };
    let sim = roomy().with_seed(seed).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    http.entity(&phone).await;
    assert_eq!(http.post(ENTITY, &email).await.errors()[0].1, "identifiers.email");
    for wrong in ["15550100", "+0555", "+1555010a", "+1234567890123456", "+"] {
        let reply = http.post(ENTITY, &identify(json!({ "phone": wrong }), json!({}))).await;
        assert!(reply.errors()[0].2.contains("E.164"), "{wrong}");
    }
    assert_eq!(sim.people()[0].attributes["phone"], "+15550100");
}
