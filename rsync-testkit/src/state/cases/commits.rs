//! Commits: whole, durable, and truthful.

use std::time::Duration;

use futures::FutureExt;
use rsync_core::Kind;
use rsync_core::clock::{Clock, SystemClock};
use rsync_core::state::Table;

use crate::sim::rng::Rng;
use crate::state::bench::Bench;
use crate::state::content::{Records, apply, below, delete, noise, numbered, put};
use crate::state::harness::StoreFault;
use crate::suite::{CaseResult, Stop, ensure};

pub(super) async fn order(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    let (meta, acks) = (Table::Meta, Table::Acks);
    session.commit(vec![put(meta, "old", "1"), put(acks, "old", "1")]).await?;
    let mutations = vec![
        put(meta, "a", "1"),
        delete(meta, "a"),
        put(acks, "a", "1"),
        put(meta, "a", "2"),
        put(meta, "b", "1"),
        put(acks, "b", "1"),
        delete(meta, "b"),
        delete(meta, "c"),
        put(meta, "c", "1"),
        put(meta, "c", "2"),
        delete(acks, "old"),
        put(acks, "old", "2"),
        put(meta, "old", "3"),
        delete(meta, "old"),
    ];
    let mut expected = Records::new();
    apply(&mut expected, &mutations);
    session.commit(mutations).await?;
    session.expect(&expected).await?;
    session.commit(Vec::new()).await?;
    session.expect(&expected).await?;
    Ok(None)
}

/// What a flush of a segment is: blocks of keys and images, and the removal of what they replace.
pub(super) async fn large(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    let mut rng = Rng::seeded(bench.seed);
    let intents: Vec<_> = (0..650_u64).map(|i| put(Table::Intents, i.to_be_bytes(), noise(&mut rng, 7_000))).collect();
    session.commit(intents).await?;
    let mut mutations = Vec::new();
    for block in 0..80_u32 {
        mutations.push(put(Table::Keys, block.to_be_bytes(), noise(&mut rng, 64_000)));
        mutations.push(put(Table::Images, block.to_be_bytes(), noise(&mut rng, 128_000)));
    }
    mutations.extend((0..650_u64).map(|i| delete(Table::Intents, i.to_be_bytes())));
    let mut expected = Records::new();
    apply(&mut expected, &mutations);
    session.commit(mutations).await?;
    session.expect(&expected).await?;
    drop(session);
    bench.expect(&*bench.store, &sync, &expected).await?;
    Ok(None)
}

pub(super) async fn failed_leaves_nothing(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    session.commit(numbered::commit(1)).await?;
    bench.inflict(&sync, StoreFault::WritesFail).await?;
    let Err(error) = session.commit(numbered::commit(2)).await else {
        return Stop::failed("a commit that could not be written is reported as made");
    };
    ensure!(error.kind() == Kind::StateStore, "the failed commit is an error of another kind: {error:?}");
    ensure!(error.remedy().is_some(), "the error does not say what to do: {error:?}");
    bench.harness.mend().await?;
    drop(session);
    bench.expect(&*bench.store, &sync, &numbered::after(1)).await?;
    Ok(None)
}

pub(super) async fn failed_poisons(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    session.commit(numbered::commit(1)).await?;
    bench.inflict(&sync, StoreFault::WritesFail).await?;
    // Whether this one may fail is the matter of another case.
    let failed = session.commit(numbered::commit(2)).await.is_err();
    bench.harness.mend().await?;
    if failed {
        for _ in 0..2 {
            let Err(error) = session.commit(numbered::commit(3)).await else {
                return Stop::failed("a session committed again after a commit of unknown result");
            };
            ensure!(error.kind() == Kind::StateStore, "the refusal is an error of another kind: {error:?}");
        }
    }
    drop(session);
    // The next session goes on.
    let session = bench.acquire_soon(&*bench.store, &sync).await?;
    session.commit(numbered::commit(4)).await?;
    session.expect(&numbered::after(4)).await?;
    Ok(None)
}

pub(super) async fn survives_a_crash(bench: &Bench<'_>) -> CaseResult {
    for n in 1..=6 {
        let sync = bench.sync()?;
        let session = bench.acquire(&sync).await?;
        for commit in 1..=n {
            session.commit(numbered::commit(commit)).await?;
        }
        let crashed = bench.after_crash().await?;
        bench.expect(&*crashed, &sync, &numbered::after(n)).await?;
    }
    Ok(None)
}

pub(super) async fn connection_lost(bench: &Bench<'_>) -> CaseResult {
    const CUTS: u64 = 20;
    let clock = SystemClock::new();
    let mut rng = Rng::seeded(bench.seed);
    let (mut whole, mut nothing) = (0, 0);
    let mut big = numbered::commit(2);
    big.push(put(Table::Images, "ballast", noise(&mut rng, 1 << 20)));
    let mut after_big = Records::new();
    apply(&mut after_big, &big);
    // Cuts fall anywhere in a commit, and a little behind it.
    let session = bench.acquire(&bench.sync()?).await?;
    let began = clock.monotonic();
    session.commit(big.clone()).await?;
    let span = (clock.monotonic() - began).clamp(Duration::from_millis(12), Duration::from_secs(1));
    for cut in 0..CUTS {
        let sync = bench.sync()?;
        let session = bench.acquire(&sync).await?;
        session.commit(numbered::commit(1)).await?;
        let moment = Duration::from_micros(below(&mut rng, span.as_micros() as usize) as u64);
        let (answer, cutting) = futures::join!(session.commit(big.clone()), async {
            clock.sleep(moment).await;
            bench.inflict(&sync, StoreFault::ConnectionLost).await
        });
        cutting?;
        drop(session);
        let session = bench.acquire_soon(&*bench.store, &sync).await?;
        let found = session.contents().await?;
        let seed = bench.seed;
        ensure!(
            found == after_big || found == numbered::after(1),
            "seed {seed}, cut {cut}: a commit whose connection was lost is there in part"
        );
        ensure!(answer.is_err() || found == after_big, "seed {seed}, cut {cut}: a commit was acknowledged and is lost");
        match found == after_big {
            true => whole += 1,
            false => nothing += 1,
        }
    }
    Ok(Some(format!("{CUTS} cuts: {whole} commits whole, {nothing} not there")))
}

pub(super) async fn dropped(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    session.commit(numbered::commit(1)).await?;
    if session.commit(numbered::commit(2)).now_or_never().is_some() {
        return Stop::not_applicable("a commit is made in one step");
    }
    ensure!(
        session.commit(numbered::commit(3)).await.is_err(),
        "a session committed again although the fate of a commit before was not waited for"
    );
    drop(session);
    let session = bench.acquire_soon(&*bench.store, &sync).await?;
    let found = session.contents().await?;
    ensure!([1, 2].into_iter().any(|n| found == numbered::after(n)), "a commit that was given up is there in part");
    Ok(None)
}
