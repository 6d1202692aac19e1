//! A public data set of 7,043 customers, with its blanks, from a file and from a database into each service.

use std::collections::BTreeMap;
use std::fs;

use rsync_core::outcome::Outcome;
use rsync_core::{Report, RunStatus};
use rsync_examples::churn::{self, Service};
use rsync_testkit::adapter::shared_data;

use crate::customers::{Customers, Origin};
use crate::place::{Place, assert_holds, start};

const ROWS: u64 = 7_043;
const BLANKS: u64 = 11;

async fn run(customers: &Customers, service: Service, place: &dyn Place, blank_clears: bool) -> Report {
    let fields = service.fields();
    let mapping =
        if blank_clears { churn::mapping(fields, churn::blank_clears) } else { churn::mapping(fields, |rule| rule) };
    place.reset_stats();
    let sync =
        customers.builder().mapping(mapping).shared_destination(place.adapter(), service.target()).build().unwrap();
    let report = sync.run().await.unwrap();
    assert!(report.totals.balance(), "{:?}", report.totals);
    assert_eq!(report.status, RunStatus::Completed, "{report}");
    let stats = place.stats();
    assert_eq!((stats.rows_written, stats.write_requests), (report.totals.written, report.calls.writes), "{report}");
    assert!(stats.most_writes_of_a_record <= 1);
    report
}

fn has_total(row: &BTreeMap<String, String>) -> bool {
    !row["TotalCharges"].trim().is_empty()
}

async fn telco(service: Service, origin: Origin) {
    let Some(original) = shared_data("telco-customer-churn.csv") else { return };
    let customers = Customers::new(origin, &fs::read_to_string(original).unwrap());
    let place = start(service, 0).await;
    let place = &*place;
    let rows = customers.rows();
    assert_eq!(rows.len() as u64, ROWS);

    match origin {
        Origin::File => {
            // A blank is no number, so those rows are invalid and say which column is to blame.
            let report = run(&customers, service, place, false).await;
            assert_eq!((report.totals.written, report.totals.invalid), (ROWS - BLANKS, BLANKS));
            let (_, reason, tally) =
                report.reasons.iter().find(|(outcome, _, _)| *outcome == Outcome::Invalid).unwrap();
            assert_eq!(
                (reason.field.as_deref(), reason.code.as_str(), tally.rows),
                (Some("TotalCharges"), "not_convertible", BLANKS)
            );
            assert_eq!(place.stats().write_requests, place.least_requests(ROWS - BLANKS));
            assert_holds(place, service, &rows.iter().filter(|row| has_total(row)).cloned().collect::<Vec<_>>());
            // With blank_as_null the field's null rule applies: the eleven follow, and they alone.
            let report = run(&customers, service, place, true).await;
            assert_eq!((report.totals.written, report.totals.unchanged), (BLANKS, ROWS - BLANKS));
        }
        Origin::Postgres => {
            // The table has a null where the file has a blank.
            let report = run(&customers, service, place, true).await;
            assert_eq!(report.totals.written, ROWS);
            let requests = place.stats().write_requests;
            assert_eq!(requests, place.least_requests(ROWS));
            println!("{}: {requests} requests for {ROWS} rows", service.name());
        }
    }
    assert_holds(place, service, &rows);

    let report = run(&customers, service, place, true).await;
    assert_eq!((report.totals.unchanged, place.stats().write_requests), (ROWS, 0));

    let mut changed = 0;
    let text: Vec<String> = customers
        .text()
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
    customers.set(&text.join("\n"));
    let report = run(&customers, service, place, true).await;
    assert_eq!((report.totals.written, place.stats().write_requests), (70, 1));
    assert_holds(place, service, &customers.rows());
}

macro_rules! telco {
    ($($test:ident: $service:ident from $origin:ident;)*) => {$(
        #[tokio::test]
        async fn $test() {
            telco(Service::$service, Origin::$origin).await;
        }
    )*};
}

telco! {
    file_to_salesforce: Salesforce from File;
    file_to_hubspot: HubSpot from File;
    file_to_customerio: CustomerIo from File;
    postgres_to_salesforce: Salesforce from Postgres;
    postgres_to_hubspot: HubSpot from Postgres;
    postgres_to_customerio: CustomerIo from Postgres;
}
