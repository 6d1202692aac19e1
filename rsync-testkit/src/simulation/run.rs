//! One simulation: the disturbed runs of a schedule, then undisturbed ones, after which all must be well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rsync_core::clock::Clock;
use rsync_core::event::Observer;
use rsync_core::ids::{RunId, SyncId};
use rsync_core::memory::SeededRandomness;
use rsync_core::report::Totals;
use rsync_core::{Error, Event, Failure, Kind, MemoryStore, Report, RunStatus};

use super::drive::{Drive, drive};
use super::fault::{FaultKind, Situation};
use super::history::{Version, versions};
use super::keys::{hash_key, pipeline, target};
use super::oracle::Violation;
use super::random::Stream;
use super::schedule::Schedule;
use super::service::SimulatedService;
use super::source::SimulatedSource;
use super::store::SimulatedStore;
use super::world::{Shared, World};

/// More virtual time than any run may take.
const LONGEST: Duration = Duration::from_secs(12 * 3600);

/// What a simulation was like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The first invariant that broke.
    pub violation: Option<Violation>,
    /// How often each kind of fault fired, in the order of [`FaultKind::ALL`].
    pub fired: Vec<u32>,
    /// How often each situation came about, in the order of [`Situation::ALL`].
    pub met: Vec<u32>,
    /// A hash over all that happened: calls, times, commits, reports. The same schedule gives the same.
    pub trace: u64,
    /// Calls that reached the service.
    pub calls: usize,
    /// Runs that died.
    pub crashes: u64,
    /// Runs that began.
    pub runs: u64,
    /// The most keys that a version of the model has.
    pub keys: usize,
    /// The fewest batches that a version of the model is read in.
    pub batches: usize,
}

/// Plays a schedule. Takes no real time but for the work.
pub fn simulate(schedule: &Schedule) -> Outcome {
    let last = schedule.runs().iter().max().map_or(0, |run| run + 1);
    let versions = versions(schedule.seed(), last.max(1), schedule.folding(), schedule.mode());
    let newest = Arc::clone(&versions[versions.len() - 1]);
    let shared = Shared::new(schedule, Arc::clone(&newest));
    let mut simulation =
        Simulation { shared, durable: MemoryStore::new(), runs: 0, calls: 0, crashes: 0, crashed: false };
    for run in schedule.runs() {
        simulation.run(*run, &versions[*run as usize], true);
    }
    simulation.settle(last, &newest);
    let world = simulation.shared.lock();
    Outcome {
        violation: world.oracle.violation().cloned(),
        fired: world.fired.clone(),
        met: world.oracle.found.met.to_vec(),
        trace: world.trace(),
        calls: simulation.calls,
        crashes: simulation.crashes,
        runs: simulation.runs,
        keys: versions.iter().map(|version| version.keys()).max().unwrap_or_default(),
        batches: versions.iter().map(|version| version.batches.len()).min().unwrap_or_default(),
    }
}

/// Counts the events that end a run, and those that tell of a run that never ended.
#[derive(Clone, Debug, Default)]
struct Told(Arc<(AtomicU32, AtomicU32)>);

impl Observer for Told {
    fn observe(&self, _sync: &SyncId, _run: RunId, event: &Event) {
        let (ends, interrupted) = &*self.0;
        match event {
            Event::RunCompleted { .. }
            | Event::RunIncomplete { .. }
            | Event::RunFailed { .. }
            | Event::RunPostponed { .. }
            | Event::RunHeld { .. } => ends.fetch_add(1, Ordering::Relaxed),
            Event::PreviousRunInterrupted { .. } => interrupted.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

struct Simulation {
    shared: Shared,
    durable: MemoryStore,
    runs: u64,
    calls: usize,
    crashes: u64,
    crashed: bool,
}

impl Simulation {
    fn violated(&self) -> bool {
        self.shared.lock().oracle.violation().is_some()
    }

    /// One run by a process that knows nothing but the durable state. `None` if it died.
    fn run(&mut self, run: u64, version: &Arc<Version>, disturbed: bool) -> Option<Result<Report, Failure>> {
        if self.violated() {
            return None;
        }
        let shared = self.shared.clone();
        let drop_poll = {
            let mut world = shared.lock();
            world.begin_run(run, Arc::clone(version), disturbed, self.crashed);
            world.schedule.drop_poll(run).filter(|_| disturbed)
        };
        self.runs += 1;
        let (seed, mode, interrupted) = {
            let world = shared.lock();
            (world.schedule.seed(), world.schedule.mode(), world.oracle.has_open_run())
        };
        let told = Told::default();
        let store = SimulatedStore { shared: shared.clone(), durable: self.durable.clone() };
        let sync = pipeline(SimulatedSource(shared.clone()), mode)
            .destination(SimulatedService(shared.clone()), target())
            .state(store, hash_key())
            .observer(told.clone())
            .clock(shared.clock.clone())
            .randomness(SeededRandomness::new(Stream::of(seed, "engine", run).next()))
            .build()
            .expect("all parts are there");
        let began = shared.clock.monotonic();
        let driven = drive(sync.run(), |poll| {
            let mut world = shared.lock();
            if drop_poll == Some(poll) {
                world.has_fired(FaultKind::CrashAtPoll);
                return true;
            }
            world.crashed() || world.oracle.violation().is_some()
        });
        let took = shared.clock.monotonic() - began;
        let mut guard = shared.lock();
        let world = &mut *guard;
        self.calls += world.oracle.calls();
        let (oracle, truth) = world.judge();
        oracle.check_at_rest(&truth);
        // Where a process died, nothing but its deadline is left to wait for, and the clock may have gone there.
        if took > LONGEST && !matches!(driven, Drive::Dropped) {
            world.oracle.violate("I11", format!("a run takes {took:?}"));
        }
        self.crashed = matches!(driven, Drive::Dropped);
        self.crashes += u64::from(self.crashed);
        match driven {
            Drive::Dropped => None,
            Drive::Hangs(how) => {
                world.oracle.violate("I11", format!("a run hangs: {how}"));
                None
            }
            Drive::Done(ended) => {
                let (ends, told) = (told.0.0.load(Ordering::Relaxed), told.0.1.load(Ordering::Relaxed) > 0);
                let planned = !matches!(&ended, Err(failure) if failure.report.is_none());
                if planned && told != interrupted {
                    let what = format!("the run before was interrupted: {interrupted}, and the host was told: {told}");
                    world.oracle.violate("I11", what);
                }
                if ends != 1 {
                    world.oracle.violate("I11", format!("a run ends with {ends} events that say so"));
                }
                check_end(world, &ended);
                Some(ended)
            }
        }
    }

    /// Runs without faults: two must do, and a third finds nothing to do.
    fn settle(&mut self, first: u64, version: &Arc<Version>) {
        for run in first..first + 2 {
            // No pause that the service asked for is longer.
            self.shared.clock.advance(Duration::from_secs(24 * 3_600));
            match self.run(run, version, false) {
                None => return,
                // Nothing is refused any more, but a job may tell what was refused before.
                Some(Ok(report)) if report.totals.outstanding() + refused(&report.totals) == 0 => break,
                Some(Ok(_)) => {}
                Some(Err(failure)) => {
                    let what = format!("a run without faults fails: {failure}");
                    return self.shared.lock().oracle.violate("I1", what);
                }
            }
        }
        {
            let mut guard = self.shared.lock();
            let world = &mut *guard;
            let (oracle, truth) = world.judge();
            if let Some(unfinished) = oracle.unfinished(&truth) {
                oracle.violate("I1", format!("after the faults have stopped, {unfinished}"));
            }
        }
        let may_ask_again = {
            let world = self.shared.lock();
            world.oracle.may_ask_again(world.schedule.mode())
        };
        self.shared.clock.advance(Duration::from_secs(24 * 3_600));
        match self.run(first + 2, version, false) {
            Some(Ok(report)) if report.calls.writes > 0 && !may_ask_again => {
                let what = format!("a run over unchanged data makes {} calls", report.calls.writes);
                self.shared.lock().oracle.violate("I8", what);
            }
            Some(Err(failure)) => {
                self.shared.lock().oracle.violate("I1", format!("the last run fails: {failure}"));
            }
            Some(Ok(_)) => self.shared.lock().oracle.check_jobs(),
            None => {}
        }
    }
}

fn refused(totals: &Totals) -> u64 {
    totals.rejected + totals.exits.rejected
}

/// Checks how a run ended, by what it says of itself.
fn check_end(world: &mut World, ended: &Result<Report, Failure>) {
    let (report, error) = match ended {
        Ok(report) => (Some(report), None),
        Err(failure) => (failure.report.as_deref(), Some(&failure.error)),
    };
    world.note(report.map(|report| format!("{:?} {:?}", report.status, report.totals)));
    let sure = !world.state_failed;
    let (oracle, truth) = world.judge();
    if let Some(error) = error {
        oracle.check_text(&error.to_string());
    }
    if let Some(report) = report {
        oracle.check_text(&report.to_string());
        oracle.check_totals(&report.totals, truth.version, sure);
        let left = report.totals.outstanding();
        match report.status {
            RunStatus::Held => {
                oracle.found.met(Situation::EmptyHeld);
                if truth.version.rows > 0 || truth.mode.exits.is_none() {
                    oracle.violate("I5", "a run is held, but no guard has a reason to".into());
                }
                if oracle.calls() > 0 {
                    oracle.violate("I6", "a run is held and makes calls".into());
                }
            }
            status if (status == RunStatus::Completed) != (left == 0 && error.is_none()) => {
                oracle.violate("I5", format!("a run is {status:?} with {left} rows left"));
            }
            RunStatus::Completed => {
                if let Some(unfinished) = oracle.unfinished(&truth) {
                    oracle.violate("I11", format!("a run says that it is complete, but {unfinished}"));
                }
            }
            _ => {}
        }
    } else if oracle.calls() > 0 {
        oracle.violate("I5", "a run wrote and has no report".into());
    }
    if let Some(error) = error.filter(|error| !planned(error)) {
        let invariant = if error.kind() == Kind::StateCorrupt { "I12" } else { "I11" };
        oracle.violate(invariant, format!("a run fails with what no fault explains: {error}"));
    }
}

/// Whether an error is one that the faults bring about.
fn planned(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::SourceIncomplete
            | Kind::StateStore
            | Kind::Unavailable
            | Kind::Protocol
            | Kind::RateLimited
            | Kind::TooEarly
            | Kind::QuotaExhausted
            | Kind::Unauthenticated
            | Kind::Rejected
    )
}
