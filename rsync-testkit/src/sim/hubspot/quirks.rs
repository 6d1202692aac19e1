//! Behaviour of the real service that is not settled by public evidence, or that differs between accounts.
//!
//! Every field has the value that documentation or recordings support best; where both are silent, the stricter one.

use serde::{Deserialize, Serialize};

/// Switches for unsettled behaviour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quirks {
    /// JSON numbers and booleans as property values.
    pub value_types: ValueTypes,
    /// A batch body without `inputs`.
    pub missing_inputs: MissingInputs,
    /// A uniqueness conflict in a batch upsert whose inputs all carry trace ids.
    pub upsert_conflict: UpsertConflict,
    /// A batch upsert keyed by `email` in which some records are wrong although all carry trace ids.
    pub email_upsert: EmailUpsert,
    /// Whether `results` entries carry the `objectWriteTraceId` of their input.
    pub trace_id_in_results: TraceIdEcho,
    /// Order of `results`.
    pub result_order: ResultOrder,
    /// Inputs of one upsert that name different key properties.
    pub mixed_id_properties: MixedIdProperties,
    /// Status of a partly failed batch in version 2026-09.
    pub dated_partial_status: DatedPartialStatus,
    /// Shape of the 403 body.
    pub missing_scopes_body: MissingScopesBody,
    /// How a write answers date and datetime values.
    pub date_echo: DateEcho,
    /// Spelling of stored numbers.
    pub number_spelling: NumberSpelling,
    /// White space around numbers, dates, booleans and options.
    pub outer_whitespace: OuterWhitespace,
    /// Uniqueness of custom unique properties. Email is always compared without regard to case.
    pub unique_values: UniqueValues,
    /// Whether the definition of contacts' `email` says `hasUniqueValue`. It is a valid key either way.
    pub email_definition_unique: EmailDefinition,
    /// Writing a contact's own additional address to `email`.
    pub own_alias_as_email: OwnAlias,
    /// Required properties on creation before version 2026-09.
    pub required_properties: RequiredProperties,
    /// Two writes of the same key at the same time.
    pub concurrent_key_writes: ConcurrentWrites,
    /// Which id the record has that a merge leaves.
    pub merge_survivor: MergeSurvivor,
    /// Ids of records that were merged away.
    pub merged_ids: MergedIds,
    /// Groups that a new property names and nobody has made.
    pub unknown_groups: UnknownGroups,
    /// Subscribing a person again who opted out without this API.
    pub resubscription: Resubscription,
    /// Whether a 429 of search names its policy, as clients report; the recorded body does not.
    pub search_policy_name: SearchPolicyName,
    /// Most inputs of a batch that writes associations. The documentation says 2,000; 100 is what clients found safe.
    pub association_inputs_max: usize,
    /// Most record ids of one change of a list's members; undocumented.
    pub list_ids_max: usize,
    /// Most entries in the `errors` list of a validation error; the embedded list in `message` is complete.
    pub listed_errors_max: usize,
    /// `Retry-After` (seconds) on 429 answers of the ten-second window; the service documents none.
    pub retry_after_seconds: Option<u64>,
    /// Milliseconds until search sees a write.
    pub search_lag_ms: u64,
    /// Milliseconds until a new property definition can be read.
    pub definition_lag_ms: u64,
    /// Milliseconds until a changed schema of a custom object can be read; more than a minute was seen.
    pub schema_lag_ms: u64,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            value_types: ValueTypes::default(),
            missing_inputs: MissingInputs::default(),
            upsert_conflict: UpsertConflict::default(),
            email_upsert: EmailUpsert::default(),
            trace_id_in_results: TraceIdEcho::default(),
            result_order: ResultOrder::default(),
            mixed_id_properties: MixedIdProperties::default(),
            dated_partial_status: DatedPartialStatus::default(),
            missing_scopes_body: MissingScopesBody::default(),
            date_echo: DateEcho::default(),
            number_spelling: NumberSpelling::default(),
            outer_whitespace: OuterWhitespace::default(),
            unique_values: UniqueValues::default(),
            email_definition_unique: EmailDefinition::default(),
            own_alias_as_email: OwnAlias::default(),
            required_properties: RequiredProperties::default(),
            concurrent_key_writes: ConcurrentWrites::default(),
            merge_survivor: MergeSurvivor::default(),
            merged_ids: MergedIds::default(),
            unknown_groups: UnknownGroups::default(),
            resubscription: Resubscription::default(),
            search_policy_name: SearchPolicyName::default(),
            association_inputs_max: 100,
            list_ids_max: 10_000,
            listed_errors_max: 3,
            retry_after_seconds: None,
            search_lag_ms: 2_000,
            definition_lag_ms: 250,
            schema_lag_ms: 2_000,
        }
    }
}

macro_rules! switch {
    ($(#[$doc:meta])* $name:ident { $(#[$first_doc:meta])* $first:ident, $(#[$second_doc:meta])* $second:ident $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $(#[$first_doc])*
            #[default]
            $first,
            $(#[$second_doc])*
            $second,
        }
    };
}

switch! {
    /// What property values may be in JSON.
    ValueTypes {
        /// Strings only, as the schema says.
        Strings,
        /// Numbers and booleans are taken as their text, as the real service was seen to do.
        Coerced,
    }
}
switch! {
    /// What a batch body without `inputs` does.
    MissingInputs {
        /// Answers success and does nothing.
        SilentSuccess,
        /// Answers 400.
        Refused,
    }
}
switch! {
    /// What a uniqueness conflict does to a batch upsert with trace ids.
    UpsertConflict {
        /// 409 for the whole batch.
        WholeBatch,
        /// An error entry for the record concerned.
        PerRecord,
    }
}
switch! {
    /// What a bad record does to an email-keyed upsert with trace ids.
    EmailUpsert {
        /// Other records are written.
        PerRecord,
        /// Nothing is written.
        AllOrNothing,
    }
}
switch! {
    /// Trace ids in results.
    TraceIdEcho {
        /// Left out, as in every recording.
        Omitted,
        /// Present, as in the schema.
        Echoed,
    }
}
switch! {
    /// Order of batch results.
    ResultOrder {
        /// Never the input order.
        Shuffled,
        /// The input order.
        AsSent,
    }
}
switch! {
    /// Several key properties in one upsert.
    MixedIdProperties {
        /// 400.
        Refused,
        /// Each input by its own key property.
        Allowed,
    }
}
switch! {
    /// Status of a partly failed batch in version 2026-09.
    DatedPartialStatus {
        /// The status of a full success, since the schema lists no other.
        Success,
        /// 207 as in the older versions.
        MultiStatus,
    }
}
switch! {
    /// Where a 403 lists the scopes.
    MissingScopesBody {
        /// In a top-level `context`, as recorded.
        TopLevelContext,
        /// In `errors[0].context`, as documented.
        ErrorsContext,
    }
}
switch! {
    /// Dates in the answer to a write.
    DateEcho {
        /// Epoch milliseconds, as recorded.
        EpochMs,
        /// ISO 8601, as reads always answer.
        Iso,
    }
}
switch! {
    /// Stored numbers.
    NumberSpelling {
        /// As sent.
        AsSent,
        /// Shortest plain decimal: no plus sign, no trailing zeros.
        Shortest,
    }
}
switch! {
    /// White space around values that are no strings.
    OuterWhitespace {
        /// Trimmed before validation.
        Trimmed,
        /// Part of the value, which is then rejected.
        Significant,
    }
}
switch! {
    /// Comparison of custom unique properties.
    UniqueValues {
        /// Letter case distinguishes values.
        CaseSensitive,
        /// Letter case is ignored.
        CaseInsensitive,
    }
}
switch! {
    /// `hasUniqueValue` of contacts' `email`.
    EmailDefinition {
        /// False: a client that derives keys from definitions alone misses it.
        NotUnique,
        /// True.
        Unique,
    }
}
switch! {
    /// Effect of writing one of a contact's additional addresses to its `email`.
    OwnAlias {
        /// The address becomes the primary one and the former primary an additional one.
        Promoted,
        /// Nothing changes.
        Kept,
    }
}
switch! {
    /// Required properties on creation before version 2026-09.
    RequiredProperties {
        /// Only what a custom object's schema requires.
        SchemaOnly,
        /// Also what the documentation of the standard objects lists.
        Documented,
    }
}
switch! {
    /// Two requests in flight that write the same key.
    ConcurrentWrites {
        /// Both are carried out, and the statistics say that it happened.
        Counted,
        /// The later one is answered 423.
        Locked,
    }
}
switch! {
    /// Id of the record that a merge leaves.
    MergeSurvivor {
        /// A new one: neither of the merged ids stays valid.
        NewId,
        /// That of the primary record, as accounts with id preservation have it.
        PrimaryId,
    }
}
switch! {
    /// Reads and writes of an id that was merged away.
    MergedIds {
        /// There is no such record.
        Gone,
        /// They reach the record that took over.
        Forwarded,
    }
}
switch! {
    /// A property creation that names a group which does not exist.
    UnknownGroups {
        /// 400.
        Refused,
        /// The property is created.
        Accepted,
    }
}
switch! {
    /// Subscribing a person again who opted out by a link of a message.
    Resubscription {
        /// 400: only the person can undo it.
        Refused,
        /// The person is subscribed.
        Allowed,
    }
}
switch! {
    /// `policyName` of search's 429.
    SearchPolicyName {
        /// Left out, as recorded.
        Omitted,
        /// `SECONDLY`.
        Secondly,
    }
}
