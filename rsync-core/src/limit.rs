//! Pacing: never more calls in any window than the destination allows, none while it asks for a pause, and next to none
//! while it is down.

mod breaker;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::capability::Rate;
use crate::clock::Clock;
use crate::error::{Kind, Result};

use breaker::Breaker;
pub(crate) use breaker::Sign;

/// Paces the calls of one or several pipelines, over all their runs. Clones share the window, so that all pipelines that
/// use the same credentials keep the rate together; give each of them a clone, and the same kind of clock.
///
/// They also share what is known of an outage: after [`give_up_after`](crate::retry::RetryPolicy::give_up_after) failed
/// calls in a row, nobody calls for 60 seconds; then one call at a time is let through until a write is answered.
#[derive(Clone, Debug)]
pub struct Limiter(Arc<Mutex<Window>>, Arc<Mutex<Breaker>>);

/// Leave to make one call; say what came of it. Dropping it says nothing.
#[derive(Debug)]
pub(crate) struct Permit {
    limiter: Limiter,
    probe: bool,
}

impl Permit {
    /// Takes the result of the call: `answered` says what an answer is a sign of.
    pub(crate) fn settle<T>(self, result: &Result<T>, answered: Sign, now: Duration, give_up_after: u32) {
        let sign = match result {
            Ok(_) => answered,
            Err(error) => match error.kind() {
                Kind::Unavailable | Kind::Protocol => Sign::Down,
                Kind::Internal => Sign::None,
                _ => answered,
            },
        };
        self.limiter.breaker(|breaker| breaker.take(sign, now, give_up_after));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.probe {
            self.limiter.breaker(Breaker::release);
        }
    }
}

impl Limiter {
    /// Lets through what `rate` allows; `None` sets no rate. Pauses that the destination asks for are kept either way.
    pub fn new(rate: Option<Rate>) -> Self {
        Self(Arc::new(Mutex::new(Window::new(rate))), Arc::default())
    }

    /// Leave to make a call now, or the moment of the monotonic clock until which the destination is left alone.
    pub(crate) fn admit(&self, now: Duration) -> Result<Permit, Duration> {
        let probe = self.breaker(|breaker| breaker.admit(now))?;
        Ok(Permit { limiter: self.clone(), probe })
    }

    /// Whether the destination is left alone.
    pub(crate) fn is_down(&self, now: Duration) -> bool {
        self.breaker(|breaker| breaker.is_open(now))
    }

    /// Whether the destination was down and no write has been answered since: one call at a time.
    pub(crate) fn is_on_trial(&self) -> bool {
        !self.breaker(|breaker| breaker.is_closed())
    }

    fn breaker<T>(&self, act: impl FnOnce(&mut Breaker) -> T) -> T {
        act(&mut self.1.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns when the next call may be made. Dropping the future gives its place back only in time: the slot that it
    /// waited for stays unused.
    pub(crate) async fn turn(&self, clock: &dyn Clock) {
        loop {
            let wait = self.with(|window| window.reserve(clock.monotonic()));
            if wait.is_zero() {
                return;
            }
            clock.sleep(wait).await;
            // A pause that was asked for in the meantime voids the slot.
            if self.with(|window| window.held_until) <= clock.monotonic() {
                return;
            }
        }
    }

    /// Lets nothing through until this moment of the monotonic clock.
    pub(crate) fn hold_until(&self, moment: Duration) {
        self.with(|window| window.held_until = window.held_until.max(moment));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Window) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A sliding window over the moments of calls. Pure: the caller tells the time and does the waiting.
#[derive(Debug)]
struct Window {
    rate: Option<Rate>,
    calls: VecDeque<Duration>,
    held_until: Duration,
}

impl Window {
    fn new(rate: Option<Rate>) -> Self {
        // Calls that leave evenly may arrive bunched, so the window is kept a little longer than asked.
        let rate = rate.map(|rate| Rate { requests: rate.requests.max(1), per: rate.per + rate.per / 50 });
        Self { rate, calls: VecDeque::new(), held_until: Duration::ZERO }
    }

    /// Takes the next free slot and tells how long to wait for it.
    fn reserve(&mut self, now: Duration) -> Duration {
        let mut at = now.max(self.held_until);
        if let Some(rate) = self.rate {
            if self.calls.len() == rate.requests as usize
                && let Some(oldest) = self.calls.pop_front()
            {
                at = at.max(oldest + rate.per);
            }
            self.calls.push_back(at);
        }
        at - now
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use proptest::prelude::*;

    use super::*;
    use crate::memory::ManualClock;

    proptest! {
        #[test]
        fn no_window_holds_more_calls_than_allowed(
            requests in 1_u32..8, per_ms in 1_u64..500, gaps in prop::collection::vec(0_u64..200, 1..80),
            holds in prop::collection::vec(0_u64..400, 80)
        ) {
            let per = Duration::from_millis(per_ms);
            let mut window = Window::new(Some(Rate::new(requests, per)));
            let mut now = Duration::ZERO;
            let mut calls: Vec<Duration> = Vec::new();
            for (gap, hold) in gaps.into_iter().zip(holds) {
                now += Duration::from_millis(gap);
                if hold % 7 == 0 {
                    window.held_until = window.held_until.max(now + Duration::from_millis(hold));
                }
                let at = now + window.reserve(now);
                prop_assert!(at >= window.held_until);
                calls.push(at);
            }
            calls.sort();
            for pair in calls.windows(requests as usize + 1) {
                prop_assert!(pair[requests as usize] - pair[0] > per);
            }
        }
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut window = Window::new(None);
        assert!((0..1000).all(|_| window.reserve(Duration::ZERO) == Duration::ZERO));
    }

    #[test]
    fn f26_a_pause_holds_those_who_wait_already() {
        let clock = ManualClock::new();
        let limiter = Limiter::new(Some(Rate::new(1, Duration::from_secs(1))));
        assert!(limiter.turn(&clock).now_or_never().is_some());
        let mut second = Box::pin(limiter.turn(&clock));
        assert!((&mut second).now_or_never().is_none());
        limiter.hold_until(Duration::from_secs(60));
        clock.advance(Duration::from_secs(59));
        assert!((&mut second).now_or_never().is_none());
        clock.advance(Duration::from_secs(1));
        assert!((&mut second).now_or_never().is_some());
    }
}
