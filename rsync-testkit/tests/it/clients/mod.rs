//! Independent clients against the simulator: what their authors believe about the service, the simulator must bear out.
//!
//! The clients come from their registries, in exact versions, into a cache below the target folder. A missing
//! interpreter or registry fails these tests: a simulator that only our own code can talk to proves nothing.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rsync_testkit::sim::journal::Journal;
use serde_json::Value;

/// A folder of `tests/clients`: files to install from, and the command that installs.
pub(crate) struct Ecosystem {
    name: &'static str,
    manifests: &'static [&'static str],
    /// Program whose version the installed files depend on.
    interpreter: &'static str,
    install: fn(&Path) -> Command,
    remedy: &'static str,
}

pub(crate) const NODE: Ecosystem = Ecosystem {
    name: "node",
    manifests: &["package.json", "package-lock.json"],
    interpreter: "node",
    install: |folder| {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder);
        npm
    },
    remedy: "install Node.js 20 or newer with npm, and give npm access to the npm registry",
};

pub(crate) const PYTHON: Ecosystem = Ecosystem {
    name: "python",
    manifests: &["requirements.txt"],
    interpreter: "python3",
    install: |folder| {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
        ])
        .args(["--requirement", "requirements.txt", "--target", "."])
        .current_dir(folder);
        pip
    },
    remedy: "install Python 3.10 or newer with pip, and give pip access to PyPI",
};

impl Ecosystem {
    pub(crate) fn sources(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(self.name)
    }

    /// Installs the clients once per lock file and interpreter version, and returns the folder.
    pub(crate) fn installed(&self) -> PathBuf {
        // Tests of one process take turns, so that the second finds what the first installed.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let version = Command::new(self.interpreter).arg("--version").output();
        let version = version.unwrap_or_else(|e| panic!("cannot run {}: {e}; {}", self.interpreter, self.remedy));
        let mut hash = DefaultHasher::new();
        version.stdout.hash(&mut hash);
        for manifest in self.manifests {
            let text = std::fs::read(self.sources().join(manifest));
            text.unwrap_or_else(|e| panic!("cannot read {manifest}: {e}; restore it from the repository"))
                .hash(&mut hash);
        }
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = cache.join(format!("clients-{}-{:016x}", self.name, hash.finish()));
        if folder.is_dir() {
            return folder;
        }
        // Installed beside and moved into place: a broken or concurrent install never looks like a finished one.
        let unfinished = tempfile::Builder::new().prefix("clients-").tempdir_in(cache).expect("the cache is writable");
        for manifest in self.manifests {
            std::fs::copy(self.sources().join(manifest), unfinished.path().join(manifest)).expect("copied");
        }
        let output = (self.install)(unfinished.path()).output();
        let output =
            output.unwrap_or_else(|e| panic!("cannot install the {} clients: {e}; {}", self.name, self.remedy));
        assert!(
            output.status.success(),
            "cannot install the {} clients; {}\n{}",
            self.name,
            self.remedy,
            String::from_utf8_lossy(&output.stderr)
        );
        if std::fs::rename(unfinished.path(), &folder).is_ok() {
            // The folder is no longer where its guard would remove it.
            let _ = unfinished.keep();
        }
        assert!(
            folder.is_dir(),
            "cannot move the {} clients to {}; make the folder writable",
            self.name,
            folder.display()
        );
        folder
    }
}

/// Runs a client's script, which finds the simulator by the variables in `environment`, and returns what it reports.
pub(crate) fn report(journal: &Journal, script: &str, command: &mut Command, environment: &[(&str, &str)]) -> Value {
    let output = command.envs(environment.iter().copied()).output();
    let output = output.unwrap_or_else(|e| panic!("cannot run {script}: {e}; install its interpreter"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} failed:\n{out}\n{err}\nrequests: {:#?}", journal.entries());
    let last = out.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{script} reported no JSON ({e}): {out}"))
}

/// A Node script beside the installed packages: Node resolves them from where the script is.
pub(crate) fn node(script: &str) -> Command {
    let place = NODE.installed().join(script);
    std::fs::copy(NODE.sources().join(script), &place).expect("copied");
    let mut node = Command::new("node");
    node.arg(place);
    node
}

/// A Python script with the installed packages.
pub(crate) fn python(script: &str) -> Command {
    let mut python = Command::new("python3");
    // No bytecode: the scripts lie in the source tree.
    python.env("PYTHONPATH", PYTHON.installed()).env("PYTHONDONTWRITEBYTECODE", "1");
    python.arg(PYTHON.sources().join(script));
    python
}
