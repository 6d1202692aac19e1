//! Each family of faults alone and in every seed, so that none is drowned by the others.

use rsync_testkit::simulation::{Campaign, FaultKind, FaultSet, Schedule, Situation};

use crate::assert_holds;

const SEEDS: u64 = 25;

fn play(seeds: u64, kinds: &[FaultKind], situations: &[Situation]) {
    let faults = kinds.iter().copied().fold(FaultSet::none(), FaultSet::with);
    let campaign = Campaign::play((0..seeds).map(|seed| Schedule::of_seed(seed).with_faults(faults)));
    assert_holds(&campaign);
    for (kind, seeds) in FaultKind::ALL.iter().zip(&campaign.seeds_fired).filter(|(kind, _)| kinds.contains(kind)) {
        assert!(*seeds > 0, "{} never fired", kind.as_str());
    }
    for situation in situations {
        assert!(campaign.seeds_met[*situation as usize] > 0, "{} never came about", situation.as_str());
    }
}

macro_rules! scenarios {
    ($(fn $name:ident() { $($kind:ident),* })*) => {
        $(#[test] fn $name() { play(SEEDS, &[$(FaultKind::$kind),*], &[]); })*
    };
}

scenarios! {
    fn f01_f02_f03_f05_f62_a_process_dies_anywhere_and_in_recovery() { CrashAtStep, CrashAtPoll, CrashInRecovery }
    fn f09_the_state_cannot_be_written_or_opened() { CommitFailsBefore, CommitFailsAfter, StateOpenFails }
    fn f13_the_wall_clock_jumps() { WallJump, CrashAtStep, RateLimited }
    fn f14_the_host_drops_a_run() { CrashAtPoll, SlowAnswer }
    fn f16_f17_the_source_breaks_off() { SourceRefused, SourceCut }
    fn f21_f22_f23_f59_keys_are_null_double_or_alike_and_nothing_unchanged_is_sent() {}
    fn f26_f28_the_service_asks_for_a_pause() { RateLimited, LongPause, RowsRetryable }
    fn f29_f30_calls_fail_before_they_act() { NotSent, ReadFails }
    fn f31_answers_are_lost() { LostBefore, LostAfter, UnknownBefore, UnknownAfter }
    fn f33_f34_f35_results_are_partial_in_any_order_missing_and_double() {
        RowsRetryable, RowsRejected, ResultsMissing, ResultsDoubled, OutcomesMissing, OutcomesExtra
    }
    fn f36_answers_cannot_be_understood() { Garbled }
    fn f39_credentials_are_revoked() { Revoked }
    fn f40_one_row_spoils_its_batch() { PoisonRow }
    fn f41_f42_jobs_last_are_lost_and_fall_silent() { JobPending, JobLost, JobSilent, JobStuck, CrashAtStep }
    fn f43_locked_rows_are_sent_again() { RowsRetryable }
    fn f44_rows_are_refused_after_answers_were_lost() { RowsRejected, LostAfter, UnknownAfter }
    fn f51_f52_the_quota_runs_out() { QuotaUsedUp, QuotaLow }
}

#[test]
fn f05_f50_rows_leave_and_come_back_while_calls_are_in_doubt() {
    let faults = [FaultKind::LostBefore, FaultKind::LostAfter, FaultKind::UnknownAfter, FaultKind::CrashAtStep];
    let situations = [
        Situation::ExitSent,
        Situation::ExitDone,
        Situation::ExitOfNothing,
        Situation::ExitInDoubt,
        Situation::BackInDoubt,
        Situation::LeftInDoubt,
    ];
    play(150, &faults, &situations);
}

#[test]
fn f16_f25_reads_that_break_off_and_empty_models_dispose_of_nothing() {
    let situations = [Situation::CutBeforeExits, Situation::EmptyHeld, Situation::ExitDone];
    play(60, &[FaultKind::SourceCut, FaultKind::SourceEmpty], &situations);
}

#[test]
fn f44_f50_exits_are_refused_and_records_are_missing_or_there_already() {
    let situations = [Situation::ExitRefused, Situation::RecordMissing, Situation::RecordExists];
    play(60, &[FaultKind::RowsRejected], &situations);
}
