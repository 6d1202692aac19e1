//! Keys that an address, a query or a file format could mistake for something else.

use rsync_core::destination::KeyFolding;
use rsync_core::{Kind, Retry};

use crate::destination::bench::{Bench, CaseResult, Stage, Stop, all_written, ensure, is_rejected, is_written};
use crate::destination::sheet::Datum;

const ODD: [&str; 24] = [
    "it's",
    "a\"b",
    "a+b",
    "a/b",
    "a?b=c",
    "a#b",
    "a%b",
    "a%2Fb",
    "a;b",
    "a b",
    "a&b",
    "a=b",
    "a,b",
    "a\\b",
    "a:b",
    "a|b",
    "(a)",
    "<a>",
    "a/../b",
    "..",
    "ünïcödé",
    "漢字",
    "👩",
    "a\tb",
];

pub(super) async fn odd(bench: &Bench<'_>) -> CaseResult {
    // Records that a mangled key would lead to.
    let decoys = ["odd-", "odd-a", "odd-b", "odd-it", "odd-a/"].map(|name| bench.key(name));
    let decoy = bench.text("decoy");
    let mut accepted = 0;
    for key in &decoys {
        accepted += usize::from(write_one(bench, key, &decoy).await?);
    }
    let mut rejected = 0;
    for (index, odd) in ODD.iter().enumerate() {
        let (key, cell) = (bench.key(format!("odd-{odd}")), bench.text(index));
        if !write_one(bench, &key, &cell).await? {
            rejected += 1;
            ensure!(bench.stored(&key).await?.is_none(), "the key {odd:?} was rejected and a record was made");
            continue;
        }
        accepted += 1;
        bench.expect_stored(&key, &bench.fields().text, &cell).await?;
        let listed = bench.harness.list(&bench.target).await?.len();
        ensure!(
            listed == accepted,
            "with the key {odd:?}, {accepted} keys were written and the service lists {listed}"
        );
        if bench.capability().lookup_rows.is_some() {
            let found = bench.look_up(std::slice::from_ref(&key), Vec::new()).await??.matches.len();
            ensure!(found == 1, "the key {odd:?} was written and a lookup finds {found} records");
        }
    }
    for key in decoys {
        // A decoy with a slash may have been rejected itself.
        if bench.stored(&key).await?.is_some() {
            bench.expect_stored(&key, &bench.fields().text, &decoy).await?;
        }
    }
    Ok((rejected > 0).then(|| format!("{rejected} of {} odd keys are rejected", ODD.len())))
}

/// Writes one record. `false` if it is rejected.
async fn write_one(bench: &Bench<'_>, key: &str, cell: &Datum) -> Result<bool, Stop> {
    let mut sheet = bench.text_sheet();
    sheet.push(key, vec![cell.clone()]);
    match bench.write(bench.operation(Stage::New)?, &sheet).await? {
        Ok(outcomes) if outcomes.iter().all(is_written) => Ok(true),
        Ok(outcomes) if outcomes.iter().all(is_rejected) => Ok(false),
        Err(error) if error.kind() == Kind::Rejected && error.retry() == Retry::Never => Ok(false),
        other => Stop::failed(format!("an odd key is neither written nor rejected: {other:?}")),
    }
}

pub(super) async fn folding(bench: &Bench<'_>) -> CaseResult {
    let folding = bench.folding().await?;
    let operation = bench.operation(Stage::New)?;
    let (sheet, expected) = bench.sample("fold", 1);
    all_written(&bench.write(operation, &sheet).await??)?;
    let upper = expected[0].0.to_uppercase();
    if bench.capability().lookup_rows.is_some() {
        let found = bench.look_up(std::slice::from_ref(&upper), Vec::new()).await??.matches.len();
        let wanted = usize::from(folding == KeyFolding::CaselessTrimmed);
        ensure!(found == wanted, "keys compare {folding:?} and a lookup in upper case finds {found} records");
    }
    if bench.capability().upsert.is_none() {
        return Ok(Some("writing is not compared: there is no upsert".into()));
    }
    let mut again = bench.text_sheet();
    again.push(&upper, vec![bench.text("upper")]);
    all_written(&bench.put(Stage::New, &again).await?)?;
    let listed = bench.harness.list(&bench.target).await?.len();
    match folding {
        KeyFolding::Exact => {
            ensure!(listed == 2, "keys compare byte by byte, and two cases of one key make {listed} records");
            bench.expect_all(&expected).await?;
        }
        KeyFolding::CaselessTrimmed => {
            ensure!(listed == 1, "keys compare without case, and two cases of one key make {listed} records");
        }
        _ => return Stop::not_applicable("the suite does not know this folding"),
    }
    Ok(Some(format!("{folding:?}")))
}
