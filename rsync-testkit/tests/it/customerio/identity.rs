//! Who a call is about: identifiers that are known, new, somebody else's or gone.

use rsync_testkit::sim::customerio::{
    ActivityKind, CustomerIoSim, CustomerIoSimBuilder, IdentifierConflict, KnownEmailNewId, PersonSeed, Quirks, Seed,
    WorkspaceMode,
};
use serde_json::{Value, json};

use super::harness::{Http, failed_changes, identify, prompt, roomy};

/// Ada has both identifiers, Bob an `id` and Cyd an email address.
fn three(builder: CustomerIoSimBuilder) -> CustomerIoSimBuilder {
    builder
        .with_person(PersonSeed::with_id("a").email("ada@example.com"))
        .with_person(PersonSeed::with_id("b"))
        .with_person(PersonSeed::with_email("cyd@example.com"))
}

/// `id/email/plan` of everybody, sorted; `-` where there is none.
fn everybody(sim: &CustomerIoSim) -> Vec<String> {
    let mut all: Vec<String> = sim
        .people()
        .iter()
        .map(|p| {
            let plan = p.attributes.get("plan").map_or("-", String::as_str);
            format!("{}/{}/{plan}", p.id.as_deref().unwrap_or("-"), p.email.as_deref().unwrap_or("-"))
        })
        .collect();
    all.sort();
    all
}

const TAKEN: &str = "The identifier is already associated with a different profile.";

#[tokio::test]
async fn identifiers_decide_who_is_written() {
    let cases: Vec<(&str, Value, Value, Vec<&str>, Vec<&str>)> = vec![
        (
            "known id",
            json!({ "id": "b" }),
            json!({}),
            vec!["-/cyd@example.com/-", "a/ada@example.com/-", "b/-/x"],
            vec![],
        ),
        (
            "an id has letter case",
            json!({ "id": "B" }),
            json!({}),
            vec!["-/cyd@example.com/-", "B/-/x", "a/ada@example.com/-", "b/-/-"],
            vec![],
        ),
        (
            "an address has none",
            json!({ "email": "ADA@example.com" }),
            json!({}),
            vec!["-/cyd@example.com/-", "a/ada@example.com/x", "b/-/-"],
            vec![],
        ),
        (
            "a number is its text",
            json!({ "id": 7 }),
            json!({ "email": "new@example.com" }),
            vec!["-/cyd@example.com/-", "7/new@example.com/x", "a/ada@example.com/-", "b/-/-"],
            vec![],
        ),
        (
            "a known person gets a first address",
            json!({ "id": "b" }),
            json!({ "email": "bob@example.com" }),
            vec!["-/cyd@example.com/-", "a/ada@example.com/-", "b/bob@example.com/x"],
            vec![],
        ),
        (
            "an unknown id with the address of a person without id: that person gets the id",
            json!({ "id": "c" }),
            json!({ "email": "Cyd@example.com" }),
            vec!["a/ada@example.com/-", "b/-/-", "c/Cyd@example.com/x"],
            vec![],
        ),
        (
            "an unknown address with the id of a person without address",
            json!({ "email": "bob@example.com" }),
            json!({ "id": "b" }),
            vec!["-/cyd@example.com/-", "a/ada@example.com/-", "b/bob@example.com/x"],
            vec![],
        ),
        (
            "identifiers of two people",
            json!({ "id": "b" }),
            json!({ "email": "ada@example.com" }),
            vec!["-/cyd@example.com/-", "a/ada@example.com/-", "b/-/x"],
            vec!["email"],
        ),
        (
            "an identifier that is set already",
            json!({ "id": "a" }),
            json!({ "email": "lovelace@example.com" }),
            vec!["-/cyd@example.com/-", "a/ada@example.com/x", "b/-/-"],
            vec!["email"],
        ),
        (
            "an identifier cannot be taken away",
            json!({ "email": "ada@example.com" }),
            json!({ "id": null }),
            vec!["-/cyd@example.com/-", "a/ada@example.com/x", "b/-/-"],
            vec!["id"],
        ),
        (
            "a new id with the address of a person who has another id",
            json!({ "id": "n" }),
            json!({ "email": "ada@example.com" }),
            vec!["-/cyd@example.com/-", "a/ada@example.com/-", "b/-/-", "n/-/x"],
            vec!["email"],
        ),
        (
            "an unknown cio_id",
            json!({ "cio_id": "ffff0001" }),
            json!({}),
            vec!["-/cyd@example.com/-", "a/ada@example.com/-", "b/-/-"],
            vec![],
        ),
        (
            "nobody to update",
            json!({ "id": "n" }),
            json!({ "_update": true }),
            vec!["-/cyd@example.com/-", "a/ada@example.com/-", "b/-/-"],
            vec![],
        ),
        (
            "somebody to update",
            json!({ "id": "b" }),
            json!({ "_update": true }),
            vec!["-/cyd@example.com/-", "a/ada@example.com/-", "b/-/x"],
            vec![],
        ),
    ];
    for (name, identifiers, mut attributes, expected, failed) in cases {
        let sim = three(roomy()).start().await.expect("the simulator starts");
        attributes["plan"] = json!("x");
        Http::to(&sim).entity(&identify(identifiers, attributes)).await;
        assert_eq!(everybody(&sim), expected, "{name}");
        let names: Vec<String> = failed_changes(&sim).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, failed, "{name}");
        let silent = !failed.is_empty() || !expected.iter().any(|person| person.ends_with("/x"));
        assert_eq!(sim.stats().silent_failures > 0, silent, "{name}");
    }
}

#[tokio::test]
async fn a_cio_id_changes_identifiers() {
    let sim = three(roomy()).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let cio_id = sim.person_by_id("a").expect("seeded").cio_id;
    http.entity(&identify(json!({ "cio_id": cio_id }), json!({ "id": "a2", "email": "l@example.com", "plan": "x" })))
        .await;
    assert_eq!(everybody(&sim), ["-/cyd@example.com/-", "a2/l@example.com/x", "b/-/-"]);
    assert_eq!(sim.person_by_cio_id(&cio_id).and_then(|p| p.id).as_deref(), Some("a2"));
    assert!(sim.person_by_id("a").is_none() && sim.person_by_email("ada@example.com").is_none());
    http.entity(&identify(json!({ "cio_id": cio_id }), json!({ "id": "b" }))).await;
    assert_eq!(failed_changes(&sim), [("id".to_owned(), TAKEN.to_owned())]);
    http.entity(&identify(json!({ "cio_id": cio_id }), json!({ "email": null }))).await;
    assert_eq!(everybody(&sim), ["-/cyd@example.com/-", "a2/-/x", "b/-/-"]);
}

#[tokio::test]
async fn a_workspace_may_let_an_id_change_the_address() {
    let seed = Seed { allow_email_update_by_id: true, ..Seed::default() };
    let sim = three(roomy().with_seed(seed)).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    http.entity(&identify(json!({ "id": "a" }), json!({ "email": "l@example.com" }))).await;
    http.entity(&identify(json!({ "email": "cyd@example.com" }), json!({ "id": "c" }))).await;
    http.entity(&identify(json!({ "email": "cyd@example.com" }), json!({ "id": "d" }))).await;
    assert_eq!(everybody(&sim), ["a/l@example.com/-", "b/-/-", "c/cyd@example.com/-"]);
    assert_eq!(failed_changes(&sim).len(), 1, "only the address, and only by id");
}

#[tokio::test]
async fn switches_of_the_conflicts() {
    let sim =
        three(roomy().with_quirks(Quirks { identifier_conflict: IdentifierConflict::NothingApplies, ..prompt() }))
            .start()
            .await
            .expect("the simulator starts");
    let call = identify(json!({ "id": "b" }), json!({ "email": "ada@example.com", "plan": "x" }));
    Http::to(&sim).entity(&call).await;
    assert_eq!(everybody(&sim), ["-/cyd@example.com/-", "a/ada@example.com/-", "b/-/-"]);
    assert_eq!(failed_changes(&sim), [("email".to_owned(), TAKEN.to_owned())]);

    let sim = three(roomy().with_quirks(Quirks { known_email_new_id: KnownEmailNewId::Renames, ..prompt() }))
        .start()
        .await
        .expect("the simulator starts");
    let call = identify(json!({ "id": "n" }), json!({ "email": "ada@example.com", "plan": "x" }));
    Http::to(&sim).entity(&call).await;
    assert_eq!(everybody(&sim), ["-/cyd@example.com/-", "b/-/-", "n/ada@example.com/x"]);
    assert!(failed_changes(&sim).is_empty());
}

#[tokio::test]
async fn with_ids_only_an_address_is_an_attribute() {
    let seed = Seed { mode: WorkspaceMode::IdOnly, ..Seed::default() };
    let sim = roomy()
        .with_seed(seed)
        .with_person(PersonSeed::with_id("a").email("same@example.com"))
        .with_person(PersonSeed::with_id("b"))
        .start()
        .await
        .expect("the simulator starts");
    let http = Http::to(&sim);
    http.entity(&identify(json!({ "id": "b" }), json!({ "email": "same@example.com" }))).await;
    http.entity(&identify(json!({ "id": "a" }), json!({ "email": "no address" }))).await;
    assert_eq!(everybody(&sim), ["a/no address/-", "b/same@example.com/-"]);
    assert!(failed_changes(&sim).is_empty());
}

#[tokio::test]
async fn failures_are_in_the_activity_log_only() {
    let sim = three(roomy()).start().await.expect("the simulator starts");
    let call = identify(json!({ "id": "b" }), json!({ "email": "ada@example.com" }));
    let reply = Http::to(&sim).batch(&[call]).await;
    assert_eq!((reply.status, reply.text.as_str()), (200, "{}\n"));
    let failed: Vec<_> =
        sim.activities().into_iter().filter(|a| a.kind == ActivityKind::FailedAttributeChange).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].data, json!({ "email": { "reason": TAKEN, "value": "ada@example.com" } }));
    assert_eq!(failed[0].customer_id.as_deref(), Some("b"));
    assert_eq!(failed[0].id.len(), 26);
}
