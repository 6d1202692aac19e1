//! Lists and their members.

use rsync_testkit::sim::hubspot::{HubSpotSim, ListProcessing, ListSeed, Quirks, RateLimits, Seed, TokenSeed};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, prompt, roomy};

const LISTS: &str = "/crm/v3/lists";

fn manual(name: &str) -> Value {
    json!({ "name": name, "objectTypeId": "0-1", "processingType": "MANUAL" })
}

/// A portal with three contacts and a list of every processing type.
async fn seeded(quirks: Quirks) -> (HubSpotSim, Vec<String>) {
    let list = |name: &str, processing| ListSeed { name: name.to_owned(), object: "contacts".to_owned(), processing };
    let seed = Seed {
        lists: vec![
            list("manual", ListProcessing::Manual),
            list("snapshot", ListProcessing::Snapshot),
            list("dynamic", ListProcessing::Dynamic),
        ],
        rate_limits: RateLimits::Unlimited,
        ..Seed::default()
    };
    let mut builder = roomy().with_seed(seed).with_quirks(quirks);
    for email in ["a@example.com", "b@example.com", "c@example.com"] {
        builder = builder.with_record("contacts", [("email", email)]);
    }
    let sim = builder.start().await.expect("the simulator starts");
    let ids = sim.records("contacts").into_iter().map(|record| record.id).collect();
    (sim, ids)
}

fn members(sim: &HubSpotSim, name: &str) -> Vec<String> {
    sim.list(name).expect("there is such a list").members
}

#[tokio::test]
async fn lists_are_made_found_renamed_deleted_and_restored() {
    for base in [LISTS, "/crm/lists/2026-03", "/crm/lists/2026-09"] {
        let sim = roomy().start().await.expect("the simulator starts");
        let http = Http::to(&sim);
        let made = http.post(base, &manual("Churn risk")).await;
        assert_eq!(made.status, 200, "{base}: {}", made.text);
        assert_parts(
            base,
            &made.json(),
            &[
                ("/list/listId", json!("1")),
                ("/list/processingType", json!("MANUAL")),
                ("/list/processingStatus", json!("COMPLETE")),
                ("/list/objectTypeId", json!("0-1")),
                ("/list/listVersion", json!(1)),
            ],
        );
        let by_name = |name: &str| format!("{base}/object-type-id/0-1/name/{name}");
        assert_eq!(http.get(&by_name("Churn%20risk")).await.json()["list"]["listId"], "1");
        assert_eq!(http.get(&by_name("other")).await.status, 404);
        let renamed = http.put(&format!("{base}/1/update-list-name?listName=At%20risk"), &Value::Null).await;
        assert_eq!(renamed.json()["updatedList"]["name"], "At risk", "{}", renamed.text);
        let found = http.post(&format!("{base}/search"), &json!({ "query": "RISK", "count": 10 })).await.json();
        assert_parts(
            "search",
            &found,
            &[("/total", json!(1)), ("/hasMore", json!(false)), ("/lists/0/listId", json!("1"))],
        );
        assert_eq!(http.delete(&format!("{base}/1")).await.status, 204);
        assert_eq!(http.get(&format!("{base}/1")).await.status, 404);
        assert_eq!(http.post(base, &manual("At risk")).await.status, 200, "a deleted list frees its name");
        let taken = http.put(&format!("{base}/1/restore"), &Value::Null).await;
        assert_eq!(taken.json()["subCategory"], "ILS.DUPLICATE_LIST_NAMES");
        assert_eq!(http.delete(&format!("{base}/2")).await.status, 204);
        assert_eq!(http.put(&format!("{base}/1/restore"), &Value::Null).await.status, 204);
        assert_eq!(http.get(&format!("{base}/1")).await.status, 200);
    }
}

#[tokio::test]
async fn lists_that_are_refused() {
    let (sim, _) = seeded(prompt()).await;
    let http = Http::to(&sim);
    for (body, status, sub_category) in [
        (manual("Manual"), 400, json!("ILS.DUPLICATE_LIST_NAMES")),
        (manual(" "), 400, Value::Null),
        (json!({ "name": "x", "processingType": "MANUAL" }), 400, Value::Null),
        (json!({ "name": "x", "objectTypeId": "contacts", "processingType": "MANUAL" }), 400, Value::Null),
        (json!({ "name": "x", "objectTypeId": "0-1" }), 400, Value::Null),
        (json!({ "name": "x", "objectTypeId": "0-1", "processingType": "STATIC" }), 400, Value::Null),
        (json!({ "name": "x", "objectTypeId": "0-1", "processingType": "DYNAMIC" }), 400, Value::Null),
        (
            json!({ "name": "x", "objectTypeId": "0-1", "processingType": "MANUAL", "filterBranch": {} }),
            400,
            Value::Null,
        ),
        (
            json!({ "name": "x", "objectTypeId": "0-1", "processingType": "DYNAMIC", "filterBranch": {} }),
            200,
            Value::Null,
        ),
    ] {
        let reply = http.post(LISTS, &body).await;
        assert_eq!((reply.status, &reply.json()["subCategory"]), (status, &sub_category), "{body}: {}", reply.text);
    }
}

#[tokio::test]
async fn members_are_added_and_removed_and_unknown_ids_are_passed_over() {
    let (sim, ids) = seeded(prompt()).await;
    let http = Http::to(&sim);
    for (what, body, added, removed, missing, left) in [
        ("add", json!([ids[0], ids[1]]), vec![0, 1], vec![], vec![], vec![0, 1]),
        ("add", json!([ids[1], ids[2], "12", "x"]), vec![2], vec![], vec!["12", "x"], vec![0, 1, 2]),
        ("remove", json!([ids[0], ids[0], "13"]), vec![], vec![0], vec!["13"], vec![1, 2]),
        (
            "add-and-remove",
            json!({ "recordIdsToAdd": [ids[0]], "recordIdsToRemove": [ids[1]] }),
            vec![0],
            vec![1],
            vec![],
            vec![0, 2],
        ),
    ] {
        let reply = http.put(&format!("{LISTS}/1/memberships/{what}"), &body).await;
        assert_eq!(reply.status, 200, "{what}: {}", reply.text);
        let named = |positions: &[usize]| positions.iter().map(|i| ids[*i].clone()).collect::<Vec<_>>();
        let expected = json!({ "recordsIdsAdded": named(&added), "recordIdsRemoved": named(&removed), "recordIdsMissing": missing });
        assert_eq!(reply.json(), expected, "{what} {body}");
        assert_eq!(members(&sim, "manual"), named(&left));
    }
    let stats = sim.stats();
    assert_eq!((stats.members_added, stats.members_removed), (4, 2));
    assert_eq!(stats.mutating_requests(), 4);
    assert_eq!(http.put(&format!("{LISTS}/1/memberships/add"), &json!([12])).await.status, 400, "ids are text");
    assert_eq!(http.put(&format!("{LISTS}/9/memberships/add"), &json!([])).await.status, 404);
}

#[tokio::test]
async fn dynamic_lists_refuse_every_change_and_snapshots_take_it() {
    let (sim, ids) = seeded(prompt()).await;
    sim.set_list_members("dynamic", [ids[0].as_str()]).expect("the list exists");
    let http = Http::to(&sim);
    for (list, status, deleted) in [(2, 200, 204), (3, 400, 400)] {
        let at = format!("{LISTS}/{list}/memberships");
        for (path, body) in [
            (format!("{at}/add"), json!([ids[1]])),
            (format!("{at}/remove"), json!([ids[1]])),
            (format!("{at}/add-and-remove"), json!({ "recordIdsToAdd": [ids[1]] })),
        ] {
            assert_eq!(http.put(&path, &body).await.status, status, "{path}");
        }
        assert_eq!(http.put(&format!("{at}/add-from/3"), &Value::Null).await.status, deleted);
        assert_eq!(http.delete(&at).await.status, deleted);
    }
    assert_eq!(members(&sim, "dynamic"), [ids[0].clone()]);
    assert!(members(&sim, "snapshot").is_empty());
}

#[tokio::test]
async fn members_are_read_in_pages_and_archived_records_are_none() {
    let (sim, ids) = seeded(prompt()).await;
    let http = Http::to(&sim);
    http.put(&format!("{LISTS}/1/memberships/add"), &json!(ids)).await;
    let first = http.get(&format!("{LISTS}/1/memberships?limit=2")).await.json();
    assert_parts("page", &first, &[("/total", json!(3)), ("/results/0/recordId", json!(ids[0]))]);
    assert!(first["results"][0]["membershipTimestamp"].is_string());
    let after = first["paging"]["next"]["after"].as_str().expect("a cursor");
    let second = http.get(&format!("{LISTS}/1/memberships?limit=2&after={after}")).await.json();
    assert_parts("next page", &second, &[("/results/0/recordId", json!(ids[2])), ("/paging", Value::Null)]);
    http.delete(&format!("/crm/v3/objects/contacts/{}", ids[0])).await;
    assert_eq!(http.get(&format!("{LISTS}/1/memberships")).await.json()["total"], 2);
    assert_eq!(members(&sim, "manual"), ids[1..]);
    for query in ["limit=0", "limit=251", "limit=x", "after=x"] {
        assert_eq!(http.get(&format!("{LISTS}/1/memberships?{query}")).await.status, 400, "{query}");
    }
    assert_eq!(http.put(&format!("{LISTS}/2/memberships/add-from/1"), &Value::Null).await.status, 204);
    assert_eq!(members(&sim, "snapshot"), ids[1..]);
    assert_eq!(http.delete(&format!("{LISTS}/2/memberships")).await.status, 204);
    assert!(members(&sim, "snapshot").is_empty());
}

#[tokio::test]
async fn one_change_of_members_has_a_limit() {
    let (sim, ids) = seeded(Quirks { list_ids_max: 2, ..prompt() }).await;
    let http = Http::to(&sim);
    let refused = http.put(&format!("{LISTS}/1/memberships/add"), &json!(ids)).await;
    assert_eq!((refused.status, &refused.json()["category"]), (400, &json!("VALIDATION_ERROR")));
    let both = json!({ "recordIdsToAdd": ids[..2], "recordIdsToRemove": ids[2..] });
    assert_eq!(http.put(&format!("{LISTS}/1/memberships/add-and-remove"), &both).await.status, 400);
    assert!(members(&sim, "manual").is_empty());
    assert_eq!(http.put(&format!("{LISTS}/1/memberships/add"), &json!(ids[..2])).await.status, 200);
}

#[tokio::test]
async fn changing_members_needs_both_scopes() {
    let token = |token: &str, scopes: &[&str]| TokenSeed {
        token: token.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        expires_at_ms: None,
    };
    let tokens = vec![
        token("reader", &["crm.lists.read"]),
        token("writer", &["crm.lists.write"]),
        token("both", &["crm.lists.read", "crm.lists.write"]),
    ];
    let sim = roomy().with_seed(Seed { tokens, ..Seed::default() }).start().await.expect("the simulator starts");
    for (token, made, read) in [("reader", 403, 200), ("writer", 403, 403), ("both", 200, 200)] {
        let http = Http::to(&sim).with_token(Some(token));
        assert_eq!(http.post(LISTS, &manual(token)).await.status, made, "{token}");
        assert_eq!(http.post(&format!("{LISTS}/search"), &json!({})).await.status, read, "{token}");
    }
}
