//! A public data set of 7,043 customers, with its blanks, into the simulator.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rsync_core::outcome::Outcome;
use rsync_core::{Report, RunStatus};
use rsync_examples::churn;
use rsync_testkit::adapter::shared_data;
use rsync_testkit::sim::hubspot::{HubSpotSim, Seed};

use crate::customers::{assert_portal_holds, read};

const ROWS: usize = 7_043;
const BLANKS: usize = 11;

async fn run(csv: &Path, state: &Path, portal: &HubSpotSim, blank_as_null: bool) -> Report {
    let adapter = churn::adapter(&portal.base_url(), &portal.token()).unwrap();
    let mapping = if blank_as_null { churn::mapping(churn::blank_clears) } else { churn::mapping(|rule| rule) };
    let sync = churn::builder(csv, state, adapter).unwrap().mapping(mapping).build().unwrap();
    let report = sync.run().await.unwrap();
    assert!(report.totals.balance(), "{:?}", report.totals);
    assert_eq!(report.status, RunStatus::Completed);
    report
}

fn has_total(row: &BTreeMap<String, String>) -> bool {
    !row["TotalCharges"].trim().is_empty()
}

#[tokio::test]
async fn the_public_churn_data_is_synced_exactly() {
    let Some(original) = shared_data("telco-customer-churn.csv") else { return };
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let csv = folder.path().join("customers.csv");
    fs::copy(original, &csv).unwrap();
    let portal = churn::portal(Seed::default()).start().await.unwrap();
    let rows = read(&csv);
    assert_eq!(rows.len(), ROWS);

    // A blank is no number, so those rows are invalid and say which column is to blame.
    let report = run(&csv, &state, &portal, false).await;
    assert_eq!((report.totals.written, report.totals.invalid), ((ROWS - BLANKS) as u64, BLANKS as u64));
    let (_, reason, tally) = report.reasons.iter().find(|(outcome, _, _)| *outcome == Outcome::Invalid).unwrap();
    assert_eq!(
        (reason.field.as_deref(), reason.code.as_str(), tally.rows),
        (Some("TotalCharges"), "not_convertible", 11)
    );
    let stats = portal.stats();
    assert!(stats.write_requests <= 71, "{}", stats.write_requests);
    assert_eq!((stats.rows_created, stats.max_writes_per_record()), ((ROWS - BLANKS) as u64, 1));
    assert_portal_holds(&portal, &rows.iter().filter(|row| has_total(row)).cloned().collect::<Vec<_>>());

    // With blank_as_null the field's null rule applies: the eleven follow, and they alone.
    portal.reset_stats();
    let report = run(&csv, &state, &portal, true).await;
    assert_eq!((report.totals.written, report.totals.unchanged), (BLANKS as u64, (ROWS - BLANKS) as u64));
    assert_eq!((portal.stats().write_requests, portal.stats().rows_written()), (1, BLANKS as u64));
    assert_portal_holds(&portal, &rows);

    portal.reset_stats();
    let report = run(&csv, &state, &portal, true).await;
    assert_eq!((report.totals.unchanged, portal.stats().mutating_requests()), (ROWS as u64, 0));

    let mut changed = 0;
    let text: Vec<String> = fs::read_to_string(&csv)
        .unwrap()
        .lines()
        .enumerate()
        .map(|(line, text)| {
            if line > 0 && line % 100 == 0 {
                changed += 1;
                text.replace(",Yes", ",No")
                    .replacen(",No", ",Yes", 1)
                    .replacen("Male", "male", 1)
                    .replacen("Female", "female", 1)
            } else {
                text.to_owned()
            }
        })
        .collect();
    assert_eq!(changed, 70);
    fs::write(&csv, text.join("\n")).unwrap();
    portal.reset_stats();
    let report = run(&csv, &state, &portal, true).await;
    assert_eq!((report.totals.written, portal.stats().rows_written()), (70, 70));
    assert_eq!(portal.stats().write_requests, 1);
    assert_portal_holds(&portal, &read(&csv));
}
