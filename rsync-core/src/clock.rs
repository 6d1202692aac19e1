//! Time and randomness come from the host, so that tests can set both.

use std::collections::hash_map::RandomState;
use std::fmt::Debug;
use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;

/// A source of time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Time since a fixed but unspecified moment. Never goes back.
    fn monotonic(&self) -> Duration;

    /// Wall-clock time since the Unix epoch. May jump.
    fn wall(&self) -> Duration;

    /// Resolves when [`Clock::monotonic`] has advanced by `pause`. Dropping the future leaves nothing behind.
    fn sleep(&self, pause: Duration) -> BoxFuture<'static, ()>;
}

/// A source of randomness for jitter and ids. Not for secrets.
pub trait Randomness: Debug + Send + Sync + 'static {
    /// The next number, uniform over all of `u64`.
    fn next_u64(&self) -> u64;
}

/// The system's clock, over tokio's timer. All of one process tell the same time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[allow(clippy::disallowed_methods, reason = "the one place that reads the ambient clock")]
static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

impl SystemClock {
    /// A clock whose monotonic time started with the first one of the process.
    pub fn new() -> Self {
        LazyLock::force(&START);
        Self
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        START.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "the one place that reads the ambient clock")]
    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    #[allow(clippy::disallowed_methods, reason = "the one place that sleeps")]
    fn sleep(&self, pause: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(pause))
    }
}

/// Randomness seeded by the operating system through the standard library's hasher keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn next_u64(&self) -> u64 {
        // Every `RandomState` has fresh keys, so hashing a constant gives an unpredictable number.
        RandomState::new().hash_one(0_u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_randomness_varies() {
        let draws: std::collections::HashSet<u64> = (0..64).map(|_| SystemRandomness.next_u64()).collect();
        assert_eq!(draws.len(), 64);
    }
}
