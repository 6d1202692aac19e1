//! A small sync whose parts a test can change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rsync_core::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use rsync_core::arrow::datatypes::{DataType, Field, Schema};
use rsync_core::event::Observer;
use rsync_core::ids::{RunId, SyncId};
use rsync_core::memory::{ManualClock, MemoryDestination, MemorySource, SeededRandomness};
use rsync_core::pipeline::PipelineBuilder;
use rsync_core::state::codec::Intent;
use rsync_core::state::{Mutation, StateRead, StateSession, StateStore, Table};
use rsync_core::{
    Error, Event, FieldMap, FieldRule, FieldType, HashKey, Kind, MemoryStore, Model, NullRule, Owner, Pipeline, Result,
    Target,
};

pub(crate) type Row<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

/// A model with the columns `id`, `name` and `tier`.
pub(crate) fn batch(rows: &[Row<'_>]) -> RecordBatch {
    let column =
        |f: &dyn Fn(&Row<'_>) -> Option<String>| -> ArrayRef { Arc::new(rows.iter().map(f).collect::<StringArray>()) };
    RecordBatch::try_from_iter_with_nullable([
        ("id", column(&|row| (row.0 != "NULL").then(|| row.0.to_owned())), true),
        ("name", column(&|row| row.1.map(str::to_owned)), true),
        ("tier", column(&|row| row.2.map(str::to_owned)), true),
    ])
    .unwrap()
}

/// The model of these rows, with a flag for those that are gone.
pub(crate) fn flagged(rows: &[(Row<'_>, bool)]) -> RecordBatch {
    let plain = batch(&rows.iter().map(|(row, _)| *row).collect::<Vec<_>>());
    let mut fields = plain.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("gone", DataType::Boolean, true)));
    let mut columns = plain.columns().to_vec();
    let flags: BooleanArray = rows.iter().map(|(_, gone)| gone.then_some(true)).collect();
    columns.push(Arc::new(flags) as ArrayRef);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// `n` rows `k0`, `k1`, … whose name ends in `version`.
pub(crate) fn numbered(n: usize, version: usize) -> RecordBatch {
    let ids: Vec<String> = (0..n).map(|i| format!("k{i}")).collect();
    let names: Vec<String> = (0..n).map(|i| format!("n{i} v{version}")).collect();
    let rows: Vec<Row<'_>> =
        ids.iter().zip(&names).map(|(id, name)| (id.as_str(), Some(name.as_str()), Some("pro"))).collect();
    batch(&rows)
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, test: impl Fn(&Event) -> bool) -> usize {
        self.events().iter().filter(|event| test(event)).count()
    }
}

impl Observer for Recorder {
    fn observe(&self, _: &SyncId, _: RunId, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// The parts of a sync of people, which tests share and change.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) source: MemorySource,
    pub(crate) destination: MemoryDestination,
    pub(crate) store: MemoryStore,
    pub(crate) target: Target,
    pub(crate) recorder: Recorder,
    pub(crate) clock: ManualClock,
}

pub(crate) fn key() -> HashKey {
    HashKey::from_bytes(*b"a test's own key")
}

pub(crate) fn mapping() -> FieldMap {
    FieldMap::new()
        .field(FieldRule::column("id", "ext_id", FieldType::Text))
        .field(FieldRule::column("name", "name", FieldType::Text))
        .field(FieldRule::column("tier", "tier", FieldType::Text).on_null(NullRule::Clear))
}

impl Parts {
    pub(crate) fn new(rows: &[Row<'_>]) -> Self {
        Self::of(batch(rows))
    }

    pub(crate) fn of(batch: RecordBatch) -> Self {
        let target = Target::new("people", "ext_id");
        Self {
            source: MemorySource::of(batch),
            destination: MemoryDestination::new()
                .with_fields(&target, [("name", FieldType::Text), ("tier", FieldType::Text)]),
            store: MemoryStore::new(),
            target,
            recorder: Recorder::default(),
            clock: ManualClock::auto_advancing(),
        }
    }

    pub(crate) fn builder(&self) -> PipelineBuilder {
        Pipeline::builder("people")
            .owner(Owner::new("growth", "growth@example.com"))
            .source(self.source.clone())
            .model(Model::new("people").key(["id"]))
            .mapping(mapping())
            .destination(self.destination.clone(), self.target.clone())
            .state(self.store.clone(), key())
            .observer(self.recorder.clone())
            .clock(self.clock.clone())
            .randomness(SeededRandomness::new(7))
    }

    pub(crate) fn sync(&self) -> Pipeline {
        self.builder().build().unwrap()
    }

    pub(crate) fn replace(&self, rows: &[Row<'_>]) {
        self.source.replace(vec![batch(rows)]);
    }

    pub(crate) fn field(&self, key: &str, field: &str) -> Option<String> {
        self.destination.record(&self.target, key)?.get(field).cloned()
    }

    pub(crate) fn records(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        self.destination.records("people")
    }

    /// Rows that were handed to the destination so far.
    pub(crate) fn rows_sent(&self) -> usize {
        self.destination.writes().iter().map(|write| write.rows).sum()
    }
}

/// A store that notes which entries were decided upon, and of which a commit fails, with or without having been applied.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    inner: MemoryStore,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    commits: u64,
    /// The commit that fails, and whether it is applied nevertheless.
    fails: Option<(u64, bool)>,
    failed: bool,
    /// Sequence and key hash of every entry whose intent is durable together with its rows.
    decided: BTreeSet<(Vec<u8>, u128)>,
}

#[derive(Debug)]
struct WatchedSession {
    inner: Box<dyn StateSession>,
    seen: Arc<Mutex<Seen>>,
}

impl Watched {
    pub(crate) fn new(inner: MemoryStore) -> Self {
        Self { inner, seen: Arc::default() }
    }

    /// Lets the commit with this number, from now on and from 1, fail.
    pub(crate) fn fail_commit(&self, number: u64, applied: bool) {
        let mut seen = self.seen.lock().unwrap();
        (seen.commits, seen.fails, seen.failed) = (0, Some((number, applied)), false);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.seen.lock().unwrap().failed
    }

    /// Entries that runs decided to append.
    pub(crate) fn decided(&self) -> usize {
        self.seen.lock().unwrap().decided.len()
    }
}

#[async_trait]
impl StateStore for Watched {
    fn kind(&self) -> &'static str {
        "watched"
    }

    async fn acquire(&self, sync: &SyncId) -> Result<Box<dyn StateSession>> {
        Ok(Box::new(WatchedSession { inner: self.inner.acquire(sync).await?, seen: Arc::clone(&self.seen) }))
    }
}

#[async_trait]
impl StateRead for WatchedSession {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.inner.get(table, key).await
    }

    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.inner.scan(table, from, limit).await
    }
}

#[async_trait]
impl StateSession for WatchedSession {
    async fn commit(&self, mutations: Vec<Mutation>) -> Result<()> {
        let fails = {
            let mut seen = self.seen.lock().unwrap();
            seen.commits += 1;
            let fails = seen.fails.filter(|(number, _)| *number == seen.commits);
            seen.failed |= fails.is_some();
            fails
        };
        let error = || Err(Error::new(Kind::StateStore, "write the state", "planted"));
        if fails == Some((self.seen.lock().unwrap().commits, false)) {
            return error();
        }
        self.inner.commit(mutations.clone()).await?;
        let kept: BTreeSet<&[u8]> =
            mutations.iter().filter_map(|m| in_table(m, Table::Outbox)).map(|(k, _)| k).collect();
        let mut seen = self.seen.lock().unwrap();
        for (sequence, intent) in mutations.iter().filter_map(|m| in_table(m, Table::Intents)) {
            if kept.contains(sequence) {
                let keys = Intent::decode(intent).unwrap().keys;
                seen.decided.extend(keys.into_iter().map(|key| (sequence.to_vec(), key)));
            }
        }
        if fails.is_some() { error() } else { Ok(()) }
    }
}

fn in_table(mutation: &Mutation, wanted: Table) -> Option<(&[u8], &[u8])> {
    match mutation {
        Mutation::Put { table, key, value } if *table == wanted => Some((key, value)),
        _ => None,
    }
}
