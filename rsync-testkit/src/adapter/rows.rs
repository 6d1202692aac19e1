//! Rows to send, and outcomes in words.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use rsync_core::capability::Operation;
use rsync_core::destination::{Target, WriteBatch};
use rsync_core::ids::BatchId;
use rsync_core::outcome::{Applied, Receipt, RowOutcome};
use rsync_core::record::Rows;

/// Rows of text columns. Panics if they cannot be rows.
pub fn rows(columns: &[(&str, &[Option<&str>])]) -> Rows {
    let columns = columns
        .iter()
        .map(|(name, values)| (*name, Arc::new(values.iter().copied().collect::<StringArray>()) as ArrayRef));
    typed_rows(columns.collect())
}

/// Rows of any columns. Panics if they cannot be rows.
pub fn typed_rows(columns: Vec<(&str, ArrayRef)>) -> Rows {
    let columns = columns.into_iter().map(|(name, values)| (name, values, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
    Rows::new(batch).expect("columns of the types of fields")
}

/// Rows of one text column with these values.
pub fn keys(name: &str, keys: &[&str]) -> Rows {
    let keys: Vec<Option<&str>> = keys.iter().copied().map(Some).collect();
    rows(&[(name, &keys)])
}

/// A batch of rows. Panics if the key field is missing.
pub fn batch(operation: Operation, target: &Target, rows: Rows) -> WriteBatch {
    WriteBatch::new(BatchId(1), operation, target.clone(), rows).expect("the key field is there")
}

/// The outcomes of a write that is done. Panics if it is not.
pub fn settled(receipt: Receipt) -> Vec<RowOutcome> {
    match receipt {
        Receipt::Settled(outcomes) => outcomes,
        other => panic!("not settled: {other:?}"),
    }
}

/// Outcomes in words, to compare: `Created 17`, `Unspecified - accepted`, `Rejected INVALID email`, with `-` for what is
/// not told.
pub fn words(outcomes: &[RowOutcome]) -> Vec<String> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            RowOutcome::Written { effect, remote_id, applied } => {
                let accepted = if *applied == Applied::Accepted { " accepted" } else { "" };
                format!("{effect:?} {}{accepted}", remote_id.as_ref().map(|id| id.as_str()).unwrap_or("-"))
            }
            RowOutcome::Rejected { code, field, .. } => {
                format!("Rejected {code} {}", field.as_ref().map(|field| field.as_str()).unwrap_or("-"))
            }
            RowOutcome::Retryable { code, .. } => format!("Retryable {code}"),
            other => format!("{other:?}"),
        })
        .collect()
}
