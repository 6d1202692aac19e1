//! A real process that is killed in the middle, with real files, a real database and each service.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rsync_examples::churn::Service;

use crate::customers::{Customers, Origin, made_up};
use crate::place::{Place, assert_holds, start};

const BATCHES: u64 = 25;
const IN_FLIGHT: u64 = 4;
const MOMENTS: u64 = 20;

fn spawn(customers: &Customers, state: &Path, service: Service, place: &dyn Place) -> Child {
    let (source, environment) = customers.argument();
    Command::new(env!("CARGO_BIN_EXE_churn"))
        .args([Path::new(service.name()), &source, state])
        .envs(environment)
        .envs(place.environment())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the process with SIGKILL a moment after the service has seen `requests` writes. False if it was done before.
async fn kill_after(mut child: Child, place: &dyn Place, requests: u64, later: Duration) -> bool {
    while place.stats().write_requests < requests {
        if child.try_wait().unwrap().is_some() {
            return false;
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

async fn kill_loop(service: Service, origin: Origin) {
    let place = start(service, 0).await;
    let rows = BATCHES * place.rows_of_a_batch();
    let customers = Customers::new(origin, &made_up(rows as usize, 0));
    let expected = customers.rows();
    let mut killed = 0;
    for moment in 0..MOMENTS {
        let state = customers.path().join(format!("state-{moment}"));
        let place = start(service, 0).await;
        let child = spawn(&customers, &state, service, &*place);
        let requests = 1 + moment * (BATCHES - 2) / MOMENTS;
        killed += u32::from(kill_after(child, &*place, requests, Duration::from_micros(300 * moment)).await);
        let again = spawn(&customers, &state, service, &*place).wait().unwrap();
        assert!(again.success(), "moment {moment}");
        assert_holds(&*place, service, &expected);
        let stats = place.stats();
        let twice = stats.rows_written - rows;
        assert!(stats.most_writes_of_a_record <= 2, "moment {moment}");
        assert!(twice <= IN_FLIGHT * place.rows_of_a_batch(), "moment {moment}: {twice} rows were sent twice");

        place.reset_stats();
        assert!(spawn(&customers, &state, service, &*place).wait().unwrap().success());
        assert_eq!(place.stats().write_requests, 0, "moment {moment}: a run over unchanged data");
        fs::remove_dir_all(&state).unwrap();
    }
    assert!(killed >= 15, "only {killed} of {MOMENTS} processes were killed before they ended");
}

macro_rules! kill_loops {
    ($($test:ident: $service:ident from $origin:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            kill_loop(Service::$service, Origin::$origin).await;
        }
    )*};
}

kill_loops! {
    f02_f03_a_killed_process_loses_and_doubles_nothing_in_salesforce: Salesforce from File;
    f02_f03_a_killed_process_loses_and_doubles_nothing_in_hubspot: HubSpot from File;
    f02_f03_a_killed_process_loses_and_doubles_nothing_in_customerio: CustomerIo from File;
    f02_f03_a_killed_process_loses_and_doubles_nothing_out_of_postgres: HubSpot from Postgres;
}
