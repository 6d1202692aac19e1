//! The store under test, and how another process finds it.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::Secret;
use rsync_core::state::StateStore;
use rsync_postgres_state::PostgresStore;
use rsync_testkit::postgres::{Cluster, Database};
use rsync_testkit::state::{Harness, HarnessResult};

const URL: &str = "RSYNC_POSTGRES_STATE_URL";

/// A store whose holds end after a given time.
pub(crate) struct Place {
    url: String,
    lease: Duration,
    /// Only in the process that people start.
    _owned: Option<Database>,
}

impl Place {
    pub(crate) fn start(lease: Duration) -> HarnessResult<Self> {
        if let Ok(url) = env::var(URL) {
            return Ok(Self { url, lease, _owned: None });
        }
        let database = Cluster::shared()?.database()?;
        let url = format!("{}?sslmode=disable", database.url());
        Ok(Self { url, lease, _owned: Some(database) })
    }
}

#[async_trait]
impl Harness for Place {
    async fn open(&self) -> HarnessResult<Arc<dyn StateStore>> {
        let builder = PostgresStore::builder().connection(Secret::new(&*self.url)).lease(self.lease);
        Ok(Arc::new(builder.build()?))
    }

    fn environment(&self) -> Option<Vec<(String, String)>> {
        Some(vec![(URL.to_owned(), self.url.clone())])
    }

    fn secrets(&self) -> Vec<String> {
        let password = self.url.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
        let password = password.and_then(|(user, _)| user.split_once(':'));
        password.map(|(_, password)| password.to_owned()).into_iter().collect()
    }
}
