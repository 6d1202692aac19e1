//! From a seed to what happens.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rsync_core::Capability;
use rsync_core::capability::{OperationLimits, Rate, WriteIdempotence};
use rsync_core::destination::KeyFolding;

use super::fault::{FaultKind, FaultSet};
use super::history::UNIVERSE;
use super::mode::{Mode, Writes};
use super::random::Stream;

/// What happens in one simulation, as data: the seed decides everything, a smaller set of faults and fewer runs make
/// a failure easier to read.
///
/// Its text is one line, `SEED=7 mode=[upsert,delete,touched] faults=[lost_after,crash_at_step] runs=[0,2]`, and the
/// line (or the seed alone) makes the schedule again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    seed: u64,
    mode: Mode,
    faults: FaultSet,
    /// The disturbed runs, each with the version of the model of its number.
    runs: Vec<u64>,
    crash: Option<(u64, u64)>,
}

impl Schedule {
    /// All that a seed has.
    pub fn of_seed(seed: u64) -> Self {
        let runs = 3 + Stream::of(seed, "runs", 0).below(3);
        let (mode, faults) = (Mode::of_seed(seed), FaultSet::swarm(seed));
        Self { seed, mode, faults, runs: (0..runs).collect(), crash: None }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The faults that may happen.
    pub fn faults(&self) -> FaultSet {
        self.faults
    }

    /// What the sync does.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Faults and runs that it has, for telling small schedules from large ones.
    pub fn size(&self) -> (usize, usize) {
        (self.faults.iter().count(), self.runs.len())
    }

    /// Sets the faults that may happen.
    #[must_use]
    pub fn with_faults(mut self, faults: FaultSet) -> Self {
        self.faults = faults;
        self
    }

    /// Lets the process die in run `run` at its step `step`, whatever else happens.
    #[must_use]
    pub fn with_crash(mut self, run: u64, step: u64) -> Self {
        self.crash = Some((run, step));
        self
    }

    /// Schedules with one thing less, for shrinking.
    pub(super) fn smaller(&self) -> Vec<Self> {
        let fewer_faults = self.faults.iter().map(|kind| self.clone().with_faults(self.faults.without(kind)));
        let fewer_runs = (0..self.runs.len()).map(|gone| {
            let mut smaller = self.clone();
            smaller.runs.remove(gone);
            smaller
        });
        let simpler = self.mode.smaller().into_iter().map(|mode| Self { mode, ..self.clone() });
        fewer_faults.chain(fewer_runs).chain(simpler).collect()
    }

    pub(super) fn runs(&self) -> &[u64] {
        &self.runs
    }

    /// The step at which run `run` dies.
    pub(super) fn crash_step(&self, run: u64, after_crash: bool) -> Option<(Option<FaultKind>, u64)> {
        if let Some((at, step)) = self.crash {
            return (at == run).then_some((None, step));
        }
        let draw = |kind: FaultKind, chance, steps| {
            let mut random = Stream::of(self.seed, kind.as_str(), 1 + run);
            (self.faults.contains(kind) && random.percent(chance)).then(|| (Some(kind), 1 + random.below(steps)))
        };
        let early = if after_crash { draw(FaultKind::CrashInRecovery, 70, 8) } else { None };
        early.or_else(|| draw(FaultKind::CrashAtStep, 50, 22))
    }

    /// After how many polls the host drops run `run`.
    pub(super) fn drop_poll(&self, run: u64) -> Option<u64> {
        let mut random = Stream::of(self.seed, FaultKind::CrashAtPoll.as_str(), 1 + run);
        (self.faults.contains(FaultKind::CrashAtPoll) && random.percent(40)).then(|| 1 + random.below(30))
    }

    /// How the service compares keys.
    pub(super) fn folding(&self) -> KeyFolding {
        match Stream::of(self.seed, "folding", 0).below(2) {
            0 => KeyFolding::Exact,
            _ => KeyFolding::CaselessTrimmed,
        }
    }

    /// What the service can do.
    pub(super) fn capability(&self) -> Capability {
        let mut random = Stream::of(self.seed, "service", 0);
        let rows = 2 + random.below(5) as usize;
        let idempotence = if random.percent(15) { WriteIdempotence::None } else { WriteIdempotence::ByKey };
        let mut capability = Capability::new().with_clears_fields().with_max_in_flight(1 + random.below(4) as usize);
        if random.percent(70) {
            capability = capability.with_keeps_absent_fields();
        }
        if random.percent(30) {
            capability = capability.with_rate(Rate::new(2 + random.below(4) as u32, Duration::from_secs(1)));
        }
        capability = self.mode.demand(self.seed, capability, OperationLimits::new(rows, idempotence));
        if self.faults.contains(FaultKind::PoisonRow) { capability } else { capability.with_per_row_outcomes() }
    }

    /// Whether the service tells if a record is new, and the ids of records.
    pub(super) fn tells(&self) -> (bool, bool) {
        let mut random = Stream::of(self.seed, "tells", 0);
        match self.mode {
            Mode::PLAIN => (false, false),
            _ => (random.percent(80), random.percent(85)),
        }
    }

    /// Records that others make at the service before run `run`, by the number of their keys.
    pub(super) fn strangers(&self, run: u64) -> Vec<u64> {
        let chance = match (self.mode, self.mode.writes, run) {
            (Mode::PLAIN, ..) => 0,
            (_, Writes::UpdateOnly(_), 0) => 60,
            (_, Writes::UpdateOnly(_), _) => 5,
            (.., 0) => 15,
            _ => 0,
        };
        let mut random = Stream::of(self.seed, "strangers", run);
        (0..UNIVERSE).filter(|_| random.percent(chance)).collect()
    }

    /// Whether writes become jobs.
    pub(super) fn has_jobs(&self) -> bool {
        [FaultKind::JobPending, FaultKind::JobLost, FaultKind::JobSilent, FaultKind::JobStuck]
            .into_iter()
            .any(|kind| self.faults.contains(kind))
            && Stream::of(self.seed, "jobs", 0).percent(50)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs: Vec<String> = self.runs.iter().map(u64::to_string).collect();
        write!(f, "SEED={} mode=[{}] faults=[{}] runs=[{}]", self.seed, self.mode, self.faults, runs.join(","))?;
        match self.crash {
            Some((run, step)) => write!(f, " crash=[{run},{step}]"),
            None => Ok(()),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let number = |text: &str| text.parse::<u64>().map_err(|e| format!("\"{text}\" in \"{line}\": {e}"));
        let first = words.next().unwrap_or_default();
        let mut schedule = Self::of_seed(number(first.strip_prefix("SEED=").unwrap_or(first))?);
        for word in words {
            let list = |name: &str| -> Option<Vec<&str>> {
                let list = word.strip_prefix(name)?.strip_prefix("=[")?.strip_suffix(']')?;
                Some(list.split(',').filter(|item| !item.is_empty()).collect())
            };
            if let Some(mode) = word.strip_prefix("mode=[").and_then(|mode| mode.strip_suffix(']')) {
                schedule.mode = mode.parse()?;
            } else if let Some(names) = list("faults") {
                let kinds = names.into_iter().map(FaultKind::from_str).collect::<Result<Vec<_>, _>>()?;
                schedule.faults = kinds.into_iter().fold(FaultSet::none(), FaultSet::with);
            } else if let Some(runs) = list("runs") {
                schedule.runs = runs.into_iter().map(number).collect::<Result<_, _>>()?;
            } else if let Some([run, step]) = list("crash").as_deref() {
                schedule.crash = Some((number(run)?, number(step)?));
            } else {
                return Err(format!(
                    "\"{word}\" is no part of a schedule; it has SEED=, mode=[], faults=[], runs=[], crash=[]"
                ));
            }
        }
        Ok(schedule)
    }
}
