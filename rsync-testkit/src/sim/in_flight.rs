//! Which keys are being written at this moment.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
