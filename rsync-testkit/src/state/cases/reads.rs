//! What `get` and `scan` return.

use rsync_core::state::Table;

use crate::sim::rng::Rng;
use crate::state::bench::Bench;
use crate::state::content::{below, hard_keys, put};
use crate::suite::{CaseResult, ensure};

pub(super) async fn fresh(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    let table = Table::Acks;
    for round in 0..10_u8 {
        session.put(table, b"k", &[round]).await?;
        ensure!(session.get(table, b"k").await? == Some(vec![round]), "`get` does not see the commit before");
        let found = session.scan(table, b"", 10).await?;
        ensure!(found == [(b"k".to_vec(), vec![round])], "`scan` does not see the commit before");
        session.delete(table, b"k").await?;
        ensure!(session.get(table, b"k").await?.is_none(), "`get` sees what was deleted");
        ensure!(session.scan(table, b"", 10).await?.is_empty(), "`scan` sees what was deleted");
    }
    Ok(None)
}

pub(super) async fn order(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    let table = Table::Keys;
    let mut keys = hard_keys();
    Rng::seeded(bench.seed).disorder(&mut keys);
    // In two commits and in neighbouring tables, so that neither the order of writing nor other tables help.
    let (first, second) = keys.split_at(keys.len() / 2);
    for part in [first, second] {
        let puts = part.iter().flat_map(|key| {
            [Table::Jobs, table, Table::Meta].map(|table| put(table, key.clone(), table.as_str().as_bytes()))
        });
        session.commit(puts.collect()).await?;
    }
    keys.sort();
    keys.dedup();
    let all = session.scan(table, b"", keys.len() + 10).await?;
    let found: Vec<_> = all.iter().map(|(key, _)| key.clone()).collect();
    ensure!(found == keys, "a scan from the beginning is not all keys in the order of their bytes");
    ensure!(all.iter().all(|(_, value)| value == b"keys"), "a scan shows values of another table");
    for (index, key) in keys.iter().enumerate() {
        let from = session.scan(table, key, keys.len()).await?;
        ensure!(
            from.iter().map(|(key, _)| key).eq(&keys[index..]),
            "a scan from a key that is there does not begin with it"
        );
        let mut behind = key.clone();
        behind.push(0);
        let expected = keys.iter().find(|other| **other >= behind);
        let next = session.scan(table, &behind, 1).await?;
        ensure!(next.first().map(|(key, _)| key) == expected, "a scan from behind a key does not begin with the next");
    }
    ensure!(session.scan(table, &[0xff; 80], 5).await?.is_empty(), "a scan from behind all keys finds something");
    Ok(None)
}

pub(super) async fn pages(bench: &Bench<'_>) -> CaseResult {
    const KEYS: u64 = 1_000;
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    let table = Table::Intents;
    let puts = (0..KEYS).map(|i| put(table, i.to_be_bytes(), vec![i as u8; (i % 300) as usize]));
    session.commit(puts.collect()).await?;
    for limit in [1, 7, 64, 256, 999, 1_000, 1_001, 1 << 20] {
        let mut rng = Rng::seeded(bench.seed);
        // A walk of single steps over everything would prove no more than one of some.
        let mut next = if limit == 1 { KEYS - below(&mut rng, 50) as u64 } else { 0 };
        let mut from = next.to_be_bytes().to_vec();
        loop {
            let page = session.scan(table, &from, limit).await?;
            let expected = limit.min((KEYS - next) as usize);
            ensure!(page.len() == expected, "{} records where {expected} are left and {limit} asked for", page.len());
            for (key, value) in &page {
                ensure!(
                    *key == next.to_be_bytes() && *value == vec![next as u8; (next % 300) as usize],
                    "page by page ({limit}) the record {next} of {KEYS} is wrong"
                );
                next += 1;
            }
            let Some((last, _)) = page.last() else { break };
            from.clone_from(last);
            from.push(0);
        }
        ensure!(next == KEYS, "pages of {limit} end after {next} of {KEYS} records");
    }
    Ok(None)
}
