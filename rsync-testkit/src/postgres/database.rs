//! A database of its own for a test.

use std::fmt::{self, Debug};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use url::Url;

use super::cluster::io_error;
use super::{Cluster, PostgresError, binaries};

/// An empty database, dropped at the end together with whatever is still connected to it.
pub struct Database {
    admin: Url,
    url: Url,
    name: String,
    cluster: Arc<Cluster>,
}

impl Database {
    pub(super) fn create(cluster: Arc<Cluster>, admin: Url, name: String) -> Result<Self, PostgresError> {
        let mut url = admin.clone();
        url.set_path(&name);
        run(&admin, &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"))?;
        Ok(Self { admin, url, name, cluster })
    }

    /// Address with user and password, such as `postgres://user:password@127.0.0.1:5432/name`.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Its name, which also serves as a unique part of other names, such as those of roles.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Runs a script of SQL and `psql` commands (`\copy customer from 'customers.csv' csv header`) and returns what it
    /// prints. It stops at the first error.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Sql`] with what `psql` said.
    pub fn run(&self, script: &str) -> Result<String, PostgresError> {
        run(&self.url, script)
    }

    /// The rows of a query as PostgreSQL prints them, none where a cell is null, read as they are asked for.
    ///
    /// # Errors
    ///
    /// If `psql` cannot be started; what goes wrong later is an item.
    pub fn rows(&self, query: &str) -> Result<Rows, PostgresError> {
        let mut child = psql(&self.url, &["-c", &format!("COPY ({query}) TO STDOUT")])?;
        drop(child.stdin.take());
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Rows { child, stdout })
    }
}

impl Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("name", &self.name).field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server of our own goes away with its files; one that was there before must not keep ours.
        if self.cluster.ca_pem().is_none() {
            let _ = run(&self.admin, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}

/// Starts `psql` without start-up files of the user, so that it is the same everywhere.
fn psql(url: &Url, arguments: &[&str]) -> Result<Child, PostgresError> {
    Command::new(binaries::psql())
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url.as_str()])
        .args(arguments)
        .env("PGCLIENTENCODING", "UTF8")
        .env("PGAPPNAME", "psql")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io_error("start `psql`"))
}

fn run(url: &Url, script: &str) -> Result<String, PostgresError> {
    let mut child = psql(url, &["-A", "-t", "-f", "-"])?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output().map_err(io_error("wait for `psql`"))?;
    // A script that fails leaves its rest unread, which is no news beside the failure.
    if !output.status.success() {
        return Err(PostgresError::Sql(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    written.map_err(io_error("write to `psql`"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Rows of a query; see [`Database::rows`].
pub struct Rows {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

impl Iterator for Rows {
    type Item = Result<Vec<Option<String>>, PostgresError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match self.stdout.as_mut()?.read_line(&mut line) {
            Ok(0) => {
                self.stdout = None;
                self.end().err().map(Err)
            }
            Ok(_) => Some(Ok(line.strip_suffix('\n').unwrap_or(&line).split('\t').map(cell).collect())),
            Err(e) => {
                self.stdout = None;
                Some(Err(io_error("read from `psql`")(e)))
            }
        }
    }
}

impl Rows {
    fn end(&mut self) -> Result<(), PostgresError> {
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).map_err(io_error("read from `psql`"))?;
        }
        let status = self.child.wait().map_err(io_error("wait for `psql`"))?;
        if status.success() { Ok(()) } else { Err(PostgresError::Sql(said)) }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // Rows that nobody wants are not waited for; a `psql` that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cell in the text form of `COPY`.
fn cell(text: &str) -> Option<String> {
    if text == "\\N" {
        return None;
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next().unwrap_or('\\') {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                other => other,
            },
            other => other,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_unescaped() {
        for (text, plain) in [
            ("", Some("")),
            ("\\N", None),
            ("\\\\N", Some("\\N")),
            ("a\\tb\\nc\\\\d\\re", Some("a\tb\nc\\d\re")),
            ("\u{e9}\\b\\f\\v", Some("\u{e9}\u{8}\u{c}\u{b}")),
        ] {
            assert_eq!(cell(text).as_deref(), plain, "{text:?}");
        }
    }
}
