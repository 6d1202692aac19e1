//! What the tests share.

#![allow(dead_code, unused_imports, reason = "not every test file uses everything")]

use rsync_core::Secret;
use rsync_core::capability::Operation;
use rsync_core::destination::{Context, Target, WriteBatch};
use rsync_core::ids::RunId;
use rsync_core::record::Rows;
use rsync_customerio::{Builder, CustomerIo, RequestRate};
pub(crate) use rsync_testkit::adapter::{
    Playback, Played, batch, keys, logged, record_logs, rows, settled, shared_data, shown, typed_rows, words,
};

/// Text that must not show anywhere.
pub(crate) const CANARY: &str = "canary";

/// The words for a row that the service took.
pub(crate) const ACCEPTED: &str = "Unspecified - accepted";

pub(crate) fn cx() -> Context {
    Context::new(RunId(1))
}

pub(crate) fn people(match_on: &str) -> Target {
    Target::new("people", match_on)
}

/// An upsert of people by this identifier.
pub(crate) fn upsert(match_on: &str, rows: Rows) -> WriteBatch {
    batch(Operation::Upsert, &people(match_on), rows)
}

pub(crate) fn builder(base_url: &str, site_id: &str, api_key: &str) -> Builder {
    CustomerIo::builder()
        .site_id(site_id)
        .api_key(Secret::new(api_key))
        .base_url(base_url)
        .allow_loopback_http(true)
        .rate(RequestRate::Unlimited)
}

/// An adapter for a server that plays back answers.
pub(crate) fn customerio_at(server: &Playback) -> CustomerIo {
    builder(server.base_url(), "site", "canary-key").build().unwrap()
}
