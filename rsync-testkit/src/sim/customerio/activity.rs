//! The activity log: the only place where the service says that something accepted was not applied.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

use crate::sim::rng::Rng;

/// Activities kept; older ones are dropped so that a long load test does not grow without bound.
const KEPT_ACTIVITIES: usize = 20_000;

/// One entry of the activity log.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Activity {
    /// ULID.
    pub id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: ActivityKind,
    /// Unix time in seconds.
    pub timestamp: i64,
    /// `id` of the person, if there is one with an `id`.
    pub customer_id: Option<String>,
    /// System id of the person, if there is one.
    pub cio_id: Option<String>,
    /// What changed or failed, by attribute.
    pub data: Value,
}

/// Kinds of activities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActivityKind {
    /// An attribute got another value or was removed.
    AttributeChange,
    /// An attribute was accepted and not applied.
    FailedAttributeChange,
    /// An event was recorded.
    Event,
    /// An event was accepted and not recorded.
    FailedEvent,
    /// A person came to be.
    ProfileCreate,
    /// A person went.
    ProfileDelete,
    /// A person was merged into another.
    ProfileMerge,
    /// An operation was accepted and not applied.
    SkippedUpdate,
}

/// The person an activity is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) customer_id: Option<String>,
    pub(crate) cio_id: Option<String>,
}

/// The last activities.
#[derive(Debug, Default)]
pub(crate) struct Activities {
    kept: VecDeque<Activity>,
}

impl Activities {
    pub(crate) fn push(&mut self, activity: Activity) {
        if self.kept.len() == KEPT_ACTIVITIES {
            self.kept.pop_front();
        }
        self.kept.push_back(activity);
    }

    pub(crate) fn all(&self) -> Vec<Activity> {
        self.kept.iter().cloned().collect()
    }
}

/// A ULID of this time.
pub(crate) fn ulid(now_ms: i64, rng: &mut Rng) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let time = u128::from(u64::try_from(now_ms).unwrap_or(0) & 0xffff_ffff_ffff);
    let random = (u128::from(rng.next_u64()) << 16) | u128::from(rng.next_u64() & 0xffff);
    let mut bits = (time << 80) | random;
    let mut text = [0_u8; 26];
    for place in text.iter_mut().rev() {
        *place = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
    text.iter().map(|b| char::from(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::customerio::identifier::is_ulid;

    #[test]
    fn ulids_begin_with_their_time() {
        let id = ulid(1_628_208_056_000, &mut Rng::seeded(3));
        assert!(is_ulid(&id), "{id}");
        assert!(id.starts_with("01FCCC"), "{id}");
        assert_ne!(id, ulid(1_628_208_056_000, &mut Rng::seeded(4)));
    }
}
