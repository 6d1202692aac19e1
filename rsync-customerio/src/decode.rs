//! The answer to a batch to one outcome a row. Pure.
//!
//! The service lists the items that it refuses, by their position; it takes all others. It only queues them, so no row
//! is more than accepted.

use rsync_core::ids::FieldName;
use rsync_core::outcome::{Applied, Effect, RowOutcome};
use rsync_http::json::read;

use crate::wire::{BatchAnswer, ItemError};

/// The status under which a batch answer names at least one refused item.
const MULTI_STATUS: u16 = 207;

/// Why a body is no answer to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not the JSON of a batch answer.
    Shape,
    /// An error that belongs to no item.
    Index,
    /// The status says that there are errors, and the body lists none.
    NoErrors,
}

impl Unreadable {
    pub(crate) fn message(self) -> &'static str {
        match self {
            Unreadable::Shape => "the answer is not that of a batch call",
            Unreadable::Index => "the answer names an item that was not sent, or none",
            Unreadable::NoErrors => "the answer says that items were refused, and does not say which",
        }
    }
}

/// Reads the body of a 2xx answer to a batch of `items`. `field_of` finds the field of the batch that the service's
/// path leads to.
pub(crate) fn decode(
    status: u16,
    body: &[u8],
    items: usize,
    field_of: &dyn Fn(&str) -> Option<FieldName>,
) -> Result<Vec<RowOutcome>, Unreadable> {
    let accepted = RowOutcome::Written { remote_id: None, effect: Effect::Unspecified, applied: Applied::Accepted };
    let mut outcomes = vec![accepted; items];
    // The service's own clients take a success without a body for one.
    let answer: BatchAnswer<'_> =
        if body.is_empty() { BatchAnswer::default() } else { read(body).ok_or(Unreadable::Shape)? };
    let errors = answer.errors.unwrap_or_default();
    if status == MULTI_STATUS && errors.is_empty() {
        return Err(Unreadable::NoErrors);
    }
    for error in &errors {
        let index = match error.batch_index {
            Some(index) => usize::try_from(index).unwrap_or(usize::MAX),
            // With one item there is no doubt whose error it is.
            None if items == 1 => 0,
            None => return Err(Unreadable::Index),
        };
        let outcome = outcomes.get_mut(index).ok_or(Unreadable::Index)?;
        let field = field_at_fault(error, field_of);
        match outcome {
            // An item can have several errors; the first that names a field is worth most.
            RowOutcome::Rejected { field: Some(_), .. } => {}
            _ => *outcome = RowOutcome::rejected(code(error), field, REMEDY),
        }
    }
    Ok(outcomes)
}

pub(crate) const REMEDY: &str = "Customer.io refuses the value of this field, or the person's identifier: mend it in the model, \
     or take the field out of the mapping";

/// The service's code for an error. Codes that are not known to be such could quote a value.
pub(crate) fn code(error: &ItemError<'_>) -> &'static str {
    match error.reason.as_str() {
        Some("invalid") => "invalid",
        _ => "refused",
    }
}

/// The field of the batch that an error is about.
pub(crate) fn field_at_fault(error: &ItemError<'_>, field_of: &dyn Fn(&str) -> Option<FieldName>) -> Option<FieldName> {
    let path = error.field.as_str()?;
    let name = ["attributes.", "identifiers."].iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or(path);
    field_of(name)
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
