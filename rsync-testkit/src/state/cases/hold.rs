//! Who has a sync, and until when.

use futures::future::join_all;
use rsync_core::Kind;

use crate::state::bench::Bench;
use crate::state::content::numbered;
use crate::state::harness::StoreFault;
use crate::suite::{CaseResult, Stop, ensure};

pub(super) async fn second_session(bench: &Bench<'_>) -> CaseResult {
    let (sync, other) = (bench.sync()?, bench.sync()?);
    let session = bench.acquire(&sync).await?;
    bench.expect_held(&*bench.store, &sync).await?;
    let instance = bench.open().await?;
    bench.expect_held(&*instance, &sync).await?;
    // Asking takes nothing away, and other syncs are free.
    drop(bench.acquire_from(&*instance, &other).await?);
    session.commit(numbered::commit(1)).await?;
    bench.expect_held(&*instance, &sync).await?;
    drop(session);
    bench.expect(&*instance, &sync, &numbered::after(1)).await?;
    Ok(None)
}

pub(super) async fn contenders(bench: &Bench<'_>) -> CaseResult {
    const CONTENDERS: usize = 8;
    for _ in 0..5 {
        let sync = bench.sync()?;
        let mut stores = Vec::new();
        for _ in 0..CONTENDERS {
            stores.push(bench.open().await?);
        }
        let answers = join_all(stores.iter().map(|store| bench.try_acquire(&**store, &sync))).await;
        let mut sessions = Vec::new();
        for answer in answers {
            match answer? {
                Ok(session) => sessions.push(session),
                Err(e) => ensure!(e.kind() == Kind::AlreadyRunning, "a contender is refused with another kind: {e:?}"),
            }
        }
        ensure!(sessions.len() == 1, "{} of {CONTENDERS} contenders got the sync", sessions.len());
    }
    Ok(None)
}

pub(super) async fn lost_hold(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let stale = bench.acquire(&sync).await?;
    stale.commit(numbered::commit(1)).await?;
    bench.inflict(&sync, StoreFault::HoldLost).await?;
    let instance = bench.open().await?;
    let successor = bench.acquire_soon(&*instance, &sync).await?;
    successor.expect(&numbered::after(1)).await?;
    for round in 2..5 {
        let Err(error) = stale.commit(numbered::commit(100 + round)).await else {
            return Stop::failed("a session that had lost its hold committed");
        };
        ensure!(error.kind() == Kind::StateStore, "the refusal is an error of another kind: {error:?}");
        successor.commit(numbered::commit(round)).await?;
        successor.expect(&numbered::after(round)).await?;
    }
    Ok(None)
}

pub(super) async fn stale_release(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let stale = bench.acquire(&sync).await?;
    bench.inflict(&sync, StoreFault::HoldLost).await?;
    let instance = bench.open().await?;
    let successor = bench.acquire_soon(&*instance, &sync).await?;
    successor.commit(numbered::commit(1)).await?;
    drop(stale);
    for n in 2..8 {
        bench.expect_held(&*bench.open().await?, &sync).await?;
        successor.commit(numbered::commit(n)).await?;
    }
    successor.expect(&numbered::after(7)).await?;
    Ok(None)
}

pub(super) async fn dropped(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    for n in 1..=20 {
        // A host runs a sync again as soon as it has ended.
        let session = match bench.try_acquire(&*bench.store, &sync).await? {
            Ok(session) => session,
            Err(e) => return Stop::failed(format!("round {n}: the store's own dropped session is in the way: {e:?}")),
        };
        session.expect(&numbered::after(n - 1)).await?;
        session.commit(numbered::commit(n)).await?;
    }
    let instance = bench.open().await?;
    drop(bench.acquire_soon(&*instance, &sync).await?);
    Ok(None)
}

pub(super) async fn connection_lost(bench: &Bench<'_>) -> CaseResult {
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    session.commit(numbered::commit(1)).await?;
    bench.inflict(&sync, StoreFault::ConnectionLost).await?;
    let instance = bench.open().await?;
    let successor = bench.acquire_soon(&*instance, &sync).await?;
    ensure!(session.commit(numbered::commit(2)).await.is_err(), "a session without a connection committed");
    successor.expect(&numbered::after(1)).await?;
    Ok(None)
}
