//! Rows that the service refuses, among rows that it takes.

use rsync_core::ids::FieldName;
use rsync_core::record::FieldType;
use rsync_core::{Kind, Retry};

use crate::destination::bench::{Bench, CaseResult, Stage, Stop, ensure, is_rejected, is_written};
use crate::destination::sheet::{Datum, Sheet};

pub(super) async fn bad_rows(bench: &Bench<'_>) -> CaseResult {
    let Some((invalid_field, invalid)) = bench.fields().invalid else {
        return Stop::not_applicable("the harness names no value that the service refuses");
    };
    let count = bench.rows_for(Stage::New, 5)?;
    let last = count - 1;
    let mut patterns: Vec<Vec<usize>> = vec![
        vec![0],
        vec![count / 2],
        vec![last],
        (0..count).step_by(2).collect(),
        (1..count).step_by(2).collect(),
        (0..count).collect(),
    ];
    patterns.dedup();
    patterns.retain(|bad| !bad.is_empty());
    for (index, bad) in patterns.iter().enumerate() {
        let text = bench.fields().text;
        let same_field = text == invalid_field;
        let mut columns = vec![(text, FieldType::Text)];
        if !same_field {
            columns.push((invalid_field.clone(), FieldType::Text));
        }
        let mut sheet = Sheet::new(&bench.target, columns);
        let mut rows = Vec::new();
        for row in 0..count {
            let (key, good) = (bench.key(format!("{index}-{row}")), bench.text(row));
            let is_bad = bad.contains(&row);
            let mut cells = vec![if is_bad && same_field { invalid.as_str().into() } else { good.clone() }];
            if !same_field {
                cells.push(if is_bad { invalid.as_str().into() } else { Datum::Absent });
            }
            sheet.push(&key, cells);
            rows.push((key, good, is_bad));
        }
        one_batch(bench, &sheet, &rows).await.map_err(|stop| match stop {
            Stop::Failed(why) => Stop::Failed(format!("with bad rows {bad:?} of {count}: {why}")),
            other => other,
        })?;
    }
    Ok(Some(if bench.capability().per_row_outcomes { "one by one" } else { "as a whole" }.into()))
}

async fn one_batch(bench: &Bench<'_>, sheet: &Sheet, rows: &[(String, Datum, bool)]) -> Result<(), Stop> {
    let answer = bench.write(bench.operation(Stage::New)?, sheet).await?;
    if !bench.capability().per_row_outcomes {
        match answer {
            Err(error) => ensure!(
                error.kind() == Kind::Rejected && error.retry() == Retry::Never,
                "the batch is refused with something else than a `Rejected` that stays so: {error:?}"
            ),
            Ok(outcomes) => {
                return Stop::failed(format!(
                    "there are no per-row outcomes and the batch is not refused: {outcomes:?}"
                ));
            }
        }
        for (key, ..) in rows {
            ensure!(bench.stored(key).await?.is_none(), "the batch is refused and a row of it was written");
        }
        let mut good_rows = bench.text_sheet();
        for (key, good, _) in rows.iter().filter(|(.., is_bad)| !is_bad) {
            good_rows.push(key, vec![good.clone()]);
        }
        bench.put(Stage::New, &good_rows).await?;
    } else {
        for (row, (outcome, (.., is_bad))) in answer?.iter().zip(rows).enumerate() {
            ensure!(!is_bad || is_rejected(outcome), "row {row} is bad and its outcome is {outcome:?}");
            ensure!(*is_bad || is_written(outcome), "row {row} is good and its outcome is {outcome:?}");
        }
    }
    for (row, (key, good, is_bad)) in rows.iter().enumerate() {
        if *is_bad {
            ensure!(bench.stored(key).await?.is_none(), "row {row} is bad and was written");
        } else {
            bench.expect_stored(key, &bench.fields().text, good).await?;
        }
    }
    Ok(())
}

/// A row with a text and a value in `field`, which must be refused as a whole.
async fn must_be_refused(bench: &Bench<'_>, field: FieldName) -> CaseResult {
    let key = bench.key("a");
    let columns = vec![(bench.fields().text, FieldType::Text), (field.clone(), FieldType::Text)];
    let mut sheet = Sheet::new(&bench.target, columns);
    sheet.push(&key, vec![bench.text("a"), bench.text("b")]);
    match bench.write(bench.operation(Stage::New)?, &sheet).await? {
        Ok(outcomes) => {
            ensure!(outcomes.iter().all(is_rejected), "a value for `{field}` is not rejected: {outcomes:?}")
        }
        Err(error) => ensure!(
            matches!(error.kind(), Kind::Rejected | Kind::SchemaMismatch) && error.retry() == Retry::Never,
            "a value for `{field}` is neither `Rejected` nor a `SchemaMismatch` that stays so: {error:?}"
        ),
    }
    ensure!(bench.stored(&key).await?.is_none(), "the row is refused and was written");
    Ok(None)
}

pub(super) async fn unknown_field(bench: &Bench<'_>) -> CaseResult {
    if bench.harness.quirks().open_fields {
        return Stop::not_applicable("the service takes any field name");
    }
    let field = FieldName::from("rsync_no_such_field");
    ensure!(bench.describe().await?.field(field.as_str()).is_none(), "the service has a field called `{field}`");
    must_be_refused(bench, field).await
}

pub(super) async fn read_only_field(bench: &Bench<'_>) -> CaseResult {
    let Some(field) = bench.fields().read_only else {
        return Stop::not_applicable("the harness names no read-only field");
    };
    let described = bench.describe().await?;
    ensure!(
        described.field(field.as_str()).is_some_and(|field| !field.writable),
        "the description does not say that `{field}` is read-only"
    );
    must_be_refused(bench, field).await
}
