//! What an organization was made to do, in numbers.

use std::collections::BTreeMap;

use serde::Serialize;

/// Kinds of endpoints, as far as limits and statistics distinguish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    Writes,
    Reads,
    Queries,
    Describes,
    /// Versions, resources and limits.
    Account,
    /// Requests made of requests.
    Composites,
    /// Jobs that are made, filled, closed, aborted or deleted.
    BulkWrites,
    /// Jobs and their results that are looked at.
    BulkReads,
    /// Gives tokens: neither authenticated nor limited.
    Tokens,
    /// The list of versions: neither authenticated nor limited.
    Open,
}

/// Counts since the start or the last reset. Requests are counted when they arrive, also those that are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SalesforceStats {
    /// Calls that count against the daily limit.
    pub api_calls: u64,
    /// Requests to endpoints that write records.
    pub write_requests: u64,
    /// Requests to endpoints that read single records or collections of them.
    pub read_requests: u64,
    /// Queries and their further pages.
    pub query_requests: u64,
    /// Object lists and descriptions.
    pub describe_requests: u64,
    /// Requests made of requests. What they are made of is counted as well, under its own kind.
    pub composite_requests: u64,
    /// Requests about bulk jobs. Those that make, fill, close, abort or delete one are write requests too.
    pub bulk_requests: u64,
    /// Bulk jobs made.
    pub jobs_created: u64,
    /// Requests for versions, resources and limits.
    pub account_requests: u64,
    /// Requests for tokens.
    pub token_requests: u64,
    /// Tokens given out.
    pub tokens_issued: u64,
    /// Requests to paths that the simulator does not have, or has for other methods.
    pub unknown_requests: u64,
    /// Rows of write requests that were understood, whatever became of them.
    pub rows_received: u64,
    /// Records created.
    pub rows_created: u64,
    /// Records updated, also when no value changed.
    pub rows_updated: u64,
    /// Records deleted.
    pub rows_deleted: u64,
    /// Rows of accounts, cases and leads saved without `Sforce-Auto-Assign: FALSE`: an organization's assignment rules
    /// would have chosen their owners. Rows of jobs count if the job names a rule.
    pub rows_auto_assigned: u64,
    /// Rows that failed.
    pub rows_failed: u64,
    /// Answers 401.
    pub unauthenticated_answers: u64,
    /// Answers 403 because of a limit.
    pub limited_answers: u64,
    /// Writes per record since the last reset, by object name and record id. Records never written are left out.
    pub writes_per_record: BTreeMap<String, BTreeMap<String, u64>>,
    /// Most requests in flight at the same time.
    pub max_in_flight: usize,
    /// How often a write arrived while another one held one of its records or their parents.
    pub overlapping_locks: u64,
}

impl SalesforceStats {
    /// Rows created, updated or deleted.
    pub fn rows_written(&self) -> u64 {
        self.rows_created + self.rows_updated + self.rows_deleted
    }

    /// Largest number of times one record was written: 1 when nothing was delivered twice.
    pub fn max_writes_per_record(&self) -> u64 {
        self.writes_per_record.values().flat_map(BTreeMap::values).copied().max().unwrap_or(0)
    }

    pub(crate) fn count(&mut self, surface: Surface) {
        let counter = match surface {
            Surface::Writes => &mut self.write_requests,
            Surface::Reads => &mut self.read_requests,
            Surface::Queries => &mut self.query_requests,
            Surface::Describes => &mut self.describe_requests,
            Surface::Account | Surface::Open => &mut self.account_requests,
            Surface::Composites => &mut self.composite_requests,
            Surface::BulkWrites | Surface::BulkReads => &mut self.bulk_requests,
            Surface::Tokens => &mut self.token_requests,
        };
        *counter += 1;
        self.write_requests += u64::from(surface == Surface::BulkWrites);
    }

    /// As before, but with the requests of now: they were made although their rows were taken back.
    pub(crate) fn with_requests_of(self, now: &Self) -> Self {
        Self {
            write_requests: now.write_requests,
            read_requests: now.read_requests,
            query_requests: now.query_requests,
            describe_requests: now.describe_requests,
            account_requests: now.account_requests,
            unknown_requests: now.unknown_requests,
            rows_received: now.rows_received,
            rows_failed: now.rows_failed,
            ..self
        }
    }
}
