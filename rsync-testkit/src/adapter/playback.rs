//! A server that knows nothing but its answers.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Plays back answers, one a connection, and keeps what it was asked. For answers that a simulator would not give:
/// recorded ones, malformed ones.
#[derive(Debug)]
pub struct Playback {
    base_url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Played {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Played {
    /// An answer without headers but its length.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: String::new(), body: body.into() }
    }

    /// An answer with a JSON body.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, body).with_header("content-type", "application/json")
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }
}

impl Playback {
    /// Gives these answers, the last one again and again. `{base_url}` in a body of text becomes the server's address.
    /// Panics without a free port.
    pub async fn start(answers: Vec<Played>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, own) = (Arc::clone(&requests), base_url.clone());
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
                let text = String::from_utf8_lossy(&bytes).into_owned();
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                let Some(Played { status, headers, body }) = answers.get(index).or(answers.last()) else { return };
                let body = match std::str::from_utf8(body) {
                    Ok(text) => text.replace("{base_url}", &own).into_bytes(),
                    Err(_) => body.clone(),
                };
                // 204 has no body, and so no length.
                let length = match status {
                    204 => String::new(),
                    _ => format!("content-length: {}\r\n", body.len()),
                };
                let head = format!("HTTP/1.1 {status} Status\r\n{headers}{length}connection: close\r\n\r\n");
                let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            }
        });
        Self { base_url, requests }
    }

    /// Gives one answer with a JSON body again and again.
    pub async fn one(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::start(vec![Played::json(status, body)]).await
    }

    /// Where it listens.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Head and body of every request so far.
    pub fn requests(&self) -> Vec<(String, String)> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests
            .iter()
            .map(|request| {
                let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
                (head.to_owned(), body.to_owned())
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
