//! The memory of the planted defect `StaleReplay`: failed rows as they were sent.

use std::cell::RefCell;
use std::collections::HashMap;

use super::flight::{Flight, Settled};
use crate::plan::Work;

thread_local! {
    /// By key, and the planting that they belong to.
    static FAILED: RefCell<(u64, HashMap<u128, Work>)> = RefCell::default();
}

fn with<R>(f: impl FnOnce(&mut HashMap<u128, Work>) -> R) -> R {
    FAILED.with_borrow_mut(|(planting, failed)| {
        if *planting != crate::defects::planting() {
            *planting = crate::defects::planting();
            failed.clear();
        }
        f(failed)
    })
}

/// Keeps the failed rows of a batch, and forgets those that were written.
pub(super) fn keep(flight: &Flight) {
    with(|failed| {
        for (row, settled) in flight.settled.iter().enumerate() {
            let key = flight.work.keys[row];
            match settled {
                Some(Settled::Failed { .. }) => {
                    let work = flight.work.take(&[row as u32]);
                    failed.extend(work.ok().map(|work| (key, work)));
                }
                _ => {
                    failed.remove(&key);
                }
            }
        }
    });
}

/// Rows of `work` that failed before, with the values they had then.
pub(super) fn replay(work: Work) -> Work {
    with(|failed| {
        if !work.keys.iter().any(|key| failed.contains_key(key)) {
            return work;
        }
        let row = |row: usize| match failed.get(&work.keys[row]) {
            Some(old) => Ok(old.clone()),
            None => work.take(&[row as u32]),
        };
        let pieces: Option<Vec<Work>> = (0..work.len()).map(|at| row(at).ok()).collect();
        match pieces.and_then(|pieces| Work::concat(&pieces).ok()) {
            Some(old) => Work { rows: old.rows, ..work },
            None => work,
        }
    })
}
