//! The conformance suite on trial: the in-memory destination passes it, and every animal of the zoo, an adapter
//! with one deliberate defect, fails the very case that is about its defect.

#[path = "destination_suite/harness.rs"]
mod harness;
#[path = "destination_suite/zoo.rs"]
mod zoo;

use rsync_core::Destination;
use rsync_core::destination::Target;
use rsync_core::memory::MemoryDestination;
use rsync_testkit::destination::{Verdict, run};

use harness::{MemoryHarness, Sight};
use zoo::Defect;

// Time is paused: the suite's waits cost nothing, and an adapter that sleeps is caught at once.
#[tokio::test(start_paused = true)]
async fn the_in_memory_destination_passes() {
    let report = run(&MemoryHarness::new(None)).await;
    assert!(report.passed(), "{report}");
    let left_out = report.cases.iter().filter(|case| matches!(case.verdict, Verdict::NotApplicable(_))).count();
    assert!(left_out <= 6, "a suite that leaves out so much proves little\n{report}");
}

#[tokio::test(start_paused = true)]
async fn lesser_capabilities_pass_too() {
    let full = MemoryDestination::new().capability(&Target::new("any", "id"));
    let mut whole_batch = full;
    whole_batch.per_row_outcomes = false;
    let mut one_row = full;
    one_row.upsert.as_mut().expect("upsert is offered").max_rows = 1;
    let mut without_upsert = full;
    without_upsert.upsert = None;
    let mut upsert_only = full;
    (upsert_only.create, upsert_only.update, upsert_only.delete, upsert_only.lookup_rows) = (None, None, None, None);
    let mut replacing = full;
    (replacing.keeps_absent_fields, replacing.clears_fields) = (false, false);
    for (name, capability) in [
        ("whole batch", whole_batch),
        ("one row", one_row),
        ("without upsert", without_upsert),
        ("upsert only", upsert_only),
        ("replacing", replacing),
    ] {
        let report = run(&MemoryHarness::new(None).with_capability(capability)).await;
        assert!(report.passed(), "{name}\n{report}");
    }
    let report = run(&MemoryHarness::new(None).with_folded_keys()).await;
    assert!(report.passed(), "folded keys\n{report}");
    let report = run(&MemoryHarness::new(None).with_jobs()).await;
    assert!(report.passed(), "jobs\n{report}");
}

#[tokio::test(start_paused = true)]
async fn without_read_back_nothing_passes() {
    for sight in [Sight::Nothing, Sight::Anything, Sight::Errors] {
        let report = run(&MemoryHarness::new(None).with_sight(sight)).await;
        assert!(!report.passed() && report.cases.len() == 1, "{sight:?}\n{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_animal_of_the_zoo_fails_its_case() {
    let mut escaped = Vec::new();
    for defect in Defect::ALL {
        let report = run(&MemoryHarness::new(Some(defect))).await;
        let (number, part) = defect.fails();
        if !report.failures().any(|case| case.number == number && case.name.contains(part)) {
            escaped.push(format!("{defect:?} should fail {number} \"{part}\"\n{report}"));
        }
    }
    assert!(escaped.is_empty(), "{}", escaped.join("\n\n"));
}

#[tokio::test(start_paused = true)]
async fn the_report_is_a_table() {
    let report = run(&MemoryHarness::new(Some(Defect::IgnoresRetryAfter))).await.to_string();
    assert!(report.starts_with("conformance of the destination `memory`\n  passed  -    read-back"), "{report}");
    assert!(report.contains("\n  FAILED  D7   the service's delay is carried, not waited for\n"), "{report}");
    assert!(report.contains(" passed, 1 failed, "), "{report}");
}
