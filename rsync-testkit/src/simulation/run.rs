//! One simulation: the disturbed runs of a schedule, then undisturbed ones, after which all must be well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rsync_core::clock::Clock;
use rsync_core::event::Observer;
use rsync_core::ids::{RunId, SyncId};
use rsync_core::memory::SeededRandomness;
use rsync_core::{Error, Event, Failure, Kind, MemoryStore, Report, RunStatus};

use super::drive::{Drive, drive};
use super::fault::FaultKind;
use super::history::{Version, versions};
use super::keys::{hash_key, pipeline, target};
use super::oracle::Violation;
use super::random::Stream;
use super::schedule::Schedule;
use super::service::SimulatedService;
use super::source::SimulatedSource;
use super::store::SimulatedStore;
use super::world::Shared;

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
    /// A hash over all that happened: calls, times, commits, reports. The same schedule gives the same.
    pub trace: u64,
    /// Calls that reached the service.
    pub calls: usize,
    /// Runs that died.
    pub crashes: u64,
}

/// Plays a schedule. Takes no real time but for the work.
pub fn simulate(schedule: &Schedule) -> Outcome {
    let last = schedule.runs().iter().max().map_or(0, |run| run + 1);
    let versions = versions(schedule.seed(), last.max(1), schedule.folding());
    let newest = Arc::clone(&versions[versions.len() - 1]);
    let shared = Shared::new(schedule, Arc::clone(&newest));
    let mut simulation = Simulation { shared, durable: MemoryStore::new(), calls: 0, crashes: 0, crashed: false };
    for run in schedule.runs() {
        simulation.run(*run, &versions[*run as usize], true);
    }
    simulation.settle(last, &newest);
    let world = simulation.shared.lock();
    Outcome {
        violation: world.oracle.violation().cloned(),
        fired: world.fired.clone(),
        trace: world.trace(),
        calls: simulation.calls,
        crashes: simulation.crashes,
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
            | Event::RunHeld { .. } => ends.fetch_add(1, Ordering::Relaxed),
            Event::PreviousRunInterrupted { .. } => interrupted.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

struct Simulation {
    shared: Shared,
    durable: MemoryStore,
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
        let (seed, interrupted) = {
            let world = shared.lock();
            (world.schedule.seed(), world.oracle.has_open_run())
        };
        let told = Told::default();
        let store = SimulatedStore { shared: shared.clone(), durable: self.durable.clone() };
        let sync = pipeline(SimulatedSource(shared.clone()))
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
        world.oracle.check_at_rest(&world.records);
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
                self.check_end(world, version, &ended);
                Some(ended)
            }
        }
    }

    fn check_end(&self, world: &mut super::world::World, version: &Version, ended: &Result<Report, Failure>) {
        let (report, error) = match ended {
            Ok(report) => (Some(report), None),
            Err(failure) => (failure.report.as_deref(), Some(&failure.error)),
        };
        world.note(report.map(|report| format!("{:?} {:?}", report.status, report.totals)));
        if let Some(error) = error {
            world.oracle.check_text(&error.to_string());
        }
        if let Some(report) = report {
            world.oracle.check_text(&report.to_string());
            let sure = !world.state_failed;
            world.oracle.check_totals(&report.totals, version, sure);
            let left = report.totals.outstanding();
            if (report.status == RunStatus::Completed) != (left == 0 && error.is_none()) {
                world.oracle.violate("I5", format!("a run is {:?} with {left} rows left", report.status));
            }
            if report.status == RunStatus::Completed
                && let Some(missing) = world.oracle.missing(version, &world.records, &world.capability)
            {
                world.oracle.violate("I11", format!("a run says that it is complete, but {missing}"));
            }
        } else if world.oracle.calls() > 0 {
            world.oracle.violate("I5", "a run wrote and has no report".into());
        }
        if let Some(error) = error.filter(|error| !planned(error)) {
            let invariant = if error.kind() == Kind::StateCorrupt { "I12" } else { "I11" };
            world.oracle.violate(invariant, format!("a run fails with what no fault explains: {error}"));
        }
    }

    /// Runs without faults: two must do, and a third finds nothing to do.
    fn settle(&mut self, first: u64, version: &Arc<Version>) {
        for run in first..first + 2 {
            match self.run(run, version, false) {
                None => return,
                Some(Ok(report)) if report.totals.outstanding() == 0 => break,
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
            if let Some(missing) = world.oracle.missing(version, &world.records, &world.capability) {
                world.oracle.violate("I1", format!("after the faults have stopped, {missing}"));
            }
        }
        match self.run(first + 2, version, false) {
            Some(Ok(report)) if report.calls.writes > 0 => {
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

/// Whether an error is one that the faults bring about.
fn planned(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::SourceIncomplete
            | Kind::StateStore
            | Kind::Unavailable
            | Kind::Protocol
            | Kind::RateLimited
            | Kind::QuotaExhausted
            | Kind::Unauthenticated
            | Kind::Rejected
    )
}
