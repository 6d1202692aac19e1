//! Shows that the simulation finds known defects.
//!
//! Each defect of [`Defect`](rsync_core::defects::Defect) is planted in the engine, and seeds are played until an
//! invariant breaks. A defect that survives means that the simulation would not notice it either if somebody wrote it.
//!
//! `TruncatedDeletes`, a delete that is derived from a read that broke off, has no place to be planted in yet: nothing
//! is deleted.

use rsync_core::defects::{Defect, plant};
use rsync_testkit::simulation::{Schedule, Violation, simulate};

/// Plays seeds with a planted defect until an invariant breaks: the seed and what broke, or `None` if it survives
/// `seeds` of them.
pub fn hunt(defect: Option<Defect>, seeds: u64) -> Option<(u64, Violation)> {
    let found = (0..seeds).find_map(|seed| {
        // Anew for each seed, because some defects remember.
        plant(defect);
        Some((seed, simulate(&Schedule::of_seed(seed)).violation?))
    });
    plant(None);
    found
}
