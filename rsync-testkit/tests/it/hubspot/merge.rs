//! Merging records over the wire, and what becomes of their ids, associations, lists and archived records.

use rsync_testkit::sim::hubspot::{HubSpotSim, ListProcessing, ListSeed, MergeSurvivor, MergedIds, Quirks, Seed};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, by_email, prompt, roomy};

const MERGE: &str = "/crm/v3/objects/contacts/merge";

async fn two_contacts(quirks: Quirks) -> (HubSpotSim, [String; 2]) {
    let list = ListSeed { name: "all".to_owned(), object: "contacts".to_owned(), processing: ListProcessing::Manual };
    let sim = roomy()
        .with_seed(Seed {
            lists: vec![list],
            rate_limits: rsync_testkit::sim::hubspot::RateLimits::Unlimited,
            ..Seed::default()
        })
        .with_quirks(quirks)
        .with_record("contacts", [("email", "ada@example.com"), ("city", "Turin")])
        .with_record("contacts", [("email", "ada@work.example.com"), ("firstname", "Ada"), ("city", "Rome")])
        .with_record("companies", [("name", "A")])
        .start()
        .await
        .expect("the simulator starts");
    let ids: Vec<String> = sim.records("contacts").into_iter().map(|record| record.id).collect();
    (sim, ids.try_into().expect("two contacts"))
}

fn body(primary: &str, other: &str) -> Value {
    json!({ "primaryObjectId": primary, "objectIdToMerge": other })
}

#[tokio::test]
async fn a_merge_moves_values_associations_and_memberships_to_a_new_id() {
    let (sim, [ada, work]) = two_contacts(prompt()).await;
    let http = Http::to(&sim);
    let company = sim.records("companies")[0].id.clone();
    sim.associate("contacts", &work, "companies", &company).expect("both are live");
    sim.set_list_members("all", [work.as_str()]).expect("the list exists");

    let merged = http.post(MERGE, &body(&ada, &work)).await;
    assert_eq!(merged.status, 200, "{}", merged.text);
    let id = merged.json()["id"].as_str().expect("an id").to_owned();
    assert!(id != ada && id != work, "the survivor has an id of its own");
    let path =
        format!("/crm/v3/objects/contacts/{id}?properties=hs_merged_object_ids,city,firstname,hs_additional_emails");
    assert_parts(
        "survivor",
        &http.get(&path).await.json(),
        &[
            ("/properties/hs_merged_object_ids", json!(format!("{ada};{work}"))),
            ("/properties/city", json!("Turin")),
            ("/properties/firstname", json!("Ada")),
            ("/properties/hs_additional_emails", json!("ada@work.example.com")),
        ],
    );
    assert_eq!(sim.associations("contacts", &id, "companies").len(), 1);
    assert_eq!(sim.list("all").expect("seeded").members, std::slice::from_ref(&id));
    assert_eq!(sim.stats().rows_merged, 1);
    let gone = sim.records("contacts").into_iter().find(|record| record.id == ada).expect("still known");
    assert_eq!(gone.merged_into.as_deref(), Some(id.as_str()));
}

#[tokio::test]
async fn merged_ids_are_gone_or_lead_to_the_survivor() {
    for (merged_ids, status) in [(MergedIds::Gone, 404), (MergedIds::Forwarded, 200)] {
        let (sim, [ada, work]) = two_contacts(Quirks { merged_ids, ..prompt() }).await;
        let http = Http::to(&sim);
        let survivor = http.post(MERGE, &body(&ada, &work)).await.json()["id"].clone();
        let path = format!("/crm/v3/objects/contacts/{work}");
        assert_eq!(http.get(&path).await.status, status, "{merged_ids:?}");
        let patched = http.patch(&path, &json!({ "properties": { "city": "Bari" } })).await;
        assert_eq!(patched.status, status, "{merged_ids:?}");
        let read = http.post("/crm/v3/objects/contacts/batch/read", &json!({ "inputs": [{ "id": ada }] })).await;
        match merged_ids {
            MergedIds::Gone => {
                assert_eq!(read.status, 207);
                assert_parts("gone", &read.json(), &[("/errors/0/context/ids", json!([ada]))]);
            }
            MergedIds::Forwarded => {
                assert_eq!(patched.json()["id"], survivor);
                assert_parts("forwarded", &read.json(), &[("/results/0/id", survivor)]);
            }
        }
        // What was merged away is not in the recycle bin.
        assert_eq!(http.get(&format!("{path}?archived=true")).await.status, 404);
        assert_eq!(http.get("/crm/v3/objects/contacts?archived=true").await.json()["results"], json!([]));
    }
}

#[tokio::test]
async fn with_id_preservation_the_primary_record_keeps_its_id() {
    let (sim, [ada, work]) = two_contacts(Quirks { merge_survivor: MergeSurvivor::PrimaryId, ..prompt() }).await;
    let http = Http::to(&sim);
    let merged = http.post(MERGE, &body(&ada, &work)).await;
    assert_eq!((merged.status, &merged.json()["id"]), (200, &json!(ada)));
    let stored = sim.record_by("contacts", "email", "ada@example.com").expect("stored");
    assert_eq!((stored.id.as_str(), stored.properties["hs_merged_object_ids"].as_str()), (ada.as_str(), work.as_str()));
    let by_alias = json!({ "inputs": [by_email("0", "ada@work.example.com", json!({ "city": "Bari" }))] });
    let upserted = http.post("/crm/v3/objects/contacts/batch/upsert", &by_alias).await.json();
    assert_parts("alias", &upserted, &[("/results/0/id", json!(ada)), ("/results/0/new", json!(false))]);
}

#[tokio::test]
async fn merges_that_are_refused() {
    let (sim, [ada, work]) = two_contacts(prompt()).await;
    let http = Http::to(&sim);
    for (body, status) in [
        (body(&ada, &ada), 400),
        (body(&ada, "12"), 404),
        (body("ada", &work), 404),
        (json!({ "primaryObjectId": ada }), 400),
        (json!({}), 400),
    ] {
        assert_eq!(http.post(MERGE, &body).await.status, status, "{body}");
    }
    assert_eq!(sim.stats().rows_merged, 0);
}

#[tokio::test]
async fn a_record_swallows_250_others_and_no_more() {
    let (sim, [ada, _]) = two_contacts(Quirks { merge_survivor: MergeSurvivor::PrimaryId, ..prompt() }).await;
    for i in 0..251 {
        let other = sim.add_record("contacts", [("firstname", format!("c{i}").as_str())]).expect("valid");
        let merged = sim.merge("contacts", &ada, &other);
        assert_eq!(merged.is_ok(), i < 250, "merge {i}");
        if i == 250 {
            let refused = Http::to(&sim).post(MERGE, &body(&ada, &other)).await;
            assert_eq!(refused.status, 414);
            assert_eq!(refused.json()["message"], "Cannot have more than 250 identities on a profile");
        }
    }
}

#[tokio::test]
async fn archived_records_are_read_only_when_asked_for_and_never_found_by_key_or_search() {
    let (sim, [ada, work]) = two_contacts(prompt()).await;
    let http = Http::to(&sim);
    let archive = "/crm/v3/objects/contacts/batch/archive";
    let inputs = json!({ "inputs": [{ "id": ada }, { "id": "12" }, { "id": "unknown" }] });
    for round in 0..2 {
        let reply = http.post(archive, &inputs).await;
        assert_eq!((reply.status, reply.text.as_str()), (204, ""), "round {round}");
    }
    assert_eq!(sim.stats().rows_archived, 1, "what is archived or unknown is passed over");
    let read = async |query: &str, body: Value| {
        let reply = http.post(&format!("/crm/v3/objects/contacts/batch/read{query}"), &body).await;
        (reply.status, reply.json()["results"].as_array().map_or(0, Vec::len))
    };
    assert_eq!(read("", json!({ "inputs": [{ "id": ada }, { "id": work }] })).await, (207, 1));
    assert_eq!(read("?archived=true", json!({ "inputs": [{ "id": ada }, { "id": work }] })).await, (207, 1));
    let by_key = json!({ "idProperty": "email", "inputs": [{ "id": "ada@example.com" }] });
    assert_eq!(read("", by_key).await, (207, 0));
    let filter = json!({ "filterGroups": [{ "filters": [{ "propertyName": "email", "operator": "HAS_PROPERTY" }] }] });
    assert_eq!(http.post("/crm/v3/objects/contacts/search", &filter).await.json()["total"], 1);
    let upsert = json!({ "inputs": [by_email("0", "ada@example.com", json!({}))] });
    let again = http.post("/crm/v3/objects/contacts/batch/upsert", &upsert).await.json();
    assert_eq!(again["results"][0]["new"], true, "an archived record frees its key");
    assert_ne!(again["results"][0]["id"], json!(ada));
}

#[tokio::test]
async fn the_primary_company_of_the_primary_record_stays_primary() {
    for merge_survivor in [MergeSurvivor::NewId, MergeSurvivor::PrimaryId] {
        let (sim, [ada, work]) = two_contacts(Quirks { merge_survivor, ..prompt() }).await;
        let http = Http::to(&sim);
        let companies = [sim.records("companies")[0].id.clone(), sim.add_record("companies", []).expect("valid")];
        for (contact, company) in [&ada, &work].into_iter().zip(&companies) {
            let path = format!("/crm/v4/objects/contacts/{contact}/associations/companies/{company}");
            let primary = json!([{ "associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1 }]);
            assert_eq!(http.put(&path, &primary).await.status, 201);
        }
        let survivor = sim.merge("contacts", &ada, &work).expect("both are live");
        let all = sim.associations("contacts", &survivor, "companies");
        let primary: Vec<&str> = all.iter().filter(|a| a.type_id == 1).map(|a| a.to_id.as_str()).collect();
        assert_eq!(primary, [companies[0].as_str()], "{merge_survivor:?}");
        assert_eq!(all.iter().filter(|a| a.type_id == 279).count(), 2, "both stay associated");
    }
}
