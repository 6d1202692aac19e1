//! Which key a key hash in the state belongs to.

use std::collections::HashMap;
use std::sync::OnceLock;

use rsync_core::destination::{KeyFolding, RemoteField, RemoteSchema};
use rsync_core::memory::{ManualClock, MemoryDestination, MemorySource, SeededRandomness};
use rsync_core::pipeline::PipelineBuilder;
use rsync_core::state::codec::Intent;
use rsync_core::state::{StateStore, Table};
use rsync_core::{
    FieldMap, FieldRule, FieldType, HashKey, MemoryStore, Model, NullRule, Owner, Pipeline, Source, Target,
};

use super::drive::to_end;
use super::history::{Row, UNIVERSE, base_key, batch, other_spelling};
use super::mode::Mode;

/// Folded keys by their hashes.
pub(super) type Keys = HashMap<u128, String>;

pub(super) fn target() -> Target {
    Target::new("people", "ext_id")
}

/// All of a pipeline but its destination and state.
pub(super) fn pipeline(source: impl Source, mode: Mode) -> PipelineBuilder {
    let builder = Pipeline::builder("simulation")
        .owner(Owner::new("simulation", "nobody"))
        .source(source)
        .model(Model::new("people").key(["id"]))
        .mapping(
            FieldMap::new()
                .field(FieldRule::column("id", "ext_id", FieldType::Text))
                .field(FieldRule::column("name", "name", FieldType::Text).on_null(NullRule::Keep))
                .field(FieldRule::column("tier", "tier", FieldType::Text).on_null(NullRule::Clear)),
        );
    mode.apply(builder)
}

pub(super) fn hash_key() -> HashKey {
    HashKey::from_bytes(*b"simulated secret")
}

pub(super) fn schema(folding: KeyFolding) -> RemoteSchema {
    let mut key = RemoteField::new("ext_id", "text");
    key.unique = true;
    key.folding = folding;
    RemoteSchema::new(vec![key, RemoteField::new("name", "text"), RemoteField::new("tier", "text")])
}

/// Every key that a history can have, by the hash that the engine gives it. The hashes are the engine's own secret, so
/// they are read from the state of a run over all keys.
pub(super) fn keys(folding: KeyFolding) -> &'static Keys {
    static EXACT: OnceLock<Keys> = OnceLock::new();
    static FOLDED: OnceLock<Keys> = OnceLock::new();
    match folding {
        KeyFolding::Exact => EXACT.get_or_init(|| learn(folding)),
        _ => FOLDED.get_or_init(|| learn(folding)),
    }
}

fn learn(folding: KeyFolding) -> Keys {
    let mut names: Vec<String> = (0..UNIVERSE).map(base_key).collect();
    if folding == KeyFolding::Exact {
        names.extend((0..UNIVERSE).map(other_spelling));
    }
    let row = |key: &String| Row { key: Some(key.clone()), name: None, tier: None, gone: false };
    let rows: Vec<Row> = names.iter().map(row).collect();
    let store = MemoryStore::new();
    let sync = pipeline(MemorySource::of(batch(&rows, false)), Mode::PLAIN)
        .destination(MemoryDestination::new().with_object("people", schema(folding)), target())
        .state(store.clone(), hash_key())
        .clock(ManualClock::auto_advancing())
        .randomness(SeededRandomness::new(0))
        .build()
        .expect("all parts are there");
    let read = async {
        let report = sync.run().await.expect("nothing goes wrong in memory");
        assert_eq!(report.totals.written, names.len() as u64, "one hash a key");
        let session = store.acquire(sync.sync()).await.expect("the run has ended");
        session.scan(Table::Intents, &[], 1000).await.expect("it is in memory")
    };
    let intents = to_end(read).expect("nothing waits");
    let hashes = intents.iter().flat_map(|(_, record)| Intent::decode(record).expect("just written").keys);
    hashes.zip(names.iter().map(|key| folding.folded(key))).collect()
}
