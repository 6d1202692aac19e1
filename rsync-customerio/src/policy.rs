//! What the host permits beyond what is safe without asking.

use serde::Deserialize;

/// What becomes of an empty text.
///
/// For people it is not documented whether the service stores it or removes the attribute, so it is never sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EmptyText {
    /// Its row is rejected with the code `LOCAL_EMPTY_TEXT`.
    #[default]
    Reject,
    /// It clears the attribute, as a null does.
    Clear,
}

/// What the deletion of a person is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Deletion {
    /// The person is removed with all that is known of them. A row that comes back makes them again.
    #[default]
    Delete,
    /// The person is removed, and all later calls for them are passed over without a word: for requests of erasure. It
    /// is undone in Customer.io only, by hand.
    Suppress,
}

/// How rows are encoded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) empty_text: EmptyText,
    pub(crate) allow_resubscribe: bool,
    pub(crate) deletion: Deletion,
}
