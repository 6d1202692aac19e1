//! What the machine must have: the tests drive the services' official clients, which are Node and Python packages, and
//! read from a real PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::Outcome;
use crate::cargo;

struct Tool {
    check: Check,
    /// The Debian package that has it.
    package: &'static str,
}

/// How it is found out whether a tool is there.
enum Check {
    /// It is asked for its version.
    Command(&'static [&'static str]),
    /// PostgreSQL's server, which Debian keeps out of `PATH`.
    PostgresServer,
}

const TOOLS: &[Tool] = &[
    Tool { check: Check::Command(&["node", "--version"]), package: "nodejs" },
    Tool { check: Check::Command(&["npm", "--version"]), package: "npm" },
    Tool { check: Check::Command(&["python3", "--version"]), package: "python3" },
    Tool { check: Check::Command(&["python3", "-m", "pip", "--version"]), package: "python3-pip" },
    Tool { check: Check::Command(&["python3", "-m", "venv", "--help"]), package: "python3-venv" },
    // Debian's package also makes and starts a cluster of its own, which the tests leave alone.
    Tool { check: Check::PostgresServer, package: "postgresql" },
];

/// Where `rsync-testkit` looks for the server's programs as well.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

pub(crate) fn prepare() -> Outcome {
    cargo::tool("clippy-driver", "clippy")?;
    cargo::tool("rustfmt", "rustfmt")?;
    let missing = missing();
    if !missing.is_empty() {
        let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
        let install = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
        let needed = missing.iter().map(|tool| tool.name()).collect::<Vec<_>>().join("`, `");
        if !may_install() {
            return Err(format!(
                "`{needed}` cannot be run, and the tests need it\n  fix on Debian: sudo {install}\n  \
                 elsewhere: install Node with npm, Python 3 with pip and venv, and PostgreSQL's server"
            ));
        }
        println!("`{needed}` cannot be run; installing {}", packages.join(", "));
        install_packages(&packages)?;
        if let Some(tool) = self::missing().first() {
            return Err(format!("`{}` still cannot be run after `{install}`", tool.name()));
        }
    }
    fetch()
}

fn missing() -> Vec<&'static Tool> {
    TOOLS.iter().filter(|tool| !tool.is_there()).collect()
}

impl Tool {
    fn is_there(&self) -> bool {
        match self.check {
            Check::Command(command) => answers(command),
            // A server that is named is used instead; it still takes the client.
            Check::PostgresServer if env::var_os("RSYNC_TEST_POSTGRES_URL").is_some() => {
                answers(&["psql", "--version"])
            }
            Check::PostgresServer => postgres_folders().iter().any(|folder| folder.join("initdb").is_file()),
        }
    }

    fn name(&self) -> String {
        match self.check {
            Check::Command(command) => command.join(" "),
            Check::PostgresServer => "initdb".into(),
        }
    }
}

/// The folders in which the server's programs may be.
fn postgres_folders() -> Vec<PathBuf> {
    let mut pg_config = Command::new("pg_config");
    pg_config.arg("--bindir").stderr(Stdio::null());
    let asked = cargo::output(pg_config).ok().map(|folder| PathBuf::from(folder.trim()));
    let path = env::var_os("PATH").unwrap_or_default();
    let versions =
        fs::read_dir(POSTGRES_VERSIONS).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    asked.into_iter().chain(env::split_paths(&path)).chain(versions).collect()
}

fn answers(command: &[&str]) -> bool {
    let [program, arguments @ ..] = command else { return false };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Only as root on Debian and its kin: elsewhere a test run must not change the machine.
fn may_install() -> bool {
    let is_root = cargo::output({
        let mut id = Command::new("id");
        id.arg("-u");
        id
    })
    .is_ok_and(|id| id.trim() == "0");
    is_root && Path::new("/etc/debian_version").exists()
}

fn install_packages(packages: &[&str]) -> Outcome {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    cargo::call(apt(&["update", "-q"]))?;
    let mut install = apt(&["install", "-q", "-y", "--no-install-recommends"]);
    install.args(packages);
    cargo::call(install)
}

/// Downloads all crates at once, so that later steps show their own time and work without the network.
fn fetch() -> Outcome {
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.arg("-vV");
    let text = cargo::output(rustc)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc does not name its host")?;
    let fetch = |offline: &[&str]| cargo::cargo(&[&["fetch", "--quiet", "--target", host], offline].concat());
    if cargo::output(fetch(&["--offline"])).is_ok() {
        return Ok(());
    }
    cargo::call(fetch(&[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_asked_and_not_guessed() {
        assert!(answers(&["true"]));
        assert!(!answers(&["false"]));
        assert!(!answers(&["no-such-tool-here", "--version"]));
        assert!(!answers(&[]));
    }
}
