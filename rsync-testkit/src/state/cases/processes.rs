//! Several processes, and their end by SIGKILL.

use std::time::Duration;

use rsync_core::Kind;

use crate::sim::rng::Rng;
use crate::state::bench::Bench;
use crate::state::content::{below, numbered};
use crate::state::process::{Process, Program, Start, Task};
use crate::suite::{CaseResult, Stop, ensure};

fn program<'b>(bench: &'b Bench<'_>) -> Result<&'b Program, Stop> {
    match &bench.program {
        Some(program) => Ok(program),
        None => Stop::not_applicable("other processes are started by `main` only, if the harness has an environment"),
    }
}

fn held(start: Start) -> Result<Process, Stop> {
    match start {
        Start::Held(process) => Ok(process),
        Start::Refused(kind) => Stop::failed(format!("another process was refused a free sync: {kind}")),
    }
}

pub(super) async fn second_process(bench: &Bench<'_>) -> CaseResult {
    let program = program(bench)?;
    let sync = bench.sync()?;
    let session = bench.acquire(&sync).await?;
    session.commit(numbered::commit(1)).await?;
    for _ in 0..3 {
        match program.start(Task::Hold, &sync).await? {
            Start::Held(_) => return Stop::failed("two processes hold one sync"),
            Start::Refused(kind) => {
                ensure!(kind == Kind::AlreadyRunning.as_str(), "another process was refused with another kind: {kind}");
            }
        }
    }
    session.commit(numbered::commit(2)).await?;
    session.expect(&numbered::after(2)).await?;
    drop(session);
    let process = loop_until_held(bench, program, &sync).await?;
    bench.expect_held(&*bench.store, &sync).await?;
    process.kill().await?;
    Ok(None)
}

/// A session that was dropped here may take a moment to be gone for others.
async fn loop_until_held(
    bench: &Bench<'_>,
    program: &Program,
    sync: &rsync_core::ids::SyncId,
) -> Result<Process, Stop> {
    drop(bench.acquire_soon(&*bench.open().await?, sync).await?);
    for _ in 0..10 {
        if let Start::Held(process) = program.start(Task::Hold, sync).await? {
            return Ok(process);
        }
    }
    Stop::failed("another process is refused a free sync")
}

pub(super) async fn killed_holder(bench: &Bench<'_>) -> CaseResult {
    let program = program(bench)?;
    for _ in 0..3 {
        let sync = bench.sync()?;
        let process = held(program.start(Task::Hold, &sync).await?)?;
        bench.expect_held(&*bench.store, &sync).await?;
        process.kill().await?;
        let session = bench.acquire_soon(&*bench.store, &sync).await?;
        session.commit(numbered::commit(1)).await?;
    }
    Ok(None)
}

pub(super) async fn killed_while_committing(bench: &Bench<'_>) -> CaseResult {
    const KILLS: usize = 10;
    let program = program(bench)?;
    let mut rng = Rng::seeded(bench.seed);
    let (mut commits, mut ahead) = (0, 0);
    for kill in 0..KILLS {
        let sync = bench.sync()?;
        let process = held(program.start(Task::Commit, &sync).await?)?;
        let (wait, moment) = (below(&mut rng, 6) as u64, Duration::from_micros(below(&mut rng, 20_000) as u64));
        let last = process.kill_after(wait, moment).await?;
        let session = bench.acquire_soon(&*bench.store, &sync).await?;
        let found = session.contents().await?;
        let Some(n) = [last, last + 1].into_iter().find(|n| found == numbered::after(*n)) else {
            let seed = bench.seed;
            return Stop::failed(format!(
                "seed {seed}, kill {kill}: neither commit {last} nor the next one is there whole"
            ));
        };
        session.commit(numbered::commit(n + 1)).await?;
        commits += last;
        ahead += n - last;
    }
    Ok(Some(format!("{KILLS} kills among {commits} commits; {ahead} that nobody was told of were there")))
}
