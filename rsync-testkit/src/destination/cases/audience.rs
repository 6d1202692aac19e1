//! Members of audiences.

use std::collections::BTreeSet;

use rsync_core::capability::Operation;
use rsync_core::outcome::RowOutcome;

use crate::destination::bench::{Bench, CaseResult, Stage, Stop, all_written, ensure, ids_of, is_rejected, is_written};
use crate::destination::cases::operations::keys_only;

async fn expect(bench: &Bench<'_>, what: &str, expected: &[&str]) -> Result<(), Stop> {
    let members: BTreeSet<String> = bench.harness.members(&bench.target).await?.into_iter().collect();
    let expected: BTreeSet<String> = expected.iter().map(|key| (*key).to_owned()).collect();
    ensure!(members == expected, "{what}: {} members are there, {} should be", members.len(), expected.len());
    Ok(())
}

/// Adds and removes members, each twice, one of two by record id or by key.
async fn come_and_go(bench: &Bench<'_>, by_id: bool) -> CaseResult {
    let limit = |operation| if by_id { bench.limits_by_id(operation) } else { bench.limits(operation) };
    let most = limit(Operation::AddMember)?.max_rows.min(limit(Operation::RemoveMember)?.max_rows);
    let count = bench.rows_for(Stage::New, 3)?.min(most);
    let (sheet, people) = bench.sample("", count);
    let ids = bench.put(Stage::New, &sheet).await?;
    let ids = if by_id { ids_of(&ids)? } else { Vec::new() };
    let (before, keys) = (bench.snapshot().await?, people.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>());
    expect(bench, "at the beginning", &[]).await?;
    let send = async |operation, range: std::ops::Range<usize>| -> Result<Vec<RowOutcome>, Stop> {
        let rows = keys_only(bench, &people[range.clone()]);
        Ok(match by_id {
            true => bench.write_by_id(operation, &rows, ids[range].to_vec()).await??,
            false => bench.write(operation, &rows).await??,
        })
    };
    for time in ["added", "added again"] {
        all_written(&send(Operation::AddMember, 0..count).await?)?;
        expect(bench, time, &keys).await?;
    }
    for time in ["removed", "removed again"] {
        let outcomes = send(Operation::RemoveMember, 0..1).await?;
        let gone = |outcome: &RowOutcome| is_written(outcome) || *outcome == RowOutcome::Missing;
        ensure!(outcomes.iter().all(gone), "a member cannot be {time}: {outcomes:?}");
        expect(bench, time, &keys[1..]).await?;
    }
    ensure!(bench.snapshot().await? == before, "the records are not as they were");
    Ok(None)
}

pub(super) async fn membership(bench: &Bench<'_>) -> CaseResult {
    come_and_go(bench, false).await
}

pub(super) async fn membership_by_id(bench: &Bench<'_>) -> CaseResult {
    come_and_go(bench, true).await
}

pub(super) async fn nobody(bench: &Bench<'_>) -> CaseResult {
    bench.limits(Operation::AddMember)?;
    let (_, people) = bench.sample("", 1);
    match bench.write(Operation::AddMember, &keys_only(bench, &people)).await? {
        Ok(outcomes) => ensure!(
            outcomes.iter().all(|outcome| *outcome == RowOutcome::Missing || is_rejected(outcome)),
            "who has no record is neither `Missing` nor rejected: {outcomes:?}"
        ),
        Err(error) => ensure!(error.kind() == rsync_core::Kind::Rejected, "the error is no refusal: {error:?}"),
    }
    expect(bench, "of nobody", &[]).await?;
    ensure!(bench.harness.list(&bench.target).await?.is_empty(), "adding a member made a record");
    Ok(None)
}
