//! Which keys are being written at this moment.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Keys of writes in flight. Clones share the state.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeysInFlight {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    holders: HashMap<String, usize>,
    overlaps: u64,
}

impl KeysInFlight {
    /// Takes keys until the guard goes. The guard knows whether another write held one of them already.
    pub(crate) fn take(&self, keys: BTreeSet<String>) -> KeyGuard {
        let mut state = self.lock();
        let mut contended = false;
        for key in &keys {
            let holders = state.holders.entry(key.clone()).or_insert(0);
            contended |= *holders > 0;
            *holders += 1;
        }
        state.overlaps += u64::from(contended);
        KeyGuard { keys, contended, in_flight: self.clone() }
    }

    /// How often a write arrived while another one held one of its keys.
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

/// Keys held by one write.
#[derive(Debug)]
pub(crate) struct KeyGuard {
    keys: BTreeSet<String>,
    pub(crate) contended: bool,
    in_flight: KeysInFlight,
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        let mut state = self.in_flight.lock();
        for key in &self.keys {
            if let Some(holders) = state.holders.get_mut(key) {
                *holders -= 1;
                if *holders == 0 {
                    state.holders.remove(key);
                }
            }
        }
    }
}

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
