//! Every planted defect is found.

#![allow(clippy::print_stdout, reason = "it shows how many seeds each defect takes")]

use rsync_core::defects::Defect;
use rsync_defects::hunt;

/// Most seeds that a defect may survive.
const SEEDS: u64 = 10_000;

#[test]
fn the_simulation_finds_every_planted_defect() {
    let mut survivors = Vec::new();
    for defect in Defect::ALL {
        match hunt(Some(defect), SEEDS) {
            Some((seed, violation)) => {
                println!("{:<22}{:>6} seeds, {}", format!("{defect:?}"), seed + 1, violation.invariant);
            }
            None => survivors.push(defect),
        }
    }
    assert_eq!(survivors, [], "the simulation does not find these defects");
}

#[test]
fn nothing_is_found_where_nothing_is_planted() {
    assert_eq!(hunt(None, 50), None);
}
