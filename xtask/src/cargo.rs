//! The steps that call cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::Outcome;

/// No example waits for a person or a server of others.
const EXAMPLE_LIMIT_SECONDS: u32 = 300;

static FIXED_LOCK_FILE: AtomicBool = AtomicBool::new(false);

/// From here on a Cargo.lock that does not fit the manifests is an error.
pub(crate) fn fix_lock_file() {
    FIXED_LOCK_FILE.store(true, Ordering::Relaxed);
}

/// The workspace that this process was started for; a build folder may be shared by several checkouts.
pub(crate) fn root() -> PathBuf {
    let own = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    own.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// `cargo <subcommand>` at the root: in a member's folder cargo would select that member alone, with other features.
pub(crate) fn cargo(subcommand: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(subcommand).current_dir(root());
    // Cargo sets these for its own child, this process; they would mark the members' builds as another's.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_")
            || name == "CARGO_MANIFEST_DIR"
            || name == "CARGO_MANIFEST_PATH"
        {
            command.env_remove(name);
        }
    }
    let takes_lock = !subcommand.iter().any(|argument| matches!(*argument, "fmt" | "--version"));
    if takes_lock && FIXED_LOCK_FILE.load(Ordering::Relaxed) {
        command.arg("--locked");
    }
    command
}

/// A cargo command whose workspace crates go through Clippy, with warnings as errors. Dependencies do not, so their
/// artifacts are those of a plain build.
pub(crate) fn linting(subcommand: &[&str]) -> Result<Command, String> {
    let mut command = cargo(subcommand);
    command
        .env("RUSTC_WORKSPACE_WRAPPER", clippy_driver()?)
        // The form in which `cargo clippy` hands over its arguments.
        .env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
    Ok(command)
}

/// Runs `command`, its output going to the terminal.
pub(crate) fn call(mut command: Command) -> Outcome {
    let shown = show(&command);
    println!("$ {shown}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(e) => Err(format!("`{shown}` could not be started: {e}")),
    }
}

/// What `command` prints.
pub(crate) fn output(mut command: Command) -> Result<String, String> {
    let shown = show(&command);
    let output = command.output().map_err(|e| format!("`{shown}` could not be started: {e}"))?;
    if !output.status.success() {
        return Err(format!("`{shown}` failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    command.get_args().fold(program, |text, argument| text + " " + &argument.to_string_lossy())
}

/// A tool of the toolchain in use, beside its compiler.
pub(crate) fn tool(name: &str, component: &str) -> Result<PathBuf, String> {
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--print", "sysroot"]).current_dir(root());
    let path = Path::new(output(rustc)?.trim()).join("bin").join(name).with_extension(env::consts::EXE_EXTENSION);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{} is missing; fix: rustup component add {component}", path.display()))
}

fn clippy_driver() -> Result<PathBuf, String> {
    tool("clippy-driver", "clippy")
}

pub(crate) fn format() -> Outcome {
    call(cargo(&["fmt", "--all", "--check"])).map_err(|e| format!("{e}; fix: cargo fmt --all"))
}

pub(crate) fn tidy() -> Outcome {
    call(linting(&["test", "--quiet", "--test", "tidy"])?)
}

/// Compiles what `tests` and `examples` run.
pub(crate) fn lint() -> Outcome {
    call(linting(&["test", "--no-run"])?)
}

pub(crate) fn tests() -> Outcome {
    let mut nextest = cargo(&["nextest", "--version"]);
    nextest.stdout(Stdio::null()).stderr(Stdio::null());
    if nextest.status().is_ok_and(|status| status.success()) {
        // The house rules have a step of their own, in which one process reads the workspace once for all of them.
        let rest = ["--no-fail-fast", "--no-tests=pass", "--status-level=fail", "-E", "not binary(tidy)"];
        return call(linting(&[&["nextest", "run"], &rest[..]].concat())?);
    }
    // `--tests` is all that nextest runs, without the doc tests.
    call(linting(&["test", "--tests", "--no-fail-fast", "--quiet"])?)
}

pub(crate) fn examples() -> Outcome {
    let metadata = output(cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|e| format!("cargo metadata: {e}"))?;
    let names = examples_in(&metadata);
    if names.is_empty() {
        println!("there are no examples yet");
    }
    for name in names {
        println!("--- {name}");
        let mut command = linting(&["run", "--quiet", "--example", &name])?;
        command.stdin(Stdio::null());
        within_limit(command).map_err(|e| format!("example {name} {e}; alone: cargo run --example {name}"))?;
    }
    Ok(())
}

/// The examples of the default members that need no feature to be switched on, sorted.
fn examples_in(metadata: &Value) -> Vec<String> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let default = list(&metadata["workspace_default_members"]);
    let mut names: Vec<String> = list(&metadata["packages"])
        .iter()
        .filter(|package| default.contains(&package["id"]))
        .flat_map(|package| list(&package["targets"]))
        .filter(|target| list(&target["kind"]).iter().any(|kind| kind == "example"))
        .filter(|target| list(&target["required-features"]).is_empty())
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn within_limit(mut command: Command) -> Outcome {
    let mut child = command.spawn().map_err(|e| format!("could not be started: {e}"))?;
    for _ in 0..EXAMPLE_LIMIT_SECONDS * 10 {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("ended with {status}")),
            Ok(None) => thread::sleep(Duration::from_millis(100)),
            Err(e) => return Err(format!("cannot be watched: {e}")),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("did not end within {EXAMPLE_LIMIT_SECONDS} s"))
}

/// On their own: they pull in what nothing else needs, and must not change the features of the rest.
pub(crate) fn benches() -> Outcome {
    call(linting(&["build", "--package", "rsync-benches", "--all-targets"])?)
}

/// On their own, because they switch on a feature of the core that nothing else may have.
pub(crate) fn defects() -> Outcome {
    call(linting(&["test", "--package", "rsync-defects", "--tests", "--quiet"])?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn examples_of_default_members_are_found() {
        let target = |name: &str, kind: &str| json!({"name": name, "kind": [kind]});
        let metadata = json!({
            "workspace_default_members": ["a"],
            "packages": [
                {"id": "a", "targets": [
                    target("z", "example"), target("lib", "lib"), target("b", "example"),
                    {"name": "cluster", "kind": ["example"], "required-features": ["cluster"]},
                ]},
                {"id": "other", "targets": [target("o", "example")]},
            ],
        });
        assert_eq!(examples_in(&metadata), ["b", "z"]);
        assert!(examples_in(&json!({})).is_empty());
    }

    #[test]
    fn a_failing_command_is_named() {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg("--no-such-flag").stdout(Stdio::null()).stderr(Stdio::null());
        assert!(call(command).unwrap_err().contains("--no-such-flag"));
        assert!(output(Command::new("/no/such/tool")).unwrap_err().contains("tool"));
    }
}
