//! What the engine itself costs, through its public interface: comparing a new version of a table with the state of an
//! earlier one, acknowledging rows, and a run that finds nothing to do. The destination acknowledges everything at once,
//! so nothing but the engine and its state is measured.
//!
//! ```text
//! engine_state diff   ROWS [OPTION...]      plan of version 2 against the state of version 1, then its apply
//! engine_state ack    ROWS WINDOW           first run, WINDOW calls of 100 rows in flight; then a run that changes nothing
//! engine_state all    ROUNDS ROWS           both, each in a process of its own, medians
//! engine_state prepare ROWS                 only makes the state that `diff` needs
//! engine_state export ROWS FOLDER           writes both versions as Parquet files
//! ```
//!
//! Options: `--data FOLDER` (read `v1_ROWS.parquet` and `v2_ROWS.parquet` there, instead of seeded rows), `--stream`
//! (decode the file while planning, instead of holding the rows in memory), `--batch-rows N` (8192), `--match FIELD`
//! (`id`; with another field the key and the field that records are matched on differ), `--dir FOLDER` (where states are
//! kept; default: the system's folder for temporary files), `--plan-only`.
#![allow(clippy::print_stdout, reason = "printing results is what a benchmark is for")]
#![allow(clippy::print_stderr, reason = "printing results is what a benchmark is for")]

mod data;
mod null;
mod suite;
mod tasks;

use std::path::PathBuf;

use data::Data;

/// Whatever goes wrong ends the benchmark.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Options of a run.
#[derive(Debug, Clone)]
struct Options {
    data: Option<PathBuf>,
    dir: PathBuf,
    batch_rows: usize,
    match_on: String,
    stream: bool,
    plan_only: bool,
}

impl Options {
    fn data(&self, rows: u64) -> Data {
        Data { rows, batch_rows: self.batch_rows, folder: self.data.clone() }
    }
}

fn main() -> Result<()> {
    let mut options = Options {
        data: None,
        dir: std::env::temp_dir().join("rsync-engine-state"),
        batch_rows: 8192,
        match_on: "id".into(),
        stream: false,
        plan_only: false,
    };
    let mut words = Vec::new();
    let mut passed_on = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if !arg.starts_with("--") {
            words.push(arg);
            continue;
        }
        passed_on.push(arg.clone());
        match arg.as_str() {
            "--stream" => options.stream = true,
            "--plan-only" => options.plan_only = true,
            _ => {
                let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
                passed_on.push(value.clone());
                match arg.as_str() {
                    "--data" => options.data = Some(value.into()),
                    "--dir" => options.dir = value.into(),
                    "--batch-rows" => options.batch_rows = value.parse()?,
                    "--match" => options.match_on = value,
                    _ => return Err(format!("{arg} is no option").into()),
                }
            }
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["diff", rows] => tasks::diff(rows.parse()?, &options, &passed_on),
        ["ack", rows, window] => tasks::ack(rows.parse()?, window.parse()?, &options),
        ["all", rounds, rows] => suite::run(rounds.parse()?, rows, &passed_on),
        ["prepare", rows] => tasks::prepare(rows.parse()?, &options),
        ["export", rows, folder] => options.data(rows.parse()?).export(folder.as_ref()),
        _ => Err("see the head of engine_state/main.rs for the arguments".into()),
    }
}
