//! Many seeds, what they met, and the smallest failing one.

use std::fmt;

use super::fault::FaultKind;
use super::oracle::Violation;
use super::run::simulate;
use super::schedule::Schedule;

/// What a campaign met.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Campaign {
    /// Simulations played.
    pub seeds: u64,
    /// For each kind in the order of [`FaultKind::ALL`]: simulations in which it fired.
    pub seeds_fired: Vec<u64>,
    /// Simulations in which nothing fired.
    pub undisturbed: u64,
    /// Calls that the services got.
    pub calls: usize,
    /// Runs that died.
    pub crashes: u64,
    /// The first failure, made small.
    pub failure: Option<(Schedule, Violation)>,
}

impl Campaign {
    /// Plays `schedules` until one fails.
    pub fn play(schedules: impl IntoIterator<Item = Schedule>) -> Self {
        let mut campaign = Self { seeds_fired: vec![0; FaultKind::ALL.len()], ..Self::default() };
        for schedule in schedules {
            let outcome = simulate(&schedule);
            campaign.seeds += 1;
            campaign.calls += outcome.calls;
            campaign.crashes += outcome.crashes;
            for (count, fired) in campaign.seeds_fired.iter_mut().zip(&outcome.fired) {
                *count += u64::from(*fired > 0);
            }
            campaign.undisturbed += u64::from(outcome.fired.iter().all(|fired| *fired == 0));
            if let Some(violation) = outcome.violation {
                campaign.failure = Some(shrink(schedule, violation));
                break;
            }
        }
        campaign
    }

    /// Kinds that fired in less than `per_mille` of a thousand simulations.
    pub fn rare(&self, per_mille: u64) -> Vec<FaultKind> {
        let rare = |count: &u64| *count * 1000 < self.seeds * per_mille;
        FaultKind::ALL.iter().zip(&self.seeds_fired).filter(|(_, count)| rare(count)).map(|(kind, _)| *kind).collect()
    }
}

/// Takes away faults and runs, as long as the same invariant breaks.
fn shrink(mut schedule: Schedule, mut violation: Violation) -> (Schedule, Violation) {
    loop {
        let smaller = schedule.smaller().into_iter().find_map(|smaller| {
            let found = simulate(&smaller).violation.filter(|found| found.invariant == violation.invariant)?;
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
        let Self { seeds, undisturbed, calls, crashes, .. } = self;
        writeln!(f, "{seeds} seeds, {undisturbed} undisturbed, {calls} calls, {crashes} runs that died")?;
        for (kind, count) in FaultKind::ALL.iter().zip(&self.seeds_fired) {
            writeln!(f, "  {:<22}{count:>7}", kind.as_str())?;
        }
        match &self.failure {
            Some((schedule, violation)) => write!(f, "{schedule}\n  {violation}"),
            None => Ok(()),
        }
    }
}
