//! What time does to jobs. Nothing runs on its own: whoever looks at the organization first sees to it that all is
//! done that was due by then, in the order in which it was due.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use super::columns::Header;
use super::csv;
use super::job::{Failure, Job, Operation, State, Success};
use super::settings::JobTrouble;
use crate::sim::salesforce::collections::{
    Task, existing_id, key_value, lock_error, perform, refuses_lock, update_task, upsert_target,
};
use crate::sim::salesforce::field::Kind;
use crate::sim::salesforce::org::Org;
use crate::sim::salesforce::quirks::{EmbeddedLineEnds, RowLocks};
use crate::sim::salesforce::reply::RowError;
use crate::sim::salesforce::rules::Saving;
use crate::sim::salesforce::write::{Draft, Target};

/// Rows that are read, checked and saved together.
const CHUNK_ROWS: usize = 200;
/// A job that waits for nothing.
const NEVER: i64 = i64::MAX;

/// Does what is due by now, and forgets jobs that are too old.
pub(crate) fn advance(org: &mut Org) {
    if org.jobs.all.is_empty() {
        return;
    }
    let now_ms = org.now_ms();
    loop {
        let active = org.jobs.all.values().filter(|job| job.state.is_active() && job.due_ms <= now_ms);
        let Some(id) = active.min_by_key(|job| job.due_ms).map(|job| job.id.clone()) else { break };
        if let Some(mut job) = org.jobs.all.remove(&id) {
            step(org, &mut job);
            org.jobs.all.insert(id, job);
        }
    }
    let kept_ms = milliseconds(org.jobs.settings.kept_seconds.saturating_mul(1_000));
    org.jobs.all.retain(|_, job| job.state.is_active() || now_ms - job.modified_ms < kept_ms);
}

fn milliseconds(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 2)
}

/// Puts a job into the queue.
pub(crate) fn enqueue(org: &mut Org, job: &mut Job) {
    (job.state, job.closed_ms, job.modified_ms) = (State::UploadComplete, org.now_ms(), org.now_ms());
    job.due_ms = job.closed_ms.saturating_add(milliseconds(org.jobs.settings.queue_ms));
    job.troubles = org.jobs.troubles(&job.object_name);
    for trouble in &job.troubles {
        if let JobTrouble::Delayed { delay_ms } = trouble {
            job.due_ms = job.due_ms.saturating_add(milliseconds(*delay_ms));
        }
    }
}

/// Ends a job; what was not done stays undone. Results come in no order.
pub(crate) fn end(org: &mut Org, job: &mut Job, state: State, error: Option<String>) {
    (job.state, job.error) = (state, error);
    job.unprocessed = (job.next..job.rows.len()).collect();
    org.rng.disorder(&mut job.successes);
    org.rng.disorder(&mut job.failures);
    org.rng.disorder(&mut job.unprocessed);
}

fn step(org: &mut Org, job: &mut Job) {
    job.modified_ms = job.due_ms;
    if job.state == State::UploadComplete {
        job.state = State::InProgress;
        match begin(org, job) {
            Err(message) => end(org, job, State::Failed, Some(message)),
            Ok(()) if job.rows.is_empty() => end(org, job, State::JobComplete, None),
            Ok(()) => wait_for_chunk(org, job),
        }
        return;
    }
    let settings = org.jobs.settings.clone();
    let mut until = (job.next + CHUNK_ROWS).min(job.rows.len());
    let batch = job.next / settings.batch_rows;
    until = until.min((batch + 1) * settings.batch_rows);
    for (i, trouble) in job.troubles.iter().enumerate() {
        match trouble {
            JobTrouble::Retried { batch: wanted, retries } if *wanted == batch => {
                let more = (*retries).min(settings.most_retries);
                let wait_ms = milliseconds(settings.retry_ms.saturating_mul(u64::from(more)));
                let exhausted = *retries > settings.most_retries;
                job.retries += more;
                job.due_ms = job.due_ms.saturating_add(wait_ms);
                if exhausted {
                    let message = "InternalServerError : Batch failed after its retries".to_owned();
                    job.troubles[i] = JobTrouble::Fails { after_rows: job.next, message };
                } else {
                    job.troubles.remove(i);
                }
                return;
            }
            JobTrouble::Fails { after_rows, message } if *after_rows <= job.next => {
                let message = message.clone();
                return end(org, job, State::Failed, Some(message));
            }
            JobTrouble::Aborted { after_rows } if *after_rows <= job.next => {
                return end(org, job, State::Aborted, None);
            }
            JobTrouble::Stuck { after_rows } if *after_rows <= job.next => {
                job.due_ms = NEVER;
                return;
            }
            JobTrouble::Fails { after_rows, .. }
            | JobTrouble::Aborted { after_rows }
            | JobTrouble::Stuck { after_rows } => until = until.min(*after_rows),
            JobTrouble::Delayed { .. } | JobTrouble::Retried { .. } => {}
        }
    }
    if job.next.is_multiple_of(settings.batch_rows) {
        if !org.jobs.batches.take(job.due_ms, 1) {
            let message = "ExceededQuota : The batches of the last 24 hours are used up".to_owned();
            return end(org, job, State::Failed, Some(message));
        }
        let [before, current] = &mut job.parents;
        *before = mem::take(current);
    }
    if !org.jobs.rows.take(job.due_ms, (until - job.next) as u64) {
        let message = "ExceededQuota : The records of the last 24 hours are used up".to_owned();
        return end(org, job, State::Failed, Some(message));
    }
    carry_out(org, job, job.next..until);
    job.next = until;
    if job.next == job.rows.len() {
        end(org, job, State::JobComplete, None);
    } else {
        wait_for_chunk(org, job);
    }
}

fn wait_for_chunk(org: &Org, job: &mut Job) {
    job.due_ms = job.due_ms.saturating_add(milliseconds(org.jobs.settings.chunk_ms));
}

/// Takes the file apart. The error is the job's.
fn begin(org: &Org, job: &mut Job) -> Result<(), String> {
    let strict = org.quirks.embedded_line_ends == EmbeddedLineEnds::Checked;
    let mut rows = Vec::new();
    let mut first: Option<String> = None;
    for content in mem::take(&mut job.contents) {
        let text = String::from_utf8(content.to_vec())
            .map_err(|_| "ClientInputError : Failed to read the file as UTF-8".to_owned())?;
        let found = csv::records(&text, job.delimiter.1, job.ending, strict).map_err(|_| {
            let setting = if job.ending == csv::LineEnding::Lf { "LF" } else { "CRLF" };
            format!("ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {setting}")
        })?;
        let at = job.texts.len();
        let header = found.first().map(|range| text[range.clone()].to_owned());
        // A file that is sent again brings its header again.
        let is_header = first.is_none() || header == first;
        rows.extend(found.into_iter().skip(usize::from(is_header)).map(|range| (at, range)));
        first = first.or(header);
        job.texts.push(text);
    }
    let line = first.ok_or_else(|| "InvalidBatch : Failed to parse CSV header".to_owned())?;
    let header = Header::read(org, job.object, job.operation, job.key.as_ref(), &line, job.delimiter.1)?;
    (job.header, job.rows) = (Some(header), rows);
    Ok(())
}

fn carry_out(org: &mut Org, job: &mut Job, range: Range<usize>) {
    let drafts: Vec<Result<Draft, RowError>> = range.clone().map(|row| draft(org, job, row)).collect();
    let together = range.len();
    let saving = Saving::of_job(&job.version, job.assignment_rule.is_some());
    let mut tasks = tasks(org, job, drafts);
    let parents: Vec<Vec<String>> = tasks.iter().map(|task| parents_of(org, task)).collect();
    for ((row, task), parents) in range.zip(&mut tasks).zip(parents) {
        if let Task::Write { draft, .. } = task {
            draft.together = together;
            draft.saving = Arc::clone(&saving);
        }
        let held = parents.iter().find(|parent| job.parents[0].contains(*parent));
        let refused = held.filter(|_| org.quirks.row_locks == RowLocks::Refused && refuses_lock(org));
        let outcome = match refused {
            Some(parent) => Err(vec![lock_error(parent)]),
            None => perform(org, task),
        };
        job.parents[1].extend(parents);
        org.stats.rows_received += 1;
        match outcome {
            Ok((applied, _)) => {
                if job.operation.deletes() {
                    org.stats.rows_deleted += 1;
                } else {
                    org.count_saved(job.object, applied.created, job.assignment_rule.is_some());
                }
                job.successes.push(Success { row, id: applied.id, created: applied.created });
            }
            Err(errors) => {
                org.stats.rows_failed += 1;
                let error = errors.iter().map(shown).collect();
                job.failures.push(Failure { row, id: existing_id(task).unwrap_or_default(), error });
            }
        }
    }
}

/// `CODE:message:fieldA,fieldB --`.
fn shown(error: &RowError) -> String {
    let fields = if error.fields.is_empty() { String::new() } else { format!("{} ", error.fields.join(",")) };
    format!("{}:{}:{fields}--", error.code, error.message)
}

fn draft(org: &Org, job: &Job, row: usize) -> Result<Draft, RowError> {
    let Some(header) = &job.header else { return Err(RowError::new("API_ERROR", "the file has no header")) };
    let settings = &org.jobs.settings;
    let record = job.record(row);
    if let Some(problem) = record.problem {
        return Err(RowError::new("API_ERROR", format!("the row cannot be read: {problem}")));
    }
    if record.cells.len() != header.names.len() {
        let message = format!("the row has {} columns instead of {}", record.cells.len(), header.names.len());
        return Err(RowError::new("API_ERROR", message));
    }
    let longer = |text: &str, most: usize| text.len() > most && text.chars().count() > most;
    let long_cell = |cell: &Cow<'_, str>| longer(cell, settings.most_cell_characters);
    if longer(job.line(row), settings.most_row_characters) || record.cells.iter().any(long_cell) {
        return Err(RowError::new("API_ERROR", "the row or one of its values has too many characters"));
    }
    Ok(header.draft(org, job.object, &record.cells))
}

fn tasks(org: &Org, job: &Job, drafts: Vec<Result<Draft, RowError>>) -> Vec<Task> {
    let mut times: HashMap<String, usize> = HashMap::new();
    let mut keyed = Vec::with_capacity(drafts.len());
    for draft in drafts {
        keyed.push(draft.map(|mut draft| {
            let value = job.key.as_ref().and_then(|key| key_value(key, &mut draft));
            if let (Some(key), Some(value)) = (&job.key, &value) {
                *times.entry(key.folded(value)).or_default() += 1;
            }
            (draft, value)
        }));
    }
    let mut updates: HashMap<String, usize> = HashMap::new();
    let task = |row: Result<(Draft, Option<String>), RowError>| {
        let (draft, value) = match row {
            Ok(row) => row,
            Err(error) => return Task::Fail { error },
        };
        match (job.operation, &job.key) {
            (Operation::Insert, _) if draft.id.is_some() => {
                let error = RowError::new("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call");
                Task::Fail { error: error.on("Id") }
            }
            (Operation::Insert, _) => Task::Write { draft, target: Target::Create },
            (Operation::Upsert, Some(key)) => match upsert_target(org, key, &draft, value.as_deref(), &times, false) {
                Ok(target) => Task::Write { draft, target },
                Err(error) => Task::Fail { error },
            },
            (Operation::Update | Operation::Upsert, _) => update_task(org, draft, &mut updates),
            (Operation::Delete | Operation::HardDelete, _) => match draft.id {
                Some(id) => Task::Delete { id, for_good: job.operation == Operation::HardDelete },
                None => Task::Fail { error: RowError::new("MISSING_ARGUMENT", "Id not specified in a delete call") },
            },
        }
    };
    keyed.into_iter().map(task).collect()
}

/// The parents that a row names, which are locked while it is saved.
fn parents_of(org: &Org, task: &Task) -> Vec<String> {
    let Task::Write { draft, .. } = task else { return Vec::new() };
    let object = &org.objects[draft.object];
    let named = draft.changes.iter().filter(|(name, _)| {
        &***name != "OwnerId" && object.field(name).is_some_and(|field| field.kind == Kind::Reference)
    });
    named.filter_map(|(_, wanted)| wanted.clone()).collect()
}
