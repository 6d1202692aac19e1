//! Where PostgreSQL's programs are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use super::PostgresError;

/// Debian's folder: one folder a version, none of them in `PATH`.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The folder that holds `initdb`, `pg_ctl` and `postgres`.
pub(super) fn server() -> Result<PathBuf, PostgresError> {
    from_pg_config()
        .into_iter()
        .chain(env::var_os("PATH").iter().flat_map(env::split_paths))
        .chain(versions(Path::new(DEBIAN)))
        .find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
        .ok_or(PostgresError::NotInstalled)
}

/// The `psql` of the server if it is installed, or else the one in `PATH`.
pub(super) fn psql() -> PathBuf {
    server().map(|folder| folder.join("psql")).ok().filter(|psql| psql.is_file()).unwrap_or_else(|| "psql".into())
}

fn from_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// `bin` of every version below `folder`, the newest first.
fn versions(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_first() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["9", "15", "13", "common"] {
            fs::create_dir(dir.path().join(version)).unwrap();
        }
        let names: Vec<_> = versions(dir.path())
            .iter()
            .map(|path| path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["15/bin", "13/bin", "9/bin"]);
        assert!(versions(&dir.path().join("none")).is_empty());
    }
}
