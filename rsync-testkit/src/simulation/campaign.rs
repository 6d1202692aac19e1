//! Many seeds, what they met, and the smallest failing one.

use std::fmt;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::fault::{FaultKind, Situation};
use super::oracle::Violation;
use super::run::{Outcome, simulate};
use super::schedule::Schedule;

/// What a campaign met.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Campaign {
    /// Simulations played.
    pub seeds: u64,
    /// For each kind in the order of [`FaultKind::ALL`]: simulations in which it fired.
    pub seeds_fired: Vec<u64>,
    /// For each situation in the order of [`Situation::ALL`]: simulations in which it came about.
    pub seeds_met: Vec<u64>,
    /// Simulations in which nothing fired.
    pub undisturbed: u64,
    /// Calls that the services got.
    pub calls: usize,
    /// Runs that began.
    pub runs: u64,
    /// Runs that died.
    pub crashes: u64,
    /// The fewest runs, keys of a model, and batches of a read that a simulation had.
    pub fewest: (u64, usize, usize),
    /// The first failure, made small.
    pub failure: Option<(Schedule, Violation)>,
}

impl Campaign {
    fn new() -> Self {
        Self {
            seeds: 0,
            seeds_fired: vec![0; FaultKind::ALL.len()],
            seeds_met: vec![0; Situation::ALL.len()],
            undisturbed: 0,
            calls: 0,
            runs: 0,
            crashes: 0,
            fewest: (u64::MAX, usize::MAX, usize::MAX),
            failure: None,
        }
    }

    /// Plays `schedules` until one fails.
    pub fn play(schedules: impl IntoIterator<Item = Schedule>) -> Self {
        let mut campaign = Self::new();
        for schedule in schedules {
            if let Some(violation) = campaign.take(simulate(&schedule)) {
                campaign.failure = Some(shrink(schedule, violation));
                break;
            }
        }
        campaign
    }

    /// Plays what the seeds have, on all processors, until one fails. The failure is that of the lowest seed.
    pub fn of_seeds(seeds: Range<u64>) -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let (next, end) = (AtomicU64::new(seeds.start), AtomicU64::new(seeds.end));
        let worker = || {
            let (mut campaign, mut failure) = (Self::new(), None);
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                // A higher seed is of no interest once one has failed; a lower one is.
                if seed >= end.load(Ordering::Relaxed) {
                    return (campaign, failure);
                }
                if let Some(violation) = campaign.take(simulate(&Schedule::of_seed(seed))) {
                    end.fetch_min(seed, Ordering::Relaxed);
                    failure = Some((seed, violation));
                }
            }
        };
        let mut whole = Self::new();
        let mut failures = Vec::new();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
            for worker in workers {
                let (campaign, failure) = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                whole.join(&campaign);
                failures.extend(failure);
            }
        });
        let first = failures.into_iter().min_by_key(|(seed, _)| *seed);
        whole.failure = first.map(|(seed, violation)| shrink(Schedule::of_seed(seed), violation));
        whole
    }

    /// Adds a simulation; returns what it broke.
    fn take(&mut self, outcome: Outcome) -> Option<Violation> {
        let ran = |(counts, counted): (&mut Vec<u64>, &[u32])| {
            counts.iter_mut().zip(counted).for_each(|(count, times)| *count += u64::from(*times > 0));
        };
        [(&mut self.seeds_fired, &outcome.fired[..]), (&mut self.seeds_met, &outcome.met)].into_iter().for_each(ran);
        self.seeds += 1;
        self.undisturbed += u64::from(outcome.fired.iter().all(|fired| *fired == 0));
        self.calls += outcome.calls;
        self.runs += outcome.runs;
        self.crashes += outcome.crashes;
        if outcome.violation.is_none() {
            let (runs, keys, batches) = self.fewest;
            self.fewest = (runs.min(outcome.runs), keys.min(outcome.keys), batches.min(outcome.batches));
        }
        outcome.violation
    }

    /// Adds what another campaign met.
    fn join(&mut self, other: &Self) {
        let add = |(counts, others): (&mut Vec<u64>, &Vec<u64>)| {
            counts.iter_mut().zip(others).for_each(|(count, other)| *count += other);
        };
        [(&mut self.seeds_fired, &other.seeds_fired), (&mut self.seeds_met, &other.seeds_met)]
            .into_iter()
            .for_each(add);
        self.seeds += other.seeds;
        self.undisturbed += other.undisturbed;
        self.calls += other.calls;
        self.runs += other.runs;
        self.crashes += other.crashes;
        let ((runs, keys, batches), (a, b, c)) = (self.fewest, other.fewest);
        self.fewest = (runs.min(a), keys.min(b), batches.min(c));
    }

    /// Kinds of faults that fired in less than `per_mille` of a thousand simulations.
    pub fn rare(&self, per_mille: u64) -> Vec<FaultKind> {
        let rare = |count: &u64| *count * 1000 < self.seeds * per_mille;
        FaultKind::ALL.iter().zip(&self.seeds_fired).filter(|(_, count)| rare(count)).map(|(kind, _)| *kind).collect()
    }

    /// Situations that came about in less than `per_mille` of a thousand simulations.
    pub fn unmet(&self, per_mille: u64) -> Vec<Situation> {
        let rare = |count: &u64| *count * 1000 < self.seeds * per_mille;
        Situation::ALL.iter().zip(&self.seeds_met).filter(|(_, count)| rare(count)).map(|(kind, _)| *kind).collect()
    }
}

/// Takes away faults, runs and what is special about the sync, as long as the same invariant breaks.
fn shrink(schedule: Schedule, violation: Violation) -> (Schedule, Violation) {
    shrink_with(schedule, violation, |schedule| simulate(schedule).violation)
}

/// Makes a schedule that fails small, as long as `play` finds the same invariant broken.
pub fn shrink_with(
    mut schedule: Schedule,
    mut violation: Violation,
    play: impl Fn(&Schedule) -> Option<Violation>,
) -> (Schedule, Violation) {
    loop {
        let smaller = schedule.smaller().into_iter().find_map(|smaller| {
            let found = play(&smaller).filter(|found| found.invariant == violation.invariant)?;
            Some((smaller, found))
        });
        match smaller {
            Some(found) => (schedule, violation) = found,
            None => return (schedule, violation),
        }
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, undisturbed, calls, runs, crashes, fewest, .. } = self;
        writeln!(f, "{seeds} seeds, {undisturbed} undisturbed, {runs} runs, {crashes} of them died, {calls} calls")?;
        writeln!(
            f,
            "each at least {} runs, {} keys, {} batches a read; seeds by fault:",
            fewest.0, fewest.1, fewest.2
        )?;
        let faults = FaultKind::ALL.iter().map(|kind| kind.as_str()).zip(&self.seeds_fired);
        table(f, &faults.collect::<Vec<_>>())?;
        writeln!(f, "and by situation:")?;
        let situations = Situation::ALL.iter().map(|situation| situation.as_str()).zip(&self.seeds_met);
        table(f, &situations.collect::<Vec<_>>())?;
        match &self.failure {
            Some((schedule, violation)) => write!(f, "{schedule}\n  {violation}"),
            None => Ok(()),
        }
    }
}

/// Names and counts, four on a line.
fn table(f: &mut fmt::Formatter<'_>, counts: &[(&str, &u64)]) -> fmt::Result {
    for line in counts.chunks(4) {
        for (name, count) in line {
            write!(f, "  {name:<19}{count:>7}")?;
        }
        writeln!(f)?;
    }
    Ok(())
}
