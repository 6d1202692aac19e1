//! A model of a state store, and what becomes of it with one defect.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::clock::{Clock, SystemClock};
use rsync_core::ids::SyncId;
use rsync_core::state::{Mutation, StateRead, StateSession, StateStore, Table};
use rsync_core::{Error, Kind, Result};
use rsync_testkit::state::{Damage, Harness, HarnessResult, StoreFault};

macro_rules! zoo {
    ($($defect:ident $number:literal $case:literal;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Defect {
            $($defect),+
        }

        impl Defect {
            pub(crate) const ALL: &[Defect] = &[$(Defect::$defect),+];

            /// Number and part of the name of the case that it must fail.
            pub(crate) fn fails(self) -> (&'static str, &'static str) {
                match self {
                    $(Defect::$defect => ($number, $case)),+
                }
            }
        }
    };
}

zoo! {
    ForgetsEverything "-" "found by the next session";
    DeletesFirst "T1" "in order";
    TakesTheFirstOfSeveral "T1" "in order";
    CommitsInHalves "T1" "leaves nothing";
    LimitsTransactions "T1" "15 MB";
    CommitsOnClose "T2" "survives a crash";
    SaysAllWentWell "T1" "leaves nothing";
    TornByLostConnection "T3" "connection lost";
    AcknowledgesEarly "T3" "connection lost";
    CommitsAfterFailure "T4" "commits no more";
    CommitsAfterGivingUp "T4" "given up";
    LocksNothing "T5" "second session";
    LocksWithinAnInstance "T5" "second session";
    ChecksThenLocks "T5" "many who ask";
    WaitsForTheHolder "T5" "second session";
    RefusesAsUnavailable "T5" "second session";
    StaleSessionCommits "T6" "changes nothing";
    StaleSessionRevives "T6" "changes nothing";
    StaleDropReleases "T6" "successor";
    KeepsHoldWhenDropped "-" "found by the next session";
    ReleasesLate "T7" "dropped session";
    KeepsHoldOfLostConnection "T7" "lost connection";
    TakesDamageForNew "T8" "damage";
    TakesDamageForMissing "T8" "damage";
    ReadsWhatWasThere "T9" "at once";
    ScansOldPages "T9" "at once";
    ScansByLength "T10" "order of bytes";
    ScansAsText "T10" "order of bytes";
    ScansBehindFrom "T10" "begins where";
    EndsPagesEarly "T10" "pages";
    CapsPages "T10" "pages";
    DeletesInAllTables "T11" "tables";
    ScansIntoTheNextTable "T11" "tables";
    FoldsNames "T11" "syncs";
    CutsNames "T11" "syncs";
    TrimsZeros "T12" "byte for byte";
    ForgetsEmptyValues "T12" "byte for byte";
    CutsLongKeys "T12" "byte for byte";
    CutsLargeValues "T12" "large values";
    MissingCannotBeDeleted "T13" "missing key";
    LeaksKeysInErrors "T14" "errors";
    LeaksValuesInDebug "T14" "errors";
    LeaksInLogs "T14" "errors";
    Blocks "T15" "blocks";
    Panics "T11" "syncs";
}

type Place = (Table, Vec<u8>);
/// Values are shared, since records are copied for every crash.
type Records = BTreeMap<Place, Arc<Vec<u8>>>;

#[derive(Clone, Default)]
struct Slot {
    records: Records,
    /// Written by a commit and not durable yet.
    volatile: Option<Records>,
    holder: Option<u64>,
    damaged: bool,
    fails: bool,
    /// The holder whose connection is cut.
    cut: Option<u64>,
}

impl Slot {
    fn now(&self) -> &Records {
        self.volatile.as_ref().unwrap_or(&self.records)
    }

    /// Whether damage took the record away.
    fn is_lost(&self, place: &Place) -> bool {
        self.damaged && self.now().keys().next() == Some(place)
    }
}

#[derive(Clone, Default)]
struct Shared {
    slots: HashMap<String, Slot>,
    next_holder: u64,
}

type World = Arc<Mutex<Shared>>;

/// A place, and the harm that can be done to it.
pub(crate) struct Zoo {
    world: World,
    defect: Option<Defect>,
}

impl Zoo {
    pub(crate) fn new(defect: Option<Defect>) -> Self {
        Self { world: World::default(), defect }
    }

    fn slot<R>(&self, sync: &SyncId, f: impl FnOnce(&mut Slot) -> R) -> R {
        f(lock(&self.world).slots.entry(stored_name(self.defect, sync)).or_default())
    }
}

fn lock(world: &World) -> MutexGuard<'_, Shared> {
    world.lock().expect("no test panics while it holds this lock")
}

fn stored_name(defect: Option<Defect>, sync: &SyncId) -> String {
    let name = sync.as_str();
    match defect {
        Some(Defect::FoldsNames) => name.replace('_', "-"),
        Some(Defect::CutsNames) => name.chars().take(62).collect(),
        _ => name.to_owned(),
    }
}

#[async_trait]
impl Harness for Zoo {
    async fn open(&self) -> HarnessResult<Arc<dyn StateStore>> {
        Ok(Arc::new(Animal { world: Arc::clone(&self.world), defect: self.defect, held: Arc::default() }))
    }

    async fn after_crash(&self) -> HarnessResult<Option<Arc<dyn StateStore>>> {
        let mut shared = lock(&self.world).clone();
        for slot in shared.slots.values_mut() {
            (slot.holder, slot.volatile) = (None, None);
        }
        let world = Arc::new(Mutex::new(shared));
        Ok(Some(Arc::new(Animal { world, defect: self.defect, held: Arc::default() })))
    }

    async fn inflict(&self, sync: &SyncId, fault: StoreFault) -> HarnessResult<bool> {
        self.slot(sync, |slot| match fault {
            StoreFault::WritesFail => slot.fails = true,
            StoreFault::ConnectionLost => {
                slot.cut = slot.holder;
                if self.defect != Some(Defect::KeepsHoldOfLostConnection) {
                    slot.holder = None;
                }
            }
            _ => slot.holder = None,
        });
        Ok(true)
    }

    async fn mend(&self) -> HarnessResult<()> {
        lock(&self.world).slots.values_mut().for_each(|slot| slot.fails = false);
        Ok(())
    }

    async fn damage(&self, sync: &SyncId, _: Damage) -> HarnessResult<bool> {
        self.slot(sync, |slot| slot.damaged = true);
        Ok(true)
    }
}

/// The store.
#[derive(Clone)]
struct Animal {
    world: World,
    defect: Option<Defect>,
    /// Syncs that this instance knows to be held, for the one that looks no further.
    held: Arc<Mutex<Vec<String>>>,
}

impl std::fmt::Debug for Animal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Animal")
    }
}

impl Animal {
    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }
}

fn error(kind: Kind, message: &str) -> Error {
    Error::new(kind, "use the zoo", message).with_remedy("mend the animal")
}

#[async_trait]
impl StateStore for Animal {
    fn kind(&self) -> &'static str {
        "zoo"
    }

    async fn acquire(&self, sync: &SyncId) -> Result<Box<dyn StateSession>> {
        let name = stored_name(self.defect, sync);
        assert!(!(self.has(Defect::Panics) && name.ends_with('_')), "not a name that this animal likes");
        if self.has(Defect::ForgetsEverything) {
            lock(&self.world).slots.remove(&name);
        }
        let is_held = || {
            let mut shared = lock(&self.world);
            shared.slots.entry(name.clone()).or_default().holder.is_some()
        };
        let refused = match self.defect {
            Some(Defect::LocksNothing) => false,
            Some(Defect::LocksWithinAnInstance) => {
                self.held.lock().expect("no test panics while it holds this lock").contains(&name)
            }
            Some(Defect::ChecksThenLocks) => {
                let refused = is_held();
                tokio::task::yield_now().await;
                refused
            }
            Some(Defect::WaitsForTheHolder) => {
                while is_held() {
                    SystemClock::new().sleep(Duration::from_millis(100)).await;
                }
                false
            }
            _ => is_held(),
        };
        if refused {
            let kind = if self.has(Defect::RefusesAsUnavailable) { Kind::StateStore } else { Kind::AlreadyRunning };
            return Err(error(kind, "held"));
        }
        let (holder, seen) = {
            let mut shared = lock(&self.world);
            shared.next_holder += 1;
            let holder = shared.next_holder;
            let slot = shared.slots.entry(name.clone()).or_default();
            if slot.damaged && self.has(Defect::TakesDamageForNew) {
                *slot = Slot::default();
            } else if slot.damaged && !self.has(Defect::TakesDamageForMissing) {
                return Err(error(Kind::StateCorrupt, "damaged"));
            }
            slot.holder = Some(holder);
            (holder, slot.now().clone())
        };
        self.held.lock().expect("no test panics while it holds this lock").push(name.clone());
        Ok(Box::new(Session { store: self.clone(), name, holder, seen, poisoned: AtomicBool::new(false) }))
    }
}

struct Session {
    store: Animal,
    name: String,
    holder: u64,
    /// The records when the sync was acquired.
    seen: Records,
    poisoned: AtomicBool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.store.has(Defect::LeaksValuesInDebug) {
            let texts: Vec<_> = self.records().into_values().collect();
            return write!(f, "Session({texts:?})");
        }
        f.write_str("Session")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let stale = self.has(Defect::StaleDropReleases);
        let keeps = self.has(Defect::KeepsHoldWhenDropped) || self.has(Defect::ReleasesLate);
        self.with(|slot| {
            if let Some(volatile) = slot.volatile.take() {
                slot.records = volatile;
            }
            if (slot.holder == Some(self.holder) || stale) && !keeps {
                slot.holder = None;
            }
        });
        if self.has(Defect::ReleasesLate) {
            let (world, name, holder) = (Arc::clone(&self.store.world), self.name.clone(), self.holder);
            tokio::spawn(async move {
                SystemClock::new().sleep(Duration::from_millis(100)).await;
                if let Some(slot) = lock(&world).slots.get_mut(&name).filter(|slot| slot.holder == Some(holder)) {
                    slot.holder = None;
                }
            });
        }
        let mut held = self.store.held.lock().expect("no test panics while it holds this lock");
        held.retain(|name| *name != self.name);
    }
}

impl Session {
    fn has(&self, defect: Defect) -> bool {
        self.store.has(defect)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Slot) -> R) -> R {
        f(lock(&self.store.world).slots.entry(self.name.clone()).or_default())
    }

    fn records(&self) -> Records {
        self.with(|slot| slot.now().clone())
    }

    /// What the defect makes of a commit before it is applied.
    fn spoil(&self, mut mutations: Vec<Mutation>) -> Vec<Mutation> {
        let is_delete = |mutation: &Mutation| matches!(mutation, Mutation::Delete { .. });
        match self.store.defect {
            Some(Defect::DeletesFirst) => mutations.sort_by_key(|mutation| !is_delete(mutation)),
            Some(Defect::TakesTheFirstOfSeveral) => mutations.reverse(),
            _ => {}
        }
        for mutation in &mut mutations {
            let Mutation::Put { key, value, .. } = mutation else { continue };
            match self.store.defect {
                Some(Defect::TrimsZeros) => {
                    while value.last() == Some(&0) {
                        value.pop();
                    }
                }
                Some(Defect::CutsLongKeys) => key.truncate(255),
                Some(Defect::CutsLargeValues) => value.truncate(4 << 20),
                _ => {}
            }
        }
        mutations
    }

    fn apply(&self, records: &mut Records, mutations: &[Mutation]) {
        for mutation in mutations {
            match mutation {
                Mutation::Put { table, key, value } => {
                    if value.is_empty() && self.has(Defect::ForgetsEmptyValues) {
                        records.remove(&(*table, key.clone()));
                        continue;
                    }
                    records.insert((*table, key.clone()), Arc::new(value.clone()));
                }
                Mutation::Delete { table, key } => {
                    records.remove(&(*table, key.clone()));
                    if self.has(Defect::DeletesInAllTables) {
                        for table in Table::ALL {
                            records.remove(&(table, key.clone()));
                        }
                    }
                }
                _ => panic!("a mutation that the zoo does not know"),
            }
        }
    }

    /// Whether this session may still write, and if not, why.
    fn check(&self) -> Result<()> {
        let leak = |error: Error| match self.has(Defect::LeaksKeysInErrors) {
            true => {
                error.with_context("keys", format!("{:02x?}", self.records().keys().collect::<Vec<_>>())).with_context(
                    "key",
                    self.records().keys().map(|(_, key)| String::from_utf8_lossy(key).into_owned()).collect::<String>(),
                )
            }
            false => error,
        };
        if self.has(Defect::LeaksInLogs) {
            tracing::debug!(values = ?self.records().values().collect::<Vec<_>>(), "commit");
        }
        let (holds, fails, is_cut) =
            self.with(|slot| (slot.holder == Some(self.holder), slot.fails, slot.cut == Some(self.holder)));
        if is_cut && !self.has(Defect::SaysAllWentWell) {
            return Err(leak(error(Kind::StateStore, "no connection")));
        }
        let locks = !self.has(Defect::LocksNothing) && !self.has(Defect::StaleSessionCommits);
        if !holds && locks {
            if self.has(Defect::StaleSessionRevives) {
                // The first commit is refused, and takes the sync back.
                self.with(|slot| slot.holder = Some(self.holder));
            }
            return Err(leak(error(Kind::StateStore, "the hold is lost")));
        }
        if fails {
            return Err(leak(error(Kind::StateStore, "no space")));
        }
        Ok(())
    }
}

#[async_trait]
impl StateRead for Session {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let place = (table, key.to_vec());
        if self.has(Defect::ReadsWhatWasThere) {
            return Ok(self.seen.get(&place).map(|value| (**value).clone()));
        }
        Ok(self.with(|slot| slot.now().get(&place).filter(|_| !slot.is_lost(&place)).map(|value| (**value).clone())))
    }

    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let more = self.has(Defect::ScansIntoTheNextTable);
        let in_table = |records: &Records, is_lost: &dyn Fn(&Place) -> bool| -> Vec<(Vec<u8>, Arc<Vec<u8>>)> {
            let range = records.range((table, Vec::new())..).take_while(|((t, _), _)| more || *t == table);
            let range = range.filter(|(place, _)| !is_lost(place));
            range.map(|((_, key), value)| (key.clone(), Arc::clone(value))).collect()
        };
        let mut found = match self.has(Defect::ScansOldPages) {
            true => in_table(&self.seen, &|_| false),
            false => self.with(|slot| in_table(slot.now(), &|place| slot.is_lost(place))),
        };
        let text = |key: &[u8]| String::from_utf8_lossy(key).to_lowercase();
        match self.store.defect {
            Some(Defect::ScansByLength) => {
                found.sort_by_key(|(key, _)| (key.len(), key.clone()));
                found.retain(|(key, _)| (key.len(), key.as_slice()) >= (from.len(), from));
            }
            Some(Defect::ScansAsText) => {
                found.sort_by_key(|(key, _)| text(key));
                found.retain(|(key, _)| text(key) >= text(from));
            }
            Some(Defect::ScansBehindFrom) if !from.is_empty() => found.retain(|(key, _)| key.as_slice() > from),
            _ => found.retain(|(key, _)| key.as_slice() >= from),
        }
        let limit = match self.store.defect {
            Some(Defect::EndsPagesEarly) if limit > 64 => limit - 1,
            Some(Defect::CapsPages) => limit.min(500),
            _ => limit,
        };
        Ok(found.into_iter().take(limit).map(|(key, value)| (key, (*value).clone())).collect())
    }
}

#[async_trait]
impl StateSession for Session {
    async fn commit(&self, mutations: Vec<Mutation>) -> Result<()> {
        let bytes: usize =
            mutations.iter().map(|m| if let Mutation::Put { value, .. } = m { value.len() } else { 0 }).sum();
        if self.has(Defect::Blocks) && bytes > 1 << 20 {
            std::thread::sleep(Duration::from_millis(220));
        }
        let poisoned = self.poisoned.swap(true, Ordering::AcqRel);
        if poisoned && !self.has(Defect::CommitsAfterFailure) && !self.has(Defect::CommitsAfterGivingUp) {
            return Err(error(Kind::StateStore, "an earlier commit failed"));
        }
        if let Err(e) = self.check() {
            if self.has(Defect::CommitsInHalves) || self.has(Defect::SaysAllWentWell) {
                let half = mutations.len() / 2;
                self.with(|slot| self.apply(&mut slot.records, &mutations[..half]));
            }
            if self.has(Defect::CommitsAfterFailure) {
                self.poisoned.store(false, Ordering::Release);
            }
            return if self.has(Defect::SaysAllWentWell) { Ok(()) } else { Err(e) };
        }
        if self.has(Defect::LimitsTransactions) && bytes > 10 << 20 {
            return Err(error(Kind::StateStore, "too large"));
        }
        if self.has(Defect::MissingCannotBeDeleted) {
            let is_missing = |m: &Mutation| match m {
                Mutation::Delete { table, key } => self.with(|slot| !slot.now().contains_key(&(*table, key.clone()))),
                _ => false,
            };
            if mutations.len() == 1 && is_missing(&mutations[0]) {
                return Err(error(Kind::StateStore, "no such key"));
            }
        }
        let mutations = self.spoil(mutations);
        if self.has(Defect::TornByLostConnection) {
            self.with(|slot| self.apply(&mut slot.records, &mutations[..mutations.len() / 2]));
        }
        // The way to the disk and back.
        let pause = Duration::from_millis(if bytes > 1 << 19 { 6 } else { 0 });
        if self.has(Defect::AcknowledgesEarly) {
            let (world, name, holder) = (Arc::clone(&self.store.world), self.name.clone(), self.holder);
            let mut records = self.records();
            self.apply(&mut records, &mutations);
            if bytes > 1 << 19 {
                tokio::spawn(async move {
                    SystemClock::new().sleep(pause).await;
                    if let Some(slot) = lock(&world).slots.get_mut(&name).filter(|slot| slot.holder == Some(holder)) {
                        slot.records = records;
                    }
                });
            } else {
                self.with(|slot| slot.records = records);
            }
            self.poisoned.store(false, Ordering::Release);
            return Ok(());
        }
        SystemClock::new().sleep(pause).await;
        tokio::task::yield_now().await;
        self.check()?;
        self.with(|slot| {
            if self.has(Defect::CommitsOnClose) {
                slot.volatile.get_or_insert_with(|| slot.records.clone());
            }
            self.apply(slot.volatile.as_mut().unwrap_or(&mut slot.records), &mutations);
        });
        self.poisoned.store(false, Ordering::Release);
        Ok(())
    }
}
