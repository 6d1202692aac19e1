//! Shows that the simulation finds known defects.
//!
//! Each defect of [`Defect`](rsync_core::defects::Defect) is planted in the engine, and seeds are played until an
//! invariant breaks. A defect that survives means that the simulation would not notice it either if somebody wrote it.

use rsync_core::defects::{Defect, plant};
use rsync_testkit::simulation::{Schedule, Violation, shrink_with, simulate};

/// A planted defect that was found.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub struct Caught {
    /// Seeds until then.
    pub seeds: u64,
    /// What broke.
    pub violation: Violation,
    /// The schedule, and the smallest one that breaks the same invariant.
    pub schedules: (Schedule, Schedule),
}

/// Plays a schedule with a planted defect. It is planted anew each time, because some defects remember.
fn breaks(defect: Option<Defect>, schedule: &Schedule) -> Option<Violation> {
    plant(defect);
    let violation = simulate(schedule).violation;
    plant(None);
    violation
}

/// Plays seeds with a planted defect until an invariant breaks in a way that is `wanted`; `None` if it survives `seeds`
/// of them.
pub fn hunt(defect: Option<Defect>, seeds: u64, wanted: impl Fn(&Violation) -> bool) -> Option<Caught> {
    let play = |schedule: &Schedule| breaks(defect, schedule).filter(&wanted);
    let (seed, violation) = (0..seeds).find_map(|seed| Some((seed, play(&Schedule::of_seed(seed))?)))?;
    let schedule = Schedule::of_seed(seed);
    let (small, violation) = shrink_with(schedule.clone(), violation, play);
    Some(Caught { seeds: seed + 1, violation, schedules: (schedule, small) })
}
