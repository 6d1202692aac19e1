//! Sessions: tokens with an end.

use std::collections::HashMap;

use super::quirks::SessionTimer;
use crate::sim::rng::Rng;

/// Sessions in force. It has no `Debug`: its keys are tokens.
#[derive(Default)]
pub(crate) struct Sessions {
    ends_at_ms: HashMap<String, i64>,
    /// Requests that are accepted before all sessions of that moment end.
    ends_after: Option<u64>,
}

impl Sessions {
    /// Starts a session and returns its token.
    pub(crate) fn start(&mut self, organization_id: &str, now_ms: i64, seconds: u64, rng: &mut Rng) -> String {
        let secret: String = (0..4).map(|_| format!("{:016x}", rng.next_u64())).collect();
        let token = format!("{}!AQ{secret}", organization_id.get(..15).unwrap_or_default());
        self.ends_at_ms.insert(token.clone(), now_ms.saturating_add(milliseconds(seconds)));
        token
    }

    /// Whether a token is good; use prolongs its session if the timer slides.
    pub(crate) fn accept(&mut self, token: &str, now_ms: i64, seconds: u64, timer: SessionTimer) -> bool {
        if self.ends_after == Some(0) {
            self.ends_after = None;
            self.end_all();
        }
        let Some(end) = self.ends_at_ms.get_mut(token).filter(|end| now_ms < **end) else { return false };
        if timer == SessionTimer::Sliding {
            *end = now_ms.saturating_add(milliseconds(seconds));
        }
        self.ends_after = self.ends_after.map(|left| left - 1);
        true
    }

    /// Ends all of them when so many further requests were accepted.
    pub(crate) fn end_all_after(&mut self, requests: u64) {
        self.ends_after = Some(requests);
    }

    /// Ends all of them now.
    pub(crate) fn end_all(&mut self) {
        self.ends_at_ms.clear();
    }
}

fn milliseconds(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX)
}
