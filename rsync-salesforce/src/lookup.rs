//! Reading records by key: queries, and answers as typed columns. Pure.

use std::collections::{HashMap, HashSet};

use rsync_core::destination::{Found, LookupRequest, Match};
use rsync_core::error::{Error, Kind, Result, Retry};
use rsync_core::ids::{FieldName, RemoteId};
use rsync_core::record::{Cell as Key, FieldType};

use crate::object::{Fold, Object, RECORD_ID};
use crate::record_id;
use crate::schema::{Field, Form, Parent, Schema};
use crate::soql;
use crate::value::{read_value, write_value};
use crate::wire::{self, Cell};

/// The keys of a request, folded, and what has been found for them.
#[derive(Debug)]
pub(crate) struct Lookup {
    fold: Fold,
    match_on: String,
    queries: Vec<String>,
    /// The rows of the request that each folded key stands for.
    rows_of: HashMap<String, Vec<usize>>,
    fields: Vec<(FieldName, FieldType)>,
    /// For each requested field the other record that it is read from, if it is.
    parents: Vec<Option<Parent>>,
    matches: Vec<Match>,
    /// For each requested field the texts of `matches`.
    texts: Vec<Vec<Option<String>>>,
    seen: HashSet<(usize, String)>,
    /// Records of the present query.
    read: u64,
}

/// What follows a page of a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Last,
    /// Another page, under this name.
    More(String),
}

impl Lookup {
    /// Takes the keys of a request. A key that no value of the field can be equal to has no record, and is not asked
    /// for.
    ///
    /// # Errors
    ///
    /// [`Kind::SchemaMismatch`] for fields that the object does not have, or too many of them; [`Kind::Internal`] if
    /// the keys are not those of the target, or one is null.
    pub(crate) fn new(object: &Object, schema: &Schema, request: &LookupRequest) -> Result<Self> {
        let match_on = request.target.match_on.as_str();
        let field = schema.known(object, match_on)?;
        let names = request.fields.iter().map(|(name, _)| readable(object, schema, name.as_str()));
        let names = names.collect::<Result<Vec<_>>>()?;
        let broken = |message| Err(Error::new(Kind::Internal, "read records", message).with_context("field", match_on));
        let Some(column) = request.keys.column_of(match_on) else {
            return broken("the keys are not of the key field");
        };
        let mut literals = Vec::with_capacity(request.keys.len());
        let mut rows_of: HashMap<String, Vec<usize>> = HashMap::with_capacity(request.keys.len());
        let fold = field.fold();
        for row in 0..request.keys.len() {
            let Key::Set(value) = column.cell(row) else { return broken("a key is null") };
            let mut text = String::new();
            let Ok(spelling) = write_value(Some(field), &value, &mut text) else { continue };
            if !can_be_stored(field, &text) {
                continue;
            }
            let rows = rows_of.entry(fold.fold(&text)).or_default();
            if rows.is_empty() {
                // Whether the service trims what it stores is not known, so both are asked for.
                let trimmed = text.trim();
                if trimmed != text && !field.case_sensitive {
                    literals.push(soql::literal(trimmed, spelling));
                }
                literals.push(soql::literal(&text, spelling));
            }
            rows.push(row);
        }
        let queries = soql::queries(object, field, &names, &literals).ok_or_else(|| {
            Error::new(Kind::Unsupported, "read records", "the fields are too many for one query")
                .with_context("fields", names.len())
                .with_remedy("read fewer fields at once")
        })?;
        Ok(Self {
            fold,
            match_on: match_on.to_owned(),
            queries,
            rows_of,
            texts: vec![Vec::new(); request.fields.len()],
            fields: request.fields.clone(),
            parents: names.iter().map(|name| schema.field(name).and_then(|field| field.parent.clone())).collect(),
            matches: Vec::new(),
            seen: HashSet::new(),
            read: 0,
        })
    }

    /// The queries to send, one after the other with all their pages.
    pub(crate) fn take_queries(&mut self) -> Vec<String> {
        std::mem::take(&mut self.queries)
    }

    /// Takes one page of an answer. Returns where the next one is.
    ///
    /// An answer that does not hold what it announces is no answer: "no record" would only mean "left out".
    pub(crate) fn take_page(&mut self, root: &str, body: &[u8]) -> Result<Page, &'static str> {
        let page = wire::Object::read(body).ok_or("the answer is not that of a query")?;
        let records = page.list("records").ok_or("the answer has no records")?;
        for record in &records {
            self.take_record(record)?;
        }
        self.read += records.len() as u64;
        match page.flag("done") {
            Some(true) => {
                if page.number("totalSize") != Some(std::mem::take(&mut self.read)) {
                    return Err("the answer has another number of records than it says");
                }
                Ok(Page::Last)
            }
            Some(false) => {
                let next = page.text("nextRecordsUrl").ok_or("the answer does not name its next page")?;
                Ok(Page::More(cursor(root, &next).ok_or("the next page is elsewhere")?.to_owned()))
            }
            None => Err("the answer does not say whether it is complete"),
        }
    }

    fn take_record(&mut self, record: &wire::Object<'_>) -> Result<(), &'static str> {
        let id = record.text(RECORD_ID).and_then(|id| record_id::canonical(&id)).ok_or("a record has no id")?;
        let key = record.text(&self.match_on).ok_or("a record has no key")?;
        // The service may compare more loosely than the field says, and then finds too much.
        let Some(rows) = self.rows_of.get(&self.fold.fold(&key)) else { return Ok(()) };
        for row in rows {
            // Two queries may find the same record.
            if !self.seen.insert((*row, id.clone())) {
                continue;
            }
            self.matches.push(Match { key: *row, id: RemoteId::new(id.as_str()) });
            for (((name, _), parent), texts) in self.fields.iter().zip(&self.parents).zip(&mut self.texts) {
                let cell = match parent {
                    None => record.value(name.as_str()),
                    Some(parent) => match record.value(&parent.relationship) {
                        Some(Cell::Nested) => record.object(&parent.relationship).and_then(|r| r.value(&parent.key)),
                        // The reference is empty.
                        other => other.filter(|cell| *cell == Cell::Null),
                    },
                };
                texts.push(match cell {
                    Some(Cell::Text(text)) => Some(text.into_owned()).filter(|text| !text.is_empty()),
                    Some(Cell::Null) => None,
                    Some(Cell::Nested) | None => return Err("a record lacks a field that was asked for"),
                });
            }
        }
        Ok(())
    }

    /// What was found, with the requested types.
    ///
    /// # Errors
    ///
    /// As [`Found::from_texts`].
    pub(crate) fn finish(self) -> Result<Found> {
        Found::from_texts(self.matches, &self.fields, &self.texts, read_value)
    }
}

/// The name of a field that holds one value.
fn readable<'a>(object: &Object, schema: &'a Schema, name: &str) -> Result<&'a str> {
    let field = schema.known(object, name)?;
    if field.form == Form::Other {
        return Err(Error::new(Kind::SchemaMismatch, "read records", "the field holds no single value")
            .with_context("field", name)
            .with_remedy("read the parts of a compound field, such as MailingCity"));
    }
    if field.parent.as_ref().is_some_and(|parent| parent.typed) {
        return Err(Error::new(Kind::SchemaMismatch, "read records", "the reference leads to several objects")
            .with_context("field", name)
            .with_remedy("read the id of the record that it leads to"));
    }
    Ok(&field.name)
}

/// The error for keys that match more records than are read.
pub(crate) fn too_many(match_on: &str, pages: usize) -> Error {
    Error::new(Kind::Unsupported, "read records", "the keys match more records than a lookup reads")
        .with_context("field", match_on)
        .with_context("pages", pages)
        .with_retry(Retry::Never)
        .with_remedy("match on a field with unique values")
}

/// Whether a record can have this key. A query with an id that is none fails as a whole.
fn can_be_stored(field: &Field, key: &str) -> bool {
    let short = |max: u64| key.len() as u64 <= max || key.trim().chars().count() as u64 <= max;
    match field.form {
        Form::Id => record_id::canonical(key).is_some(),
        _ => field.length.is_none_or(short),
    }
}

/// The name of a page in the address that an answer gives for it. An address elsewhere is none.
fn cursor<'a>(root: &str, next: &'a str) -> Option<&'a str> {
    let name = next.strip_prefix(root)?.strip_prefix("/query/")?;
    let plain = (1..=100).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plain.then_some(name)
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
