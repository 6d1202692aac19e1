//! Pacing: never more calls in any window than the destination allows.

use std::collections::VecDeque;
use std::time::Duration;

use crate::capability::Rate;

/// A sliding window over the moments of calls. Pure: the caller tells the time and does the waiting.
#[derive(Debug)]
pub(crate) struct Window {
    rate: Option<Rate>,
    calls: VecDeque<Duration>,
}

impl Window {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        // Calls that leave evenly may arrive bunched, so the window is kept a little longer than asked.
        let rate = rate.map(|rate| Rate { requests: rate.requests.max(1), per: rate.per + rate.per / 50 });
        Self { rate, calls: VecDeque::new() }
    }

    /// Takes the next free slot and tells how long to wait for it.
    pub(crate) fn reserve(&mut self, now: Duration) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let mut at = now;
        if self.calls.len() == rate.requests as usize
            && let Some(oldest) = self.calls.pop_front()
        {
            at = at.max(oldest + rate.per);
        }
        self.calls.push_back(at);
        at - now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_window_holds_more_calls_than_allowed(
            requests in 1_u32..8, per_ms in 1_u64..500, gaps in prop::collection::vec(0_u64..200, 1..80)
        ) {
            let per = Duration::from_millis(per_ms);
            let mut window = Window::new(Some(Rate::new(requests, per)));
            let mut now = Duration::ZERO;
            let mut calls: Vec<Duration> = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                calls.push(now + window.reserve(now));
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
}
