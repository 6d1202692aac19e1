//! The engine under deterministic simulation.

#![allow(clippy::print_stdout, reason = "a campaign shows what it met")]

mod scenarios;

use std::env;

use rsync_testkit::simulation::{Campaign, FaultKind, FaultSet, Schedule, simulate};

/// Seeds that a test run plays, on all processors.
const SEEDS: u64 = 10_000;
/// Seeds from which on a share means something.
const ENOUGH_SEEDS: u64 = 5_000;

/// Schedules that failed once.
const REGRESSIONS: &str = include_str!("regressions.txt");

fn assert_holds(campaign: &Campaign) {
    if let Some((schedule, violation)) = &campaign.failure {
        // The one line that repeats the failure: RSYNC_SEED='SEED=...' cargo test -p rsync-testkit --test simulation
        panic!("{schedule}\n{violation}");
    }
}

#[test]
fn f04_random_schedules_keep_the_invariants() {
    if let Ok(line) = env::var("RSYNC_SEED") {
        let schedule: Schedule = line.parse().unwrap();
        println!("{schedule}");
        return assert_holds(&Campaign::play([schedule]));
    }
    let seeds = env::var("RSYNC_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let campaign = Campaign::of_seeds(0..seeds);
    println!("{campaign}");
    assert_holds(&campaign);
    let (runs, keys, batches) = campaign.fewest;
    assert!(runs >= 3 && keys >= 20 && batches >= 3, "{campaign}");
    // With few seeds chance decides.
    if seeds >= ENOUGH_SEEDS {
        assert_eq!(campaign.rare(10), [], "these faults fired in less than one of a hundred seeds:\n{campaign}");
        assert_eq!(campaign.unmet(2), [], "this came about in less than one of five hundred seeds:\n{campaign}");
        assert!(campaign.undisturbed * 20 >= seeds, "{campaign}");
    }
}

#[test]
fn what_failed_once_holds() {
    let lines = REGRESSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let schedules: Vec<Schedule> = lines.map(|line| line.parse().unwrap()).collect();
    assert!(!schedules.is_empty());
    assert_holds(&Campaign::play(schedules));
}

#[test]
fn f04_a_crash_at_every_step_under_every_fault() {
    // A run of a model of 20 keys has fewer steps, unless it is slowed down by retries.
    const STEPS: u64 = 30;
    let mut crashes = 0;
    for kind in FaultKind::ALL {
        // Another seed a kind, so that the services differ, too.
        let line = format!("SEED={} faults=[{}] runs=[0,1]", 1000 + *kind as u64, kind.as_str());
        let schedule: Schedule = line.parse().unwrap();
        let campaign = Campaign::play((1..=STEPS).map(|step| schedule.clone().with_crash(1, step)));
        assert_holds(&campaign);
        crashes += campaign.crashes;
    }
    let most = STEPS * FaultKind::ALL.len() as u64;
    assert!(crashes * 2 > most, "only {crashes} of {most} crashes came about");
}

#[test]
fn the_same_schedule_is_the_same_simulation() {
    let traces: Vec<u64> = (0..100).map(|seed| simulate(&Schedule::of_seed(seed)).trace).collect();
    for (seed, trace) in (0..).zip(&traces) {
        let again: Schedule = Schedule::of_seed(seed).to_string().parse().unwrap();
        assert_eq!(simulate(&again).trace, *trace, "{again}");
    }
    let mut distinct = traces.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), traces.len(), "the trace tells seeds apart");
}

#[test]
fn a_line_is_a_schedule() {
    let line =
        "SEED=12 mode=[update_only:3,clear,created,marked] faults=[lost_after,crash_at_poll] runs=[0,3] crash=[3,7]";
    let schedule: Schedule = line.parse().unwrap();
    assert_eq!(schedule.to_string(), line);
    assert_eq!(schedule.faults(), FaultSet::none().with(FaultKind::LostAfter).with(FaultKind::CrashAtPoll));
    assert_eq!("12".parse::<Schedule>().unwrap(), Schedule::of_seed(12));
    for wrong in ["", "SEED=x", "SEED=1 faults=[lost]", "SEED=1 fault=[]", "SEED=1 runs=[a]", "SEED=1 mode=[delete]"] {
        assert!(wrong.parse::<Schedule>().is_err(), "{wrong}");
    }
}
