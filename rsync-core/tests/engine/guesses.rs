//! Somebody who has the state, this library and a list of addresses, but not the hash key.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher as _;

use rsync_core::arrow::array::RecordBatch;
use rsync_core::state::codec::Intent;
use rsync_core::state::{StateStore as _, Table};
use rsync_core::{EmbeddedStore, HashKey, MemoryStore};

use crate::support::{Parts, batch, key};

/// Addresses that are known, of which the first few are in the state.
const KNOWN: usize = 20_000;
const IN_STATE: usize = 300;

fn addresses(from: usize, to: usize) -> RecordBatch {
    let addresses: Vec<String> = (from..to).map(|n| format!("person.{n}@example.com")).collect();
    batch(&addresses.iter().map(|address| (address.as_str(), Some("Ada"), Some("pro"))).collect::<Vec<_>>())
}

/// The hashes that a sync of these addresses keeps under a guessed key: its own state says.
async fn hashes(from: usize, to: usize, guess: HashKey) -> HashSet<[u8; 8]> {
    let parts = Parts::of(addresses(from, to));
    let store = MemoryStore::new();
    let sync = parts.builder().state(store.clone(), guess).build().unwrap();
    assert_eq!(sync.run().await.unwrap().totals.written as usize, to - from);
    let session = store.acquire(sync.sync()).await.unwrap();
    let mut found = HashSet::new();
    for table in [Table::Intents, Table::Keys] {
        for (_, record) in session.scan(table, &[], usize::MAX).await.unwrap() {
            if table == Table::Intents {
                let keys = Intent::decode(&record).unwrap().keys;
                found.extend(keys.iter().filter_map(|key| key.to_le_bytes().first_chunk().copied()));
            }
        }
    }
    assert_eq!(found.len(), to - from, "one hash an address");
    found
}

#[tokio::test]
async fn s15_a_list_of_addresses_finds_nothing_in_a_state_without_its_key() {
    let known = std::env::var("RSYNC_GUESSES").map_or(KNOWN, |known| known.parse().expect("a number of addresses"));
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::of(addresses(0, IN_STATE));
    let store = EmbeddedStore::new(folder.path()).unwrap();
    let sync = parts.builder().state(store.clone(), key()).build().unwrap();
    assert_eq!(sync.run().await.unwrap().totals.written as usize, IN_STATE);
    let bytes = fs::read(store.path(sync.sync())).unwrap();
    let stored: HashSet<[u8; 8]> = bytes.windows(8).filter_map(|window| window.first_chunk().copied()).collect();

    // With the key the attack works, so it would show.
    let hits = hashes(0, IN_STATE, key()).await.intersection(&stored).count();
    assert_eq!(hits, IN_STATE, "the attack does not see what is there");

    for guess in [[0; 16], [0xff; 16], *b"a test's own kez"] {
        // In pieces, so that a journal is not flushed to segments.
        for from in (0..known).step_by(10_000) {
            let guessed = hashes(from, known.min(from + 10_000), HashKey::from_bytes(guess)).await;
            assert_eq!(guessed.intersection(&stored).count(), 0, "addresses are found under the key {guess:?}");
        }
    }
    for n in 0..known {
        let address = format!("person.{n}@example.com");
        let mut plain = DefaultHasher::new();
        plain.write(address.as_bytes());
        let two = [plain.finish(), xxhash_rust::xxh3::xxh3_64(address.as_bytes())];
        let wide = xxhash_rust::xxh3::xxh3_128(address.as_bytes());
        let guesses = two.into_iter().chain([wide as u64, (wide >> 64) as u64]);
        for guess in guesses.flat_map(|guess| [guess.to_le_bytes(), guess.to_be_bytes()]) {
            assert!(!stored.contains(&guess), "a plain hash of address {n} is in the state");
        }
    }
}
