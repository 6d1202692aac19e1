//! Ending a run early on purpose.

use std::sync::Arc;

use tokio::sync::watch;

/// Ends runs early: the host keeps one and gives a clone to each pipeline that it may want to stop, for example at
/// shutdown.
///
/// A run that is cancelled while it plans ends with [`Kind::Cancelled`](crate::Kind::Cancelled). A run that writes
/// sends no more batches, waits for those in the air for the pipeline's grace time, and ends with the status
/// [`Stopped`](crate::RunStatus::Stopped). The next run goes on from there.
#[derive(Clone, Debug)]
pub struct Cancel(Arc<watch::Sender<bool>>);

impl Cancel {
    /// Nothing is cancelled yet.
    pub fn new() -> Self {
        Self(Arc::new(watch::channel(false).0))
    }

    /// Cancels all runs that have a clone, for good: runs that begin later end at once.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was called.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves once it is called.
    pub(crate) async fn cancelled(&self) {
        // The sender lives as long as this value.
        let _ = self.0.subscribe().wait_for(|cancelled| *cancelled).await;
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}
