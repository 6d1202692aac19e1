//! One job: what it was told, how far it is, and what its answers look like.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::columns::Header;
use super::csv::{self, LineEnding, Record};
use super::settings::{BulkSettings, JobFault, JobTrouble};
use crate::sim::salesforce::field::Field;
use crate::sim::salesforce::limits::Allowance;
use crate::sim::salesforce::org::Org;
use crate::sim::salesforce::value::shown_ms;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Insert,
    Update,
    Upsert,
    Delete,
    HardDelete,
}

impl Operation {
    pub(crate) const NAMES: [(Self, &'static str); 5] = [
        (Self::Insert, "insert"),
        (Self::Update, "update"),
        (Self::Upsert, "upsert"),
        (Self::Delete, "delete"),
        (Self::HardDelete, "hardDelete"),
    ];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(operation, _)| *operation == self).map_or("", |(_, name)| name)
    }

    pub(crate) fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::HardDelete)
    }

    pub(crate) fn needs_id(self) -> bool {
        self.deletes() || self == Self::Update
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    UploadComplete,
    InProgress,
    JobComplete,
    Failed,
    Aborted,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::UploadComplete => "UploadComplete",
            Self::InProgress => "InProgress",
            Self::JobComplete => "JobComplete",
            Self::Failed => "Failed",
            Self::Aborted => "Aborted",
        }
    }

    pub(crate) fn is_active(self) -> bool {
        matches!(self, Self::UploadComplete | Self::InProgress)
    }

    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::JobComplete | Self::Failed | Self::Aborted)
    }
}

/// What stands between cells, by the service's names.
pub(crate) const DELIMITERS: [(&str, char); 6] =
    [("COMMA", ','), ("BACKQUOTE", '`'), ("CARET", '^'), ("PIPE", '|'), ("SEMICOLON", ';'), ("TAB", '\t')];

/// A row that was done.
#[derive(Debug)]
pub(crate) struct Success {
    pub(crate) row: usize,
    pub(crate) id: String,
    pub(crate) created: bool,
}

/// A row that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) row: usize,
    /// Of the record that the row names, if there is one.
    pub(crate) id: String,
    pub(crate) error: String,
}

/// A job. It has no `Debug`: it holds record values.
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) operation: Operation,
    pub(crate) object: usize,
    pub(crate) object_name: String,
    pub(crate) key: Option<Field>,
    pub(crate) ending: LineEnding,
    pub(crate) delimiter: (&'static str, char),
    pub(crate) assignment_rule: Option<String>,
    /// Version of the API that made it, for example `66.0`.
    pub(crate) version: String,
    pub(crate) created_by: String,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    pub(crate) closed_ms: i64,
    pub(crate) state: State,
    pub(crate) error: Option<String>,
    /// How many uploads were taken.
    pub(crate) uploads: usize,
    /// Their bodies as sent, until the work begins.
    pub(crate) contents: Vec<Bytes>,
    /// Their texts, from the beginning of the work on.
    pub(crate) texts: Vec<String>,
    /// Places of the rows: which text, where in it.
    pub(crate) rows: Vec<(usize, Range<usize>)>,
    pub(crate) header: Option<Header>,
    /// When the next step is due.
    pub(crate) due_ms: i64,
    /// The next row to be done.
    pub(crate) next: usize,
    pub(crate) retries: u32,
    pub(crate) troubles: Vec<JobTrouble>,
    pub(crate) successes: Vec<Success>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) unprocessed: Vec<usize>,
    /// Parents of the rows of the batch before, which runs beside this one, and of this batch.
    pub(crate) parents: [HashSet<String>; 2],
}

/// Which rows of a finished job a result has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultKind {
    Successful,
    Failed,
    Unprocessed,
}

impl Job {
    /// Takes an upload.
    pub(crate) fn take(&mut self, content: Bytes) {
        self.uploads += 1;
        self.contents.push(content);
    }

    pub(crate) fn record(&self, row: usize) -> Record<'_> {
        csv::cells(self.line(row), self.delimiter.1)
    }

    pub(crate) fn line(&self, row: usize) -> &str {
        let (text, range) = &self.rows[row];
        &self.texts[*text][range.clone()]
    }

    /// What the creation and changes of the state answer.
    pub(crate) fn brief(&self) -> Value {
        let mut body = json!({
            "id": self.id,
            "operation": self.operation.name(),
            "object": self.object_name,
            "createdById": self.created_by,
            "createdDate": shown_ms(self.created_ms),
            "systemModstamp": shown_ms(self.modified_ms),
            "state": self.state.name(),
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": self.version.parse::<f64>().unwrap_or_default(),
        });
        if let Some(key) = &self.key {
            body["externalIdFieldName"] = json!(&*key.name);
        }
        if let Some(rule) = &self.assignment_rule {
            body["assignmentRuleId"] = json!(rule);
        }
        body
    }

    /// As [`Job::brief`], with what describes the file.
    pub(crate) fn whole(&self) -> Value {
        let mut body = self.brief();
        body["lineEnding"] = json!(if self.ending == LineEnding::Lf { "LF" } else { "CRLF" });
        body["columnDelimiter"] = json!(self.delimiter.0);
        if self.state == State::Open {
            body["contentUrl"] = json!(format!("services/data/v{}/jobs/ingest/{}/batches", self.version, self.id));
        }
        body
    }

    /// As [`Job::whole`], for the list of jobs.
    pub(crate) fn listed(&self) -> Value {
        let mut body = self.whole();
        body["jobType"] = json!("V2Ingest");
        body
    }

    /// As [`Job::listed`], with the counters.
    pub(crate) fn info(&self) -> Value {
        let mut body = self.listed();
        let spent = if self.state == State::Open { 0 } else { (self.modified_ms - self.closed_ms).max(0) };
        body["numberRecordsProcessed"] = json!(self.successes.len() + self.failures.len());
        body["numberRecordsFailed"] = json!(self.failures.len());
        body["retries"] = json!(self.retries);
        body["totalProcessingTime"] = json!(if self.state.is_final() { spent } else { 0 });
        body["apiActiveProcessingTime"] = json!(spent);
        body["apexProcessingTime"] = json!(0);
        if let Some(error) = &self.error {
            body["errorMessage"] = json!(error);
        }
        body
    }

    pub(crate) fn result_len(&self, kind: ResultKind) -> usize {
        match kind {
            ResultKind::Successful => self.successes.len(),
            ResultKind::Failed => self.failures.len(),
            ResultKind::Unprocessed => self.unprocessed.len(),
        }
    }

    /// A page of a result. Own columns are quoted in the header, those of the file are not; values always are.
    pub(crate) fn result(&self, kind: ResultKind, page: Range<usize>) -> String {
        let delimiter = self.delimiter.1;
        let own: &[&str] = match kind {
            ResultKind::Successful => &["sf__Id", "sf__Created"],
            ResultKind::Failed => &["sf__Id", "sf__Error"],
            ResultKind::Unprocessed => &[],
        };
        let names = self.header.as_ref().map_or(&[][..], |header| &header.names);
        let quoted = own.iter().map(|name| format!("\"{name}\""));
        let head: Vec<String> = quoted.chain(names.iter().cloned()).collect();
        let mut out = head.join(&delimiter.to_string());
        out.push('\n');
        for entry in page {
            let (row, own) = match kind {
                ResultKind::Successful => {
                    let done = &self.successes[entry];
                    (done.row, vec![done.id.as_str(), if done.created { "true" } else { "false" }])
                }
                ResultKind::Failed => {
                    let failed = &self.failures[entry];
                    (failed.row, vec![failed.id.as_str(), failed.error.as_str()])
                }
                ResultKind::Unprocessed => (self.unprocessed[entry], Vec::new()),
            };
            let record = self.record(row);
            // A row with too few or too many cells is shown with as many as the header has.
            let cells = (0..names.len()).map(|i| record.cells.get(i).map_or("", AsRef::as_ref));
            for (i, cell) in own.into_iter().chain(cells).enumerate() {
                if i > 0 {
                    out.push(delimiter);
                }
                csv::quote(&mut out, cell);
            }
            out.push('\n');
        }
        out
    }
}

/// The jobs of an organization, with what limits them.
pub(crate) struct Jobs {
    pub(crate) all: BTreeMap<String, Job>,
    pub(crate) settings: BulkSettings,
    pub(crate) batches: Allowance,
    pub(crate) rows: Allowance,
    faults: Vec<JobFault>,
}

impl Jobs {
    pub(crate) fn new(settings: &BulkSettings, faults: &[JobFault]) -> Self {
        Self {
            all: BTreeMap::new(),
            settings: settings.clone(),
            batches: Allowance::new(settings.daily_batches),
            rows: Allowance::new(settings.daily_rows),
            faults: faults.to_vec(),
        }
    }

    pub(crate) fn arm(&mut self, fault: JobFault) {
        self.faults.push(fault);
    }

    pub(crate) fn disarm(&mut self) {
        self.faults.clear();
    }

    /// What goes wrong with a job of this object, which uses up one time of each fault.
    pub(crate) fn troubles(&mut self, object: &str) -> Vec<JobTrouble> {
        let mut troubles = Vec::new();
        for fault in &mut self.faults {
            let its = fault.object.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(object));
            if its && fault.times != Some(0) {
                fault.times = fault.times.map(|left| left - 1);
                troubles.push(fault.trouble.clone());
            }
        }
        troubles
    }
}

/// A job as it is, without what is in its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BulkJob {
    /// Id of 18 characters.
    pub id: String,
    /// Name of the object.
    pub object: String,
    /// `insert`, `update`, `upsert`, `delete` or `hardDelete`.
    pub operation: String,
    /// `Open`, `UploadComplete`, `InProgress`, `JobComplete`, `Failed` or `Aborted`.
    pub state: String,
    /// Uploads taken: more than one doubles rows.
    pub uploads: usize,
    /// Rows of the file, once the work has begun.
    pub rows: usize,
    /// Rows done.
    pub succeeded: usize,
    /// Rows that failed.
    pub failed: usize,
    /// Rows that a failed or aborted job left.
    pub unprocessed: usize,
    /// Further attempts at batches.
    pub retries: u32,
    /// Why the job failed as a whole.
    pub error_message: Option<String>,
}

impl BulkJob {
    fn of(job: &Job) -> Self {
        Self {
            id: job.id.clone(),
            object: job.object_name.clone(),
            operation: job.operation.name().to_owned(),
            state: job.state.name().to_owned(),
            uploads: job.uploads,
            rows: job.rows.len(),
            succeeded: job.successes.len(),
            failed: job.failures.len(),
            unprocessed: job.unprocessed.len(),
            retries: job.retries,
            error_message: job.error.clone(),
        }
    }

    /// All jobs that are kept, oldest first.
    pub(crate) fn all(org: &Org) -> Vec<Self> {
        org.jobs.all.values().map(Self::of).collect()
    }
}
