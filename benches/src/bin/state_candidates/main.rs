//! Compares stores for the state of a sync: what acknowledging rows costs, what comparing a new version with the stored
//! one costs, how large the file gets and how long it takes to open after a crash.
//!
//! ```text
//! state_candidates load  STORE ROWS WINDOW     rows acknowledged in batches of 100, WINDOW batches a commit
//! state_candidates diff  STORE ROWS            load the keys, compare a new version in random order
//! state_candidates crash STORE ROWS            kill a writer, time the next open
//! state_candidates blocks                      bytes redb takes for blocks of several sizes
//! state_candidates all   ROUNDS ROWS [SUITE]   each of them in a process of its own, medians; SUITE is load or diff
//! ```
//!
//! STORE is `packed`, `flat`, `rows`, `rows-sorted` (and `sqlite-packed`, `sqlite-rows` with feature `sqlite`). Options,
//! after the arguments: `--block-rows N`, `--cache-mib N`, `--quick-repair`, `--one-phase`, `--dir PATH`.
#![allow(clippy::print_stdout, reason = "printing results is what a benchmark is for")]

mod blobs;
mod diff;
mod packed;
mod per_row;
mod segment;
#[cfg(feature = "sqlite")]
mod sqlite;
mod suite;
mod tasks;
mod workload;

use std::path::PathBuf;

use blobs::RedbOptions;
use workload::Result;

/// Rows a block: the keys record then fills 16 pages of 4 KiB, the images record 64, but for redb's bytes and a checksum.
const BLOCK_ROWS: usize = 2_620;

/// Options of a run.
#[derive(Debug, Clone)]
struct Options {
    redb: RedbOptions,
    block_rows: usize,
    dir: PathBuf,
}

fn main() -> Result<()> {
    let mut options = Options {
        redb: RedbOptions { cache_mib: 32, two_phase: true, quick_repair: false },
        block_rows: BLOCK_ROWS,
        dir: std::env::temp_dir().join(format!("state-candidates-{}", std::process::id())),
    };
    let mut words = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--block-rows" => options.block_rows = value()?.parse()?,
            "--cache-mib" => options.redb.cache_mib = value()?.parse()?,
            "--dir" => options.dir = value()?.into(),
            "--quick-repair" => options.redb.quick_repair = true,
            "--one-phase" => options.redb.two_phase = false,
            _ => words.push(arg),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["load", store, rows, window] => tasks::load(store, rows.parse()?, window.parse()?, &options),
        ["diff", store, rows] => tasks::diff(store, rows.parse()?, &options),
        ["crash", store, rows] => tasks::crash(store, rows.parse()?, &options),
        ["prepare", store, rows] => tasks::prepare(store, rows.parse()?, &options),
        ["write-until-killed", store, rows] => tasks::write_until_killed(store, rows.parse()?, &options),
        ["blocks"] => tasks::blocks(&options),
        ["all", rounds, rows] => suite::run(rounds.parse()?, rows, None),
        ["all", rounds, rows, suite] => suite::run(rounds.parse()?, rows, Some(suite)),
        _ => Err("see the head of state_candidates/main.rs for the arguments".into()),
    }
}
