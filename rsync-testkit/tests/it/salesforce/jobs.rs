//! A client of bulk jobs for table tests.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use rsync_core::memory::ManualClock;
use rsync_testkit::sim::salesforce::{BulkSettings, SalesforceSim, SalesforceSimBuilder, Seed};
use serde_json::{Value, json};

use super::harness::{Http, Reply};

pub(crate) const JOBS: &str = "/jobs/ingest";

/// A simulator on a clock of the test, and a client of it.
pub(crate) struct Bulk {
    pub(crate) sim: SalesforceSim,
    pub(crate) clock: ManualClock,
    pub(crate) http: Http,
}

impl Bulk {
    pub(crate) async fn start(builder: SalesforceSimBuilder) -> Self {
        let clock = ManualClock::new();
        let sim = builder.with_clock(Arc::new(clock.clone())).start().await.expect("the simulator starts");
        let http = Http::to(&sim);
        Self { sim, clock, http }
    }

    /// A job as asked for.
    pub(crate) async fn create(&self, job: &Value) -> Value {
        let reply = self.http.post(JOBS, job).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()
    }

    pub(crate) async fn upload(&self, id: &str, csv: &str) -> Reply {
        let path = format!("{JOBS}/{id}/batches");
        let headers = [("content-type", "text/csv; charset=UTF-8")];
        let sent = self.http.with_headers(Method::PUT, &path, &headers, Some(csv.as_bytes().to_vec()));
        sent.await.expect("the simulator answers")
    }

    pub(crate) async fn set_state(&self, id: &str, state: &str) -> Reply {
        self.http.patch(&format!("{JOBS}/{id}"), &json!({ "state": state })).await
    }

    /// A closed job with this file, and its id.
    pub(crate) async fn queued(&self, job: &Value, csv: &str) -> String {
        let id = self.create(job).await["id"].as_str().expect("an id").to_owned();
        assert_eq!(self.upload(&id, csv).await.status, 201);
        assert_eq!(self.set_state(&id, "UploadComplete").await.status, 200);
        id
    }

    /// A job with this file, when time enough has passed for it to end, and its id.
    pub(crate) async fn finished(&self, job: &Value, csv: &str) -> String {
        let id = self.queued(job, csv).await;
        self.clock.advance(Duration::from_secs(3_600));
        id
    }

    pub(crate) async fn info(&self, id: &str) -> Value {
        self.http.get(&format!("{JOBS}/{id}")).await.json()
    }

    /// The lines of a result, without its header.
    pub(crate) async fn result(&self, id: &str, name: &str) -> Vec<String> {
        let reply = self.http.get(&format!("{JOBS}/{id}/{name}")).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text);
        assert_eq!(reply.header("content-type"), Some("text/csv"), "{name}");
        reply.text.lines().skip(1).map(str::to_owned).collect()
    }

    /// The errors of the rows that failed, in the order of the alphabet.
    pub(crate) async fn errors(&self, id: &str) -> BTreeSet<String> {
        let lines = self.result(id, "failedResults").await;
        lines.iter().map(|line| line.split("\",\"").nth(1).unwrap_or_default().to_owned()).collect()
    }
}

/// What a job of contacts by `Ext__c` asks for.
pub(crate) fn upsert() -> Value {
    json!({ "object": "Contact", "operation": "upsert", "externalIdFieldName": "Ext__c", "lineEnding": "LF" })
}

/// A file of contacts `k0`, `k1` and so on.
pub(crate) fn contacts(rows: std::ops::Range<usize>) -> String {
    let lines: String = rows.map(|i| format!("k{i},L{i}\n")).collect();
    format!("Ext__c,LastName\n{lines}")
}

/// Sessions that outlast the waiting.
pub(crate) fn patient(bulk: BulkSettings) -> Seed {
    Seed { session_seconds: 100_000_000, bulk, ..Seed::default() }
}
