//! The PostgreSQL of the tests.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use rsync_testkit::postgres::{Cluster, PostgresError};

/// Set for the process that is killed.
const VICTIM: &str = "RSYNC_TEST_POSTGRES_VICTIM";

#[test]
fn a_database_of_its_own() {
    let cluster = Cluster::shared().unwrap_or_else(|e| panic!("{e}"));
    let (a, b) = (cluster.database().unwrap(), cluster.database().unwrap());
    assert_ne!(a.name(), b.name());
    a.run("CREATE TABLE t (id int, name text); INSERT INTO t VALUES (1, E'a\\tb\\\\N'), (2, NULL), (3, '')").unwrap();
    let rows: Vec<_> = a.rows("SELECT * FROM t ORDER BY id").unwrap().collect::<Result<_, _>>().unwrap();
    let name = |row: usize| rows[row][1].as_deref();
    assert_eq!((rows.len(), name(0), name(1), name(2)), (3, Some("a\tb\\N"), None, Some("")));
    assert_eq!(a.run("SELECT 1; SELECT 2").unwrap(), "1\n2\n");

    assert!(matches!(b.run("SELECT * FROM t"), Err(PostgresError::Sql(said)) if said.contains("\"t\"")));
    let late = b.rows("SELECT 1 / (i - 3) FROM generate_series(1, 5) i").unwrap().last().unwrap();
    assert!(matches!(late, Err(PostgresError::Sql(said)) if said.contains("zero")));
    assert!(!format!("{a:?}").contains("password"));
}

#[test]
fn a_killed_process_leaves_nothing() {
    if env::var_os(VICTIM).is_some() {
        let cluster = Cluster::start().unwrap_or_else(|e| panic!("{e}"));
        #[allow(clippy::print_stdout, reason = "it tells the process that kills it")]
        {
            println!("\nfolder={}", cluster.socket_folder().unwrap().display());
        }
        loop {
            thread::park();
        }
    }
    if env::var_os("RSYNC_TEST_POSTGRES_URL").is_some() {
        return;
    }
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["--exact", "postgres::a_killed_process_leaves_nothing", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let folder = lines.find_map(|line| Some(line.unwrap().strip_prefix("folder=")?.to_owned())).unwrap();
    let folder = Path::new(&folder);
    assert!(folder.join("data/postmaster.pid").exists());
    victim.kill().unwrap();
    victim.wait().unwrap();
    for _ in 0..300 {
        if !folder.exists() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{} is still there 30 s after its owner was killed", folder.display());
}
