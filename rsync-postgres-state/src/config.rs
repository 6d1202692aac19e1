//! Settings of the store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rsync_core::Secret;
use rsync_core::clock::{Clock, SystemClock};
use rsync_core::error::{Error, Kind, Problem, Result};
use rsync_postgres::Login;

use crate::failure;
use crate::schema::Schema;
use crate::store::PostgresStore;

const LEASE: Duration = Duration::from_secs(60);
/// A shorter one is lost to any pause; a longer one blocks a sync for too long after a machine is lost.
const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

/// Puts a [`PostgresStore`] together. Start with [`PostgresStore::builder`].
#[derive(Clone)]
#[must_use]
pub struct Builder {
    connection: Option<Secret>,
    password: Option<Secret>,
    allow_plaintext: bool,
    root_ca_pem: Option<String>,
    schema: String,
    lease: Duration,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("schema", &self.schema).field("lease", &self.lease).finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            connection: None,
            password: None,
            allow_plaintext: false,
            root_ca_pem: None,
            schema: "rsync_state".to_owned(),
            lease: LEASE,
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Sets the address: `postgres://user:password@host:5432/database?sslmode=verify-full`.
    ///
    /// The connection is encrypted and the server's certificate is verified, name included, whatever `sslmode` says:
    /// `require`, `verify-ca` and `verify-full` all mean this here. `disable` is for a server on this machine, `prefer`
    /// and `allow` are refused. A Unix socket (`postgres://user@%2Frun%2Fpostgresql/database`) needs no encryption.
    ///
    /// The other parameters are those of `tokio-postgres`. With several hosts, add `target_session_attrs=read-write`.
    pub fn connection(mut self, url: Secret) -> Self {
        self.connection = Some(url);
        self
    }

    /// Sets the password, so that the address need not hold it.
    pub fn password(mut self, password: Secret) -> Self {
        self.password = Some(password);
        self
    }

    /// Permits `sslmode=disable` for a server on another machine: whoever is on the way can then read and change the
    /// state. Default: refused.
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// Trusts these certificate authorities, as PEM, instead of those of the operating system.
    pub fn root_ca_pem(mut self, pem: impl Into<String>) -> Self {
        self.root_ca_pem = Some(pem.into());
        self
    }

    /// Sets the schema of the tables. Default `rsync_state`.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Sets for how long a sync stays held when its holder vanishes without the server's notice: 1 s to 1 h, default
    /// 60 s. It should be longer than a request to the destination may take, since a batch is sent after the commit that
    /// last renewed the lease.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets the clock by which a holder knows how much of its lease is left. Default: the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Builds the store. The server is not asked yet.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidConfig`] with all problems at once.
    ///
    /// ```
    /// # use rsync_core::Secret;
    /// # use rsync_postgres_state::PostgresStore;
    /// let error = PostgresStore::builder()
    ///     .connection(Secret::new("postgres://rsync@db.example.com/ops?sslmode=prefer"))
    ///     .schema("my state")
    ///     .build()
    ///     .unwrap_err();
    /// let at: Vec<&str> = error.problems().iter().map(|problem| problem.at.as_str()).collect();
    /// assert_eq!(at, ["connection", "schema"]);
    /// ```
    pub fn build(self) -> Result<PostgresStore> {
        let mut problems = Vec::new();
        let login = Login {
            connection: self.connection.as_ref(),
            password: self.password.as_ref(),
            allow_plaintext: self.allow_plaintext,
            root_ca_pem: self.root_ca_pem.as_deref(),
            carries: "state",
        };
        let login = login.read(&mut problems);
        let schema = Schema::new(&self.schema).map_err(|problem| problems.push(problem)).ok();
        if !LEASES.contains(&self.lease) {
            problems.push(Problem::new("lease", "is not between 1 s and 1 h", "use 60 s if in doubt"));
        }
        Error::from_problems(Kind::InvalidConfig, "build the PostgreSQL state store", problems)?;
        let (Some((address, tls)), Some(schema)) = (login, schema) else {
            return Err(failure::internal("a part of the store is missing and no problem was named"));
        };
        Ok(PostgresStore::new(address, tls, schema, self.lease, self.clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_at_once() {
        let error = PostgresStore::builder()
            .connection(Secret::new("postgres://rsync:canary@db.example.com/ops?sslmode=disable"))
            .root_ca_pem("none")
            .schema("State")
            .lease(Duration::ZERO)
            .build()
            .unwrap_err();
        let at: Vec<&str> = error.problems().iter().map(|problem| problem.at.as_str()).collect();
        assert_eq!(at, ["connection", "root_ca_pem", "schema", "lease"]);
        assert!(!format!("{error:?}").contains("canary"));
        assert_eq!(PostgresStore::builder().build().unwrap_err().problems().len(), 1);
    }

    #[test]
    fn debug_names_the_place_and_no_secret() {
        let builder =
            PostgresStore::builder().connection(Secret::new("postgres://rsync:canary@127.0.0.1/ops?sslmode=disable"));
        let texts = format!("{builder:?} {:?}", builder.clone().build().unwrap());
        assert!(
            texts.contains("127.0.0.1:5432") && texts.contains("rsync_state") && !texts.contains("canary"),
            "{texts}"
        );
    }
}
