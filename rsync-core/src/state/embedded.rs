//! State on the local disk: one redb file a sync.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(test)]
mod disk;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, StorageBackend, TableDefinition, TableError,
};

use crate::error::{Error, Kind, Result};
use crate::ids::SyncId;
use crate::state::codec::DAMAGE_REMEDY;
use crate::state::store::{Mutation, StateRead, StateSession, StateStore, Table};

/// Pages that redb keeps in memory. The state is read in long blocks, each once, so more does not help.
const CACHE_BYTES: usize = 16 << 20;

/// State in a folder of the local disk, one file a sync, for one process at a time. It survives a crash of the
/// process or of the machine; it does not survive the loss of the disk.
///
/// The folder is made with mode 0700 and the files with mode 0600; a file that others may read is refused.
#[derive(Clone)]
pub struct EmbeddedStore {
    folder: PathBuf,
}

impl EmbeddedStore {
    /// A store in `folder`, which is made if it does not exist.
    ///
    /// # Errors
    ///
    /// [`Kind::StateStore`] if the folder cannot be made or is no folder.
    pub fn new(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder).map_err(|e| {
            store_error("make the state folder", "the folder cannot be made")
                .with_remedy("name a folder that this process may write")
                .with_source(e)
        })?;
        Ok(Self { folder })
    }

    /// The file that holds the state of `sync`.
    pub fn path(&self, sync: &SyncId) -> PathBuf {
        self.folder.join(format!("{sync}.state"))
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").finish_non_exhaustive()
    }
}

struct EmbeddedSession {
    db: Arc<Handle>,
    /// Set while a commit is open, and for good when one fails or its future is dropped.
    poisoned: AtomicBool,
}

/// An open database. To close a damaged one can panic, which is nobody's business any more.
struct Handle(Option<Database>);

impl Handle {
    fn database(&self) -> Result<&Database, redb::Error> {
        self.0.as_ref().ok_or(redb::Error::DatabaseClosed)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(db) = self.0.take() {
            // What is not written yet was never acknowledged, so an error here changes nothing either.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(db)));
        }
    }
}

impl fmt::Debug for EmbeddedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbeddedSession")
    }
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.as_str())
}

fn store_error(operation: &'static str, message: &'static str) -> Error {
    Error::new(Kind::StateStore, operation, message)
}

fn corrupt() -> Error {
    Error::new(Kind::StateCorrupt, "open the state", "the state file is damaged or is no state file")
        .with_remedy(DAMAGE_REMEDY)
}

/// A file that is damaged while it is open shows as a panic in places, which must reach the host as an error.
fn guarded<T>(operation: &'static str, f: impl FnOnce() -> Result<T, redb::Error>) -> Result<T> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(redb::Error::Corrupted(_))) | Err(_) => Err(corrupt()),
        Ok(Err(redb::Error::Io(e))) if is_damage(&e) => Err(corrupt()),
        Ok(Err(e)) => Err(store_error(operation, "the state file cannot be read or written")
            .with_remedy("check the disk's free space and health, then run again")
            .with_source(e)),
    }
}

/// Whether the disk is well and the file is not: bytes that are no state, or an end that is missing.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // O_NOFOLLOW: a link planted in the folder must not lead the state elsewhere.
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    }
    options
}

/// Opens the file, or makes it.
fn open_file(path: &Path) -> Result<File> {
    let failed = |e: io::Error| {
        store_error("open the state", "the state file cannot be opened")
            .with_remedy("check that the folder may be written and holds no link of that name")
            .with_source(e)
    };
    match options().open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            make_file(path)?;
            options().open(path).map_err(failed)
        }
        opened => opened.map_err(failed),
    }
}

/// Makes an empty state under another name and renames it, so that a crash leaves the whole file or none.
fn make_file(path: &Path) -> Result<()> {
    let failed = |e: io::Error| {
        store_error("make the state", "the state file cannot be made")
            .with_remedy("check that the folder may be written and the disk's free space")
            .with_source(e)
    };
    // On Unix the folder is also what keeps others from making the same file, and its entry must be durable too.
    #[cfg(unix)]
    let folder = File::open(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    #[cfg(unix)]
    folder.lock().map_err(failed)?;
    if path.try_exists().map_err(failed)? {
        return Ok(());
    }
    let draft = path.with_extension("state.new");
    match fs::remove_file(&draft) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let file = options().create_new(true).open(&draft).map_err(failed)?;
    let backend = FileBackend::new(file).map_err(|_| corrupt())?;
    drop(open_database(backend)?);
    fs::rename(&draft, path).map_err(failed)?;
    #[cfg(unix)]
    folder.sync_all().map_err(failed)?;
    Ok(())
}

fn check_private(file: &File) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let meta = file.metadata().map_err(|e| store_error("open the state", "no metadata").with_source(e))?;
        if meta.mode() & 0o077 != 0 || meta.nlink() > 1 {
            return Err(store_error("open the state", "other users may read the state file, or it has a second name")
                .with_context("mode", format!("{:o}", meta.mode() & 0o777))
                .with_remedy("set its mode to 0600 and remove other links to it"));
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<Handle> {
    let file = open_file(path)?;
    check_private(&file)?;
    if file.metadata().is_ok_and(|meta| meta.len() == 0) {
        // An empty file is what a lost disk or a full one leaves behind; it must not pass for a sync without history.
        return Err(corrupt());
    }
    open_database(FileBackend::new(file).map_err(|_| corrupt())?)
}

fn open_database(backend: impl StorageBackend) -> Result<Handle> {
    let mut builder = Builder::new();
    // Without the check, a damaged file opens, and what it lost looks as if it had never been there.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.create_with_backend(backend)));
    match opened {
        Ok(Ok(db)) => Ok(Handle(Some(db))),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => {
            Err(Error::new(Kind::AlreadyRunning, "take hold of the state", "another run of this sync holds it")
                .with_remedy("wait until it ends; a plan that was neither applied nor dropped also holds it"))
        }
        Ok(Err(DatabaseError::Storage(redb::StorageError::Io(e)))) if !is_damage(&e) => {
            Err(store_error("open the state", "the state file cannot be read or written")
                .with_remedy("check the disk's free space and health, then run again")
                .with_source(e))
        }
        Ok(Err(_)) | Err(_) => Err(corrupt()),
    }
}

#[async_trait]
impl StateStore for EmbeddedStore {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    async fn acquire(&self, sync: &SyncId) -> Result<Box<dyn StateSession>> {
        let path = self.path(sync);
        let db = blocking(move || open(&path)).await.map_err(|e| e.with_context("sync", sync))?;
        Ok(Box::new(EmbeddedSession::new(db)))
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(f)
        .await
        .map_err(|e| Error::new(Kind::Internal, "use the state", "a worker thread ended early").with_source(e))?
}

impl EmbeddedSession {
    fn new(db: Handle) -> Self {
        Self { db: Arc::new(db), poisoned: AtomicBool::new(false) }
    }
}

#[async_trait]
impl StateRead for EmbeddedSession {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        guarded("read the state", || {
            let read = self.db.database()?.begin_read()?;
            match read.open_table(definition(table)) {
                Ok(table) => Ok(table.get(key)?.map(|value| value.value().to_vec())),
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                Err(e) => Err(e.into()),
            }
        })
    }

    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        guarded("read the state", || {
            let read = self.db.database()?.begin_read()?;
            let table = match read.open_table(definition(table)) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(e) => return Err(e.into()),
            };
            let mut records = Vec::new();
            for record in table.range(from..)?.take(limit.max(1)) {
                let (key, value) = record?;
                records.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(records)
        })
    }
}

#[async_trait]
impl StateSession for EmbeddedSession {
    async fn commit(&self, mutations: Vec<Mutation>) -> Result<()> {
        if self.poisoned.swap(true, Ordering::AcqRel) {
            return Err(store_error("write the state", "an earlier write failed or was given up")
                .with_remedy("end this run; the next one opens the state anew"));
        }
        let db = Arc::clone(&self.db);
        blocking(move || guarded("write the state", || write(db.database()?, mutations))).await?;
        self.poisoned.store(false, Ordering::Release);
        Ok(())
    }
}

fn write(db: &Database, mutations: Vec<Mutation>) -> Result<(), redb::Error> {
    let mut transaction = db.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    // A second sync orders the data before the pointer to it, so that no torn write can make both unreadable.
    transaction.set_two_phase_commit(true);
    let mut mutations = mutations.into_iter().peekable();
    while let Some(first) = mutations.peek() {
        let name = table_of(first);
        let mut table = transaction.open_table(definition(name))?;
        while let Some(mutation) = mutations.next_if(|mutation| table_of(mutation) == name) {
            match mutation {
                Mutation::Put { key, value, .. } => drop(table.insert(key.as_slice(), value.as_slice())?),
                Mutation::Delete { key, .. } => drop(table.remove(key.as_slice())?),
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn table_of(mutation: &Mutation) -> Table {
    match mutation {
        Mutation::Put { table, .. } | Mutation::Delete { table, .. } => *table,
    }
}
