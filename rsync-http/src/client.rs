//! The client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use rsync_core::clock::Clock;
use rsync_core::error::{Error, Kind, Result};
use url::Url;

use crate::auth::{Credential, Credentials};
use crate::config::{ClientConfig, Limits, Roots, certificates};
use crate::failure::classify;
use crate::request::{Request, Response};
use crate::retry_after::retry_after;

/// Longest correlation id that is taken over.
const CORRELATION_ID_MAX: usize = 128;

/// Sends requests to one service. Cloning is cheap and shares connections and token.
///
/// It sends every request once. The one exception: after a 401 a renewable token is replaced and the request sent
/// once more. It never waits between requests and never follows a redirection.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    base: Url,
    user_agent: HeaderValue,
    limits: Limits,
    credentials: Credentials,
    renewal: fn(&Response) -> bool,
    correlation_header: Option<HeaderName>,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// Builds the client. No connection is made yet.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidConfig`] with all [problems](ClientConfig::problems), or if the operating system's
    /// certificates cannot be read.
    pub fn new(config: ClientConfig) -> Result<Self> {
        let base = config.base()?;
        let user_agent = HeaderValue::from_str(&config.user_agent)
            .map_err(|e| Error::new(Kind::InvalidConfig, "build an HTTP client", "user agent").with_source(e))?;
        let http = match config.http {
            Some(http) => http,
            None => build_http(&base, &config.limits, &config.roots)?,
        };
        Ok(Self(Arc::new(Inner {
            http,
            base,
            user_agent,
            limits: config.limits,
            credentials: Credentials::new(
                config.auth,
                Arc::clone(&config.clock),
                config.limits.total(),
                config.allow_loopback_http,
            ),
            renewal: config.renewal,
            correlation_header: config.correlation_header,
            clock: config.clock,
        })))
    }

    /// Sends a request and reads the whole answer, whatever its status. Dropping the future closes the exchange; a
    /// write that was dropped may have been carried out.
    ///
    /// # Errors
    ///
    /// - [`Kind::Unavailable`]: no connection ([`Retry::Backoff`](rsync_core::Retry::Backoff)), a refused certificate ([`Retry::Never`](rsync_core::Retry::Never)), a
    ///   lost or late answer ([`Retry::Backoff`](rsync_core::Retry::Backoff) for a read, [`Retry::Ambiguous`](rsync_core::Retry::Ambiguous) for a write).
    /// - [`Kind::Protocol`]: a redirection ([`Retry::Never`](rsync_core::Retry::Never)), an answer over the size limit or with a broken
    ///   encoding (as for a lost answer).
    /// - Those of the [`TokenSource`](crate::TokenSource).
    pub async fn send(&self, request: Request) -> Result<Response> {
        let credential = self.0.credentials.current().await?;
        let response = self.observed(&request, &credential).await?;
        if response.status != StatusCode::UNAUTHORIZED || !credential.is_renewable() || !(self.0.renewal)(&response) {
            return Ok(response);
        }
        let credential = self.0.credentials.replace(&credential).await?;
        self.observed(&request, &credential).await
    }

    async fn observed(&self, request: &Request, credential: &Credential) -> Result<Response> {
        let start = self.0.clock.monotonic();
        let result = Box::pin(self.exchange(request, credential, start)).await;
        let latency_ms = u64::try_from(self.0.clock.monotonic().saturating_sub(start).as_millis()).unwrap_or(u64::MAX);
        let sent_bytes = request.body.as_ref().map_or(0, |(_, body)| body.len());
        match &result {
            Ok(response) => tracing::debug!(
                method = %request.method,
                path = request.path.template(),
                status = response.status.as_u16(),
                latency_ms,
                sent_bytes,
                received_bytes = response.body.len(),
                correlation_id = response.correlation_id.as_deref().unwrap_or_default(),
                "request answered"
            ),
            Err(error) => tracing::debug!(
                method = %request.method,
                path = request.path.template(),
                kind = error.kind().as_str(),
                retry = ?error.retry(),
                latency_ms,
                sent_bytes,
                "request failed"
            ),
        }
        result
    }

    async fn exchange(&self, request: &Request, credential: &Credential, start: Duration) -> Result<Response> {
        let inner = &*self.0;
        let wire = self.assemble(request, credential)?;
        let requested = wire.url().clone();
        let late = || request.error(Kind::Unavailable, "no answer in time").with_retry(request.access.fate_unknown());
        let limit = inner.limits.header().min(inner.limits.total());
        let mut response =
            self.within(limit, inner.http.execute(wire)).await.ok_or_else(late)?.map_err(|e| classify(request, e))?;
        let status = response.status();
        // A host's own client may follow redirections; its answers then come from elsewhere.
        if status.is_redirection() || *response.url() != requested {
            return Err(request
                .error(Kind::Protocol, "the server redirects; redirections are not followed")
                .with_context("status", status.as_u16())
                .with_remedy("set the base URL to the address that answers itself"));
        }
        let headers = std::mem::take(response.headers_mut());
        let deadline = start.saturating_add(inner.limits.total());
        let mut body = BytesMut::new();
        let too_large = || {
            request
                .error(Kind::Protocol, "the answer is larger than the limit")
                .with_context("limit_bytes", inner.limits.body_bytes)
                .with_context("status", status.as_u16())
                .with_retry(request.access.fate_unknown())
        };
        loop {
            let left = deadline.saturating_sub(inner.clock.monotonic());
            // A body that always has another piece ready would never let the timer speak.
            if left.is_zero() {
                return Err(late());
            }
            let piece = self.within(inner.limits.idle().min(left), response.chunk()).await.ok_or_else(late)?;
            let Some(piece) = piece.map_err(|e| classify(request, e))? else { break };
            if piece.len() > inner.limits.body_bytes.saturating_sub(body.len()) {
                return Err(too_large());
            }
            body.extend_from_slice(&piece);
        }
        Ok(Response {
            operation: request.operation,
            access: request.access,
            status,
            retry_after: retry_after(&headers, inner.clock.wall()),
            correlation_id: self.correlation_id(&headers),
            headers,
            body: body.freeze(),
        })
    }

    fn assemble(&self, request: &Request, credential: &Credential) -> Result<reqwest::Request> {
        let inner = &*self.0;
        let mut url = credential.base.as_deref().unwrap_or(&inner.base).clone();
        let path = format!("{}{}", url.path().trim_end_matches('/'), request.path.encoded());
        url.set_path(&path);
        // The URL library normalises dot segments and the like. A path that it changes would go elsewhere.
        if url.path() != path {
            return Err(request.error(Kind::Internal, "the request path is not in its normal form"));
        }
        for (name, value) in &request.query {
            url.query_pairs_mut().append_pair(name, value);
        }
        let mut wire = reqwest::Request::new(request.method.clone(), url);
        let headers = wire.headers_mut();
        headers.insert(USER_AGENT, inner.user_agent.clone());
        for (name, value) in &request.headers {
            headers.append(name.clone(), value.clone());
        }
        if let Some(header) = &credential.header {
            headers.insert(AUTHORIZATION, header.clone());
        }
        if let Some((content_type, body)) = &request.body {
            headers.insert(CONTENT_TYPE, content_type.clone());
            *wire.body_mut() = Some(Bytes::clone(body).into());
        }
        Ok(wire)
    }

    /// `None` if `work` takes longer than `limit`.
    async fn within<F: Future>(&self, limit: Duration, work: F) -> Option<F::Output> {
        match select(Box::pin(work), self.0.clock.sleep(limit)).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }

    fn correlation_id(&self, headers: &HeaderMap) -> Option<String> {
        let id = headers.get(self.0.correlation_header.as_ref()?)?.to_str().ok()?;
        is_correlation_id(id).then(|| id.to_owned())
    }
}

/// Whether `id` looks like the id of an exchange, and not like something that an answer echoes.
pub fn is_correlation_id(id: &str) -> bool {
    (1..=CORRELATION_ID_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn build_http(base: &Url, limits: &Limits, roots: &Roots) -> Result<reqwest::Client> {
    let fail = |e: reqwest::Error| {
        Error::new(Kind::InvalidConfig, "build an HTTP client", "the TLS set-up failed")
            .with_source(e.without_url())
            .with_remedy("install the system's CA certificates, or give the authorities to trust as PEM")
    };
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        // A proxy from the environment would see requests that the host never meant for it.
        .no_proxy()
        .connect_timeout(limits.connect())
        .https_only(base.scheme() == "https");
    let builder = match roots {
        // Plain http, which only loopback may use, needs no authorities; loading them costs 26 to 131 ms.
        _ if base.scheme() == "http" => builder.tls_certs_only([]),
        Roots::System => builder,
        Roots::SystemAnd(pem) => builder.tls_certs_merge(certificates(pem).map_err(fail)?),
        Roots::Only(pem) => builder.tls_certs_only(certificates(pem).map_err(fail)?),
    };
    builder.build().map_err(fail)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("origin", &self.0.base.origin().ascii_serialization())
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}
