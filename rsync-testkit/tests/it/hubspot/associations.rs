//! Associations of version 4 and the dated versions, labels, and associations in creations.

use rsync_testkit::sim::hubspot::{AssociationCategory, AssociationLabelSeed, HubSpotSim, Quirks, Seed, TokenSeed};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, prompt, roomy};

const CONTACTS_COMPANIES: &str = "/crm/v4/associations/contacts/companies";

async fn people_and_companies() -> (HubSpotSim, Vec<String>, Vec<String>) {
    let label = AssociationLabelSeed {
        from: "contacts".to_owned(),
        to: "companies".to_owned(),
        label: "Adviser".to_owned(),
        inverse_label: Some("Advised by".to_owned()),
    };
    let seed = Seed {
        association_labels: vec![label],
        first_record_id: 500,
        rate_limits: rsync_testkit::sim::hubspot::RateLimits::Unlimited,
        ..Seed::default()
    };
    let mut builder = roomy().with_seed(seed);
    for i in 0..3 {
        let email = format!("c{i}@example.com");
        builder =
            builder.with_record("contacts", [("email", email.as_str())]).with_record("companies", [("name", "x")]);
    }
    let sim = builder.start().await.expect("the simulator starts");
    let ids = |object: &str| sim.records(object).into_iter().map(|record| record.id).collect::<Vec<_>>();
    let (contacts, companies) = (ids("contacts"), ids("companies"));
    (sim, contacts, companies)
}

fn pair(from: &str, to: &str) -> Value {
    json!({ "from": { "id": from }, "to": { "id": to } })
}

fn typed(from: &str, to: &str, category: &str, id: u32) -> Value {
    let mut pair = pair(from, to);
    pair["types"] = json!([{ "associationCategory": category, "associationTypeId": id }]);
    pair
}

fn type_ids(sim: &HubSpotSim, object: &str, id: &str, to: &str) -> Vec<(String, u32)> {
    sim.associations(object, id, to).into_iter().map(|a| (a.to_id, a.type_id)).collect()
}

#[tokio::test]
async fn each_input_of_a_batch_stands_for_itself() {
    let (sim, contacts, companies) = people_and_companies().await;
    let http = Http::to(&sim);
    let reply = http
        .post(
            &format!("{CONTACTS_COMPANIES}/batch/create"),
            &json!({ "inputs": [
                typed(&contacts[0], &companies[0], "HUBSPOT_DEFINED", 279),
                typed("12", &companies[0], "HUBSPOT_DEFINED", 279),
                typed("x", &companies[0], "HUBSPOT_DEFINED", 279),
                typed(&contacts[1], &companies[1], "HUBSPOT_DEFINED", 3),
                typed(&contacts[1], &companies[1], "USER_DEFINED", 1),
            ] }),
        )
        .await;
    assert_eq!(reply.status, 207, "{}", reply.text);
    let number = |id: &str| json!(id.parse::<u64>().expect("a number"));
    assert_parts(
        "batch",
        &reply.json(),
        &[
            ("/numErrors", json!(3)),
            ("/results/0/fromObjectId", number(&contacts[0])),
            ("/results/0/toObjectTypeId", json!("0-2")),
            ("/results/0/labels", json!([])),
            ("/results/1/labels", json!(["Adviser"])),
            ("/errors/0/subCategory", json!("crm.associations.INVALID_OBJECT_IDS")),
            ("/errors/1/subCategory", json!("crm.associations.INVALID_IDENTIFIER")),
            ("/errors/1/context/id", json!(["x"])),
            ("/errors/2/subCategory", json!("crm.associations.INVALID_ASSOCIATION_TYPE")),
        ],
    );
    assert_eq!(type_ids(&sim, "contacts", &contacts[0], "companies"), [(companies[0].clone(), 279)]);
    // A label brings the unlabelled association with it, and both have another direction.
    let both: Vec<(AssociationCategory, u32)> = sim
        .associations("companies", &companies[1], "contacts")
        .into_iter()
        .map(|association| (association.category, association.type_id))
        .collect();
    assert_eq!(both, [(AssociationCategory::HubspotDefined, 280), (AssociationCategory::UserDefined, 2)]);
}

#[tokio::test]
async fn default_associations_are_idempotent_in_every_version() {
    for (batch, single) in [
        (CONTACTS_COMPANIES, "/crm/v4/objects"),
        ("/crm/associations/2026-03/contacts/companies", "/crm/objects/2026-03"),
        ("/crm/associations/2026-09/contacts/companies", "/crm/objects/2026-09"),
    ] {
        let (sim, contacts, companies) = people_and_companies().await;
        let http = Http::to(&sim);
        for round in 0..2 {
            let body = json!({ "inputs": [pair(&contacts[0], &companies[0])] });
            let reply = http.post(&format!("{batch}/batch/associate/default"), &body).await;
            assert_eq!(reply.status, 200, "{batch}, round {round}");
            assert_parts(
                batch,
                &reply.json(),
                &[
                    ("/results/0/from/id", json!(contacts[0])),
                    ("/results/0/associationSpec/associationTypeId", json!(279)),
                    ("/results/1/associationSpec/associationTypeId", json!(280)),
                ],
            );
            let path = format!("{single}/contacts/{}/associations/default/company/{}", contacts[1], companies[1]);
            assert_eq!(http.put(&path, &Value::Null).await.status, 200, "{path}");
        }
        for contact in &contacts[..2] {
            assert_eq!(sim.associations("contacts", contact, "companies").len(), 1);
        }
    }
}

#[tokio::test]
async fn one_association_is_made_read_and_ended_by_its_own_paths() {
    let (sim, contacts, companies) = people_and_companies().await;
    let http = Http::to(&sim);
    let path = format!("/crm/v4/objects/contacts/{}/associations/companies", contacts[0]);
    let one = format!("{path}/{}", companies[0]);
    let label = json!([{ "associationCategory": "USER_DEFINED", "associationTypeId": 1 }]);
    let made = http.put(&one, &label).await;
    assert_eq!((made.status, &made.json()["labels"]), (201, &json!(["Adviser"])));
    let listed = http.get(&path).await.json();
    assert_parts(
        "listed",
        &listed,
        &[
            ("/results/0/toObjectId", json!(companies[0].parse::<u64>().expect("a number"))),
            ("/results/0/associationTypes/0", json!({ "category": "HUBSPOT_DEFINED", "typeId": 279, "label": null })),
            ("/results/0/associationTypes/1", json!({ "category": "USER_DEFINED", "typeId": 1, "label": "Adviser" })),
        ],
    );
    let beside = http.get(&format!("/crm/v3/objects/contacts/{}?associations=companies", contacts[0])).await.json();
    assert_parts(
        "beside the record",
        &beside,
        &[
            ("/associations/companies/results/0", json!({ "id": companies[0], "type": "contact_to_company" })),
            ("/associations/companies/results/1/type", json!("contact_to_company_adviser")),
        ],
    );
    for (path, body, status) in [
        (one.clone(), json!([]), 400),
        (format!("{path}/12"), label.clone(), 400),
        (format!("{path}/x"), label.clone(), 400),
        ("/crm/v4/objects/contacts/12/associations/products/13".to_owned(), label.clone(), 400),
    ] {
        assert_eq!(http.put(&path, &body).await.status, status, "{path} {body}");
    }
    assert_eq!(http.delete(&one).await.status, 204);
    assert_eq!(http.delete(&one).await.status, 204, "what is ended already is ended");
    assert_eq!(http.get(&path).await.json(), json!({ "results": [] }));
}

#[tokio::test]
async fn a_primary_association_takes_the_place_of_the_former() {
    let (sim, contacts, companies) = people_and_companies().await;
    let http = Http::to(&sim);
    for company in &companies[..2] {
        let body = json!({ "inputs": [typed(&contacts[0], company, "HUBSPOT_DEFINED", 1)] });
        assert_eq!(http.post(&format!("{CONTACTS_COMPANIES}/batch/create"), &body).await.status, 201);
    }
    let expected = [(companies[0].clone(), 279), (companies[1].clone(), 279), (companies[1].clone(), 1)];
    let mut found = type_ids(&sim, "contacts", &contacts[0], "companies");
    found.sort_by_key(|(id, kind)| (id.clone(), *kind == 1));
    assert_eq!(found, expected);
    // The same from the other side.
    let body = json!({ "inputs": [typed(&companies[2], &contacts[0], "HUBSPOT_DEFINED", 2)] });
    assert_eq!(http.post("/crm/v4/associations/companies/contacts/batch/create", &body).await.status, 201);
    let primary: Vec<String> = type_ids(&sim, "contacts", &contacts[0], "companies")
        .into_iter()
        .filter(|(_, kind)| *kind == 1)
        .map(|(id, _)| id)
        .collect();
    assert_eq!(primary, [companies[2].clone()]);
}

#[tokio::test]
async fn labels_and_whole_associations_are_archived_in_batches() {
    let (sim, contacts, companies) = people_and_companies().await;
    let http = Http::to(&sim);
    let label = typed(&contacts[0], &companies[0], "USER_DEFINED", 1);
    let plain = pair(&contacts[0], &companies[1]);
    http.post(&format!("{CONTACTS_COMPANIES}/batch/create"), &json!({ "inputs": [label] })).await;
    http.post(&format!("{CONTACTS_COMPANIES}/batch/associate/default"), &json!({ "inputs": [plain] })).await;
    let gone = http.post(&format!("{CONTACTS_COMPANIES}/batch/labels/archive"), &json!({ "inputs": [label] })).await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    let all = [(companies[0].clone(), 279), (companies[1].clone(), 279)];
    assert_eq!(type_ids(&sim, "contacts", &contacts[0], "companies"), all, "the unlabelled one stays");
    let whole = json!({ "inputs": [{
        "from": { "id": contacts[0] },
        "to": [{ "id": companies[0] }, { "id": companies[1] }, { "id": "12" }],
    }] });
    assert_eq!(http.post(&format!("{CONTACTS_COMPANIES}/batch/archive"), &whole).await.status, 204);
    assert!(sim.associations("contacts", &contacts[0], "companies").is_empty());
    assert!(sim.associations("companies", &companies[1], "contacts").is_empty(), "in both directions");
}

#[tokio::test]
async fn batch_reads_page_and_say_who_has_none() {
    let (sim, contacts, companies) = people_and_companies().await;
    let http = Http::to(&sim);
    sim.associate("contacts", &contacts[0], "companies", &companies[0]).expect("live");
    sim.associate("contacts", &contacts[0], "companies", &companies[1]).expect("live");
    http.delete(&format!("/crm/v3/objects/companies/{}", companies[1])).await;
    let inputs = json!({ "inputs": [{ "id": contacts[0] }, { "id": contacts[1] }, { "id": "x" }] });
    let read = http.post(&format!("{CONTACTS_COMPANIES}/batch/read"), &inputs).await;
    assert_eq!(read.status, 207);
    assert_parts(
        "read",
        &read.json(),
        &[
            ("/results/0/from/id", json!(contacts[0])),
            ("/results/0/to/0/toObjectId", json!(companies[0].parse::<u64>().expect("a number"))),
            ("/results/0/to/1", Value::Null),
            ("/errors/0/subCategory", json!("crm.associations.NO_ASSOCIATIONS_FOUND")),
            ("/errors/1/subCategory", json!("crm.associations.INVALID_IDENTIFIER")),
        ],
    );
    let path = format!("/crm/v4/objects/companies/{}/associations/contacts", companies[2]);
    for contact in &contacts {
        sim.associate("companies", &companies[2], "contacts", contact).expect("live");
    }
    let first = http.get(&format!("{path}?limit=2")).await.json();
    let after = first["paging"]["next"]["after"].as_str().expect("a cursor");
    let second = http.get(&format!("{path}?limit=2&after={after}")).await.json();
    assert_eq!(first["results"].as_array().map(Vec::len), Some(2));
    assert_eq!(second["results"].as_array().map(Vec::len), Some(1));
    assert_eq!(second["paging"], Value::Null);
    assert_eq!(http.get(&format!("{path}?limit=501")).await.status, 400);
}

#[tokio::test]
async fn batches_have_their_limits() {
    let quirks = Quirks { association_inputs_max: 2_000, ..prompt() };
    for (quirks, max) in [(prompt(), 100), (quirks, 2_000)] {
        let sim = roomy().with_quirks(quirks).start().await.expect("the simulator starts");
        let http = Http::to(&sim);
        for (count, refused) in [(max, false), (max + 1, true)] {
            let inputs: Vec<Value> = (0..count).map(|_| typed("1", "2", "HUBSPOT_DEFINED", 279)).collect();
            let reply = http.post(&format!("{CONTACTS_COMPANIES}/batch/create"), &json!({ "inputs": inputs })).await;
            assert_eq!(reply.status, if refused { 400 } else { 207 }, "{count} of {max}");
        }
    }
    let sim = roomy().start().await.expect("the simulator starts");
    let inputs: Vec<Value> = (0..1_001).map(|id| json!({ "id": id.to_string() })).collect();
    let read = Http::to(&sim).post(&format!("{CONTACTS_COMPANIES}/batch/read"), &json!({ "inputs": inputs })).await;
    assert_eq!(read.status, 400);
}

#[tokio::test]
async fn labels_are_listed_made_and_limited_to_fifty() {
    let (sim, ..) = people_and_companies().await;
    let http = Http::to(&sim);
    let path = format!("{CONTACTS_COMPANIES}/labels");
    let listed = http.get(&path).await.json();
    let ids: Vec<Value> = listed["results"].as_array().expect("results").iter().map(|t| t["typeId"].clone()).collect();
    assert_eq!(ids, [json!(279), json!(1), json!(1)], "two categories may use one number");
    let new = |label: &str| json!({ "label": label, "name": label, "inverseLabel": format!("{label} of") });
    let made = http.post(&path, &new("Owner")).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert_parts(
        "made",
        &made.json(),
        &[("/results/0/label", json!("Owner")), ("/results/1/label", json!("Owner of"))],
    );
    assert_eq!(http.post(&path, &new("Owner")).await.status, 409);
    for i in 0..48 {
        assert_eq!(http.post(&path, &new(&format!("l{i}"))).await.status, 200, "{i}");
    }
    assert_eq!(http.post(&path, &new("one too many")).await.status, 437);
    assert_eq!(http.post("/crm/v4/associations/contacts/products/labels", &new("x")).await.status, 400);
}

#[tokio::test]
async fn records_are_created_with_their_associations_or_not_at_all() {
    let (sim, _, companies) = people_and_companies().await;
    let http = Http::to(&sim);
    let to = |id: &str, kind: u32| json!([{ "to": { "id": id }, "types": [{ "associationCategory": "HUBSPOT_DEFINED", "associationTypeId": kind }] }]);
    let contact = |trace: &str, associations: Value| json!({ "objectWriteTraceId": trace, "properties": { "firstname": trace }, "associations": associations });
    let create = "/crm/v3/objects/contacts/batch/create";
    let inputs = json!({ "inputs": [contact("good", to(&companies[0], 1)), contact("bad", to("12", 279))] });
    let reply = http.post(create, &inputs).await;
    assert_eq!(reply.status, 207, "{}", reply.text);
    assert_parts("traced", &reply.json(), &[("/errors/0/context/objectWriteTraceId", json!(["bad"]))]);
    let id = reply.json()["results"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(type_ids(&sim, "contacts", &id, "companies"), [(companies[0].clone(), 279), (companies[0].clone(), 1)]);

    let before = sim.records("contacts").len();
    let mut untraced = inputs.clone();
    for input in untraced["inputs"].as_array_mut().expect("inputs") {
        input.as_object_mut().expect("an object").remove("objectWriteTraceId");
    }
    assert_eq!(http.post(create, &untraced).await.status, 400);
    let wrong_type = json!({ "properties": { "firstname": "x" }, "associations": to(&companies[0], 5) });
    assert_eq!(http.post("/crm/v3/objects/contacts", &wrong_type).await.status, 400);
    assert_eq!(sim.records("contacts").len(), before);
    let single = json!({ "properties": { "firstname": "x" }, "associations": to(&companies[0], 279) });
    assert_eq!(http.post("/crm/v3/objects/contacts", &single).await.status, 201);
}

#[tokio::test]
async fn both_objects_must_be_in_scope() {
    let token = |token: &str, scopes: &[&str]| TokenSeed {
        token: token.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        expires_at_ms: None,
    };
    let tokens = vec![
        token("one", &["crm.objects.contacts.write", "crm.objects.contacts.read"]),
        token("both", &["crm.objects.contacts.write", "crm.objects.companies.write"]),
    ];
    let sim = roomy().with_seed(Seed { tokens, ..Seed::default() }).start().await.expect("the simulator starts");
    let body = json!({ "inputs": [pair("1", "2")] });
    for (token, status) in [("one", 403), ("both", 207)] {
        let http = Http::to(&sim).with_token(Some(token));
        let reply = http.post(&format!("{CONTACTS_COMPANIES}/batch/associate/default"), &body).await;
        assert_eq!(reply.status, status, "{token}");
    }
}
