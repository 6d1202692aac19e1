//! The service, which survives its clients, and the truth about it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rsync_core::clock::{Clock, SystemClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::child::Call;
use super::model::belongs;
use crate::state::HarnessResult;

/// When the process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Never.
    Left,
    /// At a random moment of its run.
    Random(Duration),
    /// When call number n has arrived, which is then not applied.
    Arrived(u64),
    /// When call number n is applied, which is then not answered.
    Applied(u64),
    /// So long after the answer to call number n: it is on its way, read, or being committed.
    Answered(u64, Duration),
}

/// What the connection that asks for silence says.
const SILENCE: &[u8] = b"silence";

pub(super) type Records = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Debug)]
struct State {
    records: Records,
    moment: Moment,
    /// Calls of this client.
    calls: u64,
    rows: u64,
    /// Rows that changed nothing.
    redelivered: u64,
    /// Rows that no version of the model has.
    foreign: Vec<String>,
    /// Connections that are open.
    open: usize,
}

/// The service. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Service {
    state: Arc<Mutex<State>>,
    pub(super) address: SocketAddr,
    /// The moment has come.
    due: mpsc::UnboundedSender<()>,
    /// How many clients have ended.
    ended: watch::Sender<u64>,
}

impl Service {
    /// Starts it. The receiver gets a word when the client is to be killed.
    pub(super) async fn start() -> HarnessResult<(Self, mpsc::UnboundedReceiver<()>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (due, kills) = mpsc::unbounded_channel();
        let state = State {
            records: Records::new(),
            moment: Moment::Left,
            calls: 0,
            rows: 0,
            redelivered: 0,
            foreign: Vec::new(),
            open: 0,
        };
        let service = Self {
            state: Arc::new(Mutex::new(state)),
            address: listener.local_addr()?,
            due,
            ended: watch::channel(0).0,
        };
        let accepting = service.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepting.state().open += 1;
                let service = accepting.clone();
                tokio::spawn(async move {
                    // A client that is gone gets no answer.
                    let _ = service.serve(stream).await;
                    service.state().open -= 1;
                });
            }
        });
        Ok((service, kills))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Awaits a client that is to be killed at `moment`.
    pub(super) fn expect(&self, moment: Moment) {
        let mut state = self.state();
        (state.moment, state.calls) = (moment, 0);
    }

    /// Closes connections that were kept without an answer.
    pub(super) fn release(&self) {
        self.ended.send_modify(|ended| *ended += 1);
    }

    /// Returns when nothing of the client that has ended can be applied any more.
    pub(super) async fn silence(&self) -> HarnessResult<()> {
        self.release();
        // Connections are accepted in their order, so whatever the client sent is then known.
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(SILENCE).await?;
        stream.shutdown().await?;
        stream.read_to_end(&mut Vec::new()).await?;
        Ok(())
    }

    pub(super) fn records(&self) -> Records {
        self.state().records.clone()
    }

    /// Calls since the last one was expected.
    pub(super) fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(super) fn rows(&self) -> u64 {
        self.state().rows
    }

    pub(super) fn redelivered(&self) -> u64 {
        self.state().redelivered
    }

    pub(super) fn foreign(&self) -> Option<String> {
        self.state().foreign.first().cloned()
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut ended = self.ended.subscribe();
        let mut body = Vec::new();
        stream.read_to_end(&mut body).await?;
        let clock = SystemClock::new();
        if body == SILENCE {
            while self.state().open > 1 {
                clock.sleep(Duration::from_millis(1)).await;
            }
            return Ok(());
        }
        // A call that was cut off is no call.
        let Ok(call) = serde_json::from_slice::<Call>(&body) else { return Ok(()) };
        let (number, moment) = {
            let mut state = self.state();
            state.calls += 1;
            (state.calls, state.moment)
        };
        if moment == Moment::Arrived(number) {
            return self.kill(&mut ended).await;
        }
        let answer = self.state().apply(&call);
        if moment == Moment::Applied(number) {
            return self.kill(&mut ended).await;
        }
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        match moment {
            Moment::Answered(due, pause) if due == number => {
                clock.sleep(pause).await;
                self.kill(&mut ended).await
            }
            _ => Ok(()),
        }
    }

    /// Asks for the client's end and waits for it, so that it learns nothing more.
    async fn kill(&self, ended: &mut watch::Receiver<u64>) -> std::io::Result<()> {
        let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        self.due.send(()).map_err(gone)?;
        ended.changed().await.map_err(|_| gone(mpsc::error::SendError(())))
    }
}

impl State {
    /// Applies all rows, and answers one letter for each.
    fn apply(&mut self, call: &Call) -> String {
        let mut answer = String::new();
        for row in &call.rows {
            self.rows += 1;
            if call.delete {
                let known = self.records.remove(&row.key).is_some();
                self.redelivered += u64::from(!known);
                answer.push(if known { 'u' } else { 'm' });
                continue;
            }
            for (field, text) in &row.fields {
                if !text.as_ref().is_none_or(|text| belongs(&row.key, field, text)) {
                    self.foreign.push(format!("{} of {}", field, row.key));
                }
            }
            let before = self.records.get(&row.key);
            answer.push(if before.is_some() { 'u' } else { 'c' });
            let mut record = before.cloned().unwrap_or_default();
            for (field, text) in &row.fields {
                match text {
                    Some(text) => drop(record.insert(field.clone(), text.clone())),
                    None => drop(record.remove(field)),
                }
            }
            self.redelivered += u64::from(before == Some(&record));
            self.records.insert(row.key.clone(), record);
        }
        answer
    }
}
