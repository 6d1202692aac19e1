//! The parent.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use futures::future::BoxFuture;
use rsync_core::clock::{Clock, Randomness, SystemClock, SystemRandomness};
use tokio::sync::mpsc;

use super::child::{self, BATCH_ROWS, BUSY, COMPLETED, HASH_KEY, ROLE, STARTED};
use super::disk::{Needles, unlinked};
use super::model::{CANARY, History};
use super::service::{Moment, Service};
use crate::sim::rng::Rng;
use crate::state::{Harness, HarnessResult};
use crate::suite::{self, CaseReport, CaseResult, Stop, SuiteReport, Verdict, ensure};

/// A run that takes longer hangs.
const RUN_LIMIT: Duration = Duration::from_secs(60);
/// Calls at once of a child that is killed.
const IN_FLIGHT: usize = 4;
/// Kills between two searches of the disk.
const SEARCH_EVERY: u64 = 10;
/// From so many kills on, every kind of moment must have come.
const ENOUGH: u64 = 40;

/// What was done and found.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    /// Processes that were killed.
    kills: u64,
    /// Processes that were frozen and woken.
    pub(super) frozen: u64,
    /// Kills by their moment.
    moments: BTreeMap<&'static str, u64>,
    /// Processes that ended by themselves.
    completed: u64,
    /// Comparisons of the service with the model.
    compared: u64,
    /// Rows that the service applied.
    rows: u64,
    /// Rows that it had already.
    redelivered: u64,
    /// Searches of the disk after a kill.
    searches: u64,
    /// Killed processes in whose temporary file, which has no name, values were found while they lived.
    spooled: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills {:?}, {} runs to the end, {} comparisons; {} rows applied, {} of them again (at most {}); \
             {} searches of the disk, {} spools seen",
            self.kills,
            self.moments,
            self.completed,
            self.compared,
            self.rows,
            self.redelivered,
            self.allowed(),
            self.searches,
            self.spooled
        )
    }
}

impl Figures {
    /// Rows that may have come twice: those of the calls that may be open at once are in doubt after a kill. A process that
    /// is frozen leaves as many, and may send them itself when it wakes.
    fn allowed(&self) -> u64 {
        (self.kills + 2 * self.frozen) * (IN_FLIGHT * BATCH_ROWS) as u64
    }
}

/// Runs syncs over the store of the harness in a process that is killed, as a program: for a test target with
/// `harness = false`. Kills as often as `RSYNC_KILLS` says, else `kills` times; `RSYNC_SEED` repeats a history.
///
/// Of the harness it needs [`Harness::open`] and [`Harness::environment`]. The files of [`Harness::folders`] are searched
/// for values.
///
/// ```no_run
/// # use rsync_testkit::state::{Harness, HarnessResult};
/// # fn example<H: Harness>(start: impl Future<Output = HarnessResult<H>>) -> std::process::ExitCode {
/// rsync_testkit::kill::main(100, start)
/// # }
/// ```
pub fn main<H: Harness>(kills: u64, start: impl Future<Output = HarnessResult<H>>) -> ExitCode {
    if let Some(role) = child::role() {
        return child::play(&role, start);
    }
    suite::program(async {
        let harness = start.await?;
        let (seed, kills) = (seed(), number("RSYNC_KILLS").unwrap_or(kills));
        let result = f01_f02_f03_f05_s13_s14_a_killed_process_loses_nothing(&harness, seed, kills).await;
        let name =
            "a process that is killed at any moment loses nothing, repeats little and leaves nothing on the disk";
        report(&harness, seed, name, result).await
    })
}

pub(super) fn number(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

pub(super) fn seed() -> u64 {
    number("RSYNC_SEED").unwrap_or_else(|| SystemRandomness.next_u64() % 1_000_000)
}

pub(super) async fn report(
    harness: &dyn Harness,
    seed: u64,
    name: &'static str,
    result: CaseResult,
) -> HarnessResult<SuiteReport> {
    let verdict = match result {
        Ok(remark) => Verdict::Passed(remark),
        Err(Stop::Failed(why)) => Verdict::Failed(format!("RSYNC_SEED={seed}: {why}")),
        Err(Stop::NotApplicable(why)) => Verdict::NotApplicable(why),
    };
    harness.cleanup().await?;
    let cases = vec![CaseReport { number: "-", name, verdict }];
    Ok(SuiteReport { subject: "runs in other processes".to_owned(), cases })
}

/// How a child ended.
pub(super) enum End {
    Killed,
    /// With so many calls.
    Completed(u64),
}

/// A folder that goes with this value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // It is the system's folder for temporary files, which is emptied anyway.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The parent of one child at a time, and of the service.
pub(super) struct Parent<'h> {
    harness: &'h dyn Harness,
    environment: Vec<(String, String)>,
    pub(super) service: Service,
    /// Calls that a child may make at once.
    pub(super) in_flight: usize,
    due: mpsc::UnboundedReceiver<()>,
    seed: u64,
    sync: String,
    hash_key: String,
    temporary: Folder,
    needles: Needles,
    pub(super) figures: Figures,
}

/// Sends SIGKILL to whole runs, at random moments and at every kind of step, while the model changes.
async fn f01_f02_f03_f05_s13_s14_a_killed_process_loses_nothing(
    harness: &dyn Harness,
    seed: u64,
    kills: u64,
) -> CaseResult {
    let mut parent = Parent::new(harness, seed).await?;
    parent.kill_and_compare(kills).await?;
    let figures = parent.figures;
    ensure!(kills < ENOUGH || figures.moments.len() == 4, "some kinds of kills did not come: {figures}");
    ensure!(kills < ENOUGH || figures.redelivered > 0, "no kill left a batch in doubt: {figures}");
    ensure!(
        kills < ENOUGH || !cfg!(target_os = "linux") || figures.spooled > 0,
        "no killed process had spooled a value, so the search of the disk shows nothing: {figures}"
    );
    Ok(Some(figures.to_string()))
}

impl<'h> Parent<'h> {
    pub(super) async fn new(harness: &'h dyn Harness, seed: u64) -> Result<Self, Stop> {
        let Some(environment) = harness.environment() else {
            return Stop::not_applicable("another process does not find this store: the harness has no environment");
        };
        let (service, due) = Service::start().await.map_err(Stop::from)?;
        let draw = SystemRandomness.next_u64();
        let temporary = Folder(env::temp_dir().join(format!("rsync-kill-{draw:016x}")));
        fs::create_dir(&temporary.0).map_err(|e| Stop::from(Box::from(e)))?;
        Ok(Self {
            harness,
            environment,
            service,
            in_flight: IN_FLIGHT,
            due,
            seed,
            sync: format!("kill-{draw:016x}"),
            hash_key: format!("{draw:016x}{:016x}", SystemRandomness.next_u64()),
            temporary,
            needles: Needles::of(CANARY),
            figures: Figures::default(),
        })
    }

    async fn kill_and_compare(&mut self, kills: u64) -> Result<(), Stop> {
        let mut random = Rng::seeded(self.seed);
        let mut draw = move |n: u64| random.next_u64() % n;
        let (mut now, mut until_compared) = (0, 0);
        while self.figures.kills < kills {
            // Mostly the model has changed since.
            now += u64::from(draw(4) > 0);
            let call = 1 + draw(24);
            let pause = Duration::from_micros(draw(20_000));
            let moment = match draw(4) {
                0 => Moment::Random(Duration::from_micros(draw(60_000))),
                1 => Moment::Arrived(call),
                2 => Moment::Applied(call),
                _ => Moment::Answered(call, pause),
            };
            if let End::Killed = self.run(now, moment).await? {
                self.figures.kills += 1;
                *self.figures.moments.entry(name(moment)).or_default() += 1;
                if self.figures.kills.is_multiple_of(SEARCH_EVERY) {
                    self.search()?;
                }
            }
            if until_compared == 0 {
                until_compared = 1 + draw(5);
                now += draw(2);
                self.compare(now).await?;
            }
            until_compared -= 1;
        }
        self.compare(now).await?;
        self.search()
    }

    /// Lets a run end, and compares the service with the model. The next run then has nothing to do.
    pub(super) async fn compare(&mut self, now: u64) -> Result<(), Stop> {
        for again in [false, true] {
            let End::Completed(calls) = self.run(now, Moment::Left).await? else {
                return Stop::failed("a process that was left alone was killed");
            };
            ensure!(!again || calls == 0, "{calls} calls although nothing had changed: {}", self.figures);
        }
        let (wanted, found) = (History(self.seed).records(now), self.service.records());
        if wanted != found {
            let keys = wanted.keys().chain(found.keys());
            let other = keys.filter(|key| wanted.get(*key) != found.get(*key)).min();
            let other = other.map(|key| format!("{key}: {:?}, not {:?}", found.get(key), wanted.get(key)));
            return Stop::failed(format!("the service does not hold the model: {other:?}; {}", self.figures));
        }
        self.figures.compared += 1;
        Ok(())
    }

    /// One run, to its end.
    pub(super) async fn run(&mut self, now: u64, moment: Moment) -> Result<End, Stop> {
        let clock = SystemClock::new();
        let deadline = clock.monotonic() + self.harness.release_limit();
        loop {
            self.service.expect(moment);
            let ended = self.run_once(now, moment).await.map_err(Stop::from)?;
            self.service.silence().await?;
            // What came too late was meant for this process.
            while self.due.try_recv().is_ok() {}
            (self.figures.rows, self.figures.redelivered) = (self.service.rows(), self.service.redelivered());
            if let Some(foreign) = self.service.foreign() {
                return Stop::failed(format!("a value of another row was written: {foreign}"));
            }
            let (status, said) = ended;
            let said = said.join("; ");
            let (again, allowed) = (self.figures.redelivered, self.figures.allowed());
            ensure!(again <= allowed, "{again} rows were sent again, of at most {allowed}: {}", self.figures);
            match said.strip_prefix(STARTED).unwrap_or(&said).trim_start_matches("; ") {
                "" if !status.success() => {
                    ensure!(moment != Moment::Left, "the process died by itself: {status}");
                    return Ok(End::Killed);
                }
                BUSY if clock.monotonic() < deadline => clock.sleep(Duration::from_millis(20)).await,
                word => match word.strip_prefix(COMPLETED).and_then(|calls| calls.trim().parse().ok()) {
                    Some(calls) => {
                        self.figures.completed += 1;
                        return Ok(End::Completed(calls));
                    }
                    None => return Stop::failed(format!("after {}: the process says: {word}", self.figures)),
                },
            }
        }
    }

    /// Starts a child, kills it at its moment, and returns how it ended and what it said.
    async fn run_once(&mut self, now: u64, moment: Moment) -> HarnessResult<(ExitStatus, Vec<String>)> {
        let mut child = self.start(now).await?;
        if self.wait(&mut child, moment).await? == Waited::Due {
            self.look_at_spools(child.process.id())?;
            child.process.kill()?;
        }
        child.end().await
    }

    /// Starts a child that runs the sync once.
    pub(super) async fn start(&self, now: u64) -> HarnessResult<Running> {
        let mut command = Command::new(env::current_exe()?);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let (address, in_flight) = (self.service.address, self.in_flight);
        command.env(ROLE, format!("{address} {in_flight} {} {now} {}", self.seed, self.sync));
        command.env(HASH_KEY, &self.hash_key).env("TMPDIR", &self.temporary.0);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = process.stdout.take().ok_or("the process has no output")?;
        let (sender, mut lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let said = lines.recv().await.into_iter().collect();
        let running = Running { process, lines, said };
        self.look_at_arguments(running.process.id())?;
        Ok(running)
    }

    /// Waits until the child's moment has come or it has ended by itself.
    pub(super) async fn wait(&mut self, child: &mut Running, moment: Moment) -> HarnessResult<Waited> {
        let clock = SystemClock::new();
        let mut chance: BoxFuture<'_, ()> = match moment {
            Moment::Random(pause) => clock.sleep(pause),
            _ => Box::pin(futures::future::pending()),
        };
        let mut limit = clock.sleep(RUN_LIMIT);
        loop {
            tokio::select! {
                line = child.lines.recv() => match line {
                    Some(line) => child.said.push(line),
                    None => return Ok(Waited::Ended),
                },
                () = &mut chance => return Ok(Waited::Due),
                _ = self.due.recv() => return Ok(Waited::Due),
                () = &mut limit => return Err(format!("no end within {} s", RUN_LIMIT.as_secs()).into()),
            }
        }
    }

    /// Secrets come by the environment, never as arguments, which every user of the machine may read.
    fn look_at_arguments(&self, process: u32) -> HarnessResult<()> {
        let Ok(arguments) = fs::read(format!("/proc/{process}/cmdline")) else { return Ok(()) };
        let arguments = String::from_utf8_lossy(&arguments);
        let mut secrets = self.harness.secrets();
        secrets.push(self.hash_key.clone());
        match secrets.iter().any(|secret| arguments.contains(secret.as_str())) {
            true => Err("a secret is among the arguments of the process".into()),
            false => Ok(()),
        }
    }

    /// Counts spools with values, while the process lives that they belong to.
    fn look_at_spools(&mut self, process: u32) -> HarnessResult<()> {
        let folder = fs::canonicalize(&self.temporary.0)?;
        for file in unlinked(process, &folder) {
            self.figures.spooled += u64::from(fs::read(file).is_ok_and(|bytes| self.needles.find(&bytes).is_some()));
        }
        Ok(())
    }

    /// What a killed process leaves behind holds no value.
    fn search(&mut self) -> Result<(), Stop> {
        self.figures.searches += 1;
        let folders = self.harness.folders();
        for folder in folders.iter().map(PathBuf::as_path).chain([self.temporary.0.as_path()]) {
            match self.needles.search(folder).map_err(|e| Stop::from(Box::from(e)))? {
                Ok(files) => ensure!(files > 0 || folder == self.temporary.0, "there is nothing in {folder:?}"),
                Err(found) => return Stop::failed(found),
            }
        }
        Ok(())
    }
}

fn name(moment: Moment) -> &'static str {
    match moment {
        Moment::Left => "left",
        Moment::Random(_) => "random",
        Moment::Arrived(_) => "arrived",
        Moment::Applied(_) => "applied",
        Moment::Answered(..) => "answered",
    }
}

/// Why a parent waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The moment has come.
    Due,
    /// The child has ended by itself.
    Ended,
}

/// A child. It does not outlive this value.
pub(super) struct Running {
    pub(super) process: Child,
    lines: mpsc::UnboundedReceiver<String>,
    said: Vec<String>,
}

impl Running {
    /// How it ended, when it has, and all that it said.
    pub(super) async fn end(mut self) -> HarnessResult<(ExitStatus, Vec<String>)> {
        while let Some(line) = self.lines.recv().await {
            self.said.push(line);
        }
        Ok((self.process.wait()?, std::mem::take(&mut self.said)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
