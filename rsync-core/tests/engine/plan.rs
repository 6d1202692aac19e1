//! What is refused before anything is written.

use rsync_core::error::Retry;
use rsync_core::memory::MemorySource;
use rsync_core::source::CellFault;
use rsync_core::{Error, Event, FieldMap, FieldRule, FieldType, Kind, Model, Owner, Pipeline, RunStatus, Target};

use crate::support::{Parts, batch, key, mapping, numbered};

const ROW: (&str, Option<&str>, Option<&str>) = ("a", Some("Ada"), Some("pro"));

#[test]
fn build_reports_everything_that_is_missing_at_once() {
    let error = Pipeline::builder("Bad Name").owner(Owner::new("", "x")).build().unwrap_err();
    let at: Vec<&str> = error.problems().iter().map(|problem| problem.at.as_str()).collect();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert_eq!(at, ["source", "model", "mapping", "destination", "state", "owner", "name"]);
}

#[tokio::test]
async fn plan_reports_everything_that_does_not_fit_at_once() {
    let parts = Parts::new(&[ROW]);
    let mapping = FieldMap::new()
        .field(FieldRule::column("id", "ext_id", FieldType::Text))
        .field(FieldRule::column("nme", "name", FieldType::Text))
        .field(FieldRule::column("tier", "tyre", FieldType::Text))
        .field(FieldRule::column("tier", "tier", FieldType::TextList));
    let sync = parts.builder().mapping(mapping).model(Model::new("people").key(["id", "idd"])).build().unwrap();
    let error = sync.plan().await.unwrap_err();
    assert_eq!(error.kind(), Kind::SchemaMismatch);
    let text = error.to_string();
    for part in [
        "model.key: the model has no column \"idd\" (fix: name one of its columns: id, name, tier)",
        "mapping.name: the model has no column \"nme\"",
        "mapping.tyre: the destination has no field \"tyre\" (fix: create it there, or name one of its fields: ",
        "mapping.tier: column \"tier\": Utf8 cannot become a text list (fix: make a list of texts in the query)",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(parts.destination.writes().is_empty());
    assert_eq!(
        parts.recorder.count(|event| matches!(event, Event::RunFailed { owner, .. } if owner.team == "growth")),
        1
    );
}

#[tokio::test]
async fn a_match_field_must_be_mapped_and_unique() {
    let parts = Parts::new(&[ROW]);
    let error = parts
        .builder()
        .destination(parts.destination.clone(), Target::new("people", "tier"))
        .build()
        .unwrap()
        .plan()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not unique at the destination"), "{error}");
    let unmapped = FieldMap::new().field(FieldRule::column("name", "name", FieldType::Text));
    let error = parts.builder().mapping(unmapped).build().unwrap().plan().await.unwrap_err();
    assert!(error.to_string().contains("the field \"ext_id\" is not mapped"), "{error}");
}

#[tokio::test]
async fn f16_an_incomplete_read_applies_nothing() {
    let cut = |after| {
        MemorySource::new(numbered(1, 1).schema(), vec![numbered(100, 1), numbered(100, 2)]).with_failure_after(
            after,
            || {
                Error::new(Kind::SourceIncomplete, "read the model", "the connection was lost")
                    .with_retry(Retry::Backoff)
            },
        )
    };
    for after in 0..2 {
        let parts = Parts::new(&[ROW]);
        let sync = parts.builder().source(cut(after)).build().unwrap();
        let failure = sync.run().await.unwrap_err();
        assert_eq!(failure.error.kind(), Kind::SourceIncomplete);
        assert!(parts.destination.writes().is_empty() && failure.report.is_none());
    }
}

#[tokio::test]
async fn a_plan_changes_nothing_and_holds_the_sync() {
    let parts = Parts::new(&[ROW]);
    let plan = parts.sync().plan().await.unwrap();
    assert!(parts.destination.writes().is_empty());
    assert_eq!(parts.sync().plan().await.unwrap_err().kind(), Kind::AlreadyRunning);
    let text = plan.to_string();
    assert!(
        text.contains("creates") && text.contains("cost: 1 API calls") && text.contains("ready to apply"),
        "{text}"
    );
    drop(plan);
    let report = parts.sync().run().await.unwrap();
    assert_eq!(report.status, RunStatus::Completed);
}

#[tokio::test]
async fn a_plan_of_another_sync_is_refused() {
    let parts = Parts::new(&[ROW]);
    let other = Pipeline::builder("other")
        .owner(Owner::new("a", "b"))
        .source(parts.source.clone())
        .model(Model::new("people").key(["id"]))
        .mapping(mapping())
        .destination(parts.destination.clone(), parts.target.clone())
        .state(parts.store.clone(), key())
        .build()
        .unwrap();
    let plan = parts.sync().plan().await.unwrap();
    let failure = other.apply(plan).await.unwrap_err();
    assert_eq!(failure.error.kind(), Kind::InvalidConfig);
    assert!(parts.destination.writes().is_empty());
}

#[tokio::test]
async fn cells_that_the_source_cannot_represent_make_rows_invalid_only_if_used() {
    let model = || batch(&[ROW, ("b", Some("Bob"), None)]);
    let fault = |column: &str| CellFault { row: 1, column: column.into(), code: "infinity" };
    let parts = Parts::new(&[ROW]);
    let source = MemorySource::of(model()).with_cell_faults(0, vec![fault("tier")]);
    let report = parts.builder().source(source).build().unwrap().run().await.unwrap();
    assert_eq!((report.totals.invalid, report.totals.written), (1, 1));

    let parts = Parts::new(&[ROW]);
    let source = MemorySource::of(model()).with_cell_faults(0, vec![fault("unused")]);
    let report = parts.builder().source(source).build().unwrap().run().await.unwrap();
    assert_eq!((report.totals.invalid, report.totals.written), (0, 2));
}

#[tokio::test]
async fn a_field_that_changes_all_the_time_is_warned_about() {
    let parts = Parts::of(numbered(200, 1));
    let _ = parts.sync().run().await.unwrap();
    parts.source.replace(vec![numbered(200, 2)]);
    let plan = parts.sync().plan().await.unwrap();
    assert_eq!(plan.warnings().len(), 1);
    assert!(plan.warnings()[0].contains("\"name\" changes in nearly every row"));
}
