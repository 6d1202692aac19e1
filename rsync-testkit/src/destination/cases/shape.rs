//! Batches of all sizes, and outcomes that fit them.

use std::time::Duration;

use rsync_core::capability::Operation;
use rsync_core::ids::RemoteId;
use rsync_core::outcome::RowOutcome;
use rsync_core::{Kind, Retry};

use crate::destination::bench::{Bench, CaseResult, Stage, Stop, all_written, ensure};

pub(super) async fn read_back(bench: &Bench<'_>) -> CaseResult {
    let (sheet, expected) = bench.sample("", 1);
    let missing = bench.key("missing");
    ensure!(bench.stored(&missing).await?.is_none(), "read-back sees a record that nobody wrote");
    bench.put(Stage::New, &sheet).await?;
    bench.expect_all(&expected).await?;
    ensure!(bench.stored(&missing).await?.is_none(), "read-back sees a record that nobody wrote");
    let listed = bench.harness.list(&bench.target).await?;
    ensure!(listed.len() == 1, "one record was written and the service lists {}", listed.len());
    let requests = bench.requests().await?;
    ensure!(requests.writing > 0, "the harness counts no writing request");
    Ok(None)
}

pub(super) async fn one_row(bench: &Bench<'_>) -> CaseResult {
    let (sheet, expected) = bench.sample("", 1);
    bench.put(Stage::New, &sheet).await?;
    bench.expect_all(&expected).await?;
    Ok(None)
}

pub(super) async fn order(bench: &Bench<'_>) -> CaseResult {
    let count = bench.rows_for(Stage::New, 7)?;
    let (sheet, expected) = bench.sample("", count);
    let outcomes = bench.put(Stage::New, &sheet).await?;
    bench.expect_all(&expected).await?;
    let ids: Vec<&RemoteId> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            RowOutcome::Written { remote_id, .. } => remote_id.as_ref(),
            _ => None,
        })
        .collect();
    if ids.is_empty() || bench.capability().lookup_rows.is_none() {
        return Ok(Some("ids are not compared: the destination tells none or cannot look up".into()));
    }
    ensure!(ids.len() == count, "{} of {count} outcomes carry an id", ids.len());
    for (row, (key, _)) in expected.iter().enumerate() {
        let found = bench.look_up(std::slice::from_ref(key), Vec::new()).await??;
        let [found] = &found.matches[..] else {
            return Stop::failed(format!("{} matches for the key of row {row}", found.matches.len()));
        };
        ensure!(found.id == *ids[row], "the outcome of row {row} carries the id of another record");
    }
    Ok(None)
}

pub(super) async fn exactly_the_limit(bench: &Bench<'_>) -> CaseResult {
    let limit = bench.limits(bench.operation(Stage::New)?)?.max_rows;
    if limit > 20_000 {
        return Stop::not_applicable(format!("{limit} rows are too many to write here"));
    }
    let (sheet, expected) = bench.sample("", limit);
    bench.put(Stage::New, &sheet).await?;
    let listed = bench.harness.list(&bench.target).await?.len();
    ensure!(listed == limit, "{limit} rows were written and the service lists {listed} records");
    bench.expect_all(&expected[limit - 1..]).await?;
    Ok(Some(format!("{limit} rows")))
}

pub(super) async fn sliced(bench: &Bench<'_>) -> CaseResult {
    let count = bench.rows_for(Stage::New, 3)?;
    let (sheet, expected) = bench.sample("", count + 4);
    // An offset inside a byte of the null bitmaps.
    let rows = sheet.rows()?.slice(3, count);
    let outcomes = bench.send(bench.batch(bench.operation(Stage::New)?, rows)?).await??;
    all_written(&outcomes)?;
    bench.expect_all(&expected[3..3 + count]).await?;
    let listed = bench.harness.list(&bench.target).await?.len();
    ensure!(listed == count, "{count} rows were sent and the service lists {listed} records");
    Ok(None)
}

pub(super) async fn over_the_limit(bench: &Bench<'_>) -> CaseResult {
    for operation in Operation::ALL {
        let Ok(limits) = bench.limits(operation) else { continue };
        if limits.max_rows > 20_000 {
            continue;
        }
        let before = bench.requests().await?;
        let (sheet, _) = bench.sample("", limits.max_rows + 1);
        let answer = bench.write(operation, &sheet).await?;
        let Err(error) = answer else {
            return Stop::failed(format!("{} rows of {} were taken", limits.max_rows + 1, operation.as_str()));
        };
        ensure!(error.retry() == Retry::Never, "the error says that trying again helps: {error:?}");
        ensure!(bench.requests().await? == before, "a request was sent");
    }
    Ok(None)
}

pub(super) async fn empty(bench: &Bench<'_>) -> CaseResult {
    let before = bench.requests().await?;
    let answer = bench.write(bench.operation(Stage::New)?, &bench.text_sheet()).await?;
    ensure!(answer.is_ok(), "an empty batch is an error: {:?}", answer.err());
    ensure!(bench.requests().await? == before, "a request was sent");
    Ok(None)
}

pub(super) async fn not_offered(bench: &Bench<'_>) -> CaseResult {
    let mut tried = 0;
    let before = bench.requests().await?;
    for operation in Operation::ALL {
        if bench.capability().limits(operation).is_none_or(|limits| !limits.addressing.takes_keys()) {
            let (sheet, _) = bench.sample(operation.as_str(), 1);
            unsupported(operation.as_str(), bench.write(operation, &sheet).await?.err())?;
            tried += 1;
        }
    }
    if bench.capability().lookup_rows.is_none() {
        unsupported("lookup", bench.look_up(&[bench.key("a")], Vec::new()).await?.err())?;
        tried += 1;
    }
    if tried == 0 {
        return Stop::not_applicable("the destination offers everything");
    }
    ensure!(bench.requests().await? == before, "a request was sent");
    Ok(None)
}

fn unsupported(what: &str, error: Option<rsync_core::Error>) -> Result<(), Stop> {
    match error {
        Some(error) if error.kind() == Kind::Unsupported => Ok(()),
        Some(error) => Stop::failed(format!("{what} is not offered, and its error is not `Unsupported`: {error:?}")),
        None => Stop::failed(format!("{what} is not offered and works")),
    }
}

pub(super) async fn capability(bench: &Bench<'_>) -> CaseResult {
    let first = bench.capability();
    ensure!(first.max_in_flight > 0, "no call may be open");
    ensure!(first.lookup_rows != Some(0), "a lookup takes no key");
    ensure!(first.rate.is_none_or(|rate| rate.requests > 0 && rate.per > Duration::ZERO), "the rate allows no request");
    for operation in Operation::ALL {
        let Some(limits) = first.limits(operation) else { continue };
        ensure!(limits.max_rows > 0, "{} takes no row", operation.as_str());
        ensure!(limits.max_bytes != Some(0), "{} takes no byte", operation.as_str());
        let (sheet, _) = bench.sample("", 1);
        let bytes = bench.destination.row_bytes(&bench.target, operation, &sheet.rows()?, 0);
        let key_bytes = bench.key(0).len();
        ensure!(
            limits.max_bytes.is_none() || bytes >= key_bytes,
            "row_bytes of {} is {bytes} for a row whose key alone has {key_bytes}",
            operation.as_str()
        );
    }
    let (sheet, _) = bench.sample("", 1);
    bench.put(Stage::New, &sheet).await?;
    ensure!(bench.capability() == first, "it changed after a write");
    ensure!(bench.harness.destination().kind() == bench.destination.kind(), "the kind changed");
    Ok(None)
}
