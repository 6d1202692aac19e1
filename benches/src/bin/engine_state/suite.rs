//! Every measurement in a process of its own, several rounds, medians.

use std::collections::BTreeMap;
use std::process::Command;

use rsync_benches::meter::median;
use rsync_benches::report::table;

use crate::Result;

const TASKS: &[(&str, &[&str])] = &[
    (
        "diff",
        &[
            "plan_cpu_s",
            "plan_wall_s",
            "load_cpu_s",
            "map_cpu_s",
            "apply_cpu_s",
            "peak_rss_mib",
            "growth_mib",
            "file_mib",
        ],
    ),
    ("ack", &["plan_cpu_s", "apply_cpu_s", "apply_wall_s", "peak_rss_mib", "growth_mib", "file_mib"]),
    ("noop", &["run_cpu_s", "run_wall_s"]),
];

/// Runs everything `rounds` times.
pub(crate) fn run(rounds: usize, rows: &str, passed_on: &[String]) -> Result<()> {
    let lines: [&[&str]; 3] = [&["diff", rows], &["ack", rows, "1"], &["ack", rows, "8"]];
    let mut samples: BTreeMap<(&str, String, usize), Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        for args in lines {
            let output = Command::new(std::env::current_exe()?).args(args).args(passed_on).output()?;
            let text = String::from_utf8(output.stdout)?;
            print!("{text}");
            if !output.status.success() {
                return Err(format!("{args:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
            }
            for line in text.lines() {
                for (task, columns) in TASKS.iter().filter(|(task, _)| line.contains(&format!("\"task\":\"{task}\""))) {
                    for (column, name) in columns.iter().enumerate() {
                        let key = (*task, args[2..].join(" "), column);
                        samples.entry(key).or_default().extend(number(line, name));
                    }
                }
            }
        }
    }
    for (task, columns) in TASKS {
        let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((_, window, _), values) in samples.iter().filter(|((name, _, _), _)| name == task) {
            rows.entry(window).or_insert_with(|| vec![window.clone()]).push(format!("{:.3}", median(values.clone())));
        }
        let head: Vec<&str> = std::iter::once("in flight").chain(columns.iter().copied()).collect();
        table(&format!("{task}, medians of {rounds} rounds"), &head, &rows.into_values().collect::<Vec<_>>());
    }
    Ok(())
}

/// The number that follows `name` in a JSON line of ours.
fn number(line: &str, name: &str) -> Option<f64> {
    let (_, rest) = line.split_once(&format!("\"{name}\":"))?;
    rest.split([',', '}']).next()?.parse().ok()
}
