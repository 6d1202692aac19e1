//! A real PostgreSQL for tests.
//!
//! [`Cluster::shared`] starts a server of its own, once a test process, on a free port of loopback and on a Unix
//! socket, with TLS and with password authentication. [`Cluster::database`] hands out empty databases. The server ends
//! with the process, however that ends, and takes its files along.
//!
//! ```no_run
//! use rsync_testkit::postgres::Cluster;
//!
//! # fn main() -> Result<(), rsync_testkit::postgres::PostgresError> {
//! let database = Cluster::shared()?.database()?;
//! database.run("CREATE TABLE customer (id bigint, email text); INSERT INTO customer VALUES (1, NULL)")?;
//! let rows: Vec<_> = database.rows("SELECT * FROM customer")?.collect::<Result<_, _>>()?;
//! assert_eq!(rows, [[Some("1".to_owned()), None]]);
//! println!("{}", database.url());
//! # Ok(())
//! # }
//! ```
//!
//! PostgreSQL must be installed (on Debian: `apt-get install postgresql`); which version does not matter. SQL runs
//! through `psql`, so that what a test compares with was read by PostgreSQL's own client.
//!
//! With `RSYNC_TEST_POSTGRES_URL=postgres://user:password@127.0.0.1:5432/postgres` that server is used instead: databases
//! are created there and dropped at the end, so the user must be allowed to.

mod binaries;
mod cluster;
mod database;
mod tls;

pub use cluster::{Cluster, PostgresError};
pub use database::{Database, Rows};
