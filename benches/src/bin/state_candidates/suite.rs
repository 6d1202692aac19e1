//! Every measurement in a process of its own, several rounds, medians.

use std::collections::BTreeMap;
use std::process::Command;

use rsync_benches::meter::median;
use rsync_benches::report::table;

use crate::workload::Result;

/// Store, commit window and options of the `load` measurements. The slow stores come last.
const LOADS: &[(&str, &str, &[&str])] = &[
    ("packed", "1", &[]),
    ("packed", "8", &[]),
    ("packed", "1", &["--quick-repair"]),
    ("packed", "8", &["--quick-repair"]),
    ("packed", "1", &["--one-phase"]),
    ("packed", "8", &["--cache-mib", "8"]),
    ("packed", "8", &["--cache-mib", "16"]),
    ("packed", "8", &["--cache-mib", "128"]),
    ("flat", "1", &[]),
    ("flat", "8", &[]),
    #[cfg(feature = "sqlite")]
    ("sqlite-packed", "1", &[]),
    #[cfg(feature = "sqlite")]
    ("sqlite-packed", "8", &[]),
    ("rows-sorted", "1", &[]),
    ("rows-sorted", "8", &[]),
    ("rows", "1", &[]),
    ("rows", "8", &[]),
    #[cfg(feature = "sqlite")]
    ("sqlite-rows", "1", &[]),
    #[cfg(feature = "sqlite")]
    ("sqlite-rows", "8", &[]),
];
const LOAD_COLUMNS: &[&str] =
    &["cpu_s", "finish_cpu_s", "wall_s", "peak_rss_mib", "commits", "file_mib", "compacted_mib"];

const DIFFS: &[&str] = &["packed", "flat", "rows", "rows-get"];
const DIFF_COLUMNS: &[&str] = &["load_cpu_s", "probe_cpu_s", "cpu_s", "wall_s", "peak_rss_mib", "bytes_a_row"];

const CRASHES: &[(&str, &[&str])] =
    &[("packed", &[]), ("packed", &["--quick-repair"]), ("flat", &[]), ("rows", &[]), ("rows", &["--quick-repair"])];
const CRASH_COLUMNS: &[&str] = &["open_after_kill_cpu_s", "open_after_kill_wall_s", "open_clean_wall_s"];

/// Lines of one kind of measurement: a name, and its arguments.
type Lines = Vec<(String, Vec<String>)>;

/// Runs the suites, or the one named, `rounds` times.
pub(crate) fn run(rounds: usize, rows: &str, only: Option<&str>) -> Result<()> {
    let line = |name: String, args: &[&str]| (name, args.iter().map(|arg| (*arg).to_owned()).collect());
    let loads = LOADS.iter().map(|(store, window, options)| {
        let name = format!("{store}, W={window} {}", options.join(" "));
        line(name, &[&["load", store, rows, window], *options].concat())
    });
    let diffs = DIFFS.iter().map(|store| line((*store).to_owned(), &["diff", store, rows]));
    let crashes = CRASHES.iter().map(|(store, options)| {
        line(format!("{store} {}", options.join(" ")), &[&["crash", store, rows], *options].concat())
    });
    let suites: [(&str, Lines, &[&str]); 3] = [
        ("load", loads.collect(), LOAD_COLUMNS),
        ("diff", diffs.collect(), DIFF_COLUMNS),
        ("crash", crashes.collect(), CRASH_COLUMNS),
    ];
    for (suite, lines, columns) in suites {
        if only.is_none_or(|only| only == suite) {
            rounds_of(suite, rounds, &lines, columns)?;
        }
    }
    Ok(())
}

fn rounds_of(suite: &str, rounds: usize, lines: &Lines, columns: &[&str]) -> Result<()> {
    let mut samples: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        for (index, (_, args)) in lines.iter().enumerate() {
            let output = Command::new(std::env::current_exe()?).args(args).output()?;
            let text = String::from_utf8(output.stdout)?;
            print!("{text}");
            if !text.contains("\"ok\":true") {
                return Err(format!("{args:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
            }
            for (column, name) in columns.iter().enumerate() {
                samples.entry((index, column)).or_default().extend(number(&text, name));
            }
        }
    }
    let rows = lines.iter().enumerate().map(|(index, (name, _))| {
        let cells = (0..columns.len()).map(|column| samples.remove(&(index, column)).unwrap_or_default());
        std::iter::once(name.clone()).chain(cells.map(|cell| format!("{:.3}", median(cell)))).collect()
    });
    let head: Vec<&str> = std::iter::once("store").chain(columns.iter().copied()).collect();
    table(&format!("{suite}, medians of {rounds} rounds"), &head, &rows.collect::<Vec<_>>());
    Ok(())
}

/// The number that follows `name` in a JSON line of ours.
fn number(line: &str, name: &str) -> Option<f64> {
    let (_, rest) = line.split_once(&format!("\"{name}\":"))?;
    rest.split([',', '}']).next()?.parse().ok()
}
