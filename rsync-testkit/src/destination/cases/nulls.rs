//! Set, clear, absent and empty are four different things.

use crate::destination::bench::{Bench, CaseResult, Stage, Stop, all_written, ensure, is_rejected, is_written};
use crate::destination::sheet::Datum;

/// Two records, of which the second is then written with `cell` and the first with a plain text.
async fn rewrite(bench: &Bench<'_>, cell: Datum) -> Result<(String, Datum, bool), Stop> {
    let (sheet, expected) = bench.sample("", 1);
    bench.put(Stage::New, &sheet).await?;
    let (key, old) = expected.into_iter().next().expect("one sample row");
    let mut again = bench.text_sheet();
    again.push(&key, vec![cell]);
    let written = match bench.write(bench.operation(Stage::Existing)?, &again).await? {
        Ok(outcomes) => {
            let refused = outcomes.iter().all(is_rejected);
            ensure!(refused || outcomes.iter().all(is_written), "it is neither written nor rejected: {outcomes:?}");
            !refused
        }
        Err(error) => {
            ensure!(error.kind() == rsync_core::Kind::Rejected, "it is neither written nor rejected: {error:?}");
            false
        }
    };
    Ok((key, old, written))
}

pub(super) async fn clear(bench: &Bench<'_>) -> CaseResult {
    let clears = bench.capability().clears_fields;
    let (key, old, written) = rewrite(bench, Datum::Clear).await?;
    ensure!(
        written == clears,
        "the capability says that fields can{} be emptied, and a clear was {}",
        if clears { "" } else { "not" },
        if written { "written" } else { "rejected" }
    );
    bench.expect_stored(&key, &bench.fields().text, if clears { &Datum::Clear } else { &old }).await?;
    Ok((!clears).then(|| "fields cannot be emptied; a clear is rejected".into()))
}

pub(super) async fn absent(bench: &Bench<'_>) -> CaseResult {
    if !bench.capability().keeps_absent_fields {
        return Stop::not_applicable("a write replaces the whole record");
    }
    let (key, old, written) = rewrite(bench, Datum::Absent).await?;
    ensure!(written, "a row without the field is rejected");
    bench.expect_stored(&key, &bench.fields().text, &old).await?;
    Ok(None)
}

pub(super) async fn empty_text(bench: &Bench<'_>) -> CaseResult {
    let (key, old, written) = rewrite(bench, "".into()).await?;
    let expected = if written { "".into() } else { old };
    bench.expect_stored(&key, &bench.fields().text, &expected).await?;
    Ok((!written).then(|| "rejected".into()))
}

pub(super) async fn first_row(bench: &Bench<'_>) -> CaseResult {
    let capability = bench.capability();
    if !capability.keeps_absent_fields && !capability.clears_fields {
        return Stop::not_applicable("fields can neither be emptied nor left out");
    }
    let count = bench.rows_for(Stage::Existing, 3)?.min(bench.rows_for(Stage::New, 3)?);
    if count < 2 {
        return Stop::not_applicable("a call takes one row");
    }
    let (sheet, expected) = bench.sample("", count);
    bench.put(Stage::New, &sheet).await?;
    let mut again = bench.text_sheet();
    let mut changed = Vec::new();
    for (row, (key, old)) in expected.into_iter().enumerate() {
        let (sent, stored) = match row {
            0 if capability.keeps_absent_fields => (Datum::Absent, old),
            0 => (Datum::Clear, Datum::Clear),
            _ => (bench.text("second"), bench.text("second")),
        };
        again.push(&key, vec![sent]);
        changed.push((key, stored));
    }
    let outcomes = bench.write(bench.operation(Stage::Existing)?, &again).await??;
    all_written(&outcomes)?;
    bench.expect_all(&changed).await?;
    Ok(None)
}
