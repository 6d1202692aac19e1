//! A connection and the task that drives it.

use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use rsync_core::Result;
use rsync_postgres::{Address, Tls};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::{Client, Connection, NoTls, Socket, tls as pg_tls};

use crate::failure::{self, Phase};

/// Until a connection stands, TLS and authentication included.
const CONNECT: Duration = Duration::from_secs(10);

/// What every session is told. Nobody waits for a lock for long, and a commit is durable even where the role's default is
/// that it is not.
const SETTINGS: &str = "SET lock_timeout = '2s'; SET client_min_messages = 'error'; \
     SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Connects. The task that drives the connection ends once the client is dropped and its last words are sent, or with the
/// connection.
pub(crate) async fn connect(address: &Address, tls: &Tls) -> Result<Client> {
    let runtime = Handle::try_current().map_err(|_| failure::no_runtime())?;
    let config = address.config();
    let connected = timeout(CONNECT, async {
        let client = match tls {
            Tls::Off => {
                let (client, connection) = config.connect(NoTls).await?;
                drive(&runtime, connection);
                client
            }
            Tls::Verified(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                drive(&runtime, connection);
                client
            }
        };
        client.batch_execute(SETTINGS).await?;
        Ok(client)
    });
    let connected = connected.await.map_err(|_| failure::timed_out(Phase::Connect, address))?;
    connected.map_err(|e: tokio_postgres::Error| failure::classify(Phase::Connect, &e, address))
}

fn drive<T>(runtime: &Handle, mut connection: Connection<Socket, T>)
where
    T: pg_tls::TlsStream + Unpin + Send + 'static,
{
    // `Connection` as a future would write notices to the log, which can hold keys. How it ends, the client learns too.
    let messages = stream::poll_fn(move |cx| connection.poll_message(cx));
    runtime.spawn(messages.take_while(|message| std::future::ready(message.is_ok())).for_each(|_| async {}).boxed());
}
