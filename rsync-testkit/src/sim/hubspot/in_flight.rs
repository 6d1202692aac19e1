//! The keys that a batch write names, in a form that can be compared.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
struct Inputs {
    #[serde(default)]
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    id: Option<String>,
    id_property: Option<String>,
    properties: Option<Properties>,
}

#[derive(Deserialize)]
struct Properties {
    email: Option<String>,
    #[serde(flatten)]
    _rest: HashMap<String, IgnoredAny>,
}

/// The keys that a batch write names. A body that cannot be read names none: its endpoint will refuse it.
pub(crate) fn keys_of_batch(object: &str, body: &[u8]) -> BTreeSet<String> {
    let Ok(batch) = serde_json::from_slice::<Inputs>(body) else { return BTreeSet::new() };
    let mut keys = BTreeSet::new();
    for input in batch.inputs {
        if let Some(id) = input.id {
            keys.insert(key(object, input.id_property.as_deref(), &id));
        } else if let Some(email) = input.properties.and_then(|p| p.email) {
            keys.insert(key(object, Some("email"), &email));
        }
    }
    keys
}

/// The comparable form of a key. Letter case is ignored throughout: a false alarm beats a missed overlap.
pub(crate) fn key(object: &str, property: Option<&str>, id: &str) -> String {
    format!("{object}\u{0}{}\u{0}{}", property.unwrap_or("hs_object_id"), id.trim().to_lowercase())
}
