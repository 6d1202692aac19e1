//! States of every format that was ever released: `tests/states/v1`, …, each as a file of the embedded store and as a plain
//! list of its records. They stay as they are for ever.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rsync_core::capability::{Capability, Operation, OperationLimits, WriteIdempotence};
use rsync_core::ids::SyncId;
use rsync_core::memory::ManualClock;
use rsync_core::outcome::RowOutcome;
use rsync_core::state::codec::FORMAT;
use rsync_core::state::{Mutation, StateSession, StateStore, Table};
use rsync_core::{EmbeddedStore, Exit, Exits, MemoryStore, Pipeline, Scope};

use crate::support::{Parts, flagged, key};

fn folder(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/states/v{format}"))
}

/// So many that the batches of a run, one a row, are gathered into a segment.
const ROWS: usize = 530;

/// What the model says at the end of the history: rows as they were, changed ones, one that the destination refuses,
/// marked ones whose records were deleted.
fn rows(version: usize) -> rsync_core::arrow::array::RecordBatch {
    let name = |n: usize| format!("n{n} v{}", if n.is_multiple_of(50) { version } else { 1 });
    let rows: Vec<(String, String)> = (0..ROWS).map(|n| (format!("k{n}"), name(n))).collect();
    let row = |(n, (id, name)): (usize, &'_ (String, String))| {
        let tier = if n == 7 && version > 1 { "refused" } else { "pro" };
        ((id.clone(), name.clone(), tier), version > 1 && n.is_multiple_of(90))
    };
    let rows: Vec<_> = rows.iter().enumerate().map(row).collect();
    let borrowed: Vec<_> =
        rows.iter().map(|((id, name, tier), gone)| ((id.as_str(), Some(name.as_str()), Some(*tier)), *gone)).collect();
    flagged(&borrowed)
}

/// The sync of the history.
fn sync(parts: &Parts, store: impl StateStore) -> Pipeline {
    parts
        .builder()
        .exits(Exits::new(Exit::Delete, Scope::TouchedByUs).when("gone").at_most(100, 1.0))
        .state(store, key())
        .build()
        .unwrap()
}

fn parts(version: usize) -> Parts {
    let mut parts = Parts::new(&[]);
    let one = OperationLimits::new(1, WriteIdempotence::ByKey);
    let capability = Capability::new()
        .with_operation(Operation::Upsert, one)
        .with_operation(Operation::Delete, one)
        .with_clears_fields()
        .with_keeps_absent_fields()
        .with_per_row_outcomes()
        .with_max_in_flight(4);
    parts.destination = parts.destination.with_capability(capability).with_rule(|_, fields| {
        let refused = fields.get("tier").is_some_and(|tier| tier.as_deref() == Some("refused"));
        refused.then(|| RowOutcome::rejected("INVALID_OPTION", None, "mend it"))
    });
    parts.clock = ManualClock::auto_advancing();
    parts.source.replace(vec![rows(version)]);
    parts
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

async fn dump(session: &dyn StateSession) -> String {
    let mut text = String::new();
    for table in Table::ALL {
        for (key, value) in session.scan(table, &[], usize::MAX).await.unwrap() {
            text.push_str(&format!("{} {} {}\n", table.as_str(), digits(&key), digits(&value)));
        }
    }
    text
}

async fn load(dump: &str, store: &impl StateStore) {
    let session = store.acquire(&SyncId::new("people").unwrap()).await.unwrap();
    let put = |line: &str| {
        let mut parts = line.split(' ');
        let mut part = || parts.next().unwrap();
        let name = part();
        let table = Table::ALL.into_iter().find(|table| table.as_str() == name).unwrap();
        Mutation::Put { table, key: bytes(part()), value: bytes(part()) }
    };
    session.commit(dump.lines().map(put).collect()).await.unwrap();
}

/// The state holds what the destination has: nothing is to be written, and everything in it is understood.
async fn assert_nothing_to_do(store: impl StateStore, what: &str) {
    let parts = parts(2);
    let plan = sync(&parts, store).plan().await.unwrap_or_else(|e| panic!("{what}: {e}"));
    let counts = plan.counts();
    assert_eq!((counts.to_write(), counts.exits, counts.invalid), (0, 0, 0), "{what}: {counts:?}");
    assert_eq!((counts.unchanged, counts.skipped, counts.marked), (523, 1, 6), "{what}: {counts:?}");
    let report = sync(&parts, MemoryStore::new()).run().await.unwrap();
    assert_eq!(report.totals.rejected, 1, "the model of the test has a row that is refused");
}

/// Opens the state in a copy, with the mode that a checkout does not keep.
fn copy(format: u32) -> (tempfile::TempDir, EmbeddedStore) {
    let temporary = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::new(temporary.path().join("state")).unwrap();
    let path = store.path(&SyncId::new("people").unwrap());
    fs::write(&path, unpacked(&fs::read(folder(format).join("people.state.runs")).unwrap())).unwrap();
    #[cfg(unix)]
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    (temporary, store)
}

/// Runs of zeros, which most of a young file is, as a zero and their number.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for run in bytes.chunk_by(|a, b| (*a == 0) == (*b == 0)) {
        if run[0] == 0 {
            out.push(0);
            out.extend_from_slice(&(run.len() as u32).to_le_bytes());
        } else {
            out.extend_from_slice(run);
        }
    }
    out
}

fn unpacked(mut packed: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((byte, rest)) = packed.split_first() {
        packed = rest;
        if *byte != 0 {
            out.push(*byte);
            continue;
        }
        let (number, rest) = packed.split_first_chunk().unwrap();
        out.resize(out.len() + u32::from_le_bytes(*number) as usize, 0);
        packed = rest;
    }
    out
}

#[tokio::test]
async fn f10_a_state_of_every_format_is_read_and_nothing_is_sent() {
    for format in 1..=FORMAT {
        let records = fs::read_to_string(folder(format).join("people.records")).unwrap();
        let (_temporary, store) = copy(format);
        let session = store.acquire(&SyncId::new("people").unwrap()).await.unwrap();
        assert!(records == dump(&*session).await, "the file of format {format} holds other records than the list");
        drop(session);
        // Jobs end with their run, and only histories have an outbox.
        for table in Table::ALL.iter().filter(|table| !matches!(table, Table::Jobs | Table::Outbox)) {
            let used = records.lines().any(|line| line.starts_with(&format!("{} ", table.as_str())));
            assert!(used, "the state of format {format} has nothing in {table:?}");
        }
        assert_nothing_to_do(store, &format!("file of format {format}")).await;
        let memory = MemoryStore::new();
        load(&records, &memory).await;
        assert_nothing_to_do(memory, &format!("records of format {format}")).await;
        // What changes is sent, on top of what was kept.
        let (_temporary, store) = copy(format);
        let parts = parts(3);
        let report = sync(&parts, store).run().await.unwrap();
        assert_eq!((report.totals.written, report.totals.exits.removed), (9, 0), "{report}");
    }
}

#[tokio::test]
#[ignore = "writes the state of the present format, once, when there is a new one"]
async fn write_the_state_of_the_present_format() {
    let folder = folder(FORMAT);
    fs::create_dir_all(&folder).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::new(temporary.path()).unwrap();
    let parts = parts(1);
    let _ = sync(&parts, store.clone()).run().await.unwrap();
    parts.source.replace(vec![rows(2)]);
    let report = sync(&parts, store.clone()).run().await.unwrap();
    assert_eq!((report.totals.rejected, report.totals.exits.removed), (1, 6), "{report}");
    let name = SyncId::new("people").unwrap();
    let records = dump(&*store.acquire(&name).await.unwrap()).await;
    let mut file = fs::File::create_new(folder.join("people.records")).unwrap();
    file.write_all(records.as_bytes()).unwrap();
    let mut file = fs::File::create_new(folder.join("people.state.runs")).unwrap();
    file.write_all(&packed(&fs::read(store.path(&name)).unwrap())).unwrap();
}
