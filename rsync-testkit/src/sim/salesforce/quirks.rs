//! Behaviour of the real service that is not settled by public evidence, or that differs between organizations.
//!
//! Every field has the value that documentation or recordings support best; where both are silent, the one that is
//! harder on a client.

use serde::{Deserialize, Serialize};

/// Switches for unsettled behaviour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quirks {
    /// A value of the wrong JSON type or form in a collection.
    pub malformed_values: MalformedValues,
    /// Status of a collection answer in which no row succeeded.
    pub all_failed_status: AllFailedStatus,
    /// Whether entries of an upsert answer carry `created`.
    pub created_flag: CreatedFlag,
    /// Whether failed entries about existing records carry their `id`.
    pub failed_ids: FailedIds,
    /// Decimals beyond the scale of a number field.
    pub extra_decimals: ExtraDecimals,
    /// White space around text values.
    pub outer_whitespace: OuterWhitespace,
    /// Empty text.
    pub empty_text: EmptyText,
    /// Error code of a collection row whose key matches nothing although only updates are asked for.
    pub update_only_miss: UpdateOnlyMiss,
    /// Answer of a single upsert that updated a record.
    pub single_upsert_update: SingleUpsertUpdate,
    /// Body of 404 answers.
    pub not_found_body: NotFoundBody,
    /// Answer to a signed assertion that does not hold.
    pub bad_assertion: BadAssertion,
    /// Error code for a client id that is not known.
    pub unknown_client: UnknownClient,
    /// Whether OAuth errors carry `error_description`.
    pub error_description: ErrorDescription,
    /// Whether use prolongs a session.
    pub session_timer: SessionTimer,
    /// Two requests in flight that write the same record, or children of the same parent.
    pub row_locks: RowLocks,
    /// How many of a hundred rows that meet a lock fail, with [`RowLocks::Refused`].
    pub lock_refusal_percent: u8,
    /// How far the `api-usage` gauge may be off, in calls.
    pub usage_jitter: u64,
    /// Line ends inside of quotes in a job's file that are not of the job's kind.
    pub embedded_line_ends: EmbeddedLineEnds,
    /// A second upload to an open job.
    pub repeated_upload: RepeatedUpload,
    /// Closing a job that is closed and waits.
    pub repeated_close: RepeatedClose,
    /// A result of a job without rows.
    pub empty_results: EmptyResults,
    /// What the token endpoint says where the organization is; the simulator's own address when absent.
    pub instance_url: Option<String>,
    /// What a session that is not accepted is told.
    pub session_refusal: SessionRefusal,
    /// Records per page of a query, unless the request asks for fewer.
    pub query_page_size: usize,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            malformed_values: MalformedValues::default(),
            all_failed_status: AllFailedStatus::default(),
            created_flag: CreatedFlag::default(),
            failed_ids: FailedIds::default(),
            extra_decimals: ExtraDecimals::default(),
            outer_whitespace: OuterWhitespace::default(),
            empty_text: EmptyText::default(),
            update_only_miss: UpdateOnlyMiss::default(),
            single_upsert_update: SingleUpsertUpdate::default(),
            not_found_body: NotFoundBody::default(),
            bad_assertion: BadAssertion::default(),
            unknown_client: UnknownClient::default(),
            error_description: ErrorDescription::default(),
            session_timer: SessionTimer::default(),
            row_locks: RowLocks::default(),
            lock_refusal_percent: 100,
            usage_jitter: 3,
            embedded_line_ends: EmbeddedLineEnds::default(),
            repeated_upload: RepeatedUpload::default(),
            repeated_close: RepeatedClose::default(),
            empty_results: EmptyResults::default(),
            instance_url: None,
            session_refusal: SessionRefusal::default(),
            query_page_size: 2_000,
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
    /// What a malformed value does to a collection.
    MalformedValues {
        /// 400 `JSON_PARSER_ERROR` for the whole request: nothing is written.
        WholeRequest,
        /// An error of its row.
        RowError,
    }
}
switch! {
    /// Status when every row of a collection failed.
    AllFailedStatus {
        /// 200, as for any other mixture.
        Ok,
        /// 400 with the same list.
        BadRequest,
    }
}
switch! {
    /// `created` in entries of an upsert answer.
    CreatedFlag {
        /// On every entry, failed ones too: what would have happened.
        Shown,
        /// On none.
        Omitted,
    }
}
switch! {
    /// `id` in failed entries.
    FailedIds {
        /// Never.
        Omitted,
        /// Where the row names an existing record.
        Shown,
    }
}
switch! {
    /// What happens to decimals beyond the scale.
    ExtraDecimals {
        /// Rounded half up, silently.
        Rounded,
        /// The row fails.
        Refused,
    }
}
switch! {
    /// What happens to white space around text.
    OuterWhitespace {
        /// Removed, silently.
        Trimmed,
        /// Stored.
        Kept,
    }
}
switch! {
    /// What empty text is stored as.
    EmptyText {
        /// Null.
        Null,
        /// Empty text.
        Kept,
    }
}
switch! {
    /// The error of a row that has nothing to update.
    UpdateOnlyMiss {
        /// `NOT_FOUND`.
        NotFound,
        /// `INVALID_CROSS_REFERENCE_KEY`.
        InvalidCrossReference,
    }
}
switch! {
    /// How a single upsert that updated answers.
    SingleUpsertUpdate {
        /// 200 with a body.
        Body,
        /// 204 without one.
        NoContent,
    }
}
switch! {
    /// Shape of 404 bodies.
    NotFoundBody {
        /// A list with one error.
        List,
        /// The bare error.
        Object,
    }
}
switch! {
    /// What a wrong signature or an expired assertion is answered with.
    BadAssertion {
        /// 400 `invalid_grant`.
        InvalidGrant,
        /// 401 `invalid_client`.
        InvalidClient,
    }
}
switch! {
    /// How an unknown client id is called.
    UnknownClient {
        /// `invalid_client_id`.
        InvalidClientId,
        /// `invalid_client`.
        InvalidClient,
    }
}
switch! {
    /// `error_description` in OAuth errors.
    ErrorDescription {
        /// Given.
        Given,
        /// Left out.
        Omitted,
    }
}
switch! {
    /// When a session ends.
    SessionTimer {
        /// A while after its last use.
        Sliding,
        /// A while after its start.
        Fixed,
    }
}
switch! {
    /// What a row does whose record or parent another request is writing.
    RowLocks {
        /// It waits for its turn; the statistics say that it had to.
        Waited,
        /// It fails with `UNABLE_TO_LOCK_ROW`.
        Refused,
    }
}
switch! {
    /// What line ends inside of quotes do when they are not of the job's kind.
    EmbeddedLineEnds {
        /// The job fails, as users report.
        Checked,
        /// They are part of the value, as documented.
        Kept,
    }
}
switch! {
    /// What a second upload to an open job does.
    RepeatedUpload {
        /// Its rows come after those of the first.
        Appended,
        /// It is refused.
        Refused,
    }
}
switch! {
    /// What closing a job does that is closed and waits.
    RepeatedClose {
        /// 400 `INVALIDJOBSTATE`.
        Refused,
        /// Nothing.
        Accepted,
    }
}
switch! {
    /// The body of a result without rows.
    EmptyResults {
        /// The header.
        HeaderOnly,
        /// Nothing.
        NoBody,
    }
}
switch! {
    /// What a session that is not accepted is told.
    SessionRefusal {
        /// That it has expired: a new one helps.
        Expired,
        /// That a policy keeps it out, although the code is the same: a new one does not help, and no session is
        /// accepted.
        Policy,
    }
}
