//! The source.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use rsync_core::source::{BatchStream, Extracted, ReadRequest};
use rsync_core::{Result, Source};
use rsync_postgres::{Address, Tls};

use crate::config::{Builder, Numeric, PostgresConfig, Timeouts};
use crate::copy::{Decoder, Limits};
use crate::describe::{Check, Shape};
use crate::session::Session;
use crate::{failure, query};

/// A query on PostgreSQL as a model. See the [crate docs](crate).
///
/// Cheap to clone. It must be used inside a Tokio runtime. Every read has a connection of its own, which ends with it.
#[derive(Clone)]
pub struct PostgresSource(Arc<Inner>);

struct Inner {
    address: Address,
    tls: Tls,
    query: String,
    numerics: BTreeMap<String, Numeric>,
    limits: Limits,
    timeouts: Timeouts,
    /// What [`Source::schema`] last told, and so what the next read is planned with.
    told: Mutex<Option<SchemaRef>>,
}

impl PostgresSource {
    /// Starts a source.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts a source with settings from a file.
    pub fn from_config(config: PostgresConfig) -> Builder {
        Builder::new(config)
    }

    pub(crate) fn new(
        address: Address,
        tls: Tls,
        query: String,
        numerics: BTreeMap<String, Numeric>,
        limits: Limits,
        timeouts: Timeouts,
    ) -> Self {
        Self(Arc::new(Inner { address, tls, query, numerics, limits, timeouts, told: Mutex::default() }))
    }
}

impl fmt::Debug for PostgresSource {
    // The query may hold literals that came from data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSource")
            .field("server", &self.0.address.server)
            .field("database", &self.0.address.database)
            .field("user", &self.0.address.user)
            .field("encrypted", &self.0.address.is_encrypted)
            .finish_non_exhaustive()
    }
}

impl Inner {
    async fn open(&self) -> Result<Session> {
        Session::open(&self.address, &self.tls, &self.query, &self.timeouts).await
    }

    async fn shape(&self, session: &mut Session, check: Check) -> Result<Shape> {
        Shape::of(session, &self.query, &self.numerics, check).await
    }

    fn told(&self) -> Option<SchemaRef> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Source for PostgresSource {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    async fn schema(&self) -> Result<SchemaRef> {
        let inner = &self.0;
        let mut session = inner.open().await?;
        let shape = inner.shape(&mut session, Check::Permissions).await?;
        session.close().await;
        *inner.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&shape.schema));
        Ok(shape.schema)
    }

    /// Reads the requested columns, in the order of the request; all columns if it names none. Returns when the first
    /// batch is there.
    ///
    /// Cancel-safe: a dropped call or stream cancels the query at the server.
    async fn read(&self, request: ReadRequest) -> Result<BatchStream> {
        let inner = &self.0;
        let mut session = inner.open().await?;
        let shape = inner.shape(&mut session, Check::Names).await?.project(&request.columns)?;
        if let Some(told) = inner.told() {
            shape.check_unchanged(&told)?;
        }
        // The statement that described the columns holds locks on its tables, so they cannot change any more.
        session.copy(&query::copy(&inner.query, &shape.schema)).await?;
        let decoder = Decoder::new(Arc::clone(&shape.schema), &shape.forms, inner.limits);
        let reading = Reading { session, decoder, piece: Bytes::new() };
        let Some((first, reading)) = reading.next().await? else { return Ok(stream::empty().boxed()) };
        let rest = stream::try_unfold(reading, Reading::next);
        Ok(stream::iter([Ok(first)]).chain(rest).boxed())
    }
}

struct Reading {
    session: Session,
    decoder: Decoder,
    /// What is left of the piece that came last.
    piece: Bytes,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Extracted, Self)>> {
        loop {
            match self.decoder.decode(&mut self.piece) {
                Ok(Some(batch)) => return Ok(Some((batch, self))),
                Ok(None) => {}
                Err(e) => return Err(failure::copy(e, self.session.address())),
            }
            if let Some(piece) = self.session.next().await? {
                self.piece = piece;
                continue;
            }
            return match self.decoder.finish() {
                Ok(Some(batch)) => Ok(Some((batch, self))),
                Ok(None) => {
                    self.session.close().await;
                    Ok(None)
                }
                Err(e) => Err(failure::copy(e, self.session.address())),
            };
        }
    }
}
