//! The suite of state stores against the embedded store, in several processes.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::EmbeddedStore;
use rsync_core::ids::SyncId;
use rsync_core::state::StateStore;
use rsync_testkit::state::{Damage, Harness, HarnessResult, main as run_suite};

const FOLDER: &str = "RSYNC_EMBEDDED_STATE_FOLDER";

struct Embedded {
    folder: PathBuf,
    /// Copies, and the folder itself if this process made it.
    owned: tempfile::TempDir,
}

impl Embedded {
    fn start() -> HarnessResult<Self> {
        let owned = tempfile::tempdir()?;
        let folder = env::var_os(FOLDER).map_or_else(|| owned.path().join("state"), PathBuf::from);
        EmbeddedStore::new(&folder)?;
        Ok(Self { folder, owned })
    }
}

#[async_trait]
impl Harness for Embedded {
    async fn open(&self) -> HarnessResult<Arc<dyn StateStore>> {
        Ok(Arc::new(EmbeddedStore::new(&self.folder)?))
    }

    async fn after_crash(&self) -> HarnessResult<Option<Arc<dyn StateStore>>> {
        let copy = tempfile::tempdir_in(self.owned.path())?.keep();
        let store = EmbeddedStore::new(&copy)?;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // The copy keeps the mode.
            fs::copy(entry.path(), copy.join(entry.file_name()))?;
        }
        Ok(Some(Arc::new(store)))
    }

    fn environment(&self) -> Option<Vec<(String, String)>> {
        Some(vec![(FOLDER.to_owned(), self.folder.to_str()?.to_owned())])
    }

    async fn damage(&self, sync: &SyncId, damage: Damage) -> HarnessResult<bool> {
        let path = EmbeddedStore::new(&self.folder)?.path(sync);
        let mut bytes = fs::read(&path)?;
        damage.apply(&mut bytes);
        fs::write(path, bytes)?;
        Ok(true)
    }

    fn release_limit(&self) -> Duration {
        Duration::from_secs(10)
    }
}

fn main() -> ExitCode {
    run_suite(async { Embedded::start() })
}
