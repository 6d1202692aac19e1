//! Settings of the source.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rsync_core::Secret;
use rsync_core::error::{Error, Kind, Problem, Result};
use rsync_postgres::Login;
use serde::{Deserialize, Deserializer};

use crate::copy::Limits;
use crate::form::MAX_PRECISION;
use crate::source::PostgresSource;
use crate::{failure, query};

/// Precision and scale of a `numeric` column that does not declare them itself: `precision` digits in all, of which
/// `scale` stand behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numeric {
    /// Digits in all, 1 to 38.
    pub precision: u8,
    /// Digits behind the point, 0 to `precision`.
    pub scale: u8,
}

/// Limits of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Timeouts {
    /// Until a connection stands, TLS and authentication included. Default 10,000.
    pub connect_ms: u64,
    /// Longest silence of the server while a row is waited for; the first row of a query that sorts comes late.
    /// Default 1,800,000, half an hour.
    pub idle_ms: u64,
    /// Limit of the server for the whole query, which runs until the last row is read. Default: what the server sets
    /// for the user.
    pub statement_ms: Option<u64>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 10_000, idle_ms: 30 * 60 * 1_000, statement_ms: None }
    }
}

impl Timeouts {
    pub(crate) fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }
}

/// Settings that can stand in a file. Unknown fields are refused.
///
/// The password may stand there too, but is better taken from the host's secret store and set with
/// [`Builder::password`].
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PostgresConfig {
    /// Address, as `postgres://user:password@host:5432/database`; see [`Builder::connection`].
    #[serde(deserialize_with = "secret")]
    pub connection: Option<Secret>,
    /// The password, unless the address holds it.
    #[serde(deserialize_with = "secret")]
    pub password: Option<Secret>,
    /// Permits `sslmode=disable` for a server on another machine. Default false.
    pub allow_plaintext: bool,
    /// The certificate authorities to trust, as PEM, instead of those of the operating system.
    pub root_ca_pem: Option<String>,
    /// The query whose rows are the model.
    pub query: String,
    /// Precision and scale of `numeric` columns, by the name of the column.
    pub numeric: BTreeMap<String, Numeric>,
    /// Most rows of a batch. Default 8192.
    pub batch_rows: usize,
    /// Size at which a batch is closed before it has its rows, in bytes as they are sent. Default 4 MiB.
    pub batch_bytes: usize,
    /// Limits of time.
    pub timeouts: Timeouts,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            connection: None,
            password: None,
            allow_plaintext: false,
            root_ca_pem: None,
            query: String::new(),
            numeric: BTreeMap::new(),
            batch_rows: 8_192,
            batch_bytes: 4 << 20,
            timeouts: Timeouts::default(),
        }
    }
}

impl fmt::Debug for PostgresConfig {
    // The query may hold literals that came from data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("connection", &self.connection)
            .field("password", &self.password)
            .field("allow_plaintext", &self.allow_plaintext)
            .field("numeric", &self.numeric)
            .field("batch_rows", &self.batch_rows)
            .field("batch_bytes", &self.batch_bytes)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

/// Puts a [`PostgresSource`] together. Start with [`PostgresSource::builder`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    config: PostgresConfig,
}

impl Builder {
    pub(crate) fn new(config: PostgresConfig) -> Self {
        Self { config }
    }

    /// Sets the address: `postgres://user:password@host:5432/database?sslmode=verify-full`.
    ///
    /// The connection is encrypted and the server's certificate is verified, name included, whatever `sslmode` says:
    /// `require`, `verify-ca` and `verify-full` all mean this here. `disable` is for a server on this machine, `prefer`
    /// and `allow` are refused. A Unix socket (`postgres://user@%2Frun%2Fpostgresql/database`) needs no encryption.
    ///
    /// The other parameters are those of `tokio-postgres`, such as `options` and `target_session_attrs`.
    pub fn connection(mut self, url: Secret) -> Self {
        self.config.connection = Some(url);
        self
    }

    /// Sets the password, so that the address need not hold it.
    pub fn password(mut self, password: Secret) -> Self {
        self.config.password = Some(password);
        self
    }

    /// Permits `sslmode=disable` for a server on another machine: whoever is on the way can then read and change the
    /// rows. Default: refused.
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.config.allow_plaintext = allow;
        self
    }

    /// Trusts these certificate authorities, as PEM, instead of those of the operating system.
    pub fn root_ca_pem(mut self, pem: impl Into<String>) -> Self {
        self.config.root_ca_pem = Some(pem.into());
        self
    }

    /// Sets the query whose rows are the model: one statement that reads, without placeholders.
    pub fn query(mut self, sql: impl Into<String>) -> Self {
        self.config.query = sql.into();
        self
    }

    /// Declares a `numeric` column, or an array of them, as one of `precision` digits, of which `scale` stand behind
    /// the point. Expressions such as `sum(price)` lose what the table declares. Nothing is rounded: a value that does
    /// not fit makes its cell invalid.
    pub fn numeric(mut self, column: impl Into<String>, precision: u8, scale: u8) -> Self {
        self.config.numeric.insert(column.into(), Numeric { precision, scale });
        self
    }

    /// Sets the most rows of a batch. Default 8192.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.config.batch_rows = rows;
        self
    }

    /// Sets the size at which a batch is closed before it has its rows, in bytes as they are sent. Default 4 MiB. A
    /// row is never split.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.config.batch_bytes = bytes;
        self
    }

    /// Sets the limits of time.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.config.timeouts = timeouts;
        self
    }

    /// Builds the source. The server is not asked yet.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidConfig`] with all problems at once.
    ///
    /// ```
    /// # use rsync_core::Secret;
    /// # use rsync_postgres_source::PostgresSource;
    /// let error = PostgresSource::builder()
    ///     .connection(Secret::new("postgres://reader@db.example.com/shop?sslmode=prefer"))
    ///     .query("SELECT * FROM customer WHERE id = $1")
    ///     .batch_rows(0)
    ///     .build()
    ///     .unwrap_err();
    /// let at: Vec<&str> = error.problems().iter().map(|problem| problem.at.as_str()).collect();
    /// assert_eq!(at, ["connection", "query", "batch_rows"]);
    /// ```
    pub fn build(self) -> Result<PostgresSource> {
        let config = self.config;
        let mut problems = Vec::new();
        let login = Login {
            connection: config.connection.as_ref(),
            password: config.password.as_ref(),
            allow_plaintext: config.allow_plaintext,
            root_ca_pem: config.root_ca_pem.as_deref(),
            carries: "rows",
        };
        let login = login.read(&mut problems);
        let query = query::single(&config.query).map(str::to_owned).map_err(|found| problems.extend(found)).ok();
        for (column, numeric) in &config.numeric {
            if numeric.precision == 0 || numeric.precision > MAX_PRECISION || numeric.scale > numeric.precision {
                problems.push(Problem::new(
                    format!("numeric.{column}"),
                    "a decimal has 1 to 38 digits, and no more behind the point than in all",
                    "correct precision and scale, or cast the column to text in the query",
                ));
            }
        }
        let positive = [
            ("batch_rows", config.batch_rows as u64),
            ("batch_bytes", config.batch_bytes as u64),
            ("timeouts.connect_ms", config.timeouts.connect_ms),
            ("timeouts.idle_ms", config.timeouts.idle_ms),
            ("timeouts.statement_ms", config.timeouts.statement_ms.unwrap_or(1)),
        ];
        for (at, _) in positive.into_iter().filter(|(_, value)| *value == 0) {
            problems.push(Problem::new(at, "0 would never read anything", "use 1 or more"));
        }
        if config.batch_bytes > Limits::MOST_BYTES {
            problems.push(Problem::new("batch_bytes", "a batch holds at most 256 MiB", "use less"));
        }
        if config.timeouts.statement_ms.is_some_and(|limit| limit > i32::MAX.unsigned_abs().into()) {
            problems.push(Problem::new("timeouts.statement_ms", "is beyond PostgreSQL's 24 days", "use less"));
        }
        Error::from_problems(Kind::InvalidConfig, "build the PostgreSQL source", problems)?;
        let (Some((address, tls)), Some(query)) = (login, query) else {
            return Err(failure::internal("a part of the source is missing and no problem was named"));
        };
        let limits = Limits { rows: config.batch_rows, bytes: config.batch_bytes };
        Ok(PostgresSource::new(address, tls, query, config.numeric, limits, config.timeouts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<PostgresConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn files_are_read_strictly() {
        let config = config(
            r#"{"connection": "postgres://reader:canary@127.0.0.1/shop?sslmode=disable", "query": "select 'canary'",
                "numeric": {"spent": {"precision": 18, "scale": 2}}, "timeouts": {"idle_ms": 5000}, "batch_rows": 10}"#,
        )
        .unwrap();
        assert_eq!((config.batch_rows, config.batch_bytes), (10, 4 << 20));
        assert_eq!((config.timeouts.idle_ms, config.timeouts.connect_ms), (5_000, 10_000));
        assert_eq!(config.numeric["spent"], Numeric { precision: 18, scale: 2 });
        assert!(!format!("{config:?}").contains("canary"));
        let source = PostgresSource::from_config(config).build().unwrap();
        assert!(!format!("{source:?}").contains("canary"), "{source:?}");
        assert!(format!("{source:?}").contains("127.0.0.1:5432"), "{source:?}");

        for bad in [r#"{"conection": "x"}"#, r#"{"timeouts": {"idle": 1}}"#, r#"{"numeric": {"a": {"precision": 1}}}"#]
        {
            assert!(self::config(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_problems_at_once() {
        let error = PostgresSource::builder()
            .connection(Secret::new("postgres://reader:canary@db.example.com/shop?sslmode=disable"))
            .root_ca_pem("none")
            .query("select 1; select 'canary'")
            .numeric("a", 39, 0)
            .numeric("b", 5, 6)
            .numeric("c", 0, 0)
            .batch_rows(0)
            .batch_bytes(1 << 30)
            .timeouts(Timeouts { connect_ms: 0, idle_ms: 0, statement_ms: Some(0) })
            .build()
            .unwrap_err();
        let at: Vec<&str> = error.problems().iter().map(|problem| problem.at.as_str()).collect();
        let expected = [
            "connection",
            "root_ca_pem",
            "query",
            "numeric.a",
            "numeric.b",
            "numeric.c",
            "batch_rows",
            "timeouts.connect_ms",
            "timeouts.idle_ms",
            "timeouts.statement_ms",
            "batch_bytes",
        ];
        assert_eq!(at, expected);
        assert!(!format!("{error:?}").contains("canary"));
        assert_eq!(PostgresSource::builder().build().unwrap_err().problems().len(), 2);
    }
}
