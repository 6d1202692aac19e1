//! Docs and doc tests in one go.
//!
//! `cargo doc` needs check metadata of every dependency and so compiles them all again. `cargo test --doc` calls
//! `rustdoc` with the artifacts that are there. This program puts itself in rustdoc's place (`RUSTDOC`): for each
//! crate it first has the docs rendered with warnings as errors, then lets the doc tests run.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::Outcome;
use crate::cargo;

/// Names the real rustdoc; set where this program stands in for it.
const REAL: &str = "XTASK_RUSTDOC";

/// Names the folder for the rendered docs.
const FOLDER: &str = "XTASK_DOCS";

pub(crate) fn run() -> Outcome {
    // By the path it was built at: the running file may have been replaced by the build of a step before.
    let own = env::args_os().next().map(PathBuf::from).ok_or("the program does not know its own path")?;
    let own = own.canonicalize().map_err(|e| format!("{}: {e}", own.display()))?;
    let mut command = cargo::linting(&["test", "--doc", "--quiet"])?;
    command.env("RUSTDOC", own).env(REAL, cargo::tool("rustdoc", "rustdoc")?);
    command.env(FOLDER, cargo::root().join("target/xtask-docs"));
    cargo::call(command)
}

pub(crate) fn is_rustdoc() -> bool {
    env::var_os(REAL).is_some()
}

pub(crate) fn check_and_test() -> ExitCode {
    let real = env::var_os(REAL).unwrap_or_default();
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let mut calls = vec![arguments.clone()];
    let folder = env::var_os(FOLDER).unwrap_or_else(|| "target/xtask-docs".into());
    if let Some(rendering) = rendering(&arguments, folder) {
        calls.insert(0, rendering);
    }
    for arguments in calls {
        match Command::new(&real).args(arguments).env_remove(REAL).status() {
            Ok(status) if status.success() => {}
            Ok(status) => {
                return status.code().and_then(|c| u8::try_from(c).ok()).map_or(ExitCode::FAILURE, ExitCode::from);
            }
            Err(e) => {
                eprintln!("{}: {e}", real.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// The arguments that render the docs of a crate whose doc tests `arguments` run.
fn rendering(arguments: &[OsString], folder: OsString) -> Option<Vec<OsString>> {
    if !arguments.iter().any(|argument| argument == "--test") {
        return None;
    }
    let mut kept: Vec<OsString> = Vec::with_capacity(arguments.len() + 4);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.to_str() {
            Some("--test" | "--nocapture") => {}
            Some("--test-run-directory" | "--test-args" | "--test-runtool" | "--test-runtool-arg") => {
                rest.next();
            }
            _ => kept.push(argument.clone()),
        }
    }
    kept.extend(["-D".into(), "warnings".into(), "-o".into(), folder]);
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_are_rendered_with_the_arguments_of_the_tests() {
        let arguments = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let given =
            arguments("--crate-name x --test src/lib.rs --test-run-directory . --extern a=b --test-args --quiet");
        let rendering = rendering(&given, "folder".into()).unwrap();
        let kept = arguments("--crate-name x src/lib.rs --extern a=b -D warnings -o folder");
        assert_eq!(rendering, kept);
        assert_eq!(super::rendering(&arguments("-vV"), "folder".into()), None);
    }
}
