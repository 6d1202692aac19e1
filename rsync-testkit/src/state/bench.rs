//! A store and its sessions, with every error put on record.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rsync_core::clock::{Clock, SystemClock};
use rsync_core::ids::SyncId;
use rsync_core::state::{Mutation, StateSession, StateStore, Table};
use rsync_core::{Error, Kind};

use super::content::{Records, delete, put};
use super::harness::{Damage, Harness, StoreFault};
use super::process::Program;
use crate::suite::{Evidence, Stop, ensure};

/// Longest wait for an answer that must come at once.
const AT_ONCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// One case's view of the store.
pub(super) struct Bench<'h> {
    pub(super) harness: &'h dyn Harness,
    pub(super) store: Arc<dyn StateStore>,
    pub(super) evidence: &'h Evidence,
    /// Starts this program again, where that is possible.
    pub(super) program: Option<Program>,
    /// For what the case draws.
    pub(super) seed: u64,
    /// Part of the names of this case's syncs.
    marker: String,
    /// A text for keys and values, which nothing that the store says may hold.
    pub(super) canary: &'h str,
    next_sync: AtomicU64,
}

impl<'h> Bench<'h> {
    pub(super) fn new(
        harness: &'h dyn Harness,
        store: Arc<dyn StateStore>,
        evidence: &'h Evidence,
        program: Option<Program>,
        seed: u64,
        marker: String,
        canary: &'h str,
    ) -> Self {
        Self { harness, store, evidence, program, seed, marker, canary, next_sync: AtomicU64::new(0) }
    }

    /// A sync that nobody has seen.
    pub(super) fn sync(&self) -> Result<SyncId, Stop> {
        Ok(SyncId::new(format!("suite-{}-{}", self.marker, self.next_sync.fetch_add(1, Ordering::Relaxed)))?)
    }

    pub(super) async fn open(&self) -> Result<Arc<dyn StateStore>, Stop> {
        Ok(self.harness.open().await?)
    }

    /// Puts an answer on record.
    pub(super) fn record<T>(&self, what: &str, answer: &Result<T, Error>) -> Result<(), Stop> {
        if let Err(error) = answer {
            self.evidence.search_error(&format!("the error of {what}"), error);
            ensure!(
                matches!(
                    error.kind(),
                    Kind::StateStore | Kind::StateCorrupt | Kind::StateTooNew | Kind::AlreadyRunning | Kind::Internal
                ),
                "an error of a kind that is not a store's: {error:?}"
            );
        }
        Ok(())
    }

    /// Asks for the sync once.
    pub(super) async fn try_acquire(
        &self,
        store: &dyn StateStore,
        sync: &SyncId,
    ) -> Result<Result<Session<'_>, Error>, Stop> {
        let Ok(answer) = tokio::time::timeout(AT_ONCE, store.acquire(sync)).await else {
            return Stop::failed(format!("acquire gave no answer within {} s", AT_ONCE.as_secs()));
        };
        self.record("acquire", &answer)?;
        Ok(answer.map(|inner| {
            self.evidence.search_debug("a session", &inner);
            Session { evidence: self.evidence, inner }
        }))
    }

    pub(super) async fn acquire_from(&self, store: &dyn StateStore, sync: &SyncId) -> Result<Session<'_>, Stop> {
        Ok(self.try_acquire(store, sync).await??)
    }

    pub(super) async fn acquire(&self, sync: &SyncId) -> Result<Session<'_>, Stop> {
        self.acquire_from(&*self.store, sync).await
    }

    /// Asks for the sync until it is free, for as long as a lost holder may keep it.
    pub(super) async fn acquire_soon(&self, store: &dyn StateStore, sync: &SyncId) -> Result<Session<'_>, Stop> {
        let clock = SystemClock::new();
        let mut left = self.harness.release_limit();
        loop {
            match self.try_acquire(store, sync).await? {
                Ok(session) => return Ok(session),
                Err(e) if e.kind() == Kind::AlreadyRunning && left >= POLL => {
                    left -= POLL;
                    clock.sleep(POLL).await;
                }
                Err(e) if e.kind() == Kind::AlreadyRunning => {
                    let limit = self.harness.release_limit().as_millis();
                    return Stop::failed(format!("the sync is still held after {limit} ms"));
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Fails unless somebody else has the sync.
    pub(super) async fn expect_held(&self, store: &dyn StateStore, sync: &SyncId) -> Result<(), Stop> {
        match self.try_acquire(store, sync).await? {
            Ok(_) => Stop::failed("two sessions hold one sync"),
            Err(e) => {
                ensure!(e.kind() == Kind::AlreadyRunning, "a held sync is refused with another kind: {e:?}");
                Ok(())
            }
        }
    }

    /// What would be found after a crash now, or the end of the case.
    pub(super) async fn after_crash(&self) -> Result<Arc<dyn StateStore>, Stop> {
        match self.harness.after_crash().await? {
            Some(store) => Ok(store),
            None => Stop::not_applicable("the harness cannot crash the store"),
        }
    }

    /// Does harm, or ends the case where the harness cannot.
    pub(super) async fn inflict(&self, sync: &SyncId, fault: StoreFault) -> Result<(), Stop> {
        if self.harness.inflict(sync, fault).await? {
            return Ok(());
        }
        Stop::not_applicable(format!("the harness cannot make the store fail so: {fault:?}"))
    }

    pub(super) async fn damage(&self, sync: &SyncId, damage: Damage) -> Result<(), Stop> {
        if self.harness.damage(sync, damage).await? {
            return Ok(());
        }
        Stop::not_applicable(format!("the harness cannot damage what is stored so: {damage:?}"))
    }

    /// Fails unless a new session of `store` finds exactly `expected`.
    pub(super) async fn expect(&self, store: &dyn StateStore, sync: &SyncId, expected: &Records) -> Result<(), Stop> {
        let session = self.acquire_soon(store, sync).await?;
        session.expect(expected).await
    }
}

/// A session whose errors are put on record.
pub(super) struct Session<'e> {
    evidence: &'e Evidence,
    pub(super) inner: Box<dyn StateSession>,
}

impl Session<'_> {
    fn record<T>(&self, what: &str, answer: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &answer {
            self.evidence.search_error(&format!("the error of {what}"), error);
        }
        answer
    }

    pub(super) async fn commit(&self, mutations: Vec<Mutation>) -> Result<(), Error> {
        self.record("commit", self.inner.commit(mutations).await)
    }

    pub(super) async fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.commit(vec![put(table, key, value)]).await
    }

    pub(super) async fn delete(&self, table: Table, key: &[u8]) -> Result<(), Error> {
        self.commit(vec![delete(table, key)]).await
    }

    pub(super) async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.record("get", self.inner.get(table, key).await)
    }

    pub(super) async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        self.record("scan", self.inner.scan(table, from, limit).await)
    }

    /// All records, read as the engine reads them: page by page.
    pub(super) async fn contents(&self) -> Result<Records, Error> {
        const PAGE: usize = 64;
        let mut records = Records::new();
        for table in Table::ALL {
            let mut from = Vec::new();
            loop {
                let page = self.scan(table, &from, PAGE).await?;
                let full = page.len() == PAGE;
                if let Some((last, _)) = page.last() {
                    from.clone_from(last);
                    from.push(0);
                }
                records.extend(page.into_iter().map(|(key, value)| ((table, key), value)));
                if !full {
                    break;
                }
            }
        }
        Ok(records)
    }

    /// Fails unless the session finds exactly `expected`, by `scan` and by `get`.
    pub(super) async fn expect(&self, expected: &Records) -> Result<(), Stop> {
        let found = self.contents().await?;
        if let Some(difference) = difference(expected, &found) {
            return Stop::failed(difference);
        }
        for ((table, key), value) in expected {
            let found = self.get(*table, key).await?;
            ensure!(found.as_ref() == Some(value), "`get` and `scan` of `{}` say different things", table.as_str());
        }
        Ok(())
    }
}

/// Where two sets of records differ first, without showing them.
fn difference(expected: &Records, found: &Records) -> Option<String> {
    if let Some(((table, key), value)) = expected.iter().find(|(place, value)| found.get(*place) != Some(*value)) {
        let what = match found.get(&(*table, key.clone())) {
            None => "is missing".to_owned(),
            Some(other) => format!("has another value, of {} bytes and not {}", other.len(), value.len()),
        };
        return Some(format!("in `{}` a record with a key of {} bytes {what}", table.as_str(), key.len()));
    }
    let (table, key) = found.keys().find(|place| !expected.contains_key(*place))?;
    Some(format!("in `{}` a record with a key of {} bytes is there that should not be", table.as_str(), key.len()))
}
