//! A sync that moves from one store to another.

use std::sync::Arc;

use rsync_core::arrow::array::{ArrayRef, RecordBatch, StringArray};
use rsync_core::memory::{MemoryDestination, MemorySource};
use rsync_core::state::{Mutation, StateSession, StateStore, Table, copy_state};
use rsync_core::{
    EmbeddedStore, FieldMap, FieldRule, FieldType, HashKey, Kind, MemoryStore, Model, Owner, Pipeline, Target,
};

use crate::{database, put, store, sync};

fn rows(n: usize, version: usize) -> RecordBatch {
    let column = |text: &dyn Fn(usize) -> String| -> ArrayRef {
        Arc::new((0..n).map(|i| Some(text(i))).collect::<StringArray>())
    };
    RecordBatch::try_from_iter([
        ("id", column(&|i| format!("k{i}"))),
        ("name", column(&|i| if i < 10 { format!("n{i} v{version}") } else { format!("n{i}") })),
    ])
    .unwrap()
}

struct Parts {
    source: MemorySource,
    destination: MemoryDestination,
}

impl Parts {
    fn pipeline(&self, store: impl StateStore) -> Pipeline {
        let mapping = FieldMap::new()
            .field(FieldRule::column("id", "ext_id", FieldType::Text))
            .field(FieldRule::column("name", "name", FieldType::Text));
        Pipeline::builder("people")
            .owner(Owner::new("growth", "growth@example.com"))
            .source(self.source.clone())
            .model(Model::new("people").key(["id"]))
            .mapping(mapping)
            .destination(self.destination.clone(), Target::new("people", "ext_id"))
            .state(store, HashKey::from_bytes([7; 16]))
            .build()
            .unwrap()
    }
}

async fn copy(from: &dyn StateStore, to: &dyn StateStore) -> rsync_core::Result<u64> {
    let people = sync("people");
    let (from, to) = (from.acquire(&people).await?, to.acquire(&people).await?);
    copy_state(&*from, &*to).await
}

#[tokio::test]
async fn a_sync_moves_there_and_back_and_sends_nothing_again() {
    let database = database();
    let folder = tempfile::tempdir().unwrap();
    let local = EmbeddedStore::new(folder.path().join("first")).unwrap();
    let shared = store(&database);
    let target = Target::new("people", "ext_id");
    let parts = Parts {
        source: MemorySource::of(rows(2_000, 1)),
        destination: MemoryDestination::new().with_fields(&target, [("name", FieldType::Text)]),
    };
    assert_eq!(parts.pipeline(local.clone()).run().await.unwrap().totals.written, 2_000);
    let writes = parts.destination.writes().len();

    let copied = copy(&local, &shared).await.unwrap();
    assert!(copied > 5, "{copied} records");
    let report = parts.pipeline(shared.clone()).run().await.unwrap();
    assert_eq!((report.totals.unchanged, report.totals.written), (2_000, 0));
    assert_eq!(parts.destination.writes().len(), writes);

    parts.source.replace(vec![rows(2_000, 2)]);
    assert_eq!(parts.pipeline(shared.clone()).run().await.unwrap().totals.written, 10);

    // Back into another place: the first one holds the state of before.
    assert_eq!(copy(&shared, &local).await.unwrap_err().kind(), Kind::StateMismatch);
    let second = EmbeddedStore::new(folder.path().join("second")).unwrap();
    copy(&shared, &second).await.unwrap();
    assert_eq!(parts.pipeline(second).run().await.unwrap().totals.unchanged, 2_000);
}

#[tokio::test]
async fn a_copy_that_was_cut_short_is_no_state_and_can_be_made_again() {
    let (from, to) = (MemoryStore::new(), MemoryStore::new());
    let target = Target::new("people", "ext_id");
    let parts = Parts {
        source: MemorySource::of(rows(50, 1)),
        destination: MemoryDestination::new().with_fields(&target, [("name", FieldType::Text)]),
    };
    let _ = parts.pipeline(from.clone()).run().await.unwrap();
    copy(&from, &to).await.unwrap();
    // What a copy leaves that never came to its last commit.
    let unfinished: Box<dyn StateSession> = to.acquire(&sync("people")).await.unwrap();
    let mark = Mutation::Put { table: Table::Meta, key: b"format".to_vec(), value: b"unfinished copy".to_vec() };
    let stray = Mutation::Put { table: Table::Keys, key: b"stray".to_vec(), value: b"v".to_vec() };
    unfinished.commit(vec![mark, stray]).await.unwrap();
    drop(unfinished);
    assert_eq!(parts.pipeline(to.clone()).plan().await.unwrap_err().kind(), Kind::StateCorrupt);
    assert_eq!(copy(&to, &MemoryStore::new()).await.unwrap_err().kind(), Kind::StateCorrupt);

    copy(&from, &to).await.unwrap();
    assert_eq!(parts.pipeline(to.clone()).run().await.unwrap().totals.unchanged, 50);
    let session = to.acquire(&sync("people")).await.unwrap();
    assert_eq!(session.get(Table::Keys, b"stray").await.unwrap(), None);
    drop(session);

    // A state of any kind is not written over, and an empty one stays empty.
    let (other, empty) = (MemoryStore::new(), MemoryStore::new());
    other.acquire(&sync("people")).await.unwrap().commit(put(b"v")).await.unwrap();
    assert_eq!(copy(&from, &other).await.unwrap_err().kind(), Kind::StateMismatch);
    assert_eq!(copy(&MemoryStore::new(), &empty).await.unwrap(), 0);
    assert_eq!(parts.pipeline(empty).plan().await.unwrap().counts().new, 50);
}
