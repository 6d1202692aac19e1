//! Records as they should be.

use std::collections::BTreeMap;

use rsync_core::state::{Mutation, Table};

use crate::sim::rng::Rng;

pub(super) type Records = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

pub(super) fn put(table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Mutation {
    Mutation::Put { table, key: key.into(), value: value.into() }
}

pub(super) fn delete(table: Table, key: impl Into<Vec<u8>>) -> Mutation {
    Mutation::Delete { table, key: key.into() }
}

/// What a commit does.
pub(super) fn apply(records: &mut Records, mutations: &[Mutation]) {
    for mutation in mutations {
        match mutation {
            Mutation::Put { table, key, value } => records.insert((*table, key.clone()), value.clone()),
            Mutation::Delete { table, key } => records.remove(&(*table, key.clone())),
            _ => None,
        };
    }
}

/// Records that tell which commit they are from: each commit rewrites, adds and removes some. The state after commit `n`
/// is known from `n` alone.
pub(super) mod numbered {
    use super::{Mutation, Records, Table, apply, delete, put};

    const KEYS: u64 = 40;

    pub(in crate::state) fn commit(n: u64) -> Vec<Mutation> {
        let mut mutations = Vec::new();
        for i in 0..KEYS {
            let table = Table::ALL[i as usize % Table::ALL.len()];
            let key = i.to_be_bytes().to_vec();
            match (i + n) % 5 {
                0 => mutations.push(delete(table, key)),
                _ => mutations.push(put(table, key, n.to_be_bytes().repeat(1 + (i as usize * 13) % 200))),
            }
        }
        mutations
    }

    pub(in crate::state) fn after(n: u64) -> Records {
        let mut records = Records::new();
        if n > 0 {
            apply(&mut records, &commit(n));
        }
        records
    }
}

/// Bytes that hardly compress: a page of no pattern, over and over, each time with another beginning.
pub(super) fn noise(rng: &mut Rng, length: usize) -> Vec<u8> {
    const PAGE: usize = 1 << 10;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length.min(PAGE) {
        bytes.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    while bytes.len() < length {
        let start = bytes.len();
        bytes.extend_from_slice(&rng.next_u64().to_le_bytes());
        bytes.extend_from_within(8..PAGE.min(8 + length.saturating_sub(start)));
    }
    bytes.truncate(length);
    bytes
}

pub(super) fn below(rng: &mut Rng, bound: usize) -> usize {
    (rng.next_u64() % bound.max(1) as u64) as usize
}

/// Keys that are hard to keep in order: prefixes of one another, with zeros and with the highest byte.
pub(super) fn hard_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
    for first in [0_u8, 1, 0x27, 0x5c, 0x7f, 0x80, 0xc3, 0xff] {
        keys.push(vec![first]);
        for second in [0_u8, 1, 0x7f, 0x80, 0xff] {
            keys.push(vec![first, second]);
            keys.push(vec![first, second, 0]);
        }
    }
    keys.push(b"a".to_vec());
    keys.push(b"ab".to_vec());
    keys.push(b"B".to_vec());
    keys.push(b"fields/".to_vec());
    keys.push("\u{e9}".as_bytes().to_vec());
    keys.push(vec![0xff; 64]);
    keys.push(vec![0; 64]);
    keys.push((0..=255).collect());
    keys
}
