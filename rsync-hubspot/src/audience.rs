//! Members of lists.
//!
//! A list knows its members by record id only. Who is added is read first, by key or by id: an answer passes over ids
//! that do not exist as silently as members that are there already, so it alone does not tell the two apart.

use std::collections::HashMap;
use std::sync::Arc;

use rsync_core::arrow::array::{RecordBatch, StringArray};
use rsync_core::capability::Operation;
use rsync_core::destination::{LookupRequest, Target, WriteBatch};
use rsync_core::error::{Error, Kind, Result, Retry};
use rsync_core::ids::RemoteId;
use rsync_core::outcome::{Effect, Receipt, RowOutcome};
use rsync_core::record::Rows;
use rsync_http::json::{Object as Json, Scalar, read};
use serde::Deserialize;

use crate::client::Api;
use crate::encode::{INPUTS_MAX, push_json_string};
use crate::lookup::Lookup;
use crate::object::{Object, RECORD_ID};
use crate::place::ListId;

/// The answer to a request for a list.
#[derive(Deserialize)]
struct ListAnswer<'a> {
    #[serde(borrow, default)]
    list: Option<Json<List<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    #[serde(borrow, default)]
    processing_type: Scalar<'a>,
    #[serde(borrow, default)]
    object_type_id: Scalar<'a>,
}

/// Checks that members can be added to the list, and that they are records of `object`.
pub(crate) async fn check(api: &Api, object: &Object, list: &ListId) -> Result<()> {
    let response = api.list(list).await?;
    let answer: Option<ListAnswer<'_>> = read(response.body());
    let found =
        answer.and_then(|answer| answer.list).ok_or_else(|| response.not_understood("the answer is no list"))?;
    let refuse = |cause: &'static str, remedy: &'static str| {
        Err(response
            .error(Kind::Unsupported, Retry::Never, cause)
            .with_context("list", list.as_str())
            .with_remedy(remedy))
    };
    if found.object_type_id.as_str() != object.type_id() {
        return refuse("the list is one of other records", "name the object whose records the list holds");
    }
    match found.processing_type.as_str() {
        Some("MANUAL" | "SNAPSHOT") => Ok(()),
        Some("DYNAMIC") => {
            refuse("the members of the list are those that its filter finds", "use a list of type MANUAL or SNAPSHOT")
        }
        _ => refuse("the list is of an unknown type", "use a list of type MANUAL or SNAPSHOT"),
    }
}

/// Adds or removes the rows of `batch`, at most one call that changes anything.
pub(crate) async fn change(api: &Api, object: &Object, list: &ListId, batch: &WriteBatch) -> Result<Receipt> {
    if batch.len() > INPUTS_MAX {
        return Err(Error::new(Kind::Internal, "change the members of a list", "more rows than the declared limit")
            .with_context("rows", batch.len())
            .with_context("limit", INPUTS_MAX));
    }
    let adds = batch.operation == Operation::AddMember;
    let ids = match &batch.ids {
        // An id that is gone is no member any more, so nobody needs to ask.
        Some(ids) if !adds => ids.iter().map(|id| Record::Found(id.clone())).collect(),
        _ => find(api, object, batch).await?,
    };
    let body = encode(&ids);
    if body == b"[]" {
        return Ok(Receipt::Settled(ids.iter().map(Record::without_call).collect()));
    }
    let response = api.members(list, adds, body).await?;
    let decoded = decode(adds, &ids, response.body())
        .ok_or_else(|| response.not_understood("the answer is not that of a change of members"))?;
    if decoded.stray > 0 {
        tracing::warn!(
            stray = decoded.stray,
            sent = ids.len(),
            correlation_id = response.correlation_id().unwrap_or_default(),
            "the answer to a change of members does not add up"
        );
    }
    Ok(Receipt::Settled(decoded.outcomes))
}

/// The record of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Record {
    Found(RemoteId),
    Missing,
    Ambiguous,
}

impl Record {
    fn id(&self) -> Option<&RemoteId> {
        match self {
            Record::Found(id) => Some(id),
            Record::Missing | Record::Ambiguous => None,
        }
    }

    /// The outcome of a row that is not sent.
    fn without_call(&self) -> RowOutcome {
        match self {
            Record::Found(_) => RowOutcome::Unknown,
            Record::Missing => RowOutcome::Missing,
            Record::Ambiguous => {
                RowOutcome::rejected("LOCAL_AMBIGUOUS_KEY", None, "merge the records that share this key")
            }
        }
    }
}

/// Reads which records the rows mean. Changes nothing.
async fn find(api: &Api, object: &Object, batch: &WriteBatch) -> Result<Vec<Record>> {
    let request = match &batch.ids {
        None => LookupRequest::new(batch.target.clone(), batch.rows.clone(), Vec::new()),
        Some(ids) => {
            let ids: StringArray = ids.iter().map(|id| Some(id.as_str())).collect();
            let rows = RecordBatch::try_from_iter([(RECORD_ID, Arc::new(ids) as _)])
                .map_err(|e| Error::new(Kind::Internal, "read records", "the ids are no column").with_source(e))?;
            LookupRequest::new(Target::new(object.as_str(), RECORD_ID), Rows::new(rows)?, Vec::new())
        }
    };
    let mut lookup = Lookup::new(object, &request)?;
    if !lookup.is_empty() {
        let response = api.batch_read(object, lookup.batch_read_body()).await?;
        lookup.take_batch_read(response.body()).map_err(|message| response.not_understood(message))?;
    }
    let mut records = vec![Record::Missing; batch.len()];
    for found in lookup.finish()?.matches {
        let record = &mut records[found.key];
        *record = if *record == Record::Missing { Record::Found(found.id) } else { Record::Ambiguous };
    }
    Ok(records)
}

/// The ids as a JSON list, each once: two addresses can lead to one contact.
fn encode(records: &[Record]) -> Vec<u8> {
    let mut ids: Vec<&str> = records.iter().filter_map(Record::id).map(RemoteId::as_str).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut body = vec![b'['];
    for (index, id) in ids.into_iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        push_json_string(id, &mut body);
    }
    body.push(b']');
    body
}

/// The answer to a change of members. Of the first key both spellings are about.
#[derive(Deserialize)]
struct MembersAnswer<'a> {
    #[serde(borrow, default, rename = "recordsIdsAdded", alias = "recordIdsAdded")]
    added: Option<Vec<Scalar<'a>>>,
    #[serde(borrow, default, rename = "recordIdsRemoved", alias = "recordsIdsRemoved")]
    removed: Option<Vec<Scalar<'a>>>,
    #[serde(borrow, default, rename = "recordIdsMissing", alias = "recordsIdsMissing")]
    missing: Option<Vec<Scalar<'a>>>,
}

#[derive(Debug)]
struct Decoded {
    outcomes: Vec<RowOutcome>,
    /// Statements about no row of the request.
    stray: usize,
}

/// The outcome of each row; `None` if the body is no answer to a change of members. An id that the answer passes over
/// was a member already, or none any more: the service lists what it changed.
fn decode(adds: bool, records: &[Record], body: &[u8]) -> Option<Decoded> {
    let answer: MembersAnswer<'_> = read(body)?;
    let (changed, missing) = (if adds { answer.added } else { answer.removed }?, answer.missing.unwrap_or_default());
    let mut said: HashMap<&str, (bool, bool)> =
        records.iter().filter_map(Record::id).map(|id| (id.as_str(), (false, false))).collect();
    let mut stray = 0;
    for id in &changed {
        match id.as_str().and_then(|id| said.get_mut(id)) {
            Some((changed, _)) => *changed = true,
            None => stray += 1,
        }
    }
    for id in &missing {
        match id.as_str().and_then(|id| said.get_mut(id)) {
            Some((_, missing)) => *missing = true,
            None => stray += 1,
        }
    }
    let outcome = |record: &Record| {
        let Some(id) = record.id() else { return record.without_call() };
        let written = |effect| RowOutcome::written(effect, Some(id.clone()));
        match said.get(id.as_str()).copied().unwrap_or_default() {
            (true, true) => RowOutcome::Unknown,
            (false, true) => RowOutcome::Missing,
            (true, false) if adds => written(Effect::Created),
            (true, false) => written(Effect::Unspecified),
            (false, false) if adds => written(Effect::Updated),
            (false, false) => RowOutcome::Missing,
        }
    };
    Some(Decoded { outcomes: records.iter().map(outcome).collect(), stray })
}

#[cfg(test)]
#[path = "audience_tests.rs"]
mod tests;
