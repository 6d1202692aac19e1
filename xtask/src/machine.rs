//! What the machine must have: the tests drive the services' official clients, which are Node and Python packages.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::cargo;

struct Tool {
    /// How the tool is asked for its version.
    command: &'static [&'static str],
    /// The Debian package that has it.
    package: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { command: &["node", "--version"], package: "nodejs" },
    Tool { command: &["npm", "--version"], package: "npm" },
    Tool { command: &["python3", "--version"], package: "python3" },
    Tool { command: &["python3", "-m", "pip", "--version"], package: "python3-pip" },
    Tool { command: &["python3", "-m", "venv", "--help"], package: "python3-venv" },
];

pub(crate) fn prepare() -> Outcome {
    cargo::tool("clippy-driver", "clippy")?;
    cargo::tool("rustfmt", "rustfmt")?;
    let missing = missing();
    if !missing.is_empty() {
        let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
        let install = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
        let needed = missing.iter().map(|tool| tool.command.join(" ")).collect::<Vec<_>>().join("`, `");
        if !may_install() {
            return Err(format!(
                "`{needed}` cannot be run, and the tests need it\n  fix on Debian: sudo {install}\n  \
                 elsewhere: install Node with npm, and Python 3 with pip and venv"
            ));
        }
        println!("`{needed}` cannot be run; installing {}", packages.join(", "));
        install_packages(&packages)?;
        if let Some(tool) = self::missing().first() {
            return Err(format!("`{}` still cannot be run after `{install}`", tool.command.join(" ")));
        }
    }
    fetch()
}

fn missing() -> Vec<&'static Tool> {
    TOOLS.iter().filter(|tool| !answers(tool.command)).collect()
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
