//! The answer to a batch write to one outcome a row. Pure.
//!
//! A row is written if a result proves it: by trace id or by key, never by position. A row that the answer says
//! nothing about is unknown.

use std::collections::HashMap;

use rsync_core::capability::Operation;
use rsync_core::ids::{FieldName, RemoteId};
use rsync_core::outcome::{Effect, RowOutcome};
use rsync_http::json::read;

use crate::classify::{at_fault, is_code, remedy};
use crate::encode::{LIFECYCLE_STAGE, Sent};
use crate::object::{ADDITIONAL_EMAILS, Fold, KeyKind};
use crate::wire::{BatchAnswer, Fault, Record};

/// What is known of the request.
pub(crate) struct Question<'a> {
    pub(crate) operation: Operation,
    pub(crate) key_kind: KeyKind,
    pub(crate) fold: Fold,
    /// The key property.
    pub(crate) match_on: &'a str,
    /// The rows sent.
    pub(crate) sent: &'a [Sent],
    /// Whether a name is one of the fields sent.
    pub(crate) is_field: &'a dyn Fn(&str) -> bool,
}

/// What the answer says.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// One outcome for each row sent, in the order of [`Question::sent`].
    pub(crate) outcomes: Vec<RowOutcome>,
    /// Statements about no row of the request.
    pub(crate) stray: usize,
    /// Rows that the answer says nothing reliable about.
    pub(crate) unknown: usize,
}

/// Why a body is no answer to a batch write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not the JSON of a batch answer.
    Shape,
    /// An error body under a status that means success.
    ErrorBody,
}

impl Unreadable {
    pub(crate) fn message(self) -> &'static str {
        match self {
            Unreadable::Shape => "the answer is not that of a batch call",
            Unreadable::ErrorBody => "the service reports an error under a status that means success",
        }
    }
}

/// Reads the body of a 2xx answer.
pub(crate) fn decode(question: &Question<'_>, body: &[u8]) -> Result<Decoded, Unreadable> {
    let answer: BatchAnswer<'_> = read(body).ok_or(Unreadable::Shape)?;
    if answer.status.as_str() == Some("error") {
        return Err(Unreadable::ErrorBody);
    }
    let results = answer.results.as_deref().ok_or(Unreadable::Shape)?;
    let mut rows = Rows::new(question);
    for record in results {
        rows.result(record);
    }
    for fault in answer.faults() {
        rows.fault(fault);
    }
    let mut outcomes: Vec<RowOutcome> =
        rows.outcomes.into_iter().map(|outcome| outcome.unwrap_or(RowOutcome::Unknown)).collect();
    if !answer.is_complete() {
        // Cancelled or still at work: what is listed may not be what remains.
        for outcome in &mut outcomes {
            if matches!(outcome, RowOutcome::Written { .. }) {
                *outcome = RowOutcome::Unknown;
            }
        }
    }
    // More errors than are listed concern rows that have no outcome, and count as unknown already.
    let hidden = answer.num_errors.unwrap_or(0).saturating_sub(answer.faults().len() as u64);
    let unknown = outcomes.iter().filter(|outcome| **outcome == RowOutcome::Unknown).count();
    Ok(Decoded { outcomes, stray: rows.stray + usize::try_from(hidden).unwrap_or(usize::MAX), unknown })
}

struct Rows<'q> {
    question: &'q Question<'q>,
    by_key: HashMap<&'q str, usize>,
    by_trace: HashMap<String, usize>,
    outcomes: Vec<Option<RowOutcome>>,
    stray: usize,
}

impl<'q> Rows<'q> {
    fn new(question: &'q Question<'q>) -> Self {
        let sent = question.sent;
        Self {
            question,
            by_key: sent.iter().enumerate().map(|(i, sent)| (sent.key.as_str(), i)).collect(),
            by_trace: sent.iter().enumerate().map(|(i, sent)| (sent.row.to_string(), i)).collect(),
            outcomes: vec![None; sent.len()],
            stray: 0,
        }
    }

    /// Adds a statement about a row. Of several, the worst counts; two different records for one row prove nothing.
    fn say(&mut self, index: usize, outcome: RowOutcome) {
        let said = match self.outcomes[index].take() {
            None => outcome,
            Some(before) if before == outcome => outcome,
            Some(RowOutcome::Written { .. }) if matches!(outcome, RowOutcome::Written { .. }) => RowOutcome::Unknown,
            Some(before) => before.worst(outcome),
        };
        self.outcomes[index] = Some(said);
    }

    fn row_of_key(&self, key: &str) -> Option<usize> {
        self.by_key.get(self.question.fold.fold(key).as_str()).copied()
    }

    fn result(&mut self, record: &Record<'_>) {
        let question = self.question;
        let traced = record.object_write_trace_id.as_str().map(|trace| self.by_trace.get(trace).copied());
        let keyed = match question.key_kind {
            KeyKind::RecordId => record.id().and_then(|id| self.row_of_key(id)),
            KeyKind::Property => record.property(question.match_on).and_then(|key| self.row_of_key(key)),
            // An alias of a contact finds the contact, whose address stays another one.
            KeyKind::Email => record
                .property(question.match_on)
                .into_iter()
                .chain(record.property(ADDITIONAL_EMAILS).into_iter().flat_map(|list| list.split(';')))
                .find_map(|key| self.row_of_key(key)),
        };
        let index = match (traced, keyed) {
            (None, Some(index)) | (Some(Some(index)), None) => index,
            (Some(Some(traced)), Some(keyed)) if traced == keyed => traced,
            // Nothing points to a row, or two things to two rows.
            _ => {
                self.stray += 1;
                return;
            }
        };
        let Some(id) = record.id() else {
            self.say(index, RowOutcome::Unknown);
            return;
        };
        if let Some(stage) = &question.sent[index].stage
            && record.property(LIFECYCLE_STAGE).is_some_and(|kept| kept != stage)
        {
            let field = Some(FieldName::new(LIFECYCLE_STAGE));
            self.say(index, RowOutcome::rejected("NOT_APPLIED", field, remedy("NOT_APPLIED")));
            return;
        }
        let effect = match (question.operation, record.new.as_str()) {
            (Operation::Create, _) | (Operation::Upsert, Some("true")) => Effect::Created,
            (Operation::Update, _) | (Operation::Upsert, Some("false")) => Effect::Updated,
            _ => Effect::Unspecified,
        };
        self.say(index, RowOutcome::written(effect, Some(RemoteId::new(id))));
    }

    fn fault(&mut self, fault: &Fault<'_>) {
        let outcome = row_outcome(fault, self.question);
        let traces = fault.context("objectWriteTraceId");
        let rows: Vec<Option<usize>> = if traces.is_empty() {
            let ids = ["ids", "id"].into_iter().flat_map(|name| fault.context(name));
            ids.map(|id| self.row_of_key(id)).collect()
        } else {
            traces.iter().map(|trace| self.by_trace.get(trace.as_ref()).copied()).collect()
        };
        if rows.is_empty() {
            self.stray += 1;
        }
        for row in rows {
            match row {
                Some(index) => self.say(index, outcome.clone()),
                None => self.stray += 1,
            }
        }
    }
}

/// What an entry of `errors` means for its row.
fn row_outcome(fault: &Fault<'_>, question: &Question<'_>) -> RowOutcome {
    let category = fault.category.as_str().filter(|category| is_code(category));
    match category {
        Some("RATE_LIMITS") => RowOutcome::Retryable { code: "RATE_LIMITS".to_owned(), after: None },
        // The service's own failure: it does not say what became of the row.
        Some("INTERNAL_ERROR" | "INTERNAL" | "SERVER_ERROR" | "SERVICE_UNAVAILABLE" | "TIMEOUT") => RowOutcome::Unknown,
        Some("OBJECT_NOT_FOUND") if question.operation == Operation::Update => RowOutcome::Missing,
        // Of a contact by its address, the record in the way has that address. By another property, it may be in the
        // way with any unique value of the row.
        Some("CONFLICT") if (question.operation, question.key_kind) == (Operation::Create, KeyKind::Email) => {
            RowOutcome::Exists
        }
        _ => {
            let at_fault = at_fault(fault, question.is_field);
            let code =
                at_fault.code.or_else(|| category.map(str::to_owned)).unwrap_or_else(|| "UNSPECIFIED".to_owned());
            let remedy = remedy(&code);
            RowOutcome::rejected(code, at_fault.property.map(FieldName::from), remedy)
        }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
