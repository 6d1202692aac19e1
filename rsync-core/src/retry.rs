//! The one place that decides whether and when something is tried again.
//!
//! The pauses between attempts grow as the `backoff` crate lays them out; everything else is decided here: the
//! pause is drawn evenly between nothing and that length by the host's randomness, a pause that the server asks
//! for is kept in full, attempts and time are bounded by the host's clock. The crate's own loop does none of
//! that, so it is not used.

use std::time::{Duration, Instant};

use backoff::backoff::Backoff as _;
use backoff::exponential::ExponentialBackoff;

use crate::clock::Randomness;

/// How often and how long the engine tries a batch in one run. What is not done then is done by the next run.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Most attempts at the same rows, the first one included. Default: 5.
    pub max_attempts: u32,
    /// Longest time from the first attempt to the last. Default: 5 minutes.
    pub max_elapsed: Duration,
    /// Longest first pause; doubled with every attempt. Default: 500 ms.
    pub first_pause: Duration,
    /// Longest pause of our own choosing. Default: 30 s.
    pub max_pause: Duration,
    /// Longest pause that a server may ask for; a longer one ends the run, and the rest is deferred. Default: 5
    /// minutes.
    pub max_server_pause: Duration,
    /// Retries for each first attempt, over the whole run. Default: 0.2, so that a struggling destination gets a fifth
    /// more calls and not five times as many.
    pub budget_share: f64,
    /// Retries that a run may make on top of that. Default: 100.
    pub budget_burst: u32,
    /// Failed calls in a row, over all batches, after which the destination counts as down. Default: 5.
    pub give_up_after: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            max_elapsed: Duration::from_secs(300),
            first_pause: Duration::from_millis(500),
            max_pause: Duration::from_secs(30),
            max_server_pause: Duration::from_secs(300),
            budget_share: 0.2,
            budget_burst: 100,
            give_up_after: 5,
        }
    }
}

impl RetryPolicy {
    /// Sets the most attempts, at least 1.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Sets the longest time from the first attempt to the last.
    #[must_use]
    pub fn with_max_elapsed(mut self, elapsed: Duration) -> Self {
        self.max_elapsed = elapsed;
        self
    }

    /// Sets the longest first pause.
    #[must_use]
    pub fn with_first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        self
    }

    /// Sets the retries for each first attempt and those on top.
    #[must_use]
    pub fn with_budget(mut self, share: f64, burst: u32) -> Self {
        self.budget_share = share.max(0.0);
        self.budget_burst = burst;
        self
    }

    /// Sets how many failed calls in a row mean that the destination is down.
    #[must_use]
    pub fn with_give_up_after(mut self, calls: u32) -> Self {
        self.give_up_after = calls.max(1);
        self
    }
}

/// The retries that a run may still make, over all batches.
#[derive(Debug)]
pub(crate) struct Budget {
    left: f64,
    most: f64,
    share: f64,
}

impl Budget {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        let most = f64::from(policy.budget_burst);
        Self { left: most, most, share: policy.budget_share }
    }

    /// A first attempt was made.
    pub(crate) fn earn(&mut self) {
        self.left = (self.left + self.share).min(self.most.max(1.0));
    }

    /// Takes a retry, if there is one.
    pub(crate) fn spend(&mut self) -> bool {
        let affordable = self.left >= 1.0;
        if affordable {
            self.left -= 1.0;
        }
        affordable
    }
}

/// The crate asks a clock for its own time limit, which is not used; a clock that stands still answers it.
#[derive(Clone, Copy, Debug)]
struct StandingClock(Instant);

impl Default for StandingClock {
    #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise; it is never compared")]
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl backoff::Clock for StandingClock {
    fn now(&self) -> Instant {
        self.0
    }
}

/// The pauses between attempts at one thing.
#[derive(Debug)]
pub(crate) struct Schedule {
    policy: RetryPolicy,
    lengths: ExponentialBackoff<StandingClock>,
    attempts: u32,
    started: Duration,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try again after this pause.
    Again(Duration),
    /// Tried often or long enough.
    GiveUp,
    /// The server asks for a longer pause than a run may wait.
    TooLong(Duration),
}

impl Schedule {
    /// A schedule whose first attempt begins now.
    pub(crate) fn new(policy: RetryPolicy, now: Duration) -> Self {
        let lengths = ExponentialBackoff {
            current_interval: policy.first_pause,
            initial_interval: policy.first_pause,
            multiplier: 2.0,
            randomization_factor: 0.0,
            max_interval: policy.max_pause,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { policy, lengths, attempts: 1, started: now }
    }

    /// The attempt that is being made, 1 for the first.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempts
    }

    /// Decides after a failed attempt. `asked` is the pause that the server asked for.
    pub(crate) fn next(&mut self, now: Duration, asked: Option<Duration>, randomness: &dyn Randomness) -> Next {
        let length = self.lengths.next_backoff().unwrap_or(self.policy.max_pause);
        if let Some(asked) = asked.filter(|asked| *asked > self.policy.max_server_pause) {
            return Next::TooLong(asked);
        }
        if self.attempts >= self.policy.max_attempts {
            return Next::GiveUp;
        }
        let share = (randomness.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let jitter = length.mul_f64(share);
        // On top of the server's pause, jitter only spreads the callers; it never shortens the pause.
        let pause = asked.map_or(jitter, |asked| asked + jitter.min(Duration::from_secs(1)));
        if now + pause > self.started + self.policy.max_elapsed {
            return Next::GiveUp;
        }
        self.attempts += 1;
        Next::Again(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u64);

    impl Randomness for Fixed {
        fn next_u64(&self) -> u64 {
            self.0
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_up_to_a_limit_and_are_jittered() {
        let policy = RetryPolicy { max_attempts: 9, ..RetryPolicy::default() };
        let mut longest = Schedule::new(policy, SECOND);
        let pauses: Vec<u128> = std::iter::from_fn(|| match longest.next(SECOND, None, &Fixed(u64::MAX)) {
            Next::Again(pause) => Some(pause.as_secs_f64().mul_add(10.0, 0.5) as u128),
            _ => None,
        })
        .collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300], "tenths of a second");
        let mut shortest = Schedule::new(policy, SECOND);
        assert_eq!(shortest.next(SECOND, None, &Fixed(0)), Next::Again(Duration::ZERO));
    }

    #[test]
    fn attempts_and_time_are_bounded() {
        let mut schedule = Schedule::new(RetryPolicy::default(), SECOND);
        for attempt in 2..=5 {
            assert!(matches!(schedule.next(SECOND, None, &Fixed(0)), Next::Again(_)));
            assert_eq!(schedule.attempt(), attempt);
        }
        assert_eq!(schedule.next(SECOND, None, &Fixed(0)), Next::GiveUp);
        let mut late = Schedule::new(RetryPolicy::default(), SECOND);
        assert_eq!(late.next(302 * SECOND, None, &Fixed(0)), Next::GiveUp);
    }

    #[test]
    fn f26_the_servers_pause_is_never_cut_short() {
        for (asked, random) in [(1, 0), (60, u64::MAX), (250, 0)] {
            let mut schedule = Schedule::new(RetryPolicy::default(), Duration::ZERO);
            match schedule.next(Duration::ZERO, Some(asked * SECOND), &Fixed(random)) {
                Next::Again(pause) => assert!(pause >= asked * SECOND && pause <= (asked + 1) * SECOND, "{asked}"),
                other => panic!("{asked}: {other:?}"),
            }
        }
        let mut schedule = Schedule::new(RetryPolicy::default(), Duration::ZERO);
        let asked = 301 * SECOND;
        assert_eq!(schedule.next(Duration::ZERO, Some(asked), &Fixed(0)), Next::TooLong(asked));
    }
}
