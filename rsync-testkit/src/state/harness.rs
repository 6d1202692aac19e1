//! What the author of a store supplies.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::ids::SyncId;
use rsync_core::state::StateStore;

pub use crate::destination::HarnessResult;

/// A store under test, and the means to do it harm.
///
/// Syncs get names that nobody uses yet, so the store may hold others.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Another handle on the one place under test, as a second instance of the host would make it.
    async fn open(&self) -> HarnessResult<Arc<dyn StateStore>>;

    /// A store with what would be found if the process or the machine had ended a moment ago: a copy of what is durable,
    /// or the place itself after every connection was cut. Sessions that are open may be dead afterwards. `None` for a
    /// store that does not outlive its process.
    async fn after_crash(&self) -> HarnessResult<Option<Arc<dyn StateStore>>> {
        Ok(None)
    }

    /// Environment variables by which this program, when it is started again, finds the same place. See
    /// [`main()`](super::main()).
    fn environment(&self) -> Option<Vec<(String, String)>> {
        None
    }

    /// Folders that the store keeps its files in, to be searched for values. None if they are not on this machine.
    fn folders(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Makes the store of `sync` fail, whose session may be open. `false` if it cannot be made to fail so.
    async fn inflict(&self, sync: &SyncId, fault: StoreFault) -> HarnessResult<bool> {
        let _ = (sync, fault);
        Ok(false)
    }

    /// Ends the effects of [`StoreFault::WritesFail`].
    async fn mend(&self) -> HarnessResult<()> {
        Ok(())
    }

    /// Damages what is stored of `sync`, which nobody holds. `false` if that cannot be done.
    async fn damage(&self, sync: &SyncId, damage: Damage) -> HarnessResult<bool> {
        let _ = (sync, damage);
        Ok(false)
    }

    /// How long a sync may stay held after its process was killed or its connection was lost.
    fn release_limit(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Credentials in use: they must not show up in anything the store says.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Removes what the suite has made. Called once, at the end.
    async fn cleanup(&self) -> HarnessResult<()> {
        Ok(())
    }
}

/// What goes wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFault {
    /// Writes fail from now on, as on a full disk; reading goes on. Until [`Harness::mend`].
    WritesFail,
    /// The session's connection is cut.
    ConnectionLost,
    /// The session loses its hold and is not told, as when a lease runs out while the process is frozen.
    HoldLost,
}

/// What happens to stored bytes behind the back of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// Nothing is left.
    Emptied,
    /// All bytes are zero.
    Zeroed,
    /// Something else stands there.
    Foreign,
    /// The end is missing: this many thousandths are left.
    Cut(usize),
    /// One bit is another: that of this number, counted round and round.
    Flipped(usize),
}

impl Damage {
    /// Does it to the bytes of a file.
    pub fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Damage::Emptied => bytes.clear(),
            Damage::Zeroed => bytes.fill(0),
            Damage::Foreign => *bytes = b"PAR1 this was never a state ".repeat(200),
            Damage::Cut(thousandths) => bytes.truncate(bytes.len() * thousandths / 1000),
            Damage::Flipped(bit) if !bytes.is_empty() => {
                let bit = bit % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Damage::Flipped(_) => {}
        }
    }
}
