//! Reading records by key: request bodies, and answers as typed columns. Pure.

use std::collections::{HashMap, HashSet};

use rsync_core::destination::{Found, LookupRequest, Match};
use rsync_core::error::{Error, Kind, Result, Retry};
use rsync_core::ids::{FieldName, RemoteId};
use rsync_core::record::{Cell, FieldType};
use rsync_http::json::read;

use crate::encode::{fold_of, push_json_string};
use crate::object::{ADDITIONAL_EMAILS, Fold, KeyKind, Object, RECORD_ID};
use crate::value::{read_value, write_value};
use crate::wire::{BatchAnswer, Record};

/// Longest body of a search.
const SEARCH_BODY_MAX: usize = 3_000;
/// Most values of one search.
const SEARCH_VALUES_MAX: usize = 100;
/// Most records of one page of a search.
const SEARCH_PAGE: usize = 200;
/// Most records that a search lists over all its pages.
pub(crate) const SEARCH_WINDOW: u64 = 10_000;

/// The keys of a request, folded, and what has been found for them.
pub(crate) struct Lookup {
    kind: KeyKind,
    fold: Fold,
    match_on: String,
    /// Key as sent; distinct after folding, in the order of the request.
    keys: Vec<String>,
    /// The rows of the request that each folded key stands for.
    rows_of: HashMap<String, Vec<usize>>,
    properties: Vec<String>,
    fields: Vec<(FieldName, FieldType)>,
    matches: Vec<Match>,
    /// For each requested field the texts of `matches`.
    texts: Vec<Vec<Option<String>>>,
    seen: HashSet<(usize, String)>,
}

impl Lookup {
    /// Takes the keys of a request. A key that cannot be written as a property value has no record, and is not
    /// asked for.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] if the keys are not those of the target, or one is null.
    pub(crate) fn new(object: &Object, request: &LookupRequest) -> Result<Self> {
        let match_on = request.target.match_on.as_str();
        let broken = |message| Err(Error::new(Kind::Internal, "read records", message).with_context("field", match_on));
        let Ok(index) = request.keys.schema().index_of(match_on) else {
            return broken("the keys are not of the key field");
        };
        let key_type = FieldType::from_arrow(request.keys.schema().field(index).data_type()).unwrap_or(FieldType::Text);
        let fold = fold_of(object, match_on, &key_type);
        let kind = KeyKind::of(object, match_on);
        let column = request.keys.column(index);
        let mut keys = Vec::with_capacity(request.keys.len());
        let mut rows_of: HashMap<String, Vec<usize>> = HashMap::with_capacity(request.keys.len());
        for row in 0..request.keys.len() {
            let Cell::Set(value) = column.cell(row) else { return broken("a key is null") };
            let mut text = String::new();
            if write_value(&value, &mut text).is_err() {
                continue;
            }
            let folded = fold.fold(&text);
            if folded.is_empty() {
                continue;
            }
            let rows = rows_of.entry(folded).or_default();
            if rows.is_empty() {
                keys.push(text);
            }
            rows.push(row);
        }
        let mut properties: Vec<String> = Vec::with_capacity(request.fields.len() + 2);
        let own = [Some(match_on), (kind == KeyKind::Email).then_some(ADDITIONAL_EMAILS)];
        let wanted = request.fields.iter().map(|(name, _)| name.as_str()).chain(own.into_iter().flatten());
        for name in wanted {
            if !properties.iter().any(|property| property == name) {
                properties.push(name.to_owned());
            }
        }
        Ok(Self {
            kind,
            fold,
            match_on: match_on.to_owned(),
            keys,
            rows_of,
            properties,
            texts: vec![Vec::new(); request.fields.len()],
            fields: request.fields.clone(),
            matches: Vec::new(),
            seen: HashSet::new(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The body of a batch read of all keys.
    pub(crate) fn batch_read_body(&self) -> Vec<u8> {
        let mut body = br#"{"inputs":["#.to_vec();
        push_list(&self.keys, &mut body, |key, body| {
            body.extend_from_slice(br#"{"id":"#);
            push_json_string(key, body);
            body.push(b'}');
        });
        body.extend_from_slice(br#"],"properties":["#);
        push_list(&self.properties, &mut body, push_json_string);
        body.push(b']');
        if self.kind != KeyKind::RecordId {
            body.extend_from_slice(br#","idProperty":"#);
            push_json_string(&self.match_on, &mut body);
        }
        body.push(b'}');
        body
    }

    /// Takes the answer to a batch read. Every key must be accounted for: as a record, or as not found. Otherwise
    /// "no record" would only mean "no answer".
    pub(crate) fn take_batch_read(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let answer: BatchAnswer<'_> = read(body).ok_or("the answer is not that of a batch read")?;
        let results = answer.results.as_deref().ok_or("the answer has no results")?;
        if !answer.is_complete() {
            return Err("the batch read is not complete");
        }
        let mut open: HashSet<String> = self.rows_of.keys().cloned().collect();
        for record in results {
            for key in self.keys_of(record) {
                open.remove(&key);
                self.take_record(&key, record)?;
            }
        }
        for fault in answer.faults() {
            if fault.category.as_str() != Some("OBJECT_NOT_FOUND") {
                return Err("the service could not read some records");
            }
            for id in ["ids", "id"].into_iter().flat_map(|name| fault.context(name)) {
                open.remove(&self.fold.fold(id));
            }
        }
        if open.is_empty() { Ok(()) } else { Err("the answer does not account for every key") }
    }

    /// The bodies of the searches that cover all keys, without the position of a page.
    pub(crate) fn searches(&self) -> Vec<Search> {
        let mut tail = br#"]}]}],"properties":["#.to_vec();
        push_list(&self.properties, &mut tail, push_json_string);
        tail.extend_from_slice(format!(r#"],"limit":{SEARCH_PAGE}"#).as_bytes());
        let mut head = br#"{"filterGroups":[{"filters":[{"propertyName":"#.to_vec();
        push_json_string(&self.match_on, &mut head);
        head.extend_from_slice(br#","operator":"IN","values":["#);

        // Room for `,"after":"10000"}`.
        let room = SEARCH_BODY_MAX.saturating_sub(head.len() + tail.len() + 20);
        let mut searches: Vec<(Vec<u8>, usize)> = Vec::new();
        for key in &self.keys {
            let mut value = Vec::new();
            // IN compares with the lower-case form only; what it finds too much is dropped by the exact key.
            push_json_string(&key.to_lowercase(), &mut value);
            match searches.last_mut() {
                Some((values, count)) if *count < SEARCH_VALUES_MAX && values.len() + 1 + value.len() <= room => {
                    values.push(b',');
                    values.append(&mut value);
                    *count += 1;
                }
                _ => searches.push((value, 1)),
            }
        }
        searches
            .into_iter()
            .map(|(values, _)| {
                let mut body = head.clone();
                body.extend_from_slice(&values);
                body.extend_from_slice(&tail);
                Search { body }
            })
            .collect()
    }

    /// Takes one page of a search. Returns where the next one starts.
    pub(crate) fn take_search(&mut self, body: &[u8]) -> Result<Page, &'static str> {
        let answer: BatchAnswer<'_> = read(body).ok_or("the answer is not that of a search")?;
        let results = answer.results.as_deref().ok_or("the answer has no results")?;
        for record in results {
            for key in self.keys_of(record) {
                self.take_record(&key, record)?;
            }
        }
        if answer.total.is_some_and(|total| total > SEARCH_WINDOW) {
            return Ok(Page::OverWindow);
        }
        match answer.paging.and_then(|paging| paging.0.next).and_then(|next| next.0.after.into_text()) {
            None => Ok(Page::Last),
            Some(after) if !after.is_empty() && after.len() <= 5 && after.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Page::More(after.into_owned()))
            }
            Some(_) => Err("the next page has no usable position"),
        }
    }

    /// The requested keys that `record` answers, folded.
    fn keys_of(&self, record: &Record<'_>) -> Vec<String> {
        let mut keys = Vec::new();
        let mut add = |key: &str| {
            let key = self.fold.fold(key);
            if self.rows_of.contains_key(&key) && !keys.contains(&key) {
                keys.push(key);
            }
        };
        match self.kind {
            KeyKind::RecordId => record.id().into_iter().for_each(&mut add),
            KeyKind::Property => record.property(&self.match_on).into_iter().for_each(&mut add),
            KeyKind::Email => {
                record.property(&self.match_on).into_iter().for_each(&mut add);
                record.property(ADDITIONAL_EMAILS).into_iter().flat_map(|list| list.split(';')).for_each(&mut add);
            }
        }
        keys
    }

    fn take_record(&mut self, key: &str, record: &Record<'_>) -> Result<(), &'static str> {
        let id = record.id().ok_or("a record has no id")?;
        let rows = self.rows_of.get(key).cloned().unwrap_or_default();
        for row in rows {
            // A page of a search can repeat a record of the page before.
            if !self.seen.insert((row, id.to_owned())) {
                continue;
            }
            self.matches.push(Match { key: row, id: RemoteId::new(id) });
            for ((name, _), texts) in self.fields.iter().zip(&mut self.texts) {
                let text = match name.as_str() {
                    RECORD_ID => Some(id),
                    name => record.property(name),
                };
                texts.push(text.filter(|text| !text.is_empty()).map(str::to_owned));
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

/// The search that covers some keys.
pub(crate) struct Search {
    body: Vec<u8>,
}

impl Search {
    /// The body for the page after `after`.
    pub(crate) fn page(&self, after: Option<&str>) -> Vec<u8> {
        let mut body = self.body.clone();
        if let Some(after) = after {
            body.extend_from_slice(br#","after":"#);
            push_json_string(after, &mut body);
        }
        body.push(b'}');
        body
    }
}

/// What follows a page of a search.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// Another page, from this position.
    More(String),
    /// Nothing.
    Last,
    /// More records than a search lists.
    OverWindow,
}

/// The error for keys that match more records than can be listed.
pub(crate) fn over_window(match_on: &str) -> Error {
    Error::new(Kind::Unsupported, "search records", "the keys match more records than a search lists")
        .with_context("field", match_on)
        .with_context("limit", SEARCH_WINDOW)
        .with_retry(Retry::Never)
        .with_remedy("match on a property with unique values")
}

fn push_list(items: &[String], body: &mut Vec<u8>, push: impl Fn(&str, &mut Vec<u8>)) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        push(item, body);
    }
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
