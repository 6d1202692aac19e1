//! What the parts of a simulation share: time, the service's records, the oracle, and the decision whether a fault
//! happens now.

use std::fmt;
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rsync_core::Capability;
use rsync_core::clock::Clock;
use rsync_core::memory::ManualClock;

use super::fault::FaultKind;
use super::history::{Version, base_key};
use super::keys::{Keys, keys};
use super::oracle::{Oracle, Truth};
use super::random::Stream;
use super::records::Records;
use super::schedule::Schedule;
use super::service::Jobs;

pub(super) struct World {
    pub(super) schedule: Schedule,
    pub(super) capability: Capability,
    pub(super) keys: &'static Keys,
    pub(super) version: Arc<Version>,
    pub(super) records: Records,
    pub(super) jobs: Jobs,
    pub(super) jobs_begun: u64,
    pub(super) quota: Option<(u64, u64)>,
    /// Whether this run has read its model to the end.
    pub(super) read_complete: bool,
    pub(super) oracle: Oracle,
    /// Whether the state store failed in this run.
    pub(super) state_failed: bool,
    /// How often each kind has fired.
    pub(super) fired: Vec<u32>,
    disturbed: bool,
    run: u64,
    asked: Vec<u64>,
    steps: u64,
    crash_step: Option<(Option<FaultKind>, u64)>,
    crashed: bool,
    trace: DefaultHasher,
}

impl World {
    /// Whether a fault of this kind happens here.
    pub(super) fn fires(&mut self, kind: FaultKind, percent: u64) -> bool {
        if !self.disturbed || !self.schedule.faults().contains(kind) {
            return false;
        }
        let happens = self.random(kind).percent(percent);
        if happens {
            self.has_fired(kind);
        }
        happens
    }

    pub(super) fn has_fired(&mut self, kind: FaultKind) {
        self.fired[kind as usize] += 1;
    }

    /// The details of a fault, from a stream of its kind.
    pub(super) fn random(&mut self, kind: FaultKind) -> Stream {
        let asked = &mut self.asked[kind as usize];
        *asked += 1;
        Stream::of(self.schedule.seed(), kind.as_str(), (self.run + 1) << 32 | *asked)
    }

    /// The oracle, and what is so now.
    pub(super) fn judge(&mut self) -> (&mut Oracle, Truth<'_>) {
        let Self { oracle, schedule, version, records, capability, read_complete, .. } = self;
        (oracle, Truth { mode: schedule.mode(), version, records, capability, read_complete: *read_complete })
    }

    /// Adds to the trace, by which two simulations of one seed are compared.
    pub(super) fn note(&mut self, what: impl Hash) {
        what.hash(&mut self.trace);
    }

    pub(super) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    pub(super) fn crashed(&self) -> bool {
        self.crashed
    }

    pub(super) fn disturbed(&self) -> bool {
        self.disturbed
    }

    pub(super) fn run(&self) -> u64 {
        self.run
    }

    pub(super) fn begin_run(&mut self, run: u64, version: Arc<Version>, disturbed: bool, after_crash: bool) {
        self.run = run;
        self.version = version;
        self.disturbed = disturbed;
        self.asked = vec![0; FaultKind::ALL.len()];
        self.steps = 0;
        self.crashed = false;
        self.state_failed = false;
        self.crash_step = if disturbed { self.schedule.crash_step(run, after_crash) } else { None };
        self.quota = None;
        self.read_complete = false;
        if self.fires(FaultKind::SourceEmpty, 15) {
            self.version = Arc::new(Version::empty(self.schedule.mode().marks()));
        }
        for key in self.schedule.strangers(run) {
            let key = base_key(key);
            // What a job has not found by then is told by a later run, and would no longer be true.
            if !self.jobs.values().any(|job| job.missed(&key)) {
                self.records.make_for_others(&key);
            }
        }
        if self.fires(FaultKind::QuotaLow, 40) {
            self.quota = Some((3 + self.random(FaultKind::QuotaLow).below(5), 10));
        }
        self.oracle.begin_run();
        self.note(run);
    }

    fn step(&mut self) -> bool {
        self.steps += 1;
        if self.crash_step.is_some_and(|(_, step)| step == self.steps) {
            self.crashed = true;
            if let Some((Some(kind), _)) = self.crash_step {
                self.has_fired(kind);
            }
        }
        self.crashed
    }
}

/// The world, for all that take part.
#[derive(Clone)]
pub(super) struct Shared {
    world: Arc<Mutex<World>>,
    pub(super) clock: ManualClock,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    pub(super) fn new(schedule: &Schedule, version: Arc<Version>) -> Self {
        let world = World {
            schedule: schedule.clone(),
            capability: schedule.capability(),
            keys: keys(schedule.folding()),
            version,
            records: Records::default(),
            jobs: Jobs::default(),
            jobs_begun: 0,
            quota: None,
            read_complete: false,
            oracle: Oracle::default(),
            state_failed: false,
            fired: vec![0; FaultKind::ALL.len()],
            disturbed: false,
            run: 0,
            asked: vec![0; FaultKind::ALL.len()],
            steps: 0,
            crash_step: None,
            crashed: false,
            trace: DefaultHasher::new(),
        };
        Self { world: Arc::new(Mutex::new(world)), clock: ManualClock::auto_advancing() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place where the process can die. Nothing that comes after it happens then.
    pub(super) async fn step(&self) {
        let (now, crashed) = (self.clock.monotonic(), self.lock().step());
        self.lock().note(now);
        if crashed {
            pending::<()>().await;
        }
    }
}
