//! Runs over the embedded store in a process that is killed again and again. `RSYNC_KILLS=1000` for the long form.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use rsync_core::EmbeddedStore;
use rsync_core::state::StateStore;
use rsync_testkit::state::{Harness, HarnessResult};

const FOLDER: &str = "RSYNC_EMBEDDED_STATE_FOLDER";

struct Embedded {
    folder: PathBuf,
    /// The folder itself, if this process made it.
    _owned: Option<tempfile::TempDir>,
}

impl Embedded {
    fn start() -> HarnessResult<Self> {
        if let Some(folder) = env::var_os(FOLDER) {
            return Ok(Self { folder: folder.into(), _owned: None });
        }
        let owned = tempfile::tempdir()?;
        Ok(Self { folder: owned.path().join("state"), _owned: Some(owned) })
    }
}

#[async_trait]
impl Harness for Embedded {
    async fn open(&self) -> HarnessResult<Arc<dyn StateStore>> {
        Ok(Arc::new(EmbeddedStore::new(&self.folder)?))
    }

    fn environment(&self) -> Option<Vec<(String, String)>> {
        Some(vec![(FOLDER.to_owned(), self.folder.to_str()?.to_owned())])
    }

    fn folders(&self) -> Vec<PathBuf> {
        vec![self.folder.clone()]
    }
}

fn main() -> ExitCode {
    rsync_testkit::kill::main(100, async { Embedded::start() })
}
