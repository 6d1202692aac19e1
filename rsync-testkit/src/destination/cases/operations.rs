//! What each operation does to records that exist and to records that do not.

use rsync_core::capability::{Operation, WriteIdempotence};
use rsync_core::outcome::{Effect, RowOutcome};
use rsync_core::{Error, Kind, Retry};

use crate::destination::bench::{Bench, CaseResult, Stage, Stop, all_written, ensure, ids_of, is_rejected, is_written};
use crate::destination::sheet::{Datum, Sheet};

fn effects(outcomes: &[RowOutcome], wrong: Effect) -> Result<(), Stop> {
    let lies = outcomes.iter().any(|outcome| matches!(outcome, RowOutcome::Written { effect, .. } if *effect == wrong));
    ensure!(!lies, "an outcome says {wrong:?} and it is not so");
    Ok(())
}

/// One row that must be refused: as the outcome that is made for it, as a rejection, or with the whole batch.
fn refused(what: &str, by: &RowOutcome, answer: &Result<Vec<RowOutcome>, Error>) -> Result<(), Stop> {
    match answer {
        Ok(outcomes) => ensure!(
            outcomes.iter().all(|outcome| outcome == by || is_rejected(outcome)),
            "{what} is neither `{by:?}` nor rejected: {outcomes:?}"
        ),
        Err(error) => ensure!(
            error.kind() == Kind::Rejected && error.retry() == Retry::Never,
            "{what} is no `Rejected` that stays so: {error:?}"
        ),
    }
    Ok(())
}

pub(super) async fn upsert(bench: &Bench<'_>) -> CaseResult {
    let count = bench.limits(Operation::Upsert)?.max_rows.min(3);
    let (sheet, expected) = bench.sample("", count);
    let outcomes = bench.put(Stage::New, &sheet).await?;
    effects(&outcomes, Effect::Updated)?;
    bench.expect_all(&expected).await?;

    let mut again = bench.text_sheet();
    let changed: Vec<_> = expected.into_iter().map(|(key, _)| (key, bench.text("second"))).collect();
    for (key, cell) in &changed {
        again.push(key, vec![cell.clone()]);
    }
    let outcomes = bench.put(Stage::Existing, &again).await?;
    effects(&outcomes, Effect::Created)?;
    bench.expect_all(&changed).await?;
    let listed = bench.harness.list(&bench.target).await?.len();
    ensure!(listed == count, "{count} keys were written twice and the service lists {listed} records");
    Ok(None)
}

pub(super) async fn create(bench: &Bench<'_>) -> CaseResult {
    bench.limits(Operation::Create)?;
    let (sheet, expected) = bench.sample("", 1);
    let outcomes = bench.write(Operation::Create, &sheet).await??;
    all_written(&outcomes)?;
    effects(&outcomes, Effect::Updated)?;

    let mut again = bench.text_sheet();
    again.push(&expected[0].0, vec![bench.text("second")]);
    refused("creating an existing record", &RowOutcome::Exists, &bench.write(Operation::Create, &again).await?)?;
    bench.expect_all(&expected).await?;
    Ok(None)
}

pub(super) async fn update(bench: &Bench<'_>) -> CaseResult {
    bench.limits(Operation::Update)?;
    let (sheet, expected) = bench.sample("", 1);
    bench.put(Stage::New, &sheet).await?;
    let key = expected[0].0.clone();
    let (mut again, changed) = (bench.text_sheet(), bench.text("second"));
    again.push(&key, vec![changed.clone()]);
    let outcomes = bench.write(Operation::Update, &again).await??;
    all_written(&outcomes)?;
    effects(&outcomes, Effect::Created)?;
    bench.expect_all(&[(key, changed)]).await?;

    let (sheet, missing) = bench.sample("missing", 1);
    refused("updating a missing record", &RowOutcome::Missing, &bench.write(Operation::Update, &sheet).await?)?;
    ensure!(bench.stored(&missing[0].0).await?.is_none(), "updating a missing record made one");
    Ok(None)
}

pub(super) async fn delete(bench: &Bench<'_>) -> CaseResult {
    let count = bench.limits(Operation::Delete)?.max_rows.min(bench.rows_for(Stage::New, 3)?);
    let (sheet, expected) = bench.sample("", count);
    let (kept_sheet, kept) = bench.sample("kept", 1);
    bench.put(Stage::New, &sheet).await?;
    bench.put(Stage::New, &kept_sheet).await?;
    for attempt in ["the first time", "when they are gone"] {
        let outcomes = bench.write(Operation::Delete, &keys_only(bench, &expected)).await??;
        removed(bench, attempt, &outcomes, &expected).await?;
    }
    bench.expect_all(&kept).await?;
    Ok(None)
}

/// What an exit sends: the keys and nothing else.
pub(super) fn keys_only(bench: &Bench<'_>, expected: &[(String, Datum)]) -> Sheet {
    let mut sheet = Sheet::new(&bench.target, Vec::new());
    for (key, _) in expected {
        sheet.push(key, Vec::new());
    }
    sheet
}

async fn removed(
    bench: &Bench<'_>,
    attempt: &str,
    outcomes: &[RowOutcome],
    expected: &[(String, Datum)],
) -> Result<(), Stop> {
    let gone = |outcome: &RowOutcome| is_written(outcome) || *outcome == RowOutcome::Missing;
    ensure!(outcomes.iter().all(gone), "records cannot be deleted {attempt}: {outcomes:?}");
    for (key, _) in expected {
        ensure!(bench.stored(key).await?.is_none(), "a deleted record is still there");
    }
    Ok(())
}

pub(super) async fn delete_by_id(bench: &Bench<'_>) -> CaseResult {
    let count = bench.limits_by_id(Operation::Delete)?.max_rows.min(bench.rows_for(Stage::New, 3)?);
    let (sheet, expected) = bench.sample("", count);
    let (kept_sheet, kept) = bench.sample("kept", 1);
    let ids = ids_of(&bench.put(Stage::New, &sheet).await?)?;
    bench.put(Stage::New, &kept_sheet).await?;
    for attempt in ["the first time", "when they are gone"] {
        let keys = keys_only(bench, &expected);
        let outcomes = bench.write_by_id(Operation::Delete, &keys, ids.clone()).await??;
        removed(bench, attempt, &outcomes, &expected).await?;
    }
    bench.expect_all(&kept).await?;
    Ok(None)
}

pub(super) async fn update_by_id(bench: &Bench<'_>) -> CaseResult {
    bench.limits_by_id(Operation::Update)?;
    let (sheet, expected) = bench.sample("", bench.rows_for(Stage::New, 2)?);
    let ids = ids_of(&bench.put(Stage::New, &sheet).await?)?;
    let (mut again, changed) = (bench.text_sheet(), bench.text("second"));
    again.push(&expected[0].0, vec![changed.clone()]);
    let outcomes = bench.write_by_id(Operation::Update, &again, vec![ids[0].clone()]).await??;
    all_written(&outcomes)?;
    effects(&outcomes, Effect::Created)?;
    bench.expect_all(&[(expected[0].0.clone(), changed)]).await?;
    bench.expect_all(&expected[1..]).await?;
    Ok(None)
}

pub(super) async fn replay(bench: &Bench<'_>) -> CaseResult {
    let operation = bench.operation(Stage::New)?;
    let limits = bench.limits(operation)?;
    if limits.idempotence == WriteIdempotence::None {
        return Stop::not_applicable(format!("{} is not idempotent", operation.as_str()));
    }
    let (sheet, expected) = bench.sample("", limits.max_rows.min(3));
    let batch = bench.batch(operation, sheet.rows()?)?;
    all_written(&bench.send(batch.clone()).await??)?;
    let before = bench.snapshot().await?;
    all_written(&bench.send(batch).await??)?;
    ensure!(bench.snapshot().await? == before, "the records differ after the second time");
    bench.expect_all(&expected).await?;
    Ok(None)
}
