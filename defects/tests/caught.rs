//! Every planted defect is found.

#![allow(clippy::print_stdout, reason = "it shows how many seeds each defect takes")]

use std::thread;

use rsync_core::defects::Defect;
use rsync_defects::{Caught, hunt};
use rsync_testkit::simulation::Violation;

/// Most seeds that a defect may survive.
const SEEDS: u64 = 10_000;
/// Most faults, and most disturbed runs, of a schedule that was made small.
const SMALL: (usize, usize) = (3, 3);

fn show(defect: Defect, caught: &Caught) {
    let (large, small) = (caught.schedules.0.size(), caught.schedules.1.size());
    println!(
        "{:<20}{:>6} seeds  {:<4}{:>3} faults {} runs -> {} faults {} runs  {}",
        format!("{defect:?}"),
        caught.seeds,
        caught.violation.invariant,
        large.0,
        large.1,
        small.0,
        small.1,
        caught.schedules.1
    );
}

#[test]
fn the_simulation_finds_every_planted_defect_and_makes_its_schedule_small() {
    // A defect is planted in one thread.
    let (first, second) = Defect::ALL.split_at(Defect::ALL.len() / 2);
    let play =
        |defects: &[Defect]| defects.iter().map(|defect| hunt(Some(*defect), SEEDS, |_| true)).collect::<Vec<_>>();
    let found = thread::scope(|scope| {
        let other = scope.spawn(|| play(second));
        let mut found = play(first);
        found.extend(other.join().unwrap());
        found
    });
    let mut survivors = Vec::new();
    for (defect, caught) in Defect::ALL.into_iter().zip(found) {
        let Some(caught) = caught else {
            survivors.push(defect);
            continue;
        };
        show(defect, &caught);
        let small = caught.schedules.1.size();
        assert!(small.0 <= SMALL.0 && small.1 <= SMALL.1, "{defect:?}: {} is not small", caught.schedules.1);
    }
    assert_eq!(survivors, [], "the simulation does not find these defects");
}

#[test]
fn f16_exits_from_a_read_that_broke_off_are_found_as_what_they_are() {
    let exit = |found: &Violation| found.invariant == "I6" && found.what.contains("which the model has");
    let caught = hunt(Some(Defect::TruncatedDeletes), SEEDS, exit).unwrap();
    show(Defect::TruncatedDeletes, &caught);
    assert!(caught.schedules.1.to_string().contains("source_cut"), "{}", caught.schedules.1);
}

#[test]
fn nothing_is_found_where_nothing_is_planted() {
    assert_eq!(hunt(None, 50, |_| true), None);
}
