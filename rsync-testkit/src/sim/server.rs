//! The loopback server under every simulator.
//!
//! A simulator supplies an axum `Router` and a [`Simulated`]; the server adds sockets, TLS, fault injection, the journal
//! and the inspection endpoints. A request is read whole before anything is decided. From then on it is worked on in
//! a task of its own: a client that hangs up does not undo a write, just as with a real service.

use std::any::Any;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rsync_core::clock::{Clock, SystemClock};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::SimError;
use super::fault::{Decision, FaultAction, Faults, Outcome, finish};
use super::inspection;
use super::journal::{Journal, RequestRows, Ticket};
use super::tls::TestTls;

/// Path prefix of the inspection endpoints. Requests below it are neither journalled nor subject to faults.
pub const INSPECTION_PREFIX: &str = "/_sim";

/// Larger than any request the simulated services accept, so that the service's own limit answers first.
const MAX_REQUEST_BYTES: usize = 256 * 1024 * 1024;

/// How long requests under way may take to finish when the server is dropped.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// What the server must know of the service it serves.
pub trait Simulated: Send + Sync + 'static {
    /// Called when a request has been read, before any delay or fault. The returned guard is dropped once the request
    /// has been answered, so it can mark keys as being written. Extensions put on the request reach the handler.
    fn arrived(&self, request: &mut Request<Bytes>) -> Box<dyn Any + Send>;

    /// The service's own answer for a status that a fault plan asks for.
    fn error_answer(&self, status: StatusCode) -> Response<Bytes>;
}

/// Everything a server is made of.
#[derive(Debug)]
pub struct ServerParts<S> {
    /// The service's hooks.
    pub simulated: Arc<S>,
    /// The service's endpoints.
    pub router: Router,
    /// Further endpoints below [`INSPECTION_PREFIX`].
    pub inspection: Router,
    /// Fault plan in force.
    pub faults: Faults,
    /// Requests seen.
    pub journal: Journal,
    /// Port on 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// Plain or encrypted.
    pub transport: Transport,
}

/// Whether connections are encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// HTTP.
    #[default]
    Plain,
    /// HTTPS with a certificate from an authority made for this server.
    Tls,
}

/// A running server. Dropping it stops accepting at once and ends open connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    transport: Transport,
    ca_pem: Option<String>,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Starts the server as tasks of the current runtime.
    ///
    /// # Errors
    /// When the port is taken or TLS cannot be set up.
    ///
    /// # Panics
    /// Outside a tokio runtime, as `tokio::spawn` does; use [`Server::start_on_thread`] there.
    pub async fn start<S: Simulated>(parts: ServerParts<S>) -> Result<Self, SimError> {
        let (parts, tls, stop, stopped) = prepare(parts)?;
        let listener = bind(parts.port).await?;
        let (server, shared) = assemble(parts, tls, stop, &listener)?;
        tokio::spawn(accept(listener, shared, stopped));
        Ok(server)
    }

    /// Starts the server on a thread of its own, for tests that block their thread.
    ///
    /// # Errors
    /// When the port is taken, TLS cannot be set up or the thread cannot be started.
    pub fn start_on_thread<S: Simulated>(parts: ServerParts<S>) -> Result<Self, SimError> {
        let (parts, tls, stop, stopped) = prepare(parts)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SimError::Thread)?;
        let listener = runtime.block_on(bind(parts.port))?;
        let (mut server, shared) = assemble(parts, tls, stop, &listener)?;
        let thread = std::thread::Builder::new()
            .name("rsync-sim".to_owned())
            .spawn(move || runtime.block_on(accept(listener, shared, stopped)))
            .map_err(SimError::Thread)?;
        server.thread = Some(thread);
        Ok(server)
    }

    /// `http://127.0.0.1:PORT`, or the same with `https`.
    pub fn base_url(&self) -> String {
        let scheme = match self.transport {
            Transport::Plain => "http",
            Transport::Tls => "https",
        };
        format!("{scheme}://{}", self.address)
    }

    /// Certificate (PEM) that a client must trust, when TLS is on.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody listening means the accept loop has already ended.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            // The thread ends within the grace period; a panic in it was already printed.
            let _ = thread.join();
        }
    }
}

type Prepared<S> = (ServerParts<S>, Option<TestTls>, watch::Sender<bool>, watch::Receiver<bool>);

fn prepare<S: Simulated>(parts: ServerParts<S>) -> Result<Prepared<S>, SimError> {
    let tls = match parts.transport {
        Transport::Plain => None,
        Transport::Tls => Some(TestTls::new()?),
    };
    let (stop, stopped) = watch::channel(false);
    Ok((parts, tls, stop, stopped))
}

async fn bind(port: u16) -> Result<TcpListener, SimError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| SimError::Bind { port, source })
}

fn assemble<S: Simulated>(
    parts: ServerParts<S>,
    tls: Option<TestTls>,
    stop: watch::Sender<bool>,
    listener: &TcpListener,
) -> Result<(Server, Arc<Shared<S>>), SimError> {
    let address = listener.local_addr().map_err(|source| SimError::Bind { port: parts.port, source })?;
    let (acceptor, ca_pem) = match tls {
        Some(tls) => (Some(TlsAcceptor::from(tls.config)), Some(tls.ca_pem)),
        None => (None, None),
    };
    let inspection = inspection::router(parts.faults.clone(), parts.journal.clone()).merge(parts.inspection);
    let shared = Arc::new(Shared {
        simulated: parts.simulated,
        router: parts.router,
        inspection: Router::new().nest(INSPECTION_PREFIX, inspection),
        faults: parts.faults,
        journal: parts.journal,
        acceptor,
    });
    let server = Server { address, transport: parts.transport, ca_pem, stop, thread: None };
    Ok((server, shared))
}

struct Shared<S> {
    simulated: Arc<S>,
    router: Router,
    inspection: Router,
    faults: Faults,
    journal: Journal,
    acceptor: Option<TlsAcceptor>,
}

async fn accept<S: Simulated>(listener: TcpListener, shared: Arc<Shared<S>>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shared), stopped.clone()));
                }
                // Out of file descriptors and the like: other connections go on, the next accept may work.
                Err(error) => tracing::warn!(%error, "the simulator could not accept a connection"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_GRACE, drained).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection<S: Simulated>(stream: TcpStream, shared: Arc<Shared<S>>, stopped: watch::Receiver<bool>) {
    // Small answers must not wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let cut = Arc::new(Cut::default());
    let wire = Wire { stream, cut: Arc::clone(&cut) };
    match shared.acceptor.clone() {
        None => drive(wire, shared, cut, stopped).await,
        // A client that distrusts the certificate ends here; it reports the reason itself.
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(wire).await {
                drive(stream, shared, cut, stopped).await;
            }
        }
    }
}

async fn drive<S, I>(io: I, shared: Arc<Shared<S>>, cut: Arc<Cut>, mut stopped: watch::Receiver<bool>)
where
    S: Simulated,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn({
        let cut = Arc::clone(&cut);
        move |request| exchange(request, Arc::clone(&shared), Arc::clone(&cut))
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut conn = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut ending = false;
    loop {
        tokio::select! {
            // An error here is the client's going, or a fault's doing; neither is the simulator's.
            _ = conn.as_mut() => return,
            () = cut.asked.notified() => return,
            _ = stopped.changed(), if !ending => {
                // Requests under way go on; the accept loop ends them when the grace period is over.
                ending = true;
                conn.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn exchange<S: Simulated>(
    request: Request<Incoming>,
    shared: Arc<Shared<S>>,
    cut: Arc<Cut>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(Body::new(body), MAX_REQUEST_BYTES).await else {
        let mut refusal = Response::new(Body::empty());
        *refusal.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return Ok(refusal);
    };
    let mut request = Request::from_parts(head, body);
    if request.uri().path().starts_with(INSPECTION_PREFIX) {
        return shared.inspection.clone().oneshot(request.map(Body::from)).await;
    }

    let decision = shared.faults.decide(request.method().as_str(), request.uri().path());
    let ticket = shared.journal.arrived(request.method().as_str(), request.uri().path());
    let guard = shared.simulated.arrived(&mut request);
    let work = tokio::spawn(process(shared, request, decision, ticket, guard));
    match work.await {
        Ok((Outcome::Answer(response), held)) => {
            drop(held);
            Ok(response)
        }
        Ok((Outcome::Silence, held)) => {
            // The request stays in flight until the client or the server goes.
            std::future::pending::<()>().await;
            drop(held);
            Ok(Response::default())
        }
        Ok((Outcome::Cut, held)) => {
            drop(held);
            cut.connection();
            std::future::pending().await
        }
        // A panic in a handler is a defect of the simulator: a cut connection makes the test fail loudly.
        Err(_) => {
            cut.connection();
            std::future::pending().await
        }
    }
}

type Held = Option<(Ticket, Box<dyn Any + Send>)>;

async fn process<S: Simulated>(
    shared: Arc<Shared<S>>,
    request: Request<Bytes>,
    decision: Decision,
    mut ticket: Ticket,
    guard: Box<dyn Any + Send>,
) -> (Outcome, Held) {
    wait(decision.delay_before_ms).await;
    let answer = if decision.reaches_service() {
        let Ok(response) = shared.router.clone().oneshot(request.map(Body::from)).await;
        let (head, body) = response.into_parts();
        if let Some(RequestRows(rows)) = head.extensions.get() {
            ticket.rows(*rows);
        }
        // Handlers answer with bodies held in memory, so collecting them cannot fail.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        Some(Response::from_parts(head, body))
    } else {
        None
    };
    wait(decision.delay_after_ms).await;
    // A slow answer is in flight until its last byte, so its body takes the guard; otherwise the caller gets it.
    let (mut returned, with_body): (Held, Box<dyn Any + Send>) = match (&decision.action, &answer) {
        (Some(FaultAction::SlowDrip { .. }), Some(answer)) => {
            ticket.answered(answer.status().as_u16());
            (None, Box::new((ticket, guard)))
        }
        _ => (Some((ticket, guard)), Box::new(())),
    };
    let outcome = finish(decision.action, answer, |status| shared.simulated.error_answer(status), with_body);
    if let (Outcome::Answer(response), Some((ticket, _))) = (&outcome, &mut returned) {
        ticket.answered(response.status().as_u16());
    }
    (outcome, returned)
}

async fn wait(delay_ms: u64) {
    if delay_ms > 0 {
        SystemClock::new().sleep(Duration::from_millis(delay_ms)).await;
    }
}

/// Asks a connection to end with a TCP reset.
#[derive(Debug, Default)]
struct Cut {
    reset: AtomicBool,
    asked: Notify,
}

impl Cut {
    fn connection(&self) {
        self.reset.store(true, Ordering::SeqCst);
        self.asked.notify_one();
    }
}

/// A socket that is closed by reset instead of by a polite end once it has been cut: the client must see what a
/// crashed peer looks like, not an orderly close.
#[derive(Debug)]
struct Wire {
    stream: TcpStream,
    cut: Arc<Cut>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.cut.reset.load(Ordering::SeqCst) {
            // If this fails the connection still ends, only more politely.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
