//! Models whose columns and types change between two runs.

use std::sync::Arc;

use rsync_core::arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray,
    StringViewArray, TimestampMicrosecondArray, TimestampSecondArray,
};
use rsync_core::memory::MemoryDestination;
use rsync_core::{FieldMap, FieldRule, FieldType, Kind, Pipeline};

use crate::support::{Parts, batch};

fn texts(values: [&str; 2]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn columns<'a>(columns: impl IntoIterator<Item = (&'a str, &'a ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, Arc::clone(array), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[tokio::test]
async fn f18_columns_are_found_by_name_and_a_missing_one_stops_the_plan() {
    let (id, name, tier) = (texts(["a", "b"]), texts(["Ada", "Bob"]), texts(["pro", "free"]));
    let other = texts(["free", "pro"]);
    let all = || [("id", &id), ("name", &name), ("tier", &tier)];
    for (what, batch, problem) in [
        ("reordered", columns(all().into_iter().rev()), None),
        ("one more", columns(all().into_iter().chain([("extra", &other)])), None),
        ("one more in front", columns([("extra", &other)].into_iter().chain(all())), None),
        ("two swapped, by name the same", columns([("tier", &tier), ("id", &id), ("name", &name)]), None),
        ("dropped", columns(all().into_iter().take(2)), Some("mapping.tier")),
        ("renamed", columns([("id", &id), ("name", &name), ("tier_1", &tier)]), Some("mapping.tier")),
        ("key dropped", columns(all().into_iter().skip(1)), Some("model.key")),
    ] {
        let parts = Parts::of(columns(all()));
        assert_eq!(parts.sync().run().await.unwrap().totals.written, 2);
        let (writes, records) = (parts.destination.writes().len(), parts.records());
        parts.source.replace(vec![batch]);
        match (parts.sync().run().await, problem) {
            (Ok(report), None) => assert_eq!(report.totals.unchanged, 2, "{what}: {report}"),
            (Err(failure), Some(problem)) => {
                assert_eq!(failure.error.kind(), Kind::SchemaMismatch, "{what}");
                assert!(failure.error.problems().iter().any(|found| found.at == problem), "{what}: {failure}");
                assert!(failure.report.is_none());
            }
            (result, _) => panic!("{what}: {result:?}"),
        }
        assert_eq!((parts.destination.writes().len(), parts.records()), (writes, records), "{what}");
    }
}

#[tokio::test]
async fn f18_a_column_that_changes_in_the_middle_of_a_read_applies_nothing() {
    let parts = Parts::new(&[("a", Some("Ada"), Some("pro"))]);
    assert_eq!(parts.sync().run().await.unwrap().totals.written, 1);
    let other = columns([("id", &texts(["b", "c"])), ("tier", &texts(["x", "y"])), ("name", &texts(["z", "z"]))]);
    parts.source.replace(vec![batch(&[("a", Some("Eva"), Some("pro"))]), other]);
    let failure = parts.sync().run().await.unwrap_err();
    assert_eq!(failure.error.kind(), Kind::SchemaMismatch);
    assert_eq!((parts.destination.writes().len(), parts.records().len()), (1, 1));
}

fn typed(parts: &Parts, ty: FieldType) -> Pipeline {
    let destination = MemoryDestination::new().with_fields(&parts.target, [("value", ty)]);
    let mapping = FieldMap::new()
        .field(FieldRule::column("id", "ext_id", FieldType::Text))
        .field(FieldRule::column("value", "value", ty));
    parts.builder().destination(destination, parts.target.clone()).mapping(mapping).build().unwrap()
}

#[tokio::test]
async fn f19_a_wider_type_writes_nothing_and_a_lossy_one_stops_the_plan() {
    let id = texts(["a", "b"]);
    let int32: ArrayRef = Arc::new(Int32Array::from(vec![1, -7]));
    let int64: ArrayRef = Arc::new(Int64Array::from(vec![1, -7]));
    let float: ArrayRef = Arc::new(Float64Array::from(vec![1.5, -7.25]));
    let decimal = |digits: [i128; 2], precision, scale| -> ArrayRef {
        Arc::new(Decimal128Array::from(digits.to_vec()).with_precision_and_scale(precision, scale).unwrap())
    };
    let (text, large): (ArrayRef, ArrayRef) = (texts(["x", "y"]), Arc::new(LargeStringArray::from(vec!["x", "y"])));
    let view: ArrayRef = Arc::new(StringViewArray::from(vec!["x", "y"]));
    let seconds: ArrayRef = Arc::new(TimestampSecondArray::from(vec![10, 20]).with_timezone("UTC"));
    let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![10_000_000, 20_000_000]).with_timezone("UTC"));
    let local: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![10_000_000, 20_000_000]));
    let amount = FieldType::Decimal { precision: 12, scale: 3 };
    for (what, ty, before, after, fits) in [
        ("int32 to int64", FieldType::Integer, &int32, &int64, true),
        ("more digits", amount, &decimal([100, 250], 6, 2), &decimal([1000, 2500], 9, 3), true),
        ("text to large text", FieldType::Text, &text, &large, true),
        ("text to text view", FieldType::Text, &text, &view, true),
        ("seconds to microseconds", FieldType::Timestamp, &seconds, &micros, true),
        ("int64 to int32", FieldType::Integer, &int64, &int32, false),
        ("fewer digits", amount, &decimal([1000, 2500], 9, 3), &decimal([100, 250], 9, 2), false),
        ("integer to float", FieldType::Integer, &int64, &float, false),
        ("integer to text", FieldType::Integer, &int64, &text, false),
        ("integer to text in a text", FieldType::Text, &int64, &text, false),
        ("float to text", FieldType::Float, &float, &text, false),
        ("integer to decimal", FieldType::Integer, &int64, &decimal([1, -7], 9, 0), false),
        ("more digits than the field has", amount, &decimal([100, 250], 6, 2), &decimal([10_000, 25_000], 9, 4), true),
        ("a moment without its zone", FieldType::Timestamp, &micros, &local, false),
    ] {
        let parts = Parts::of(columns([("id", &id), ("value", before)]));
        let pipeline = typed(&parts, ty);
        assert_eq!(pipeline.run().await.unwrap().totals.written, 2, "{what}");
        parts.source.replace(vec![columns([("id", &id), ("value", after)])]);
        match pipeline.run().await {
            Ok(report) if fits => {
                assert_eq!((report.totals.unchanged, report.calls.writes), (2, 0), "{what}: {report}");
            }
            Err(failure) if !fits => {
                assert_eq!(failure.error.kind(), Kind::SchemaMismatch, "{what}: {failure}");
                assert!(failure.error.problems()[0].at.ends_with(".value"), "{what}: {failure}");
                assert!(failure.report.is_none(), "{what}");
            }
            result => panic!("{what}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn f19_a_key_of_another_type_is_no_departure_of_all_rows() {
    let rows =
        |ids: ArrayRef| columns([("id", &ids), ("name", &texts(["Ada", "Bob"])), ("tier", &texts(["pro", "pro"]))]);
    let parts = Parts::of(rows(Arc::new(Int64Array::from(vec![1, 2]))));
    let exits = || rsync_core::Exits::new(rsync_core::Exit::Delete, rsync_core::Scope::TouchedByUs);
    let pipeline = parts.builder().exits(exits()).build().unwrap();
    assert_eq!(pipeline.run().await.unwrap().totals.written, 2);
    parts.source.replace(vec![rows(texts(["1", "2"]))]);
    let failure = pipeline.run().await.unwrap_err();
    let problem = &failure.error.problems()[0];
    assert_eq!((failure.error.kind(), problem.at.as_str()), (Kind::SchemaMismatch, "model.id"), "{failure}");
    assert!(problem.fix.contains("accept_column_types"), "{failure}");
    assert_eq!((parts.destination.writes().len(), parts.records().len()), (1, 2));
    // The key is another one now, so the state begins anew; nothing is deleted.
    let report = pipeline.run_with(rsync_core::PlanOptions::new().begin_anew()).await.unwrap();
    assert_eq!((report.totals.written, report.totals.gone, parts.records().len()), (2, 0, 2));
    assert_eq!(pipeline.run().await.unwrap().totals.unchanged, 2);
}

#[tokio::test]
async fn f19_a_narrower_column_is_taken_once_somebody_says_so() {
    let of = |array: ArrayRef| columns([("id", &texts(["a", "b"])), ("value", &array)]);
    let parts = Parts::of(of(Arc::new(Int64Array::from(vec![1, 2]))));
    let pipeline = typed(&parts, FieldType::Integer);
    assert_eq!(pipeline.run().await.unwrap().totals.written, 2);
    parts.source.replace(vec![of(Arc::new(Int32Array::from(vec![1, 3])))]);
    assert!(pipeline.plan().await.is_err());
    let report = pipeline.run_with(rsync_core::PlanOptions::new().accept_column_types()).await.unwrap();
    assert_eq!((report.totals.written, report.totals.unchanged), (1, 1));
    assert_eq!(pipeline.run().await.unwrap().totals.unchanged, 2);
}
