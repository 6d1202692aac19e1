//! Request limits: a rolling window for Track, one for App.

use std::collections::VecDeque;

use super::seed::RateLimits;

const TRACK_WINDOW_MS: i64 = 3_000;
const TRACK_PER_WINDOW: u64 = 3_000;
const APP_WINDOW_MS: i64 = 1_000;
const APP_PER_WINDOW: u64 = 10;

/// A rolling window. Refused requests use up nothing.
#[derive(Debug)]
struct Window {
    length_ms: i64,
    max: Option<u64>,
    taken: VecDeque<i64>,
}

impl Window {
    fn new(length_ms: i64, max: Option<u64>) -> Self {
        Self { length_ms, max, taken: VecDeque::new() }
    }

    fn take(&mut self, now_ms: i64) -> bool {
        let Some(max) = self.max else { return true };
        while self.taken.front().is_some_and(|at| now_ms - at >= self.length_ms) {
            self.taken.pop_front();
        }
        let free = (self.taken.len() as u64) < max;
        if free {
            self.taken.push_back(now_ms);
        }
        free
    }
}

/// Limits in force and what has been used of them.
#[derive(Debug)]
pub(crate) struct Limiter {
    track: Window,
    app: Window,
}

impl Limiter {
    pub(crate) fn new(limits: RateLimits) -> Self {
        let (track, app) = match limits {
            RateLimits::Documented => (Some(TRACK_PER_WINDOW), Some(APP_PER_WINDOW)),
            RateLimits::Explicit { track_per_three_seconds, app_per_second } => {
                (track_per_three_seconds, app_per_second)
            }
            RateLimits::Unlimited => (None, None),
        };
        Self { track: Window::new(TRACK_WINDOW_MS, track), app: Window::new(APP_WINDOW_MS, app) }
    }

    /// Takes one Track request; `false` when the window is full.
    pub(crate) fn track(&mut self, now_ms: i64) -> bool {
        self.track.take(now_ms)
    }

    /// Takes one App request; `false` when the window is full.
    pub(crate) fn app(&mut self, now_ms: i64) -> bool {
        self.app.take(now_ms)
    }
}
