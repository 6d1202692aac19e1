//! The daily limit of API calls and its gauge.

use std::collections::VecDeque;

use crate::sim::rng::Rng;

const DAY_MS: i64 = 86_400_000;

/// What may be used in any 24 hours.
#[derive(Debug)]
pub(crate) struct Allowance {
    max: u64,
    used: u64,
    /// When how much was taken.
    taken: VecDeque<(i64, u64)>,
}

impl Allowance {
    pub(crate) fn new(max: u64) -> Self {
        Self { max, used: 0, taken: VecDeque::new() }
    }

    /// Takes so much; false if there is not enough left. What is refused uses up nothing.
    pub(crate) fn take(&mut self, now_ms: i64, amount: u64) -> bool {
        let left = amount <= self.left(now_ms);
        if left {
            self.used += amount;
            self.taken.push_back((now_ms, amount));
        }
        left
    }

    fn forget(&mut self, now_ms: i64) {
        while let Some((_, amount)) = self.taken.front().filter(|(at, _)| now_ms - at >= DAY_MS) {
            self.used -= amount;
            self.taken.pop_front();
        }
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    pub(crate) fn left(&mut self, now_ms: i64) -> u64 {
        self.forget(now_ms);
        self.max.saturating_sub(self.used)
    }
}

/// Calls of the last 24 hours.
#[derive(Debug)]
pub(crate) struct Usage {
    calls: Allowance,
}

impl Usage {
    pub(crate) fn new(max: u64) -> Self {
        Self { calls: Allowance::new(max) }
    }

    /// Takes one call; false if there are none left.
    pub(crate) fn take(&mut self, now_ms: i64) -> bool {
        self.calls.take(now_ms, 1)
    }

    pub(crate) fn used(&self) -> u64 {
        self.calls.used
    }

    pub(crate) fn max(&self) -> u64 {
        self.calls.max
    }

    pub(crate) fn set_max(&mut self, max: u64) {
        self.calls.max = max;
    }

    /// The gauge as answers show it. It is off by up to `jitter` calls in both directions, as servers of the real
    /// service learn of each other's calls late.
    pub(crate) fn gauge(&self, jitter: u64, rng: &mut Rng) -> String {
        let offset = if jitter == 0 { 0 } else { rng.next_u64() % (2 * jitter + 1) };
        let shown = (self.used() + offset).saturating_sub(jitter).clamp(1, self.max().max(1));
        format!("api-usage={shown}/{}", self.max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_rolls() {
        let mut usage = Usage::new(2);
        for (at_ms, taken) in
            [(0, true), (1_000, true), (DAY_MS - 1, false), (DAY_MS, true), (DAY_MS + 1, false), (DAY_MS + 1_000, true)]
        {
            assert_eq!(usage.take(at_ms), taken, "at {at_ms}");
        }
    }

    #[test]
    fn the_gauge_is_near_the_truth_and_goes_both_ways() {
        let mut usage = Usage::new(1_000);
        let mut rng = Rng::seeded(3);
        let mut shown = Vec::new();
        for at in 0..200 {
            assert!(usage.take(at));
            let text = usage.gauge(3, &mut rng);
            let number = text.strip_prefix("api-usage=").and_then(|rest| rest.strip_suffix("/1000"));
            let number: u64 = number.and_then(|n| n.parse().ok()).expect("the known form");
            assert!(number.abs_diff(usage.used()) <= 3, "{text} for {}", usage.used());
            shown.push(number);
        }
        assert!(shown.windows(2).any(|pair| pair[1] < pair[0]), "it goes down at times");
        assert_eq!(usage.gauge(0, &mut rng), "api-usage=200/1000");
    }
}
