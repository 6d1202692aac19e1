//! What the tests share.

#![allow(dead_code, unused_imports, reason = "not every test file uses everything")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use rsync_core::Secret;
use rsync_core::destination::{Context, Target};
use rsync_core::ids::RunId;
use rsync_http::{AccessToken, TokenSource};
use rsync_salesforce::{Builder, Credentials, Salesforce};
use rsync_testkit::adapter::{self, Played};
pub(crate) use rsync_testkit::adapter::{
    batch, keys, logged, record_logs, rows, settled, shared_data, shown, typed_rows, words,
};
use rsync_testkit::sim::salesforce::SalesforceSim;

/// Text that must not show anywhere.
pub(crate) const CANARY: &str = "canary";

/// What all paths begin with.
pub(crate) const ROOT: &str = "/services/data/v66.0";

/// A description of contacts.
pub(crate) const CONTACT: &str = r#"{"name":"Contact","createable":true,"updateable":true,"fields":[
    {"name":"Id","type":"id","idLookup":true,"createable":false,"updateable":false},
    {"name":"LastName","type":"string","length":80,"createable":true,"updateable":true,"nillable":false},
    {"name":"FirstName","type":"string","length":40,"createable":true,"updateable":true,"nillable":true},
    {"name":"Phone","type":"phone","length":40,"createable":true,"updateable":true,"nillable":true},
    {"name":"Email","type":"email","length":80,"idLookup":true,"createable":true,"updateable":true,"nillable":true},
    {"name":"MasterRecordId","type":"reference","createable":false,"updateable":false,"nillable":true},
    {"name":"Loose__c","type":"string","custom":true,"externalId":true,"idLookup":true,"createable":true,"updateable":true},
    {"name":"Ext__c","type":"string","length":255,"custom":true,"externalId":true,"idLookup":true,"unique":true,
     "createable":true,"updateable":true,"nillable":true}]}"#;

pub(crate) fn cx() -> Context {
    Context::new(RunId(1))
}

pub(crate) fn contacts() -> Target {
    Target::new("Contact", "Ext__c")
}

/// The destination, signed in to a simulator.
pub(crate) fn signed_in(sim: &SalesforceSim) -> Salesforce {
    builder_for(sim).build().unwrap()
}

pub(crate) fn builder_for(sim: &SalesforceSim) -> Builder {
    let key = Secret::new(sim.private_key_pem());
    Salesforce::builder()
        .credentials(Credentials::jwt_bearer(sim.client_id(), sim.username(), key))
        .login_url(sim.base_url())
        .allow_loopback_http(true)
}

/// A host's own source of one token, which counts how often it is asked.
#[derive(Debug, Default)]
pub(crate) struct Vault {
    pub(crate) fetched: AtomicUsize,
}

#[async_trait]
impl TokenSource for Vault {
    async fn fetch(&self) -> rsync_core::Result<AccessToken> {
        let n = self.fetched.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(AccessToken::new(Secret::new(format!("token-{CANARY}-{n}"))))
    }
}

/// Plays back the answers of an organization, with its gauge of calls.
pub(crate) struct Playback {
    pub(crate) base_url: String,
    server: adapter::Playback,
}

impl Playback {
    /// Answers with `(status, body)`, the last one again and again. `{base_url}` in a body becomes the address.
    pub(crate) async fn start(answers: Vec<(u16, Vec<u8>)>) -> Self {
        let played = answers.into_iter().enumerate().map(|(index, (status, body))| {
            Played::new(status, body)
                .with_header("content-type", "application/json;charset=UTF-8")
                .with_header("sforce-limit-info", &format!("api-usage={}/5000", 18 + index))
        });
        let server = adapter::Playback::start(played.collect()).await;
        Self { base_url: server.base_url().to_owned(), server }
    }

    /// Answers the description of contacts first, then with `(status, body)`.
    pub(crate) async fn described(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::start(vec![(200, CONTACT.into()), (status, body.into())]).await
    }

    pub(crate) fn builder(&self) -> Builder {
        Salesforce::builder().token_source(Arc::new(Vault::default()), &self.base_url).allow_loopback_http(true)
    }

    pub(crate) fn salesforce(&self) -> Salesforce {
        self.builder().build().unwrap()
    }

    /// Every request in full.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.server.requests().into_iter().map(|(head, body)| format!("{head}\r\n\r\n{body}")).collect()
    }

    /// First line of every request, without the version of HTTP.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line =
            |request: &String| request.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        self.requests().iter().map(line).collect()
    }
}
