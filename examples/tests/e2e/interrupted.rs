//! A database that cuts the connection while the model is read.

use std::thread;
use std::time::Instant;

use rsync_core::clock::Randomness as _;
use rsync_core::memory::SeededRandomness;
use rsync_core::{Kind, RunStatus};
use rsync_examples::churn::{self, Service};

use crate::customers::{Customers, Origin, made_up};
use crate::place::{assert_holds, start};

const ROWS: usize = 10_000;
const MOMENTS: u32 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "a real server does not follow a test's clock")]
async fn f16_f17_a_terminated_read_applies_nothing_and_the_next_run_is_complete() {
    let seed = std::env::var("RSYNC_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_241_122);
    println!("RSYNC_SEED={seed}");
    let random = SeededRandomness::new(seed);
    let service = Service::HubSpot;
    let customers = Customers::new(Origin::Postgres, &made_up(ROWS, 0));
    // The server takes its time, so that there is some to be cut off in.
    customers
        .database()
        .unwrap()
        .run(
            r#"ALTER TABLE customers RENAME TO stored;
               CREATE VIEW customers AS SELECT * FROM stored
               WHERE CASE WHEN "customerID" LIKE '%00' THEN pg_sleep(0.002) IS NOT NULL ELSE true END;"#,
        )
        .unwrap();
    let place = start(service, 0).await;
    let sync = customers
        .builder()
        .mapping(churn::mapping(service.fields(), churn::blank_clears))
        .shared_destination(place.adapter(), service.target())
        .build()
        .unwrap();
    let began = Instant::now();
    drop(sync.plan().await.unwrap());
    let whole = began.elapsed();

    let (mut cut, mut whole_runs) = (0, 0);
    for moment in 0..MOMENTS {
        place.reset_stats();
        let share = (random.next_u64() % 1_000) as f64 / 1_000.0;
        // Waits for the reader to come, then a little longer, then for the connection that it has at that moment: it
        // has one to learn the columns and one to read.
        let reader =
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'rsync'";
        let script = format!(
            "DO $$ BEGIN
                 FOR i IN 1..5000 LOOP
                     EXIT WHEN EXISTS ({reader});
                     PERFORM pg_sleep(0.001), pg_stat_clear_snapshot();
                 END LOOP;
                 PERFORM pg_sleep({}), pg_stat_clear_snapshot();
                 FOR i IN 1..300 LOOP
                     EXIT WHEN (SELECT count(pg_terminate_backend(pid)) FROM ({reader}) AS reader) > 0;
                     PERFORM pg_sleep(0.001), pg_stat_clear_snapshot();
                 END LOOP;
             END $$",
            whole.mul_f64(share * 0.4).as_secs_f64()
        );
        let database = customers.database().unwrap();
        let killer = thread::spawn(move || database.run(&script).unwrap());
        match sync.run().await {
            Ok(report) => {
                assert_eq!((report.status, report.totals.source_rows), (RunStatus::Completed, ROWS as u64));
                whole_runs += 1;
            }
            Err(failure) => {
                let error = failure.error;
                assert!(matches!(error.kind(), Kind::SourceIncomplete | Kind::Unavailable), "{moment}: {error}");
                assert!(failure.report.is_none(), "{moment}: it began to write");
                assert_eq!(place.stats().write_requests, 0, "{moment}");
                cut += 1;
            }
        }
        killer.join().unwrap();
    }
    println!("{cut} reads were cut, {whole_runs} were not");
    assert!(cut >= MOMENTS / 3, "only {cut} of {MOMENTS} reads were cut");
    assert_eq!(sync.run().await.unwrap().status, RunStatus::Completed);
    assert_holds(&*place, service, &customers.rows());
}
