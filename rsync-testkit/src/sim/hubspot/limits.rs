//! Request limits: a rolling ten-second window per token, a rolling second for search, a daily count per portal.

use std::collections::{HashMap, VecDeque};

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::instant::instant;
use super::seed::{RateLimits, Tier};

/// Length of the burst window.
pub(crate) const BURST_WINDOW_MS: i64 = 10_000;
const SEARCH_WINDOW_MS: i64 = 1_000;
const SEARCH_PER_SECOND: u64 = 5;

/// Which limit refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    TenSeconds,
    Secondly,
    Daily,
}

/// Counters as the answer headers show them. Absent parts are not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Maximum and remaining requests of the burst window.
    pub(crate) burst: Option<(u64, u64)>,
    /// Maximum and remaining requests of the day.
    pub(crate) daily: Option<(u64, u64)>,
}

/// Limits in force and what has been used of them. It has no `Debug`: its windows are under tokens.
pub(crate) struct Limiter {
    per_ten_seconds: Option<u64>,
    per_day: Option<u64>,
    search_per_second: Option<u64>,
    time_zone: Tz,
    bursts: HashMap<String, VecDeque<i64>>,
    searches: VecDeque<i64>,
    day: Option<NaiveDate>,
    used_today: u64,
}

impl Limiter {
    pub(crate) fn new(limits: RateLimits, time_zone: Tz) -> Self {
        let (per_ten_seconds, per_day, search_per_second) = match limits {
            RateLimits::Tier(tier) => {
                let (burst, daily) = match tier {
                    Tier::Starter => (100, Some(250_000)),
                    Tier::Professional => (190, Some(625_000)),
                    Tier::Enterprise => (190, Some(1_000_000)),
                    Tier::Marketplace => (110, None),
                };
                (Some(burst), daily, Some(SEARCH_PER_SECOND))
            }
            RateLimits::Explicit { per_ten_seconds, per_day, search_per_second } => {
                (per_ten_seconds, per_day, search_per_second)
            }
            RateLimits::Unlimited => (None, None, None),
        };
        Self {
            per_ten_seconds,
            per_day,
            search_per_second,
            time_zone,
            bursts: HashMap::new(),
            searches: VecDeque::new(),
            day: None,
            used_today: 0,
        }
    }

    /// Takes one request from the token's burst window and the day. Refused requests use up nothing.
    pub(crate) fn request(&mut self, token: &str, now_ms: i64) -> Result<(), Exceeded> {
        self.check_day(now_ms)?;
        let window = self.bursts.entry(token.to_owned()).or_default();
        take(window, now_ms, BURST_WINDOW_MS, self.per_ten_seconds).ok_or(Exceeded::TenSeconds)?;
        self.used_today += 1;
        Ok(())
    }

    /// Takes one search. Search has a bucket of its own but counts towards the day.
    pub(crate) fn search(&mut self, now_ms: i64) -> Result<(), Exceeded> {
        self.check_day(now_ms)?;
        take(&mut self.searches, now_ms, SEARCH_WINDOW_MS, self.search_per_second).ok_or(Exceeded::Secondly)?;
        self.used_today += 1;
        Ok(())
    }

    /// What is left, for the headers of an answer to this token.
    pub(crate) fn budget(&self, token: &str) -> Budget {
        let used = self.bursts.get(token).map_or(0, VecDeque::len) as u64;
        Budget {
            burst: self.per_ten_seconds.map(|max| (max, max.saturating_sub(used))),
            daily: self.per_day.map(|max| (max, max.saturating_sub(self.used_today))),
        }
    }

    fn check_day(&mut self, now_ms: i64) -> Result<(), Exceeded> {
        let today = instant(now_ms).with_timezone(&self.time_zone).date_naive();
        if self.day != Some(today) {
            self.day = Some(today);
            self.used_today = 0;
        }
        if self.per_day.is_some_and(|max| self.used_today >= max) { Err(Exceeded::Daily) } else { Ok(()) }
    }
}

/// Takes one place in a rolling window; `None` if it is full. Without a maximum nothing is remembered.
fn take(window: &mut VecDeque<i64>, now_ms: i64, length_ms: i64, max: Option<u64>) -> Option<()> {
    let Some(max) = max else { return Some(()) };
    while window.front().is_some_and(|at| now_ms - at >= length_ms) {
        window.pop_front();
    }
    if window.len() as u64 >= max {
        return None;
    }
    window.push_back(now_ms);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(per_ten_seconds: u64, per_day: u64) -> Limiter {
        let limits = RateLimits::Explicit {
            per_ten_seconds: Some(per_ten_seconds),
            per_day: Some(per_day),
            search_per_second: Some(2),
        };
        Limiter::new(limits, Tz::US__Eastern)
    }

    #[test]
    fn the_burst_window_rolls_and_is_per_token() {
        let mut limiter = limiter(2, 1_000);
        for (token, at_ms, expected) in [
            ("a", 0, Ok(())),
            ("a", 4_000, Ok(())),
            ("a", 9_999, Err(Exceeded::TenSeconds)),
            ("b", 9_999, Ok(())),
            ("a", 10_000, Ok(())),
            ("a", 13_999, Err(Exceeded::TenSeconds)),
            ("a", 14_000, Ok(())),
        ] {
            assert_eq!(limiter.request(token, at_ms), expected, "{token} at {at_ms}");
        }
        assert_eq!(limiter.budget("a").burst, Some((2, 0)));
        assert_eq!(limiter.budget("a").daily, Some((1_000, 995)));
    }

    #[test]
    fn the_day_ends_at_midnight_in_the_portals_time_zone() {
        // 2026-07-01T04:00:00Z is midnight in New York.
        let midnight_ms = 1_782_878_400_000;
        let mut limiter = limiter(1_000, 2);
        for (at_ms, expected) in [
            (midnight_ms - 10, Ok(())),
            (midnight_ms - 5, Ok(())),
            (midnight_ms - 1, Err(Exceeded::Daily)),
            (midnight_ms, Ok(())),
        ] {
            assert_eq!(limiter.request("a", at_ms), expected, "at {at_ms}");
        }
    }

    #[test]
    fn search_has_its_own_window_and_uses_up_the_day() {
        let mut limiter = limiter(1, 4);
        for (at_ms, expected) in [
            (0, Ok(())),
            (1, Ok(())),
            (999, Err(Exceeded::Secondly)),
            (1_000, Ok(())),
            (1_001, Ok(())),
            (5_000, Err(Exceeded::Daily)),
        ] {
            assert_eq!(limiter.search(at_ms), expected, "at {at_ms}");
        }
    }
}
