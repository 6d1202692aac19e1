//! Match values to the records that have them.

use std::sync::Arc;

use crate::capability::Capability;
use crate::destination::{Context, LookupRequest};
use crate::error::{Error, Kind, Result};
use crate::ids::{RemoteId, RunId};
use crate::pipeline::Pipeline;
use crate::record::Rows;

/// The records that have the match values of `rows`, row by row, and the calls that it took. Values are looked up as
/// many at a time as the destination allows, at its rate, and tried again like other reads.
///
/// # Errors
///
/// Those of [`Destination::lookup`](crate::Destination::lookup); [`Kind::Protocol`] if an answer names a key that was
/// not asked for.
pub(super) async fn look_up(
    pipeline: &Pipeline,
    run: RunId,
    capability: &Capability,
    rows: &Rows,
) -> Result<(Vec<Vec<RemoteId>>, u64)> {
    let failed = |message| Error::new(Kind::Internal, "look up records", message);
    let match_on = pipeline.target.match_on.as_str();
    let index = rows.schema().index_of(match_on).map_err(|_| failed("the match field is not mapped"))?;
    let keys = rows.batch().project(&[index]).map_err(|e| failed("the match field cannot be read").with_source(e))?;
    let keys = Rows::new(keys)?;
    let most = capability.lookup_rows.unwrap_or(1).max(1);
    let mut found: Vec<Vec<RemoteId>> = vec![Vec::new(); rows.len()];
    let mut calls = 0;
    for from in (0..keys.len()).step_by(most) {
        let asked = keys.slice(from, most.min(keys.len() - from));
        let call = || async {
            pipeline.limiter.turn(&*Arc::clone(&pipeline.clock)).await;
            let request = LookupRequest::new(pipeline.target.clone(), asked.clone(), Vec::new());
            pipeline.destination.lookup(&Context::new(run), request).await
        };
        let answer = pipeline.reading(call).await?;
        calls += 1;
        for one in answer.matches {
            if one.key >= asked.len() {
                return Err(Error::new(
                    Kind::Protocol,
                    "look up records",
                    "the answer names a key that nobody asked for",
                )
                .with_remedy("this is a defect in the adapter; please report it"));
            }
            let records = &mut found[from + one.key];
            if !records.contains(&one.id) {
                records.push(one.id);
            }
        }
    }
    Ok((found, calls))
}
