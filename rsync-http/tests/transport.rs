//! The client against servers that misbehave, over real sockets on loopback.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::{Error, Kind, Result, Retry, Secret};
use rsync_http::header::{HeaderName, RETRY_AFTER};
use rsync_http::{AccessToken, Auth, Client, ClientConfig, Limits, Method, Path, Request, Roots, TokenSource};
use rsync_testkit::adapter::{logged, record_logs, shown};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CANARY: &str = "canary";

/// What a server does once it has read a request.
type Answer = Arc<dyn Fn(usize, &str) -> Action + Send + Sync>;

enum Action {
    /// Sends these bytes and closes.
    Send(Vec<u8>),
    /// Closes with a reset.
    Reset,
    /// Sends these bytes again and again.
    Forever(Vec<u8>, Vec<u8>),
    /// Sends these bytes, then nothing more.
    Stall(Vec<u8>),
}

/// A server for one connection after the other; each connection serves one request.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start(answer: impl Fn(usize, &str) -> Action + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, requests) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (answer, count): (Answer, _) = (Arc::new(answer), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&count)));
            }
        });
        Self { address, requests }
    }

    async fn always(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_, _| Action::Send(bytes.clone())).await
    }

    fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn client(&self, auth: Auth) -> Client {
        Client::new(config(&self.base_url(), auth)).unwrap()
    }
}

/// Reads a request, head and body; `None` if the connection ended before.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
        }
    }
}

async fn serve(mut stream: TcpStream, answer: Answer, requests: Arc<AtomicUsize>) {
    let Some(request) = read_request(&mut stream).await else { return };
    let index = requests.fetch_add(1, Ordering::SeqCst);
    match answer(index, &request) {
        Action::Send(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
        Action::Reset => stream.set_zero_linger().unwrap(),
        Action::Forever(head, piece) => {
            let _ = stream.write_all(&head).await;
            while stream.write_all(&piece).await.is_ok() {}
        }
        Action::Stall(bytes) => {
            let _ = stream.write_all(&bytes).await;
            // Ends when the client gives up.
            let _ = stream.read(&mut [0; 1]).await;
        }
    }
}

fn config(base_url: &str, auth: Auth) -> ClientConfig {
    ClientConfig::new(base_url, auth).with_loopback_http(true)
}

fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn path() -> Path {
    Path::new("/v1/people").value("key", CANARY).unwrap()
}

fn read() -> Request {
    Request::read("read a person", Method::GET, path())
}

fn write() -> Request {
    Request::write("write a person", Method::POST, path()).with_json(format!("{{\"name\":\"{CANARY}\"}}"))
}

/// Everything that an error shows, down to its last source.
async fn both(client: &Client) -> [(Kind, Retry); 2] {
    let mut outcomes = Vec::new();
    for request in [read(), write()] {
        let error = client.send(request).await.unwrap_err();
        assert!(!shown(&error).contains(CANARY), "{}", shown(&error));
        outcomes.push((error.kind(), error.retry()));
    }
    outcomes.try_into().unwrap()
}

#[tokio::test]
async fn a_request_is_sent_as_asked_and_answered_whole() {
    let seen = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&seen);
    let server = Server::start(move |_, request| {
        *log.lock().unwrap() = request.to_lowercase();
        Action::Send(response("429 Too Many", "Retry-After: 7\r\nx-trace: abc-1\r\n", "hello"))
    })
    .await;
    let config = config(&format!("{}/prefix/", server.base_url()), Auth::bearer(Secret::new("token-1")))
        .with_correlation_header(HeaderName::from_static("x-trace"));
    let request = write().with_query("a b", "c&d").with_header(HeaderName::from_static("x-extra"), "1").unwrap();
    let response = Client::new(config).unwrap().send(request).await.unwrap();
    assert_eq!((response.status(), &response.body()[..]), (429, &b"hello"[..]));
    assert_eq!(response.retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(response.header(&RETRY_AFTER), Some("7"));
    assert_eq!(response.correlation_id(), Some("abc-1"));
    let seen = seen.lock().unwrap().clone();
    assert!(seen.starts_with("post /prefix/v1/people/canary?a+b=c%26d http/1.1\r\n"), "{seen}");
    for line in
        ["authorization: bearer token-1", "content-type: application/json", "user-agent: rsync-http/", "x-extra: 1"]
    {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    assert!(!seen.contains("referer"));
}

#[tokio::test]
async fn f30_without_a_connection_nothing_was_applied() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::new(config(&format!("http://{address}"), Auth::none())).unwrap();
    assert_eq!(both(&client).await, [(Kind::Unavailable, Retry::Backoff); 2]);
}

#[tokio::test]
async fn f31_a_lost_answer_leaves_the_fate_of_a_write_open() {
    let broken: Vec<Box<dyn Fn() -> Action + Send + Sync>> = vec![
        Box::new(|| Action::Reset),
        Box::new(|| Action::Send(Vec::new())),
        Box::new(|| Action::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort".to_vec())),
        Box::new(|| Action::Send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort".to_vec())),
        Box::new(|| Action::Send(b"not http at all\r\n\r\n".to_vec())),
    ];
    for broken in broken {
        let server = Server::start(move |_, _| broken()).await;
        let outcomes = both(&server.client(Auth::none())).await;
        assert_eq!(outcomes, [(Kind::Unavailable, Retry::Backoff), (Kind::Unavailable, Retry::Ambiguous)]);
        assert_eq!(server.requests(), 2, "each is sent once");
    }
}

#[tokio::test]
async fn f32_limits_end_every_exchange() {
    let endless = || {
        Action::Forever(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(), b"5\r\nhello\r\n".to_vec())
    };
    let head = || Action::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe".to_vec());
    let unanswered = || Action::Stall(Vec::new());
    let many_headers = || {
        let headers: String = (0..10_000).map(|i| format!("x-{i}: 1\r\n")).collect();
        Action::Send(response("200 OK", &headers, ""))
    };
    let limits = |set: fn(&mut Limits)| {
        let mut limits = Limits::default();
        set(&mut limits);
        limits
    };
    let table: Vec<(&str, fn() -> Action, Limits, Kind)> = vec![
        ("head", unanswered, limits(|l| l.header_ms = 50), Kind::Unavailable),
        ("head, by the total", unanswered, limits(|l| l.total_ms = 50), Kind::Unavailable),
        ("idle", head, limits(|l| l.idle_ms = 50), Kind::Unavailable),
        ("total", head, limits(|l| l.total_ms = 50), Kind::Unavailable),
        (
            "endless, by the total",
            endless,
            limits(|l| (l.total_ms, l.body_bytes) = (50, usize::MAX)),
            Kind::Unavailable,
        ),
        ("endless, by size", endless, limits(|l| l.body_bytes = 1_000), Kind::Protocol),
        ("headers", many_headers, Limits::default(), Kind::Unavailable),
    ];
    for (case, answer, limits, kind) in table {
        let server = Server::start(move |_, _| answer()).await;
        let client = Client::new(config(&server.base_url(), Auth::none()).with_limits(limits)).unwrap();
        assert_eq!(both(&client).await, [(kind, Retry::Backoff), (kind, Retry::Ambiguous)], "{case}");
    }
}

/// 1 MiB of zeros, as gzip makes it: a table, one bit for every 258 zeros, a checksum.
fn gzip_bomb() -> Vec<u8> {
    [
        &[
            0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xed, 0xc1, 0x31, 0x01, 0x00, 0x00, 0x00, 0xc2,
            0xa0, 0xf5, 0x4f, 0x6d, 0x08, 0x5f, 0xa0,
        ][..],
        &[0; 1016],
        &[0x3e, 0x03, 0x1c, 0xea, 0x38, 0xa7, 0x00, 0x00, 0x10, 0x00],
    ]
    .concat()
}

#[tokio::test]
async fn f32_size_is_counted_after_decompression() {
    let bomb = gzip_bomb();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
    let server = Server::always([head.into_bytes(), bomb].concat()).await;
    let response = server.client(Auth::none()).send(read()).await.unwrap();
    assert_eq!(response.body().len(), 1 << 20);
    let limits = || {
        let mut limits = Limits::default();
        limits.body_bytes = 64 << 10;
        limits
    };
    let client = Client::new(config(&server.base_url(), Auth::none()).with_limits(limits())).unwrap();
    assert_eq!(both(&client).await, [(Kind::Protocol, Retry::Backoff), (Kind::Protocol, Retry::Ambiguous)]);

    let server = Server::always(response_with_bad_gzip()).await;
    let client = server.client(Auth::none());
    assert_eq!(both(&client).await, [(Kind::Protocol, Retry::Backoff), (Kind::Protocol, Retry::Ambiguous)]);
}

fn response_with_bad_gzip() -> Vec<u8> {
    response("200 OK", "content-encoding: gzip\r\n", "this is no gzip")
}

#[tokio::test]
async fn f37_s10_redirects_are_not_followed() {
    let other = Server::always(response("200 OK", "", "stolen")).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("Location: {}/x\r\n", other.base_url());
        let server = Server::always(response(&format!("{status} Moved"), &location, "")).await;
        let client = server.client(Auth::bearer(Secret::new(CANARY)));
        assert_eq!(both(&client).await, [(Kind::Protocol, Retry::Never); 2]);
        assert_eq!(server.requests(), 2);
    }
    assert_eq!(other.requests(), 0);
}

#[tokio::test]
async fn user_name_and_password_go_out_as_rfc_7617_says() {
    // The examples of the RFC, an empty password, and characters that tell the two alphabets of base64 apart.
    let table = [
        ("Aladdin", "open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("key", "", "a2V5Og=="),
        ("a", "b:c", "YTpiOmM="),
        ("user", "~~~???", "dXNlcjp+fn4/Pz8="),
    ];
    for (user, password, encoded) in table {
        let wanted = format!("\r\nauthorization: Basic {encoded}\r\n").to_lowercase();
        let wanted_exactly = encoded.to_owned();
        let server = Server::start(move |_, request| {
            let ok = request.to_lowercase().contains(&wanted) && request.contains(&wanted_exactly);
            Action::Send(response(if ok { "401 Unauthorized" } else { "400 Bad" }, "", ""))
        })
        .await;
        let auth = Auth::basic(user, Secret::new(password));
        assert_eq!(format!("{auth:?}"), "Auth(basic, redacted)");
        let client = server.client(auth);
        assert_eq!(client.send(write()).await.unwrap().status(), 401, "{user}");
        assert_eq!(server.requests(), 1, "a refused password is not tried again");
    }
}

#[tokio::test]
async fn s10_redirects_of_a_hosts_own_client_are_noticed() {
    let target = Server::always(response("200 OK", "", "elsewhere")).await;
    let location = format!("Location: {}/x\r\n", target.base_url());
    let server = Server::always(response("302 Found", &location, "")).await;
    let following = rsync_http::reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let client = Client::new(config(&server.base_url(), Auth::none()).with_http(following)).unwrap();
    assert_eq!(both(&client).await, [(Kind::Protocol, Retry::Never); 2]);
}

#[tokio::test]
async fn s04_header_values_are_checked() {
    for value in ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\u{7f}", "a\u{e9}\n"] {
        let error = read().with_header(HeaderName::from_static("x-extra"), value).unwrap_err();
        assert_eq!(error.kind(), Kind::Rejected);
        assert!(!error.to_string().contains("X-Evil"));
        let config = config("http://127.0.0.1:1", Auth::bearer(Secret::new(value)));
        let error = Client::new(config).unwrap_err();
        assert_eq!((error.kind(), error.problems()[0].at.as_str()), (Kind::InvalidConfig, "token"));
    }
}

/// A token source that counts, and whose tokens a server can accept or refuse.
#[derive(Debug, Default)]
struct Tokens {
    fetched: AtomicUsize,
    fails: Option<Kind>,
    valid_for: Option<Duration>,
}

#[async_trait]
impl TokenSource for Tokens {
    async fn fetch(&self) -> Result<AccessToken> {
        let n = self.fetched.fetch_add(1, Ordering::SeqCst) + 1;
        // Lets the others arrive while this fetch is under way.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        match (self.fails, self.valid_for) {
            (Some(kind), _) => Err(Error::new(kind, "refresh", "no token").with_retry(Retry::Ambiguous)),
            (None, None) => Ok(AccessToken::new(Secret::new(format!("token-{n}")))),
            (None, Some(d)) => Ok(AccessToken::new(Secret::new(format!("token-{n}"))).with_valid_for(d)),
        }
    }
}

/// A server that takes only the token with this number.
async fn guarded(valid: usize) -> Server {
    Server::start(move |_, request| {
        let ok = request.to_lowercase().contains(&format!("authorization: bearer token-{valid}\r\n"));
        Action::Send(if ok { response("200 OK", "", "") } else { response("401 Unauthorized", "", "") })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f39_one_refresh_and_one_replay_for_all_who_were_refused() {
    let server = guarded(2).await;
    let tokens = Arc::new(Tokens::default());
    let client = server.client(Auth::renewable(Arc::clone(&tokens) as Arc<dyn TokenSource>));
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.send(write()).await.unwrap().status() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
    }
    assert_eq!(tokens.fetched.load(Ordering::SeqCst), 2, "one to begin with, one for the refusal");
    assert!(server.requests() <= 128);
}

#[tokio::test]
async fn f39_a_second_refusal_is_final() {
    let server = guarded(99).await;
    let tokens = Arc::new(Tokens::default());
    let client = server.client(Auth::renewable(Arc::clone(&tokens) as Arc<dyn TokenSource>));
    assert_eq!(client.send(write()).await.unwrap().status(), 401);
    assert_eq!((server.requests(), tokens.fetched.load(Ordering::SeqCst)), (2, 2));
    let client = server.client(Auth::bearer(Secret::new("fixed")));
    assert_eq!(client.send(write()).await.unwrap().status(), 401);
    assert_eq!(server.requests(), 3, "a fixed token is not tried again");
}

#[tokio::test]
async fn f39_a_failing_issuer_is_not_stormed() {
    let server = guarded(1).await;
    let tokens = Arc::new(Tokens { fails: Some(Kind::Unavailable), ..Tokens::default() });
    let client = server.client(Auth::renewable(Arc::clone(&tokens) as Arc<dyn TokenSource>));
    let sent = futures::future::join_all((0..64).map(|_| client.send(write()))).await;
    for error in sent.into_iter().map(Result::unwrap_err) {
        // The write itself was never sent, whatever became of the token request.
        assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Backoff));
    }
    assert_eq!((server.requests(), tokens.fetched.load(Ordering::SeqCst)), (0, 1));
    let _ = client.send(write()).await;
    assert_eq!(tokens.fetched.load(Ordering::SeqCst), 2, "a later request asks again");
}

#[tokio::test]
async fn f39_tokens_are_replaced_before_they_expire() {
    let server = guarded(2).await;
    let tokens = Arc::new(Tokens { valid_for: Some(Duration::ZERO), ..Tokens::default() });
    let client = server.client(Auth::renewable(Arc::clone(&tokens) as Arc<dyn TokenSource>));
    assert_eq!(client.send(write()).await.unwrap().status(), 200);
    assert_eq!((server.requests(), tokens.fetched.load(Ordering::SeqCst)), (2, 2));
    assert_eq!(client.send(write()).await.unwrap().status(), 401);
    assert!(tokens.fetched.load(Ordering::SeqCst) > 2);
}

/// Tokens that come with an address each.
#[derive(Debug)]
struct Addressed(Vec<String>, AtomicUsize);

impl Addressed {
    fn new(addresses: Vec<String>) -> Arc<Self> {
        Arc::new(Self(addresses, AtomicUsize::new(0)))
    }
}

#[async_trait]
impl TokenSource for Addressed {
    async fn fetch(&self) -> Result<AccessToken> {
        let n = self.1.fetch_add(1, Ordering::SeqCst);
        let address = &self.0[n.min(self.0.len() - 1)];
        Ok(AccessToken::new(Secret::new(format!("token-{}", n + 1))).with_base_url(address))
    }
}

#[tokio::test]
async fn s09_a_token_goes_only_to_the_address_it_came_with() {
    let (issuer, old, new) = (Server::always(response("200 OK", "", "")).await, guarded(9).await, guarded(2).await);
    let source = Addressed::new(vec![old.base_url(), format!("{}/", new.base_url())]);
    let client = issuer.client(Auth::renewable(source));
    // The first address refuses the first token; the second token came with another address.
    assert_eq!(client.send(write()).await.unwrap().status(), 200);
    assert_eq!((issuer.requests(), old.requests(), new.requests()), (0, 1, 1));
    assert_eq!(client.send(read()).await.unwrap().status(), 200);
    assert_eq!((issuer.requests(), old.requests(), new.requests()), (0, 1, 2));
}

#[tokio::test]
async fn addresses_that_are_not_safe_get_no_token() {
    let server = Server::always(response("200 OK", "", "")).await;
    for address in ["http://canary.example.com", "canary", "https://user:canary@host", "ftp://canary", ""] {
        let error = server.client(Auth::renewable(Addressed::new(vec![address.to_owned()]))).send(write()).await;
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Never), "{address}");
        assert!(!shown(&error).contains(CANARY), "{}", shown(&error));
    }
    let strict = ClientConfig::new("https://host", Auth::renewable(Addressed::new(vec![server.base_url()])));
    assert_eq!(Client::new(strict).unwrap().send(write()).await.unwrap_err().kind(), Kind::Protocol);
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn only_refusals_of_the_token_renew_it() {
    for (body, requests) in [("token expired", 2), ("not for you", 1)] {
        let server = Server::always(response("401 Unauthorized", "", body)).await;
        let tokens = Arc::new(Tokens::default());
        let config = config(&server.base_url(), Auth::renewable(Arc::clone(&tokens) as Arc<dyn TokenSource>))
            .with_renewal(|response| response.body().starts_with(b"token"));
        assert_eq!(Client::new(config).unwrap().send(write()).await.unwrap().status(), 401);
        assert_eq!((server.requests(), tokens.fetched.load(Ordering::SeqCst)), (requests, requests), "{body}");
    }
}

#[tokio::test]
async fn forms_are_escaped() {
    let seen = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&seen);
    let server = Server::start(move |_, request| {
        *log.lock().unwrap() = request.to_owned();
        Action::Send(response("200 OK", "", ""))
    })
    .await;
    let request = read().with_form([("a", "1 &=+%"), ("b", "ü")]);
    server.client(Auth::none()).send(request).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert!(seen.contains("content-type: application/x-www-form-urlencoded\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\na=1+%26%3D%2B%25&b=%C3%BC"), "{seen}");
}

#[tokio::test]
async fn s01_s02_nothing_that_is_sent_or_received_is_logged() {
    record_logs();
    let server = Server::start(|index, _| {
        Action::Send(match index {
            0 => response("200 OK", "x-trace: id-1\r\nx-secret: canary\r\n", "canary"),
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncanary".to_vec(),
        })
    })
    .await;
    let config = config(&server.base_url(), Auth::bearer(Secret::new(CANARY)))
        .with_correlation_header(HeaderName::from_static("x-trace"));
    assert!(!format!("{config:?}").contains(CANARY));
    let client = Client::new(config).unwrap();
    let request = write().with_query("q", CANARY).with_header(HeaderName::from_static("x-extra"), CANARY).unwrap();
    assert!(!format!("{client:?} {request:?}").contains(CANARY));
    let response = client.send(request.clone()).await.unwrap();
    assert!(!format!("{response:?} {}", response.not_understood("why")).contains(CANARY));
    let error = client.send(request).await.unwrap_err();
    assert!(!shown(&error).contains(CANARY), "{}", shown(&error));
    let log = logged();
    assert!(log.contains("/v1/people/{key}") && log.contains("id-1") && log.contains("request failed"), "{log}");
    let canaries: Vec<&str> = log.lines().filter(|line| line.contains(CANARY)).collect();
    assert!(canaries.is_empty(), "{canaries:#?}");
}

mod tls {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;

    /// A certificate for `name`, valid until the end of `year`, and its authority as PEM.
    fn server_config(name: &str, year: i32) -> (ServerConfig, String) {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        leaf.not_before = date_time_ymd(2000, 1, 1);
        leaf.not_after = date_time_ymd(year, 12, 31);
        let leaf = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        (config, authority_pem)
    }

    async fn start(config: ServerConfig) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        answer(&mut stream).await;
                    }
                });
            }
        });
        format!("https://localhost:{port}")
    }

    async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
        if read_request(stream).await.is_some() {
            let _ = stream.write_all(&response("200 OK", "", "ok")).await;
            let _ = stream.shutdown().await;
        }
    }

    #[tokio::test]
    async fn s03_only_certificates_that_hold_are_accepted() {
        let (good, authority) = server_config("localhost", 2090);
        let base_url = start(good).await;
        let trusting = |roots| Client::new(config(&base_url, Auth::none()).with_roots(roots)).unwrap();
        for roots in [Roots::Only(authority.clone()), Roots::SystemAnd(authority.clone())] {
            assert_eq!(trusting(roots).send(write()).await.unwrap().status(), 200);
        }
        // Not vouched for.
        assert_eq!(both(&trusting(Roots::System)).await, [(Kind::Unavailable, Retry::Never); 2]);
        for (name, year) in [("elsewhere.example", 2090), ("localhost", 2001)] {
            let (bad, authority) = server_config(name, year);
            let config = config(&start(bad).await, Auth::none()).with_roots(Roots::Only(authority));
            let outcomes = both(&Client::new(config).unwrap()).await;
            assert_eq!(outcomes, [(Kind::Unavailable, Retry::Never); 2], "{name} {year}");
        }
    }

    #[tokio::test]
    async fn s03_plain_http_behind_an_https_address_is_refused() {
        // A server that answers at once in plain text, whatever it is sent.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(&response("400 Bad Request", "", "plain text")).await;
                let _ = stream.shutdown().await;
                let _ = stream.read(&mut [0; 1024]).await;
            }
        });
        let client = Client::new(config(&format!("https://{address}"), Auth::none())).unwrap();
        assert_eq!(both(&client).await, [(Kind::Unavailable, Retry::Never); 2]);
    }
}
