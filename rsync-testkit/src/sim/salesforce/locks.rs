//! Records that requests in flight are writing, with their parents: the service locks both.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::Method;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::composite;
use super::field::Kind;
use super::id;
use super::org::Org;
use super::routes::segments;
use super::write::Properties;

/// Locks in force. Clones share the state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locks {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    holders: HashMap<String, usize>,
    in_flight: usize,
    overlaps: u64,
}

impl Locks {
    /// Takes the locks of a request, given row by row, until the guard goes.
    pub(crate) fn take(&self, rows: &[BTreeSet<String>]) -> LockGuard {
        let mut state = self.lock();
        let held = |row: &BTreeSet<String>| row.iter().any(|lock| state.holders.contains_key(lock));
        let contended: BTreeSet<usize> = rows.iter().enumerate().filter(|(_, row)| held(row)).map(|(i, _)| i).collect();
        let taken: BTreeSet<String> = rows.iter().flatten().cloned().collect();
        for lock in &taken {
            *state.holders.entry(lock.clone()).or_insert(0) += 1;
        }
        state.overlaps += u64::from(!contended.is_empty());
        state.in_flight += 1;
        LockGuard { locks: self.clone(), taken, contended, in_flight: state.in_flight }
    }

    /// How often a request arrived while another one held one of its locks.
    pub(crate) fn overlaps(&self) -> u64 {
        self.lock().overlaps
    }

    pub(crate) fn reset(&self) {
        self.lock().overlaps = 0;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks of one request.
#[derive(Debug)]
pub(crate) struct LockGuard {
    locks: Locks,
    taken: BTreeSet<String>,
    /// Rows of the request that met a lock of another one.
    pub(crate) contended: BTreeSet<usize>,
    /// Requests in flight when it arrived, itself included.
    pub(crate) in_flight: usize,
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let mut state = self.locks.lock();
        state.in_flight -= 1;
        for lock in &self.taken {
            if let Some(holders) = state.holders.get_mut(lock) {
                *holders -= 1;
                if *holders == 0 {
                    state.holders.remove(lock);
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct Collection<'a> {
    #[serde(borrow, default)]
    records: Vec<&'a RawValue>,
}

/// The locks that each row of a request needs. A request that cannot be read needs none: its endpoint refuses it.
pub(crate) fn of_request(org: &Org, method: &Method, path: &str, query: &str, body: &[u8]) -> Vec<BTreeSet<String>> {
    let path = segments(path);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let ["services", "data", _, rest @ ..] = path.as_slice() else { return Vec::new() };
    if *method == Method::GET {
        return Vec::new();
    }
    let single = || std::str::from_utf8(body).ok().and_then(|body| serde_json::from_str::<Properties<'_>>(body).ok());
    match rest {
        ["composite"] | ["composite", "batch"] => {
            let subrequests = composite::subrequests(std::str::from_utf8(body).unwrap_or_default());
            let rows = subrequests.into_iter().flat_map(|(method, url, body)| {
                let (path, query) = url.split_once('?').unwrap_or((&url, ""));
                // Requests made of requests hold no further ones.
                let nested = path.trim_end_matches('/').ends_with("/composite") || path.contains("/composite/batch");
                if nested { Vec::new() } else { of_request(org, &method, path, query, body.as_bytes()) }
            });
            rows.collect()
        }
        ["composite", "sobjects"] if *method == Method::DELETE => {
            let ids = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "ids");
            let ids = ids.map(|(_, ids)| ids.into_owned()).unwrap_or_default();
            ids.split(',').filter_map(id::canonical).map(|id| BTreeSet::from([id])).collect()
        }
        ["composite", "sobjects", key @ ..] => {
            let collection = std::str::from_utf8(body).ok().and_then(|body| serde_json::from_str(body).ok());
            let Collection { records } = collection.unwrap_or(Collection { records: Vec::new() });
            let key = key.get(1).copied();
            let row = |raw: &&RawValue| {
                let properties: Properties<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
                let kind = properties.get("attributes").and_then(|raw| {
                    serde_json::from_str::<Value>(raw.get()).ok()?.get("type")?.as_str().map(str::to_owned)
                });
                kind.map(|kind| of_row(org, &kind, key, &properties)).unwrap_or_default()
            };
            records.iter().map(row).collect()
        }
        ["sobjects", object] => vec![of_row(org, object, None, &single().unwrap_or_default())],
        ["sobjects", object, given] => {
            let mut locks = of_row(org, object, None, &single().unwrap_or_default());
            locks.extend(id::canonical(given));
            vec![locks]
        }
        ["sobjects", object, key, value] => {
            let mut locks = of_row(org, object, None, &single().unwrap_or_default());
            locks.extend(of_key(org, object, key, value));
            vec![locks]
        }
        _ => Vec::new(),
    }
}

/// Locks of one row: the record it names, and the parents it points to.
fn of_row(org: &Org, object: &str, key: Option<&str>, properties: &Properties<'_>) -> BTreeSet<String> {
    let Some(kind) = org.object(object).map(|position| &org.objects[position]) else { return BTreeSet::new() };
    let mut locks = BTreeSet::new();
    for (name, raw) in properties {
        let Ok(value) = serde_json::from_str::<Value>(raw.get()) else { continue };
        let text = value.as_str().unwrap_or_default();
        if name.eq_ignore_ascii_case("id") {
            locks.extend(id::canonical(text));
        } else if key.is_some_and(|key| key.eq_ignore_ascii_case(name)) {
            locks.extend(of_key(org, object, name, text));
        } else if kind.field(name).is_some_and(|field| field.kind == Kind::Reference && &*field.name != "OwnerId") {
            locks.extend(id::canonical(text));
        } else if let (Some(hop), Some(nested)) = (kind.relationship(name), value.as_object()) {
            for (name, value) in nested.iter().filter(|(name, _)| *name != "attributes" && &*hop.name != "OwnerId") {
                let parents = hop.reference_to.iter();
                locks.extend(parents.filter_map(|parent| of_key(org, parent, name, value.as_str()?)));
            }
        }
    }
    locks
}

/// The lock of the record with a key: its id, or the key itself while there is no such record.
fn of_key(org: &Org, object: &str, key: &str, value: &str) -> Option<String> {
    let kind = &org.objects[org.object(object)?];
    let field = kind.field(key)?;
    if value.is_empty() {
        return None;
    }
    let holder = kind.records.holders(field, value).first().map(|row| row.id.clone());
    Some(holder.unwrap_or_else(|| format!("{}\u{0}{}\u{0}{}", kind.name, field.name, field.folded(value))))
}
