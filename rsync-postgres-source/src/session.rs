//! One connection, driven by whoever waits for it.
//!
//! No task of its own reads from the socket: while nobody asks for rows, none are read, and the server waits. A session
//! that is dropped in the middle of a query has the query cancelled.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join;
use futures::stream::{BoxStream, StreamExt};
use futures::{FutureExt, stream};
use rsync_core::Result;
use rsync_postgres::{Address, Tls};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::{
    AsyncMessage, CancelToken, Client, Connection, CopyOutStream, Error as PgError, NoTls, Socket, tls,
};

use crate::config::Timeouts;
use crate::failure::{self, Phase};

/// How long a dropped session may take to cancel its query and to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// The side of a connection that speaks to the socket. Polling it makes progress.
type Wire = BoxStream<'static, Result<AsyncMessage, PgError>>;

/// The parts of a session that outlive it for a moment when it is dropped in the middle of a query.
struct Parts {
    client: Client,
    wire: Option<Wire>,
    /// Why the wire ended. The client's own error then only says that it did.
    lost: Option<PgError>,
    rows: Option<Pin<Box<CopyOutStream>>>,
}

pub(crate) struct Session {
    parts: Option<Parts>,
    cancel: CancelToken,
    tls: Tls,
    runtime: Handle,
    address: Address,
    query: String,
    idle: Duration,
    phase: Phase,
    /// Whether a copy has begun and not ended.
    is_copying: bool,
}

impl Session {
    /// Connects, and begins a transaction that only reads and sees one state.
    pub(crate) async fn open(address: &Address, tls: &Tls, query: &str, timeouts: &Timeouts) -> Result<Self> {
        let runtime = Handle::try_current().map_err(|_| failure::no_runtime())?;
        let config = address.config();
        let connected = timeout(timeouts.connect(), async {
            match tls {
                Tls::Off => config.connect(NoTls).await.map(|(client, connection)| (client, wire(connection))),
                Tls::Verified(tls) => {
                    config.connect(tls.clone()).await.map(|(client, connection)| (client, wire(connection)))
                }
            }
        });
        let (client, wire) = connected
            .await
            .map_err(|_| failure::timed_out(Phase::Connect, address))?
            .map_err(|e| failure::classify(Phase::Connect, &e, address, query))?;
        let mut session = Self {
            cancel: client.cancel_token(),
            parts: Some(Parts { client, wire: Some(wire), lost: None, rows: None }),
            tls: tls.clone(),
            runtime,
            address: address.clone(),
            query: query.to_owned(),
            idle: timeouts.idle(),
            phase: Phase::Plan,
            is_copying: false,
        };
        let mut begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY".to_owned();
        if let Some(limit) = timeouts.statement_ms {
            begin.push_str(&format!("; SET LOCAL statement_timeout = {limit}"));
        }
        session.run(async |client| client.batch_execute(&begin).await).await?;
        Ok(session)
    }

    /// Does `work` with the client, for as long as the server is not silent for too long.
    pub(crate) async fn run<T>(&mut self, work: impl AsyncFnOnce(&Client) -> Result<T, PgError>) -> Result<T> {
        let parts = self.parts.as_mut().ok_or_else(|| failure::internal("a session was used after its end"))?;
        let Parts { client, wire, lost, .. } = parts;
        let done = timeout(self.idle, drive(wire, lost, work(client))).await;
        self.judge(done.ok())
    }

    /// Starts to copy. The rows come from [`Session::next`].
    pub(crate) async fn copy(&mut self, sql: &str) -> Result<()> {
        self.phase = Phase::Read;
        self.is_copying = true;
        let parts = self.parts.as_mut().ok_or_else(|| failure::internal("a session was used after its end"))?;
        let Parts { client, wire, lost, rows } = parts;
        let started = timeout(self.idle, drive(wire, lost, client.copy_out(sql))).await;
        let started = started.map(|started| started.map(|stream| *rows = Some(Box::pin(stream))));
        self.judge(started.ok())
    }

    /// The next piece of the copy; none at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(Parts { wire, lost, rows: Some(rows), .. }) = &mut self.parts else { return Ok(None) };
        // Most pieces are here already, and a timer for each would cost more than the piece.
        let piece = match rows.next().now_or_never() {
            Some(piece) => Some(piece.transpose()),
            None => timeout(self.idle, drive(wire, lost, async { rows.next().await.transpose() })).await.ok(),
        };
        if let Some(Ok(None)) = piece {
            self.end_copy();
        }
        self.judge(piece)
    }

    fn end_copy(&mut self) {
        self.is_copying = false;
        if let Some(parts) = &mut self.parts {
            parts.rows = None;
        }
    }

    /// Gives errors their meaning; nothing stands for a time that was up.
    fn judge<T>(&mut self, done: Option<Result<T, PgError>>) -> Result<T> {
        let error = match done {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) => error,
            None => return Err(failure::timed_out(self.phase, &self.address)),
        };
        let lost = self.parts.as_mut().and_then(|parts| parts.lost.take());
        // After an error of the server its query has ended.
        self.end_copy();
        let reason = if error.is_closed() { lost.as_ref().unwrap_or(&error) } else { &error };
        Err(failure::classify(self.phase, reason, &self.address, &self.query))
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Ends the connection in order.
    pub(crate) async fn close(mut self) {
        if let Some(parts) = self.parts.take() {
            // A server that does not answer a goodbye is not worth an error.
            let _ = timeout(FAREWELL, parts.leave()).await;
        }
    }
}

impl Parts {
    /// Reads on until the server has nothing more to say, then hangs up.
    async fn leave(self) {
        let Self { client, wire, rows, .. } = self;
        drop((client, rows));
        if let Some(mut wire) = wire {
            while let Some(Ok(_)) = wire.next().await {}
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take().filter(|_| self.is_copying) else { return };
        let (cancel, tls) = (self.cancel.clone(), self.tls.clone());
        self.runtime.spawn(async move {
            let cancel = async {
                let _ = match tls {
                    Tls::Off => cancel.cancel_query(NoTls).await,
                    Tls::Verified(tls) => cancel.cancel_query(tls).await,
                };
            };
            // A server that waits for us to read does not see the request until we do. When the time is up the socket
            // is closed, which ends the query at its next row.
            let _ = timeout(FAREWELL, join(cancel, parts.leave())).await;
        });
    }
}

fn wire<T>(mut connection: Connection<Socket, T>) -> Wire
where
    T: tls::TlsStream + Unpin + Send + 'static,
{
    // Notices are dropped below: `Connection` as a future would write their texts, which can hold cells, to the log.
    stream::poll_fn(move |cx| connection.poll_message(cx)).boxed()
}

/// Drives the connection until `work` is done.
async fn drive<T>(
    wire: &mut Option<Wire>,
    lost: &mut Option<PgError>,
    work: impl Future<Output = Result<T, PgError>>,
) -> Result<T, PgError> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            match wire.as_mut().map(|wire| wire.poll_next_unpin(cx)) {
                Some(Poll::Ready(Some(Ok(_notice)))) => {}
                Some(Poll::Ready(end)) => {
                    *lost = end.and_then(Result::err);
                    // Whoever waits for an answer learns that there will be none.
                    *wire = None;
                }
                // Answers may have come in before the socket ran dry.
                Some(Poll::Pending) => return work.as_mut().poll(cx),
                None => return Poll::Pending,
            }
        }
    })
    .await
}
