//! What a workspace was made to do, in numbers.

use std::collections::BTreeMap;

use serde::Serialize;

/// Kinds of endpoints, as far as credentials, limits and statistics distinguish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    Entity,
    Batch,
    PerPerson,
    Region,
    AppReads,
    AppWrites,
    /// Files behind links, which are their own credentials.
    Download,
}

/// Counts since the start or the last reset. Requests are counted when they arrive, also those that are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CustomerIoStats {
    /// Requests to `/api/v2/entity`.
    pub entity_requests: u64,
    /// Requests to `/api/v2/batch`.
    pub batch_requests: u64,
    /// Writes by the calls of version 1.
    pub v1_requests: u64,
    /// Region probes.
    pub region_requests: u64,
    /// Requests to the App API that change nothing.
    pub app_requests: u64,
    /// Requests to the App API that make or delete segments.
    pub app_write_requests: u64,
    /// Files fetched.
    pub downloads: u64,
    /// People added to segments.
    pub members_added: u64,
    /// People taken out of segments.
    pub members_removed: u64,
    /// Operations accepted.
    pub items_accepted: u64,
    /// Operations refused, those of refused requests included as far as they could be read.
    pub items_rejected: u64,
    /// Operations accepted but not applied yet.
    pub items_queued: u64,
    /// People created.
    pub people_created: u64,
    /// Identify operations that met a person, also when no value changed.
    pub people_updated: u64,
    /// People removed by deletion, suppression or merge.
    pub people_deleted: u64,
    /// Attributes set to another value or removed.
    pub attributes_changed: u64,
    /// Attributes sent with the value they had.
    pub attributes_unchanged: u64,
    /// Events recorded.
    pub events_recorded: u64,
    /// Operations, or attributes of them, that were accepted and then not applied.
    pub silent_failures: u64,
    /// Body bytes of the largest batch.
    pub largest_batch_bytes: usize,
    /// Body bytes of all batches.
    pub batch_bytes: u64,
    /// Answers 401.
    pub unauthenticated_answers: u64,
    /// Answers 429.
    pub rate_limited_answers: u64,
    /// Accepted operations per person, by kind and value of the identifier used, for example `id:42`.
    pub writes_per_person: BTreeMap<String, u64>,
    /// Most requests in flight at the same time.
    pub max_in_flight: usize,
    /// How often a write arrived while another write of the same person was in flight.
    pub overlapping_key_writes: u64,
}

impl CustomerIoStats {
    /// Requests that could have changed anything: a dry run must leave this at zero.
    pub fn write_requests(&self) -> u64 {
        self.entity_requests + self.batch_requests + self.v1_requests + self.app_write_requests
    }

    /// Largest number of times one person was written: 1 when nothing was delivered twice.
    pub fn max_writes_per_person(&self) -> u64 {
        self.writes_per_person.values().copied().max().unwrap_or(0)
    }

    pub(crate) fn count(&mut self, surface: Surface) {
        let counter = match surface {
            Surface::Entity => &mut self.entity_requests,
            Surface::Batch => &mut self.batch_requests,
            Surface::PerPerson => &mut self.v1_requests,
            Surface::Region => &mut self.region_requests,
            Surface::AppReads => &mut self.app_requests,
            Surface::AppWrites => &mut self.app_write_requests,
            Surface::Download => &mut self.downloads,
        };
        *counter += 1;
    }
}
