//! Behaviour of the real service that is not settled by public evidence.
//!
//! Every field has the value that documentation or recordings support best; where both are silent, the stricter one.

use serde::{Deserialize, Serialize};

/// Switches for unsettled behaviour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quirks {
    /// Order in which the operations of one batch are applied.
    pub batch_order: BatchOrder,
    /// Keys of an operation that the documentation does not know.
    pub unknown_keys: UnknownKeys,
    /// An empty text as the value of a person's attribute. Objects and relationships always drop the attribute.
    pub empty_strings: EmptyStrings,
    /// Whether the size limit of an attribute value also holds for lists and objects, as compact JSON.
    pub nested_values: NestedValues,
    /// What a call with an identifier of somebody else does to its other attributes.
    pub identifier_conflict: IdentifierConflict,
    /// A new `id` together with the email address of a person who has another `id`.
    pub known_email_new_id: KnownEmailNewId,
    /// An attribute `email` that is no address, where email identifies people.
    pub invalid_emails: InvalidEmails,
    /// Integers that a double cannot hold.
    pub big_integers: BigIntegers,
    /// Events, devices and relationships of a person who does not exist.
    pub unknown_person: UnknownPerson,
    /// Status of a batch of which some operations were refused.
    pub partial_status: PartialStatus,
    /// Which parts an error of an operation has.
    pub error_parts: ErrorParts,
    /// Body of the App API's 401.
    pub app_unauthorized_body: AppUnauthorizedBody,
    /// Status for a body or operation that is too large as a whole.
    pub oversize_status: u16,
    /// Status of the redirect to the account's own region.
    pub redirect_status: u16,
    /// `Retry-After` (seconds) on 429 answers; the service documents none.
    pub retry_after_seconds: Option<u64>,
    /// Milliseconds between the acceptance of an operation and its application.
    pub apply_delay_ms: u64,
    /// Milliseconds until an export is done.
    pub export_delay_ms: u64,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            batch_order: BatchOrder::default(),
            unknown_keys: UnknownKeys::default(),
            empty_strings: EmptyStrings::default(),
            nested_values: NestedValues::default(),
            identifier_conflict: IdentifierConflict::default(),
            known_email_new_id: KnownEmailNewId::default(),
            invalid_emails: InvalidEmails::default(),
            big_integers: BigIntegers::default(),
            unknown_person: UnknownPerson::default(),
            partial_status: PartialStatus::default(),
            error_parts: ErrorParts::default(),
            app_unauthorized_body: AppUnauthorizedBody::default(),
            oversize_status: 400,
            redirect_status: 307,
            retry_after_seconds: None,
            apply_delay_ms: 2_000,
            export_delay_ms: 2_000,
        }
    }
}

impl Quirks {
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(300..400).contains(&self.redirect_status) {
            problems
                .push(format!("redirect_status: {} is no redirect; use 301, 302, 307 or 308", self.redirect_status));
        }
        if !(400..500).contains(&self.oversize_status) {
            problems.push(format!("oversize_status: {} is no refusal; use 400 or 413", self.oversize_status));
        }
        problems
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
    /// Order of application inside one batch.
    BatchOrder {
        /// Never the order sent: the service promises none.
        Shuffled,
        /// The order sent.
        AsSent,
    }
}
switch! {
    /// Keys that the documentation does not know.
    UnknownKeys {
        /// The operation is refused.
        Refused,
        /// They are passed over.
        Ignored,
    }
}
switch! {
    /// Empty texts.
    EmptyStrings {
        /// They remove the attribute, as is documented for objects.
        Remove,
        /// They are stored.
        Stored,
    }
}
switch! {
    /// Size of lists and objects.
    NestedValues {
        /// Limited like texts.
        Measured,
        /// Limited by the size of the operation only.
        Unmeasured,
    }
}
switch! {
    /// Attributes beside an identifier of somebody else.
    IdentifierConflict {
        /// They are applied; the identifier is not.
        OthersApply,
        /// Nothing of the call is applied.
        NothingApplies,
    }
}
switch! {
    /// A new `id` with a known email address.
    KnownEmailNewId {
        /// The person of the address stays as it is; a new person gets the `id` but not the address.
        Fails,
        /// The person of the address gets the new `id`.
        Renames,
    }
}
switch! {
    /// Integers beyond 2^53.
    BigIntegers {
        /// They become the nearest double.
        Rounded,
        /// They are kept.
        Exact,
    }
}
switch! {
    /// What is said of a person who does not exist, other than who they are.
    UnknownPerson {
        /// Creates the person.
        Created,
        /// Has no effect.
        Ignored,
    }
}
switch! {
    /// Status of a partly refused batch.
    PartialStatus {
        /// 207.
        MultiStatus,
        /// 200 with the errors in its body, as clients have seen.
        Success,
    }
}
switch! {
    /// Parts of an operation's error.
    ErrorParts {
        /// `reason`, `field` and `message`.
        All,
        /// `message` only; clients were seen to expect that.
        MessageOnly,
    }
}
switch! {
    /// The App API's 401.
    AppUnauthorizedBody {
        /// A list of errors, as its other refusals.
        ErrorList,
        /// The body of the Track API.
        Meta,
    }
}
switch! {
    /// Attributes `email` that are no address.
    InvalidEmails {
        /// The operation is refused.
        Refused,
        /// The operation is accepted, the address is not applied, and the activity log says so.
        Dropped,
    }
}
