//! Entries of histories.

use rsync_core::capability::{Operation, WriteIdempotence};
use rsync_core::outcome::RowOutcome;
use rsync_core::record::FieldType;

use crate::destination::bench::{Bench, CaseResult, Stop, all_written, ensure, is_rejected, is_written};
use crate::destination::sheet::{Datum, Sheet, same};

/// Fails unless these are the sample texts of all entries, oldest first.
async fn expect(bench: &Bench<'_>, expected: &[&Datum]) -> Result<(), Stop> {
    let entries = bench.harness.entries(&bench.target).await?;
    ensure!(entries.len() == expected.len(), "{} entries were appended, {} are there", expected.len(), entries.len());
    let field = bench.fields().text;
    for (at, (entry, cell)) in entries.iter().zip(expected).enumerate() {
        let stored = entry.get(field.as_str()).map(String::as_str);
        ensure!(same(cell, stored, bench.harness.quirks()), "entry {at} was {cell:?} and is stored as {stored:?}");
    }
    Ok(())
}

pub(super) async fn adds(bench: &Bench<'_>) -> CaseResult {
    let count = bench.limits(Operation::Append)?.max_rows.min(3);
    let (sheet, first) = bench.sample("", count);
    all_written(&bench.write(Operation::Append, &sheet).await??)?;
    let cells: Vec<&Datum> = first.iter().map(|(_, cell)| cell).collect();
    expect(bench, &cells).await?;
    // The same rows as new entries: a history may say a thing twice.
    all_written(&bench.write(Operation::Append, &sheet).await??)?;
    expect(bench, &[cells.clone(), cells].concat()).await?;
    Ok(None)
}

pub(super) async fn twice(bench: &Bench<'_>) -> CaseResult {
    let limits = bench.limits(Operation::Append)?;
    if limits.idempotence != WriteIdempotence::ByToken {
        return Stop::not_applicable("the destination remembers no tokens of an append");
    }
    let count = limits.max_rows.min(3);
    let (sheet, expected) = bench.sample("", count);
    let batch = bench.batch(Operation::Append, sheet.rows()?)?;
    let cells: Vec<&Datum> = expected.iter().map(|(_, cell)| cell).collect();
    for _ in 0..2 {
        all_written(&bench.send(batch.clone()).await??)?;
        expect(bench, &cells).await?;
    }
    // A part of it, as the engine sends it when the rest is settled.
    let mut part = bench.batch(Operation::Append, sheet.rows()?.slice(count - 1, 1))?;
    part.tokens = batch.tokens.map(|tokens| tokens[count - 1..].to_vec());
    all_written(&bench.send(part).await??)?;
    expect(bench, &cells).await?;
    Ok(None)
}

pub(super) async fn order(bench: &Bench<'_>) -> CaseResult {
    let count = bench.limits(Operation::Append)?.max_rows.min(3);
    let Some((field, word)) = bench.fields().invalid else {
        return Stop::not_applicable("the service refuses no value");
    };
    if !bench.capability().per_row_outcomes || count < 2 {
        return Stop::not_applicable("a bad row refuses its batch");
    }
    let mut stored = Vec::new();
    for bad in 0..count {
        let mut sheet =
            Sheet::new(&bench.target, vec![(bench.fields().text, FieldType::Text), (field.clone(), FieldType::Text)]);
        for row in 0..count {
            let text = bench.text(format!("{bad} {row}"));
            let value = if row == bad { Datum::Text(word.clone()) } else { Datum::Absent };
            stored.extend((row != bad).then(|| text.clone()));
            sheet.push(bench.key(format!("{bad}-{row}")), vec![text, value]);
        }
        let outcomes = bench.write(Operation::Append, &sheet).await??;
        let fits =
            |(row, outcome): (usize, &RowOutcome)| if row == bad { is_rejected(outcome) } else { is_written(outcome) };
        ensure!(outcomes.iter().enumerate().all(fits), "row {bad} is bad and the outcomes are {outcomes:?}");
    }
    expect(bench, &stored.iter().collect::<Vec<_>>()).await?;
    Ok(None)
}
