//! The state: what it belongs to, and what is done when it is damaged.

use std::fs;
use std::path::Path;

use rsync_core::memory::MemoryDestination;
use rsync_core::state::codec::{FORMAT, Writer};
use rsync_core::state::{Mutation, StateStore, Table};
use rsync_core::{EmbeddedStore, Error, FieldType, HashKey, Kind, Pipeline, Target};

use crate::support::{Parts, key, numbered};

fn embedded(parts: &Parts, folder: &Path) -> Pipeline {
    parts.builder().state(EmbeddedStore::new(folder).unwrap(), key()).build().unwrap()
}

fn state_file(folder: &Path) -> std::path::PathBuf {
    folder.join("people.state")
}

#[tokio::test]
async fn the_embedded_store_remembers_across_processes() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::of(numbered(1_000, 1));
    assert_eq!(embedded(&parts, folder.path()).run().await.unwrap().totals.written, 1_000);
    assert_eq!(embedded(&parts, folder.path()).run().await.unwrap().totals.unchanged, 1_000);
    parts.source.replace(vec![numbered(1_001, 1)]);
    assert_eq!(embedded(&parts, folder.path()).run().await.unwrap().totals.written, 1);
}

#[tokio::test]
async fn s23_a_state_is_never_used_for_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::of(numbered(10, 1));
    let _ = embedded(&parts, folder.path()).run().await.unwrap();
    let writes = parts.destination.writes().len();

    let refuse = |pipeline: Pipeline, part: &'static str| async move {
        let error = pipeline.plan().await.unwrap_err();
        assert_eq!((error.kind(), error.context("part")), (Kind::StateMismatch, Some(part)), "{error}");
        assert!(error.remedy().is_some());
    };
    let builder = || parts.builder().state(EmbeddedStore::new(folder.path()).unwrap(), key());
    let sandbox = parts.destination.clone().with_account("sandbox");
    refuse(builder().destination(sandbox, parts.target.clone()).build().unwrap(), "account").await;
    let object = Target::new("companies", "ext_id");
    let destination =
        MemoryDestination::new().with_fields(&object, [("name", FieldType::Text), ("tier", FieldType::Text)]);
    refuse(builder().destination(destination, object).build().unwrap(), "object").await;
    let model = rsync_core::Model::new("people").key(["id", "name"]);
    refuse(builder().model(model).build().unwrap(), "key").await;
    let store = EmbeddedStore::new(folder.path()).unwrap();
    let other_key = HashKey::from_bytes([9; 16]);
    refuse(parts.builder().state(store, other_key).build().unwrap(), "hash key").await;
    // A copy under another name is another sync's state.
    fs::copy(state_file(folder.path()), folder.path().join("copied.state")).unwrap();
    let copied = Pipeline::builder("copied")
        .owner(rsync_core::Owner::new("a", "b"))
        .source(parts.source.clone())
        .model(rsync_core::Model::new("people").key(["id"]))
        .mapping(crate::support::mapping())
        .destination(parts.destination.clone(), parts.target.clone())
        .state(EmbeddedStore::new(folder.path()).unwrap(), key())
        .build()
        .unwrap();
    refuse(copied, "sync").await;
    assert_eq!(parts.destination.writes().len(), writes);
}

#[tokio::test]
async fn f07_a_damaged_state_file_is_refused_and_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::of(numbered(500, 1));
    let _ = embedded(&parts, folder.path()).run().await.unwrap();
    let file = state_file(folder.path());
    let good = fs::read(&file).unwrap();
    let writes = parts.destination.writes().len();
    parts.source.replace(vec![numbered(500, 2)]);

    let damages: Vec<(&str, Vec<u8>)> = vec![
        ("foreign", b"PAR1 this is no state at all".repeat(500)),
        ("truncated", good[..good.len() / 3].to_vec()),
        ("zeros", vec![0; good.len()]),
        ("short", b"x".to_vec()),
    ];
    for (name, bytes) in damages {
        fs::write(&file, bytes).unwrap();
        let error: Error = embedded(&parts, folder.path()).plan().await.unwrap_err();
        assert_eq!(error.kind(), Kind::StateCorrupt, "{name}: {error}");
        assert!(error.remedy().is_some(), "{name}");
        assert_eq!(parts.destination.writes().len(), writes, "{name}");
    }
    fs::write(&file, good).unwrap();
    assert_eq!(embedded(&parts, folder.path()).plan().await.unwrap().counts().changed, 500);
}

#[tokio::test]
async fn f10_a_state_of_a_newer_version_is_refused_and_nothing_is_sent() {
    let parts = Parts::of(numbered(10, 1));
    let sync = parts.sync();
    let _ = sync.run().await.unwrap();
    let writes = parts.destination.writes().len();
    let mut format = Writer::default();
    format.u32(FORMAT + 1);
    let newer = Mutation::Put { table: Table::Meta, key: b"format".to_vec(), value: format.finish() };
    parts.store.acquire(sync.sync()).await.unwrap().commit(vec![newer]).await.unwrap();
    parts.source.replace(vec![numbered(10, 2)]);
    let failure = sync.run().await.unwrap_err();
    assert_eq!(failure.error.kind(), Kind::StateTooNew, "{failure}");
    assert!(failure.error.remedy().is_some());
    assert_eq!(parts.destination.writes().len(), writes);
}

#[tokio::test]
async fn f11_a_second_process_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::of(numbered(10, 1));
    let plan = embedded(&parts, folder.path()).plan().await.unwrap();
    let error = embedded(&parts, folder.path()).plan().await.unwrap_err();
    assert_eq!((error.kind(), error.context("sync")), (Kind::AlreadyRunning, Some("people")));
    drop(plan);
    assert!(embedded(&parts, folder.path()).plan().await.is_ok());
}

#[cfg(unix)]
#[tokio::test]
async fn s11_state_files_are_private() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("state");
    let parts = Parts::of(numbered(10, 1));
    let _ = embedded(&parts, &inner).run().await.unwrap();
    assert_eq!(fs::metadata(&inner).unwrap().mode() & 0o777, 0o700);
    let file = state_file(&inner);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(embedded(&parts, &inner).plan().await.unwrap_err().kind(), Kind::StateStore);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&file, inner.join("second")).unwrap();
    assert_eq!(embedded(&parts, &inner).plan().await.unwrap_err().kind(), Kind::StateStore);
    fs::remove_file(inner.join("second")).unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert_eq!(embedded(&parts, &inner).plan().await.unwrap_err().kind(), Kind::StateStore);
}

#[tokio::test]
async fn s14_no_key_or_value_is_in_the_state_file() {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts::new(&[("canary-key-7f3", Some("canary-name-91c"), Some("canary-tier-55a"))]);
    let _ = embedded(&parts, folder.path()).run().await.unwrap();
    let bytes = fs::read(state_file(folder.path())).unwrap();
    for canary in ["canary-key", "canary-name", "canary-tier"] {
        assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "{canary}");
    }
}

#[test]
fn a_hash_key_file_is_made_once_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hash.key");
    HashKey::load_or_create(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.len(), 32);
    HashKey::load_or_create(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap()) & 0o777, 0o600);
    for bad in ["", "zz", &"g".repeat(32), &"0".repeat(31)] {
        fs::write(&path, bad).unwrap();
        assert_eq!(HashKey::load_or_create(&path).unwrap_err().kind(), Kind::InvalidConfig, "{bad:?}");
    }
}
