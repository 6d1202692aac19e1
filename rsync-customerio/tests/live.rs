//! The real service, with a test workspace that the environment names.
//!
//! `RSYNC_CUSTOMERIO_SITE_ID=... RSYNC_CUSTOMERIO_API_KEY=... cargo test -p rsync-customerio --test live -- --ignored`
//!
//! `RSYNC_CUSTOMERIO_REGION=eu` for an account in the EU. Writes one person with an id that begins with `rsync-live-`,
//! again and again the same.

mod support;

use std::sync::Arc;

use rsync_core::arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};
use rsync_core::{Destination, Kind, Secret};
use rsync_customerio::{CustomerIo, Region};
use support::*;

#[allow(clippy::print_stderr, reason = "a skipped test must say so")]
fn customerio(api_key: Option<&str>) -> Option<CustomerIo> {
    let (Ok(site_id), Ok(key)) = (std::env::var("RSYNC_CUSTOMERIO_SITE_ID"), std::env::var("RSYNC_CUSTOMERIO_API_KEY"))
    else {
        eprintln!("skipped: RSYNC_CUSTOMERIO_SITE_ID and RSYNC_CUSTOMERIO_API_KEY are not set");
        return None;
    };
    let region = match std::env::var("RSYNC_CUSTOMERIO_REGION").as_deref() {
        Ok("eu") => Region::Eu,
        _ => Region::Us,
    };
    let key = Secret::new(api_key.unwrap_or(&key));
    Some(CustomerIo::builder().site_id(site_id).api_key(key).region(region).build().unwrap())
}

#[tokio::test]
#[ignore = "needs RSYNC_CUSTOMERIO_SITE_ID and RSYNC_CUSTOMERIO_API_KEY"]
async fn a_person_is_taken_and_a_bad_one_is_not() {
    let Some(customerio) = customerio(None) else { return };
    let account = customerio.check(&people("id")).await.unwrap();
    assert!(account.as_str().contains('/'), "{account}");
    let rows = typed_rows(vec![
        ("id", Arc::new(StringArray::from(vec!["rsync-live-test", " "])) as _),
        ("email", Arc::new(StringArray::from(vec![Some("rsync-live-test@example.com"), None])) as _),
        ("Plan \"name\"", Arc::new(StringArray::from(vec![Some("Ada \"L\" ✓"), None])) as _),
        ("seats", Arc::new(Int64Array::from(vec![Some(i64::MAX), None])) as _),
        ("created_at", Arc::new(TimestampMicrosecondArray::from(vec![0, 0]).with_timezone("UTC")) as _),
    ]);
    let outcomes = words(&settled(customerio.write(&cx(), upsert("id", rows)).await.unwrap()));
    assert_eq!(outcomes, [ACCEPTED, "Rejected LOCAL_IDENTIFIER_EMPTY id"]);
}

#[tokio::test]
#[ignore = "needs RSYNC_CUSTOMERIO_SITE_ID and RSYNC_CUSTOMERIO_API_KEY"]
async fn a_wrong_key_is_refused() {
    let Some(customerio) = customerio(Some("rsync-wrong-key")) else { return };
    assert_eq!(customerio.check(&people("id")).await.unwrap_err().kind(), Kind::Unauthenticated);
    let error = customerio.write(&cx(), upsert("id", keys("id", &["rsync-live-test"]))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated);
}
