//! What a portal was made to do, in numbers.

use std::collections::BTreeMap;

use serde::Serialize;

/// Kinds of endpoints, as far as limits and statistics distinguish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    RecordWrites,
    RecordReads,
    Search,
    DefinitionReads,
    DefinitionWrites,
    /// Associations between records, written.
    AssociationWrites,
    AssociationReads,
    /// Lists and their members.
    ListWrites,
    ListReads,
    /// Communication preferences.
    ConsentWrites,
    ConsentReads,
    Account,
    /// Endpoints that give or describe tokens: neither authenticated nor limited.
    Tokens,
}

/// Counts since the start or the last reset. Requests are counted when they arrive, also those that are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HubSpotStats {
    /// Requests to endpoints that write records.
    pub write_requests: u64,
    /// Requests to endpoints that read records, search excluded.
    pub read_requests: u64,
    /// Search requests.
    pub search_requests: u64,
    /// Requests that read property definitions.
    pub definition_read_requests: u64,
    /// Requests that change property definitions.
    pub definition_write_requests: u64,
    /// Requests that change associations.
    pub association_write_requests: u64,
    /// Requests that read associations and their types.
    pub association_read_requests: u64,
    /// Requests that change lists or their members.
    pub list_write_requests: u64,
    /// Requests that read lists or their members.
    pub list_read_requests: u64,
    /// Requests that change communication preferences.
    pub consent_write_requests: u64,
    /// Requests that read communication preferences.
    pub consent_read_requests: u64,
    /// Account information requests.
    pub account_requests: u64,
    /// Token refreshes and introspections.
    pub token_requests: u64,
    /// Records created.
    pub rows_created: u64,
    /// Records updated, also when no value changed.
    pub rows_updated: u64,
    /// Records archived.
    pub rows_archived: u64,
    /// Merges.
    pub rows_merged: u64,
    /// Contacts erased for good.
    pub rows_erased: u64,
    /// Associations made or ended, also when that changed nothing.
    pub associations_written: u64,
    /// Records that became members of a list.
    pub members_added: u64,
    /// Records that stopped being members of a list.
    pub members_removed: u64,
    /// Communication preferences set, also when that changed nothing.
    pub statuses_written: u64,
    /// Schemas created, changed or deleted.
    pub schemas_written: u64,
    /// Answers 401.
    pub unauthenticated_answers: u64,
    /// Answers 429.
    pub rate_limited_answers: u64,
    /// Writes per record since the last reset, by object name and record id. Records never written are left out.
    pub writes_per_record: BTreeMap<String, BTreeMap<String, u64>>,
    /// Most requests in flight at the same time.
    pub max_in_flight: usize,
    /// How often a write arrived while another write of the same key was in flight.
    pub overlapping_key_writes: u64,
}

impl HubSpotStats {
    /// Requests that could have changed anything: a dry run must leave this at zero.
    pub fn mutating_requests(&self) -> u64 {
        self.write_requests
            + self.definition_write_requests
            + self.association_write_requests
            + self.list_write_requests
            + self.consent_write_requests
    }

    /// Records created, updated or archived.
    pub fn rows_written(&self) -> u64 {
        self.rows_created + self.rows_updated + self.rows_archived
    }

    /// Largest number of times one record was written: 1 when nothing was delivered twice.
    pub fn max_writes_per_record(&self) -> u64 {
        self.writes_per_record.values().flat_map(BTreeMap::values).copied().max().unwrap_or(0)
    }

    pub(crate) fn count(&mut self, surface: Surface) {
        let counter = match surface {
            Surface::RecordWrites => &mut self.write_requests,
            Surface::RecordReads => &mut self.read_requests,
            Surface::Search => &mut self.search_requests,
            Surface::DefinitionReads => &mut self.definition_read_requests,
            Surface::DefinitionWrites => &mut self.definition_write_requests,
            Surface::AssociationWrites => &mut self.association_write_requests,
            Surface::AssociationReads => &mut self.association_read_requests,
            Surface::ListWrites => &mut self.list_write_requests,
            Surface::ListReads => &mut self.list_read_requests,
            Surface::ConsentWrites => &mut self.consent_write_requests,
            Surface::ConsentReads => &mut self.consent_read_requests,
            Surface::Account => &mut self.account_requests,
            Surface::Tokens => &mut self.token_requests,
        };
        *counter += 1;
    }
}
