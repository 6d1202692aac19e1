//! What the tests share: rows, and a server that plays back answers.

#![allow(dead_code, reason = "not every test file uses everything")]

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rsync_core::arrow::array::{ArrayRef, RecordBatch, StringArray};
use rsync_core::capability::Operation;
use rsync_core::destination::{Context, Target, WriteBatch};
use rsync_core::ids::{BatchId, RunId};
use rsync_core::outcome::{Receipt, RowOutcome};
use rsync_core::record::Rows;
use rsync_core::{Error, Secret};
use rsync_hubspot::{Builder, HubSpot, RateTier};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Text that must not show anywhere.
pub(crate) const CANARY: &str = "canary";

pub(crate) fn cx() -> Context {
    Context::new(RunId(1))
}

/// Rows of text columns.
pub(crate) fn rows(columns: &[(&str, &[Option<&str>])]) -> Rows {
    let columns = columns
        .iter()
        .map(|(name, values)| (*name, Arc::new(values.iter().copied().collect::<StringArray>()) as ArrayRef, true));
    Rows::new(RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap()
}

/// Rows of a key column with these values.
pub(crate) fn keys(name: &str, keys: &[&str]) -> Rows {
    let keys: Vec<Option<&str>> = keys.iter().copied().map(Some).collect();
    rows(&[(name, &keys)])
}

pub(crate) fn batch(operation: Operation, target: &Target, rows: Rows) -> WriteBatch {
    WriteBatch::new(BatchId(1), operation, target.clone(), rows).unwrap()
}

pub(crate) fn contacts() -> Target {
    Target::new("contacts", "email")
}

pub(crate) fn settled(receipt: Receipt) -> Vec<RowOutcome> {
    match receipt {
        Receipt::Settled(outcomes) => outcomes,
        other => panic!("{other:?}"),
    }
}

/// Outcomes in words, for comparison.
pub(crate) fn words(outcomes: &[RowOutcome]) -> Vec<String> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            RowOutcome::Written { effect, remote_id, .. } => {
                format!("{effect:?} {}", remote_id.as_ref().map(|id| id.as_str()).unwrap_or("-"))
            }
            RowOutcome::Rejected { code, field, .. } => {
                format!("Rejected {code} {}", field.as_ref().map(|field| field.as_str()).unwrap_or("-"))
            }
            other => format!("{other:?}"),
        })
        .collect()
}

/// Everything that an error shows, down to its last cause.
pub(crate) fn shown(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(next) = source {
        text += &format!(" {next} {next:?} {next:#?}");
        source = next.source();
    }
    text
}

pub(crate) fn builder(base_url: &str, token: &str) -> Builder {
    HubSpot::builder().token(Secret::new(token)).base_url(base_url).allow_loopback_http(true).rate(RateTier::Unlimited)
}

/// The folder of recorded data, if there is one.
pub(crate) fn recordings() -> Option<PathBuf> {
    let shared = std::env::var_os("RSYNC_SHARED_DATA")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    ["data/wire/hubspot", "wire/hubspot", "hubspot"].iter().map(|below| shared.join(below)).find(|path| path.is_dir())
}

/// Plays back answers, one a connection, and keeps what it was asked.
pub(crate) struct Playback {
    pub(crate) base_url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Playback {
    /// Answers with `(status, body)`, the last one again and again.
    pub(crate) async fn start(answers: Vec<(u16, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            for index in 0.. {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let mut bytes = Vec::new();
                while !is_whole(&bytes) {
                    let mut piece = [0; 4096];
                    match stream.read(&mut piece).await {
                        Ok(0) | Err(_) => break,
                        Ok(n) => bytes.extend_from_slice(&piece[..n]),
                    }
                }
                seen.lock().unwrap().push(String::from_utf8_lossy(&bytes).into_owned());
                let (status, body) = &answers[index.min(answers.len() - 1)];
                let head = format!(
                    "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\nx-hubspot-correlation-id: 8a3f6c3a-8296\r\n\
                     content-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
            }
        });
        Self { base_url, requests }
    }

    pub(crate) async fn one(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::start(vec![(status, body.into())]).await
    }

    pub(crate) fn hubspot(&self) -> HubSpot {
        builder(&self.base_url, "pat-canary").build().unwrap()
    }

    /// First line and body of every request.
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|request| {
                let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
                (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
            })
            .collect()
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
    bytes.len() >= head.len() + 4 + length.unwrap_or(0)
}
