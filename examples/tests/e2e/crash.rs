//! A real process that is killed in the middle, with real files.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rsync_examples::churn;
use rsync_testkit::sim::hubspot::{HubSpotSim, Seed};

use crate::customers::{assert_portal_holds, read, write_customers};

const ROWS: usize = 2_500;
const BATCHES: u64 = 25;
const IN_FLIGHT: u64 = 4;

fn start(csv: &Path, state: &Path, portal: &HubSpotSim) -> Child {
    Command::new(env!("CARGO_BIN_EXE_churn"))
        .args([csv, state])
        .env("HUBSPOT_TOKEN", portal.token())
        .env("HUBSPOT_BASE_URL", portal.base_url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs until the portal has seen `requests` writes, then kills the process with SIGKILL.
async fn kill_after(csv: &Path, state: &Path, portal: &HubSpotSim, requests: u64, later: Duration) -> bool {
    let mut child = start(csv, state, portal);
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if portal.stats().write_requests >= requests {
            break;
        }
        pause(Duration::from_millis(1)).await;
    }
    pause(later).await;
    let killed = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    killed
}

/// Real time, for a real process.
#[allow(clippy::disallowed_methods, reason = "a child process does not follow a test's clock")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f02_f03_a_killed_process_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("customers.csv");
    write_customers(&csv, ROWS, 0);
    let rows = read(&csv);
    let mut killed = 0;
    for moment in 0..20_u64 {
        let state = folder.path().join(format!("state-{moment}"));
        let portal = churn::portal(Seed::default()).start().await.unwrap();
        let requests = 1 + moment * (BATCHES - 2) / 20;
        killed += u32::from(kill_after(&csv, &state, &portal, requests, Duration::from_micros(300 * moment)).await);
        let again = start(&csv, &state, &portal).wait().unwrap();
        assert!(again.success(), "moment {moment}");
        assert_portal_holds(&portal, &rows);
        let stats = portal.stats();
        let twice = stats.rows_written() - ROWS as u64;
        assert!(stats.max_writes_per_record() <= 2, "moment {moment}");
        assert!(twice <= IN_FLIGHT * 100, "moment {moment}: {twice} rows were sent twice");
        assert_eq!(stats.overlapping_key_writes, 0);

        portal.reset_stats();
        assert!(start(&csv, &state, &portal).wait().unwrap().success());
        assert_eq!(portal.stats().mutating_requests(), 0, "moment {moment}: a run over unchanged data");
        fs::remove_dir_all(&state).unwrap();
    }
    assert!(killed >= 15, "only {killed} of 20 processes were killed before they ended");
}
