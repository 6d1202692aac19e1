//! What a store does beside its task.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use rsync_core::clock::{Clock, SystemClock};
use rsync_core::state::Table;

use crate::sim::rng::Rng;
use crate::state::bench::Bench;
use crate::state::content::{noise, put};
use crate::state::harness::StoreFault;
use crate::suite::{CaseResult, ensure};

/// Longest step of a call. Other calls of the run wait as long. A login by password is the heaviest part there is, and
/// takes some 80 ms where nothing is optimized.
const STEP: Duration = Duration::from_millis(200);
/// A busy machine makes any step long now and then, but not each time.
const TRIES: usize = 5;

/// The longest step of `work` from one wait to the next.
async fn longest_step<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let clock = SystemClock::new();
    let mut work = pin!(work);
    let mut longest = Duration::ZERO;
    let value = poll_fn(|cx| {
        let start = clock.monotonic();
        let polled = work.as_mut().poll(cx);
        longest = longest.max(clock.monotonic() - start);
        polled
    })
    .await;
    (value, longest)
}

/// Keeps the shorter of what was measured before and now.
fn best(so_far: &mut Duration, step: Duration) {
    *so_far = step.min(*so_far);
}

pub(super) async fn no_blocking(bench: &Bench<'_>) -> CaseResult {
    let mut rng = Rng::seeded(bench.seed);
    let blocks: Vec<_> = (0..30_u32).map(|i| (i.to_be_bytes(), noise(&mut rng, 128_000))).collect();
    let [mut acquire, mut commit, mut get, mut scan] = [Duration::MAX; 4];
    for _ in 0..TRIES {
        let sync = bench.sync()?;
        let (session, step) = longest_step(bench.acquire(&sync)).await;
        best(&mut acquire, step);
        let session = session?;
        let mutations = blocks.iter().map(|(key, value)| put(Table::Images, *key, value.clone())).collect();
        let (answer, step) = longest_step(session.commit(mutations)).await;
        best(&mut commit, step);
        answer?;
        let (answer, step) = longest_step(session.get(Table::Images, &blocks[9].0)).await;
        best(&mut get, step);
        ensure!(answer?.is_some(), "a record that was committed is missing");
        let (answer, step) = longest_step(session.scan(Table::Images, b"", 30)).await;
        best(&mut scan, step);
        ensure!(answer?.len() == blocks.len(), "records that were committed are missing");
    }
    for (call, step) in [("acquire", acquire), ("commit", commit), ("get", get), ("scan", scan)] {
        ensure!(step <= STEP, "`{call}` keeps its thread for {} ms at a time, each of {TRIES} times", step.as_millis());
    }
    Ok(None)
}

pub(super) async fn nothing_said(bench: &Bench<'_>) -> CaseResult {
    // Everything that can go wrong goes wrong with telling keys and values; the other cases' errors were searched too.
    let canary = bench.canary.as_bytes();
    for fault in [StoreFault::WritesFail, StoreFault::ConnectionLost, StoreFault::HoldLost] {
        let sync = bench.sync()?;
        let session = bench.acquire(&sync).await?;
        let mutations = || vec![put(Table::Meta, canary, canary), put(Table::Acks, [canary, b"2"].concat(), canary)];
        bench.evidence.search_debug("a mutation", &mutations());
        session.commit(mutations()).await?;
        let _ = bench.try_acquire(&*bench.store, &sync).await?;
        if !bench.harness.inflict(&sync, fault).await? {
            continue;
        }
        // These fail or not; what matters is what they say.
        let _ = session.commit(mutations()).await;
        let _ = session.get(Table::Meta, canary).await;
        let _ = session.scan(Table::Meta, canary, 10).await;
        bench.evidence.search_debug("a session", &session.inner);
        bench.evidence.search_debug("the store", &bench.store);
        bench.harness.mend().await?;
    }
    let findings = bench.evidence.findings();
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(Some(format!("{} texts searched", bench.evidence.searched())))
}
