//! The real service, with a sandbox that the environment names.
//!
//! `RSYNC_SALESFORCE_LOGIN_URL=https://acme--dev.sandbox.my.salesforce.com RSYNC_SALESFORCE_CLIENT_ID=...
//! RSYNC_SALESFORCE_CLIENT_SECRET=... cargo test -p rsync-salesforce --test live -- --ignored`; instead of the secret,
//! `RSYNC_SALESFORCE_USERNAME` and `RSYNC_SALESFORCE_PRIVATE_KEY` (the PEM itself) for an assertion.
//!
//! Writes one contact with an address below `example.com`, again and again the same.

mod support;

use std::env::var;

use rsync_core::capability::Operation;
use rsync_core::destination::{LookupRequest, Target};
use rsync_core::ids::FieldName;
use rsync_core::record::FieldType;
use rsync_core::{Destination, Secret};
use rsync_salesforce::{Credentials, Salesforce};
use support::*;

/// What the environment says about a sandbox.
fn sandbox() -> Option<(String, Credentials)> {
    let client_id = var("RSYNC_SALESFORCE_CLIENT_ID").ok()?;
    let credentials = match var("RSYNC_SALESFORCE_CLIENT_SECRET") {
        Ok(secret) => Credentials::client_credentials(client_id, Secret::new(secret)),
        Err(_) => {
            let key = Secret::new(var("RSYNC_SALESFORCE_PRIVATE_KEY").ok()?);
            Credentials::jwt_bearer(client_id, var("RSYNC_SALESFORCE_USERNAME").ok()?, key)
        }
    };
    Some((var("RSYNC_SALESFORCE_LOGIN_URL").ok()?, credentials))
}

#[tokio::test]
#[ignore = "needs RSYNC_SALESFORCE_LOGIN_URL and credentials"]
#[allow(clippy::print_stderr, reason = "a skipped test must say so")]
async fn a_contact_goes_there_and_comes_back() {
    let Some((login_url, credentials)) = sandbox() else {
        eprintln!("skipped: RSYNC_SALESFORCE_LOGIN_URL or the credentials are not set");
        return;
    };
    let salesforce = Salesforce::builder().login_url(login_url).credentials(credentials).build().unwrap();
    let target = Target::new("Contact", "Email");
    assert!(salesforce.check(&target).await.unwrap().as_str().starts_with("00D"));
    let schema = salesforce.describe(&target).await.unwrap();
    assert!(schema.field("Email").is_some_and(|email| email.unique && email.writable));

    let email = "rsync-live-test@example.com";
    let rows = rows(&[("Email", &[Some(email)]), ("LastName", &[Some("L'Ovelace \"\\ ✓")]), ("FirstName", &[None])]);
    let receipt = salesforce.write(&cx(), batch(Operation::Upsert, &target, rows)).await.unwrap();
    let outcomes = words(&settled(receipt));
    assert!(outcomes[0].starts_with("Created ") || outcomes[0].starts_with("Updated "), "{outcomes:?}");
    assert!(salesforce.quota().is_some_and(|quota| quota.used > 0));

    let fields = vec![(FieldName::new("LastName"), FieldType::Text), (FieldName::new("FirstName"), FieldType::Text)];
    let keys = keys("Email", &["RSYNC-live-test@example.com", "none-of@example.com"]);
    let found = salesforce.lookup(&cx(), LookupRequest::new(target, keys, fields)).await.unwrap();
    assert_eq!(found.matches.iter().map(|m| m.key).collect::<Vec<_>>(), [0]);
}
