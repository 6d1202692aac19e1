//! What a simulator was asked: method, path, status and row count. Bodies, header values and query strings are
//! never kept, so a journal can be printed in a test report.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Requests kept for inspection; older ones are dropped so that a long load test does not grow without bound.
const KEPT_REQUESTS: usize = 20_000;

/// One finished request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestEntry {
    /// Position among all requests, from 1.
    pub sequence: u64,
    /// HTTP method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Status sent; absent when the connection was cut or held without an answer.
    pub status: Option<u16>,
    /// Input rows of a batch request, if it was one that the service understood.
    pub rows: Option<usize>,
}

/// Row count of a batch request, left by a handler as a response extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRows(pub usize);

#[derive(Debug, Default)]
struct State {
    next_sequence: u64,
    entries: VecDeque<RequestEntry>,
    in_flight: usize,
    max_in_flight: usize,
}

/// Shared record of requests.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    state: Arc<Mutex<State>>,
}

impl Journal {
    /// The last requests, oldest first.
    pub fn entries(&self) -> Vec<RequestEntry> {
        self.lock().entries.iter().cloned().collect()
    }

    /// Requests that arrived since the last reset, whether answered or not.
    pub fn total(&self) -> u64 {
        self.lock().next_sequence
    }

    /// Most requests that were ever being worked on at the same time since the last reset.
    pub fn max_in_flight(&self) -> usize {
        self.lock().max_in_flight
    }

    /// Forgets everything but the requests in flight.
    pub fn reset(&self) {
        let mut state = self.lock();
        state.next_sequence = 0;
        state.entries.clear();
        state.max_in_flight = state.in_flight;
    }

    pub(crate) fn arrived(&self, method: &str, path: &str) -> Ticket {
        let mut state = self.lock();
        state.next_sequence += 1;
        state.in_flight += 1;
        state.max_in_flight = state.max_in_flight.max(state.in_flight);
        let entry = RequestEntry {
            sequence: state.next_sequence,
            method: method.to_owned(),
            path: path.to_owned(),
            status: None,
            rows: None,
        };
        Ticket { journal: self.clone(), entry: Some(entry) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in flight; it is written to the journal when the ticket goes, on whatever path that happens.
#[derive(Debug)]
pub(crate) struct Ticket {
    journal: Journal,
    entry: Option<RequestEntry>,
}

impl Ticket {
    pub(crate) fn answered(&mut self, status: u16) {
        if let Some(entry) = &mut self.entry {
            entry.status = Some(status);
        }
    }

    pub(crate) fn rows(&mut self, rows: usize) {
        if let Some(entry) = &mut self.entry {
            entry.rows = Some(rows);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.journal.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        if let Some(entry) = self.entry.take() {
            if state.entries.len() == KEPT_REQUESTS {
                state.entries.pop_front();
            }
            state.entries.push_back(entry);
        }
    }
}
