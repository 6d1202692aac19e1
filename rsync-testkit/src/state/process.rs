//! Other processes that use the store, and their end.
//!
//! The suite's program starts itself again with a role in its environment, and says on its standard output what it did.

use std::env;
use std::future::Future;
use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

use rsync_core::clock::{Clock, SystemClock};
use rsync_core::ids::SyncId;
use tokio::sync::mpsc;

use super::content::numbered;
use super::harness::{Harness, HarnessResult};

const ROLE: &str = "RSYNC_STATE_SUITE_ROLE";
const HELD: &str = "held";
const REFUSED: &str = "refused";
const COMMITTED: &str = "committed";

/// What another process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Takes hold of a sync and keeps it.
    Hold,
    /// Also makes numbered commits, one after the other.
    Commit,
}

impl Task {
    fn as_str(self) -> &'static str {
        match self {
            Task::Hold => "hold",
            Task::Commit => "commit",
        }
    }
}

/// A task and the sync that it is about.
pub(super) struct Role {
    task: Task,
    sync: SyncId,
}

/// The role of this process; none in the one that people start.
pub(super) fn role() -> Option<Role> {
    let text = env::var(ROLE).ok()?;
    let (task, sync) = text.split_once(' ')?;
    let task = [Task::Hold, Task::Commit].into_iter().find(|known| known.as_str() == task)?;
    Some(Role { task, sync: SyncId::new(sync).ok()? })
}

/// Plays the role until this process is killed, or its standard input ends.
pub(super) fn play<H: Harness>(role: Role, start: impl Future<Output = HarnessResult<H>>) -> ExitCode {
    // Whoever started this holds the other end.
    std::thread::spawn(|| {
        let _ = std::io::stdin().lines().next();
        std::process::exit(0);
    });
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let played: HarnessResult<()> = runtime.block_on(async {
        let harness = start.await?;
        let store = harness.open().await?;
        let session = match store.acquire(&role.sync).await {
            Ok(session) => session,
            Err(e) => return Ok(say(&format!("{REFUSED} {}", e.kind().as_str()))?),
        };
        say(HELD)?;
        match role.task {
            Task::Hold => std::future::pending().await,
            Task::Commit => {
                for n in 1.. {
                    session.commit(numbered::commit(n)).await?;
                    say(&format!("{COMMITTED} {n}"))?;
                }
                Ok(())
            }
        }
    });
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // The other side shows what it did not expect.
            let _ = say(&format!("failed {e}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// How this program is started again.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    environment: Vec<(String, String)>,
}

/// How a process began.
pub(super) enum Start {
    Held(Process),
    /// It was refused the sync, with an error of this kind.
    Refused(String),
}

impl Program {
    /// None if other processes cannot find the place.
    pub(super) fn of(harness: &dyn Harness) -> Option<Self> {
        Some(Self { path: env::current_exe().ok()?, environment: harness.environment()? })
    }

    pub(super) async fn start(&self, task: Task, sync: &SyncId) -> HarnessResult<Start> {
        let mut command = Command::new(&self.path);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env(ROLE, format!("{} {sync}", task.as_str()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("the process has no output")?;
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut process = Process { child, lines };
        let line = process.lines.recv().await.ok_or("the process ended without a word")?;
        match line.split_once(' ') {
            None if line == HELD => Ok(Start::Held(process)),
            Some((REFUSED, kind)) => Ok(Start::Refused(kind.to_owned())),
            _ => Err(format!("the process said {line:?}").into()),
        }
    }
}

/// A process that holds a sync. It is killed when this is dropped.
pub(super) struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Process {
    /// Waits until it has made this many commits and a moment more, kills it as `kill -9` does, and returns the number of
    /// the last commit that it knows of.
    pub(super) async fn kill_after(mut self, commits: u64, moment: std::time::Duration) -> HarnessResult<u64> {
        let mut last = 0;
        while last < commits {
            last = number(&self.lines.recv().await.ok_or("the process ended by itself")?)?;
        }
        SystemClock::new().sleep(moment).await;
        self.child.kill()?;
        self.child.wait()?;
        // What it said before it died counts.
        while let Some(line) = self.lines.recv().await {
            last = number(&line)?;
        }
        Ok(last)
    }

    pub(super) async fn kill(self) -> HarnessResult<()> {
        self.kill_after(0, std::time::Duration::ZERO).await.map(drop)
    }
}

fn number(line: &str) -> HarnessResult<u64> {
    match line.split_once(' ') {
        Some((COMMITTED, n)) => Ok(n.parse()?),
        _ => Err(format!("the process said {line:?}").into()),
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
