//! What is stored, and where.

use rsync_core::ids::SyncId;
use rsync_core::state::Table;

use crate::sim::rng::Rng;
use crate::state::bench::Bench;
use crate::state::content::{Records, apply, below, delete, hard_keys, noise, numbered, put};
use crate::state::harness::Damage;
use crate::suite::{CaseResult, Stop, ensure};

pub(super) async fn found_again(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    session.put(Table::Meta, b"k", b"v").await?;
    drop(session);
    let session = bench.acquire_soon(&*bench.open().await?, &sync).await?;
    let found = session.get(Table::Meta, b"k").await?;
    ensure!(found.as_deref() == Some(b"v"), "another instance does not find what was committed");
    Ok(None)
}

pub(super) async fn never_seen(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    for _ in 0..2 {
        let session = bench.acquire_soon(&*bench.store, &sync).await?;
        session.expect(&Records::new()).await?;
        for table in Table::ALL {
            ensure!(session.get(table, b"format").await?.is_none(), "`{}` of a new sync has a record", table.as_str());
        }
    }
    // A sync whose records were all removed is not damaged.
    let session = bench.acquire_soon(&*bench.store, &sync).await?;
    session.put(Table::Meta, b"k", b"v").await?;
    session.delete(Table::Meta, b"k").await?;
    drop(session);
    bench.expect(&*bench.store, &sync, &Records::new()).await?;
    Ok(None)
}

pub(super) async fn damaged(bench: &Bench<'_>) -> CaseResult {
    const FLIPS: usize = 25;
    let mut rng = Rng::seeded(bench.seed);
    let mut damages = vec![Damage::Emptied, Damage::Zeroed, Damage::Foreign];
    damages.extend([0, 1, 300, 600, 999].map(Damage::Cut));
    damages.extend((0..FLIPS).map(|_| Damage::Flipped(below(&mut rng, usize::MAX))));
    let (mut told, mut harmless) = (0, 0);
    for damage in damages {
        let sync = bench.sync()?;
        let session = bench.acquire(&sync).await?;
        session.commit(numbered::commit(1)).await?;
        drop(session);
        bench.damage(&sync, damage).await?;
        let seed = bench.seed;
        let answer = match bench.try_acquire(&*bench.store, &sync).await? {
            Ok(session) => session.contents().await,
            Err(e) => Err(e),
        };
        match answer {
            Ok(found) if found == numbered::after(1) => harmless += 1,
            Ok(found) => {
                let what = if found.is_empty() { "passes for a new sync" } else { "shows other records" };
                return Stop::failed(format!("seed {seed}: a state with damage ({damage:?}) {what}"));
            }
            Err(e) => {
                ensure!(
                    e.kind() == rsync_core::Kind::StateCorrupt,
                    "seed {seed}: damage ({damage:?}) is told as an error of another kind: {e:?}"
                );
                ensure!(e.remedy().is_some(), "the error does not say what to do: {e:?}");
                told += 1;
            }
        }
    }
    Ok(Some(format!("{told} damages told, {harmless} where nothing was")))
}

pub(super) async fn tables(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    let mut expected = Records::new();
    let mut mutations = Vec::new();
    for table in Table::ALL {
        mutations.push(put(table, "k", table.as_str()));
        mutations.push(put(table, table.as_str(), "own"));
    }
    apply(&mut expected, &mutations);
    session.commit(mutations).await?;
    session.expect(&expected).await?;
    for table in Table::ALL {
        let mutations = vec![delete(table, "k"), put(table, "k2", table.as_str())];
        apply(&mut expected, &mutations);
        session.commit(mutations).await?;
        session.expect(&expected).await?;
    }
    Ok(None)
}

pub(super) async fn syncs(bench: &Bench<'_>) -> CaseResult {
    let base = bench.sync()?;
    let mut names: Vec<String> =
        ["", "-", "_", "0", "a", "ab", "a-b", "a_b", "-a", "--", "-1", "_meta", "-state", "-new"]
            .into_iter()
            .map(|end| format!("{base}{end}"))
            .collect();
    // As long as names may be, and different at the very end.
    let filled = format!("{base}{}", "z".repeat(62 - base.as_str().len()));
    names.extend(["z", "y", "_", ""].map(|end| format!("{filled}{end}")));
    let mut syncs = Vec::new();
    for name in names {
        syncs.push(SyncId::new(name)?);
    }
    // All are held at once, so that holds do not meet either.
    let mut sessions = Vec::new();
    for sync in &syncs {
        sessions.push(bench.acquire(sync).await?);
    }
    for (n, session) in sessions.iter().enumerate() {
        session.commit(numbered::commit(n as u64 + 1)).await?;
        session.put(Table::Meta, b"own", &[n as u8]).await?;
    }
    sessions[1].delete(Table::Meta, b"own").await?;
    for (n, session) in sessions.iter().enumerate() {
        let mut expected = numbered::after(n as u64 + 1);
        if n != 1 {
            expected.insert((Table::Meta, b"own".to_vec()), vec![n as u8]);
        }
        session.expect(&expected).await?;
    }
    Ok(None)
}

pub(super) async fn bytes(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    let mut rng = Rng::seeded(bench.seed);
    let mut values: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte]).collect();
    values.extend([
        Vec::new(),
        vec![0; 1_000],
        vec![0xff; 1_000],
        b"\x00trailing zeros\x00\x00".to_vec(),
        b"'; DROP TABLE record; --\\x00\\000\\".to_vec(),
        (0..=255).collect(),
    ]);
    values.extend([127, 128, 255, 256, 2_000, 4_096, 8_191, 65_536].map(|length| noise(&mut rng, length)));
    let mut mutations: Vec<_> = values.iter().map(|value| put(Table::Runs, value_key(value), value.clone())).collect();
    mutations.extend(hard_keys().into_iter().map(|key| put(Table::Jobs, key.clone(), key)));
    // The longest key that a store must take.
    mutations.push(put(Table::Jobs, noise(&mut rng, 512), "long"));
    let mut expected = Records::new();
    apply(&mut expected, &mutations);
    session.commit(mutations).await?;
    session.expect(&expected).await?;
    drop(session);
    bench.expect(&*bench.open().await?, &sync, &expected).await?;
    Ok(None)
}

fn value_key(value: &[u8]) -> Vec<u8> {
    let mut key = (value.len() as u32).to_be_bytes().to_vec();
    key.extend(value.first());
    key
}

pub(super) async fn large(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    let mut rng = Rng::seeded(bench.seed);
    let mut mutations = vec![
        put(Table::Images, "large", noise(&mut rng, 8 << 20)),
        put(Table::Images, "larger", noise(&mut rng, 9 << 20)),
    ];
    mutations.extend((0..5_000_u32).map(|i| put(Table::Keys, i.to_be_bytes(), i.to_le_bytes())));
    let mut expected = Records::new();
    apply(&mut expected, &mutations);
    session.commit(mutations).await?;
    drop(session);
    let session = bench.acquire_soon(&*bench.store, &sync).await?;
    ensure!(session.contents().await? == expected, "large values or many keys do not come back");
    Ok(None)
}

pub(super) async fn random(bench: &Bench<'_>) -> CaseResult {
    const RESTARTS: usize = 4;
    const COMMITS: usize = 20;
    let (sync, seed) = (bench.sync()?, bench.seed);
    let mut rng = Rng::seeded(seed);
    let pool: Vec<Vec<u8>> = (0..30)
        .map(|_| {
            let length = below(&mut rng, 5);
            // Few different bytes, so that keys are prefixes of one another.
            (0..length).map(|_| [0, 1, 0x80, 0xff][below(&mut rng, 4)]).collect()
        })
        .collect();
    let mut truth = Records::new();
    for restart in 0..RESTARTS {
        let store = bench.open().await?;
        let session = bench.acquire_soon(&*store, &sync).await?;
        session.expect(&truth).await?;
        for commit in 0..COMMITS {
            let at = format!("seed {seed}, restart {restart}, commit {commit}");
            let mutations: Vec<_> = (0..below(&mut rng, 15))
                .map(|_| {
                    let table = Table::ALL[below(&mut rng, Table::ALL.len())];
                    let key = pool[below(&mut rng, pool.len())].clone();
                    let length = [0, 1, 30, 3_000][below(&mut rng, 4)];
                    if below(&mut rng, 3) == 0 { delete(table, key) } else { put(table, key, noise(&mut rng, length)) }
                })
                .collect();
            apply(&mut truth, &mutations);
            session.commit(mutations).await?;
            for _ in 0..4 {
                let table = Table::ALL[below(&mut rng, Table::ALL.len())];
                let (key, limit) = (&pool[below(&mut rng, pool.len())], 1 + below(&mut rng, 8));
                let got = session.get(table, key).await?;
                ensure!(got.as_ref() == truth.get(&(table, key.clone())), "{at}: `get` is not what a map says");
                let expected = truth.range((table, key.clone())..).take_while(|((t, _), _)| *t == table).take(limit);
                let expected: Vec<_> = expected.map(|((_, key), value)| (key.clone(), value.clone())).collect();
                ensure!(session.scan(table, key, limit).await? == expected, "{at}: `scan` is not what a map says");
            }
        }
    }
    bench.expect(&*bench.store, &sync, &truth).await?;
    Ok(None)
}

pub(super) async fn delete_missing(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    // In a table that has never had a record, and in one that has.
    session.delete(Table::Jobs, b"k").await?;
    session.put(Table::Meta, b"k", b"v").await?;
    session.commit(vec![delete(Table::Meta, "other"), delete(Table::Meta, "k"), delete(Table::Meta, "k")]).await?;
    session.expect(&Records::new()).await?;
    Ok(None)
}
