//! A session: one connection, one lease.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use rsync_core::Result;
use rsync_core::ids::SyncId;
use rsync_core::state::{Mutation, StateRead, StateSession, Table};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use crate::failure::{self, Phase};
use crate::schema;
use crate::store::Inner;
use crate::wire;

/// How long a dropped session may take to release its sync.
const FAREWELL: Duration = Duration::from_secs(3);

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// What the session shares with the task that renews its lease.
struct Hold {
    store: Arc<Inner>,
    client: Client,
    sync: String,
    token: i64,
    seconds: f64,
    renew: Statement,
    /// Milliseconds of the store's clock at which the lease ends, at the earliest.
    ends_ms: AtomicU64,
}

impl Hold {
    fn now_ms(&self) -> u64 {
        millis(self.store.clock.monotonic())
    }

    /// The lease was renewed by a request that was sent at `sent_ms`.
    fn renewed(&self, sent_ms: u64) {
        self.ends_ms.fetch_max(sent_ms + millis(self.store.lease), Ordering::AcqRel);
    }

    /// The lease is lost for good.
    fn end(&self) {
        self.ends_ms.store(0, Ordering::Release);
    }

    /// What is left of the lease; none if it is too little to begin anything.
    fn left(&self) -> Option<Duration> {
        let left = Duration::from_millis(self.ends_ms.load(Ordering::Acquire).saturating_sub(self.now_ms()));
        (left > self.store.lease / 6).then_some(left)
    }

    async fn query(
        &self,
        phase: Phase,
        limit: Duration,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>> {
        let answer = timeout(limit, self.client.query(statement, parameters)).await;
        let answer = answer.map_err(|_| failure::timed_out(phase, &self.store.address))?;
        answer.map_err(|e| failure::classify(phase, &e, &self.store.address))
    }

    fn lost(&self, phase: Phase) -> rsync_core::Error {
        failure::lost(phase, &self.store.address)
    }

    /// Renews the lease until that fails: then the session ends by itself.
    async fn keep(self: Arc<Self>) {
        loop {
            self.store.clock.sleep(self.store.lease / 3).await;
            let sent_ms = self.now_ms();
            let parameters: Parameters<'_> = &[&self.sync, &self.token, &self.seconds];
            match timeout(self.store.lease, self.client.execute(&self.renew, parameters)).await {
                Ok(Ok(1)) => self.renewed(sent_ms),
                Ok(Ok(_)) => return self.end(),
                // Without a connection the session cannot do anything anyway.
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) struct Session {
    hold: Arc<Hold>,
    id: SyncId,
    get: Statement,
    scan: Statement,
    commit: Statement,
    release: Statement,
    renewal: AbortHandle,
    runtime: Handle,
    /// Set while a commit is open, and for good when one fails or its future is dropped.
    poisoned: AtomicBool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("sync", &self.id).field("token", &self.hold.token).finish_non_exhaustive()
    }
}

/// Connects, and takes hold of the sync.
pub(crate) async fn open(store: Arc<Inner>, id: &SyncId) -> Result<Session> {
    let runtime = Handle::try_current().map_err(|_| failure::no_runtime())?;
    let address = &store.address;
    let client = wire::connect(address, &store.tls).await?;
    let work = async {
        store.schema.prepare(&client, address).await?;
        let failed = |e: tokio_postgres::Error| failure::classify(Phase::Acquire, &e, address);
        let texts = [schema::acquire, schema::renew, schema::get, schema::scan, schema::commit, schema::release]
            .map(|text| text(&store.schema));
        // They go out together and come back together.
        let statements = try_join_all(texts.iter().map(|text| client.prepare(text))).await.map_err(failed)?;
        let (sync, seconds) = (id.as_str().to_owned(), store.lease.as_secs_f64());
        let sent_ms = millis(store.clock.monotonic());
        let rows = client.query(&statements[0], &[&sync, &seconds]).await.map_err(failed)?;
        let Some(row) = rows.first() else {
            let rows = client.query(&schema::holder(&store.schema), &[&sync]).await.map_err(failed)?;
            let holder: String = rows.first().map_or(Ok(String::new()), |row| row.try_get(0)).map_err(failed)?;
            return Err(failure::already_running(&holder, address));
        };
        let token: i64 = row.try_get(0).map_err(failed)?;
        Ok((statements, sync, seconds, sent_ms, token))
    };
    let done = timeout(store.lease, work).await.map_err(|_| failure::timed_out(Phase::Acquire, address))?;
    let (statements, sync, seconds, sent_ms, token) = done?;
    let [_, renew, get, scan, commit, release] = statements.as_slice() else {
        return Err(failure::internal("a statement is missing"));
    };
    let hold = Hold {
        sync,
        token,
        seconds,
        renew: renew.clone(),
        ends_ms: AtomicU64::new(sent_ms + millis(store.lease)),
        client,
        store: Arc::clone(&store),
    };
    let hold = Arc::new(hold);
    let renewal = runtime.spawn(Arc::clone(&hold).keep()).abort_handle();
    Ok(Session {
        hold,
        id: id.clone(),
        get: get.clone(),
        scan: scan.clone(),
        commit: commit.clone(),
        release: release.clone(),
        renewal,
        runtime,
        poisoned: AtomicBool::new(false),
    })
}

impl Drop for Session {
    fn drop(&mut self) {
        self.renewal.abort();
        let (hold, release) = (Arc::clone(&self.hold), self.release.clone());
        // It goes out behind whatever was sent before, so a commit that nobody waits for ends first.
        let farewell = self.runtime.spawn(async move {
            let parameters: Parameters<'_> = &[&hold.sync, &hold.token];
            // Without an answer, the end of the connection or of the lease does it.
            let _ = timeout(FAREWELL, hold.client.execute(&release, parameters)).await;
        });
        self.hold.store.put_farewell(self.id.clone(), farewell);
    }
}

impl Session {
    /// Reads, and fails if the records may be those of a successor.
    async fn read(&self, statement: &Statement, parameters: Parameters<'_>) -> Result<Vec<Row>> {
        let hold = &self.hold;
        let rows = hold.query(Phase::Read, hold.store.lease, statement, parameters).await?;
        match rows.first().map(|row| row.try_get(0)) {
            Some(Ok(true)) => Ok(rows),
            Some(Err(e)) => Err(failure::classify(Phase::Read, &e, &hold.store.address)),
            Some(Ok(false)) | None => {
                hold.end();
                Err(hold.lost(Phase::Read))
            }
        }
    }

    fn cell(&self, row: &Row, column: usize) -> Result<Option<Vec<u8>>> {
        row.try_get(column).map_err(|e| failure::classify(Phase::Read, &e, &self.hold.store.address))
    }
}

#[async_trait]
impl StateRead for Session {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let parameters: Parameters<'_> = &[&self.hold.sync, &self.hold.token, &table.as_str(), &key];
        let rows = self.read(&self.get, parameters).await?;
        self.cell(&rows[0], 1)
    }

    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
        let parameters: Parameters<'_> = &[&self.hold.sync, &self.hold.token, &table.as_str(), &from, &limit];
        let rows = self.read(&self.scan, parameters).await?;
        let mut records = Vec::with_capacity(rows.len());
        for row in &rows {
            if let (Some(key), Some(value)) = (self.cell(row, 1)?, self.cell(row, 2)?) {
                records.push((key, value));
            }
        }
        Ok(records)
    }
}

#[async_trait]
impl StateSession for Session {
    async fn commit(&self, mutations: Vec<Mutation>) -> Result<()> {
        let hold = &self.hold;
        if self.poisoned.swap(true, Ordering::AcqRel) {
            return Err(failure::poisoned(&hold.store.address));
        }
        let left = hold.left().ok_or_else(|| hold.lost(Phase::Write))?;
        let changes = Changes::of(&mutations)?;
        let sent_ms = hold.now_ms();
        let parameters: Parameters<'_> = &[
            &hold.sync,
            &hold.token,
            &hold.seconds,
            &changes.gone_tables,
            &changes.gone_keys,
            &changes.tables,
            &changes.keys,
            &changes.values,
        ];
        let rows = hold.query(Phase::Write, left, &self.commit, parameters).await?;
        if rows.is_empty() {
            hold.end();
            return Err(hold.lost(Phase::Write));
        }
        hold.renewed(sent_ms);
        self.poisoned.store(false, Ordering::Release);
        Ok(())
    }
}

/// The mutations as lists, of several of one key the last.
#[derive(Default)]
struct Changes<'m> {
    gone_tables: Vec<&'static str>,
    gone_keys: Vec<&'m [u8]>,
    tables: Vec<&'static str>,
    keys: Vec<&'m [u8]>,
    values: Vec<&'m [u8]>,
}

impl<'m> Changes<'m> {
    fn of(mutations: &'m [Mutation]) -> Result<Self> {
        let mut last: BTreeMap<(Table, &[u8]), Option<&[u8]>> = BTreeMap::new();
        for mutation in mutations {
            match mutation {
                Mutation::Put { table, key, value } => last.insert((*table, key), Some(value)),
                Mutation::Delete { table, key } => last.insert((*table, key), None),
                _ => return Err(failure::internal("a mutation that this store does not know")),
            };
        }
        let mut changes = Self::default();
        for ((table, key), value) in last {
            match value {
                Some(value) => {
                    changes.tables.push(table.as_str());
                    changes.keys.push(key);
                    changes.values.push(value);
                }
                None => {
                    changes.gone_tables.push(table.as_str());
                    changes.gone_keys.push(key);
                }
            }
        }
        Ok(changes)
    }
}
