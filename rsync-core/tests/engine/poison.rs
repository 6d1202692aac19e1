//! Rows for which a destination without outcomes a row refuses the whole batch.

use std::collections::BTreeSet;

use rsync_core::capability::{Capability, Operation, OperationLimits, WriteIdempotence};
use rsync_core::clock::Randomness as _;
use rsync_core::memory::{MemoryDestination, SeededRandomness};
use rsync_core::outcome::RowOutcome;
use rsync_core::retry::RetryPolicy;
use rsync_core::{FieldType, MemoryStore};

use crate::support::{Parts, key, numbered};

const ROWS: usize = 200;

/// Syncs rows of which those at these positions are refused, with no retry allowed at all. Returns the calls.
async fn calls(parts: &Parts, poison: &BTreeSet<usize>) -> usize {
    let bad: BTreeSet<String> = poison.iter().map(|row| format!("k{row}")).collect();
    let refused = bad.clone();
    let capability = Capability::new()
        .with_operation(Operation::Upsert, OperationLimits::new(ROWS, WriteIdempotence::ByKey))
        .with_clears_fields()
        .with_keeps_absent_fields()
        .with_max_in_flight(4);
    let destination = MemoryDestination::new()
        .with_fields(&parts.target, [("name", FieldType::Text), ("tier", FieldType::Text)])
        .with_capability(capability)
        .with_rule(move |key, _| refused.contains(key).then(|| RowOutcome::rejected("bad_row", None, "mend it")));
    let none = RetryPolicy::default().with_max_attempts(1).with_budget(0.0, 0);
    let sync = || {
        let builder = parts.builder().destination(destination.clone(), parts.target.clone());
        builder.retry(none).state(parts.store.clone(), key()).build().unwrap()
    };
    let report = sync().run().await.unwrap();
    let made = destination.writes().len();
    let totals = report.totals;
    assert_eq!(
        (totals.written, totals.rejected),
        ((ROWS - bad.len()) as u64, bad.len() as u64),
        "{poison:?}: {report}"
    );
    assert_eq!((report.calls.retries, report.calls.writes as usize), (0, made), "{poison:?}");
    assert_eq!(report.calls.splits == 0, bad.is_empty(), "{poison:?}: nothing was split");
    let written: BTreeSet<String> = destination.records("people").into_keys().collect();
    assert_eq!(written.len(), ROWS - bad.len(), "{poison:?}");
    assert!(written.is_disjoint(&bad), "{poison:?}");
    if poison.first().is_none_or(|row| row.is_multiple_of(8)) {
        // They are parked: the next run sends nothing.
        assert_eq!(sync().run().await.unwrap().calls.writes, 0, "{poison:?}");
    }
    made
}

#[tokio::test]
async fn f40_one_bad_row_of_200_costs_at_most_17_calls_wherever_it_is() {
    let parts = Parts::of(numbered(ROWS, 1));
    let mut most = 0;
    for row in 0..ROWS {
        let parts = Parts { store: MemoryStore::new(), ..parts.clone() };
        most = most.max(calls(&parts, &BTreeSet::from([row])).await);
    }
    assert!((16..=17).contains(&most), "{most} calls");
    let parts = Parts { store: MemoryStore::new(), ..parts };
    assert_eq!(calls(&parts, &BTreeSet::new()).await, 1);
}

#[tokio::test]
async fn f40_bad_rows_cost_at_most_twice_the_height_of_the_tree_each() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("RSYNC_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("RSYNC_SEEDS").unwrap_or(20)).collect(),
    };
    let parts = Parts::of(numbered(ROWS, 1));
    for seed in seeds {
        let random = SeededRandomness::new(seed);
        // Ten anywhere, ten in a row, or any number: what is far apart costs most.
        for bad in [10, 10, 1 + (random.next_u64() % 30) as usize] {
            let close = random.next_u64().is_multiple_of(4);
            let first = random.next_u64() as usize;
            let mut poison = BTreeSet::new();
            while poison.len() < bad {
                let at = if close { first.wrapping_add(poison.len()) } else { random.next_u64() as usize };
                poison.insert(at % ROWS);
            }
            let parts = Parts { store: MemoryStore::new(), ..parts.clone() };
            let made = calls(&parts, &poison).await;
            assert!(made <= 2 * bad * 8 + 1, "RSYNC_SEED={seed}: {made} calls for {bad} bad rows at {poison:?}");
        }
    }
    // As far apart as ten can be.
    let parts = Parts { store: MemoryStore::new(), ..parts };
    let made = calls(&parts, &(0..10).map(|n| n * 20 + 7).collect()).await;
    assert!((60..=161).contains(&made), "{made} calls");
}
