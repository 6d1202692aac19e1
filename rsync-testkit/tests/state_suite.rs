//! The suite of state stores on trial: the stores of the core and a model store pass it, and every animal of the zoo, a
//! store with one deliberate defect, fails the very case that is about its defect.

#[path = "state_suite/zoo.rs"]
mod zoo;

use std::sync::Arc;

use async_trait::async_trait;
use rsync_core::MemoryStore;
use rsync_core::state::StateStore;
use rsync_testkit::state::{Harness, HarnessResult, SuiteReport, Verdict, run};

use zoo::{Defect, Zoo};

struct Memory(MemoryStore);

#[async_trait]
impl Harness for Memory {
    async fn open(&self) -> HarnessResult<Arc<dyn StateStore>> {
        Ok(Arc::new(self.0.clone()))
    }
}

fn left_out(report: &SuiteReport) -> usize {
    report.cases.iter().filter(|case| matches!(case.verdict, Verdict::NotApplicable(_))).count()
}

#[tokio::test(start_paused = true)]
async fn the_memory_store_passes() {
    let report = run(&Memory(MemoryStore::new())).await;
    assert!(report.passed(), "{report}");
    // It does not outlive its process, cannot fail, and commits in one step.
    assert!(left_out(&report) <= 12, "a suite that leaves out so much proves little\n{report}");
}

#[tokio::test(start_paused = true)]
async fn a_store_without_defects_passes_all_that_one_process_can_show() {
    let report = run(&Zoo::new(None)).await;
    assert!(report.passed(), "{report}");
    assert_eq!(left_out(&report), 3, "{report}");
}

/// Of these animals, those that do not fail their case.
fn escaped(animals: &[Defect]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let mut escaped = Vec::new();
    for defect in animals {
        let report = runtime.block_on(run(&Zoo::new(Some(*defect))));
        let (number, part) = defect.fails();
        if !report.failures().any(|case| case.number == number && case.name.contains(part)) {
            escaped.push(format!("{defect:?} should fail {number} \"{part}\"\n{report}"));
        }
    }
    escaped
}

#[test]
fn every_animal_of_the_zoo_fails_its_case() {
    let threads: Vec<_> = Defect::ALL.chunks(12).map(|part| std::thread::spawn(|| escaped(part))).collect();
    let escaped: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert!(escaped.is_empty(), "{}", escaped.join("\n\n"));
}

#[tokio::test(start_paused = true)]
async fn the_report_is_a_table() {
    let report = run(&Zoo::new(Some(Defect::MissingCannotBeDeleted))).await.to_string();
    assert!(report.starts_with("conformance of the state store `zoo`\n  passed  -    what is committed"), "{report}");
    assert!(report.contains("\n  FAILED  T13  a missing key can be deleted\n"), "{report}");
}
