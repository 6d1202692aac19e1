//! The suite of state stores against a real PostgreSQL, in several processes.

use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::Secret;
use rsync_core::ids::SyncId;
use rsync_core::state::StateStore;
use rsync_postgres_state::PostgresStore;
use rsync_testkit::postgres::{Cluster, Database};
use rsync_testkit::state::{Damage, Harness, HarnessResult, StoreFault, main as run_suite};

const URL: &str = "RSYNC_POSTGRES_STATE_URL";

struct Postgres {
    url: String,
    /// Only in the process that people start: the database, and a connection to act from outside without delay.
    owned: Option<(Database, tokio_postgres::Client)>,
}

impl Postgres {
    async fn start() -> HarnessResult<Self> {
        if let Ok(url) = env::var(URL) {
            return Ok(Self { url, owned: None });
        }
        let database = Cluster::shared()?.database()?;
        let (admin, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(Self { url: format!("{}?sslmode=disable", database.url()), owned: Some((database, admin)) })
    }

    async fn sql(&self, script: &str) -> HarnessResult<()> {
        let (_, admin) = self.owned.as_ref().ok_or("no database in this process")?;
        Ok(admin.batch_execute(script).await?)
    }
}

#[async_trait]
impl Harness for Postgres {
    async fn open(&self) -> HarnessResult<Arc<dyn StateStore>> {
        Ok(Arc::new(PostgresStore::builder().connection(Secret::new(&*self.url)).build()?))
    }

    async fn after_crash(&self) -> HarnessResult<Option<Arc<dyn StateStore>>> {
        self.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await?;
        self.open().await.map(Some)
    }

    fn environment(&self) -> Option<Vec<(String, String)>> {
        Some(vec![(URL.to_owned(), self.url.clone())])
    }

    async fn inflict(&self, sync: &SyncId, fault: StoreFault) -> HarnessResult<bool> {
        let script = match fault {
            StoreFault::WritesFail => "CREATE FUNCTION rsync_state.full() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'no space left, says %', NEW.key USING ERRCODE = '53100'; END $$;
                 CREATE TRIGGER is_full BEFORE INSERT OR UPDATE ON rsync_state.record
                 FOR EACH ROW WHEN (length(NEW.value) % 3 = 0) EXECUTE FUNCTION rsync_state.full()"
                .to_owned(),
            StoreFault::ConnectionLost => format!(
                "SELECT pg_terminate_backend(regexp_replace(holder, '.* ', '')::int)
                 FROM rsync_state.lease WHERE sync = '{sync}'"
            ),
            StoreFault::HoldLost => {
                format!("UPDATE rsync_state.lease SET expires_at = '-infinity' WHERE sync = '{sync}'")
            }
            _ => return Ok(false),
        };
        self.sql(&script).await?;
        Ok(true)
    }

    async fn mend(&self) -> HarnessResult<()> {
        self.sql("DROP FUNCTION IF EXISTS rsync_state.full CASCADE").await
    }

    async fn damage(&self, _: &SyncId, _: Damage) -> HarnessResult<bool> {
        // What the server stores is guarded by the server.
        Ok(false)
    }

    fn release_limit(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn secrets(&self) -> Vec<String> {
        let password = self.url.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
        password
            .and_then(|(user, _)| user.split_once(':'))
            .map(|(_, password)| password.to_owned())
            .into_iter()
            .collect()
    }
}

fn main() -> ExitCode {
    run_suite(Postgres::start())
}
