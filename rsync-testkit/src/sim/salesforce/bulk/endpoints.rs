//! The endpoints of jobs.

use std::collections::HashSet;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::csv::LineEnding;
use super::job::{DELIMITERS, Job, Operation, ResultKind, State};
use super::{multipart, run};
use crate::sim::salesforce::org::{Call, Org};
use crate::sim::salesforce::quirks::{EmptyResults, RepeatedClose, RepeatedUpload};
use crate::sim::salesforce::reply::{Answer, Refusal, Reply};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WireJob {
    object: Option<String>,
    operation: Option<String>,
    external_id_field_name: Option<String>,
    content_type: Option<String>,
    line_ending: Option<String>,
    column_delimiter: Option<String>,
    assignment_rule_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireState {
    state: String,
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "INVALIDJOB", message)
}

fn wrong_state(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "INVALIDJOBSTATE", message)
}

pub(crate) fn create(org: &mut Org, call: &Call) -> Answer {
    let (body, content) = match multipart::parts(call) {
        Some(parts) => parts.map(|(job, content)| (job, Some(content)))?,
        None => (call.text()?, None),
    };
    if !body.trim_start().starts_with('{') {
        return Err(Refusal::parser("Cannot deserialize instance of an object at [line:1, column:1]"));
    }
    let wire: WireJob = serde_json::from_str(body).map_err(|e| Refusal::parser(e.to_string()))?;
    let mut job = described(org, call, wire)?;
    if let Some(content) = content {
        if content.chars().count() > multipart::MOST_CHARACTERS {
            return Err(Refusal::new(413, "LIMIT_EXCEEDED", "The content of the job is too large for one request."));
        }
        job.take(Bytes::copy_from_slice(content.as_bytes()));
        run::enqueue(org, &mut job);
    }
    let reply = Reply::json(200, &job.whole());
    org.stats.jobs_created += 1;
    org.jobs.all.insert(job.id.clone(), job);
    Ok(reply)
}

/// A new job, if all of it is right.
fn described(org: &mut Org, call: &Call, wire: WireJob) -> Result<Job, Refusal> {
    let name = wire.object.unwrap_or_default();
    if name.is_empty() {
        return Err(invalid("InvalidJob : Object is not specified"));
    }
    let object = org.object(&name).filter(|&object| org.objects[object].writable).ok_or_else(|| {
        Refusal::new(400, "INVALIDENTITY", format!("Entity '{name}' is not supported by the Bulk API."))
    })?;
    let operation = wire.operation.unwrap_or_default();
    let operation = Operation::NAMES.iter().find(|(_, name)| *name == operation).map(|(operation, _)| *operation);
    let operation = operation.ok_or_else(|| invalid("InvalidJob : Operation is not supported"))?;
    if operation == Operation::HardDelete && !org.jobs.settings.hard_delete {
        return Err(Refusal::new(400, "FEATURENOTENABLED", "FeatureNotEnabled : hardDelete is not enabled"));
    }
    let object_name = org.objects[object].name.clone();
    let key = match (operation, wire.external_id_field_name.filter(|name| !name.is_empty())) {
        (Operation::Upsert, None) => {
            return Err(invalid(format!(
                "InvalidJob : External ID was blank for {object_name}. An External ID must be specified for upsert."
            )));
        }
        (Operation::Upsert, Some(name)) => {
            let field = org.objects[object].field(&name).filter(|field| field.id_lookup);
            let unknown = || {
                invalid(format!(
                    "InvalidJob : Field name provided, {name} does not match an External ID, Salesforce Id, or indexed \
                     field for {object_name}"
                ))
            };
            Some(field.cloned().ok_or_else(unknown)?)
        }
        (_, Some(_)) => return Err(invalid("InvalidJob : An External ID is for upserts only")),
        (_, None) => None,
    };
    if wire.content_type.is_some_and(|kind| kind != "CSV") {
        return Err(invalid("InvalidJob : contentType must be CSV"));
    }
    let ending = match wire.line_ending.as_deref() {
        None | Some("LF") => LineEnding::Lf,
        Some("CRLF") => LineEnding::CrLf,
        Some(_) => return Err(invalid("InvalidJob : lineEnding must be LF or CRLF")),
    };
    let delimiter = wire.column_delimiter.unwrap_or_else(|| "COMMA".to_owned());
    let delimiter = DELIMITERS.into_iter().find(|(name, _)| *name == delimiter);
    let delimiter = delimiter.ok_or_else(|| invalid("InvalidJob : columnDelimiter is not known"))?;
    if wire.assignment_rule_id.is_some() && !matches!(object_name.as_str(), "Case" | "Lead") {
        return Err(invalid("InvalidJob : assignmentRuleId is for cases and leads only"));
    }
    let now_ms = org.now_ms();
    Ok(Job {
        id: org.next_id("750"),
        operation,
        object,
        object_name,
        key,
        ending,
        delimiter,
        assignment_rule: wire.assignment_rule_id,
        version: call.version().to_owned(),
        created_by: org.user_id.clone(),
        created_ms: now_ms,
        modified_ms: now_ms,
        closed_ms: now_ms,
        state: State::Open,
        error: None,
        uploads: 0,
        contents: Vec::new(),
        texts: Vec::new(),
        rows: Vec::new(),
        header: None,
        due_ms: now_ms,
        next: 0,
        retries: 0,
        troubles: Vec::new(),
        successes: Vec::new(),
        failures: Vec::new(),
        unprocessed: Vec::new(),
        parents: [HashSet::new(), HashSet::new()],
    })
}

/// Takes the path's job out, to be put back after the work on it.
fn taken<T>(
    org: &mut Org,
    call: &Call,
    work: impl FnOnce(&mut Org, &mut Job) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut job = org.jobs.all.remove(call.segment(2)).ok_or_else(Refusal::not_found)?;
    let done = work(org, &mut job);
    org.jobs.all.insert(job.id.clone(), job);
    done
}

pub(crate) fn upload(org: &mut Org, call: &Call) -> Answer {
    taken(org, call, |org, job| {
        if job.state != State::Open {
            return Err(wrong_state(format!("Unable to add content to a job that is {}", job.state.name())));
        }
        if job.uploads > 0 && org.quirks.repeated_upload == RepeatedUpload::Refused {
            return Err(wrong_state("The job has its content already"));
        }
        if call.body.len() > org.jobs.settings.most_bytes {
            return Err(Refusal::new(413, "LIMIT_EXCEEDED", "The content of the job is too large."));
        }
        job.take(call.body.clone());
        Ok(Reply::empty(201))
    })
}

pub(crate) fn close(org: &mut Org, call: &Call) -> Answer {
    let wire: WireState = serde_json::from_str(call.text()?).map_err(|e| Refusal::parser(e.to_string()))?;
    taken(org, call, |org, job| {
        match (wire.state.as_str(), job.state) {
            ("UploadComplete", State::Open) => run::enqueue(org, job),
            ("UploadComplete", State::UploadComplete) if org.quirks.repeated_close == RepeatedClose::Accepted => {}
            ("UploadComplete", _) => {
                return Err(wrong_state(format!("Closing a job that is {} is not allowed", job.state.name())));
            }
            ("Aborted", state) if !state.is_final() => {
                job.modified_ms = org.now_ms();
                run::end(org, job, State::Aborted, None);
            }
            ("Aborted", _) => return Err(wrong_state("Aborting already Completed Job not allowed")),
            _ => return Err(invalid("InvalidJob : state must be UploadComplete or Aborted")),
        }
        Ok(Reply::json(200, &job.brief()))
    })
}

pub(crate) fn info(org: &mut Org, call: &Call) -> Answer {
    let job = org.jobs.all.get(call.segment(2)).ok_or_else(Refusal::not_found)?;
    Ok(Reply::json(200, &job.info()))
}

pub(crate) fn list(org: &mut Org, call: &Call) -> Answer {
    let wanted = call.parameter("jobType").is_none_or(|kind| kind == "V2Ingest");
    // The locator is the id of the last job of the page before.
    let after = call.parameter("queryLocator").unwrap_or_default();
    let mut jobs = org.jobs.all.values().filter(|job| wanted && job.id.as_str() > after);
    let page: Vec<&Job> = jobs.by_ref().take(org.jobs.settings.jobs_per_page).collect();
    let next = jobs.next().and(page.last()).map(|last| {
        let root = call.root();
        format!("{root}/jobs/ingest?queryLocator={}", last.id)
    });
    let records: Vec<_> = page.into_iter().map(Job::listed).collect();
    Ok(Reply::json(200, &json!({ "done": next.is_none(), "nextRecordsUrl": next, "records": records })))
}

pub(crate) fn remove(org: &mut Org, call: &Call) -> Answer {
    let job = org.jobs.all.get(call.segment(2)).ok_or_else(Refusal::not_found)?;
    if matches!(job.state, State::Open | State::InProgress) {
        let message = "Error encountered when deleting the job because the job is not terminated";
        return Err(Refusal::new(400, "API_ERROR", message));
    }
    let id = job.id.clone();
    org.jobs.all.remove(&id);
    Ok(Reply::empty(204))
}

pub(crate) fn results(org: &mut Org, call: &Call) -> Answer {
    let job = org.jobs.all.get(call.segment(2)).ok_or_else(Refusal::not_found)?;
    let kind = match call.segment(3) {
        "successfulResults" => ResultKind::Successful,
        "failedResults" => ResultKind::Failed,
        _ => ResultKind::Unprocessed,
    };
    if !job.state.is_final() {
        return Err(wrong_state(format!("Results are not available while the job is {}", job.state.name())));
    }
    let total = job.result_len(kind);
    if total == 0 && org.quirks.empty_results == EmptyResults::NoBody {
        return Ok(Reply::csv(String::new()));
    }
    let start = match call.parameter("locator") {
        None => 0,
        Some(locator) => locator
            .parse()
            .ok()
            .filter(|start| *start < total)
            .ok_or_else(|| Refusal::new(400, "INVALID_QUERY_LOCATOR", "invalid query locator"))?,
    };
    let asked = call.parameter("maxRecords").and_then(|most| most.parse().ok()).filter(|most| *most > 0);
    let most: usize = asked.or(org.jobs.settings.result_page_rows).unwrap_or(usize::MAX);
    let end = start.saturating_add(most).min(total);
    let locator = if end < total { end.to_string() } else { "null".to_owned() };
    let page = Reply::csv(job.result(kind, start..end));
    Ok(page.with_header("sforce-locator", locator).with_header("sforce-numberofrecords", (end - start).to_string()))
}
