//! What the tests share.

#![allow(dead_code, reason = "not every test file uses everything")]

use rsync_core::Secret;
use rsync_core::destination::{Context, Target};
use rsync_core::ids::RunId;
use rsync_hubspot::{Builder, HubSpot, RateTier};
use rsync_testkit::adapter::Playback;

/// Text that must not show anywhere.
pub(crate) const CANARY: &str = "canary";

pub(crate) fn cx() -> Context {
    Context::new(RunId(1))
}

pub(crate) fn contacts() -> Target {
    Target::new("contacts", "email")
}

pub(crate) fn builder(base_url: &str, token: &str) -> Builder {
    HubSpot::builder().token(Secret::new(token)).base_url(base_url).allow_loopback_http(true).rate(RateTier::Unlimited)
}

/// An adapter for a server that plays back answers.
pub(crate) fn hubspot_at(server: &Playback) -> HubSpot {
    builder(server.base_url(), "pat-canary").build().unwrap()
}
