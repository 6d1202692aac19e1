//! Project tasks, started as `cargo xtask <task>` from the workspace root. `cargo xtask help` lists them.
//!
//! The one idea in here: dependencies, above all DataFusion, are compiled once. `cargo clippy` and `cargo doc` would
//! each compile the whole tree again for checking, and another selection of packages would do so with other features.
//! So the tests, examples and doc tests of the default members are built under Clippy's compiler, which produces the
//! same artifacts as the usual one, and the docs are checked by the `rustdoc` call that runs the doc tests.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

mod cargo;
mod docs;
mod machine;
mod steps;

use std::env;
use std::process::ExitCode;

use steps::{Step, run};

const HELP: &str = "\
usage: cargo xtask <task> [step ...]

tasks:
  test   what a change must pass: format, house rules, lints, tests, docs, examples
  ci     the same with a fixed Cargo.lock, and the benches are compiled
  help   this text

A task runs its steps in order and stops at the first that fails; name steps to run only these.";

/// A failure, told to a person.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    if docs::is_rustdoc() {
        return docs::check_and_test();
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (task, only) = match arguments.split_first() {
        Some((task, only)) => (task.as_str(), only),
        None => ("help", &[][..]),
    };
    let outcome = match task {
        "test" => chosen(test_steps(), only).and_then(|steps| run("test", &steps)),
        "ci" => {
            cargo::fix_lock_file();
            let mut steps = test_steps();
            steps.push(Step { name: "benches", what: "the benches compile", run: cargo::benches });
            chosen(steps, only).and_then(|steps| run("ci", &steps))
        }
        "help" | "--help" | "-h" => {
            println!("{HELP}\n\nsteps of test:");
            for step in test_steps() {
                println!("  {:<9} {}", step.name, step.what);
            }
            Ok(())
        }
        other => Err(format!("there is no task {other:?}\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Cheap steps first, so that a slip is told in seconds.
fn test_steps() -> Vec<Step> {
    vec![
        Step { name: "machine", what: "tools that the tests drive are here", run: machine::prepare },
        Step { name: "format", what: "rustfmt changes nothing", run: cargo::format },
        Step { name: "tidy", what: "house rules: crate and module order, licences, names", run: cargo::tidy },
        Step { name: "lint", what: "everything compiles without a warning of rustc or Clippy", run: cargo::lint },
        Step { name: "tests", what: "unit and integration tests", run: cargo::tests },
        Step { name: "defects", what: "the simulation finds every planted defect", run: cargo::defects },
        Step { name: "docs", what: "docs without a warning, doc tests", run: docs::run },
        Step { name: "examples", what: "every example runs", run: cargo::examples },
    ]
}

fn chosen(steps: Vec<Step>, only: &[String]) -> Result<Vec<Step>, String> {
    if let Some(unknown) = only.iter().find(|name| steps.iter().all(|step| step.name != **name)) {
        let names: Vec<_> = steps.iter().map(|step| step.name).collect();
        return Err(format!("there is no step {unknown:?}; steps: {}", names.join(", ")));
    }
    Ok(steps.into_iter().filter(|step| only.is_empty() || only.iter().any(|name| name == step.name)).collect())
}
