//! Several rows of one key: merged by a named rule, or all of them invalid.

use std::collections::BTreeMap;
use std::sync::Arc;

use rsync_core::arrow::array::{
    ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use rsync_core::clock::Randomness;
use rsync_core::error::Result;
use rsync_core::ids::ColumnName;
use rsync_core::memory::{MemorySource, SeededRandomness};
use rsync_core::model::{Fold, Merge, MergeRows};
use rsync_core::outcome::Outcome;
use rsync_core::pipeline::PipelineBuilder;
use rsync_core::source::CellFault;
use rsync_core::{Exit, Exits, FieldMap, FieldRule, FieldType, Model, Normaliser, Report, Scope};

use crate::support::{Parts, Row, flagged};

type Line<'a> = (&'a str, Option<i64>, Option<i64>, Option<&'a str>);

/// Rows of a key, a time, an amount and a note.
fn lines(rows: &[Line<'_>]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>())),
        ("at", Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>())),
        ("amount", Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>())),
        ("note", Arc::new(rows.iter().map(|row| row.3).collect::<StringArray>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn parts(batches: Vec<RecordBatch>) -> Parts {
    let mut parts = Parts::new(&[]);
    parts.destination = parts.destination.clone().with_fields(
        &parts.target,
        [("amount", FieldType::Integer), ("note", FieldType::Text), ("at", FieldType::Integer)],
    );
    parts.source.replace(batches);
    parts
}

fn sync(parts: &Parts, merge: Merge) -> PipelineBuilder {
    let mapping = FieldMap::new()
        .field(FieldRule::column("id", "ext_id", FieldType::Text))
        .field(FieldRule::column("amount", "amount", FieldType::Integer))
        .field(FieldRule::column("note", "note", FieldType::Text));
    parts.builder().mapping(mapping).model(Model::new("lines").key(["id"]).merge(merge))
}

async fn run(builder: PipelineBuilder) -> Report {
    let report = builder.build().unwrap().run().await.unwrap();
    assert!(report.totals.balance(), "{:?}", report.totals);
    report
}

/// The record of `a` as `amount note`, or why its rows are invalid.
async fn outcome(rows: &[Line<'_>], merge: Merge) -> String {
    let parts = parts(vec![lines(rows), lines(&[("z", Some(1), Some(1), Some("other"))])]);
    let report = run(sync(&parts, merge)).await;
    assert_eq!(report.totals.source_rows, rows.len() as u64 + 1);
    assert_eq!(parts.field("z", "note").as_deref(), Some("other"), "a row with a key of its own passes");
    match parts.records().get("a") {
        Some(record) => {
            assert_eq!(report.totals.merged, rows.len() as u64 - 1);
            let text = |name: &str| record.get(name).cloned().unwrap_or("-".into());
            format!("{} {}", text("amount"), text("note"))
        }
        None => {
            assert_eq!((report.totals.merged, report.totals.duplicates), (0, rows.len() as u64), "{report}");
            assert_eq!(report.reasons.rows_with_code(Outcome::Invalid, "key_duplicated"), rows.len() as u64);
            "invalid".into()
        }
    }
}

#[tokio::test]
async fn f21_a_rule_makes_one_row_or_leaves_all_invalid() {
    let first = || Fold::FirstNonNull { by: ColumnName::new("at") };
    let a = |at, amount, note| ("a", at, amount, note);
    let table: Vec<(&str, Merge, Vec<Line<'_>>, &str)> = vec![
        ("newest", Merge::max_by("at"), vec![a(Some(1), Some(5), Some("x")), a(Some(2), Some(6), Some("y"))], "6 y"),
        ("oldest", Merge::min_by("at"), vec![a(Some(2), Some(6), Some("y")), a(Some(1), Some(5), Some("x"))], "5 x"),
        (
            "a null loses, high",
            Merge::max_by("at"),
            vec![a(None, Some(6), None), a(Some(1), Some(5), Some("x"))],
            "5 x",
        ),
        ("a null loses, low", Merge::min_by("at"), vec![a(None, Some(6), None), a(Some(1), Some(5), Some("x"))], "5 x"),
        ("a tie", Merge::max_by("at"), vec![a(Some(1), Some(5), None), a(Some(1), Some(6), None)], "invalid"),
        ("only nulls", Merge::max_by("at"), vec![a(None, Some(5), None), a(None, Some(6), None)], "invalid"),
        ("a tie of equals", Merge::max_by("at"), vec![a(Some(1), Some(5), None); 3], "5 -"),
        (
            "a tie below",
            Merge::max_by("at"),
            vec![a(Some(1), Some(5), None), a(Some(1), Some(6), None), a(Some(2), Some(7), None)],
            "7 -",
        ),
        (
            "a sum settles a tie",
            Merge::max_by("at").fold("amount", Fold::Sum),
            vec![a(Some(1), Some(5), None), a(Some(1), Some(6), None)],
            "11 -",
        ),
        (
            "a sum skips nulls",
            Merge::alike().fold("amount", Fold::Sum),
            vec![a(Some(1), None, None), a(Some(1), Some(6), None)],
            "6 -",
        ),
        ("a sum of nulls", Merge::alike().fold("amount", Fold::Sum), vec![a(Some(1), None, Some("n")); 2], "- n"),
        (
            "a sum that does not fit",
            Merge::alike().fold("amount", Fold::Sum),
            vec![a(Some(1), Some(i64::MAX), None), a(Some(1), Some(1), None)],
            "invalid",
        ),
        (
            "a sum that fits at last",
            Merge::alike().fold("amount", Fold::Sum),
            vec![a(Some(1), Some(i64::MAX), None), a(Some(1), Some(1), None), a(Some(1), Some(-1), None)],
            "9223372036854775807 -",
        ),
        // `at` is not read for the fields, and nothing in the rule names it.
        (
            "not alike",
            Merge::alike().fold("amount", Fold::Max),
            vec![a(Some(1), Some(5), Some("x")), a(Some(1), Some(6), Some("y"))],
            "invalid",
        ),
        (
            "highest",
            Merge::alike().fold("amount", Fold::Max),
            vec![a(Some(1), Some(5), None), a(Some(9), None, None)],
            "5 -",
        ),
        (
            "lowest",
            Merge::alike().fold("amount", Fold::Min),
            vec![a(Some(1), Some(5), None), a(Some(9), Some(-6), None)],
            "-6 -",
        ),
        (
            "first",
            Merge::max_by("at").fold("note", first()),
            vec![a(Some(3), Some(7), None), a(Some(2), Some(6), Some("y")), a(Some(1), Some(5), None)],
            "7 y",
        ),
        (
            "no first",
            Merge::max_by("at").fold("note", first()),
            vec![a(Some(3), Some(7), None), a(None, Some(6), Some("y"))],
            "7 -",
        ),
        (
            "two first",
            Merge::max_by("amount").fold("note", first()),
            vec![a(Some(1), Some(7), Some("x")), a(Some(1), Some(6), Some("y"))],
            "invalid",
        ),
    ];
    for (name, merge, rows, expected) in table {
        // The order of the rows does not matter.
        let mut turned = rows.clone();
        turned.reverse();
        assert_eq!(outcome(&rows, merge.clone()).await, expected, "{name}");
        assert_eq!(outcome(&turned, merge).await, expected, "{name}, turned");
    }
}

#[tokio::test]
async fn sums_of_decimals_and_floats_stay_within_their_type() {
    let decimals = |values: Vec<i128>| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(4, 2).unwrap())
    };
    let floats = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    for (amounts, ty, expected) in [
        (decimals(vec![1050, 25]), FieldType::Decimal { precision: 4, scale: 2 }, Some("10.75")),
        (decimals(vec![9999, 1]), FieldType::Decimal { precision: 4, scale: 2 }, None),
        (floats(vec![0.5, 0.25]), FieldType::Float, Some("0.75")),
        (floats(vec![f64::MAX, f64::MAX]), FieldType::Float, None),
    ] {
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["a", "a"]));
        let parts = parts(vec![RecordBatch::try_from_iter([("id", ids), ("amount", amounts)]).unwrap()]);
        let _ = parts.destination.clone().with_fields(&parts.target, [("amount", ty)]);
        let mapping = FieldMap::new()
            .field(FieldRule::column("id", "ext_id", FieldType::Text))
            .field(FieldRule::column("amount", "amount", ty));
        let merge = Merge::alike().fold("amount", Fold::Sum);
        let report = run(sync(&parts, merge).mapping(mapping)).await;
        assert_eq!(parts.field("a", "amount").as_deref(), expected);
        assert_eq!(report.totals.merged, u64::from(expected.is_some()));
    }
}

#[tokio::test]
async fn f21_f24_a_cell_that_cannot_be_represented_leaves_all_rows_of_its_key_invalid() {
    let model = lines(&[
        ("b", Some(1), Some(1), None),
        ("a", Some(1), Some(5), None),
        ("a", Some(2), Some(6), None),
        ("c", Some(1), Some(1), None),
    ]);
    let fault = |row| CellFault { row, column: ColumnName::new("amount"), code: "infinity" };
    let mut parts = parts(vec![]);
    parts.source = MemorySource::of(model).with_cell_faults(0, vec![fault(2), fault(3)]);
    let report = run(sync(&parts, Merge::max_by("at"))).await;
    assert_eq!((report.totals.duplicates, report.totals.merged, report.totals.written), (2, 0, 1), "{report}");
    assert_eq!(report.reasons.rows_with_code(Outcome::Invalid, "infinity"), 1, "of the row with a key of its own");
}

#[tokio::test]
async fn the_mark_of_the_surviving_row_counts_and_keys_are_compared_in_their_normal_spelling() {
    let newest = |rows: &[(Row<'_>, bool)]| flagged(rows);
    let parts = Parts::of(newest(&[(("a", Some("1"), None), false), (("b", Some("1"), None), false)]));
    let sync = || {
        let model = Model::new("people").key(["id"]).normalise_key([Normaliser::Trim]).merge(Merge::max_by("name"));
        parts.builder().model(model).exits(Exits::new(Exit::Delete, Scope::CreatedByUs).when("gone"))
    };
    assert_eq!(run(sync()).await.totals.written, 2);
    parts.source.replace(vec![newest(&[
        (("a", Some("1"), None), true),
        (("a", Some("2"), None), false),
        (("b", Some("1"), None), false),
        ((" b", Some("2"), None), true),
    ])]);
    let report = run(sync()).await;
    assert_eq!((report.totals.merged, report.totals.marked, report.totals.exits.removed), (2, 1, 1), "{report}");
    assert_eq!(parts.records().keys().collect::<Vec<_>>(), ["a"]);
}

/// Takes the row with the longest note; two of one length are left.
#[derive(Debug)]
struct Longest;

impl MergeRows for Longest {
    fn merge(&self, rows: &RecordBatch) -> Result<Option<RecordBatch>> {
        let notes = rows.column_by_name("note").unwrap().as_string::<i32>();
        let best = (0..rows.num_rows()).max_by_key(|row| notes.value(*row).len()).unwrap();
        let alone = (0..rows.num_rows()).filter(|row| notes.value(*row).len() == notes.value(best).len()).count() == 1;
        Ok(alone.then(|| rows.slice(best, 1)))
    }
}

#[tokio::test]
async fn a_merge_of_ones_own_and_what_a_plan_refuses() {
    let a = |note| ("a", Some(1), Some(1), Some(note));
    assert_eq!(outcome(&[a("x"), a("long"), a("yy")], Merge::custom(Longest)).await, "1 long");
    assert_eq!(outcome(&[a("xx"), a("yy")], Merge::custom(Longest)).await, "invalid");
    let parts = parts(vec![lines(&[a("x")])]);
    let wrong = Merge::max_by("nowhere")
        .fold("id", Fold::Max)
        .fold("note", Fold::Sum)
        .fold("note", Fold::FirstNonNull { by: ColumnName::new("never") });
    let error = sync(&parts, wrong).build().unwrap().plan().await.unwrap_err();
    let text = error.to_string();
    for part in ["\"nowhere\"", "\"never\"", "the same in all rows", "has no sum", "folded twice"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let error =
        sync(&parts, Merge::custom(Longest).fold("amount", Fold::Sum)).build().unwrap().plan().await.unwrap_err();
    assert!(error.to_string().contains("custom"), "{error}");
}

#[tokio::test]
async fn f21_random_rows_of_repeated_keys_are_merged_like_in_a_plain_table() {
    for seed in 0..60 {
        let random = SeededRandomness::new(seed);
        let below = |n: u64| random.next_u64() % n;
        let rows: Vec<(String, i64, Option<i64>)> = (0..1 + below(400))
            .map(|i| (format!("k{}", below(150)), i as i64, (below(4) > 0).then(|| below(100) as i64)))
            .collect();
        let mut expected: BTreeMap<String, (i64, Option<i64>)> = BTreeMap::new();
        for (key, at, amount) in &rows {
            let entry = expected.entry(key.clone()).or_insert((*at, None));
            entry.0 = entry.0.max(*at);
            entry.1 = match (entry.1, amount) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(*b),
            };
        }
        let whole =
            lines(&rows.iter().map(|(key, at, amount)| (key.as_str(), Some(*at), *amount, None)).collect::<Vec<_>>());
        let piece = 1 + below(60) as usize;
        let pieces = (0..whole.num_rows()).step_by(piece);
        let parts = parts(pieces.map(|from| whole.slice(from, piece.min(whole.num_rows() - from))).collect());
        let mapping = FieldMap::new()
            .field(FieldRule::column("id", "ext_id", FieldType::Text))
            .field(FieldRule::column("at", "at", FieldType::Integer))
            .field(FieldRule::column("amount", "amount", FieldType::Integer));
        let merge = Merge::max_by("at").fold("amount", Fold::Sum);
        let report = run(sync(&parts, merge).mapping(mapping)).await;
        assert_eq!(report.totals.merged, (rows.len() - expected.len()) as u64, "seed {seed}");
        let found: BTreeMap<String, (i64, Option<i64>)> = parts
            .records()
            .into_iter()
            .map(|(key, fields)| {
                (key, (fields["at"].parse().unwrap(), fields.get("amount").map(|n| n.parse().unwrap())))
            })
            .collect();
        assert_eq!(found, expected, "seed {seed}");
    }
}
