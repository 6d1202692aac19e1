//! The service's JSON, read leniently in what only explains, and strictly in what counts.

use rsync_http::json::{Object, Scalar};
use serde::Deserialize;

/// The answer to a batch call, and the body of a refusal: no errors, or a list of them. What refusals of other kinds
/// hold is of no use to us.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct BatchAnswer<'a> {
    #[serde(borrow)]
    pub(crate) errors: Option<Vec<Object<ItemError<'a>>>>,
}

/// One error. Each of its parts may be missing. The message is not read: it may quote a value.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ItemError<'a> {
    /// Position of the item in the batch, from 0. Any other value than a whole number makes the answer unreadable.
    pub(crate) batch_index: Option<u64>,
    #[serde(borrow)]
    pub(crate) reason: Scalar<'a>,
    #[serde(borrow)]
    pub(crate) field: Scalar<'a>,
}

/// The answer of the region probe.
#[derive(Deserialize)]
pub(crate) struct RegionAnswer<'a> {
    #[serde(borrow, default)]
    pub(crate) region: Scalar<'a>,
    #[serde(borrow, default)]
    pub(crate) environment_id: Scalar<'a>,
}
