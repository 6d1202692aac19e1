//! Whole runs over records.

mod support;

use std::sync::Arc;

use rsync_core::arrow::array::{ArrayRef, ListBuilder, RecordBatch, StringArray, StringBuilder};
use rsync_core::destination::Target;
use rsync_core::field_policy::FieldPolicy;
use rsync_core::memory::{MemorySource, SeededRandomness};
use rsync_core::{FieldMap, FieldRule, FieldType, HashKey, MemoryStore, Model, Owner, Pipeline};
use rsync_testkit::sim::hubspot::{HubSpotSim, PropertySeed, RateLimits};
use support::*;

#[tokio::test]
async fn options_are_added_by_the_service_and_nothing_is_read_for_it() {
    let sim = HubSpotSim::builder()
        .with_rate_limits(RateLimits::Unlimited)
        .with_property("contacts", PropertySeed::unique_text("external_id"))
        .with_property("contacts", PropertySeed::options("tags", "checkbox", ["a", "b", "c"]))
        .with_record("contacts", [("external_id", "1"), ("tags", "a")])
        .with_record("contacts", [("external_id", "2"), ("tags", "a;b")])
        .start()
        .await
        .unwrap();
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("b")]);
    tags.append_value(Vec::<Option<&str>>::new());
    tags.append_value([Some("c"), Some("b")]);
    let ids = Arc::new(StringArray::from(vec!["1", "2", "3"])) as ArrayRef;
    let model = RecordBatch::try_from_iter([("id", ids), ("tags", Arc::new(tags.finish()) as ArrayRef)]).unwrap();
    let map = FieldMap::new()
        .field(FieldRule::column("id", "external_id", FieldType::Text))
        .field(FieldRule::column("tags", "tags", FieldType::TextList).policy(FieldPolicy::SetUnion));
    let pipeline = Pipeline::builder("tags")
        .owner(Owner::new("growth", "growth@example.com"))
        .source(MemorySource::of(model))
        .model(Model::new("tags").key(["id"]))
        .mapping(map)
        .destination(builder(&sim.base_url(), &sim.token()).build().unwrap(), Target::new("contacts", "external_id"))
        .state(MemoryStore::new(), HashKey::from_bytes(*b"a test's own key"))
        .randomness(SeededRandomness::new(7))
        .build()
        .unwrap();
    let report = pipeline.run().await.unwrap();
    assert_eq!((report.totals.written, report.is_complete()), (3, true), "{report}");
    let stored = |id| {
        let record = sim.record_by("contacts", "external_id", id).unwrap();
        let mut tags: Vec<String> = record.properties["tags"].split(';').map(str::to_owned).collect();
        tags.sort_unstable();
        tags.join(";")
    };
    assert_eq!([stored("1"), stored("2"), stored("3")], ["a;b", "a;b", "b;c"]);
    assert!(sim.journal().entries().iter().all(|entry| !entry.path.ends_with("/read")));
    assert_eq!(pipeline.run().await.unwrap().totals.unchanged, 3);
}
