//! Members of manual segments: rows to the body of a call. Pure.

use rsync_core::destination::WriteBatch;
use rsync_core::error::Result;
use rsync_core::ids::FieldName;
use rsync_core::outcome::RowOutcome;
use rsync_core::record::Cell;

use crate::encode::{Encoded, put};
use crate::person::Identifier;
use crate::value::{Unsendable, identifier, push_text};

/// Most people of one call.
pub(crate) const PEOPLE_MAX: usize = 1_000;

/// Encodes the people of a batch.
///
/// # Errors
///
/// As [`Identifier::of_target`].
pub(crate) fn encode(batch: &WriteBatch) -> Result<Encoded> {
    let kind = Identifier::of_target(&batch.target)?;
    let column = batch.rows.column_of(kind.name());
    let mut encoded = Encoded { body: Vec::new(), sent: Vec::with_capacity(batch.len()), refused: Vec::new() };
    put(br#"{"ids":["#, &mut encoded.body);
    for row in 0..batch.len() {
        let id = match column.as_ref().map(|column| column.cell(row)) {
            Some(Cell::Set(value)) => identifier(kind, &value),
            _ => Err(Unsendable::IdentifierEmpty),
        };
        match id {
            Ok(id) => {
                if !encoded.sent.is_empty() {
                    encoded.body.push(b',');
                }
                push_text(&id, &mut encoded.body);
                encoded.sent.push(row);
            }
            Err(reason) => {
                let field = Some(FieldName::new(kind.name()));
                encoded.refused.push((row, RowOutcome::rejected(reason.code(), field, reason.remedy())));
            }
        }
    }
    put(b"]}", &mut encoded.body);
    Ok(encoded)
}
