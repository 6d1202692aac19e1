//! Time that a test moves, and randomness that it can repeat.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::BoxFuture;

use crate::clock::{Clock, Randomness};

/// A clock that stands still until it is told to move. Clones share one time.
///
/// ```
/// # use std::time::Duration;
/// # use rsync_core::{clock::Clock, memory::ManualClock};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let clock = ManualClock::new();
/// let pause = clock.sleep(Duration::from_secs(30));
/// clock.advance(Duration::from_secs(30));
/// pause.await;
/// assert_eq!(clock.monotonic(), Duration::from_secs(30));
/// # }
/// ```
#[derive(Clone)]
pub struct ManualClock {
    state: Arc<Mutex<State>>,
    auto_advance: bool,
}

#[derive(Default)]
struct State {
    monotonic: Duration,
    wall: Duration,
    sleepers: BTreeMap<u64, Sleeper>,
    next_sleeper: u64,
    slept: Duration,
}

struct Sleeper {
    deadline: Duration,
    waker: Option<Waker>,
}

impl State {
    fn advance_to(&mut self, deadline: Duration) {
        let step = deadline.saturating_sub(self.monotonic);
        self.monotonic += step;
        self.wall += step;
        let now = self.monotonic;
        for sleeper in self.sleepers.values_mut().filter(|sleeper| sleeper.deadline <= now) {
            if let Some(waker) = sleeper.waker.take() {
                waker.wake();
            }
        }
    }

    fn earliest(&self) -> Option<Duration> {
        self.sleepers.values().map(|sleeper| sleeper.deadline).min()
    }
}

impl ManualClock {
    /// A clock at monotonic time 0 and 2024-01-01T00:00:00Z.
    pub fn new() -> Self {
        let state = State { wall: Duration::from_secs(1_704_067_200), ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), auto_advance: false }
    }

    /// A clock on which waiting takes no real time: when a sleep finds nothing else to do, the clock jumps to
    /// the earliest moment that anyone waits for.
    ///
    /// It cannot see work that waits for something other than this clock, such as a socket: there, a timeout
    /// would fire at once, the deadline of a run among them.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use rsync_core::{clock::Clock, memory::ManualClock};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let clock = ManualClock::auto_advancing();
    /// clock.sleep(Duration::from_secs(3600)).await;
    /// assert_eq!(clock.monotonic(), Duration::from_secs(3600));
    /// # }
    /// ```
    pub fn auto_advancing() -> Self {
        Self { auto_advance: true, ..Self::new() }
    }

    /// Moves both times forward and wakes every sleep that has come to its end.
    pub fn advance(&self, step: Duration) {
        let mut state = self.lock();
        let to = state.monotonic + step;
        state.advance_to(to);
    }

    /// Sets the wall-clock time, which may jump; monotonic time stays.
    pub fn set_wall(&self, since_epoch: Duration) {
        self.lock().wall = since_epoch;
    }

    /// How many sleeps are waiting.
    pub fn sleepers(&self) -> usize {
        self.lock().sleepers.len()
    }

    /// Sum of all pauses that were asked for.
    pub fn slept(&self) -> Duration {
        self.lock().slept
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("monotonic", &self.monotonic()).field("wall", &self.wall()).finish()
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn wall(&self) -> Duration {
        self.lock().wall
    }

    fn sleep(&self, pause: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.lock();
        let id = state.next_sleeper;
        let deadline = state.monotonic.saturating_add(pause);
        state.next_sleeper += 1;
        state.slept = state.slept.saturating_add(pause);
        state.sleepers.insert(id, Sleeper { deadline, waker: None });
        drop(state);
        Box::pin(Sleep { clock: self.clone(), id, deadline, polled: false })
    }
}

struct Sleep {
    clock: ManualClock,
    id: u64,
    deadline: Duration,
    polled: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut state = this.clock.lock();
        // The first poll only lines up, so that others who start in the same round are seen before time moves.
        if this.clock.auto_advance
            && this.polled
            && let Some(earliest) = state.earliest()
        {
            state.advance_to(earliest);
        }
        this.polled = true;
        if state.monotonic >= this.deadline {
            state.sleepers.remove(&this.id);
            return Poll::Ready(());
        }
        if this.clock.auto_advance {
            cx.waker().wake_by_ref();
        }
        if let Some(sleeper) = state.sleepers.get_mut(&this.id) {
            sleeper.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.id);
    }
}

/// Randomness that a seed repeats: splitmix64. Clones share one sequence.
#[derive(Clone, Debug)]
pub struct SeededRandomness {
    state: Arc<AtomicU64>,
}

impl SeededRandomness {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(AtomicU64::new(seed)) }
    }
}

impl Randomness for SeededRandomness {
    fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::{Either, join, select};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn sleeps_end_when_the_clock_passes_them() {
        let clock = ManualClock::new();
        let mut short = clock.sleep(SECOND);
        let mut long = clock.sleep(2 * SECOND);
        assert!((&mut short).now_or_never().is_none());
        clock.advance(SECOND);
        assert!((&mut short).now_or_never().is_some());
        assert!((&mut long).now_or_never().is_none());
        drop(long);
        assert_eq!((clock.sleepers(), clock.slept()), (0, 3 * SECOND));
    }

    #[tokio::test]
    async fn auto_advance_lets_the_earliest_sleep_win() {
        let clock = ManualClock::auto_advancing();
        let timeout = clock.sleep(60 * SECOND);
        let work = async {
            clock.sleep(SECOND).await;
            clock.sleep(SECOND).await;
        };
        assert!(matches!(select(timeout, work.boxed()).await, Either::Right(_)));
        assert_eq!(clock.monotonic(), 2 * SECOND);
        join(clock.sleep(SECOND), clock.sleep(SECOND)).await;
        assert_eq!(clock.monotonic(), 3 * SECOND, "sleeps side by side pass together");
    }

    #[test]
    fn splitmix64_gives_its_published_sequence() {
        let random = SeededRandomness::new(1_234_567);
        let draws = [random.next_u64(), random.next_u64(), random.next_u64()];
        assert_eq!(draws, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }
}
