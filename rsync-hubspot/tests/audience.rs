//! Members of lists: the calls against the simulator, whole runs, and answers played back.

mod support;

use std::sync::Arc;
use std::time::Duration;

use rsync_core::arrow::array::{ArrayRef, RecordBatch, StringArray};
use rsync_core::capability::{Addressing, Capability, Operation, Rate};
use rsync_core::destination::Target;
use rsync_core::ids::RemoteId;
use rsync_core::memory::{MemorySource, SeededRandomness};
use rsync_core::{
    Audience, Destination, Exit, Exits, FieldMap, FieldRule, FieldType, HashKey, Kind, MemoryStore, Model, Owner,
    Pipeline, Retry, RunStatus, Scope,
};
use rsync_hubspot::{ApiVersion, HubSpot, RateTier};
use rsync_testkit::adapter::{Playback, Played, batch, keys, settled, shown, words};
use rsync_testkit::sim::fault::{FaultAction, FaultPlan, FaultRule, Processing, Requests};
use rsync_testkit::sim::hubspot::{HubSpotSim, ListProcessing, ListSeed, PropertySeed, RateLimits, Seed};
use support::*;

/// A portal with the contacts `a`, `b` and `c` and a list of every kind.
async fn portal() -> HubSpotSim {
    let list = |name: &str, object: &str, processing| ListSeed { name: name.into(), object: object.into(), processing };
    let lists = vec![
        list("by hand", "contacts", ListProcessing::Manual),
        list("at first", "contacts", ListProcessing::Snapshot),
        list("by filter", "contacts", ListProcessing::Dynamic),
        list("firms", "companies", ListProcessing::Manual),
    ];
    let seed = Seed { rate_limits: RateLimits::Unlimited, lists, ..Seed::default() };
    let mut sim =
        HubSpotSim::builder().with_seed(seed).with_property("contacts", PropertySeed::unique_text("external_id"));
    for name in ["a", "b", "c"] {
        let (email, alias) = (format!("{name}@x.io"), format!("{name}.old@x.io"));
        let properties = [("email", email.as_str()), ("hs_additional_emails", &alias), ("external_id", name)];
        sim = sim.with_record("contacts", properties);
    }
    sim.start().await.unwrap()
}

fn hubspot(sim: &HubSpotSim) -> HubSpot {
    builder(&sim.base_url(), &sim.token()).build().unwrap()
}

fn list(sim: &HubSpotSim, name: &str, match_on: &str) -> Target {
    Target::new(format!("contacts/lists/{}", sim.list(name).unwrap().id), match_on)
}

fn id(sim: &HubSpotSim, name: &str) -> String {
    sim.record_by("contacts", "external_id", name).unwrap().id
}

/// Names of the members.
fn members(sim: &HubSpotSim, list: &str) -> Vec<String> {
    let members = sim.list(list).unwrap().members;
    let records = sim.records("contacts").into_iter().filter(|record| members.contains(&record.id));
    records.map(|record| record.properties["external_id"].clone()).collect()
}

async fn change(hubspot: &HubSpot, operation: Operation, target: &Target, names: &[&str]) -> Vec<String> {
    let rows = keys(target.match_on.as_str(), names);
    words(&settled(hubspot.write(&cx(), batch(operation, target, rows)).await.unwrap()))
}

#[tokio::test]
async fn members_come_and_go_by_every_key_and_version() {
    for version in [ApiVersion::V3, ApiVersion::V2026_03, ApiVersion::V2026_09] {
        for match_on in ["email", "external_id", "hs_object_id"] {
            let sim = portal().await;
            let hubspot = builder(&sim.base_url(), &sim.token()).version(version).build().unwrap();
            let (a, b) = (id(&sim, "a"), id(&sim, "b"));
            let keys = match match_on {
                "email" => ["A@x.io", "b@x.io", "nobody@x.io"].map(str::to_owned),
                "external_id" => ["a", "b", "nobody"].map(str::to_owned),
                _ => [a.clone(), b.clone(), "42".to_owned()],
            };
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            for name in ["by hand", "at first"] {
                let target = list(&sim, name, match_on);
                sim.set_list_members(name, [b.as_str()]).unwrap();
                let added = change(&hubspot, Operation::AddMember, &target, &keys).await;
                assert_eq!(added, [format!("Created {a}"), format!("Updated {b}"), "Missing".into()], "{match_on}");
                assert_eq!(members(&sim, name), ["a", "b"]);
                let again = change(&hubspot, Operation::AddMember, &target, &keys[..1]).await;
                assert_eq!(again, [format!("Updated {a}")], "a member stays one");
                let removed = change(&hubspot, Operation::RemoveMember, &target, &keys).await;
                let gone = |id: &str| format!("Unspecified {id}");
                assert_eq!(removed, [gone(&a), gone(&b), "Missing".into()]);
                let again = change(&hubspot, Operation::RemoveMember, &target, &keys[..1]).await;
                assert_eq!((again, members(&sim, name)), (vec!["Missing".to_owned()], Vec::new()));
            }
            assert_eq!(sim.records("contacts").len(), 3, "nobody was made");
        }
    }
}

#[tokio::test]
async fn members_by_record_id() {
    let sim = portal().await;
    let (hubspot, target) = (hubspot(&sim), list(&sim, "by hand", "email"));
    let ids: Vec<RemoteId> = [id(&sim, "a"), "999".into()].iter().map(RemoteId::new).collect();
    let send = async |operation| {
        let rows = batch(operation, &target, keys("email", &["x", "y"])).with_ids(ids.clone()).unwrap();
        words(&settled(hubspot.write(&cx(), rows).await.unwrap()))
    };
    // The service would pass over the unknown id as silently as over a member.
    assert_eq!(send(Operation::AddMember).await, [format!("Created {}", ids[0].as_str()), "Missing".into()]);
    assert_eq!(send(Operation::AddMember).await, [format!("Updated {}", ids[0].as_str()), "Missing".into()]);
    sim.journal().reset();
    assert_eq!(send(Operation::RemoveMember).await, [format!("Unspecified {}", ids[0].as_str()), "Missing".into()]);
    assert_eq!(sim.journal().total(), 1, "a removal by id reads nothing");
}

#[tokio::test]
async fn f46_two_addresses_of_one_contact_are_one_member() {
    let sim = portal().await;
    let (target, a) = (list(&sim, "by hand", "email"), id(&sim, "a"));
    let added = change(&hubspot(&sim), Operation::AddMember, &target, &["a@x.io", "a.old@x.io"]).await;
    assert_eq!((added, members(&sim, "by hand").len()), (vec![format!("Created {a}"); 2], 1));
}

#[tokio::test]
async fn nobody_to_change_sends_no_write() {
    let sim = portal().await;
    let (hubspot, target) = (hubspot(&sim), list(&sim, "by hand", "email"));
    sim.reset_stats();
    for operation in [Operation::AddMember, Operation::RemoveMember] {
        assert_eq!(change(&hubspot, operation, &target, &["nobody@x.io"]).await, ["Missing"]);
        assert!(change(&hubspot, operation, &target, &[]).await.is_empty());
    }
    assert_eq!((sim.stats().mutating_requests(), sim.journal().total()), (0, 2));
}

#[tokio::test]
async fn lists_that_take_no_members_are_refused_before_a_run() {
    let sim = portal().await;
    let hubspot = hubspot(&sim);
    for (target, kind, said) in [
        (list(&sim, "by filter", "email"), Kind::Unsupported, "filter"),
        (list(&sim, "firms", "email"), Kind::Unsupported, "other records"),
        (Target::new("contacts/lists/99", "email"), Kind::NotFound, "no such"),
        (Target::new("contacts/lists/vips", "email"), Kind::InvalidConfig, "number"),
    ] {
        for error in [hubspot.check(&target).await.unwrap_err(), hubspot.describe(&target).await.unwrap_err()] {
            assert_eq!((error.kind(), error.retry()), (kind, Retry::Never), "{error}");
            assert!(shown(&error).contains(said), "{error:?}");
        }
    }
    for name in ["by hand", "at first"] {
        let target = list(&sim, name, "email");
        assert_eq!(hubspot.check(&target).await.unwrap().as_str(), sim.portal_id().to_string());
        assert!(hubspot.describe(&target).await.unwrap().field("email").unwrap().unique);
    }
    // A list that became one by filter since.
    let target = list(&sim, "by filter", "email");
    let rows = batch(Operation::AddMember, &target, keys("email", &["a@x.io", "b@x.io"]));
    let error = hubspot.write(&cx(), rows).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Unsupported, Retry::Never), "no row is to blame");
    assert_eq!(sim.stats().members_added, 0);
}

#[tokio::test]
async fn a_list_has_members_only() {
    let server = Playback::one(500, "").await;
    let at = |rate| builder(server.base_url(), "pat-canary").rate(rate).build().unwrap();
    let (hubspot, target) = (at(RateTier::Starter), Target::new("contacts/lists/7", "email"));
    let capability: Capability = hubspot.capability(&target);
    for operation in Operation::ALL {
        let member = matches!(operation, Operation::AddMember | Operation::RemoveMember);
        assert_eq!(capability.limits(operation).is_some(), member, "{operation:?}");
        assert!(
            !member || hubspot.capability(&contacts()).limits(operation).is_none(),
            "a plain object has no members"
        );
        let refused = if member { contacts() } else { target.clone() };
        let error = hubspot.write(&cx(), batch(operation, &refused, keys("email", &["a@x.io"]))).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Unsupported, Retry::Never), "{operation:?}");
    }
    assert_eq!(capability.add_member.unwrap().addressing, Addressing::ByKeyOrId);
    let many: Vec<String> = (0..101).map(|i| format!("{i}@x.io")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let error = hubspot.write(&cx(), batch(Operation::AddMember, &target, keys("email", &many))).await.unwrap_err();
    assert_eq!((error.kind(), error.context("limit")), (Kind::Internal, Some("100")));
    assert!(server.requests().is_empty());
    // Each write sends two requests.
    let ten = Duration::from_secs(10);
    for (tier, expected) in [
        (RateTier::Starter, Some(Rate::new(50, ten))),
        (RateTier::Custom { requests: 1, per_ms: 10_000 }, Some(Rate::new(1, ten * 2))),
        (RateTier::Unlimited, None),
    ] {
        assert_eq!(at(tier).capability(&target).rate, expected);
    }
}

#[tokio::test]
async fn d06_a_lost_answer_leaves_the_fate_open_and_a_lost_read_does_not() {
    for (path, retry) in [("/memberships/add", Retry::Ambiguous), ("/batch/read", Retry::Backoff)] {
        for action in [
            FaultAction::ResetConnection { processing: Processing::Applied },
            FaultAction::EmptyBody { status: 200, processing: Processing::Applied },
            FaultAction::status(500),
        ] {
            let sim = portal().await;
            let (hubspot, target) = (hubspot(&sim), list(&sim, "by hand", "email"));
            let once = FaultRule::new(action).on_path_ending(path).on_requests(Requests::First(1));
            sim.faults().set(FaultPlan::new([once])).unwrap();
            let rows = || batch(Operation::AddMember, &target, keys("email", &["a@x.io"]));
            assert_eq!(hubspot.write(&cx(), rows()).await.unwrap_err().retry(), retry, "{path}");
            assert_eq!(sim.faults().report().iter().map(|rule| rule.fired).sum::<u64>(), 1, "{path}");
            assert_eq!(settled(hubspot.write(&cx(), rows()).await.unwrap()).len(), 1);
            assert_eq!(members(&sim, "by hand"), ["a"], "{path}");
        }
    }
}

#[tokio::test]
async fn s01_s02_the_service_may_echo_what_it_wants() {
    let read = r#"{"status":"COMPLETE","results":[{"id":"1","properties":{"email":"canary@x.io"}}]}"#;
    for status in [200, 400, 403, 404, 409, 429, 500] {
        let echo = r#"{"status":"error","message":"canary","category":"canary","context":{"ids":["canary"]}}"#;
        let server = Playback::start(vec![Played::json(200, read), Played::json(status, echo)]).await;
        let target = Target::new("contacts/lists/7", "email");
        let rows = batch(Operation::AddMember, &target, keys("email", &["canary@x.io"]));
        let error = hubspot_at(&server).write(&cx(), rows).await.unwrap_err();
        assert!(!shown(&error).to_lowercase().contains(CANARY), "{status}: {error:?}");
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        assert!(requests[1].0.starts_with("PUT /crm/lists/2026-09/7/memberships/add HTTP/1.1"), "{}", requests[1].0);
        assert_eq!(requests[1].1, r#"["1"]"#);
    }
}

struct Sync {
    source: MemorySource,
    store: MemoryStore,
}

fn people(emails: &[&str]) -> RecordBatch {
    let column = Arc::new(emails.iter().copied().map(Some).collect::<StringArray>()) as ArrayRef;
    RecordBatch::try_from_iter([("email", column)]).unwrap()
}

impl Sync {
    fn pipeline(&self, sim: &HubSpotSim, target: Target, exits: Exits) -> Pipeline {
        Pipeline::builder("vips")
            .owner(Owner::new("growth", "growth@example.com"))
            .source(self.source.clone())
            .model(Model::new("vips").key(["email"]))
            .mapping(FieldMap::new().field(FieldRule::column("email", "email", FieldType::Text)))
            .policy(Audience::new())
            .exits(exits.at_most(10, 0.0))
            .destination(hubspot(sim), target)
            .state(self.store.clone(), HashKey::from_bytes(*b"a test's own key"))
            .randomness(SeededRandomness::new(7))
            .build()
            .unwrap()
    }
}

#[tokio::test]
async fn the_audience_is_the_model() {
    let sim = portal().await;
    let target = list(&sim, "by hand", "email");
    let before = sim.records("contacts");
    let sync =
        Sync { source: MemorySource::of(people(&["a@x.io", "b@x.io", "nobody@x.io"])), store: MemoryStore::new() };
    let pipeline = sync.pipeline(&sim, target.clone(), Exits::remove_from_audience());
    let report = pipeline.run().await.unwrap();
    assert_eq!((report.status, report.totals.written, report.totals.skipped), (RunStatus::Completed, 2, 1));
    assert_eq!(members(&sim, "by hand"), ["a", "b"]);
    let writes = sim.stats().mutating_requests();
    assert_eq!(pipeline.run().await.unwrap().totals.unchanged, 2);
    // The state knows keys as hashes only: who is simply gone leaves by the record id of the first write.
    sync.source.replace(vec![people(&["b@x.io", "c@x.io"])]);
    let report = pipeline.run().await.unwrap();
    assert_eq!((report.totals.written, report.totals.exits.removed), (1, 1), "{report}");
    assert_eq!((members(&sim, "by hand"), report.is_complete()), (vec!["b".to_owned(), "c".to_owned()], true));
    assert_eq!(sim.stats().mutating_requests(), writes + 2);
    assert_eq!(sim.records("contacts"), before, "no record is touched");
}

#[tokio::test]
async fn who_was_a_member_before_can_stay() {
    let sim = portal().await;
    let target = list(&sim, "by hand", "email");
    sim.set_list_members("by hand", [id(&sim, "a").as_str()]).unwrap();
    let sync = Sync { source: MemorySource::of(people(&["a@x.io", "b@x.io", "c@x.io"])), store: MemoryStore::new() };
    let pipeline = sync.pipeline(&sim, target, Exits::new(Exit::RemoveFromAudience, Scope::CreatedByUs));
    assert_eq!(pipeline.run().await.unwrap().totals.written, 3);
    sync.source.replace(vec![people(&["c@x.io"])]);
    assert_eq!(pipeline.run().await.unwrap().totals.exits.removed, 1);
    assert_eq!(members(&sim, "by hand"), ["a", "c"]);
}
