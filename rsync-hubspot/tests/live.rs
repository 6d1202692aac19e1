//! The real service, with a sandbox account that the environment names.
//!
//! `RSYNC_HUBSPOT_SANDBOX_TOKEN=... cargo test -p rsync-hubspot --test live -- --ignored`
//!
//! Writes one contact with an address below `example.com`, again and again the same.

mod support;

use rsync_core::capability::Operation;
use rsync_core::destination::LookupRequest;
use rsync_core::ids::FieldName;
use rsync_core::record::FieldType;
use rsync_core::{Destination, Secret};
use rsync_hubspot::HubSpot;
use rsync_testkit::adapter::{batch, keys, rows, settled, words};
use support::*;

#[tokio::test]
#[ignore = "needs RSYNC_HUBSPOT_SANDBOX_TOKEN"]
#[allow(clippy::print_stderr, reason = "a skipped test must say so")]
async fn a_contact_goes_there_and_comes_back() {
    let Ok(token) = std::env::var("RSYNC_HUBSPOT_SANDBOX_TOKEN") else {
        eprintln!("skipped: RSYNC_HUBSPOT_SANDBOX_TOKEN is not set");
        return;
    };
    let hubspot = HubSpot::builder().token(Secret::new(token)).build().unwrap();
    hubspot.check(&contacts()).await.unwrap();
    let schema = hubspot.describe(&contacts()).await.unwrap();
    assert!(schema.field("email").is_some_and(|email| email.unique && email.writable));

    let email = "rsync-live-test@example.com";
    let rows = rows(&[("email", &[Some(email)]), ("firstname", &[Some("Ada \"L\" ✓")]), ("lastname", &[None])]);
    let receipt = hubspot.write(&cx(), batch(Operation::Upsert, &contacts(), rows)).await.unwrap();
    let outcomes = words(&settled(receipt));
    assert!(outcomes[0].starts_with("Created ") || outcomes[0].starts_with("Updated "), "{outcomes:?}");

    let fields = vec![(FieldName::new("firstname"), FieldType::Text), (FieldName::new("lastname"), FieldType::Text)];
    let found = hubspot
        .lookup(
            &cx(),
            LookupRequest::new(
                contacts(),
                keys("email", &["RSYNC-live-test@example.com", "none-of@example.com"]),
                fields,
            ),
        )
        .await
        .unwrap();
    assert_eq!(found.matches.iter().map(|m| m.key).collect::<Vec<_>>(), [0]);
}
