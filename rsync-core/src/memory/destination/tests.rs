use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::buffer::BooleanBuffer;

use super::*;
use crate::ids::RunId;
use crate::outcome::Effect;

fn people() -> Target {
    Target::new("people", "email")
}

fn service() -> MemoryDestination {
    MemoryDestination::new().with_fields(&people(), [("name", FieldType::Text), ("age", FieldType::Integer)])
}

fn rows(keys: &[&str], names: &[Option<&str>], ages: &[i64]) -> Rows {
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("email", Arc::new(StringArray::from(keys.to_vec())), false),
        ("name", Arc::new(StringArray::from(names.to_vec())), true),
        ("age", Arc::new(Int64Array::from(ages.to_vec())), true),
    ];
    Rows::new(RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap()
}

async fn write(service: &MemoryDestination, operation: Operation, rows: Rows) -> Result<Receipt> {
    let batch = WriteBatch::new(BatchId(1), operation, people(), rows).unwrap();
    service.write(&Context::new(RunId(1)), batch).await
}

fn name(service: &MemoryDestination, key: &str) -> Option<String> {
    service.record(&people(), key).and_then(|fields| fields.get("name").cloned())
}

#[tokio::test]
async fn keeps_set_clear_and_absent_apart() {
    let service = service();
    let first = rows(&["a", "b", "c"], &[Some("1"), Some("2"), Some("3")], &[1, 2, 3]);
    write(&service, Operation::Upsert, first).await.unwrap();
    let second = rows(&["a", "b", "c"], &[Some("4"), None, None], &[1, 2, 3])
        .with_presence(1, BooleanBuffer::from(vec![true, true, false]));
    write(&service, Operation::Upsert, second).await.unwrap();
    assert_eq!(["a", "b", "c"].map(|key| name(&service, key)), [Some("4".into()), None, Some("3".into())]);
    assert_eq!(service.write_count(&people(), "a"), 2);
}

#[tokio::test]
async fn one_bad_row_refuses_the_batch_only_without_row_outcomes() {
    for per_row in [true, false] {
        let mut capability = MemoryDestination::new().capability(&people());
        capability.per_row_outcomes = per_row;
        let service = service().with_capability(capability).with_invalid_value("name", "bad", "BAD_NAME");
        let batch = rows(&["a", "b"], &[Some("good"), Some("bad")], &[1, 2]);
        match write(&service, Operation::Upsert, batch).await {
            Ok(Receipt::Settled(outcomes)) => {
                assert!(per_row && matches!(&outcomes[1], RowOutcome::Rejected { code, .. } if code == "BAD_NAME"));
                assert_eq!(service.records("people").len(), 1);
            }
            other => {
                assert!(!per_row && other.unwrap_err().kind() == Kind::Rejected);
                assert!(service.records("people").is_empty());
            }
        }
    }
}

#[tokio::test]
async fn operations_respect_what_exists() {
    let service = service();
    let codes = |receipt| match receipt {
        Receipt::Settled(outcomes) => outcomes,
        Receipt::Pending(_) => Vec::new(),
    };
    let one = || rows(&["a"], &[Some("x")], &[1]);
    let mut seen = Vec::new();
    use Operation::{Create, Delete, Update};
    for operation in [Update, Create, Create, Update, Delete, Delete] {
        seen.extend(codes(write(&service, operation, one()).await.unwrap()));
    }
    let id = || Some(RemoteId::new("1"));
    let expected = [
        RowOutcome::Missing,
        RowOutcome::written(Effect::Created, id()),
        RowOutcome::Exists,
        RowOutcome::written(Effect::Updated, id()),
        RowOutcome::written(Effect::Unspecified, id()),
        RowOutcome::Missing,
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn rows_go_by_record_id_where_the_operation_allows_it() {
    let service = service();
    write(&service, Operation::Upsert, rows(&["a", "b"], &[None, None], &[1, 2])).await.unwrap();
    let absent = || BooleanBuffer::new_unset(2);
    let keyless =
        || rows(&["", ""], &[Some("x"), Some("y")], &[0, 0]).with_presence(0, absent()).with_presence(2, absent());
    let batch = |operation, ids: [&str; 2]| {
        let batch = WriteBatch::new(BatchId(1), operation, people(), keyless()).unwrap();
        batch.with_ids(ids.map(RemoteId::new).into()).unwrap()
    };
    let cx = Context::new(RunId(1));
    let receipt = service.write(&cx, batch(Operation::Update, ["2", "7"])).await.unwrap();
    let updated = RowOutcome::written(Effect::Updated, Some(RemoteId::new("2")));
    assert_eq!(receipt, Receipt::Settled(vec![updated, RowOutcome::Missing]));
    assert_eq!((name(&service, "a"), name(&service, "b").as_deref()), (None, Some("x")));
    service.write(&cx, batch(Operation::Delete, ["1", "7"])).await.unwrap();
    assert_eq!(service.records("people").keys().collect::<Vec<_>>(), ["b"]);
    let refused = service.write(&cx, batch(Operation::Upsert, ["1", "2"])).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unsupported);
    let twice = service.write(&cx, batch(Operation::Delete, ["2", "2"])).await.unwrap_err();
    assert_eq!(twice.kind(), Kind::Internal);
}

#[tokio::test]
async fn faults_come_before_or_after_the_write() {
    let lost = || Error::new(Kind::Unavailable, "write", "lost").with_retry(crate::error::Retry::Ambiguous);
    let service = service();
    service.fail_write(1, Fault::FailBefore(lost()));
    service.fail_write(2, Fault::FailAfter(lost()));
    for expected in [0, 1] {
        assert!(write(&service, Operation::Upsert, rows(&["a"], &[None], &[1])).await.is_err());
        assert_eq!(service.records("people").len(), expected);
    }
    service.fail_write(3, Fault::DropOutcomes(1));
    let receipt = write(&service, Operation::Upsert, rows(&["a", "b"], &[None, None], &[1, 2])).await.unwrap();
    assert!(matches!(receipt, Receipt::Settled(outcomes) if outcomes.len() == 1));
    assert_eq!(service.writes().len(), 3);
}

#[tokio::test]
async fn broken_promises_are_typed_errors() {
    let mut schema = RemoteSchema::new(vec![RemoteField::new("email", "text"), RemoteField::new("age", "number")]);
    schema.fields[0].folding = KeyFolding::CaselessTrimmed;
    schema.fields[1].writable = false;
    let service = MemoryDestination::new().with_object("people", schema);
    let twins = write(&service, Operation::Upsert, rows(&["A", " a"], &[None, None], &[1, 2])).await;
    assert_eq!(twins.unwrap_err().kind(), Kind::Internal);
    let keys: Vec<String> = (0..101).map(|i| format!("k{i}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let many = write(&service, Operation::Upsert, rows(&keys, &vec![None; 101], &[1; 101])).await;
    assert_eq!(many.unwrap_err().context("limit"), Some("100"));
    let receipt = write(&service, Operation::Upsert, rows(&["a"], &[None], &[1])).await.unwrap();
    assert!(
        matches!(&receipt, Receipt::Settled(o) if matches!(&o[0], RowOutcome::Rejected { code, .. } if code == "UNKNOWN_FIELD"))
    );
}

#[tokio::test]
async fn lookups_fold_keys_and_answer_in_the_requested_types() {
    let mut schema = RemoteSchema::new(["email", "name", "age"].map(|n| RemoteField::new(n, "any")).into());
    schema.fields[0].folding = KeyFolding::CaselessTrimmed;
    let service = MemoryDestination::new().with_object("people", schema);
    write(&service, Operation::Upsert, rows(&["Ada"], &[Some("x")], &[7])).await.unwrap();
    let keys = RecordBatch::try_from_iter([("email", Arc::new(StringArray::from(vec!["bob", "aDA "])) as _)]);
    let fields = vec![("age".into(), FieldType::Integer), ("email".into(), FieldType::Text)];
    let request = LookupRequest::new(people(), Rows::new(keys.unwrap()).unwrap(), fields);
    let found = service.lookup(&Context::new(RunId(1)), request).await.unwrap();
    assert_eq!(found.matches, [Match { key: 1, id: RemoteId::new("1") }]);
    let cells: Vec<_> = found.fields.cells(0).collect();
    use crate::record::Value;
    assert_eq!(cells, [("age", Cell::Set(Value::Integer(7))), ("email", Cell::Set(Value::Text("Ada")))]);
}

#[tokio::test]
async fn jobs_answer_until_they_are_done_and_unknown_ones_too() {
    let service = service().with_jobs(1);
    let Receipt::Pending(job) = write(&service, Operation::Upsert, rows(&["a"], &[None], &[1])).await.unwrap() else {
        panic!("a job was expected");
    };
    let cx = Context::new(RunId(1));
    let batch = WriteBatch::new(BatchId(1), Operation::Upsert, people(), rows(&["a"], &[None], &[1])).unwrap();
    assert_eq!(service.resume(&cx, &batch, job.clone()).await.unwrap(), Receipt::Pending(job.clone()));
    assert!(matches!(service.resume(&cx, &batch, job.clone()).await.unwrap(), Receipt::Settled(_)));
    assert!(matches!(service.resume(&cx, &batch, job).await.unwrap(), Receipt::Settled(_)));
    assert_eq!(service.resume(&cx, &batch, JobToken::new("other")).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn debug_shows_no_value() {
    let service = service();
    write(&service, Operation::Upsert, rows(&["canary"], &[Some("canary")], &[1])).await.unwrap();
    assert!(!format!("{service:?} {:?}", service.writes()).contains("canary"));
}
