//! The same table through another driver: ADBC, which decodes the same bytes in C.
//!
//! Needs Python 3 with venv, and PyPI: `RSYNC_TEST_ADBC=1 cargo test -p rsync-postgres-source --test it oracle`

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::columns::{database_of_all_types, table};
use crate::compare::is_same;
use crate::support::*;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A Python that has the driver, installed once.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("adbc");
    let python = folder.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    }
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/requirements.txt");
    run(Command::new(&python)
        .args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"])
        .arg(requirements));
    python
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a skipped test must say so")]
async fn adbc_reads_the_same() {
    if env::var_os("RSYNC_TEST_ADBC").is_none() {
        eprintln!("skipped: RSYNC_TEST_ADBC is not set");
        return;
    }
    let database = database_of_all_types();
    let lists = table().iter().position(|(type_, ..)| *type_ == "text[]").unwrap();
    // The driver refuses arrays that do not begin with item 1.
    database.run(&format!("UPDATE t SET c{lists} = NULL WHERE array_lower(c{lists}, 1) > 1")).unwrap();
    let query = "SELECT * FROM t ORDER BY id";
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/read.py");
    let printed = run(Command::new(python()).arg(script).args([database.url(), query]));
    let rows: Vec<Vec<Option<String>>> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (batch, _) = read(&model(&database, query).build().unwrap(), &[]).await.unwrap();
    assert_eq!((rows.len(), rows[0].len()), (batch.num_rows(), batch.num_columns()));
    let mut compared = 0;
    for (i, (type_, _, values)) in table().iter().enumerate() {
        for (row, cells) in rows.iter().enumerate() {
            let theirs = cells[i + 1].as_deref();
            assert!(is_same(batch.column(i + 1), row, theirs), "{type_} {:?}: ADBC says {theirs:?}", values.get(row));
            compared += 1;
        }
    }
    assert!(compared > 300);
}
